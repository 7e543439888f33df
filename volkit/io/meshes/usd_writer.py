"""Assets as `.usdc`, `.usda` or `.usd` with textures beside them, or as one `.usdz`, in metres; by usd-core.

The material is a UsdPreviewSurface. Levels are the variants `LOD0`, `LOD1`, ... of the variant set `LOD`, with the
finest selected. Colliders are convex UsdPhysics meshes of purpose `guide`, which are not drawn.
"""

# usd-core defines its modules' members at run time.
# pyright: reportAttributeAccessIssue=false

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

from volkit.extras import advice
from volkit.files.atomic import atomic_write, write_together
from volkit.files.errors import FormatError
from volkit.geometry import Frame
from volkit.geometry.colour import array_linear_from_srgb
from volkit.geometry.triangles import Triangles
from volkit.io.meshes.asset import Asset, Style, TextureFile, encode_textures, has_transparency
from volkit.io.meshes.engines import collider_name
from volkit.representations.mesh import Mesh
from volkit.version import __version__

__all__ = ["check_usd", "set_frame", "usd_metadata", "write_usd"]


def check_usd(path: Path, style: Style) -> None:
    """Raise FormatError where usd-core is missing, or USD lacks what the style asks for."""
    if find_spec("pxr") is None:
        raise FormatError(path, "usd-core is not installed", advice("usd"))
    if style.texture_format == "webp":
        raise FormatError(path, "USD's preview surfaces read PNG and JPEG", "choose one of them")
    if style.draco or style.quantize:
        raise FormatError(path, "Draco and quantized arrays are glTF's", "leave them out, or write .glb")


def write_usd(asset: Asset, path: Path, style: Style) -> None:
    """Write all of an asset, in the form that the suffix names."""
    check_usd(path, style)
    from pxr import UsdUtils

    textures = encode_textures(asset, style.texture_format)
    with TemporaryDirectory() as name:
        archive = path.suffix.lower() == ".usdz"
        layer = Path(name) / (f"{path.stem}.usdc" if archive else path.name)
        stage = _stage(asset, path.stem, style, textures)
        stage.GetRootLayer().Export(str(layer))
        beside = {picture.file_name(path.stem): picture.data for picture in textures}
        if not archive:
            return write_together(path, layer.read_bytes(), beside)
        for file, data in beside.items():
            layer.with_name(file).write_bytes(data)
        with atomic_write(path) as place:
            if not UsdUtils.CreateNewUsdzPackage(str(layer), str(place)):
                raise OSError("the archive could not be made")


def _stage(asset: Asset, stem: str, style: Style, textures: list[TextureFile]) -> Any:
    from pxr import Tf, Usd, UsdGeom

    stage = Usd.Stage.CreateInMemory()
    set_frame(stage, asset.levels[0].frame)
    root = UsdGeom.Xform.Define(stage, f"/{Tf.MakeValidIdentifier(stem)}").GetPrim()
    stage.SetDefaultPrim(root)
    root.SetCustomDataByKey("volkit", {"generator": f"volkit {__version__}"} | usd_metadata(asset.extras))
    material = _material(stage, root, stem, textures, asset)
    place = asset.levels[0].world_from_local
    variants = root.GetVariantSets().AddVariantSet("LOD") if len(asset.levels) > 1 else None
    for number, level in reversed(list(enumerate(asset.levels))):  # the selection that is made last stays: the finest
        if variants is None:
            _mesh(stage, root, level, place, material)
            continue
        variants.AddVariant(f"LOD{number}")
        variants.SetVariantSelection(f"LOD{number}")
        with variants.GetVariantEditContext():
            _mesh(stage, root, level, place, material)
    for number, collider in enumerate(asset.colliders):
        name = Tf.MakeValidIdentifier(collider_name(style.engine, stem, stem, number))
        _collider(stage, f"{root.GetPath()}/{name}", collider, place)
    return stage


def _mesh(stage: Any, root: Any, mesh: Mesh, place: Any, material: Any) -> None:
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    shape = _shape(stage, f"{root.GetPath()}/Mesh", mesh.triangles, place)
    normals = place.vectors(mesh.triangles.normals.double()).float().numpy()
    shape.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals))
    shape.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    primvars = UsdGeom.PrimvarsAPI(shape)
    if mesh.config.texture[0]:
        st = (mesh.corner_uv.reshape(-1, 2) * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])).numpy()
        values, indices = np.unique(st, axis=0, return_inverse=True)  # v runs up
        uv = primvars.CreatePrimvar("st", Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        uv.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(values)))
        uv.SetIndices(Vt.IntArray.FromNumpy(indices.reshape(-1).astype(np.int32)))
    else:
        light = array_linear_from_srgb(mesh.colours[:, :3].numpy() / 255.0).astype(np.float32)
        shape.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(Vt.Vec3fArray.FromNumpy(light))
    UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(material)


def _shape(stage: Any, path: str, triangles: Triangles, place: Any) -> Any:
    from pxr import UsdGeom, Vt

    shape = UsdGeom.Mesh.Define(stage, path)
    points = place.points(triangles.vertices.double()).float()
    shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points.numpy()))
    shape.CreateFaceVertexCountsAttr(Vt.IntArray(len(triangles), 3))
    shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(triangles.faces.int().flatten().numpy()))
    shape.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(torch.stack([points.amin(0), points.amax(0)]).numpy()))
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    return shape


def _collider(stage: Any, path: str, collider: Triangles, place: Any) -> None:
    from pxr import UsdGeom, UsdPhysics

    shape = _shape(stage, path, collider, place)
    shape.CreatePurposeAttr(UsdGeom.Tokens.guide)
    UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
    UsdPhysics.MeshCollisionAPI.Apply(shape.GetPrim()).CreateApproximationAttr(UsdPhysics.Tokens.convexHull)


def _material(stage: Any, root: Any, stem: str, textures: list[TextureFile], asset: Asset) -> Any:
    """A preview surface with diffuse colour from the texture, else from the vertices; emissive where unlit."""
    from pxr import Gf, Sdf, UsdShade

    types = Sdf.ValueTypeNames
    material = UsdShade.Material.Define(stage, f"{root.GetPath()}/Material")
    path = material.GetPath()

    def node(name: str, kind: str) -> Any:
        shader = UsdShade.Shader.Define(stage, path.AppendChild(name))
        shader.CreateIdAttr(kind)
        return shader

    surface = node("Surface", "UsdPreviewSurface")
    surface.CreateInput("roughness", types.Float).Set(1.0)
    surface.CreateInput("metallic", types.Float).Set(0.0)
    material.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))
    reader = node("Reader", "UsdPrimvarReader_float2" if textures else "UsdPrimvarReader_float3")
    reader.CreateInput("varname", types.String).Set("st" if textures else "displayColor")
    looked_up = reader.CreateOutput("result", types.Float2 if textures else types.Float3)
    colour = "emissiveColor" if asset.unlit else "diffuseColor"
    if asset.unlit:
        surface.CreateInput("diffuseColor", types.Color3f).Set((0.0, 0.0, 0.0))
    if not textures:
        surface.CreateInput(colour, types.Color3f).ConnectToSource(looked_up)
    slots = {
        "baseColor": [(colour, types.Color3f, "rgb")]
        + ([("opacity", types.Float, "a")] if has_transparency(asset) else []),
        "normal": [("normal", types.Normal3f, "rgb")],
        "metallicRoughness": [("roughness", types.Float, "g"), ("metallic", types.Float, "b")],
        "occlusion": [("occlusion", types.Float, "r")],
    }
    for picture in textures:
        texture = node(picture.slot, "UsdUVTexture")
        texture.CreateInput("file", types.Asset).Set(Sdf.AssetPath(f"./{picture.file_name(stem)}"))
        texture.CreateInput("sourceColorSpace", types.Token).Set("sRGB" if picture.slot == "baseColor" else "raw")
        texture.CreateInput("st", types.Float2).ConnectToSource(looked_up)
        for wrap in ("wrapS", "wrapT"):
            texture.CreateInput(wrap, types.Token).Set("repeat")
        if picture.slot == "normal":  # from [0, 1] to [-1, 1]
            texture.CreateInput("scale", types.Float4).Set(Gf.Vec4f(2, 2, 2, 1))
            texture.CreateInput("bias", types.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        for slot, kind, channels in slots[picture.slot]:
            output = texture.CreateOutput(channels, types.Float3 if channels == "rgb" else types.Float)
            surface.CreateInput(slot, kind).ConnectToSource(output)
    return material


def set_frame(stage: Any, frame: Frame) -> None:
    """Set the unit to metres and the up axis to +Z for `zup`, else to +Y: USD has no other."""
    from pxr import UsdGeom

    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z if frame == "zup" else UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)


def usd_metadata(extras: dict[str, Any]) -> dict[str, Any]:
    """The values that USD's metadata can hold: numbers and strings as they are, all else as text."""
    plain = str | int | float | bool
    return {name: value if isinstance(value, plain) else str(value) for name, value in extras.items()}
