"""What was lost on the way from a source to the file that was written: of its pictures, and of its parameters."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.nn import functional

from volkit.choices import Device
from volkit.evaluation.evaluate import Evaluator
from volkit.evaluation.metrics import Scores, mean_scores, quantised, score
from volkit.extras import advice
from volkit.geometry import Frame, Similarity, turn
from volkit.io import SpzFrame, format_for
from volkit.io.opening import open_scene
from volkit.progress import Progress
from volkit.representations import Representation, Splats
from volkit.typing import Float, Tensor

__all__ = [
    "WORST_VIEWS",
    "ComparedViews",
    "Fidelity",
    "FileAxes",
    "Written",
    "decibels",
    "fidelity_of",
    "parameter_differences",
]

WORST_VIEWS = 3  # views of one conversion; of each of many, one

Image = Float[Tensor, "height width 3"]


@dataclass(frozen=True)
class ComparedViews:
    """Pictures for a page, 8 bits a channel: `views` by caption are a source's and its target's, the worst first."""

    views: Mapping[str, tuple[np.ndarray, np.ndarray]]
    figures: Mapping[str, np.ndarray] = field(default_factory=dict)

    def beside(self, figures: Mapping[str, Image]) -> "ComparedViews":
        """The same with further pictures."""
        return ComparedViews(self.views, {caption: _bytes(picture) for caption, picture in figures.items()})


def worst_views(truth: Sequence[Image], seen: Sequence[Image], scores: Sequence[Scores]) -> ComparedViews:
    """The worst views."""
    worst = sorted(range(len(scores)), key=lambda index: scores[index].psnr or torch.inf)[:WORST_VIEWS]
    views = {f"view {index + 1}, {decibels(scores[index].psnr)}": (truth[index], seen[index]) for index in worst}
    return ComparedViews({caption: (_bytes(a), _bytes(b)) for caption, (a, b) in views.items()})


@dataclass(frozen=True)
class Written:
    """What was written: a scene or the finest level of an asset, and what it is held against, if anything.

    `moved` is the world that it was written in from the source's.
    """

    scene: Representation
    judge: Evaluator | None
    moved: Similarity = field(default_factory=Similarity)


@dataclass(frozen=True)
class Fidelity:
    """How alike a source and its file are: means over views, and the largest difference of each parameter.

    `max_difference` is None where parameters do not correspond; `measured` says by how many views of which size.
    """

    psnr_to_source: float | None  # None: identical
    ssim_to_source: float
    flip_to_source: float | None  # None: not installed
    max_difference: float | None
    differences: dict[str, float]  # by parameter
    measured: dict[str, Any]
    worst_views: ComparedViews = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, without the pictures."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "worst_views"}


@dataclass(frozen=True)
class FileAxes:
    """In which axes a file was written: as `frame` says, of an .spz as `spz_frame` says, else as its format has it."""

    frame: Frame | Literal["auto"] = "auto"
    spz_frame: SpzFrame = "rub"

    @property
    def raw(self) -> bool:
        """Whether an .spz holds coordinates as they are."""
        return self.spz_frame == "ply" or self.frame in ("zup", "ydown")

    def back(self, made: Representation, written: Representation, target: Path) -> Similarity:
        """The world of `made` from that in which the file's reader puts it, who may know nothing of that world."""
        row = format_for(target, kind=made.config.kind)
        taken_for = None if row.name == "spz" and self.raw else row.frame
        if row.name == "usd" and self.frame == "zup":
            taken_for = "zup"  # which a stage says; +Y is all else that it can say
        held = self.frame if self.frame != "auto" else taken_for or made.frame
        file_from_read = Similarity() if taken_for is None else turn(taken_for, written.frame)
        return turn(made.frame, held) @ file_from_read


def fidelity_of(made: Written, target: Path, device: Device, asked: FileAxes, progress: Progress) -> Fidelity | None:
    """How alike a source and what is read back of its target are: pictures by the same cameras, and parameters.

    None where nothing is to be measured, or the target's format is for writing alone.
    """
    judge = made.judge
    if judge is None:
        return None
    if format_for(target, kind=made.scene.config.kind).read is None:
        progress.note(f"{target}: is not measured, for its format is written and not read")
        return None
    started = time.perf_counter()
    written = open_scene(target, device, spz_frame="ply" if asked.raw else asked.spz_frame)
    place = made.moved.inverse() @ asked.back(made.scene, written, target) @ written.world_from_local
    # Cameras know how near matter may be; most formats have no word for it, and it is no loss of theirs.
    written = written.view(placement=place, capture=made.scene.capture)
    with progress.phase("measure"):
        seen = judge.pictures(written, progress)
        scores = [score(picture, truth) for picture, truth in zip(seen, judge.truth, strict=True)]
    mean, apart = mean_scores(scores), parameter_differences(made.scene, written, target)
    measured = {
        "views": len(scores),
        "size": int(judge.cameras.size.max()),
        "identical_views": sum(each.psnr is None for each in scores),
        "seconds": round(judge.seconds + time.perf_counter() - started, 2),
    }
    if mean.flip is None:
        measured["note"] = f"FLIP is left out: {advice('metrics')}"
    return Fidelity(
        mean.psnr, mean.ssim, mean.flip, max(apart.values(), default=None), apart, measured,
        worst_views(judge.truth, seen, scores),
    )  # fmt: skip


def parameter_differences(made: Representation, written: Representation, target: Path) -> dict[str, float]:
    """The largest absolute difference of each parameter between what was to be written and what the target holds.

    Of splats in the world's frame: opacities for their logits, unit quaternions up to their sign, harmonics that the
    file left out as zeros. Empty where parameters do not correspond: another kind, order or unit of length.
    """
    if isinstance(made, Splats) and isinstance(written, Splats):
        if len(made) != len(written) or format_for(target, kind="splats").sorts:
            return {}
        ours, theirs = _drawn(made), _drawn(written)
        turns = theirs["quaternions"]
        theirs["quaternions"] = turns * (ours["quaternions"] * turns).sum(-1, keepdim=True).sign()
        return {name: _largest(*_as_wide(ours[name], theirs[name])) for name in ours}
    ours, theirs = dict(made.named_parameters()), dict(written.named_parameters())
    if not math.isclose(made.world_from_local.scale, written.world_from_local.scale, rel_tol=1e-6):
        return {}
    if not ours or {name: p.shape for name, p in ours.items()} != {name: p.shape for name, p in theirs.items()}:
        return {}
    return {name: _largest(values, theirs[name]) for name, values in ours.items()}


def _bytes(picture: Image) -> np.ndarray:
    return (quantised(picture) * 255.0).round().to(torch.uint8).numpy()


def decibels(psnr: float | None) -> str:
    """A PSNR in words."""
    return "identical" if psnr is None else f"{psnr:.2f} dB"


@torch.no_grad()
def _drawn(splats: Splats) -> dict[str, Tensor]:
    columns = splats.columns_in()
    turns = functional.normalize(columns["quaternions"].double(), dim=-1)
    opacities = torch.sigmoid(columns.pop("logits").double())
    return columns | {"quaternions": turns, "opacities": opacities}


def _as_wide(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two tables with as many columns; a surfel has no third scale, and harmonics that are not there are zero."""
    if a.dim() == 3:
        basis = max(a.shape[1], b.shape[1])
        return functional.pad(a, (0, 0, 0, basis - a.shape[1])), functional.pad(b, (0, 0, 0, basis - b.shape[1]))
    if a.dim() == 2:
        shared = min(a.shape[1], b.shape[1])
        return a[:, :shared], b[:, :shared]
    return a, b


@torch.no_grad()
def _largest(a: Tensor, b: Tensor) -> float:
    return float((a - b.to(a)).abs().max()) if a.numel() else 0.0
