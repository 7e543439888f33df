"""glTF whose arrays are packed or shared: meshopt, copies of one mesh; and pictures that are not read here."""

import base64
import json
import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_mesh_parts import QUAD, RED, Tree, at, notes

from volkit import load
from volkit.files.errors import FormatError

FILTERED = np.array([[0, 0, 1, 0], [0.6, 0, 0.8, 0], [0, -0.6, 0.8, 0], [-0.48, 0.6, 0.64, 0]], np.float32)


def pack(path: Path, name: str, *, required: bool = True) -> dict:
    """Rewrite a file of `Tree` with all its arrays packed by meshoptimizer itself, in place of plain ones."""
    meshopt = pytest.importorskip("meshopt")
    tree = json.loads(path.read_text())
    plain = base64.b64decode(tree["buffers"][0]["uri"].partition(",")[2])
    packed = bytearray()
    for accessor in tree["accessors"]:
        view = tree["bufferViews"][accessor["bufferView"]]
        data = plain[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
        rows = np.frombuffer(data, np.uint8).reshape(accessor["count"], -1)
        is_faces = accessor["type"] == "SCALAR"
        made = meshopt.encode_gltf_buffer(rows.view(np.uint16).ravel() if is_faces else rows, "TRIANGLES" if is_faces
                                          else "ATTRIBUTES")  # fmt: skip
        view["extensions"] = {name: {"buffer": 0, "byteOffset": len(packed), "byteLength": len(made), "byteStride":
                                     rows.shape[1], "count": len(rows),
                                     "mode": "TRIANGLES" if is_faces else "ATTRIBUTES"}}  # fmt: skip
        view |= {"buffer": 1}
        packed += made
    tree["buffers"] = [
        {"byteLength": len(packed), "uri": "data:;base64," + base64.b64encode(packed).decode()},
        {"byteLength": len(plain), "extensions": {name: {"fallback": True}}},
    ]
    tree["extensionsUsed"] = [name]
    tree |= {"extensionsRequired": [name]} if required else {}
    path.write_text(json.dumps(tree))
    return tree


def example(path: Path) -> None:
    tree = Tree()
    colours = np.array([[1, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1], [1, 1, 1, 1]], np.float32)
    tree.read(path, [tree.quad(COLOR_0=colours)], [tree.quad((3, 0, 0))])


@pytest.mark.parametrize("name", ["EXT_meshopt_compression", "KHR_meshopt_compression"])
def test_meshopt(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.gltf"
    example(path)
    plain = load(path)
    pack(path, name)
    packed = load(path)
    assert torch.equal(packed.vertices, plain.vertices) and torch.equal(packed.colours, plain.colours)
    # The codec may begin a triangle at another corner, no more.
    assert packed.faces.sort(1).values.tolist() == plain.faces.sort(1).values.tolist()
    assert at(packed, (0.999, 0.001)) == at(plain, (0.999, 0.001))


def test_filters_of_meshopt(tmp_path: Path) -> None:
    """Normals in octahedral bytes are those that were packed, to the filter's eight bits."""
    meshopt = pytest.importorskip("meshopt")
    tree = Tree()
    part = tree.quad()
    rows = meshopt.encode_filter_oct(FILTERED, 4, 8).reshape(4, 4)
    data = meshopt.encode_gltf_buffer(rows, "ATTRIBUTES")
    view = tree.view(data)
    place = tree.tree["bufferViews"][view]
    tree.tree["bufferViews"].append({"buffer": 0, "byteLength": 16, "extensions": {"EXT_meshopt_compression": {
        **place, "byteStride": 4, "count": 4, "mode": "ATTRIBUTES", "filter": "OCTAHEDRAL"}}})  # fmt: skip
    tree.tree["accessors"].append({"bufferView": view + 1, "componentType": 5120, "normalized": True, "count": 4,
                                   "type": "VEC3"})  # fmt: skip
    tree.tree["bufferViews"][view + 1]["byteStride"] = 4
    part["attributes"]["NORMAL"] = len(tree.tree["accessors"]) - 1
    mesh = tree.read(tmp_path / "a.gltf", [part], extensionsUsed=["EXT_meshopt_compression"])
    upright = mesh.view_in_frame("yup")
    found = upright.world_from_local.vectors(upright.normals.double())
    torch.testing.assert_close(found, torch.from_numpy(FILTERED[:, :3]).double(), atol=0.02, rtol=0)


@pytest.mark.parametrize("damage", [{"count": 1 << 40}, {"byteStride": 7}, {"mode": "POINTS"}, {"byteLength": 3}])
def test_damaged_meshopt_is_refused(tmp_path: Path, damage: dict) -> None:
    path = tmp_path / "a.gltf"
    example(path)
    tree = pack(path, "EXT_meshopt_compression")
    tree["bufferViews"][0]["extensions"]["EXT_meshopt_compression"] |= damage
    path.write_text(json.dumps(tree))
    with pytest.raises(FormatError, match=r"a\.gltf"):
        load(path)


def test_what_reads_meshopt_is_named_where_it_is_not_installed(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / "a.gltf"
    example(path)
    pack(path, "EXT_meshopt_compression", required=False)
    monkeypatch.setitem(sys.modules, "meshopt", None)
    monkeypatch.setattr("volkit.io.meshes.gltf_reader.find_spec", lambda package: None)
    with pytest.raises(FormatError, match=r"EXT_meshopt_compression.*meshopt is not installed.*pip install 'meshopt"):
        load(path)


def test_copies_of_a_mesh_are_drawn_each(tmp_path: Path) -> None:
    """EXT_mesh_gpu_instancing: by translation, rotation, then scale, each below the node's own transform."""
    tree = Tree()
    part, half = tree.quad(), np.sqrt(0.5)
    attributes = {
        "TRANSLATION": tree.array(np.array([[0, 0, 0], [5, 0, 0], [0, 7, 0]], np.float32)),
        "ROTATION": tree.array(np.array([[0, 0, 0, 1], [0, 0, half, half], [0, 0, 0, 1]], np.float32)),
        "SCALE": tree.array(np.array([[1, 1, 1], [2, 1, 1], [3, 3, 3]], np.float32)),
    }
    node = {"mesh": 0, "translation": [0, 0, 1], "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
    mesh = tree.read(tmp_path / "a.gltf", [part], nodes=[node], extensionsUsed=["EXT_mesh_gpu_instancing"],
                     extensionsRequired=["EXT_mesh_gpu_instancing"])  # fmt: skip
    upright = mesh.view_in_frame("yup")
    found = upright.world_from_local.points(upright.vertices.double())
    x, y = QUAD[:, 0], QUAD[:, 1]
    wanted = [np.stack(rows, 1) for rows in ((x, y), (5 - y, 2 * x), (3 * x, 7 + 3 * y))]
    wanted = np.concatenate([np.concatenate(wanted), np.ones((12, 1))], 1)
    order = [np.lexsort(np.round(rows, 3).T) for rows in (found.numpy(), wanted)]
    np.testing.assert_allclose(found.numpy()[order[0]], wanted[order[1]], atol=1e-6)
    assert len(mesh.faces) == 6 and not notes(mesh)


def test_copies_by_rows_that_differ_in_number_are_refused(tmp_path: Path) -> None:
    tree = Tree()
    part = tree.quad()
    attributes = {"TRANSLATION": tree.array(np.zeros((3, 3), np.float32)),
                  "SCALE": tree.array(np.ones((2, 3), np.float32))}  # fmt: skip
    node = {"mesh": 0, "extensions": {"EXT_mesh_gpu_instancing": {"attributes": attributes}}}
    with pytest.raises(FormatError, match="copies"):
        tree.read(tmp_path / "a.gltf", [part], nodes=[node])


@pytest.mark.parametrize(("mode", "values", "wanted"), [
    ("I;16", np.full((4, 4), 0x8080, np.uint16), [128, 128, 128, 255]),
    ("L", np.full((4, 4), 7, np.uint8), [7, 7, 7, 255]),
    ("LA", np.full((4, 4, 2), 90, np.uint8), [90, 90, 90, 90]),
])  # fmt: skip
def test_pictures_of_any_depth(tmp_path: Path, mode: str, values: np.ndarray, wanted: list[int]) -> None:
    tree, file = Tree(), BytesIO()
    number = tree.texture(np.tile(RED, (4, 4, 1)))
    Image.fromarray(values).save(file, "PNG")
    tree.tree["images"][0] = {"bufferView": tree.view(file.getvalue()), "mimeType": "image/png"}
    surface = {"baseColorTexture": {"index": number}}
    part = tree.quad(uv=QUAD[:, :2], material=tree.material(pbrMetallicRoughness=surface, alphaMode="BLEND"))
    assert at(tree.read(tmp_path / "a.gltf", [part]), (0.5, 0.5)) == wanted


def test_pictures_of_basis_universal(tmp_path: Path) -> None:
    """The plain picture beside one is read; where there is none, the extension is named."""
    for beside in (True, False):
        tree = Tree()
        number = tree.texture(np.tile(RED, (4, 4, 1)))
        texture = tree.tree["textures"][number]
        texture["extensions"] = {"KHR_texture_basisu": {"source": 0}}
        material = tree.material(pbrMetallicRoughness={"baseColorTexture": {"index": number}})
        part = tree.quad(uv=QUAD[:, :2], material=material)
        if beside:
            mesh = tree.read(tmp_path / "a.gltf", [part], extensionsUsed=["KHR_texture_basisu"])
            assert at(mesh, (0.5, 0.5)) == RED.tolist()
        else:
            del texture["source"]
            with pytest.raises(FormatError, match="KHR_texture_basisu"):
                tree.read(tmp_path / "a.gltf", [part], extensionsUsed=["KHR_texture_basisu"])
