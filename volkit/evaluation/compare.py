"""How alike two things look, scenes or photographs: PSNR, SSIM and FLIP of views by the same cameras."""

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

ORBIT_VIEWS = 12  # cameras around a scene that does not know how it was captured
ORBIT_SIZE = 400  # pixels of each, a side
BLACK = (0.0, 0.0, 0.0)

View = tuple[str, Cameras]  # its name, and one camera


@dataclass(frozen=True)
class NamedScores:
    """The scores of one view."""

    name: str
    psnr: float | None
    ssim: float
    flip: float | None


@dataclass(frozen=True)
class Comparison:
    """`psnr` in dB (None: identical), `ssim`, `flip` (None: not installed), means over `views`."""

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
    """Scores of `a` against `b`, each a scene that is drawn or photographs that are looked up.

    By `cameras`, world frame, where both are scenes and they are given; else by the views whose photographs both have;
    else by those that a scene remembers, of `split` (train, test or val; by default those held out); else from around.
    `size` is the longest side of the pictures, by default that of the cameras. Colours are laid over white where either
    side has transparency, over black where none has. Raises ValueError where there is nothing to compare.

    >>> scores = compare(made.scene, photos)
    >>> scores.psnr, [view.ssim for view in scores.views]
    """
    if size is not None and size < WINDOW:
        raise ValueError(f"size {size}: the SSIM window alone is {WINDOW} pixels wide")
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
    """Names and cameras: of the pictures that all photographs have, else of the capture, else of an orbit."""
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
    """What the scene holds out goes before a dataset's own split, where both speak of the same pictures."""
    held_out = set() if capture is None else set(capture.held_out)
    if photographs and held_out.isdisjoint(photographs[0].names):
        return photographs[0].split[photographs[0].names.index(name)] == (split or "test")
    return (name in held_out) == (split in (None, "test"))


def _camera(name: str, capture: Capture | None, photographs: Photographs) -> Cameras:
    """The scene's own record of a view, at the picture's size: it holds even where a dataset was turned or scaled."""
    seen = photographs.cameras[[photographs.names.index(name)]]
    if capture is None or name not in capture.names:
        return seen
    own = capture.cameras[[capture.names.index(name)]].resize(int(seen.size.max()))
    return own if torch.equal(own.size, seen.size) else seen


def _background(sides: Sequence[Representation | Photographs]) -> tuple[float, float, float]:
    """White where either side has transparency, black where both are opaque captures."""
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
