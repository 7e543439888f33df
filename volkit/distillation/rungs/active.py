"""Where to ask next: rays drawn in proportion to the student's error, reweighted so that the loss stays unbiased."""

from typing import Any

import torch

from volkit.geometry import Cameras
from volkit.typing import Float, Int, Tensor

__all__ = ["PixelDraw"]

TILES = 16  # tiles per picture side: fine enough to find a chair's leg, coarse enough to be visited often
MEMORY = 0.9  # share of a tile's old error that survives a visit


class PixelDraw:
    """Draws pixels of many cameras at once, cameras and tiles in proportion to recent error.

    `p = uniform / N + (1 - uniform) e_tile / sum e`, importance `1 / (N p)`, so that the importance-weighted mean over
    drawn pixels is the plain mean over all pixels whatever the errors say (importance sampling; Soft Mining,
    Kheradmand et al. 2024, drops that correction partly).
    """

    def __init__(self, cameras: Cameras, uniform: float = 0.5) -> None:
        self.cameras, self.uniform = cameras, uniform
        self.errors = torch.zeros(len(cameras) * TILES * TILES, device=cameras.size.device)

    def watch(self, cameras: Cameras) -> None:
        """Draw from these cameras, the first of which are those of now; nothing is known of the errors of the rest."""
        fresh = self.errors.new_zeros((len(cameras) - len(self.cameras)) * TILES * TILES)
        self.cameras, self.errors = cameras, torch.cat([self.errors, fresh])

    def draw(
        self, count: int, generator: torch.Generator
    ) -> tuple[Int[Tensor, " ray"], Float[Tensor, "ray 2"], Float[Tensor, " ray"]]:
        """Cameras, pixel centres (x, y) and importances of `count` pixels."""
        tiles, device = len(self.errors), self.errors.device
        known = float(self.errors.sum()) > 0.0
        if known and self.uniform < 1.0:
            probability = self.uniform / tiles + (1.0 - self.uniform) * self.errors / self.errors.sum()
            # multinomial would sort 2^24 categories at most; a cumulative sum and a search have no such limit
            edges = probability.cumsum(0)
            chosen = torch.rand(count, generator=generator, device=device) * edges[-1]
            tile = torch.searchsorted(edges, chosen).clamp_max(tiles - 1)
            importance = 1.0 / (tiles * probability[tile])
        else:
            tile = torch.randint(tiles, (count,), generator=generator, device=device)
            importance = torch.ones(count, device=device)
        camera = tile // (TILES * TILES)
        row, column = tile % (TILES * TILES) // TILES, tile % TILES
        inside = torch.rand(count, 2, generator=generator, device=device)
        size = self.cameras.size[camera]
        pixels = (torch.stack([column, row], -1) + inside) / TILES * size
        return camera, pixels.floor() + 0.5, importance

    def learn(self, camera: Int[Tensor, " ray"], pixels: Float[Tensor, "ray 2"], errors: Float[Tensor, " ray"]) -> None:
        """Record the squared errors seen at pixels; tiles keep a fading memory of the root mean."""
        place = (pixels / self.cameras.size[camera] * TILES).long().clamp(0, TILES - 1)
        tile = (camera * TILES + place[:, 1]) * TILES + place[:, 0]
        total = torch.zeros_like(self.errors).index_add_(0, tile, errors)
        visits = torch.zeros_like(self.errors).index_add_(0, tile, torch.ones_like(errors))
        seen = visits > 0
        mean = (total[seen] / visits[seen]).sqrt()
        old = self.errors[seen]
        self.errors[seen] = torch.where(old > 0, MEMORY * old + (1.0 - MEMORY) * mean, mean)

    def state(self) -> dict[str, Any]:
        """The errors."""
        return {"errors": self.errors}

    def load_state(self, state: dict[str, Any]) -> None:
        """Take up `state()`."""
        self.errors = state["errors"]
