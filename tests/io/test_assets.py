"""Assets in files: what is written comes back as the finest level, in every format, for every engine, packed or not."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from engines.assets import PLACE, STYLES, asset, ball, coloured

from volkit.geometry.triangles import Triangles
from volkit.io import FormatError, load, save
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.gltf_builder import pack_glb
from volkit.io.meshes.gltf_file import node_matrix, parse_gltf
from volkit.io.meshes.writer import WRITERS, write_asset
from volkit.meshing.join import join_materials
from volkit.representations import Look, Mesh

WHOLE = asset()
FINEST = WHOLE.levels[0]


def _same_surface(found: Mesh, wanted: Mesh, within: float) -> None:
    """The same triangles in the world, in any order: by their centres, sorted."""
    assert isinstance(found, Mesh) and len(found.faces) == len(wanted.faces)
    ours, theirs = (m.world_from_local.points(m.vertices.double())[m.faces.long()] for m in (found, wanted))
    nearest = torch.cdist(ours.mean(1), theirs.mean(1)).min(1)
    assert nearest.values.max() < within and len(nearest.indices.unique()) == len(wanted.faces)
    turned = [torch.linalg.cross(c[:, 1] - c[:, 0], c[:, 2] - c[:, 0]) for c in (ours, theirs[nearest.indices])]
    assert (torch.cosine_similarity(*turned, dim=-1) > 0.9).all()  # outside is outside


def _same_colours(found: Mesh, wanted: Mesh, within: float) -> None:
    """At the middle of each face, in mean and at the worst twentieth."""
    ours, theirs = (m.world_from_local.points(m.vertices.double())[m.faces.long()].mean(1) for m in (found, wanted))
    nearest = torch.cdist(theirs, ours).argmin(1)
    middle = torch.full((len(wanted.faces), 3), 1 / 3)
    each = torch.arange(len(wanted.faces))
    away = (found.colours_at(nearest, middle) - wanted.colours_at(each, middle)).abs()
    assert float(away.quantile(0.95)) < within


@pytest.mark.parametrize("style", STYLES, ids=str)
def test_gltf_comes_back(tmp_path: Path, style: Style) -> None:
    write_asset(WHOLE, tmp_path / "ball.glb", style)
    again = load(tmp_path / "ball.glb")
    packing = (
        3.0 * 2**-14 if style.draco else 3.0 * 2**-16 if style.quantize else 1e-6
    )  # 3 units across; a lattice step
    _same_surface(again, FINEST, packing)
    _same_colours(
        again, FINEST, 1e-3 if style.texture_format == "png" and not style.draco else 0.03
    )  # JPEG's and WebP's loss
    assert again.texture.shape == FINEST.texture.shape
    assert torch.equal(again.metallic_roughness, WHOLE.mesh.metallic_roughness)


@pytest.mark.parametrize("suffix", WRITERS)
def test_every_format_comes_back(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"ball{suffix}"
    write_asset(WHOLE, path, Style())
    again = load(path)
    _same_surface(again, FINEST, 1e-5)  # float32, and nine digits of text
    if suffix != ".stl":
        _same_colours(again, FINEST, 0.02 if suffix == ".ply" else 1e-3)  # vertices instead of texels
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]


PLAIN = [(suffix, Style()) for suffix in (".glb", ".gltf", ".obj", ".ply", ".usdz")]
SMALLER = [(suffix, style) for suffix in (".glb", ".gltf") for style in (Style(draco=True), Style(quantize=True))]


@pytest.mark.parametrize(("suffix", "style"), [*PLAIN, *SMALLER], ids=str)
def test_vertex_colours_come_back(tmp_path: Path, suffix: str, style: Style) -> None:
    mesh = coloured(3)
    write_asset(Asset((mesh,)), tmp_path / f"ball{suffix}", style)
    again = load(tmp_path / f"ball{suffix}")
    _same_surface(again, mesh, 3.0 * 2**-14)
    _same_colours(again, mesh, 0.51 / 255)  # rounded to bytes once more


def test_vertex_colours_of_gltf_are_linear(tmp_path: Path) -> None:
    grey = torch.full((3, 4), 188, dtype=torch.uint8)
    grey[:, 3] = 255
    save(Mesh.of(torch.eye(3), torch.tensor([[0, 1, 2]]), colours=grey), tmp_path / "a.glb")
    tree, (buffer,) = parse_gltf(tmp_path / "a.glb")
    accessor = tree["accessors"][tree["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]]
    start = tree["bufferViews"][accessor["bufferView"]]["byteOffset"]
    light = np.frombuffer(buffer[start : start + 16], np.float32)
    assert light[0] == pytest.approx(0.503, abs=1e-3) and light[3] == 1.0  # sRGB 188 is half of the light


def test_levels_solids_and_notes(tmp_path: Path) -> None:
    write_asset(WHOLE, tmp_path / "ball.glb", Style())
    tree, _ = parse_gltf(tmp_path / "ball.glb")
    nodes = tree["nodes"]
    assert [n["name"] for n in nodes[:3]] == ["ball_LOD0", "ball_LOD1", "ball_LOD2"] and len(tree["materials"]) == 1
    assert nodes[0]["extensions"]["MSFT_lod"]["ids"] == [1, 2]
    assert nodes[0]["extras"]["MSFT_screencoverage"] == [0.5, 0.25, 0.001]  # heights: equal triangles per pixel
    assert tree["scenes"][tree["scene"]]["nodes"] == [0]  # a reader that knows no levels shows one
    assert tree["asset"]["extras"]["source"] == "a ball" and tree["asset"]["extras"]["unit"] == "metre"
    attributes = tree["meshes"][0]["primitives"][0]["attributes"]
    assert set(attributes) == {"POSITION", "NORMAL", "TANGENT", "TEXCOORD_0", "TEXCOORD_1"}
    assert {a["componentType"] for a in tree["accessors"] if a["type"] == "SCALAR"} == {5123}  # short indices


@pytest.mark.parametrize(
    ("engine", "name"),
    [("unreal", "UBX_ball_LOD0_00"), ("godot3", "ball_00-convcolonly"), ("gltf", "ball_collider_00")],
)
def test_solids_bear_the_names_that_engines_look_for(tmp_path: Path, engine, name: str) -> None:
    write_asset(WHOLE, tmp_path / "ball.glb", Style(engine))
    tree, _ = parse_gltf(tmp_path / "ball.glb")
    number = next(k for k, node in enumerate(tree["nodes"]) if node["name"] == name)
    assert tree["meshes"][tree["nodes"][number]["mesh"]]["name"] == name
    assert (number in tree["scenes"][0]["nodes"]) == (engine in ("unreal", "godot3"))


def test_godot_4_reads_bodies_by_extensions(tmp_path: Path) -> None:
    """OMI_physics_body and OMI_physics_shape, as gltf_document_extension_physics.cpp reads them: a body whose motion is
    static, with a child for each shape; a hull is a mesh of the file that no node draws, a box has its three edges."""
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(2)))[0]
    cube = torch.tensor([[x, y, z] for x in (-1.0, 1.0) for y in (-1.0, 1.0) for z in (-1.0, 1.0)])
    edges, centre = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.4, 0.1, -0.2])
    boxes = [cube * edges + centre, (cube * edges) @ turned.T + centre]
    box_faces = torch.from_numpy(trimesh.creation.box().faces.copy())
    hull = ball(1)
    colliders = (Triangles(hull.vertices, hull.faces.long()), *(Triangles(box, box_faces) for box in boxes))
    write_asset(replace(WHOLE, colliders=colliders), tmp_path / "ball.glb", Style("godot"))
    tree, _ = parse_gltf(tmp_path / "ball.glb")
    shapes, nodes = tree["extensions"]["OMI_physics_shape"]["shapes"], tree["nodes"]
    _, root = tree["scenes"][0]["nodes"]
    body = nodes[root]
    assert body["extensions"] == {"OMI_physics_body": {"motion": {"type": "static"}}} and "mesh" not in body
    children = [nodes[k] for k in body["children"]]
    numbers = [child["extensions"]["OMI_physics_body"]["collider"]["shape"] for child in children]
    assert numbers == list(range(len(colliders))) and not any("mesh" in child for child in children)
    assert [shape["type"] for shape in shapes] == ["convex", "box", "box"]
    drawn = {node["mesh"] for node in nodes if "mesh" in node}
    assert not drawn & {shape["convex"]["mesh"] for shape in shapes if shape["type"] == "convex"}
    for child, shape, points in zip(children[-2:], shapes[-2:], boxes, strict=True):
        corners = 0.5 * cube.double() * torch.tensor(shape["box"]["size"], dtype=torch.float64)
        matrix = torch.from_numpy(node_matrix(child))
        found = corners @ matrix[:3, :3].T + matrix[:3, 3]
        place = FINEST.view_in_frame("yup").world_from_local
        distance = torch.cdist(found, place.points(points.double()))
        assert distance.amin(1).max() < 1e-5 and distance.amin(0).max() < 1e-5
    _same_surface(load(tmp_path / "ball.glb"), FINEST, 1e-6)  # no collider is drawn


def test_unreal_has_boxes_and_levels_of_their_own(tmp_path: Path) -> None:
    cube = torch.from_numpy(trimesh.creation.box().vertices.copy()).float()
    box = Triangles(cube, torch.from_numpy(trimesh.creation.box().faces.copy()))
    write_asset(replace(WHOLE, colliders=(box,)), tmp_path / "ball.glb", Style("unreal"))
    tree, _ = parse_gltf(tmp_path / "ball.glb")
    assert "UBX_ball_LOD0_00" in [node["name"] for node in tree["nodes"]]
    for number, level in enumerate(WHOLE.levels[1:], 1):
        path = tmp_path / f"ball_LOD{number}.glb"
        beside, _ = parse_gltf(path)
        assert [node["name"] for node in beside["nodes"]] == [f"ball_LOD{number}"] and "images" not in beside
        assert [m["name"] for m in beside["materials"]] == [m["name"] for m in tree["materials"]]
        _same_surface(load(path), level.view(placement=FINEST.placement), 1e-6)
    write_asset(WHOLE, tmp_path / "other.glb", Style("gltf"))
    assert not list(tmp_path.glob("other_*"))


def test_screen_coverages_mean_what_importers_take_them_for(tmp_path: Path) -> None:
    """Quarters of the triangles are halves of the height. UnityGLTF: entry i is where level i ends (LODGroup, never 0,
    which draws at any distance); glTFRuntime: entry i is the largest size of level i (ScreenSize)."""
    for engine, wanted in (("unity", [0.5, 0.25, 0.001]), ("unreal", [1.0, 0.5, 0.25])):
        write_asset(WHOLE, tmp_path / f"{engine}.glb", Style(engine))
        tree, _ = parse_gltf(tmp_path / f"{engine}.glb")
        assert tree["nodes"][0]["extras"]["MSFT_screencoverage"] == wanted


def test_unity_hangs_quantised_levels_below_the_finest(tmp_path: Path) -> None:
    """UnityGLTF (ImporterLODs.cs) makes coarser levels children of the finest one's node and keeps their transforms."""
    write_asset(WHOLE, tmp_path / "ball.glb", Style("unity", quantize=True))
    tree, _ = parse_gltf(tmp_path / "ball.glb")
    root = tree["nodes"][tree["scenes"][0]["nodes"][0]]
    corners = FINEST.view_in_frame("yup").world_from_local.points(FINEST.vertices)
    whole = (corners.amax(0) - corners.amin(0)).tolist()
    (finest,) = (tree["nodes"][k] for k in root["children"])
    for number in finest["extensions"]["MSFT_lod"]["ids"]:
        level = tree["nodes"][number]
        accessor = tree["accessors"][tree["meshes"][level["mesh"]]["primitives"][0]["attributes"]["POSITION"]]
        scale = np.array(root["scale"])
        for one in (finest, level):  # from below the finest node upwards
            scale = scale * np.array(one.get("scale", [1.0] * 3))
        size = scale * (np.array(accessor["max"]) - np.array(accessor["min"]))
        assert size == pytest.approx(whole, rel=0.1)  # coarser levels are smaller by their chords
    _same_surface(load(tmp_path / "ball.glb"), FINEST, 3.0 / 65535)  # a step; half of one along each axis is 0.87 of it


@pytest.mark.parametrize(
    ("stem", "name"),
    [("front_wheel", "front_wheel_mesh"), ("desk-col_01", "desk-col_01_mesh"), ("old_NoImp 2", "old_NoImp 2_mesh"),
     ("a$rigid_b", "a_rigid_b"), ("flywheel", "flywheel"), ("wheel_front", "wheel_front")],
)  # fmt: skip
def test_godot_takes_no_stem_for_a_suffix(tmp_path: Path, stem: str, name: str) -> None:
    """Godot 4 (resource_importer_scene.cpp, _teststr) cuts digits, blanks and underscores, and looks for -word, _word
    at the end, $word anywhere."""
    write_asset(WHOLE, tmp_path / f"{stem}.gltf", Style("godot"))
    tree, _ = parse_gltf(tmp_path / f"{stem}.gltf")
    assert tree["nodes"][0]["name"] == tree["meshes"][0]["name"] == tree["materials"][0]["name"] == name
    assert all((tmp_path / image["uri"]).is_file() for image in tree["images"])
    write_asset(WHOLE, tmp_path / f"{stem}.glb", Style("unity"))
    assert parse_gltf(tmp_path / f"{stem}.glb")[0]["materials"][0]["name"] == stem


def test_draco_lists_attributes_in_order(tmp_path: Path) -> None:
    """assimp 5.2 refuses TEXCOORD_1 before TEXCOORD_0, though the order of keys means nothing in JSON."""
    write_asset(WHOLE, tmp_path / "ball.glb", Style(draco=True))
    primitive = parse_gltf(tmp_path / "ball.glb")[0]["meshes"][0]["primitives"][0]
    listed = list(primitive["attributes"])
    assert listed == sorted(listed) and "TEXCOORD_1" in listed


@pytest.mark.parametrize("suffix", [".glb", ".gltf"])
def test_solids_for_unity_are_a_file_beside(tmp_path: Path, suffix: str) -> None:
    write_asset(WHOLE, tmp_path / f"ball{suffix}", Style("unity"))
    assert len(parse_gltf(tmp_path / f"ball{suffix}")[0]["scenes"]) == 1
    tree, _ = parse_gltf(tmp_path / "ball_colliders.glb")
    shown = [tree["nodes"][number]["name"] for number in tree["scenes"][0]["nodes"]]
    assert shown == [f"ball_collider_{number:02d}" for number in range(len(WHOLE.colliders))]


def test_files_beside(tmp_path: Path) -> None:
    write_asset(WHOLE, tmp_path / "ball.gltf", Style(texture_format="jpeg"))
    names = {"ball.gltf", "ball.bin", "ball_baseColor.jpg", "ball_normal.png", "ball_occlusion.jpg",
             "ball_metallicRoughness.png"}  # fmt: skip
    assert {p.name for p in tmp_path.iterdir()} == names
    _same_surface(load(tmp_path / "ball.gltf"), FINEST, 1e-6)
    (tmp_path / "ball.bin").unlink()
    with pytest.raises(FormatError, match=r"names ball\.bin, which is not there"):
        load(tmp_path / "ball.gltf")


def test_all_files_or_none(tmp_path: Path, monkeypatch) -> None:
    real = Path.write_bytes

    def failing(path: Path, data: bytes) -> int:
        if path.name.endswith(".png"):
            raise OSError(28, "No space left on device")
        return real(path, data)

    monkeypatch.setattr(Path, "write_bytes", failing)
    for suffix in (".gltf", ".obj"):
        with pytest.raises(FormatError, match="free some space"):
            write_asset(WHOLE, tmp_path / f"ball{suffix}", Style())
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("style", "suffix", "said"), [
    (Style("godot", draco=True), ".glb", "godot cannot read glTF with draco"),
    (Style("unity", texture_format="webp"), ".glb", "unity cannot read glTF with webp; choose png or jpeg"),
    (Style("unreal", texture_format="webp"), ".gltf", "unreal cannot read glTF with webp"),
    (Style(draco=True, quantize=True), ".glb", "Draco quantizes already"),
    (Style(texture_format="webp"), ".usdz", "PNG and JPEG"), (Style(), ".fbx", "not written as '.fbx'"),
    (Style(draco=True), ".obj", "are glTF's"), (Style(quantize=True), ".stl", "are glTF's"),
])  # fmt: skip
def test_what_cannot_be_is_said(tmp_path: Path, style: Style, suffix: str, said: str) -> None:
    with pytest.raises(FormatError, match=said):
        write_asset(WHOLE, tmp_path / f"a{suffix}", style)
    assert not list(tmp_path.iterdir())


def test_colours_that_are_not_to_be_lit_come_back_from_usd(tmp_path: Path) -> None:
    """They are emitted, by a surface that is black by itself."""
    mesh = coloured(3)
    write_asset(Asset((unlit(mesh),)), tmp_path / "ball.usdz", Style())
    _same_colours(load(tmp_path / "ball.usdz"), mesh, 0.51 / 255)  # rounded to bytes once more


def unlit(mesh: Mesh) -> Mesh:
    look = mesh.look
    return mesh.with_look(replace(look, materials=(replace(look.materials[0], unlit=True),)))


def test_transparent_texels(tmp_path: Path) -> None:
    mesh = ball(2)
    mesh.texture[:, :96, 3] = 100
    mesh = mesh.with_look(Look.of_texture(mesh.corner_uv, mesh.texture))
    whole = Asset((mesh,))
    write_asset(whole, tmp_path / "a.glb", Style())
    assert torch.equal(load(tmp_path / "a.glb").texture, mesh.texture)
    assert parse_gltf(tmp_path / "a.glb")[0]["materials"][0]["alphaMode"] == "BLEND"
    write_asset(whole, tmp_path / "a.usdz", Style())
    assert torch.equal(load(tmp_path / "a.usdz").texture, mesh.texture)
    with pytest.raises(FormatError, match="JPEG cannot hold"):
        write_asset(whole, tmp_path / "b.glb", Style(texture_format="jpeg"))


def test_unlit_is_said(tmp_path: Path) -> None:
    write_asset(asset(lit=False), tmp_path / "a.glb", Style())
    tree, _ = parse_gltf(tmp_path / "a.glb")
    assert "KHR_materials_unlit" in tree["extensionsUsed"]
    assert tree["materials"][0]["extensions"] == {"KHR_materials_unlit": {}}


def test_a_ply_is_what_it_holds(tmp_path: Path) -> None:
    save(coloured(2), tmp_path / "mesh.ply")
    assert isinstance(load(tmp_path / "mesh.ply"), Mesh)
    head = (
        b"ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    )
    (tmp_path / "cloud.ply").write_bytes(head + b"0 0 0\n")
    with pytest.raises(FormatError, match="not Gaussian splats"):
        load(tmp_path / "cloud.ply")


def _tree_of(tmp_path: Path, **change) -> Path:
    """One triangle, its tree changed."""
    save(ball(1), tmp_path / "a.glb")
    tree, (buffer,) = parse_gltf(tmp_path / "a.glb")
    (tmp_path / "b.glb").write_bytes(pack_glb(tree | change, buffer))
    return tmp_path / "b.glb"


@pytest.mark.parametrize("change", [
    {"extensionsRequired": ["EXT_no_such_compression"]}, {"nodes": [{"children": [0]}]}, {"accessors": []},
    {"scenes": [{"nodes": [7]}]}, {"asset": {"version": "1.0"}}, {"nodes": []},
    {"bufferViews": [{"buffer": 0, "byteLength": 4}] * 9},
], ids=lambda change: next(iter(change)))  # fmt: skip
def test_damaged_trees_are_refused(tmp_path: Path, change: dict) -> None:
    with pytest.raises(FormatError, match=r"b\.glb"):
        load(_tree_of(tmp_path, **change))


@pytest.mark.parametrize("suffix", [".glb", ".ply", ".stl", ".usdc", ".usdz"])
def test_damaged_bytes_are_refused_or_read(tmp_path: Path, suffix: str) -> None:
    """Bytes changed and files cut at random places: a FormatError, or a mesh."""
    path, luck = tmp_path / f"a{suffix}", np.random.default_rng(0)
    write_asset(Asset((ball(1),)), path, Style(draco=suffix == ".glb"))
    whole = path.read_bytes()
    for _ in range(15):
        data = np.frombuffer(whole, np.uint8)[: luck.integers(1, len(whole)) if luck.random() < 0.3 else None].copy()
        data[luck.integers(min(len(data), 4000), size=3)] = luck.integers(256, size=3)
        path.write_bytes(data.tobytes())
        try:
            assert isinstance(load(path), Mesh)
        except FormatError as error:
            assert str(error).startswith(str(path))


def test_placed_parts_of_others(tmp_path: Path) -> None:
    """A node within a node, turned and mirrored; a placed texture; a factor, which is linear."""
    wanted = ball(2)
    save(wanted, tmp_path / "a.glb")
    tree, (buffer,) = parse_gltf(tmp_path / "a.glb")
    tree["nodes"] = [{"children": [1], "translation": [1, 2, 3], "rotation": [0, 2**-0.5, 0, 2**-0.5]},
                     {"mesh": 0, "scale": [-2, 2, 2]}]  # fmt: skip
    surface = tree["materials"][0]["pbrMetallicRoughness"]
    surface["baseColorFactor"] = [0.5, 0.5, 0.5, 1.0]
    turned = {"offset": [0.0, 1.0], "rotation": np.pi / 2, "scale": [0.5, 0.5]}  # the example of the extension's text
    surface["baseColorTexture"]["extensions"] = {"KHR_texture_transform": turned}
    (tmp_path / "b.glb").write_bytes(pack_glb(tree, buffer))
    plain, placed = (join_materials(load(tmp_path / name))[0] for name in ("a.glb", "b.glb"))
    x, y, z = plain.vertices.unbind(-1)
    moved = torch.stack([2 * z + 1, 2 * y + 2, 2 * x + 3], -1)  # mirrored x, then a quarter turn about y
    torch.testing.assert_close(placed.vertices, moved, atol=1e-5, rtol=0)  # float32 through float64
    assert torch.equal(placed.faces, plain.faces.flip(1))
    u, v = plain.corner_uv.flip(1).unbind(-1)
    torch.testing.assert_close(placed.corner_uv, torch.stack([0.5 * v, 1.0 - 0.5 * u], -1), atol=1e-6, rtol=0)
    light = (plain.texture[..., :3] / 255.0) ** 2.2  # sRGB is nearly a power
    coded = (placed.texture[..., :3] / 255.0) ** 2.2
    assert (coded - 0.5 * light).abs().max() < 0.02


def test_roughness_and_metalness_of_others(tmp_path: Path) -> None:
    """A picture times its factors; factors alone, of one colour; nothing for what is rough and not metallic."""
    write_asset(WHOLE, tmp_path / "a.glb", Style())
    tree, (buffer,) = parse_gltf(tmp_path / "a.glb")
    surface = tree["materials"][0]["pbrMetallicRoughness"]

    def found(**change) -> Mesh:
        tree["materials"][0]["pbrMetallicRoughness"] = change
        (tmp_path / "b.glb").write_bytes(pack_glb(tree, buffer))
        return join_materials(load(tmp_path / "b.glb"))[0]

    halved = found(**surface | {"roughnessFactor": 0.5}).metallic_roughness
    assert torch.equal(halved.unique(dim=0)[0, 0], torch.tensor([255, 75, 60]).byte())
    alone = found(baseColorFactor=[1, 0, 0, 1], roughnessFactor=0.2)  # metallicFactor is 1 where nothing is said
    assert alone.metallic_roughness.tolist() == [[[255, 51, 255]]] and alone.texture.tolist() == [[[255, 0, 0, 255]]]
    assert found(metallicFactor=0).metallic_roughness is None


def test_no_levels_but_the_finest_of_others(tmp_path: Path) -> None:
    """Levels and solids side by side in a scene, as exporters of other programs put them."""
    write_asset(WHOLE, tmp_path / "a.glb", Style("unreal"))
    tree, (buffer,) = parse_gltf(tmp_path / "a.glb")
    tree["scenes"] = [{"nodes": list(range(len(tree["nodes"])))}]
    (tmp_path / "b.glb").write_bytes(pack_glb(tree, buffer))
    assert len(load(tmp_path / "b.glb").faces) == len(FINEST.faces)
    assert json.dumps(tree)  # plain JSON all through
    assert PLACE.scale == 1.5
