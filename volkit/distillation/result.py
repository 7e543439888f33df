"""The results of fits and distillations."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from volkit.representations import Representation

__all__ = ["DistillReport", "FitReport", "Result", "TrainingSummary"]

Report = TypeVar("Report")


@dataclass(frozen=True)
class FitReport:
    """The report of a fit.

    Attributes:
        kind: of the scene.
        parameters: number of trainable parameters.
        device: `cpu` or `cuda`.
        backend: the kernels that were used.
        seconds: of optimisation.
        steps: of optimisation.
        psnr: in dB, the mean over `views`; None: the pictures are identical.
        views: `test`, or `train` where no photographs were held out.
        notes: what was assumed, skipped or changed.
    """

    kind: str
    parameters: int
    device: str
    backend: dict[str, object]
    seconds: float
    steps: int
    psnr: float | None
    views: str
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class DistillReport:
    """The report of a distillation.

    Attributes:
        kind: of the student.
        teacher: kind of the teacher.
        method: `volkit`, `pvd` or `pvd-al`.
        parameters: number of trainable parameters of the student.
        device: `cpu` or `cuda`.
        backend: the kernels that were used.
        seconds: of optimisation.
        steps: of optimisation.
        psnr: in dB, the mean over pictures of the teacher that were not trained on; None: they are identical.
        notes: what was assumed, skipped or changed.
    """

    kind: str
    teacher: str
    method: str
    parameters: int
    device: str
    backend: dict[str, object]
    seconds: float
    steps: int
    psnr: float | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result(Generic[Report]):
    """A trained scene.

    Attributes:
        scene: the scene.
        history: evaluations during training; rows of step, seconds, loss and, where it was measured, psnr in dB.
        report: the figures of the run.
    """

    scene: Representation
    history: tuple[dict[str, float], ...]
    report: Report


@dataclass(frozen=True)
class TrainingSummary:
    """Duration and history of an optimisation.

    Attributes:
        seconds: of optimisation, initialisation included.
        steps: completed.
        history: as of `Result`.
    """

    seconds: float
    steps: int
    history: tuple[dict[str, float], ...]
