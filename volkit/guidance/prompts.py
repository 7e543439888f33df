"""Conditions of a step from prompts and cameras: view-dependent prompts, Perp-Neg, camera encodings."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch

from volkit.geometry import Cameras
from volkit.guidance.condition import Condition, Conditions
from volkit.typing import Float, Tensor

__all__ = [
    "CAMERA_ENCODINGS",
    "FLAWS_PROMPT",
    "NEGATIVE_PROMPT",
    "Prompts",
    "angles",
    "conditions_for",
    "encode_circle",
    "encode_pose",
    "side_of",
    "sides_of",
]


Side = Literal["front", "side", "back", "overhead"]
SIDE_SUFFIX: dict[Side, str] = {
    "front": "front view",
    "side": "side view",
    "back": "back view",
    "overhead": "overhead view",
}
SIDES: tuple[Side, Side, Side] = ("front", "side", "back")
# The negative prompt of NFSD, and the source prompt of SDS-Bridge (arXiv 2310.17590, 2406.09417).
NEGATIVE_PROMPT = (
    "unrealistic, blurry, low quality, out of focus, ugly, low contrast, dull, dark, low-resolution, gloomy"
)
FLAWS_PROMPT = "oversaturated, smooth, pixelated, cartoon, foggy, hazy, blurry, bad structure, noisy, malformed"
# Perp-Neg (arXiv 2304.04968, appendix, as in threestudio): a, b, c of the negative weights `a e^(-b r) + c` of a side;
# r is 1 where a camera looks straight at the first side of its pair, 0 at the second.
FRONT_OF_FRONT_SIDE = SIDE_OF_FRONT_SIDE = (4.0, 0.5, -2.426)
SIDE_OF_SIDE_BACK, FRONT_OF_SIDE_BACK = (1.0, 0.5, -0.606), (1.0, 0.5, 0.967)

HARMONIC_COUNT = 3


class _Embeds(Protocol):
    def embed(self, texts: Sequence[str]) -> Condition: ...


@dataclass(frozen=True)
class Prompts:
    """The prompts of a run; ValueError for an empty one.

    Attributes:
        text: the prompt.
        negative: the negative prompt; empty: none.
        source: prompt of the source, for methods that compare with it; empty: none.
        sides: whether the prompt names the side that a camera sees ("front view", ...).
        perp_neg: whether predictions for the other sides are subtracted (`PerpNeg`).
        contradicting: words to leave out on the given sides (prompt debiasing, arXiv 2303.15413, with the words given
            here instead of found by a language model).
    """

    text: str
    negative: str = ""
    source: str = ""
    sides: bool = True
    perp_neg: bool = False
    contradicting: Mapping[str, tuple[Side, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError('the prompt is empty: describe the object, for example "a red ball on a blue box"')

    def for_side(self, side: Side) -> str:
        """The prompt for a side."""
        if not self.sides:
            return self.text
        dropped = {word for word, sides in (self.contradicting or {}).items() if side in sides}
        kept = " ".join(word for word in self.text.split() if word.strip(",.").lower() not in dropped)
        return f"{kept}, {SIDE_SUFFIX[side]}"


def conditions_for(prior: _Embeds, prompts: Prompts, cameras: Cameras) -> Conditions:
    """The conditions of a step for pictures of an object at the origin."""
    sides = sides_of(cameras)
    prompt = prior.embed([prompts.for_side(side) for side in sides])
    count = len(sides)
    conditions = Conditions(
        prompt,
        prior.embed([""] * count),
        negative=prior.embed([prompts.negative] * count) if prompts.negative else None,
        source=prior.embed([prompts.source] * count) if prompts.source else None,
        critic=prior.embed([prompts.text] * count),
    )
    if not prompts.perp_neg:
        return conditions
    azimuth, _ = angles(cameras)
    overhead = torch.tensor([side == "overhead" for side in sides], device=azimuth.device)
    return _with_other_sides(conditions, prior, prompts, azimuth, overhead)


def side_of(azimuth: float, elevation: float) -> Side:
    """Overhead above 60°, front within 45° of the front, back beyond 135°, side between (after DreamFusion)."""
    if elevation > math.radians(60.0):
        return "overhead"
    away = abs(azimuth)
    return "front" if away < math.radians(45.0) else "back" if away > math.radians(135.0) else "side"


def sides_of(cameras: Cameras) -> list[Side]:
    """The side that each camera sees."""
    azimuth, elevation = angles(cameras)
    return [side_of(a, e) for a, e in zip(azimuth.tolist(), elevation.tolist(), strict=True)]


def angles(cameras: Cameras) -> tuple[Float[Tensor, " camera"], Float[Tensor, " camera"]]:
    """Azimuth and elevation of cameras about the origin, in radians.

    Azimuth is 0 at the front, -Y, and grows towards +X, to the right of someone who looks at the front.
    """
    x, y, z = cameras.centres.unbind(-1)
    return torch.atan2(x, -y), torch.atan2(z, torch.hypot(x, y))


def encode_pose(cameras: Cameras) -> Float[Tensor, "camera 16"]:
    """The pose as sixteen numbers, world from camera row by row: the encoding of ProlificDreamer's critic."""
    last = cameras.world_from_camera.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(len(cameras), 1, 4)
    return torch.cat([cameras.world_from_camera, last], 1).flatten(1)


def _with_other_sides(
    conditions: Conditions, prior: _Embeds, prompts: Prompts, azimuth: Tensor, overhead: Tensor
) -> Conditions:
    """Perp-Neg: the prompt interpolated between neighbouring sides, and negative weights of the front and the side."""
    front, side, back = (prior.embed([prompts.for_side(s)] * len(azimuth)) for s in SIDES)
    quarter = azimuth.abs() / (0.5 * math.pi)
    ahead = quarter < 1.0
    share = torch.where(ahead, 1.0 - quarter, 2.0 - quarter)
    between = _choose(ahead, _mix(share, front, side), _mix(share, side, back))
    weights = torch.stack(
        [
            torch.where(ahead, _exponential(FRONT_OF_FRONT_SIDE, share), _exponential(FRONT_OF_SIDE_BACK, share)),
            torch.where(ahead, _exponential(SIDE_OF_FRONT_SIDE, 1.0 - share), _exponential(SIDE_OF_SIDE_BACK, share)),
        ]
    )
    prompt = _choose(overhead, conditions.prompt, between)
    return replace(conditions, prompt=prompt, beside=(front, side), beside_weights=-weights * ~overhead)


def _exponential(curve: tuple[float, float, float], share: Tensor) -> Tensor:
    scale, rate, shift = curve
    return scale * torch.exp(-rate * share) + shift


def _mix(share: Float[Tensor, " view"], first: Condition, second: Condition) -> Condition:
    """`r first + (1 - r) second`, by members and views."""
    return _by_view(lambda r, a, b: r.to(a) * a + (1.0 - r.to(a)) * b, share, first, second)


def _choose(where: Tensor, first: Condition, second: Condition) -> Condition:
    return _by_view(torch.where, where, first, second)


def _by_view(rule: Callable[[Tensor, Tensor, Tensor], Tensor], by: Tensor, a: Condition, b: Condition) -> Condition:
    members = {name: (getattr(a, name), getattr(b, name)) for name in ("text", "pooled")}
    joined = {
        n: rule(by.view(-1, *(1,) * (x.ndim - 1)).to(x.device), x, y) for n, (x, y) in members.items() if x is not None
    }
    return replace(a, **joined)


def encode_circle(
    cameras: Cameras, background: Float[Tensor, "3"] | Float[Tensor, "camera 3"]
) -> Float[Tensor, "camera 16"]:
    """`1, 2 b - 1 (3), 4 log₂ w, sin ka, cos ka (k = 1 ... 3), sin e, cos e, sin 2e, cos 2e, cos a cos e`.

    Cameras look at the origin with +Z up, from azimuth a and elevation e (`angles`); b is the background's colour; w
    is half the width of the view at the origin's distance. All sixteen are zero where the condition is dropped.
    """
    azimuth, elevation = angles(cameras)
    half = cameras.centres.norm(dim=-1) * 0.5 * cameras.size[:, 0] / cameras.intrinsics[:, 0]
    ground = 2.0 * background.to(half).expand(len(cameras), 3) - 1.0
    turns = [wave(k * azimuth) for k in range(1, HARMONIC_COUNT + 1) for wave in (torch.sin, torch.cos)]
    tilts = [wave(k * elevation) for k in (1, 2) for wave in (torch.sin, torch.cos)]
    facing = azimuth.cos() * elevation.cos()
    return torch.stack([torch.ones_like(half), *ground.unbind(-1), 4.0 * half.log2(), *turns, *tilts, facing], -1)


def _encode_pose(cameras: Cameras, background: Tensor) -> Float[Tensor, "camera 16"]:
    del background
    return encode_pose(cameras)


def _encode_nothing(cameras: Cameras, background: Tensor) -> Float[Tensor, "camera 16"]:
    del background
    return cameras.intrinsics.new_zeros(len(cameras), 16)


# By the names that `PriorDefaults.camera` takes.
CAMERA_ENCODINGS: dict[str, Callable[[Cameras, Tensor], Float[Tensor, "camera 16"]]] = {
    "pose": _encode_pose,
    "circle": encode_circle,
    "silent": _encode_nothing,
}
