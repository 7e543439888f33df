"""Fidelity of a written file to its source, by pictures and by parameters."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from volkit.choices import Device
from volkit.evaluation.evaluate import Evaluator
from volkit.evaluation.fidelity import WORST_VIEWS, ComparedViews, Fidelity, decibels, splat_differences
from volkit.evaluation.metrics import Scores, mean_scores, round_to_8_bits, score
from volkit.extras import advice
from volkit.geometry import Similarity
from volkit.io import FileAxes, format_for
from volkit.io.opening import open_scene
from volkit.io.splats.scene import columns_from_splats
from volkit.progress import Progress
from volkit.representations import Representation, Splats
from volkit.typing import Float, Tensor

__all__ = ["Written", "measure_fidelity", "parameter_differences", "with_figures"]

Image = Float[Tensor, "height width 3"]


def worst_views(truth: Sequence[Image], rendered: Sequence[Image], scores: Sequence[Scores]) -> ComparedViews:
    """The views of lowest PSNR, as pairs of 8-bit pictures by caption."""
    worst = sorted(range(len(scores)), key=lambda index: scores[index].psnr or torch.inf)[:WORST_VIEWS]
    views = {f"view {index + 1}, {decibels(scores[index].psnr)}": (truth[index], rendered[index]) for index in worst}
    return ComparedViews({caption: (_bytes(a), _bytes(b)) for caption, (a, b) in views.items()})


def with_figures(views: ComparedViews, figures: Mapping[str, Image]) -> ComparedViews:
    """The compared views, with further figures by caption."""
    return replace(views, figures={caption: _bytes(picture) for caption, picture in figures.items()})


@dataclass(frozen=True)
class Written:
    """What was written, and the evaluator of its source.

    Attributes:
        scene: the scene, or the finest level of an asset.
        evaluator: pictures of the source; None: nothing is measured.
        moved: world of the written scene from that of the source.
    """

    scene: Representation
    evaluator: Evaluator | None
    moved: Similarity = field(default_factory=Similarity)


def measure_fidelity(
    made: Written, target: Path, device: Device, axes: FileAxes, progress: Progress
) -> Fidelity | None:
    """Read the target back and compare it with the source, by pictures from the same cameras and by parameters.

    None where nothing is to be measured, or the target's format can only be written.
    """
    evaluator = made.evaluator
    if evaluator is None:
        return None
    if format_for(target, kind=made.scene.config.kind).read is None:
        progress.note(f"{target}: is not measured, for its format is written and not read")
        return None
    started = time.perf_counter()
    written = open_scene(target, device, spz_frame=axes.spz)
    back = axes.source_from_read(made.scene.config.kind, made.scene.frame, written.frame, target)
    place = made.moved.inverse() @ back @ written.world_from_local
    # Cameras know how near matter may be; most formats have no word for it, and it is no loss of theirs.
    written = written.view(placement=place, capture=made.scene.capture)
    with progress.phase("measure"):
        rendered = evaluator.pictures(written, progress)
        scores = [score(picture, truth) for picture, truth in zip(rendered, evaluator.truth, strict=True)]
    mean, apart = mean_scores(scores), parameter_differences(made.scene, written, target)
    measured = {
        "views": len(scores),
        "size": int(evaluator.cameras.size.max()),
        "identical_views": sum(each.psnr is None for each in scores),
        "seconds": round(evaluator.seconds + time.perf_counter() - started, 2),
    }
    if mean.flip is None:
        measured["note"] = f"FLIP is left out: {advice('metrics')}"
    worst = worst_views(evaluator.truth, rendered, scores)
    return Fidelity(apart, measured, mean.psnr, mean.ssim, mean.flip, worst)


def parameter_differences(made: Representation, written: Representation, target: Path) -> dict[str, float]:
    """The largest absolute difference of each parameter between what was to be written and what the target holds.

    Of splats in the world's frame: opacities for their logits, unit quaternions up to their sign, harmonics that the
    file left out as zeros. Empty where parameters do not correspond: another kind, order or unit of length.
    """
    if isinstance(made, Splats) and isinstance(written, Splats):
        if len(made) != len(written) or format_for(target, kind="splats").reorders:
            return {}
        return splat_differences(columns_from_splats(made), columns_from_splats(written))
    ours, theirs = dict(made.named_parameters()), dict(written.named_parameters())
    if not math.isclose(made.world_from_local.scale, written.world_from_local.scale, rel_tol=1e-6):
        return {}
    if not ours or {name: p.shape for name, p in ours.items()} != {name: p.shape for name, p in theirs.items()}:
        return {}
    return {name: _largest(values, theirs[name]) for name, values in ours.items()}


def _bytes(picture: Image) -> np.ndarray:
    return (round_to_8_bits(picture) * 255.0).round().to(torch.uint8).numpy()


@torch.no_grad()
def _largest(a: Tensor, b: Tensor) -> float:
    return float((a - b.to(a)).abs().max()) if a.numel() else 0.0
