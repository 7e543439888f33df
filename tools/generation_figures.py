"""How near a generated asset is to what its words mean exactly: likeness, outline, rank among captions, front mark."""

import itertools
import math
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from toy.grammar import COLOURS, Caption, parse, plain_captions
from toy.rendering import render
from toy.scenes import exact_scene

from volkit.evaluation.metrics import psnr
from volkit.generation import CameraSampler
from volkit.geometry import Cameras
from volkit.rendering.renderer import renderer_for
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = ["figures", "seen", "spread"]

VIEWS, SIZE, ELEVATION = 8, 64, 20.0
CAPTIONS = 320  # whose exact pictures an asset is ranked among, its own with them
TURNS = 36  # views in which the front mark is looked for
NEAR = 0.45  # how far from a mark's colour a pixel may be, in hue and saturation
DARK = 0.15


def seen(scene: Representation, cameras: Cameras) -> tuple[Float[Tensor, "view h w 3"], Float[Tensor, "view h w"]]:
    """Pictures over white, and opacity."""
    picture = renderer_for(scene)(scene, cameras)
    return picture.over(picture.opacity.new_ones(3)).clamp(0.0, 1.0), picture.opacity


def figures(scene: Representation, prompt: str, around: CameraSampler) -> dict[str, Any]:
    """`psnr` and `iou` over eight views, `rank` of the exact object among captions, `azimuth` of a front mark."""
    caption, cameras = parse(prompt), around.turntable(VIEWS, SIZE, ELEVATION)
    ours, opacity = seen(scene, cameras)
    truth = _exact([caption], cameras)
    values = [psnr(a, b) or math.inf for a, b in zip(ours, truth.pictures[0], strict=True)]
    solid, true = opacity > 0.5, truth.opacity[0] > 0.5
    iou = (solid & true).sum((1, 2)) / (solid | true).sum((1, 2)).clamp_min(1)
    others = _others(around)
    wrong = (others.pictures - ours).square().mean((1, 2, 3, 4))
    own = (truth.pictures[0] - ours).square().mean()
    better = [text for text, error in zip(others.texts, wrong.tolist(), strict=True) if error < own and text != prompt]
    found = {"psnr": sum(values) / len(values), "iou": float(iou.mean()), "rank": 1 + len(better),
             "captions": len(others.texts), "nearer": better[:3]}  # fmt: skip
    return found | (_mark(scene, caption, around) if caption.relation == "with" else {})


@torch.no_grad()
def spread(scenes: Sequence[Representation], around: CameraSampler) -> dict[str, Any]:
    """`apart`: mean PSNR between the pictures of two particles, less is more spread; `psnr_nearest`: mean PSNR of each
    to the exact pictures of the caption that it is nearest to, which asks for no particular one.
    """
    cameras, others = around.turntable(VIEWS, SIZE, ELEVATION), _others(around)
    pictures = torch.stack([seen(scene, cameras)[0] for scene in scenes])
    errors = [float((a - b).square().mean()) for a, b in itertools.combinations(pictures, 2)]
    wrong = torch.stack([(others.pictures - own).square().mean((1, 2, 3, 4)) for own in pictures])
    best = wrong.min(1)
    return {
        "apart": sum(_decibels(error) for error in errors) / len(errors),
        "psnr_nearest": sum(_decibels(error) for error in best.values.tolist()) / len(scenes),
        "nearest": [others.texts[index] for index in best.indices.tolist()],
    }


def _decibels(error: float) -> float:
    return -10.0 * math.log10(max(error, 1e-10))


@dataclass(frozen=True)
class Exact:
    """Exact pictures of captions over white, [caption, view, h, w, 3]."""

    texts: tuple[str, ...]
    pictures: Tensor
    opacity: Tensor


def _exact(captions: Sequence[Caption], cameras: Cameras) -> Exact:
    scenes = [exact_scene(caption) for caption in captions for _ in range(len(cameras))]
    drawn = render(scenes, Cameras.cat([cameras] * len(captions)))
    size = int(cameras.size[0, 0])
    pictures = drawn.over(torch.ones(3)).view(len(captions), len(cameras), size, size, 3)
    return Exact(tuple(map(str, captions)), pictures, drawn.opacity.view(pictures.shape[:-1]))


@lru_cache(maxsize=2)
def _others(around: CameraSampler) -> Exact:
    """The captions to be confused with: all single solids, and as many of each relation."""
    every, chance = plain_captions(), random.Random(0)
    alone = [caption for caption in every if caption.relation == "alone"]
    more = []
    for relation in ("with", "on", "beside"):
        more += chance.sample([c for c in every if c.relation == relation], (CAPTIONS - len(alone)) // 3 + 1)
    return _exact([*alone, *more][:CAPTIONS], around.turntable(VIEWS, SIZE, ELEVATION))


def _mark(scene: Representation, caption: Caption, around: CameraSampler) -> dict[str, Any]:
    """Where the mark's colour is seen: the azimuth of its centroid in degrees from the front, and in how many lobes."""
    pictures, opacity = seen(scene, around.turntable(TURNS, SIZE, 10.0))
    mark, body = (torch.tensor(COLOURS[name]) for name in (caption.nose, caption.first.colour))
    nearer = _apart(pictures, mark) < _apart(pictures, body).clamp_max(NEAR)
    count = (nearer & (opacity > 0.5)).sum((1, 2)).double()
    if count.sum() == 0:
        return {"azimuth": None, "faces": 0}
    turn = torch.arange(TURNS) * (2.0 * math.pi / TURNS)
    azimuth = math.degrees(math.atan2(float((count * turn.sin()).sum()), float((count * turn.cos()).sum())))
    high = count > 0.5 * count.max()
    return {"azimuth": azimuth, "faces": max(1, int((high & ~high.roll(1)).sum()))}


def _apart(pictures: Tensor, colour: Tensor) -> Tensor:
    """Distance in colour without light: both scaled to their brightest channel."""
    bright = pictures.amax(-1, keepdim=True)
    return (pictures / bright.clamp_min(DARK) - colour / colour.max()).norm(dim=-1)
