"""Opens a USD stage and looks at all that readers read at; run by itself, to see whether usd-core survives it.

Values that Python cannot have are no matter, for readers may not ask for them.
"""

# usd-core fills its modules at run time.
# pyright: reportAttributeAccessIssue=false

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from pxr import Usd, UsdGeom, UsdShade

__all__ = ["probe"]


def probe(path: str) -> str | None:
    """What keeps a stage from being opened, or takes more memory than there may be."""
    try:
        stage = Usd.Stage.Open(path)
    except Exception as error:
        return _first_line(error)
    for read in _reads(stage):
        try:
            read()
        except Exception as error:
            if isinstance(error, MemoryError) or "bad_alloc" in str(error):
                return "needs more memory than the file can justify"
    return None


def _reads(stage: Any) -> Iterator[Callable[[], object]]:
    for prim in stage.Traverse(Usd.TraverseInstanceProxies()):
        yield UsdGeom.Imageable(prim).ComputeVisibility
        yield partial(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform, Usd.TimeCode.Default())
        yield from (attribute.Get for attribute in prim.GetAttributes())
        yield from (primvar.ComputeFlattened for primvar in UsdGeom.PrimvarsAPI(prim).GetPrimvars())
        yield UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial


def _first_line(error: Exception) -> str:
    """The first complaint, without where in usd-core it was made."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].rpartition(" : ")[2].strip("' ") if lines else type(error).__name__
