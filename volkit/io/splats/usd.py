"""Splats in USD, ParticleField3DGaussianSplat of OpenUSD 26.03 and later, by usd-core.

Positions, orientations, linear scales, opacities, harmonics splat by splat; float or half.
Source: PixarAnimationStudios/OpenUSD `pxr/usd/usdVol/schema.usda`.
"""

# usd-core defines its modules' members at run time.
# pyright: reportAttributeAccessIssue=false

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from volkit.files.atomic import atomic_write
from volkit.files.errors import FormatError
from volkit.files.provenance import PROVENANCE_KEY, provenance_record
from volkit.geometry.frames import Similarity
from volkit.geometry.spherical_harmonics import sh_count
from volkit.io.meshes.usd_reader import MAX_ARRAY_VALUES, read_stage_provenance, world_from_stage
from volkit.io.meshes.usd_writer import set_frame, usd_metadata
from volkit.io.splats.columns import (
    SplatColumns,
    columns_from_parts,
    columns_to_write,
    exp_scales,
    normalise_quaternions,
    safe_log,
    safe_logit,
    sigmoid_opacities,
)

__all__ = ["read_stage_splats", "write_splats"]

SPLAT_PRIM_TYPE = "ParticleField3DGaussianSplat"
HARMONICS_NAME = "radiance:sphericalHarmonics"


def read_stage_splats(stage: Any) -> SplatColumns | None:
    """All visible splats of a stage at its first time, or None; one prim in its own frame, several in the stage's.

    Raises ValueError where they are damaged.
    """
    from pxr import Usd, UsdGeom

    prims = [prim for prim in stage.Traverse(Usd.TraverseInstanceProxies()) if prim.GetTypeName() == SPLAT_PRIM_TYPE]
    first, hidden = Usd.TimeCode.EarliestTime(), UsdGeom.Tokens.invisible
    visible = [prim for prim in prims if UsdGeom.Imageable(prim).ComputeVisibility(first) != hidden]
    found = [(_columns(prim), _world_transform(prim)) for prim in visible]
    return (
        columns_from_parts(found, world_from_stage(stage), read_stage_provenance(stage) | {"format": "usd"})
        if found
        else None
    )


def _world_transform(prim: Any) -> Similarity:
    from pxr import Usd, UsdGeom

    matrix = np.array(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.EarliestTime())).T
    return Similarity.from_matrix(matrix)


def _columns(prim: Any) -> dict[str, np.ndarray]:
    means = _array(prim, "positions", 3)
    count = len(means)
    degree = prim.GetAttribute(f"{HARMONICS_NAME}Degree").Get()
    if not 0 <= degree <= 4:
        raise ValueError(f"{prim.GetPath()} claims degree {degree}")
    harmonics = _array(prim, f"{HARMONICS_NAME}Coefficients", 3)
    if len(harmonics) != count * sh_count(degree):
        raise ValueError(f"{prim.GetPath()} has {len(harmonics)} coefficients for {count} splats of degree {degree}")
    harmonics = harmonics.reshape(count, -1, 3)
    columns = {
        "means": means,
        "quaternions": np.roll(_array(prim, "orientations", 4), 1, -1),  # x y z w in memory
        "log_scales": safe_log(_array(prim, "scales", 3)),
        "logits": safe_logit(_array(prim, "opacities", 1)[:, 0]),
        "sh_dc": harmonics[:, :1],
        "sh_rest": harmonics[:, 1:],
    }
    if any(len(column) != count for column in columns.values()):
        raise ValueError(f"{prim.GetPath()} has attributes of different lengths")
    return columns


def _array(prim: Any, name: str, width: int) -> np.ndarray:
    """An attribute as float32 [row, width], from its half-precision variant where that is what the file has."""
    from pxr import Usd

    attributes = [prim.GetAttribute(name), prim.GetAttribute(f"{name}h")]
    values = next((a.Get(Usd.TimeCode.EarliestTime()) for a in attributes if a and a.HasAuthoredValue()), None)
    if values is None or not 0 < len(values) * width < MAX_ARRAY_VALUES:
        raise ValueError(f"{prim.GetPath()} has {0 if values is None else len(values)} {name}")
    return np.array(values, np.float32).reshape(-1, width)


def write_splats(splats: SplatColumns, path: Path) -> None:
    """Write one prim, in a stage with the world's up axis, in the form that the suffix names."""
    from pxr import UsdUtils

    placed, offset = splats.without_offset() if splats.georeferenced else (splats, None)
    columns = columns_to_write(placed, path, 4)
    with TemporaryDirectory() as name:
        archive = path.suffix.lower() == ".usdz"
        layer = Path(name) / (f"{path.stem}.usdc" if archive else path.name)
        # A layer does not keep its stage alive, but needs it.
        stage = _stage(columns, path.stem, provenance_record(splats), offset)
        stage.GetRootLayer().Export(str(layer))
        with atomic_write(path) as place:
            if not archive:
                place.write_bytes(layer.read_bytes())
            elif not UsdUtils.CreateNewUsdzPackage(str(layer), str(place)):
                raise FormatError(path, "the archive could not be made", "write .usdc")


def _stage(
    columns: dict[str, np.ndarray], stem: str, provenance: dict[str, Any], offset: tuple[float, ...] | None
) -> Any:
    from pxr import Gf, Tf, Usd, UsdGeom, UsdVol, Vt

    stage = Usd.Stage.CreateInMemory()
    set_frame(stage, provenance["frame"])
    root = UsdGeom.Xform.Define(stage, f"/{Tf.MakeValidIdentifier(stem)}").GetPrim()
    stage.SetDefaultPrim(root)
    root.SetCustomDataByKey(PROVENANCE_KEY, usd_metadata(provenance))
    field = UsdVol.ParticleField3DGaussianSplat.Define(stage, f"{root.GetPath()}/Splats")
    if offset is not None:  # in double, of splats far from the origin
        field.AddTranslateOp().Set(Gf.Vec3d(*offset))
    points = lambda array: Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(array, np.float32))  # noqa: E731
    unit = np.roll(normalise_quaternions(columns["quaternions"]), -1, -1)
    scales, harmonics = exp_scales(columns["log_scales"]), np.concatenate([columns["sh_dc"], columns["sh_rest"]], 1)
    reach = 3.0 * scales.max(-1, keepdims=True)  # the schema cuts a splat at three standard deviations
    field.CreatePositionsAttr(points(columns["means"]))
    field.CreateOrientationsAttr(Vt.QuatfArray.FromNumpy(np.ascontiguousarray(unit)))
    field.CreateScalesAttr(points(scales))
    field.CreateOpacitiesAttr(Vt.FloatArray.FromNumpy(sigmoid_opacities(columns["logits"])))
    field.CreateRadianceSphericalHarmonicsDegreeAttr(round(harmonics.shape[1] ** 0.5) - 1)
    field.CreateRadianceSphericalHarmonicsCoefficientsAttr(points(harmonics.reshape(-1, 3)))
    ends = np.stack([(columns["means"] - reach).min(0), (columns["means"] + reach).max(0)])
    field.CreateExtentAttr(points(ends))
    return stage
