"""A program of its own: opens USD stages and looks at all that readers look at, to see whether usd-core survives it.

Asked by lines of JSON, `[path, bytes of memory, seconds]`, it answers each with null, or with what is wrong. Each stage
is looked at in a fork; where a system has none the program answers once and ends. Values that Python cannot have are no
matter, for readers may not ask for them; what matters is a crash, memory without end, or no end at all.
"""

# usd-core fills its modules at run time.
# pyright: reportAttributeAccessIssue=false

import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TextIO

from pxr import Usd, UsdGeom, UsdShade

__all__ = []

FORKS = hasattr(os, "fork")


def _look(path: str) -> str | None:
    """What keeps a stage from being opened, or takes more memory than there may be."""
    try:
        stage = Usd.Stage.Open(path)
    except Exception as error:
        return _said(error)
    for look in _looks(stage):
        try:
            look()
        except Exception as error:
            if isinstance(error, MemoryError) or "bad_alloc" in str(error):
                return "needs more memory than the file can justify"
    return None


def _looks(stage: Any) -> Iterator[Callable[[], object]]:
    for prim in stage.Traverse(Usd.TraverseInstanceProxies()):
        yield UsdGeom.Imageable(prim).ComputeVisibility
        yield partial(UsdGeom.Xformable(prim).ComputeLocalToWorldTransform, Usd.TimeCode.Default())
        yield from (attribute.Get for attribute in prim.GetAttributes())
        yield from (primvar.ComputeFlattened for primvar in UsdGeom.PrimvarsAPI(prim).GetPrimvars())
        yield UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial


def _said(error: Exception) -> str:
    """The first complaint, without where in usd-core it was made."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0].rpartition(" : ")[2].strip("' ") if lines else type(error).__name__


def _answered(path: str, memory: int, seconds: float, answers: TextIO) -> None:
    """In a fork, which answers unless it crashes; else in this process, which ends after that."""
    child = os.fork() if FORKS else 0
    if child:
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print(json.dumps(f"usd-core crashes on it (status {code})"), file=answers, flush=True)
        return
    if FORKS:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 2,) * 2)  # should nobody be left to end it
    print(json.dumps(_look(path)), file=answers, flush=True)
    os._exit(0)  # what usd-core takes down at its leisure is left to the system


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what usd-core prints must not pass for an answer
    for line in sys.stdin:
        _answered(*json.loads(line), answers)
