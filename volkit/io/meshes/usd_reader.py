"""Meshes of a USD stage at its default time, by usd-core: what is rendered, with base colour.

Read: face sets with materials of their own, UsdTransform2d, wraps, colours per stage, face, point or corner, instances
and point instancers. Purposes `default` and `render` are drawn; `proxy` only where nothing else is.
"""

# usd-core defines its modules' members at run time.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.errors import FormatError
from volkit.files.provenance import PROVENANCE_KEY
from volkit.files.sandbox import Sandbox
from volkit.geometry import Similarity, turn
from volkit.geometry.colour import array_srgb_from_linear
from volkit.io.meshes.parts import Part, Wrap
from volkit.io.meshes.polygons import triangulate

__all__ = ["MAX_ARRAY_VALUES", "open_stage", "read_stage_provenance", "read_usd_parts", "world_from_stage"]

MAX_ARRAY_VALUES = 1 << 26  # of one array; a damaged file may claim any number
MAX_TRANSFORMS = 8  # of a texture's uv, one behind the other; a cycle would never end
WRAPS: dict[str, Wrap] = {"clamp": "clamp", "mirror": "mirror", "repeat": "repeat"}
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


def read_usd_parts(stage: Any, notes: list[str]) -> list[Part]:
    """Each visible mesh of the stage by its materials, in the stage's frame; what is left out is said in `notes`."""
    from pxr import Usd, UsdGeom

    prims = list(stage.Traverse(Usd.TraverseInstanceProxies()))
    instancers = [UsdGeom.PointInstancer(prim) for prim in prims if prim.IsA(UsdGeom.PointInstancer)]
    prototypes = [path for one in instancers for path in one.GetPrototypesRel().GetTargets()]
    drawn = [prim for prim in prims if not any(prim.GetPath().HasPrefix(path) for path in prototypes)]
    placed = [(mesh, _world(mesh)) for mesh in _shown(drawn)]
    for instancer in instancers:
        if UsdGeom.Imageable(instancer).ComputeVisibility() == UsdGeom.Tokens.invisible:
            continue
        if any(instancer.GetPath().HasPrefix(path) for path in prototypes):
            raise ValueError(f"{instancer.GetPath()} is an instancer within what another one repeats")
        placed += _instances(stage, instancer)
    corners = sum(len(mesh.GetFaceVertexIndicesAttr().Get() or ()) for mesh, _ in placed)
    if corners > MAX_ARRAY_VALUES:
        raise ValueError(f"its meshes and their instances have {corners} corners")
    if lost := {name for mesh, _ in placed for prim in (mesh, *_subsets(mesh)) for name in _lost(prim)}:
        notes.append(f"left out: {', '.join(sorted(lost))}")
    return [part for mesh, to_stage in placed for part in _parts(mesh, to_stage)]


def _subsets(mesh: Any) -> list[Any]:
    """The sets of faces of a mesh that have materials of their own."""
    from pxr import UsdShade

    return UsdShade.MaterialBindingAPI(mesh).GetMaterialBindSubsets()


def _lost(bound: Any) -> set[str]:
    """What the material of a prim shows beside base colour and alpha."""
    surface = _surface(bound)
    if surface is None:
        return set()
    slots = {"normal": "normal maps", "occlusion": "occlusion maps", "roughness": "roughness", "metallic": "metalness"}
    found = {said for name, said in slots.items() if _source(surface.GetInput(name)) is not None}
    emission = surface.GetInput("emissiveColor")
    shown_by_it = _source(surface.GetInput("diffuseColor")) is None and _source(emission) is not None
    if not shown_by_it and (_source(emission) is not None or any(_value(surface, "emissiveColor", ()))):
        found.add("emission")
    return found


def _surface(bound: Any) -> Any:
    """The surface shader of the material that is bound to a prim, or None."""
    from pxr import UsdShade

    material, _ = UsdShade.MaterialBindingAPI(bound).ComputeBoundMaterial()
    return (material.ComputeSurfaceSource()[0] or None) if material else None


def _instances(stage: Any, instancer: Any) -> list[tuple[Any, np.ndarray]]:
    """The meshes that a point instancer repeats, with their transforms to the stage."""
    from pxr import Usd, UsdGeom

    which = np.array(instancer.GetProtoIndicesAttr().Get() or [], np.int64)
    if not len(which):
        return []
    if len(which) > MAX_ARRAY_VALUES:
        raise ValueError(f"{instancer.GetPath()} has {len(which)} instances")
    time, paths = Usd.TimeCode.Default(), instancer.GetPrototypesRel().GetTargets()
    roots = [stage.GetPrimAtPath(path) for path in paths]
    if not 0 <= which.min() <= which.max() < len(roots) or not all(roots):
        raise ValueError(f"{instancer.GetPath()} names prototype {which.max()}, of which there are {len(roots)}")
    mask = instancer.ComputeMaskAtTime(time)  # of those that are not hidden; empty: all
    places = instancer.ComputeInstanceTransformsAtTime(
        time, time, UsdGeom.PointInstancer.ExcludeProtoXform, UsdGeom.PointInstancer.ApplyMask
    )
    own = _world(instancer)
    inside = []
    for root in roots:
        above = np.linalg.inv(_world(UsdGeom.Xformable(root.GetParent())))
        found = _shown(list(Usd.PrimRange(root, Usd.TraverseInstanceProxies())))
        inside.append([(mesh, above @ _world(mesh)) for mesh in found])
    return [
        (mesh, own @ np.array(place).T @ in_prototype)
        for number, place in zip(which[np.array(mask, bool)] if mask else which, places, strict=True)
        for mesh, in_prototype in inside[number]
    ]


def _shown(prims: list[Any]) -> list[Any]:
    """The meshes that are drawn: not guides, and proxies only where there is nothing else."""
    from pxr import UsdGeom

    meshes = [UsdGeom.Mesh(prim) for prim in prims if prim.IsA(UsdGeom.Mesh)]
    visible = [
        mesh
        for mesh in meshes
        if mesh.ComputeVisibility() != UsdGeom.Tokens.invisible and mesh.GetFaceVertexCountsAttr().HasAuthoredValue()
    ]
    rendered = [m for m in visible if m.ComputePurpose() in (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)]
    return rendered or [mesh for mesh in visible if mesh.ComputePurpose() == UsdGeom.Tokens.proxy]


def _world(place: Any) -> np.ndarray:
    """The transform [4, 4] of a prim's frame to the stage's; the identity for what has none."""
    from pxr import Usd

    return np.array(place.ComputeLocalToWorldTransform(Usd.TimeCode.Default())).T if place else np.eye(4)


@contextmanager
def open_stage(path: Path) -> Iterator[Any]:
    """Open a stage that the sandbox opened without harm; errors of usd-core become ValueError."""
    from pxr import Tf, Usd

    SANDBOX.check(path)  # usd-core crashes or hangs on some damaged crates
    try:
        stage = Usd.Stage.Open(str(path))
        for layer in stage.GetUsedLayers():
            if layer.realPath:
                _check_inside(path, layer.realPath)
        yield stage
    except Tf.ErrorException as error:
        raise ValueError(str(error).splitlines()[-1].strip()) from error


def _check_inside(path: Path, named: str) -> None:
    """Raise FormatError for a file outside the folder of the stage at `path`; `a.usdz[b.png]` is in the archive."""
    if not Path(named.partition("[")[0]).resolve().is_relative_to(path.parent.resolve()):
        raise FormatError(path, f"names {named}, outside its folder", "keep the files of a stage together")


def _parts(mesh: Any, to_stage: np.ndarray) -> list[Part]:
    """The faces of a mesh by their materials."""
    from pxr import UsdGeom

    points = _array(mesh.GetPointsAttr()).astype(np.float64) @ to_stage[:3, :3].T + to_stage[:3, 3]
    counts = _array(mesh.GetFaceVertexCountsAttr())
    indices = _array(mesh.GetFaceVertexIndicesAttr())
    if counts.min() < 0 or counts.sum(dtype=np.int64) != len(indices):
        raise ValueError(f"{mesh.GetPath()} has {len(indices)} corners, and its faces do not add up to that")
    at = triangulate(counts, points[indices])  # positions in the list of corners
    polygon = np.searchsorted(np.cumsum(counts), at[:, 0], "right")
    if (mesh.GetOrientationAttr().Get() == UsdGeom.Tokens.leftHanded) != (np.linalg.det(to_stage[:3, :3]) < 0):
        at = at[:, ::-1]
    rest, groups = np.ones(len(counts), bool), []
    for subset in _subsets(mesh):
        own, faces = np.zeros(len(counts), bool), np.array(subset.GetIndicesAttr().Get() or [], np.int64)
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(counts):
            raise ValueError(f"{subset.GetPath()} names face {faces.max()}, there are {len(counts)}")
        own[faces] = True
        groups.append((subset, own & rest))
        rest &= ~own
    chosen = [(prim, faces[polygon]) for prim, faces in [(mesh, rest), *groups]]
    return [_part(mesh, prim, points, indices, at[rows], polygon[rows]) for prim, rows in chosen if rows.any()]


def _part(mesh: Any, bound: Any, points: np.ndarray, indices: np.ndarray, at: np.ndarray, polygon: np.ndarray) -> Part:
    """Triangles of a mesh, by the material that is bound to `bound`; equal corners are one vertex."""
    from pxr import UsdGeom

    look = _base_colour(bound)
    uv = UsdGeom.PrimvarsAPI(mesh).GetPrimvar(look.uv_name)
    corner = indices[at].reshape(-1)
    columns = [points[corner]]
    if look.image is not None and uv.HasValue():
        values = np.array(uv.ComputeFlattened(), np.float64)
        values = values[at.reshape(-1) if len(values) == len(indices) else corner] @ look.uv_turn.T + look.uv_offset
        columns.append(values * [1, -1] + [0, 1])  # USD's v runs up
    else:
        shown = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("displayColor")
        light = np.array(shown.ComputeFlattened() if shown.HasValue() and look.plain else [look.colour], np.float64)
        kind = shown.GetInterpolation() if shown.HasValue() and look.plain else "constant"
        rows = {"vertex": corner, "varying": corner, "faceVarying": at.reshape(-1), "uniform": polygon.repeat(3)}
        light = light[rows[kind]] if kind in rows else light[:1].repeat(len(corner), 0)
        columns.append(np.concatenate([255.0 * array_srgb_from_linear(light), np.full((len(light), 1), 255.0)], 1))
    _, first, faces = np.unique(np.concatenate(columns, 1), axis=0, return_index=True, return_inverse=True)
    faces, positions, values = faces.reshape(-1, 3), columns[0][first], columns[1][first]
    if look.image is not None and values.shape[1] == 2:
        return Part(positions, faces, values, look.image, wrap=look.wrap)
    return Part(positions, faces, colours=values.round().astype(np.uint8))


def _array(attribute: Any) -> np.ndarray:
    values = attribute.Get()
    if values is None or not 0 < len(values) < MAX_ARRAY_VALUES:
        raise ValueError(f"{attribute.GetPath()} has {0 if values is None else len(values)} values")
    return np.array(values)


@dataclass(frozen=True)
class _Look:
    """Base colour of a material: an image by a uv primvar, turned and moved, or a colour.

    `plain`: there is no material, or it shows the colours of the mesh.
    """

    image: np.ndarray | None = None
    colour: tuple[float, float, float] = (0.578, 0.578, 0.578)  # 0.8 in sRGB
    uv_name: str = "st"
    uv_turn: np.ndarray = field(default_factory=lambda: np.eye(2))
    uv_offset: np.ndarray = field(default_factory=lambda: np.zeros(2))
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    plain: bool = False


def _base_colour(bound: Any) -> _Look:
    """What the material bound to a prim shows."""
    surface = _surface(bound)
    slots = [surface.GetInput(name) for name in ("diffuseColor", "emissiveColor")] if surface else []
    for slot in slots:
        texture = _source(slot)
        if texture is not None and texture.GetIdAttr().Get() == "UsdPrimvarReader_float3":
            return _Look(plain=True)
        if texture is not None and texture.GetIdAttr().Get() == "UsdUVTexture":
            reader, turn, offset = _source(texture.GetInput("st")), np.eye(2), np.zeros(2)
            for _ in range(MAX_TRANSFORMS):
                if reader is None or reader.GetIdAttr().Get() != "UsdTransform2d":
                    break
                scale, angle, moved = (
                    _value(reader, n, d)
                    for n, d in (("scale", (1.0, 1.0)), ("rotation", 0.0), ("translation", (0.0, 0.0)))
                )
                cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
                own = np.array([[cos, -sin], [sin, cos]]) @ np.diag(scale)  # scaled, then turned, then moved
                turn, offset = turn @ own, turn @ np.array(moved) + offset
                reader = _source(reader.GetInput("in"))
            wrap = _wrap(texture, "wrapS"), _wrap(texture, "wrapT")
            name = "st" if reader is None else str(_value(reader, "varname", "st"))
            image = _image(Path(bound.GetPrim().GetStage().GetRootLayer().realPath), texture.GetInput("file").Get())
            if _source(surface.GetInput("opacity")) is None:  # the image's alpha stands for nothing
                image[..., 3] = 255
            return _Look(image, (1.0, 1.0, 1.0), name, turn, offset, wrap)
    value = slots[0].Get() if slots and slots[0] else None
    return _Look(colour=tuple(value)) if value else _Look(plain=True)


def _source(slot: Any) -> Any:
    """The shader that feeds an input, or None."""
    from pxr import UsdShade

    found = slot.GetConnectedSources()[0] if slot and slot.HasConnectedSource() else []
    return UsdShade.Shader(found[0].source) if found else None


def _wrap(texture: Any, name: str) -> Wrap:
    return WRAPS.get(str(_value(texture, name, "")), "repeat")


def _value(shader: Any, name: str, default: Any) -> Any:
    slot = shader.GetInput(name)
    value = slot.Get() if slot else None
    return default if value is None else value


def _image(path: Path, asset: Any) -> np.ndarray:
    """The image beside the stage at `path`, or within its archive."""
    from io import BytesIO

    from PIL import Image
    from pxr import Ar

    _check_inside(path, asset.resolvedPath or asset.path)
    data = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath))
    if data is None:
        raise ValueError(f"picture {asset.path} is not there")
    return np.array(Image.open(BytesIO(data.GetBuffer())).convert("RGBA"))
