"""What every row of the table of formats promises: what it writes it reads, and each file has one reader."""

import re
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
import test_antimatter_splat
import test_compressed_ply
import test_dvgo
import test_kplanes
import test_ksplat
import test_nerf_checkpoint
import test_nerfacto
import test_ngp_kin
import test_relu_nerf
import test_sog
import test_splat_checkpoints
import test_splat_gltf
import test_splat_usd
import test_spz
import torch
from contracts.kinds import SMALL, small_field
from engines.assets import coloured
from mutants import survive
from splat_scenes import assert_agree, random_splats

from volkit.extras import advice
from volkit.geometry import Cameras, Domain, Similarity
from volkit.io import FORMATS, FormatError, check_target, describe, load, save
from volkit.io.meshes import usd_reader
from volkit.io.volumes import nvdb, vdb
from volkit.representations import Capture, HashGridConfig, Mesh, Representation, Splats

PLACE = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (1.0, -2.0, 0.5), 2.0)
NOTE = {"source": "a test", "psnr_to_source": 31.5}
DEGREES = {"splat": 0, "ksplat": 2}  # that a format holds, where it is less than 3
EXACT = dict.fromkeys(("means", "log_scales", "quaternions", "logits", "sh_dc", "sh_rest"), 0.0)
# Of splats by column, from the quantiser of each format, as its own tests have it.
COLUMNS = {
    "volkit": lambda _: EXACT,
    "ply": lambda _: EXACT,
    "compressed_ply": test_compressed_ply.tolerances,
    "spz": lambda _: test_spz.OURS,
    "sog": test_sog.tolerances,
    "splat": lambda _: test_antimatter_splat.TOLERANCES | {"sh_rest": 0.0},
    "ksplat": lambda _: test_ksplat.TOLERANCES[1],
    "splat_gltf": lambda _: test_splat_gltf.EXACT,
    "usd": lambda _: test_splat_usd.EXACT,
}
HALF = 2.0**-11, 2.0**-25  # of the value, and of the smallest step
FOG = {"density_data": (2.0**-23, 0.0), "sh_data": (0.0, 2.0**-22)}  # by a scale; by 1/2 and back: float32
ROUNDING = {
    "svox2": {"sh_data": HALF},
    "instant-ngp": dict.fromkeys(("table", "density_network", "rgb_network"), HALF),
    "openvdb": FOG,
    "nanovdb": FOG,
}
READERS = [row.name for row in FORMATS.values() if row.read]
WRITTEN = [
    (row.name, kind, suffix)
    for row in FORMATS.values()
    if row.read and row.write
    for kind in row.holds
    if kind in {*SMALL, "splats", "mesh"}  # what is exact in shape and light is written by hand
    for suffix in row.suffixes
    if (row.name, suffix) != ("splat_gltf", ".gltf")  # which is written in one file alone
]
CLOUD = test_splat_checkpoints.tensors()
ONLY_READ = {
    "nerf-pytorch": lambda folder: test_nerf_checkpoint.store(folder / "a.ckpt", test_nerf_checkpoint.model()),
    "nerfacto": lambda folder: test_nerfacto.store(folder, test_nerfacto.made(next(iter(test_nerfacto.STATES)))[0]),
    "dvgo": lambda folder: test_dvgo.store(folder / "fine_last.tar", test_dvgo.checkpoint()),
    "k-planes": lambda folder: test_kplanes.store(folder / "model.pth", test_kplanes.checkpoint()[0]),
    "nerf": lambda folder: test_relu_nerf.store(folder, "yenchenlin", test_relu_nerf.model("yenchenlin")[1]),
    "torch-ngp": lambda folder: test_ngp_kin.store(folder / "a.pth", test_ngp_kin.torch_ngp()[0]),
    "ngp_pl": lambda folder: test_ngp_kin.store(folder / "a.ckpt", test_ngp_kin.empty_ngp_pl()),
    "nerf_pl": lambda folder: test_relu_nerf.store(folder, "nerf_pl", test_relu_nerf.model("nerf_pl")[1]),
    "inria": lambda folder: test_splat_checkpoints.inria_folder(folder / "model"),
    "3dgs": lambda folder: test_splat_checkpoints.inria(CLOUD, folder / "chkpnt7000.pth"),
    "gsplat": lambda folder: test_splat_checkpoints.gsplat(folder, CLOUD),
    "splatfacto": lambda folder: test_splat_checkpoints.splatfacto(folder, CLOUD),
    "analytic scene": lambda folder: _copied(folder, "primitives.json"),
}


def _copied(folder: Path, name: str) -> Path:
    (folder / name).write_bytes((Path(__file__).parents[2] / "scenes" / name).read_bytes())
    return folder / name


def scene_of(kind: str, degree: int = 3) -> Representation:
    """A small scene without symmetries, with a place, a camera and a note."""
    if kind == "splats":
        scene: Representation = random_splats(400, degree)
        for name, most in (("sh_dc", 1.7), ("sh_rest", 0.9)):  # bytes hold no more
            getattr(scene, name).data.clamp_(-most, most)
    elif kind == "mesh":
        scene = coloured(2)
    else:
        scene = small_field(kind)
        if kind == "hash_grid":  # as wide as instant-ngp has them
            shape = {"levels": 4, "features": 4, "log2_table": 8, "base_resolution": 4, "width": 32}
            scene = HashGridConfig(**shape, products="float32").build(Domain.cube(2.0), torch.Generator())
        scene = scene.view(placement=PLACE)
    cameras = Cameras(
        torch.eye(4)[None, :3].clone(), torch.tensor([[90.0, 90.0, 32.0, 24.0]]), torch.tensor([[64, 48]])
    )
    capture = Capture(cameras, ("a",), ("a",), 0.25, (1.0, 1.0, 0.5))
    return scene.view(capture=capture, provenance=NOTE).requires_grad_(False)


def written(folder: Path, row: str, kind: str, suffix: str) -> tuple[Representation, Path]:
    if row == "openvdb" and not any(map(find_spec, FORMATS[row].needs)):
        pytest.skip("no OpenVDB here: tests/engines has it")
    scene = scene_of(kind, DEGREES.get(row, 3))
    path = folder / (suffix if suffix == "meta.json" else f"scene{suffix}")
    save(scene, path, row)
    return scene, path


def example(folder: Path, row: str) -> Path:
    """A file of any format that is read."""
    if row in ONLY_READ:
        return ONLY_READ[row](folder)
    return written(folder, *next(case for case in WRITTEN if case[0] == row))[1]


@pytest.mark.parametrize(("row", "kind", "suffix"), WRITTEN)
def test_what_is_written_comes_back(tmp_path, row, kind, suffix):
    """Tensors, frame, and what the row says of cameras and provenance."""
    scene, path = written(tmp_path, row, kind, suffix)
    again, keeps = load(path), FORMATS[row].keeps.partition("; not ")[0]
    assert again.config.kind == kind
    if isinstance(scene, Splats):
        assert isinstance(again, Splats) and again.frame == scene.frame
        assert_agree(scene, again, COLUMNS[row](scene))
    elif isinstance(scene, Mesh):
        assert isinstance(again, Mesh)
        ours, theirs = (m.world_from_local.points(m.vertices.double())[m.faces.long()].mean(1) for m in (scene, again))
        # 3 units across in float32, moved and back; an .stl's faces are no other
        assert len(ours) == len(theirs) and torch.cdist(ours, theirs).min(1).values.max() < 1e-5
    else:
        box, found = (torch.tensor([f.domain.lower, f.domain.upper]).double() for f in (scene, again))
        places = again.world_from_local.points(found), scene.world_from_local.points(box)
        torch.testing.assert_close(*places, atol=1e-6, rtol=0)  # float32
        for name, tensor in scene.state_dict().items():
            if name == "occupancy" and name not in keeps:
                continue
            relative, absolute = ROUNDING.get(row, {}).get(name, (0.0, 0.0))
            found = again.state_dict()[name]
            if name == "density_data":  # of what has no scale but the world's
                found = found * (scene.world_from_local.scale / again.world_from_local.scale)
            torch.testing.assert_close(found, tensor, rtol=relative, atol=absolute, msg=name)
    assert all((again.provenance.get(name) == value) == ("provenance" in keeps) for name, value in NOTE.items())
    assert (again.capture is not None) == ("cameras" in keeps)


@pytest.mark.parametrize("row", ["openvdb", "nanovdb", "usd"])
def test_what_is_not_installed_is_named_before_the_work(tmp_path, monkeypatch, row):
    """By who would read and who would write."""
    monkeypatch.setattr("volkit.io.format.find_spec", lambda name: None)
    wanted = FORMATS[row]
    path = tmp_path / f"a{wanted.suffixes[-1]}"
    path.write_bytes({"openvdb": vdb.MAGIC, "nanovdb": nvdb.MAGIC, "usd": b"#usda"}[row])
    for ask in (lambda: load(path), lambda: check_target(path, wanted.holds[0])):
        fix = wanted.install_hint or advice(wanted.extra)
        with pytest.raises(FormatError, match=re.escape(f"is not installed; {fix}")):
            ask()


@pytest.mark.parametrize("row", READERS)
def test_a_file_has_one_reader(tmp_path, row):
    """By its content, whatever its name: rows that know their files by name alone do so by the suffix."""
    path = example(tmp_path, row)
    assert FORMATS[row].sniff(path)
    others = [other.name for other in FORMATS.values() if other.name != row and other.read and other.sniff(path)]
    assert not others


FOREIGN = {
    "empty": b"",
    "zeros": bytes(4096),
    "text": b"Lorem ipsum dolor sit amet\n" * 99,
    "json": b'{"version": 2, "nested": ' + b"[" * 5000,
    "zip": b"PK\x03\x04" + bytes(200),
    "gzip": b"\x1f\x8b\x08" + bytes(99),
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(99),
    "pickle": b"\x80\x02}q\x00.",
    "ply": b"ply\nformat binary_little_endian 1.0\nelement vertex 99999999999\n",
    "glb": b"glTF\x02\0\0\0\xff\xff\xff\xff\xff\xff\xff\x7fJSON",
    "tensors": b"\xff\xff\xff\xff\xff\xff\xff\x7f" + b'{"a": 1}',
}


@pytest.mark.parametrize("foreign", FOREIGN)
def test_foreign_bytes_are_nobodys(tmp_path, foreign):
    """By every name that there is; rows of `.splat` and `.usdz` can only go by that."""
    for suffix in {suffix for row in FORMATS.values() for suffix in row.suffixes}:
        path = tmp_path / f"a{suffix}"
        path.write_bytes(FOREIGN[foreign])
        by_name = {".splat": ["splat"], ".usdz": ["usd"]}.get(suffix, [])
        assert [row.name for row in FORMATS.values() if row.sniff(path) and row.name not in by_name] == []


def test_names_are_unique_and_suffixes_tell_kinds_apart():
    assert all(row.name == name for name, row in FORMATS.items())
    rows = [row for row in FORMATS.values() if row.write]
    written = Counter((suffix, kind) for row in rows for suffix in row.suffixes for kind in row.holds)
    twice = {key for key, count in written.items() if count > 1}
    assert not twice
    assert {row["name"] for row in describe()} == set(FORMATS)
    assert all(row.keeps.count("; ") == row.keeps.count("; not ") <= 1 for row in FORMATS.values())  # one way of saying


@pytest.mark.parametrize("row", [name for name in READERS if FORMATS[name].suffixes])
def test_mutants_of_every_format(tmp_path, monkeypatch, row):
    """As many for each row of the table as there are in the tests of readers that parse bytes themselves, and more."""
    for reader in (usd_reader, nvdb, vdb):
        monkeypatch.setattr(reader.SANDBOX, "seconds", 3.0)
    path = example(tmp_path, row)
    survive(path, path.read_bytes())
