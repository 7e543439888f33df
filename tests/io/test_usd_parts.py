"""Looks and places of the meshes of a USD stage that usd-core writes; right values from USD's documents."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from volkit import load
from volkit.files.errors import FormatError

usd = pytest.importorskip("pxr.Usd", reason="usd-core is not installed")
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade  # noqa: E402

QUAD = [(0.0, 0.0, 0.0), (1.0, 0.0, 0.0), (1.0, 1.0, 0.0), (0.0, 1.0, 0.0)]
RED, BLUE = [200, 30, 30, 255], [20, 40, 220, 255]
TYPES = Sdf.ValueTypeNames


class Stage:
    """A stage of squares, each two units to the right of the one before."""

    def __init__(self, path: Path) -> None:
        self.path, self.stage = path, usd.Stage.CreateNew(str(path))
        UsdGeom.SetStageUpAxis(self.stage, UsdGeom.Tokens.z)

    def squares(self, name: str, count: int = 1, shift: float = 0.0):
        mesh = UsdGeom.Mesh.Define(self.stage, name)
        mesh.CreatePointsAttr([(x + shift + 2.0 * k, y, z) for k in range(count) for x, y, z in QUAD])
        mesh.CreateFaceVertexCountsAttr([4] * count)
        mesh.CreateFaceVertexIndicesAttr(list(range(4 * count)))
        if count == 1:
            uv = UsdGeom.PrimvarsAPI(mesh).CreatePrimvar("st", TYPES.TexCoord2fArray, UsdGeom.Tokens.vertex)
            uv.Set([Gf.Vec2f(x, y) for x, y, _ in QUAD])
        return mesh

    def bind(self, prim, colour=None, picture=None, transform=None) -> None:
        path = f"/m{len(list(self.stage.Traverse()))}"
        material, surface = UsdShade.Material.Define(self.stage, path), UsdShade.Shader.Define(self.stage, f"{path}/s")
        surface.CreateIdAttr("UsdPreviewSurface")
        material.CreateSurfaceOutput().ConnectToSource(surface.ConnectableAPI(), "surface")
        slot = surface.CreateInput("diffuseColor", TYPES.Color3f)
        if colour is not None:
            slot.Set(Gf.Vec3f(*colour))
        else:
            texture, reader = (UsdShade.Shader.Define(self.stage, f"{path}/{name}") for name in "tr")
            texture.CreateIdAttr("UsdUVTexture")
            texture.CreateInput("file", TYPES.Asset).Set(picture)
            texture.CreateOutput("rgb", TYPES.Float3)
            slot.ConnectToSource(texture.ConnectableAPI(), "rgb")
            reader.CreateIdAttr("UsdPrimvarReader_float2")
            reader.CreateInput("varname", TYPES.String).Set("st")
            reader.CreateOutput("result", TYPES.Float2)
            if transform is not None:
                moved = UsdShade.Shader.Define(self.stage, f"{path}/x")
                moved.CreateIdAttr("UsdTransform2d")
                moved.CreateInput("in", TYPES.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
                for name, value in transform.items():
                    kind = TYPES.Float if name == "rotation" else TYPES.Float2
                    moved.CreateInput(name, kind).Set(value if name == "rotation" else Gf.Vec2f(*value))
                moved.CreateOutput("result", TYPES.Float2)
                reader = moved
            texture.CreateInput("st", TYPES.Float2).ConnectToSource(reader.ConnectableAPI(), "result")
        UsdShade.MaterialBindingAPI.Apply(prim.GetPrim()).Bind(material)

    def read(self):
        self.stage.GetRootLayer().Save()
        return load(self.path)


def centres(mesh) -> dict[tuple[float, ...], list[int]]:
    """Colours in bytes at the middles of triangles, by those places in thirds."""
    count = len(mesh.faces)
    colours = 255.0 * mesh.colours_at(torch.arange(count), torch.full((count, 3), 1.0 / 3.0))
    places = (3.0 * mesh.vertices[mesh.faces.long()].mean(1)).round()
    return {tuple(p): c for p, c in zip(places.tolist(), colours.round().int().tolist(), strict=True)}


def test_face_sets_have_materials_of_their_own(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "a.usda")
    mesh = stage.squares("/a", 3)
    for number, colour in enumerate(((1, 0, 0), (0, 0, 1))):
        subset = UsdGeom.Subset.CreateGeomSubset(mesh, f"s{number}", UsdGeom.Tokens.face, [number], "materialBind")
        stage.bind(subset, colour)
    stage.bind(mesh, (0, 1, 0))
    found = centres(stage.read())
    assert [found[x, 1.0, 0.0] for x in (2.0, 8.0, 14.0)] == [[255, 0, 0, 255], [0, 0, 255, 255], [0, 255, 0, 255]]


def test_colours_of_faces(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "a.usda")
    shown = UsdGeom.PrimvarsAPI(stage.squares("/a", 4))
    primvar = shown.CreatePrimvar("displayColor", TYPES.Color3fArray, UsdGeom.Tokens.uniform)
    primvar.Set([Gf.Vec3f(*colour) for colour in ((1, 0, 0), (0, 0, 1), (0, 1, 0), (1, 1, 1))])
    found = centres(stage.read())
    assert [found[x, 1.0, 0.0][:3] for x in (2.0, 8.0, 14.0, 20.0)] == [
        [255, 0, 0], [0, 0, 255], [0, 255, 0], [255, 255, 255]]  # fmt: skip


@pytest.mark.parametrize(
    ("transform", "wanted"),
    [(None, "rb"), ({"scale": (2.0, 2.0)}, "br"), ({"translation": (0.5, 0.0)}, "br"),
     ({"rotation": 90.0, "translation": (0.5, 0.0)}, "br"),
     ({"scale": (0.5, 1.0), "rotation": 180.0, "translation": (0.5, 0.0)}, "rr")],
)  # fmt: skip
def test_transforms_of_textures(tmp_path: Path, transform, wanted: str) -> None:
    """Scaled, then turned counter-clockwise, then moved; the image is red where u is below a half, and blue above.

    The middles of the triangles are (2/3, 1/3) and (1/3, 2/3): u = 1/3 and 2/3 of the untransformed, in their order.
    """
    pixels = np.array([[RED] * 8 + [BLUE] * 8] * 16, np.uint8)
    Image.fromarray(pixels).save(tmp_path / "halves.png")
    stage = Stage(tmp_path / "a.usda")
    stage.bind(stage.squares("/a"), picture="./halves.png", transform=transform)
    found = centres(stage.read())
    assert [found[1.0, 2.0, 0.0], found[2.0, 1.0, 0.0]] == [{"r": RED, "b": BLUE}[letter] for letter in wanted]


def test_instances_of_a_prototype(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "a.usda")
    instancer = UsdGeom.PointInstancer.Define(stage.stage, "/p")
    instancer.CreatePrototypesRel().AddTarget(stage.squares("/p/one").GetPath())
    UsdGeom.Xformable(instancer).AddTranslateOp().Set(Gf.Vec3d(0, 0, 10))
    instancer.CreatePositionsAttr([(0, 0, 0), (5, 0, 0)])
    instancer.CreateScalesAttr([(1, 1, 1), (2, 2, 2)])
    instancer.CreateProtoIndicesAttr([0, 0])
    mesh = stage.read()
    assert len(mesh.faces) == 4 and mesh.vertices.amin(0).tolist() == [0, 0, 10]
    assert mesh.vertices.amax(0).tolist() == [7, 2, 10]


def test_proxies_are_not_drawn_beside_what_they_stand_for(tmp_path: Path) -> None:
    for names, faces in ((("render", "proxy", "guide"), 2), (("default", "proxy"), 2), (("proxy", "guide"), 2)):
        stage = Stage(tmp_path / f"{'_'.join(names)}.usda")
        for number, name in enumerate(names):
            stage.squares(f"/{name}_", shift=3.0 * number).CreatePurposeAttr(name)
        mesh = stage.read()
        assert len(mesh.faces) == faces and float(mesh.vertices[:, 0].max()) == 1.0


def test_instances_that_are_hidden_are_not_drawn(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "a.usda")
    instancer = UsdGeom.PointInstancer.Define(stage.stage, "/p")
    instancer.CreatePrototypesRel().AddTarget(stage.squares("/p/one").GetPath())
    instancer.CreatePositionsAttr([(0, 0, 0), (5, 0, 0), (10, 0, 0)])
    instancer.CreateProtoIndicesAttr([0, 0, 0])
    instancer.CreateInvisibleIdsAttr([2])
    assert stage.read().vertices.amax(0).tolist() == [6, 1, 0]


def test_alpha_of_a_picture_counts_where_opacity_is_connected_to_it(tmp_path: Path) -> None:
    Image.fromarray(np.tile(np.array([200, 30, 30, 80], np.uint8), (4, 4, 1))).save(tmp_path / "faint.png")
    for name, wanted in (("plain", 255), ("blended", 80)):
        stage = Stage(tmp_path / f"{name}.usda")
        square = stage.squares("/a")
        stage.bind(square, picture="./faint.png")
        if name == "blended":
            material, _ = UsdShade.MaterialBindingAPI(square).ComputeBoundMaterial()
            texture = UsdShade.Shader(stage.stage.GetPrimAtPath(f"{material.GetPath()}/t"))
            surface = UsdShade.Shader(stage.stage.GetPrimAtPath(f"{material.GetPath()}/s"))
            surface.CreateInput("opacity", TYPES.Float).ConnectToSource(texture.CreateOutput("a", TYPES.Float))
        assert {colour[3] for colour in centres(stage.read()).values()} == {wanted}


def test_emission_of_a_stage(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "a.usda")
    square = stage.squares("/a")
    stage.bind(square, (1, 0, 0))
    material, _ = UsdShade.MaterialBindingAPI(square).ComputeBoundMaterial()
    surface = UsdShade.Shader(stage.stage.GetPrimAtPath(f"{material.GetPath()}/s"))
    surface.CreateInput("emissiveColor", TYPES.Color3f).Set(Gf.Vec3f(0, 1, 0))
    assert stage.read().config.materials[0].emission == (0.0, 1.0, 0.0)


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    Image.fromarray(np.tile(np.array(RED, np.uint8), (4, 4, 1))).save(tmp_path / "secret.png")
    stage = Stage(tmp_path / "model" / "a.usda")
    stage.bind(stage.squares("/a"), picture="../secret.png")
    with pytest.raises(FormatError, match="outside its folder"):
        stage.read()
    other = Stage(tmp_path / "other.usda")
    other.squares("/a")
    other.stage.GetRootLayer().Save()
    layered = Stage(tmp_path / "model" / "b.usda")
    layered.stage.GetRootLayer().subLayerPaths.append("../other.usda")
    with pytest.raises(FormatError, match="outside its folder"):
        layered.read()


def test_a_cycle_of_transforms_ends(tmp_path: Path) -> None:
    Image.fromarray(np.tile(np.array(RED, np.uint8), (4, 4, 1))).save(tmp_path / "red.png")
    stage = Stage(tmp_path / "a.usda")
    square = stage.squares("/a")
    stage.bind(square, picture="./red.png", transform={"scale": (2.0, 2.0)})
    material, _ = UsdShade.MaterialBindingAPI(square).ComputeBoundMaterial()
    moved = UsdShade.Shader(stage.stage.GetPrimAtPath(f"{material.GetPath()}/x"))
    moved.GetInput("in").ConnectToSource(moved.ConnectableAPI(), "result")
    assert set(map(tuple, centres(stage.read()).values())) == {tuple(RED)}


def test_what_moves_is_at_its_first_time(tmp_path: Path) -> None:
    """Points and a transform by time samples alone: the earliest counts, as in a viewer that has just opened it."""
    stage = Usd.Stage.CreateNew(str(tmp_path / "a.usda"))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    mesh = UsdGeom.Mesh.Define(stage, "/m")
    for time, height in ((1.0, 0.0), (10.0, 5.0)):
        mesh.GetPointsAttr().Set([(0, 0, height), (1, 0, height), (0, 1, height)], time)
    move = mesh.AddTranslateOp()
    for time, x in ((1.0, 2.0), (10.0, 9.0)):
        move.Set((x, 0, 0), time)
    mesh.GetFaceVertexCountsAttr().Set([3])
    mesh.GetFaceVertexIndicesAttr().Set([0, 1, 2])
    stage.Save()
    found = load(tmp_path / "a.usda")
    corners = found.world_from_local.points(found.vertices.double())
    assert sorted(map(tuple, corners.round(decimals=5).tolist())) == [(2, 0, 0), (2, 1, 0), (3, 0, 0)]
