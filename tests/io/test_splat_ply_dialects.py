"""Splat files as other programs write them, from their layouts: what each means, or its refusal in words."""

import gzip
import zipfile

import numpy as np
import pytest
from plyfile import PlyData, PlyElement
from splat_scenes import C0

from volkit.conversion.options import FileOptions
from volkit.conversion.splats import convert_columns
from volkit.editing.merge import merge
from volkit.geometry import Similarity
from volkit.geometry.frames import frame_of_up
from volkit.io import FormatError, is_scene, load, save
from volkit.io.formats import read_file, reader_for
from volkit.io.splats.columns import SplatColumns
from volkit.progress import Progress

NAMES = ("x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1",
         "rot_2", "rot_3")  # fmt: skip
UTM = np.array([500_000.0, 4_649_776.0, 123.0])
MILLIMETRE = 1e-3


def rows(count=40, **columns):
    """Small grey splats in a cube of 2 units; other columns, and their types, replace these."""
    random = np.random.default_rng(4)
    plain = {name: np.zeros(count, np.float32) for name in NAMES}
    plain |= {axis: random.uniform(-1, 1, count).astype(np.float32) for axis in "xyz"}
    plain |= {f"scale_{k}": np.full(count, np.log(0.1), np.float32) for k in range(3)}
    plain |= {"opacity": np.full(count, 2.0, np.float32), "rot_0": np.ones(count, np.float32)} | columns
    table = np.empty(count, [(name, values.dtype) for name, values in plain.items()])
    for name, values in plain.items():
        table[name] = values
    return table


def written(path, table, *others, comments=(), **settings):
    elements = [PlyElement.describe(table, "vertex"), *others]
    PlyData(elements, comments=list(comments), **settings).write(path)
    return path


def columns_of(path) -> SplatColumns:
    found = read_file(reader_for(path), path)
    assert isinstance(found, SplatColumns)
    return found


def converted(source, target):
    return convert_columns(source, target, FileOptions(), 0, Progress())


def element(name, kind, *values):
    return PlyElement.describe(np.array([(v,) for v in values], [(name, kind)]), name)


@pytest.mark.parametrize("text", [False, True])
def test_further_elements_are_left_out_by_name(tmp_path, text):
    more = [element("extrinsic", "f4", *np.eye(4).ravel()), element("version", "u1", 1, 5, 0)]
    report = converted(written(tmp_path / "a.ply", rows(), *more, text=text), tmp_path / "b.spz")
    assert report.splats == 40 and "elements extrinsic, version were left out" in report.notes[0]


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_lists_in_other_elements_do_not_matter(tmp_path, first, order):
    faces = np.empty(2, [("vertex_indices", "O")])
    faces["vertex_indices"] = [np.array([0, 1, 2], "i4"), np.array([2, 3, 4, 5], "i4")]
    lists = PlyElement.describe(faces, "face", len_types={"vertex_indices": "u1"})
    table = rows()
    parts = [lists, PlyElement.describe(table, "vertex")]
    PlyData(parts if first else parts[::-1], byte_order=order).write(tmp_path / "a.ply")
    np.testing.assert_array_equal(columns_of(tmp_path / "a.ply").means[:, 0], table["x"])


def test_positions_at_utm_size_keep_their_millimetres(tmp_path):
    exact = np.stack([rows()[axis] for axis in "xyz"], 1).astype(np.float64) + UTM
    table = rows(**{axis: exact[:, k] for k, axis in enumerate("xyz")})
    source = written(tmp_path / "a.ply", table)
    for suffix in ("ply", "glb", "usdc", "safetensors"):
        target = tmp_path / f"b.{suffix}"
        save(load(source), target)
        save(load(target), tmp_path / "c.ply")
        vertex = PlyData.read(tmp_path / "c.ply")["vertex"]  # another library's eyes
        assert vertex["x"].dtype == np.float64
        found = np.stack([vertex[axis] for axis in "xyz"], 1)
        if suffix in ("glb", "usdc"):  # whose axes are others: the file is -Y up again
            assert load(target).frame == load(source).frame
        assert np.abs(found - exact).max() < MILLIMETRE  # a ten millionth of two units is far less
    report = converted(source, tmp_path / "b.csv")
    table = np.loadtxt(tmp_path / "b.csv", delimiter=",", skiprows=1)
    assert np.abs(table[:, :3] - exact).max() < MILLIMETRE and not any("rounded" in note for note in report.notes)


def test_joined_parts_at_utm_size_keep_their_millimetres(tmp_path):
    exact = np.stack([rows()[axis] for axis in "xyz"], 1).astype(np.float64) + UTM
    parts = [
        written(tmp_path / f"{n}.ply", rows(**{axis: exact[:, k] + 7 * n for k, axis in enumerate("xyz")}))
        for n in range(2)
    ]
    save(merge([load(part) for part in parts]), tmp_path / "joined.ply")
    vertex = PlyData.read(tmp_path / "joined.ply")["vertex"]
    found = np.stack([vertex[axis] for axis in "xyz"], 1)
    assert np.abs(found - np.concatenate([exact, exact + 7])).max() < MILLIMETRE


@pytest.mark.parametrize("suffix", ["spz", "splat", "sog", "ksplat", "compressed.ply"])
def test_what_rounds_positions_at_utm_size_says_so_first(tmp_path, suffix):
    table = rows(**{axis: rows()[axis].astype(np.float64) + UTM[k] for k, axis in enumerate("xyz")})
    report = converted(written(tmp_path / "a.ply", table), tmp_path / f"b.{suffix}")
    said = next(note for note in report.notes if "positions are rounded by up to" in note)
    assert ".safetensors" in said and "4649777" in said
    if suffix in ("spz", "splat"):  # others quantise besides
        up_to = float(said.split("up to ")[1].split(",")[0])
        assert report.fidelity.differences["means"] <= up_to * 1.02  # two digits


def test_doubles_near_the_origin_stay_floats(tmp_path):
    table = rows(**{axis: rows()[axis].astype(np.float64) for axis in "xyz"})
    splats = columns_of(written(tmp_path / "a.ply", table))
    assert splats.world_from_local.is_identity and not splats.georeferenced
    np.testing.assert_array_equal(splats.means[:, 1], rows()["y"])


def test_a_filter_of_mip_splatting_is_applied(tmp_path):
    """By the formulas of its paper: variances add up, and the integral of opacity over space stays."""
    random = np.random.default_rng(1)
    filters = random.uniform(0, 0.3, 40).astype(np.float32)
    filters[0] = 0.0
    scales = {f"scale_{k}": np.log(random.uniform(0.01, 0.2, 40)).astype(np.float32) for k in range(3)}
    source = written(tmp_path / "a.ply", rows(filter_3D=filters, **scales))
    splats = columns_of(source)
    plain = np.exp(np.stack([scales[f"scale_{k}"] for k in range(3)], 1).astype(np.float64))
    wide = np.sqrt(plain**2 + filters[:, None].astype(np.float64) ** 2)
    np.testing.assert_allclose(np.exp(splats.log_scales), wide, rtol=1e-5)  # float32 logarithms
    opacity = 1 / (1 + np.exp(-2.0)) * plain.prod(1) / wide.prod(1)
    np.testing.assert_allclose(1 / (1 + np.exp(-splats.logits.astype(np.float64))), opacity, rtol=1e-5)  # likewise
    assert not splats.extras and splats.logits[0] == 2.0
    report = converted(source, tmp_path / "b.ply")
    assert "filter_3D was applied" in report.notes[0]
    assert "filter_3D" not in PlyData.read(tmp_path / "b.ply")["vertex"].data.dtype.names


def test_infinite_opacity_is_opaque_or_clear(tmp_path):
    table = rows()
    table["opacity"][:2] = np.inf, -np.inf
    table["scale_2"][2] = -np.inf
    splats = load(written(tmp_path / "a.ply", table))
    assert not splats.invalid.any()
    assert splats.opacities[:2].tolist() == pytest.approx([1.0, 0.0], abs=1e-30) and splats.scales[2, 2] < 1e-20
    converted(tmp_path / "a.ply", tmp_path / "b.splat")
    alphas = np.frombuffer((tmp_path / "b.splat").read_bytes(), np.uint8).reshape(-1, 32)[:, 27]
    assert alphas.max() == 255 and alphas.min() == 0


def test_what_is_not_finite_is_refused_by_the_columns_name(tmp_path):
    table = rows()
    table["opacity"][3] = np.nan
    with pytest.raises(FormatError, match=r"a\.ply: holds 1 splats .* \(logits\)"):
        converted(written(tmp_path / "a.ply", table), tmp_path / "b.spz")


@pytest.mark.parametrize(
    ("kind", "white"), [("u1", 255), ("u2", 65535), ("i4", 255), ("u2", 255), ("i2", 255), ("f4", 1.0), ("f8", 1.0)]
)
def test_colours_of_any_type(tmp_path, kind, white):
    """A ramp from black to white in red; green is white, blue black."""
    ramp = np.linspace(0, white, 40).astype(kind)
    table = rows(red=ramp, green=np.full(40, white, kind), blue=np.zeros(40, kind))
    kept = [name for name in table.dtype.names if not name.startswith("f_dc")]
    splats = columns_of(
        written(tmp_path / "a.ply", np.array(table[kept].tolist(), [(n, table.dtype[n]) for n in kept]))
    )
    colours = 0.5 + C0 * splats.sh_dc[:, 0]
    np.testing.assert_allclose(colours[:, 0], ramp.astype(np.float64) / white, atol=1e-6)  # float32
    np.testing.assert_allclose(colours[:, 1:], np.tile([1.0, 0.0], (40, 1)), atol=1e-6)  # float32


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("place", [b"element", b"property float y", b"end_header"])
@pytest.mark.parametrize("text", [False, True])
def test_comments_of_any_bytes(tmp_path, line_end, place, text):
    path = written(tmp_path / "a.ply", rows(), text=text)
    head, _, body = path.read_bytes().partition(b"end_header\n")
    said = [b"comment \xd3\xc9\xc8\xed\xbc\xfe end_header", "comment 由软件生成".encode(), b"obj_info caf\xe9"]
    before, word, after = (head + b"end_header").partition(place)
    head = before + b"\n".join([*said[: 3 if place != b"property float y" else 2], b""]) + word + after
    path.write_bytes(head.replace(b"\n", line_end) + line_end + body)
    splats = columns_of(path)
    assert len(splats) == 40 and "由软件生成" in splats.provenance["comments"]
    converted(path, tmp_path / "b.ply")


def test_a_scene_without_splats_is_read_written_and_told(tmp_path):
    source = written(tmp_path / "a.ply", rows(0))
    for suffix in ("ply", "spz", "csv"):
        report = converted(source, tmp_path / f"b.{suffix}")
        assert report.splats == 0 and "a.ply: holds no splats" in report.notes[0]
    assert len(load(tmp_path / "b.spz")) == 0 and not load(source).invalid.any()
    save(load(source), tmp_path / "b.safetensors")
    assert len(load(tmp_path / "b.safetensors")) == 0
    for suffix in ("glb", "splat", "sog", "ksplat", "compressed.ply"):
        with pytest.raises(FormatError, match="without splats"):
            converted(source, tmp_path / f"b.{suffix}")
        assert not (tmp_path / f"b.{suffix}").exists()


def test_packed_files_are_named_as_such(tmp_path):
    plain = written(tmp_path / "garden.ply", rows()).read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("garden.ply", plain)
    (tmp_path / "b.ply.gz").write_bytes(gzip.compress(plain))
    (tmp_path / "c.ply").write_bytes(gzip.compress(plain))
    (tmp_path / "d.ply").write_bytes((tmp_path / "a.zip").read_bytes())
    for name, said in (
        ("a.zip", "zip archive, of garden.ply"),
        ("b.ply.gz", "gzip"),
        ("c.ply", "gzip"),
        ("d.ply", "zip"),
    ):
        assert is_scene(tmp_path / name)  # no dataset: what is said is about the archive
        with pytest.raises(FormatError, match=rf"{name}: is .*{said}.*; unpack it first"):
            load(tmp_path / name)


def upward(path) -> np.ndarray:
    """The direction of the file that is up in the world, whose frame the scene names."""
    splats = columns_of(path)
    up = {"ydown": (0, -1, 0), "yup": (0, 1, 0), "zup": (0, 0, 1)}[splats.frame]
    return np.array(splats.world_from_local.rotation).T @ np.array(up)


@pytest.mark.parametrize(
    ("comments", "expected"),
    [
        ([], (0, -1, 0)),
        (["Exported from Brush", "Vertical axis: y", "SH degree: 0"], (0, -1, 0)),
        (["Exported from Brush", "Vertical axis: 0 -0.8 0.6", "SH degree: 0"], (0, -0.8, 0.6)),
        (["Exported from Brush", "Vertical axis: 0 -1 0"], (0, -1, 0)),
        (["Generated by Nerfstudio 1.1.5", "Vertical Axis: z"], (0, 0, 1)),
        (["Vertical Axis: y"], (0, 1, 0)),
        (["Vertical axis: -z"], (0, 0, -1)),
        (["Vertical axis: nobody knows"], (0, -1, 0)),
    ],
)
def test_the_vertical_axis_is_what_its_program_means(tmp_path, comments, expected):
    path = written(tmp_path / "a.ply", rows(), comments=comments)
    np.testing.assert_allclose(upward(path), expected, atol=1e-12)  # float64
    save(load(path), tmp_path / "b.glb")
    save(load(tmp_path / "b.glb"), tmp_path / "c.ply")
    # +Y of the .glb, read as bytes by another library, is that direction
    heights = np.stack([PlyData.read(path)["vertex"][axis] for axis in "xyz"], 1) @ np.array(expected)
    np.testing.assert_allclose(glb_positions(tmp_path / "b.glb")[:, 1], heights, atol=1e-6)  # float32


def glb_positions(path) -> np.ndarray:
    import trimesh

    (cloud,) = trimesh.load(path).geometry.values()
    return np.asarray(cloud.vertices)


def test_the_smallest_rotation_brings_up_to_a_frames_axis():
    frame, turned = frame_of_up((0.0, 3.0, 0.3))
    assert frame == "yup" and turned.points(np.array([0.0, 3.0, 0.3]))[2] == pytest.approx(0.0, abs=1e-12)  # float64
    assert frame_of_up((0.0, 0.0, 5.0)) == ("zup", Similarity())
    with pytest.raises(ValueError, match="no direction"):
        frame_of_up((0.0, 0.0, 0.0))
