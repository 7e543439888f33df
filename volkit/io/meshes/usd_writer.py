"""Assets as `.usdc`, `.usda` or `.usd` with textures beside them, or as one `.usdz`, in metres; by usd-core.

Materials are UsdPreviewSurfaces, bound to subsets of faces where there are several. Levels are the variants `LOD0`,
`LOD1`, ... of the variant set `LOD`, with the finest selected. Colliders are convex UsdPhysics meshes of purpose
`guide`, which are not drawn.
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
from volkit.geometry import Frame, Similarity
from volkit.geometry.colour import array_linear_from_srgb
from volkit.geometry.triangles import Triangles
from volkit.io.meshes.asset import SLOT_NAMES, Asset, Style, TextureFile, encode_textures, material_names
from volkit.io.meshes.engines import collider_name
from volkit.io.meshes.parts import offset_of
from volkit.representations.material import Material, Texture
from volkit.representations.mesh import Mesh
from volkit.version import __version__

UV_NAMES = ("st", "st1")  # of primvars

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
    pictures = {picture.image: picture for picture in textures}
    names = material_names(asset.materials, "Material")
    materials = [
        _MaterialPrim(stage, f"{root.GetPath()}/{Tf.MakeValidIdentifier(name)}", material).define(
            pictures, stem, asset.mesh.config.coloured
        )
        for name, material in zip(names, asset.materials, strict=True)
    ]
    place = asset.mesh.world_from_local
    variants = root.GetVariantSets().AddVariantSet("LOD") if len(asset.levels) > 1 else None
    for number, level in reversed(list(enumerate(asset.levels))):  # the selection that is made last stays: the finest
        if variants is None:
            _mesh(stage, root, level, place, materials)
            continue
        variants.AddVariant(f"LOD{number}")
        variants.SetVariantSelection(f"LOD{number}")
        with variants.GetVariantEditContext():
            _mesh(stage, root, level, place, materials)
    for number, collider in enumerate(asset.colliders):
        name = Tf.MakeValidIdentifier(collider_name(style.engine, stem, stem, number))
        _collider(stage, f"{root.GetPath()}/{name}", collider, place)
    return stage


def _mesh(stage: Any, root: Any, mesh: Mesh, place: Similarity, materials: list[Any]) -> None:
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    shape = _shape(stage, f"{root.GetPath()}/Mesh", mesh.triangles, place)
    normals = place.vectors(mesh.vertex_normals.double()).float().numpy()
    shape.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals))
    shape.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    primvars = UsdGeom.PrimvarsAPI(shape)
    for name, corner_uv in zip(UV_NAMES[: mesh.config.uv_sets], (mesh.corner_uv, mesh.second_uv), strict=False):
        st = (corner_uv.reshape(-1, 2) * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])).numpy()
        values, indices = np.unique(st, axis=0, return_inverse=True)  # v runs up
        uv = primvars.CreatePrimvar(name, Sdf.ValueTypeNames.TexCoord2fArray, UsdGeom.Tokens.faceVarying)
        uv.Set(Vt.Vec2fArray.FromNumpy(np.ascontiguousarray(values)))
        uv.SetIndices(Vt.IntArray.FromNumpy(indices.reshape(-1).astype(np.int32)))
    if mesh.config.coloured:
        light = array_linear_from_srgb(mesh.colours[:, :3].numpy() / 255.0).astype(np.float32)
        for number, material in enumerate(mesh.config.materials):  # a shader has no product of factor and colours
            own = mesh.faces[mesh.face_material == number].long().flatten().unique().numpy()
            light[own] *= np.array(material.base_colour[:3], np.float32)
        shape.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex).Set(Vt.Vec3fArray.FromNumpy(light))
    if len(materials) == 1:
        UsdShade.MaterialBindingAPI.Apply(shape.GetPrim()).Bind(materials[0])
        return
    binding = UsdShade.MaterialBindingAPI.Apply(shape.GetPrim())
    for number, material in enumerate(materials):
        own = (mesh.face_material == number).nonzero()[:, 0].int().numpy()
        if len(own):
            faces = Vt.IntArray.FromNumpy(own)
            subset = binding.CreateMaterialBindSubset(material.GetPrim().GetName(), faces)
            UsdShade.MaterialBindingAPI.Apply(subset.GetPrim()).Bind(material)


def _shape(stage: Any, path: str, triangles: Triangles, place: Similarity) -> Any:
    from pxr import Gf, UsdGeom, Vt

    shape = UsdGeom.Mesh.Define(stage, path)
    exact = place.points(triangles.vertices.double())
    origin = offset_of(exact.numpy())  # points are float32
    if origin.any():
        shape.AddTranslateOp(UsdGeom.XformOp.PrecisionDouble).Set(Gf.Vec3d(*origin.tolist()))
    points = (exact - torch.from_numpy(origin)).float()
    shape.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points.numpy()))
    shape.CreateFaceVertexCountsAttr(Vt.IntArray(len(triangles), 3))
    shape.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(triangles.faces.int().flatten().numpy()))
    shape.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(torch.stack([points.amin(0), points.amax(0)]).numpy()))
    shape.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    return shape


def _collider(stage: Any, path: str, collider: Triangles, place: Similarity) -> None:
    from pxr import UsdGeom, UsdPhysics

    shape = _shape(stage, path, collider, place)
    shape.CreatePurposeAttr(UsdGeom.Tokens.guide)
    UsdPhysics.CollisionAPI.Apply(shape.GetPrim())
    UsdPhysics.MeshCollisionAPI.Apply(shape.GetPrim()).CreateApproximationAttr(UsdPhysics.Tokens.convexHull)


class _MaterialPrim:
    """A material under construction, with its shaders."""

    def __init__(self, stage: Any, path: str, material: Material) -> None:
        from pxr import Sdf, UsdShade

        self.stage, self.material, self.types = stage, material, Sdf.ValueTypeNames
        self.prim = UsdShade.Material.Define(stage, path)
        self.surface = self._node("Surface", "UsdPreviewSurface")
        self.readers: dict[str, Any] = {}

    def define(self, pictures: dict[int, TextureFile], stem: str, coloured: bool) -> Any:
        """All inputs of the surface; colours come from the texture, else from the vertices of a `coloured` mesh."""
        material, types, surface = self.material, self.types, self.surface
        self.prim.CreateSurfaceOutput().ConnectToSource(surface.CreateOutput("surface", types.Token))
        surface.CreateInput("roughness", types.Float).Set(material.roughness)
        surface.CreateInput("metallic", types.Float).Set(material.metallic)
        colour = "emissiveColor" if material.unlit else "diffuseColor"
        if material.unlit:
            surface.CreateInput("diffuseColor", types.Color3f).Set((0.0, 0.0, 0.0))
        clear = material.alpha_mode != "opaque"
        if clear and material.base_colour[3] < 1.0 and material.base_colour_texture is None:
            surface.CreateInput("opacity", types.Float).Set(material.base_colour[3])
        if material.alpha_mode == "mask":
            surface.CreateInput("opacityThreshold", types.Float).Set(material.alpha_cutoff)
        if any(material.emission) and material.emission_texture is None and not material.unlit:
            surface.CreateInput("emissiveColor", types.Color3f).Set(material.emission)
        if material.base_colour_texture is None:
            if coloured:
                surface.CreateInput(colour, types.Color3f).ConnectToSource(self._reader("displayColor", "float3"))
            else:
                surface.CreateInput(colour, types.Color3f).Set(material.base_colour[:3])
        inputs = {
            "base_colour": [(colour, types.Color3f, "rgb")] + ([("opacity", types.Float, "a")] if clear else []),
            "normal": [("normal", types.Normal3f, "rgb")],
            "metallic_roughness": [("roughness", types.Float, "g"), ("metallic", types.Float, "b")],
            "occlusion": [("occlusion", types.Float, "r")],
            "emission": [] if material.unlit else [("emissiveColor", types.Color3f, "rgb")],
        }
        for slot, texture in material.textures.items():
            node = self._texture(slot, texture, pictures[texture.image].file_name(stem))
            for name, kind, channels in inputs[slot]:
                output = node.CreateOutput(channels, types.Float3 if channels == "rgb" else types.Float)
                surface.CreateInput(name, kind).ConnectToSource(output)
        return self.prim

    def _node(self, name: str, kind: str) -> Any:
        from pxr import UsdShade

        shader = UsdShade.Shader.Define(self.stage, self.prim.GetPath().AppendChild(name))
        shader.CreateIdAttr(kind)
        return shader

    def _reader(self, name: str, kind: str) -> Any:
        """The output of a reader of a primvar."""
        if name not in self.readers:
            node = self._node(f"Reader_{name}" if self.readers else "Reader", f"UsdPrimvarReader_{kind}")
            node.CreateInput("varname", self.types.String).Set(name)
            self.readers[name] = node.CreateOutput(
                "result", self.types.Float2 if kind == "float2" else self.types.Float3
            )
        return self.readers[name]

    def _texture(self, slot: str, texture: Texture, file: str) -> Any:
        from pxr import Gf, Sdf

        node, types = self._node(SLOT_NAMES[slot], "UsdUVTexture"), self.types
        node.CreateInput("file", types.Asset).Set(Sdf.AssetPath(f"./{file}"))
        coloured = slot in ("base_colour", "emission")
        node.CreateInput("sourceColorSpace", types.Token).Set("sRGB" if coloured else "raw")
        node.CreateInput("st", types.Float2).ConnectToSource(self._reader(UV_NAMES[texture.uv], "float2"))
        for name, wrap in zip(("wrapS", "wrapT"), texture.wrap, strict=True):
            node.CreateInput(name, types.Token).Set(wrap)
        one, material = Gf.Vec4f(1, 1, 1, 1), self.material
        scale = {
            "base_colour": Gf.Vec4f(*material.base_colour),
            "metallic_roughness": Gf.Vec4f(1, material.roughness, material.metallic, 1),
            "emission": Gf.Vec4f(*material.emission, 1),
            "normal": Gf.Vec4f(2, 2, 2, 1),  # from [0, 1] to [-1, 1]
        }.get(slot, one)
        if scale != one:
            node.CreateInput("scale", types.Float4).Set(scale)
        if slot == "normal":
            node.CreateInput("bias", types.Float4).Set(Gf.Vec4f(-1, -1, -1, 0))
        return node


def set_frame(stage: Any, frame: Frame) -> None:
    """Set the unit to metres and the up axis to +Z for `zup`, else to +Y: USD has no other."""
    from pxr import UsdGeom

    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.z if frame == "zup" else UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)


def usd_metadata(extras: dict[str, Any]) -> dict[str, Any]:
    """The values that USD's metadata can hold: numbers and strings as they are, all else as text."""
    plain = str | int | float | bool
    return {name: value if isinstance(value, plain) else str(value) for name, value in extras.items()}
