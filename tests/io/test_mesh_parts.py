"""Looks and poses of the parts of a glTF, against what the standard says of small files written here."""

import base64
import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import trimesh
from PIL import Image

from volkit import load, save
from volkit.files.errors import FormatError
from volkit.geometry.colour import array_srgb_from_linear
from volkit.meshing.join import join_materials
from volkit.representations import Material

QUAD = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], np.float32)
RED = np.array([200, 30, 30, 255], np.uint8)


class Tree:
    """A glTF that grows; all arrays lie in one data URI."""

    def __init__(self) -> None:
        self.blob, self.tree = bytearray(), {"asset": {"version": "2.0"}, "accessors": [], "bufferViews": []}

    def view(self, data: bytes) -> int:
        self.blob += bytes(-len(self.blob) % 4)
        self.tree["bufferViews"].append({"buffer": 0, "byteOffset": len(self.blob), "byteLength": len(data)})
        self.blob += data
        return len(self.tree["bufferViews"]) - 1

    def array(self, values: np.ndarray, **more: Any) -> int:
        kind = {"float32": 5126, "uint8": 5121, "uint16": 5123}[values.dtype.name]
        flat = values.reshape(len(values), -1)
        shape = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[flat.shape[1]]
        row = {"bufferView": self.view(flat.tobytes()), "componentType": kind, "count": len(flat), "type": shape}
        self.tree["accessors"].append(row | more)
        return len(self.tree["accessors"]) - 1

    def quad(self, offset: tuple[float, ...] = (0, 0, 0), uv: np.ndarray | None = None, **more: Any) -> dict[str, Any]:
        attributes = {"POSITION": self.array(QUAD + np.float32(offset))}
        if uv is not None:
            attributes["TEXCOORD_0"] = self.array(uv.astype(np.float32))
        attributes |= {name: self.array(values) for name, values in more.items() if name.isupper()}
        faces = self.array(np.array([0, 1, 2, 0, 2, 3], np.uint16))
        others = {name: value for name, value in more.items() if not name.isupper()}
        return {"attributes": attributes, "indices": faces} | others

    def texture(self, pixels: np.ndarray, sampler: dict[str, int] | None = None) -> int:
        file = BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        self._add("images", {"bufferView": self.view(file.getvalue()), "mimeType": "image/png"})
        number = self._add("textures", {"source": len(self.tree["images"]) - 1})
        if sampler is not None:
            self.tree["textures"][number]["sampler"] = self._add("samplers", sampler)
        return number

    def material(self, **more: Any) -> int:
        return self._add("materials", more)

    def _add(self, kind: str, item: dict[str, Any]) -> int:
        self.tree.setdefault(kind, []).append(item)
        return len(self.tree[kind]) - 1

    def read(self, path: Path, *meshes: list[dict[str, Any]], nodes: list[dict[str, Any]] | None = None, **more: Any):
        placed = [{"mesh": number} for number in range(len(meshes))] if nodes is None else nodes
        children = {child for node in placed for child in node.get("children", ())}
        roots = [number for number in range(len(placed)) if number not in children]
        data = base64.b64encode(self.blob).decode()
        whole = self.tree | {
            "buffers": [{"byteLength": len(self.blob), "uri": f"data:application/octet-stream;base64,{data}"}],
            "meshes": [{"primitives": each} for each in meshes], "nodes": placed, "scene": 0,
            "scenes": [{"nodes": roots}],
        } | more  # fmt: skip
        path.write_text(json.dumps(whole))
        return load(path)


def at(mesh, place: tuple[float, float]) -> list[int]:
    """Colour and alpha in bytes at a point of the plane z = 0."""
    corners = mesh.vertices[mesh.faces.long()][..., :2].double()
    matrix = torch.cat([corners.transpose(1, 2), torch.ones(len(corners), 1, 3, dtype=torch.float64)], 1)
    shares = torch.linalg.solve(matrix, torch.tensor([*place, 1.0], dtype=torch.float64).expand(len(corners), 3))
    face = int(shares.amin(1).argmax())
    return (255.0 * mesh.colours_at(torch.tensor([face]), shares[face][None].float()))[0].round().int().tolist()


def notes(mesh) -> str:
    return " ".join(dict(mesh.provenance).get("notes", ()))


def test_plain_materials_keep_their_colours(tmp_path: Path) -> None:
    """Factors are linear: 0.25 is the byte 137."""
    tree = Tree()
    red, grey = (tree.material(pbrMetallicRoughness={"baseColorFactor": f, "metallicFactor": 0.0}) for f in
                 ([1, 0, 0, 0.3], [0.25, 0.25, 0.25, 1]))  # fmt: skip
    mesh = tree.read(tmp_path / "a.gltf", [tree.quad(material=red), tree.quad((2, 0, 0), material=grey)])
    assert at(mesh, (0.4, 0.6)) == [255, 0, 0, 255] and at(mesh, (2.5, 0.5)) == [137, 137, 137, 255]
    assert not notes(mesh)


def test_alpha_is_what_its_mode_says(tmp_path: Path) -> None:
    pixels = np.tile(np.array([200, 30, 30, 100], np.uint8), (4, 4, 1))
    uv = QUAD[:, :2]
    for material, wanted in (({}, 255), ({"alphaMode": "BLEND"}, 100), ({"alphaMode": "MASK"}, 0),
                             ({"alphaMode": "MASK", "alphaCutoff": 0.3}, 255)):  # fmt: skip
        tree = Tree()
        surface = {"baseColorTexture": {"index": tree.texture(pixels)}}
        part = tree.quad(uv=uv, material=tree.material(pbrMetallicRoughness=surface, **material))
        assert at(tree.read(tmp_path / "a.gltf", [part]), (0.3, 0.4)) == [200, 30, 30, wanted]


def test_a_texture_beside_colours(tmp_path: Path) -> None:
    tree = Tree()
    surface = {"baseColorTexture": {"index": tree.texture(np.tile(RED, (4, 4, 1)))}}
    blue = tree.material(pbrMetallicRoughness={"baseColorFactor": [0, 0, 1, 1]})
    ends = np.array([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 0, 0]], np.float32)  # linear: black to red along x
    mesh = tree.read(
        tmp_path / "a.gltf",
        [tree.quad(uv=QUAD[:, :2], material=tree.material(pbrMetallicRoughness=surface))],
        [tree.quad((2, 0, 0), material=blue), tree.quad((4, 0, 0), COLOR_0=ends)],
    )
    assert at(mesh, (0.5, 0.5)) == [200, 30, 30, 255] and at(mesh, (2.5, 0.2)) == [0, 0, 255, 255]
    for x, red in ((0.1, 89), (0.5, 188), (0.9, 243)):  # IEC 61966-2-1 of x: interpolated in linear light
        assert at(mesh, (4.0 + x, 0.5)) == pytest.approx([red, 0, 0, 255], abs=1.0)  # a byte, rounded twice
    assert len(mesh.config.materials) == 3 and not notes(mesh)
    joined, said = join_materials(mesh)
    assert "its 3 parts share one texture" in said[0] and joined.has_one_texture
    for place in ((0.5, 0.5), (2.5, 0.2), (4.1, 0.5), (4.5, 0.5), (4.9, 0.5)):
        # between texels of 1/8 of the side colours are interpolated as bytes
        assert at(joined, place) == pytest.approx(at(mesh, place), abs=8.0)


@pytest.mark.parametrize(
    ("code", "row"), [(10497, "abab"), (33648, "abba"), (33071, "abbb")], ids=["repeat", "mirror", "clamp"]
)
def test_textures_go_on_as_their_samplers_say(tmp_path: Path, code: int, row: str) -> None:
    """Two columns of colour over uv from 0 to 2, beside another image; in the middle of each half period."""
    one, other = [10, 200, 90, 255], [250, 60, 20, 255]
    pixels = np.array([[one] * 8 + [other] * 8] * 16, np.uint8)
    tree = Tree()
    images = [tree.texture(pixels, {"wrapS": code, "wrapT": code}), tree.texture(np.tile(RED, (4, 4, 1)))]
    materials = [tree.material(pbrMetallicRoughness={"baseColorTexture": {"index": number}}) for number in images]
    mesh = tree.read(
        tmp_path / "a.gltf",
        [tree.quad(uv=QUAD[:, :2] * [2, 1], material=materials[0])],
        [tree.quad((2, 0, 0), uv=QUAD[:, :2], material=materials[1])],
    )
    found = [at(mesh, (0.125 + 0.25 * number, 0.7)) for number in range(4)]
    assert found == [{"a": one, "b": other}[letter] for letter in row]
    assert at(mesh, (2.99, 0.01)) == RED.tolist()  # nothing of a neighbour at the border


def test_colours_at_vertices_multiply_a_texture(tmp_path: Path) -> None:
    """In linear light: at a share x of the way from 1 to 0 white is x, and 0.25 the byte 137."""
    white = np.full((16, 16, 4), 255, np.uint8)
    shade = np.array([[1, 1, 1], [0, 0, 0], [0, 0, 0], [1, 1, 1]], np.float32)
    for colours in (shade, np.full((4, 3), 0.25, np.float32)):
        tree = Tree()
        surface = {"baseColorTexture": {"index": tree.texture(white)}}
        part = tree.quad(uv=QUAD[:, :2], material=tree.material(pbrMetallicRoughness=surface), COLOR_0=colours)
        mesh = tree.read(tmp_path / "a.gltf", [part])
        for x in (0.25, 0.5, 0.75):
            light = 0.25 if colours is not shade else 1.0 - x
            wanted = 255.0 * array_srgb_from_linear(np.array([light]))[0]
            # texels of 1/16: between two of them sRGB is a chord of its curve
            assert at(mesh, (x, 0.3))[:3] == pytest.approx([wanted] * 3, abs=2.0)


def test_sparse_accessors(tmp_path: Path) -> None:
    tree = Tree()
    part = tree.quad()
    row = tree.view(np.array([2], np.uint16).tobytes())
    change = {"count": 1, "indices": {"bufferView": row, "componentType": 5123},
              "values": {"bufferView": tree.view(np.array([5, 5, 0], np.float32).tobytes())}}  # fmt: skip
    tree.tree["accessors"][0]["sparse"] = change
    assert tree.read(tmp_path / "a.gltf", [part]).vertices.amax(0).tolist() == [5.0, 5.0, 0.0]
    del tree.tree["accessors"][0]["bufferView"]  # all zero but for the change
    assert tree.read(tmp_path / "b.gltf", [part]).vertices.sum(0).tolist() == [5.0, 5.0, 0.0]
    change["indices"]["bufferView"] = tree.view(np.array([4], np.uint16).tobytes())
    with pytest.raises(FormatError, match="4 rows changes row 4"):
        tree.read(tmp_path / "c.gltf", [part])


def test_a_skin_is_where_its_joints_put_it(tmp_path: Path) -> None:
    """The node's own transform counts for nothing; half of two joints is their mean."""
    tree = Tree()
    shares = np.array([[1, 0, 0, 0], [0.5, 0.5, 0, 0], [0, 1, 0, 0], [0, 1, 0, 0]], np.float32)
    joints = np.tile(np.array([0, 1, 0, 0], np.uint8), (4, 1))
    part = tree.quad(JOINTS_0=joints, WEIGHTS_0=shares)
    inverse = np.tile(np.eye(4, dtype=np.float32), (2, 1, 1))
    inverse[1, 3, 0] = -1.0  # column by column: the second joint rests at x = 1
    skins = [{"joints": [2, 3], "inverseBindMatrices": tree.array(inverse)}]
    nodes = [{"children": [1, 2], "scale": [0.01] * 3}, {"mesh": 0, "skin": 0, "translation": [50, 0, 0]},
             {"children": [3], "translation": [0, 100, 0]}, {"translation": [1, 20, 0]}]  # fmt: skip
    mesh = tree.read(tmp_path / "a.gltf", [part], nodes=nodes, skins=skins)
    moved = np.array([[0, 100, 0], [0, 110, 0], [0, 120, 0], [0, 120, 0]])
    np.testing.assert_allclose(mesh.vertices.numpy(), 0.01 * (QUAD + moved), atol=1e-6)  # of float32


def test_morph_targets_have_their_weights(tmp_path: Path) -> None:
    tree = Tree()
    part = tree.quad(
        targets=[{"POSITION": tree.array(np.float32([[0, 0, 1]] * 4))}, {"POSITION": tree.array(2 * QUAD)}]
    )
    mesh = tree.read(tmp_path / "a.gltf", [part], nodes=[{"mesh": 0, "weights": [0.5, 0.0]}])
    np.testing.assert_allclose(mesh.vertices.numpy(), QUAD + np.array([0, 0, 0.5]), atol=1e-7)  # of float32


def test_a_name_alone_hides_nothing(tmp_path: Path) -> None:
    """USP_Pistol is a weapon, not a sphere about `Pistol`; rock_LOD1 of another parent is another rock."""
    tree = Tree()
    quads = [[tree.quad((float(number), 0, 0))] for number in range(5)]
    names = ["USP_Pistol", "Holster", "rock_LOD0", "rock_LOD1", "UCX_Holster_00"]
    nodes = [{"mesh": number, "name": name} for number, name in enumerate(names)] + [{"children": [3]}]
    mesh = tree.read(tmp_path / "a.gltf", *quads, nodes=nodes)
    assert len(mesh.faces) == 8 and "left out: UCX_Holster_00" in notes(mesh)
    nodes[5]["children"] = [2, 3]
    mesh = tree.read(tmp_path / "b.gltf", *quads, nodes=nodes)
    assert len(mesh.faces) == 6 and "left out: UCX_Holster_00, rock_LOD1" in notes(mesh)


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret.bin").write_bytes(bytes(48))
    tree = Tree()
    part = tree.quad()
    for uri in ("../secret.bin", "%2e%2e/secret.bin", str(tmp_path / "secret.bin")):
        with pytest.raises(FormatError, match="outside its folder"):
            tree.read(tmp_path / "model" / "a.gltf", [part], buffers=[{"byteLength": 48, "uri": uri}])


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e9])
def test_uv_that_lie_nowhere_are_refused(tmp_path: Path, value: float) -> None:
    tree, uv = Tree(), QUAD[:, :2].copy()
    uv[2] = value
    images = [tree.texture(np.tile(colour, (4, 4, 1))) for colour in (RED, RED[[2, 1, 0, 3]])]
    materials = [tree.material(pbrMetallicRoughness={"baseColorTexture": {"index": number}}) for number in images]
    parts = [tree.quad(uv=each, material=material) for each, material in zip((uv, QUAD[:, :2]), materials, strict=True)]
    with pytest.raises(FormatError, match="uv are not finite, or 1e"):
        tree.read(tmp_path / "a.gltf", parts)


def test_alpha_of_vertices_counts_where_it_is_blended(tmp_path: Path) -> None:
    faint = np.tile(np.array([1, 1, 1, 0.4], np.float32), (4, 1))
    for mode, wanted in (("OPAQUE", 255), ("BLEND", 102)):
        tree = Tree()
        surface = {"baseColorTexture": {"index": tree.texture(np.tile(RED, (4, 4, 1)))}}
        material = tree.material(pbrMetallicRoughness=surface, alphaMode=mode)
        mesh = tree.read(tmp_path / "a.gltf", [tree.quad(uv=QUAD[:, :2], material=material, COLOR_0=faint)])
        assert at(mesh, (0.3, 0.4))[3] == wanted


def test_what_is_left_out_of_a_look_is_named(tmp_path: Path) -> None:
    tree = Tree()
    number = tree.texture(np.tile(RED, (4, 4, 1)))
    rich = tree.material(normalTexture={"index": number}, emissiveFactor=[1, 0, 0],
                         extensions={"KHR_materials_clearcoat": {}})  # fmt: skip
    lines = tree.quad(mode=1)
    mesh = tree.read(tmp_path / "a.gltf", [tree.quad(material=rich), lines])
    assert notes(mesh) == (
        "left out: KHR_materials_clearcoat, normal textures without uv, or by a third set of them, points and lines"
    )
    assert mesh.config.materials[0].emission == (1.0, 0.0, 0.0)
    plain = tree.material(emissiveFactor=[0, 0, 0], extensions={"KHR_materials_unlit": {}})
    assert notes(tree.read(tmp_path / "b.gltf", [tree.quad(material=plain)])) == ""


def test_extensions_that_draw_nothing_may_be_required(tmp_path: Path) -> None:
    tree = Tree()
    tree.read(tmp_path / "a.gltf", [tree.quad()], extensionsRequired=["KHR_lights_punctual", "KHR_xmp_json_ld"])
    with pytest.raises(FormatError, match="needs KHR_texture_basisu"):
        tree.read(tmp_path / "b.gltf", [tree.quad()], extensionsRequired=["KHR_texture_basisu"])


def test_an_atlas_too_large_is_made_coarser_or_refused(tmp_path: Path) -> None:
    """Fifty repeats of 256 texels along one face are 12 800, which a texture of 8192 holds at half as many."""
    pixels = np.zeros((256, 256, 4), np.uint8)
    pixels[..., 3], pixels[:, :128, 0], pixels[:, 128:, 2] = 255, 255, 255
    for repeats, wanted in ((50, True), (1_000_000 - 1, False)):
        tree = Tree()
        images = [tree.texture(pixels), tree.texture(np.tile(RED, (4, 4, 1)))]
        materials = [tree.material(pbrMetallicRoughness={"baseColorTexture": {"index": number}}) for number in images]
        parts = [tree.quad(uv=QUAD[:, :2] * [repeats, 0.01], material=materials[0]),
                 tree.quad((2, 0, 0), uv=QUAD[:, :2], material=materials[1])]  # fmt: skip
        mesh = tree.read(tmp_path / "a.gltf", parts)
        if not wanted:
            with pytest.raises(ValueError, match="2 looks do not fit one texture"):
                join_materials(mesh)
            continue
        mesh, said = join_materials(mesh)
        assert "2 times as coarse" in said[0] and max(mesh.texture.shape) <= 8192
        found = [at(mesh, ((number + share) / repeats, 0.3)) for number in (0, 24, 49) for share in (0.25, 0.75)]
        assert found == 3 * [[255, 0, 0, 255], [0, 0, 255, 255]]


def test_a_finish_keeps_its_texels_in_an_atlas(tmp_path: Path) -> None:
    """A plain colour with a map of roughness, beside another image."""
    finish = np.zeros((8, 8, 3), np.uint8)
    finish[:, :4, 1], finish[:, 4:, 1] = 40, 200
    tree = Tree()
    rough = {"metallicRoughnessTexture": {"index": tree.texture(finish)}, "metallicFactor": 0.0}
    red = {"baseColorTexture": {"index": tree.texture(np.tile(RED, (4, 4, 1)))}, "metallicFactor": 0.0}
    mesh = tree.read(
        tmp_path / "a.gltf",
        [tree.quad(uv=QUAD[:, :2], material=tree.material(pbrMetallicRoughness=rough))],
        [tree.quad((2, 0, 0), uv=QUAD[:, :2], material=tree.material(pbrMetallicRoughness=red))],
    )
    shown = mesh.as_metallic_roughness()
    assert [at(shown, (x, 0.5))[1] for x in (0.2, 0.8, 2.5)] == [40, 200, 255]
    joined, _ = join_materials(mesh)
    shown = joined.as_metallic_roughness()
    assert [at(shown, (x, 0.5))[1] for x in (0.2, 0.8, 2.5)] == [40, 200, 255]


def test_a_material_keeps_all_that_a_file_says(tmp_path: Path) -> None:
    """Every field of a material, and the second set of uv, read and written and read by another program."""
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 8, 4), np.uint8)
    pixels[..., 3] = 255
    tree = Tree()
    images = [tree.texture(each) for each in pixels]
    moved = {"extensions": {"KHR_texture_transform": {"offset": [0.25, 0.5], "scale": [2, 3]}}}
    number = tree.material(
        name="brass", alphaMode="MASK", alphaCutoff=0.25, doubleSided=True, emissiveFactor=[0.5, 0.25, 0],
        pbrMetallicRoughness={"baseColorTexture": {"index": images[0]}, "baseColorFactor": [0.5, 1, 1, 0.75],
                              "metallicRoughnessTexture": {"index": images[1]}, "metallicFactor": 0.75,
                              "roughnessFactor": 0.5},
        normalTexture={"index": images[2], "scale": 0.5, "texCoord": 1},
        occlusionTexture={"index": images[1], "strength": 0.5},
        emissiveTexture={"index": images[3]} | {"texCoord": 1},
        extensions={"KHR_materials_emissive_strength": {"emissiveStrength": 4.0}},
    )  # fmt: skip
    other = tree.material(name="wall", pbrMetallicRoughness={"baseColorTexture": {"index": images[0]} | moved})
    mesh = tree.read(
        tmp_path / "a.gltf",
        [tree.quad(uv=QUAD[:, :2], material=number, TEXCOORD_1=0.5 * QUAD[:, :2])],
        [tree.quad((2, 0, 0), uv=QUAD[:, :2], material=other)],
    )
    brass = mesh.config.materials[0]
    assert (brass.name, brass.alpha_mode, brass.alpha_cutoff, brass.double_sided) == ("brass", "mask", 0.25, True)
    assert brass.base_colour == (0.5, 1.0, 1.0, 0.75) and (brass.metallic, brass.roughness) == (0.75, 0.5)
    assert brass.emission == (2.0, 1.0, 0.0) and (brass.normal_scale, brass.occlusion_strength) == (0.5, 0.5)
    assert {slot: texture.uv for slot, texture in brass.textures.items()} == {
        "base_colour": 0, "metallic_roughness": 0, "normal": 1, "occlusion": 0, "emission": 1}  # fmt: skip
    assert not notes(mesh)
    save(mesh, tmp_path / "b.glb")
    save(mesh, tmp_path / "b.safetensors")
    for name in ("b.glb", "b.safetensors"):
        again = load(tmp_path / name)
        assert [replace(m, **no_rows(m)) for m in again.config.materials] == [
            replace(m, **no_rows(m)) for m in mesh.config.materials]  # fmt: skip
        for place in ((0.1, 0.2), (0.6, 0.9), (2.3, 0.4), (2.9, 0.8)):
            assert at(again, place) == at(mesh, place)
    # Another reader: trimesh knows one set of uv, and everything else of the first material.
    scene = trimesh.load_scene(tmp_path / "b.glb", process=False)
    found = {each.visual.material.name: each.visual.material for each in scene.geometry.values()}
    seen = found["brass"]
    assert (seen.alphaMode, seen.alphaCutoff, seen.doubleSided) == ("MASK", 0.25, True)
    assert (seen.metallicFactor, seen.roughnessFactor) == (0.75, 0.5)
    assert np.array_equal(np.asarray(seen.metallicRoughnessTexture)[..., :3], pixels[1][..., :3])
    assert np.array_equal(np.asarray(seen.emissiveTexture)[..., :3], pixels[3][..., :3])
    assert np.array_equal(np.asarray(seen.normalTexture)[..., :3], pixels[2][..., :3])


def no_rows(material: Material) -> dict[str, Any]:
    """Textures without the rows of their images, which a file may order otherwise."""
    return {f"{slot}_texture": replace(texture, image=0) for slot, texture in material.textures.items()}
