"""Materials of .obj files as programs spell them; every right colour is that of the picture written here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from volkit import load, save
from volkit.cli import main
from volkit.files.errors import FormatError
from volkit.representations import Look, Material, Mesh, Texture

RED, BLUE = (200, 30, 30), (20, 40, 220)
QUAD = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
FACE = "f 1/1 2/2 3/3 4/4\n"


def write(folder: Path, statement: str, use: str = "usemtl m\n", library: str = "mtllib a.mtl\n") -> Path:
    (folder / "textures").mkdir(exist_ok=True)
    for place in (folder / "red.png", folder / "textures" / "Red one.png"):
        Image.fromarray(np.full((4, 4, 3), RED, np.uint8)).save(place)
    halves = np.full((16, 16, 3), RED, np.uint8)
    halves[:, 8:] = BLUE
    Image.fromarray(halves).save(folder / "halves.png")
    (folder / "a.mtl").write_text(f"newmtl m\n{statement}\n")
    (folder / "a.obj").write_text(library + QUAD + use + FACE)
    return folder / "a.obj"


def colours(path: Path, *places: tuple[float, float]) -> list[tuple[int, ...]]:
    """At points of the square, whose uv are their coordinates."""
    mesh, found = load(path), []
    for x, y in places:
        upper = y > x  # trimesh cuts the square along its diagonal from (0, 0)
        shares = torch.tensor([[1 - y, x, y - x]]) if upper else torch.tensor([[1 - x, x - y, y]])
        face = 1 if upper else 0
        corners = mesh.vertices[mesh.faces[face].long()][:, :2]
        order = [int((corners - torch.tensor(corner)).norm(dim=-1).argmin()) for corner in
                 (((0.0, 0.0), (1.0, 1.0), (0.0, 1.0)) if upper else ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0)))]  # fmt: skip
        own = torch.zeros(1, 3)
        own[:, order] = shares
        rgba = 255.0 * mesh.colours_at(torch.tensor([face]), own)[0]
        found.append(tuple(rgba.round().int().tolist()[:3]))
    return found


@pytest.mark.parametrize(
    "statement",
    ["map_Kd red.png", "map_Kd textures\\Red one.png", "map_Kd C:\\Users\\me\\red.png", "map_kd /home/me/red.png",
     "map_Kd -s 2 2 1 red.png", "map_Kd -o 0.5 -bm 0.2 -clamp off red.png", "map_Kd RED.PNG", 'map_Kd "red.png"'],
)  # fmt: skip
def test_pictures_are_found_however_they_are_spelt(tmp_path: Path, statement: str) -> None:
    assert colours(write(tmp_path, statement), (0.3, 0.6), (0.7, 0.2)) == [RED, RED]


def test_scale_and_offset_of_a_picture(tmp_path: Path) -> None:
    """-s 2 shows it twice, -o 0.5 begins in its middle: at x it is that of s x + o."""
    assert colours(write(tmp_path, "map_Kd -s 2 1 1 halves.png"), (0.125, 0.5), (0.375, 0.5), (0.625, 0.5)) == [
        RED, BLUE, RED]  # fmt: skip
    assert colours(write(tmp_path, "map_Kd -o 0.5 0 0 halves.png"), (0.25, 0.5), (0.75, 0.5)) == [BLUE, RED]
    clamped = "map_Kd -s 2 1 1 -clamp on halves.png"
    assert colours(write(tmp_path, clamped), (0.125, 0.5), (0.625, 0.5), (0.9, 0.5)) == [RED, BLUE, BLUE]


def test_the_only_material_is_used_where_none_is_named(tmp_path: Path) -> None:
    assert colours(write(tmp_path, "map_Kd red.png", use=""), (0.5, 0.25)) == [RED]


def test_several_libraries(tmp_path: Path) -> None:
    path = write(tmp_path, "map_Kd halves.png", use="usemtl second\n", library="mtllib a.mtl b two.mtl\n")
    (tmp_path / "b two.mtl").write_text("newmtl second\nmap_Kd red.png\n")
    path.write_text(path.read_text().replace("b two.mtl", "b.mtl"))
    (tmp_path / "b two.mtl").rename(tmp_path / "b.mtl")
    assert colours(path, (0.5, 0.25)) == [RED]


def test_a_missing_library_is_told_and_a_missing_picture_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "map_Kd red.png", library="mtllib gone.mtl\n")
    mesh = load(path)
    assert len(mesh.faces) == 2 and "gone.mtl, which is not there" in " ".join(dict(mesh.provenance)["notes"])
    with pytest.raises(FormatError, match=r"names blue\.png, which is not there"):
        load(write(tmp_path, "map_Kd blue.png"))


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    inside = tmp_path / "model"
    inside.mkdir()
    Image.fromarray(np.full((4, 4, 3), RED, np.uint8)).save(tmp_path / "secret.png")
    with pytest.raises(FormatError, match="outside its folder"):
        load(write(inside, "map_Kd ..\\secret.png"))
    (inside / "link.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(FormatError, match="outside its folder"):
        load(write(inside, "map_Kd link.png"))


def test_flat_parts_far_from_the_origin(tmp_path: Path) -> None:
    """The margin of their box is less than a step of float32 there."""
    (tmp_path / "a.obj").write_text(
        "v 500000.5 4649776.5 120\nv 500002.5 4649776.5 120\nv 500002.5 4649776.5 122\nf 1 2 3\n"
    )
    assert load(tmp_path / "a.obj").domain.extent[0] == pytest.approx(2.0, rel=1e-3)  # its margin


CONCAVE = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]  # an L of area 3: a fan from (0, 0) leaves it nowhere
ARROW = [(0, 1), (-1, -1), (0, 0), (1, -1)]  # area 1; cut from its first corner to (0, 0), and not across


@pytest.mark.parametrize("turned", range(6))
def test_polygons_that_are_not_convex(tmp_path: Path, turned: int) -> None:
    """Whatever corner comes first, the triangles add up to the polygon's area, none is turned over."""
    for polygon, area in ((CONCAVE, 3.0), (ARROW, 1.0)):
        own = polygon[turned % len(polygon) :] + polygon[: turned % len(polygon)]
        lines = [f"v {x} {y} {0.5 * x}" for x, y in own] + ["f " + " ".join(map(str, range(1 - len(own) - 1, 0)))]
        (tmp_path / "a.obj").write_text("\n".join(lines) + "\n")
        mesh = load(tmp_path / "a.obj")
        a, b, c = mesh.vertices[mesh.faces.long()].double().unbind(1)
        areas = 0.5 * torch.linalg.cross(b - a, c - a)[:, 2]  # seen from above, where x y are as they were
        assert len(areas) == len(polygon) - 2 and float(areas.min()) > 0.0
        assert float(areas.sum()) == pytest.approx(area, rel=1e-6)  # of float32


def test_polygons_of_usd_that_are_not_convex(tmp_path: Path) -> None:
    usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
    from pxr import UsdGeom

    stage = usd.Stage.CreateNew(str(tmp_path / "a.usda"))
    shape = UsdGeom.Mesh.Define(stage, "/shape")
    shape.CreatePointsAttr([(x, y, 0.0) for x, y in CONCAVE])
    shape.CreateFaceVertexCountsAttr([6])
    shape.CreateFaceVertexIndicesAttr([3, 4, 5, 0, 1, 2])
    stage.GetRootLayer().Save()
    mesh = load(tmp_path / "a.usda")
    a, b, c = mesh.vertices[mesh.faces.long()].double().unbind(1)
    areas = 0.5 * torch.linalg.cross(b - a, c - a)[:, 2]
    assert float(areas.min()) > 0.0 and float(areas.sum()) == pytest.approx(3.0, rel=1e-6)  # of float32


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "map_Kd red.png")
    data = (tmp_path / "red.png").read_bytes()
    (tmp_path / "red.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=r"names red\.png, which is no picture"):
        load(path)


def test_what_a_material_has_beyond_an_obj_is_named_and_its_colour_kept(tmp_path: Path, capsys) -> None:
    """The base colour lies by the second uv here, which the file's only uv then are; other texts read the lines."""
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    uv = corners[faces][..., :2]
    image = torch.tensor([[(*RED, 255), (*BLUE, 255)]], dtype=torch.uint8)
    flat = torch.full((1, 1, 3), 128, dtype=torch.uint8)
    material = Material("m", base_colour_texture=Texture(0, uv=1, wrap=("mirror", "mirror"), nearest=True),
                        normal_texture=Texture(1, uv=0), alpha_mode="mask")  # fmt: skip
    look = Look((material,), (image, flat), corner_uv=0.0 * uv, second_uv=uv)
    save(Mesh.build(corners, faces, look), tmp_path / "a.safetensors")
    assert main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.obj"), "--no-measure"]) == 0
    told = capsys.readouterr().err
    for loss in ("textures by other uv", "images mirrored", "texels as squares", "cutoffs of alpha"):
        assert loss in told
    lines = (tmp_path / "b.obj").read_text().splitlines()
    held = sorted(tuple(map(float, line.split()[1:])) for line in lines if line.startswith("vt "))
    assert held == [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]
    library = (tmp_path / "b.mtl").read_text()
    assert "map_Kd" in library and "norm" not in library
