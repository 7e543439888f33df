"""Meshes of a USD stage at its default time, by usd-core: what is visible, without guides, with base colour."""

# usd-core defines its modules' members at run time.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.provenance import PROVENANCE_KEY
from volkit.files.sandbox import Sandbox
from volkit.geometry import Similarity, turn
from volkit.geometry.colour import array_srgb_from_linear
from volkit.io.meshes.polygons import triangulate

__all__ = ["MAX_ARRAY_VALUES", "open_stage", "read_stage_provenance", "read_usd_parts", "world_from_stage"]

MAX_ARRAY_VALUES = 1 << 26  # of one array; a damaged file may claim any number
SANDBOX = Sandbox("usd-core", Path(__file__).with_name("usd_probe.py"), 10.0)  # the first stage takes 0.7


def world_from_stage(stage: Any) -> Similarity:
    """World (+Z up, metres) from stage coordinates, by the stage's up axis and unit."""
    from pxr import UsdGeom

    up = turn("zup", "yup" if UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.y else "zup")
    return Similarity(up.rotation, scale=float(UsdGeom.GetStageMetersPerUnit(stage)))


def read_stage_provenance(stage: Any) -> dict[str, Any]:
    """The provenance that our writer stores at the stage's default prim."""
    root = stage.GetDefaultPrim()
    record = root.GetCustomDataByKey(PROVENANCE_KEY) if root else None
    plain = record if isinstance(record, dict) else {}
    return {name: value for name, value in plain.items() if isinstance(value, str | int | float | bool)}


def read_usd_parts(stage: Any) -> list[Any]:
    """A `trimesh.Trimesh` for each visible mesh of the stage, in the stage's frame."""
    from pxr import Usd, UsdGeom

    meshes = [UsdGeom.Mesh(p) for p in stage.Traverse(Usd.TraverseInstanceProxies()) if p.IsA(UsdGeom.Mesh)]
    visible = [
        mesh
        for mesh in meshes
        if mesh.ComputeVisibility() != UsdGeom.Tokens.invisible and mesh.ComputePurpose() != UsdGeom.Tokens.guide
    ]
    return [_part(mesh) for mesh in visible if mesh.GetFaceVertexCountsAttr().HasAuthoredValue()]


@contextmanager
def open_stage(path: Path) -> Iterator[Any]:
    """Open a stage that the sandbox opened without harm; errors of usd-core become ValueError."""
    from pxr import Tf, Usd

    SANDBOX.check(path)  # usd-core crashes or hangs on some damaged crates
    try:
        yield Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise ValueError(str(error).splitlines()[-1].strip()) from error


def _part(mesh: Any) -> Any:
    import trimesh
    from pxr import Usd, UsdGeom
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    to_stage = np.array(mesh.ComputeLocalToWorldTransform(Usd.TimeCode.Default())).T
    points = _array(mesh.GetPointsAttr()).astype(np.float64) @ to_stage[:3, :3].T + to_stage[:3, 3]
    counts = _array(mesh.GetFaceVertexCountsAttr())
    indices = _array(mesh.GetFaceVertexIndicesAttr())
    if counts.min() < 0 or counts.sum(dtype=np.int64) != len(indices):
        raise ValueError(f"{mesh.GetPath()} has {len(indices)} corners, and its faces do not add up to that")
    at = triangulate(counts, points[indices])  # positions in the list of corners
    if (mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded) != (np.linalg.det(to_stage[:3, :3]) < 0):
        at = at[:, ::-1]
    corners = points[indices[at]].reshape(-1, 3)  # one vertex per corner; equal ones are merged below
    faces = np.arange(len(corners)).reshape(-1, 3)
    image, colour, name = _base_colour(mesh)
    uv = UsdGeom.PrimvarsAPI(mesh).GetPrimvar(name)
    if image is not None and uv.HasValue():
        values = np.array(uv.ComputeFlattened(), np.float64)
        values = values[at if len(values) == len(indices) else indices[at]].reshape(-1, 2)
        visual = TextureVisuals(uv=values, material=PBRMaterial(baseColorTexture=image))
        whole = trimesh.Trimesh(corners, faces, visual=visual, process=False)
    else:
        shown = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("displayColor")
        light = np.array(shown.ComputeFlattened() if shown.HasValue() else [colour], np.float64)
        if len(light) in (len(points), len(indices)):
            light = light[(indices[at] if len(light) == len(points) else at).reshape(-1)]
        else:
            light = light[:1].repeat(len(corners), 0)
        colours = np.concatenate([255.0 * array_srgb_from_linear(light), np.full((len(light), 1), 255.0)], 1)
        whole = trimesh.Trimesh(corners, faces, vertex_colors=colours.round().astype(np.uint8), process=False)
    whole.merge_vertices()
    return whole


def _array(attribute: Any) -> np.ndarray:
    values = attribute.Get()
    if values is None or not 0 < len(values) < MAX_ARRAY_VALUES:
        raise ValueError(f"{attribute.GetPath()} has {0 if values is None else len(values)} values")
    return np.array(values)


def _base_colour(mesh: Any) -> tuple[Any, tuple[float, float, float], str]:
    """Image of the bound material, or None; its colour otherwise; and the name of its uv primvar."""
    from pxr import UsdShade

    material, _ = UsdShade.MaterialBindingAPI(mesh).ComputeBoundMaterial()
    surface = material.ComputeSurfaceSource()[0] if material else None
    slots = [surface.GetInput(name) for name in ("diffuseColor", "emissiveColor")] if surface else []
    for slot in slots:
        source = slot.GetConnectedSources()[0] if slot and slot.HasConnectedSource() else []
        texture = UsdShade.Shader(source[0].source) if source else None
        if texture and texture.GetIdAttr().Get() == "UsdUVTexture":
            reader = texture.GetInput("st").GetConnectedSources()[0]
            name = UsdShade.Shader(reader[0].source).GetInput("varname").Get() if reader else "st"
            return _image(texture.GetInput("file").Get()), (1.0, 1.0, 1.0), str(name)
    value = slots[0].Get() if slots and slots[0] else None
    return None, tuple(value) if value else (0.578, 0.578, 0.578), "st"  # 0.8 in sRGB


def _image(asset: Any) -> Any:
    """The image beside the stage, or within its archive."""
    from io import BytesIO

    from PIL import Image
    from pxr import Ar

    data = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath))
    if data is None:
        raise ValueError(f"picture {asset.path} is not there")
    return Image.open(BytesIO(data.GetBuffer())).convert("RGBA")
