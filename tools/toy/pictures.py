"""What a prior is shown: captions, pictures of what they mean, and what is told about each; anew for every step."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import torch

from toy.grammar import draw, parse
from toy.networks import Model
from toy.rendering import render
from toy.scenes import exact_scene
from toy.views import joint_views, web_views
from volkit.guidance.prompts import Prompts, encode_circle, sides_of
from volkit.typing import Float, Tensor

__all__ = ["HELD_OUT", "Shown", "held_out", "shown"]

HELD_OUT = Path(__file__).parents[2] / "scenes" / "toy_prior" / "held_out.json"
WHITE = 0.3  # the share of pictures on white; the others have a colour of their own
SIDE_SAID = 0.4  # the share of captions that name the side that is seen
UNSAID, UNPLACED = 0.12, 0.1  # the shares without words (Ho and Salimans 2022) and without camera and ground


@dataclass(frozen=True)
class Shown:
    """A batch: pictures, their words, and the sixteen numbers of each."""

    pictures: Float[Tensor, "picture side side 3"]
    words: list[str]
    numbers: Float[Tensor, "picture 16"]


def held_out() -> set[str]:
    """The combinations that are never shown."""
    return {parse(text).combination for texts in json.loads(HELD_OUT.read_text()).values() for text in texts}


def shown(model: Model, count: int, seed: int, never: set[str]) -> Shown:
    """The batch of a seed; the views of one object are neighbours, on one ground and with one fate of words."""
    chance, generator = random.Random(seed), torch.Generator().manual_seed(seed)
    drawn = [draw(chance, never) for _ in range(count // model.views)]
    if model.views > 1:
        cameras = joint_views(len(drawn), model.views, model.side, generator)
    else:
        cameras = web_views(count, model.side, generator)
    each = [item for item in drawn for _ in range(model.views)]
    uniform = torch.rand(4, len(drawn), generator=generator).repeat_interleave(model.views, 1)
    ground = torch.rand(len(drawn), 3, generator=generator)
    ground[torch.rand(len(drawn), generator=generator) < WHITE] = 1.0
    ground = ground.repeat_interleave(model.views, 0)
    pictures = render([exact_scene(caption) for caption, _ in each], cameras).over(ground).clamp(0.0, 1.0)
    words = [
        Prompts(text).for_side(side) if u < SIDE_SAID else text
        for (_, text), side, u in zip(each, sides_of(cameras), uniform[0], strict=True)
    ]
    words = ["" if u < UNSAID else text for text, u in zip(words, uniform[1], strict=True)]
    numbers = encode_circle(cameras, ground) * (uniform[2] >= UNPLACED)[:, None]
    return Shown(pictures, words, numbers)
