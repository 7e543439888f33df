"""What is done to a direction as a whole before it is weighed."""

from dataclasses import dataclass
from typing import Protocol

import torch

from volkit.guidance.ramps import Ramp, value
from volkit.typing import Tensor

__all__ = ["Clip", "Mirror", "RankWeighing", "Shaping"]


GROWING = Ramp(((0.0, 0.5), (1.0, 2.0)))


class Shaping(Protocol):
    """From one direction to another of the same shape."""

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Reshaped in value, not in shape."""
        ...


@dataclass(frozen=True)
class Clip:
    """No element beyond ±limit; the limit grows with the run (Debiased SDS, arXiv 2303.15413: .5 to 2)."""

    limit: float | Ramp = GROWING

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Clamp."""
        limit = value(self.limit, fraction)
        return direction.clamp(-limit, limit)


@dataclass(frozen=True)
class Mirror:
    """Views 2i and 2i+1 look from mirrored sides and share what they learn, one mirrored (LD, arXiv 2411.13536).

    `g_a ← (g_a + flip(g_b)) / 2` and the reverse, for symmetric subjects; the last axis is the width.
    """

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Share between pairs."""
        del fraction
        if len(direction) % 2:
            raise ValueError(f"mirrored views come in pairs, and there are {len(direction)} views: give an even number")
        other = direction.unflatten(0, (-1, 2)).flip(1).flatten(0, 1)
        return 0.5 * (direction + other.flip(-1))


@dataclass(frozen=True)
class RankWeighing:
    """Singular value i of every channel, a matrix, is multiplied by `1 / (1 + i)^power` (LD, arXiv 2411.13536).

    The coarse ranks carry shape and colour, the fine ones noise. Power 0 changes nothing.
    """

    power: float = 0.5

    def __call__(self, direction: Tensor, fraction: float) -> Tensor:
        """Weigh the ranks; the last two axes are the matrix."""
        del fraction
        left, singular, right = torch.linalg.svd(direction, full_matrices=False)
        rank = torch.arange(1, singular.shape[-1] + 1, device=singular.device, dtype=singular.dtype)
        return (left * (singular * rank**-self.power)[..., None, :]) @ right
