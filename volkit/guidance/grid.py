"""Several views as one picture: a prior of single pictures sees them together."""

from dataclasses import dataclass

from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.prior import Noised, Prior
from volkit.typing import Float, Tensor

__all__ = ["GridPrior"]


@dataclass(frozen=True)
class GridPrior:
    """A prior around another: `rows x columns` neighbouring views are laid out as one picture before it is asked.

    The grid score of LD (arXiv 2411.13536) and BoostDream's (arXiv 2401.16764): no training, and a plain
    prior of pictures makes the views agree.
    """

    prior: Prior
    rows: int = 2
    columns: int = 2

    @property
    def schedule(self) -> NoiseSchedule:
        """The prior's own."""
        return self.prior.schedule

    @property
    def views(self) -> int:
        """The prior's own: a grid is one picture."""
        return self.prior.views

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "grid ..."]:
        """Lay the views out row by row and encode the grids."""
        cells = self.rows * self.columns
        if len(pictures) % cells:
            raise ValueError(f"a grid of {cells} views was given {len(pictures)}: give a multiple")
        _, height, width, channels = pictures.shape
        table = pictures.view(-1, self.rows, self.columns, height, width, channels)
        return self.prior.encode(table.transpose(2, 3).reshape(-1, self.rows * height, self.columns * width, channels))

    def decode(self, x: Float[Tensor, "grid ..."]) -> Float[Tensor, "view height width 3"]:
        """Decode the grids and cut them up."""
        grids = self.prior.decode(x)
        _, height, width, channels = grids.shape
        height, width = height // self.rows, width // self.columns
        table = grids.view(-1, self.rows, height, self.columns, width, channels)
        return table.transpose(2, 3).reshape(-1, height, width, channels)

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The noise of the grids."""
        return self.prior.eps(at, condition)
