"""`compare`: PSNR, SSIM and FLIP between two scenes or sets of photographs, from the same cameras."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from volkit.data import Photographs
from volkit.evaluation.evaluate import WHITE, composite_over, render_over, white_background
from volkit.evaluation.metrics import WINDOW, Scores, mean_scores, score
from volkit.geometry import Cameras
from volkit.io.opening import capture_size
from volkit.progress import Progress
from volkit.rendering.viewpoints import orbit_cameras
from volkit.representations import Capture, Representation
from volkit.typing import Float, Tensor

__all__ = ["Comparison", "NamedScores", "compare"]

ORBIT_VIEWS = 12  # around a scene without a recorded capture
ORBIT_SIZE = 400  # pixels per side
BLACK = (0.0, 0.0, 0.0)

View = tuple[str, Cameras]  # name, one camera


@dataclass(frozen=True)
class NamedScores:
    """The scores of one view."""

    name: str
    psnr: float | None
    ssim: float
    flip: float | None


@dataclass(frozen=True)
class Comparison:
    """Image metrics of two scenes, as means over views.

    Attributes:
        psnr: peak signal-to-noise ratio in dB; None: identical.
        ssim: structural similarity (Wang et al. 2004), 1 for identical pictures.
        flip: FLIP error (Andersson et al. 2020), 0 for identical pictures; None: its package is not installed.
        views: the same for every view, by name.
        size: longest side of the pictures in pixels; None: as recorded.
    """

    psnr: float | None
    ssim: float
    flip: float | None
    views: tuple[NamedScores, ...]
    size: int | None = None


def compare(
    a: Representation | Photographs,
    b: Representation | Photographs,
    cameras: Cameras | None = None,
    *,
    split: str | None = None,
    size: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Scores of `a` against `b`, each a scene to render or photographs to look up by name.

    Views are, in this order: `cameras`, world frame, if both are scenes; the photographs that both sides have; those
    recorded in a scene, of `split` (train, test or val; by default the held-out ones); an orbit of 12. `size` limits
    the longest side in pixels, by default that of the cameras. Colours are composited over white where either side has
    transparency, else over black. Not differentiable. Raises ValueError where there is nothing to compare.

    >>> scores = compare(made.scene, photos)
    >>> scores.psnr, [view.ssim for view in scores.views]
    """
    if size is not None and size < WINDOW:
        raise ValueError(f"size {size}: SSIM needs at least {WINDOW} pixels")
    progress = progress or Progress()
    scenes = [side for side in (a, b) if isinstance(side, Representation)]
    capture = next((scene.capture for scene in scenes if scene.capture is not None), None)
    if cameras is not None:
        views = _given(cameras, size, (a, b))
    else:
        size = size or next((s for scene in scenes if (s := capture_size(scene.capture))), None)
        views = _views((a, b), capture, size, split)
    background = _background((a, b))
    rows: list[NamedScores] = []
    scores: list[Scores] = []
    with progress.phase("compare"):
        for done, (name, camera) in enumerate(views):
            ours, theirs = (_picture(side, name, camera, background) for side in (a, b))
            if ours.shape != theirs.shape:
                raise ValueError(f"view '{name}': {_size(ours)} against {_size(theirs)} pixels; give one size for both")
            scores.append(score(ours, theirs))
            rows.append(NamedScores(name, scores[-1].psnr, scores[-1].ssim, scores[-1].flip))
            progress.values(psnr=mean_scores(scores).psnr)
            progress.advance((done + 1) / len(views))
    mean = mean_scores(scores)
    return Comparison(mean.psnr, mean.ssim, mean.flip, tuple(rows), size)


def _given(cameras: Cameras, size: int | None, sides: Sequence[object]) -> list[View]:
    if any(isinstance(side, Photographs) for side in sides):
        raise ValueError("photographs are compared by their own cameras; leave cameras out")
    cameras = cameras if size is None else cameras.resize(size)
    return [(f"view_{index:02d}", cameras[[index]]) for index in range(len(cameras))]


def _views(
    sides: Sequence[Representation | Photographs], capture: Capture | None, size: int | None, split: str | None
) -> list[View]:
    """Names and cameras of the photographs on all sides, else of the capture, else of an orbit."""
    photographs = [side for side in sides if isinstance(side, Photographs)]
    if photographs:
        common = set.intersection(*(set(each.names) for each in photographs))
        names = [n for n in photographs[0].names if n in common and _wanted(n, capture, photographs, split)]
        if not names:
            raise ValueError(f"nothing to compare: no {split or 'held-out'} view is in both; try the split train")
        return [(name, _camera(name, capture, photographs[0])) for name in names]
    if capture is None:
        assert isinstance(sides[0], Representation)
        cameras = orbit_cameras(sides[0], ORBIT_VIEWS, size or ORBIT_SIZE)
        return [(f"orbit_{i:02d}", cameras[[i]]) for i in range(ORBIT_VIEWS)]
    chosen = [name for name in capture.names if _wanted(name, capture, [], split)]
    if not chosen:
        raise ValueError(f"no {split or 'held-out'} view is recorded; give the split train")
    cameras = capture.cameras if size is None else capture.cameras.resize(size)
    return [(name, cameras[[capture.names.index(name)]]) for name in chosen]


def _wanted(name: str, capture: Capture | None, photographs: Sequence[Photographs], split: str | None) -> bool:
    """Whether a view is of the split; the views that a scene holds out override the split of a dataset."""
    held_out = set() if capture is None else set(capture.held_out)
    if photographs and held_out.isdisjoint(photographs[0].names):
        return photographs[0].split[photographs[0].names.index(name)] == (split or "test")
    return (name in held_out) == (split in (None, "test"))


def _camera(name: str, capture: Capture | None, photographs: Photographs) -> Cameras:
    """The camera that the scene recorded, at the photograph's size: valid however the dataset was loaded."""
    listed = photographs.cameras[[photographs.names.index(name)]]
    if capture is None or name not in capture.names:
        return listed
    own = capture.cameras[[capture.names.index(name)]].resize(int(listed.size.max()))
    return own if torch.equal(own.size, listed.size) else listed


def _background(sides: Sequence[Representation | Photographs]) -> tuple[float, float, float]:
    """White where either side has transparency, black where both are opaque."""
    for side in sides:
        if isinstance(side, Photographs):
            if colour := white_background(side):
                return colour
        elif side.capture is None or side.capture.background:
            return WHITE
    return BLACK


def _picture(
    side: Representation | Photographs, name: str, camera: Cameras, background: tuple[float, ...]
) -> Float[Tensor, "height width 3"]:
    if isinstance(side, Photographs):
        return composite_over(side.images[side.names.index(name)], background)
    return render_over(side, camera, background).clamp(0.0, 1.0)


def _size(picture: Tensor) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
