"""Opens a USD stage and reads all that our readers read; the sandbox runs it first, in case usd-core crashes.

Values that usd-core cannot convert to Python are not errors here, since the readers may never need them.
"""

# usd-core fills its modules at run time.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pxr import Usd, UsdGeom, UsdShade

__all__ = ["probe"]


def probe(path: str) -> str | None:
    """Why a stage cannot be opened, or needs more memory than allowed; None where it is fine."""
    try:
        stage = Usd.Stage.Open(path)
    except Exception as error:
        return _first_line(error)
    for read in _reads(stage):
        try:
            read()
        except Exception as error:
            if isinstance(error, MemoryError) or "bad_alloc" in str(error):
                return "needs far more memory than its size"
    return None


def _reads(stage: Any) -> Iterator[Callable[[], object]]:
    for prim in stage.Traverse(Usd.TraverseInstanceProxies()):
        yield UsdGeom.Imageable(prim).ComputeVisibility
        yield partial(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform, Usd.TimeCode.Default())
        yield from (attribute.Get for attribute in prim.GetAttributes())
        yield from (primvar.ComputeFlattened for primvar in UsdGeom.PrimvarsAPI(prim).GetPrimvars())
        yield UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial
        yield UsdShade.MaterialBindingAPI(prim).GetMaterialBindSubsets
        if prim.IsA(UsdGeom.PointInstancer):
            time, instancer = Usd.TimeCode.Default(), UsdGeom.PointInstancer(prim)
            yield partial(instancer.ComputeInstanceTransformsAtTime, time, time)
            yield partial(instancer.ComputeMaskAtTime, time)


def _first_line(error: Exception) -> str:
    """The first line of a message, without the place in usd-core's source."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].rpartition(" : ")[2].strip("' ") if lines else type(error).__name__
