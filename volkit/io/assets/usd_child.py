"""A program of its own: opens a USD stage, looks at all that readers look at, and ends well if usd-core lives.

What Python can say of the file the reader says again; what matters is a crash, memory without end, or no end at all.
"""

# usd-core fills its modules at run time.
# pyright: reportAttributeAccessIssue=false

import os
import sys
from contextlib import suppress

__all__ = []


def _look(path: str) -> None:
    from pxr import Usd, UsdGeom, UsdShade

    stage = Usd.Stage.Open(path)
    for prim in stage.Traverse(Usd.TraverseInstanceProxies()):
        UsdGeom.Imageable(prim).ComputeVisibility()
        UsdGeom.Xformable(prim).ComputeLocalToWorldTransform(Usd.TimeCode.Default())
        for attribute in prim.GetAttributes():
            attribute.Get()
        for primvar in UsdGeom.PrimvarsAPI(prim).GetPrimvars():
            primvar.ComputeFlattened()
        UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()


if __name__ == "__main__":
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[2]), int(sys.argv[2])))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(Exception):
        _look(sys.argv[1])
    os._exit(0)  # what usd-core takes down at its leisure is left to the system
