"""The kinds that `--to` takes: those that come with volkit, and those of plug-ins, whose names cost no import."""

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Literal

__all__ = ["KINDS", "AnyKind", "LearntKind"]

BUILT_IN = ("hash_grid", "voxels", "tensor_vm", "tensor_cp", "planes", "mlp", "splats")
KINDS = (*BUILT_IN, *(p.name for p in entry_points(group="volkit.representations") if p.name not in BUILT_IN))

if TYPE_CHECKING:
    LearntKind = AnyKind = str
else:
    LearntKind, AnyKind = Literal[KINDS], Literal[(*KINDS, "mesh")]
