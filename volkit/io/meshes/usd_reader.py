"""Meshes of a USD stage at its default time, by usd-core: what is rendered, with its materials.

Read: face sets with materials of their own (`usd_materials.py`), colours per stage, face, point or corner, instances
and point instancers. Purposes `default` and `render` are drawn; `proxy` only where nothing else is.
"""

# usd-core defines its modules' members at run time.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.provenance import PROVENANCE_KEY
from volkit.files.sandbox import Sandbox
from volkit.geometry import Similarity, turn
from volkit.geometry.colour import array_srgb_from_linear
from volkit.io.meshes.parts import ImageTable, MeshPart
from volkit.io.meshes.polygons import triangulate
from volkit.io.meshes.usd_materials import UsdLook, UsdMaterials, check_inside

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


def read_usd_parts(stage: Any, images: ImageTable, notes: list[str]) -> list[MeshPart]:
    """Each visible mesh of the stage by its materials, in the stage's frame; what is left out is said in `notes`."""
    from pxr import Usd, UsdGeom

    prims = list(stage.Traverse(Usd.TraverseInstanceProxies()))
    instancers = [UsdGeom.PointInstancer(prim) for prim in prims if prim.IsA(UsdGeom.PointInstancer)]
    prototypes = [path for one in instancers for path in one.GetPrototypesRel().GetTargets()]
    drawn = [prim for prim in prims if not any(prim.GetPath().HasPrefix(path) for path in prototypes)]
    placed = [(mesh, _world(mesh)) for mesh in _shown(drawn)]
    for instancer in instancers:
        if UsdGeom.Imageable(instancer).ComputeVisibility(_first()) == UsdGeom.Tokens.invisible:
            continue
        if any(instancer.GetPath().HasPrefix(path) for path in prototypes):
            raise ValueError(f"{instancer.GetPath()} is an instancer within what another one repeats")
        placed += _instances(stage, instancer)
    corners = sum(len(mesh.GetFaceVertexIndicesAttr().Get(_first()) or ()) for mesh, _ in placed)
    if corners > MAX_ARRAY_VALUES:
        raise ValueError(f"its meshes and their instances have {corners} corners")
    materials = UsdMaterials(images)
    parts = [part for mesh, to_stage in placed for part in _parts(mesh, to_stage, materials)]
    if materials.lost:
        notes.append(f"left out: {', '.join(sorted(materials.lost))}")
    return parts


def _subsets(mesh: Any) -> list[Any]:
    """The sets of faces of a mesh that have materials of their own."""
    from pxr import UsdShade

    return UsdShade.MaterialBindingAPI(mesh).GetMaterialBindSubsets()


def _instances(stage: Any, instancer: Any) -> list[tuple[Any, np.ndarray]]:
    """The meshes that a point instancer repeats, with their transforms to the stage."""
    from pxr import Usd, UsdGeom

    which = np.array(instancer.GetProtoIndicesAttr().Get(_first()) or [], np.int64)
    if not len(which):
        return []
    if len(which) > MAX_ARRAY_VALUES:
        raise ValueError(f"{instancer.GetPath()} has {len(which)} instances")
    time, paths = Usd.TimeCode.EarliestTime(), instancer.GetPrototypesRel().GetTargets()
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
        if mesh.ComputeVisibility(_first()) != UsdGeom.Tokens.invisible
        and mesh.GetFaceVertexCountsAttr().HasAuthoredValue()
    ]
    rendered = [m for m in visible if m.ComputePurpose() in (UsdGeom.Tokens.default_, UsdGeom.Tokens.render)]
    return rendered or [mesh for mesh in visible if mesh.ComputePurpose() == UsdGeom.Tokens.proxy]


def _world(place: Any) -> np.ndarray:
    """The transform [4, 4] of a prim's frame to the stage's; the identity for what has none."""
    from pxr import Usd

    return np.array(place.ComputeLocalToWorldTransform(Usd.TimeCode.EarliestTime())).T if place else np.eye(4)


@contextmanager
def open_stage(path: Path) -> Iterator[Any]:
    """Open a stage that the sandbox opened without harm; errors of usd-core become ValueError."""
    from pxr import Tf, Usd

    SANDBOX.check(path)  # usd-core crashes or hangs on some damaged crates
    try:
        stage = Usd.Stage.Open(str(path))
        for layer in stage.GetUsedLayers():
            if layer.realPath:
                check_inside(path, layer.realPath)
        yield stage
    except Tf.ErrorException as error:
        raise ValueError(str(error).splitlines()[-1].strip()) from error


def _parts(mesh: Any, to_stage: np.ndarray, materials: UsdMaterials) -> list[MeshPart]:
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
        own, faces = np.zeros(len(counts), bool), np.array(subset.GetIndicesAttr().Get(_first()) or [], np.int64)
        if len(faces) and not 0 <= faces.min() <= faces.max() < len(counts):
            raise ValueError(f"{subset.GetPath()} names face {faces.max()}, there are {len(counts)}")
        own[faces] = True
        groups.append((subset, own & rest))
        rest &= ~own
    chosen = [(prim, faces[polygon]) for prim, faces in [(mesh, rest), *groups]]
    corners = _Corners(mesh, points, indices, to_stage)
    return [corners.part(materials.read(prim), at[rows], polygon[rows]) for prim, rows in chosen if rows.any()]


@dataclass(frozen=True)
class _Corners:
    """The corners of a mesh's polygons: `points` in the stage's frame, and which of them each corner is."""

    mesh: Any
    points: np.ndarray
    indices: np.ndarray
    to_stage: np.ndarray

    def part(self, look: UsdLook, at: np.ndarray, polygon: np.ndarray) -> MeshPart:
        """Triangles of one look; equal corners are one vertex."""
        from pxr import UsdGeom

        columns = [self.points[self.indices[at].reshape(-1)]]
        for uv in look.uv:
            values = UsdGeom.PrimvarsAPI(self.mesh).GetPrimvar(uv.name)
            st = self._values(values, at, polygon) if values.HasValue() else np.zeros((at.size, 2))
            columns.append((st @ uv.turn.T + uv.offset) * [1, -1] + [0, 1])  # USD's v runs up
        light = UsdGeom.PrimvarsAPI(self.mesh).GetPrimvar("displayColor")
        if look.shows_colours and light.HasValue():
            rgb = self._values(light, at, polygon)
            columns.append(255.0 * array_srgb_from_linear(np.concatenate([rgb, np.ones((len(rgb), 1))], 1)))
        coloured, material = len(columns) > 1 + len(look.uv), look.material
        if coloured:  # instead of the colour of what has none
            material = replace(material, base_colour=(1.0, 1.0, 1.0, material.base_colour[3]))
        normals = self._normals(at, polygon)
        columns += [] if normals is None else [normals]
        widths = np.cumsum([column.shape[1] for column in columns])[:-1]
        _, first, faces = np.unique(np.concatenate(columns, 1), axis=0, return_index=True, return_inverse=True)
        values = np.split(np.concatenate(columns, 1)[first], widths, 1)
        return MeshPart(
            values[0],
            faces.reshape(-1, 3),
            material,
            tuple(values[1 : 1 + len(look.uv)]),
            values[1 + len(look.uv)].round().astype(np.uint8) if coloured else None,
            None if normals is None else values[-1],
        )

    def _values(self, primvar: Any, at: np.ndarray, polygon: np.ndarray) -> np.ndarray:
        """A primvar at corners, however it is spread over the mesh."""
        kind = str(primvar.GetInterpolation())
        return self._spread(np.array(primvar.ComputeFlattened(_first()), np.float64), kind, at, polygon)

    def _normals(self, at: np.ndarray, polygon: np.ndarray) -> np.ndarray | None:
        """Unit normals at corners in the stage's frame; None where the mesh has none, or subdivision makes them."""
        from pxr import UsdGeom

        values = self.mesh.GetNormalsAttr().Get(_first())
        primvar = UsdGeom.PrimvarsAPI(self.mesh).GetPrimvar("normals")
        if self.mesh.GetSubdivisionSchemeAttr().Get() != UsdGeom.Tokens.none:
            return None
        if primvar.HasValue():
            found = self._values(primvar, at, polygon)
        elif values is not None and len(values):
            kind = str(self.mesh.GetNormalsInterpolation())
            found = self._spread(np.array(values, np.float64), kind, at, polygon)
        else:
            return None
        found = found @ np.linalg.pinv(self.to_stage[:3, :3])
        return (found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)).round(7)

    def _spread(self, values: np.ndarray, kind: str, at: np.ndarray, polygon: np.ndarray) -> np.ndarray:
        point = self.indices[at].reshape(-1)
        rows = {"vertex": point, "varying": point, "faceVarying": at.reshape(-1), "uniform": polygon.repeat(3)}
        return values[rows[kind]] if kind in rows else values[:1].repeat(at.size, 0)


def _first() -> Any:
    """The time of what moves: its first sample, where it has any."""
    from pxr import Usd

    return Usd.TimeCode.EarliestTime()


def _array(attribute: Any) -> np.ndarray:
    values = attribute.Get(_first())
    if values is None or not 0 < len(values) < MAX_ARRAY_VALUES:
        raise ValueError(f"{attribute.GetPath()} has {0 if values is None else len(values)} values")
    return np.array(values)
