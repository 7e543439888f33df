"""Our own file keeps everything exactly, and refuses what is damaged."""

import json
import struct
import subprocess
import sys
from dataclasses import asdict, replace

import pytest
import torch
from contracts import kinds
from safetensors.torch import save_file

from volkit.geometry import OPENCV, Cameras, Domain, Similarity
from volkit.io import FormatError, load, save
from volkit.io.fields.analytic_scene import bundled
from volkit.representations import (
    REPRESENTATIONS,
    Capture,
    Composed,
    Edited,
    Field,
    HashGridConfig,
    PlanesConfig,
    SplatsConfig,
    TensorCPConfig,
    TensorVMConfig,
)

CONFIGS = {
    "tensor_vm": TensorVMConfig(resolution=8, start=8, density_components=2, appearance_components=2),
    "tensor_cp": TensorCPConfig(resolution=8, start=8, density_components=2, appearance_components=2),
    "planes": PlanesConfig(resolution=4, scales=(1, 2), channels=4, width=16, products="float32"),
}
SMALL = HashGridConfig(levels=4, log2_table=8, per_level_scale=1.5, width=16)


def small_field(seed=3):
    field = SMALL.build(Domain((-1.0, -0.7, 0.1), (0.3, 0.9, 1.7)), torch.Generator().manual_seed(seed))
    cameras = Cameras.looking_at(torch.randn(3, 3), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 50.0, (64, 48))
    cameras = Cameras(
        cameras.world_from_camera, cameras.intrinsics, cameras.size, OPENCV, torch.full((3, 8), 0.01), torch.arange(3.0)
    )
    field = field.view(capture=Capture(cameras, ("a", "b", "c"), ("b",), 0.1, (1.0, 1.0, 1.0)))
    field = field.view(placement=Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (1.0, 2.0, 3.1), 0.7))
    field.occupancy.copy_(torch.randint(0, 256, field.occupancy.shape, generator=torch.Generator().manual_seed(0)))
    return field.view(provenance={"command": "fit", "psnr": 31.5})


def rewritten(path, change):
    """The file with its JSON header changed."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    outer = json.loads(data[8 : 8 + length])
    inner = json.loads(outer["__metadata__"]["volkit"])
    change(inner)
    outer["__metadata__"]["volkit"] = json.dumps(inner)
    text = json.dumps(outer).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def test_round_trip_is_exact(tmp_path):
    field = small_field()
    save(field, tmp_path / "field.safetensors")
    again = load(tmp_path / "field.safetensors")
    assert type(again) is type(field) and again.config == field.config
    assert again.domain == field.domain and again.world_from_local == field.world_from_local
    assert dict(again.provenance) == field.provenance
    for name, tensor in field.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    assert again.capture.names == ("a", "b", "c") and again.capture.held_out == ("b",)
    assert again.capture.near == 0.1 and again.capture.background == (1.0, 1.0, 1.0)
    for name in ("world_from_camera", "intrinsics", "size", "coefficients", "time"):
        assert torch.equal(getattr(again.capture.cameras, name), getattr(field.capture.cameras, name)), name
    assert again.capture.cameras.lens == OPENCV
    save(again, tmp_path / "again.safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == (tmp_path / "field.safetensors").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again.safetensors", "field.safetensors"]


SMALLER = {
    "hash_grid": {"levels": 2, "log2_table": 6},
    "voxels": {"resolution": 12, "start": 8},
    "tensor_vm": {"resolution": 12, "start": 8},
    "tensor_cp": {"resolution": 12, "start": 8},
    "planes": {},
    "mlp": {"layers": 3, "width": 16},
    "voxel_features": {"size": (4, 5, 6), "width": 8},
    "splats": {"count": 5, "degree": 2, "extras": ("label:u4",)},
    "mesh": {"vertices": 4, "faces": 2, "images": ((3, 5, 4),), "uv_sets": 1, "coloured": False},
    "analytic": None,
}


@pytest.mark.parametrize("kind", REPRESENTATIONS)
def test_every_kind_comes_back_grown_or_not(tmp_path, kind):
    if SMALLER[kind] is None:
        field = load(bundled("primitives"))
    else:
        field = REPRESENTATIONS[kind](**SMALLER[kind]).build(Domain.cube(1.0), torch.Generator().manual_seed(1))
        if isinstance(field, Field):
            field.refine(1.0)
    save(field, tmp_path / "field.safetensors")
    again = load(tmp_path / "field.safetensors")
    assert again.config == field.config and again.domain == field.domain
    stored = again.state_dict()
    assert list(stored) == list(field.state_dict())
    for name, tensor in field.state_dict().items():
        assert torch.equal(stored[name], tensor), name
    generator = torch.Generator().manual_seed(2)
    positions = torch.rand(64, 3, generator=generator) * 2 - 1
    if isinstance(field, Field):
        assert torch.equal(again.density(positions), field.density(positions))


def test_files_of_the_first_version_open(tmp_path):
    """The header as it was before scenes could be made of others."""
    field = small_field()
    place = {"rotation": [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], "translation": [1, 2, 3], "scale": 0.5}
    header = {
        "schema": 1, "volkit": "0.1.0", "kind": "hash_grid", "config": asdict(SMALL), "frame": "yup",
        "domain": asdict(field.domain), "world_from_local": place, "provenance": {"steps": 7},
    }  # fmt: skip
    tensors = {name: tensor.detach().contiguous() for name, tensor in field.state_dict().items()}
    save_file(tensors, tmp_path / "a.safetensors", metadata={"volkit": json.dumps(header)})
    again = load(tmp_path / "a.safetensors")
    assert again.frame == "yup" and again.world_from_local.scale == 0.5 and again.provenance == {"steps": 7}
    assert torch.equal(again.table, field.table) and again.domain == field.domain


@pytest.mark.parametrize("textured", [True, False])
def test_meshes_of_older_files_have_a_material(tmp_path, textured):
    """They had one texture with a finish, or colours at the vertices: the layout of files of version 0.1.0."""
    corners = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32)
    colours = torch.tensor([[255, 0, 0, 255], [0, 255, 0, 255], [0, 0, 255, 255], [9, 9, 9, 255]], dtype=torch.uint8)
    texture, finish = (torch.arange(16).view(2, 2, 4) * 10 + 90).byte(), torch.tensor([[[255, 128, 0]]]).byte()
    tensors = {"vertices": corners, "faces": faces, "corner_uv": torch.zeros(0, 3, 2), "colours": colours,
               "texture": torch.zeros(0, 0, 4, dtype=torch.uint8)}  # fmt: skip
    if textured:
        uv = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])[faces.long()]
        tensors |= {"corner_uv": uv, "colours": colours[:0], "texture": texture, "metallic_roughness": finish}
    box = {"lower": [-1.1, -1.1, -0.1], "upper": [1.1, 1.1, 0.1], "contracted": False}
    place = {"rotation": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]], "translation": [0, 0, 0], "scale": 1.0}
    config = {"vertices": 4, "faces": 2, "texture": list(tensors["texture"].shape[:2])}
    header = {"schema": 1, "volkit": "0.1.0", "kind": "mesh", "config": config, "domain": box, "frame": "zup",
              "world_from_local": place, "provenance": {}}  # fmt: skip
    save_file(tensors, tmp_path / "a.safetensors", metadata={"volkit": json.dumps(header)})
    mesh = load(tmp_path / "a.safetensors")
    assert torch.equal(mesh.vertices, corners) and torch.equal(mesh.faces, faces)
    if textured:
        assert mesh.has_one_texture and torch.equal(mesh.texture, texture)
        assert torch.equal(mesh.metallic_roughness, finish)
        middle = mesh.colours_at(torch.tensor([0]), torch.tensor([[0.25, 0.25, 0.5]]))  # uv (0.75, 0.5)
        assert (255 * middle[0, 3]).item() == pytest.approx((160 + 240) / 2, abs=1e-3)  # the right column's texels
    else:
        assert mesh.config.materials[0].alpha_mode == "opaque" and torch.equal(mesh.colours, colours)


@pytest.mark.parametrize("kind", ["tensor_vm", "tensor_cp", "planes"])
def test_densities_of_older_files_are_per_unit(tmp_path, kind):
    """They said 25 (tensors) or nothing (planes, which meant 1); the factor is now one per edge of the box."""
    config = replace(CONFIGS[kind], density_scale=3.0 * (1.0 if kind == "planes" else 25.0))
    field = config.build(Domain((-1.5, -1.0, -1.5), (1.5, 1.0, 1.5)), torch.Generator().manual_seed(0))
    path = tmp_path / "a.safetensors"
    save(field, path)

    def older(header):
        del header["config"]["density_scale"]
        if kind != "planes":
            header["config"]["distance_scale"] = 25.0

    rewritten(path, older)
    again, points = load(path), torch.rand(50, 3, generator=torch.Generator().manual_seed(1)) * 2 - 1
    assert again.config == config and (field.density(points) > 0).any()
    assert torch.equal(again.density(points), field.density(points))


PARTS = {
    "a part that is not there": lambda h: h.update(parts=[1]),
    "a part that is the whole": lambda h: h.update(parts=[len(h["scenes"])]),
    "a part of itself": lambda h: h["scenes"][0].update(kind="edited", config={"cuts": []}, parts=[0]),
    "parts that are no numbers": lambda h: h.update(parts=[True]),
    "no table": lambda h: h.update(scenes=3),
    "rows that are none": lambda h: h.update(scenes=[None]),
    "no scenes": lambda h: h.pop("scenes"),
    "an unknown kind": lambda h: h["scenes"][0].update(kind="nonsense"),
    "a whole that has no parts": lambda h: h.update(parts=[]),
}


@pytest.mark.parametrize("fault", PARTS)
def test_wrappers_that_cannot_be_are_refused(tmp_path, fault):
    path = tmp_path / "a.safetensors"
    save(Edited(small_field(), ()), path)
    rewritten(path, PARTS[fault])
    with pytest.raises(FormatError, match=r"a\.safetensors"):
        load(path)


def test_a_small_file_cannot_ask_for_ever(tmp_path):
    """Thirty scenes, each made of the one before, twice: a thousand million questions for every point."""
    path = tmp_path / "a.safetensors"
    save(Composed([small_field()]), path)

    def grow(header):
        whole = {name: header[name] for name in ("kind", "config", "domain", "world_from_local", "frame", "provenance")}
        for index in range(1, 30):
            header["scenes"].append({**whole, "parts": [index - 1] * 2})
        header["parts"] = [29, 29]

    rewritten(path, grow)
    with pytest.raises(FormatError, match="every query would reach"):
        load(path)


def test_links_that_lead_nowhere_are_refused(tmp_path):
    field = REPRESENTATIONS["voxels"](resolution=8, start=8).build(Domain.cube(1.0), torch.Generator())
    field.links[0, 0, 0] = 1 << 20
    save(field, tmp_path / "field.safetensors")
    with pytest.raises(FormatError, match=r"field\.safetensors"):
        load(tmp_path / "field.safetensors")


def test_a_file_is_known_by_its_content(tmp_path):
    save(small_field(), tmp_path / "field.safetensors")
    (tmp_path / "field.safetensors").rename(tmp_path / "field.bin")
    assert load(tmp_path / "field.bin").config == SMALL


HOSTILE = {
    "kind": lambda h: h.update(kind="nonsense"),
    "kind of another type": lambda h: h.update(kind=["hash_grid"]),
    "schema": lambda h: h.update(schema=99),
    "unknown key": lambda h: h["config"].update(extra=1),
    "wrong type": lambda h: h["config"].update(levels="four"),
    "text that is no choice": lambda h: h["config"].update(products="float8"),
    "table too large": lambda h: h["config"].update(log2_table=40, levels=64),
    "shapes do not fit": lambda h: h["config"].update(width=32),
    "no config": lambda h: h.pop("config"),
    "domain upside down": lambda h: h["domain"].update(lower=[9.0, 9.0, 9.0]),
    "domain NaN": lambda h: h["domain"].update(lower=[float("nan")] * 3),
    "rotation": lambda h: h["world_from_local"].update(rotation=[[1.0, 0.0, 0.0]] * 3),
    "names": lambda h: h["capture"].update(names=["a"]),
    "lens": lambda h: h["capture"].update(lens="mirror"),
    "nesting": lambda h: h.update(config=json.loads("[" * 500 + "]" * 500)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_are_refused(tmp_path, name):
    path = tmp_path / "field.safetensors"
    save(small_field(), path)
    rewritten(path, HOSTILE[name])
    with pytest.raises(FormatError, match=r"field\.safetensors: .+; .+"):
        load(path)


GREEDY = {
    "splats": (SplatsConfig(4, 0), {"count": 10**11}),
    "hash_grid": (replace(SMALL, lookup="nerfstudio"), {"log2_table": 24, "levels": 32, "per_level_scale": 1.0}),
}


@pytest.mark.parametrize("kind", GREEDY)
def test_a_small_file_cannot_ask_for_much_memory(tmp_path, kind):
    """Also of kinds that read values while they are built: the spacing of splats, nerfstudio's scales."""
    config, much = GREEDY[kind]
    path = tmp_path / "a.safetensors"
    save(config.build(Domain.cube(1.0), torch.Generator().manual_seed(0)), path)
    load(path)
    rewritten(path, lambda header: header["config"].update(much))
    with pytest.raises(FormatError, match=r"its config needs \d{9,} values"):
        load(path)


def test_tensors_with_nan_are_refused(tmp_path):
    field = small_field()
    with torch.no_grad():
        field.table[5, 1] = float("nan")
    save(field, tmp_path / "field.safetensors")
    with pytest.raises(FormatError, match="'table' contains NaN"):
        load(tmp_path / "field.safetensors")


def test_truncation_anywhere_is_refused(tmp_path):
    path = tmp_path / "field.safetensors"
    save(small_field(), path)
    data = path.read_bytes()
    for keep in (0, 5, 8, 9, 100, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:keep])
        with pytest.raises(FormatError, match=r"field\.safetensors"):
            load(path)


def test_foreign_safetensors_are_refused(tmp_path):
    from safetensors.torch import save_file

    save_file({"x": torch.ones(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(FormatError, match="no 'volkit' header"):
        load(tmp_path / "foreign.safetensors")


def test_failed_writes_leave_nothing(tmp_path):
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(FormatError, match="is a folder"):
        save(small_field(), tmp_path / "folder.safetensors")
    (tmp_path / "file").touch()
    with pytest.raises(FormatError, match="field"):
        save(small_field(), tmp_path / "file" / "field.safetensors")
    with pytest.raises(FormatError, match="names no format"):
        save(small_field(), tmp_path / "field.unknown")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.safetensors"]


def test_a_field_is_read_without_the_compiler_of_torch(tmp_path):
    """Its import takes as long as torch's own; sizes are counted on the meta device, where most operations need it."""
    for name in ("hash_grid", "tensor_vm", "tensor_cp", "planes", "mlp"):
        save(kinds.small_field(name), tmp_path / f"{name}.safetensors")
    program = (
        "import sys; from pathlib import Path; from volkit.io import load; "
        "[load(path) for path in Path(sys.argv[1]).iterdir()]; sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path)], timeout=120).returncode == 0
