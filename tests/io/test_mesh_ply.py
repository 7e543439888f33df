"""Meshes of `.ply` files as scanners and editors write them, from their layouts, against what these say."""

import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from plyfile import PlyData, PlyElement
from test_mesh_parts import RED, at, notes

from volkit import load, save
from volkit.files.errors import FormatError

SQUARE = ((0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0))
UTM = np.array([500_000.25, 4_649_776.5, 120.125])


def ply(path: Path, vertices, faces, *, vertex: str = "", face: str = "", kind: str = "float", comments=(), rest=""):
    """A text file; rows as strings, `vertex` and `face` the properties beside positions and lists, a line each."""
    columns = [f"property {kind} {axis}" for axis in "xyz"] + vertex.split(";") * bool(vertex)
    lists = ["property list uchar int vertex_indices", *face.split(";") * bool(face)]
    lines = ["ply", "format ascii 1.0", *(f"comment {one}" for one in comments), f"element vertex {len(vertices)}",
             *columns, f"element face {len(faces)}", *lists, "end_header",
             *(" ".join(map(str, row)) for row in vertices), *faces]  # fmt: skip
    path.write_bytes(("\n".join(lines) + "\n" + rest).encode("gbk"))
    return path


def area(mesh) -> float:
    corners = mesh.world_from_local.points(mesh.vertices.double())[mesh.faces.long()]
    return float(torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=1).sum() / 2)


def test_polygons_that_are_not_convex_are_cut(tmp_path: Path) -> None:
    """An arrow of area 1/4; a fan from its first corner would cover 3/4."""
    arrow = ((1, 0, 0), (1, 1, 0), (0, 1, 0), (0.75, 0.75, 0))
    mesh = load(ply(tmp_path / "a.ply", arrow, ["4 0 1 2 3"], comments=["量"]))
    assert len(mesh.faces) == 2 and area(mesh) == pytest.approx(0.25)
    for corner in mesh.faces.tolist():
        assert {1, 3} <= set(corner)  # the diagonal that lies inside


@pytest.mark.parametrize(
    ("kind", "row", "wanted"),
    [("uchar", (200, 30, 30), [200, 30, 30]), ("ushort", (65535, 0, 32896), [255, 0, 128]),
     ("int", (200, 30, 30), [200, 30, 30]), ("float", (1.0, 0.5, 0.25), [255, 128, 64]),
     ("double", (0.0, 1.0, 0.2), [0, 255, 51])],
)  # fmt: skip
@pytest.mark.parametrize("owner", ["vertex", "face"])
def test_colours_of_any_type_and_owner(tmp_path: Path, kind: str, row, wanted: list[int], owner: str) -> None:
    names = ";".join(f"property {kind} {name}" for name in ("red", "green", "blue"))
    words = " ".join(map(str, row))
    if owner == "vertex":
        path = ply(tmp_path / "a.ply", [(*place, words) for place in SQUARE], ["4 0 1 2 3"], vertex=names)
    else:
        path = ply(tmp_path / "a.ply", SQUARE, [f"4 0 1 2 3 {words}"], face=names)
    assert at(load(path), (0.3, 0.6)) == [*wanted, 255]


def test_each_face_keeps_its_own_colour(tmp_path: Path) -> None:
    names = ";".join(f"property uchar {name}" for name in ("red", "green", "blue", "alpha"))
    mesh = load(ply(tmp_path / "a.ply", SQUARE, ["3 0 1 2 255 0 0 255", "3 0 2 3 0 0 255 100"], face=names))
    assert at(mesh, (0.9, 0.1)) == [255, 0, 0, 255] and at(mesh, (0.1, 0.9)) == [0, 0, 255, 100]
    assert at(mesh, (0.52, 0.5)) == [255, 0, 0, 255]  # up to the edge between them


def test_pictures_by_corners_and_by_vertices(tmp_path: Path) -> None:
    """MeshLab's layouts: two pictures by faces, and one by vertices; v runs up."""
    stripes = np.zeros((8, 8, 4), np.uint8) + np.array([0, 0, 0, 255], np.uint8)
    stripes[:4, :, 1] = 255  # green above
    Image.fromarray(stripes).save(tmp_path / "Stripes one.png")
    Image.fromarray(np.tile(RED, (4, 4, 1))).save(tmp_path / "red.png")
    face = "property list uchar float texcoord;property int texnumber"
    uv = "8 0 0 1 0 1 1 0 1"
    mesh = load(ply(tmp_path / "a.ply", [*SQUARE, *((x + 2, y, z) for x, y, z in SQUARE)],
                    [f"4 0 1 2 3 {uv} 0", f"4 4 5 6 7 {uv} 1"], face=face,
                    comments=["TextureFile stripes one.png", "TextureFile red.png"]))  # fmt: skip
    assert at(mesh, (0.5, 0.8)) == [0, 255, 0, 255] and at(mesh, (0.5, 0.2)) == [0, 0, 0, 255]
    assert at(mesh, (2.5, 0.5)) == RED.tolist() and len(mesh.config.materials) == 2 and not notes(mesh)
    rows = [(x, y, z, x, y) for x, y, z in SQUARE]
    vertex = "property float texture_u;property float texture_v"
    mesh = load(ply(tmp_path / "b.ply", rows, ["4 0 1 2 3"], vertex=vertex, comments=["TextureFile Stripes one.png"]))
    assert at(mesh, (0.5, 0.8)) == [0, 255, 0, 255] and at(mesh, (0.5, 0.2)) == [0, 0, 0, 255]
    assert len(mesh.vertices) == 4


def test_pictures_stay_in_their_folder_and_are_named(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.fromarray(np.tile(RED, (4, 4, 1))).save(tmp_path / "red.png")
    rows = [(x, y, z, x, y) for x, y, z in SQUARE]
    vertex = "property float s;property float t"
    for name, fact in (("../red.png", "outside its folder"), ("none.png", "not there")):
        path = ply(tmp_path / "in" / "a.ply", rows, ["4 0 1 2 3"], vertex=vertex, comments=[f"TextureFile {name}"])
        with pytest.raises(FormatError, match=fact):
            load(path)
    plain = ply(tmp_path / "in" / "b.ply", SQUARE, ["4 0 1 2 3"], comments=["TextureFile none.png"])
    assert "has no uv" in notes(load(plain))


def test_strips_and_other_elements(tmp_path: Path) -> None:
    """Stanford's layout: strips divided by -1, every second triangle turned."""
    vertex = np.array([(*place,) for place in (*SQUARE, (2, 0, 0))], [(axis, "f4") for axis in "xyz"])
    strips = np.empty(1, [("vertex_indices", object)])
    strips["vertex_indices"][0] = np.array([0, 1, 3, 2, -1, 1, 4, 2], np.int32)
    edge = np.array([(0, 1)], [("vertex1", "i4"), ("vertex2", "i4")])
    elements = [PlyElement.describe(vertex, "vertex"), PlyElement.describe(strips, "tristrips"),
                PlyElement.describe(edge, "edge")]  # fmt: skip
    face = PlyElement.describe(np.empty(0, [("vertex_indices", object)]), "face", len_types={"vertex_indices": "u1"},
                               val_types={"vertex_indices": "i4"})  # fmt: skip
    PlyData([elements[0], face, *elements[1:]]).write(tmp_path / "a.ply")
    mesh = load(tmp_path / "a.ply")
    assert area(mesh) == pytest.approx(1.5) and "edge" in notes(mesh)
    corners = mesh.vertices[mesh.faces.long()]
    assert (torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])[:, 2] > 0).all()


def test_triangles_are_read_alike_in_text_and_binary(tmp_path: Path) -> None:
    path = ply(tmp_path / "a.ply", SQUARE, ["3 0 1 2", "3 0 2 3"])
    text = load(path)
    found = PlyData.read(path)
    for order in "<>":
        PlyData(found.elements, byte_order=order).write(tmp_path / "b.ply")
        binary = load(tmp_path / "b.ply")
        assert torch.equal(text.faces, binary.faces) and torch.equal(text.vertices, binary.vertices)


@pytest.mark.parametrize("suffix", [".ply", ".glb", ".obj", ".usdc", ".safetensors"])
def test_georeferenced_meshes_keep_their_millimetres(tmp_path: Path, suffix: str) -> None:
    """A model of 3 m in UTM, and one of 80 km, written and read: float32 alone would round to half a metre."""
    if suffix == ".usdc":
        pytest.importorskip("pxr")
    for size in (3.0, 80_000.0):
        wanted = UTM + size * np.array([*SQUARE, (0.123456, 0.654321, 0.5)])
        source = ply(tmp_path / "utm.ply", wanted.tolist(), ["3 0 1 4", "3 1 2 4", "3 2 3 4"], kind="double")
        save(load(source), tmp_path / f"out{suffix}")
        mesh = load(tmp_path / f"out{suffix}").view_in_frame("zup")
        found = mesh.world_from_local.points(mesh.vertices.double()).numpy()
        # the larger one's remainders are up to 40 km, of which float32 has 2 mm
        order = [np.lexsort(np.round(rows).T) for rows in (found, wanted)]
        np.testing.assert_allclose(found[order[0]], wanted[order[1]], atol=max(1e-3, 3e-8 * size), rtol=0)


def test_an_stl_with_a_tail_is_read(tmp_path: Path) -> None:
    corners = np.array(SQUARE, "<f4")[[0, 1, 2]]
    body = bytes(80) + struct.pack("<I", 1) + bytes(12) + corners.tobytes() + bytes(2)
    (tmp_path / "a.stl").write_bytes(body + b"end\n")
    mesh = load(tmp_path / "a.stl")
    assert area(mesh) == pytest.approx(0.5)
