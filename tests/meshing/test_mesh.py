"""Meshes as teachers: drawn by rays, textured right way up, read from files, converted to splats and fields."""

import json
import math

import pytest
import torch

from volkit.cli import main
from volkit.geometry import Cameras
from volkit.io import FormatError, load, save
from volkit.rendering import renderer_for
from volkit.representations import Mesh

pytest.importorskip("embreex")
pytest.importorskip("trimesh")


def _square(**looks) -> Mesh:
    """The square [-1, 1]^2 at z = 0, its first corner at (-1, -1)."""
    vertices = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    return Mesh.of(vertices, torch.tensor([[0, 1, 2], [0, 2, 3]]), **looks)


def _above(size: int = 64) -> Cameras:
    """From +Z, the picture's up is +Y."""
    centre = torch.tensor([[0.0, 0.0, 4.0]])
    return Cameras.looking_at(centre, torch.zeros(3), torch.tensor([0.0, 1.0, 0.0]), 1.5 * size, (size, size))


def test_a_square_is_where_it_is():
    picture = renderer_for(_square())(_square(), _above())
    # its side is 2 * 96 / 4 = 48 of 64 pixels
    assert picture.opacity[0, 8:56, 8:56].eq(1).all() and picture.opacity.sum().item() == pytest.approx(48**2, rel=1e-3)
    assert picture.median is not None and picture.normal is not None
    assert picture.median[0, 32, 32].item() == pytest.approx(4.0, rel=1e-3)  # half a pixel off the axis
    torch.testing.assert_close(picture.normal[0, 32, 32], torch.tensor([0.0, 0.0, 1.0]))
    assert picture.depth[0, 10, 10].item() == pytest.approx(math.hypot(4.0, *(21.5 * 4 / 96,) * 2), rel=1e-3)


def test_texture_lies_the_right_way_round():
    texture = torch.zeros(2, 2, 4, dtype=torch.uint8)
    texture[..., 3] = 255
    texture[0, 0, 0], texture[0, 1, 1], texture[1, 0, 2] = 255, 255, 255  # red, green above; blue, black below
    uv = torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    mesh = _square(corner_uv=uv[torch.tensor([[0, 1, 2], [0, 2, 3]])], texture=texture)
    rgb = renderer_for(mesh)(mesh, _above()).rgb[0]
    # 12 pixels from a side lies the middle of a texel: between pixels 19 and 20, and 43 and 44, each half a pixel of
    # 24 away, of which another texel has that share
    share = 0.5 / 24 + 1e-3  # and rounding
    for y, x, wanted in ((19, 19, [1, 0, 0]), (19, 44, [0, 1, 0]), (44, 19, [0, 0, 1]), (44, 44, [0, 0, 0])):
        assert rgb[y, x].tolist() == pytest.approx(wanted, abs=2.0 * share)  # in both directions


def test_vertex_colours_are_mixed():
    colours = torch.tensor([[0, 0, 0, 255], [255, 0, 0, 255], [255, 0, 0, 255], [0, 0, 0, 255]], dtype=torch.uint8)
    rgb = renderer_for(_square())(_square(colours=colours), _above()).rgb[0]
    light = (20.5 - 8) / 48  # from edge to edge
    coded = 1.055 * light ** (1 / 2.4) - 0.055  # IEC 61966-2-1
    assert rgb[32, 20, 0].item() == pytest.approx(coded, abs=2e-3)  # the mean of nine samples of a concave curve


def _panes(front_alpha: int) -> Mesh:
    """Red glass at z = 1 above green glass of alpha 0.6 at z = 0 above a blue ground at z = -1."""
    square = torch.tensor([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    vertices = torch.cat([square + torch.tensor([0.0, 0.0, z]) for z in (1.0, 0.0, -1.0)])
    faces = torch.cat([torch.tensor([[0, 1, 2], [0, 2, 3]]) + 4 * number for number in range(3)])
    colours = torch.tensor([[255, 0, 0, front_alpha], [0, 255, 0, 153], [0, 0, 255, 255]], dtype=torch.uint8)
    return Mesh.of(vertices, faces, colours=colours.repeat_interleave(4, 0))


@pytest.mark.parametrize("front_alpha", [0, 51])
@pytest.mark.parametrize("learning", [False, True], ids=["rays", "raster"])
def test_what_is_behind_glass_shows_through(front_alpha, learning):
    mesh, first = _panes(front_alpha), front_alpha / 255
    mesh.vertices.requires_grad_(learning)
    picture = renderer_for(mesh)(mesh, _above())
    assert picture.rgb.requires_grad == learning
    middle = picture.rgb[0, 28:36, 28:36].detach()
    wanted = torch.tensor([first, (1 - first) * 0.6, (1 - first) * 0.4])
    torch.testing.assert_close(middle, wanted.expand_as(middle), atol=1e-5, rtol=0)
    assert picture.opacity[0, 32, 32].item() == pytest.approx(1.0, abs=1e-5)
    assert picture.depth is not None
    far = 3.0 * first + 4.0 * (1 - first) * 0.6 + 5.0 * (1 - first) * 0.4  # the eye is at z = 4
    assert picture.depth[0, 32, 32].item() == pytest.approx(far, rel=1e-3)  # half a pixel off the axis


def test_glass_learns_by_what_shows_through():
    """d rgb / d alpha of the front pane is its colour minus what is behind it."""
    mesh = _panes(51)
    mesh.colours = mesh.colours.float() / 255
    mesh.colours.requires_grad_(True)
    renderer_for(mesh)(mesh, _above()).rgb[0, 32, 32].sum().backward()
    # red 1 against green 0.6 and blue 0.4: they sum to as much; by channel they do not
    assert mesh.colours.grad is not None
    assert mesh.colours.grad[:4, 3].sum().item() == pytest.approx(0.0, abs=1e-5)
    mesh.colours.grad = None
    renderer_for(mesh)(mesh, _above()).rgb[0, 32, 32, 1].backward()
    assert mesh.colours.grad[:4, 3].sum().item() == pytest.approx(-0.6, abs=1e-5)


def test_it_comes_back_from_a_file(tmp_path):
    mesh = _square()
    save(mesh, tmp_path / "a.safetensors")
    again = load(tmp_path / "a.safetensors")
    assert isinstance(again, Mesh) and all(
        torch.equal(a, b) for a, b in zip(again.buffers(), mesh.buffers(), strict=True)
    )


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_files_of_others(tmp_path, suffix):
    import numpy as np
    import trimesh

    box = trimesh.creation.box((1.0, 2.0, 3.0))
    box.visual.vertex_colors = np.full((8, 4), (255, 0, 0, 255), np.uint8)
    path = tmp_path / f"box{suffix}"
    box.export(path)
    mesh = load(path)
    assert isinstance(mesh, Mesh) and len(mesh.faces) == 12
    world = mesh.world_from_local.points(mesh.vertices)
    # +Y of the file is up: 2 along +Z
    assert (world.amax(0) - world.amin(0)).tolist() == pytest.approx([1.0, 3.0, 2.0], abs=1e-5)


@pytest.mark.parametrize("damage", [b"", b"glTF", b"glTF\x02\0\0\0\xff\xff\xff\x7f\xff\xff\xff\x7fJSON", b"{}"])
def test_damaged_files_are_refused_by_name(tmp_path, damage):
    (tmp_path / "a.glb").write_bytes(damage)
    with pytest.raises(FormatError, match=r"a\.glb"):
        load(tmp_path / "a.glb")


def test_faces_that_lead_nowhere_are_refused(tmp_path):
    mesh = _square()
    mesh.faces[0, 0] = 99
    save(mesh, tmp_path / "a.safetensors")
    with pytest.raises(FormatError, match="99"):
        load(tmp_path / "a.safetensors")


def test_faces_without_area_are_left_out(tmp_path, capsys):
    mesh = _square()
    whole = Mesh.of(mesh.vertices, torch.cat([mesh.faces, torch.tensor([[0, 0, 1], [2, 2, 2]], dtype=torch.int32)]))
    save(whole, tmp_path / "a.safetensors")
    assert main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.glb"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["notes"] == ["2 faces without area are left out"] and report["triangles"] == 2
    whole.faces[:] = 1
    save(whole, tmp_path / "c.safetensors")
    assert main(["convert", str(tmp_path / "c.safetensors"), str(tmp_path / "d.glb")]) == 1
    assert "no face has an area" in capsys.readouterr().err and not (tmp_path / "d.glb").exists()


def test_missing_pictures_are_named(tmp_path):
    """A picture is refused, a whole library of materials is a note: such files are shared without it."""
    uv = torch.rand(2, 3, 2, generator=torch.Generator().manual_seed(0))
    save(_square(corner_uv=uv, texture=torch.full((4, 4, 4), 255, dtype=torch.uint8)), tmp_path / "a.obj")
    load(tmp_path / "a.obj")
    (tmp_path / "a_baseColor.png").unlink()
    with pytest.raises(FormatError, match=r"names a_baseColor\.png, which is not there; keep the files"):
        load(tmp_path / "a.obj")
    (tmp_path / "a.mtl").unlink()
    assert "names a.mtl, which is not there" in load(tmp_path / "a.obj").provenance["notes"][0]


@pytest.mark.parametrize("suffix", [".obj", ".glb", ".ply"])
def test_vertices_that_are_not_finite_are_refused(tmp_path, suffix):
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.vertices[3] = float("nan")
    ball.export(tmp_path / f"a{suffix}")
    with pytest.raises(FormatError, match="vertices are not finite; export it again"):
        load(tmp_path / f"a{suffix}")


@pytest.mark.parametrize("kind", ["splats", "hash_grid"])
def test_a_mesh_teaches(tmp_path, capsys, small_kinds, kind):
    import trimesh

    ball = trimesh.creation.icosphere(subdivisions=3)
    ball.visual.vertex_colors = (127 + 120 * ball.vertices).astype("uint8")
    ball.export(tmp_path / "ball.glb")
    words = ["convert", str(tmp_path / "ball.glb"), str(tmp_path / "a.safetensors"), "--to", kind, "--budget", "120"]
    assert main([*words, "--size", "64", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["from"] == "mesh" and report["psnr_to_source"] > 20.0  # 120 steps; a white picture has 8


def _slab(picture: torch.Tensor) -> Mesh:
    """The box [-1, 1]^2 x [-0.3, 0.3] with the middle half of a picture laid across x."""
    import trimesh

    box = trimesh.creation.box((2.0, 2.0, 0.6))
    vertices, faces = torch.from_numpy(box.vertices).float(), torch.from_numpy(box.faces).long()
    uv = torch.stack([0.5 + 0.25 * vertices[:, 0], torch.full((len(vertices),), 0.5)], -1)
    colour = torch.full((*picture.shape[:2], 4), 255, dtype=torch.uint8)
    return Mesh.of(vertices, faces, corner_uv=uv[faces], texture=colour, metallic_roughness=picture)


def test_roughness_and_metalness_are_baked(tmp_path, capsys, few_views):
    low, high = [255, 40, 0], [255, 200, 250]
    save(_slab(torch.tensor([[low, low, high, high]]).byte()), tmp_path / "a.glb")
    line = ["convert", str(tmp_path / "a.glb"), str(tmp_path / "b.glb"), "--faces", "200", "--texture", "64"]
    assert main([*line, "--cells", "32", "--size", "64"]) == 0
    capsys.readouterr()
    made = load(tmp_path / "b.glb")
    finish = made.as_metallic_roughness()
    middle = made.world_from_local.points(made.triangles.corners.mean(1))
    found = 255 * finish.colours_at(torch.arange(len(made.faces)), torch.full((len(made.faces), 3), 1 / 3))[:, 1:3]
    left, right = middle[:, 0] < -0.6, middle[:, 0] > 0.6  # between them it is mixed
    assert left.any() and right.any()
    for side, wanted in ((left, (40.0, 0.0)), (right, (200.0, 250.0))):
        # 8 bits twice, and pictures of 64 pixels
        assert (found[side] - torch.tensor(wanted)).abs().median() < 3.0


def test_a_sheet_is_no_solid(tmp_path, capsys):
    save(_square(), tmp_path / "a.glb")
    line = [
        "convert",
        str(tmp_path / "a.glb"),
        str(tmp_path / "b.glb"),
        "--faces",
        "200",
        "--cells",
        "32",
        "--size",
        "64",
    ]
    assert main(line) == 1 and "no surface with an inside" in capsys.readouterr().err
    assert not (tmp_path / "b.glb").exists()
