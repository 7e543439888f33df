"""How alike a source and its file are: by pictures, and parameter by parameter; the latter needs arrays alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from volkit.geometry.quaternions import HALF_TURN_ORDER, HALF_TURN_SIGNS
from volkit.io.splats.columns import SplatColumns, sigmoid_opacities

__all__ = ["WORST_VIEWS", "ComparedViews", "Fidelity", "decibels", "splat_differences"]

WORST_VIEWS = 3  # views of one conversion; of each of many, one


@dataclass(frozen=True)
class ComparedViews:
    """Pictures for a page, 8 bits a channel: `views` by caption are a source's and its target's, the worst first."""

    views: Mapping[str, tuple[np.ndarray, np.ndarray]]
    figures: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class Fidelity:
    """How alike a source and its file are: the largest difference of each parameter, and where pictures were drawn,
    means over views.

    `differences` is empty where parameters do not correspond; `measured` says by what: so many views of which size, or
    so many splats, row by row.
    """

    differences: dict[str, float]  # by parameter
    measured: dict[str, Any]
    psnr_to_source: float | None = None  # None: identical, or no pictures were drawn
    ssim_to_source: float | None = None  # None: no pictures were drawn
    flip_to_source: float | None = None  # None: no pictures, or not installed
    worst_views: ComparedViews | None = field(default=None, repr=False)  # None: no pictures were drawn
    second_reading: dict[str, Any] | None = None  # what another library reads from the file; None: none does

    @property
    def max_difference(self) -> float | None:
        """The largest of all; None where parameters do not correspond."""
        return max(self.differences.values(), default=None)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, without the pictures; scores of pictures only where some were drawn."""
        drawn = ("psnr_to_source", "ssim_to_source", "flip_to_source") if self.ssim_to_source is not None else ()
        scores = {name: getattr(self, name) for name in drawn}
        values = {"max_difference": self.max_difference, "differences": self.differences, "measured": self.measured}
        again = {} if self.second_reading is None else {"second_reading": self.second_reading}
        return scores | values | again


def splat_differences(made: SplatColumns, written: SplatColumns, order: np.ndarray | None = None) -> dict[str, float]:
    """The largest absolute difference of each parameter between splats and those that a file holds, world frame.

    Opacities for their logits, unit quaternions up to their sign and half turns about the splat's own axes, harmonics
    that the file left out as zeros; a surfel has no third scale. `order` are the rows of `made` as the file has them,
    where it has an order of its own.
    """
    ours, theirs = _drawn(made if order is None else made.keep(order)), _drawn(written)
    basis = max(columns["sh_rest"].shape[1] for columns in (ours, theirs))
    for columns in (ours, theirs):
        rest = columns["sh_rest"]
        columns["sh_rest"] = np.pad(rest, ((0, 0), (0, basis - rest.shape[1]), (0, 0)))
    axes = min(columns["log_scales"].shape[1] for columns in (ours, theirs))
    for columns in (ours, theirs):
        columns["log_scales"] = columns["log_scales"][:, :axes]
    theirs["quaternions"] = _nearest_half_turn(theirs["quaternions"], ours["quaternions"])
    return {name: float(np.abs(ours[name] - theirs[name]).max(initial=0.0)) for name in ours}


def _nearest_half_turn(quaternions: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Of the quaternions of the same ellipsoids those that are nearest to others."""
    turns = [quaternions[:, order] * signs for order, signs in zip(HALF_TURN_ORDER, HALF_TURN_SIGNS, strict=True)]
    along = np.stack([np.einsum("nk,nk->n", turned, wanted) for turned in turns])
    best = np.abs(along).argmax(0)
    nearest = np.stack(turns)[best, np.arange(len(wanted))]
    return nearest * np.sign(np.take_along_axis(along, best[None], 0))[0, :, None]


def decibels(psnr: float | None) -> str:
    """A PSNR in words."""
    return "identical" if psnr is None else f"{psnr:.2f} dB"


def _drawn(splats: SplatColumns) -> dict[str, np.ndarray]:
    columns = splats.columns_in()
    if splats.georeferenced:
        columns["means"] = splats.positions_in()
    turns = columns["quaternions"].astype(np.float64)
    turns /= np.maximum(np.linalg.norm(turns, axis=-1, keepdims=True), 1e-12)
    opacities = sigmoid_opacities(columns.pop("logits"))
    return columns | {"quaternions": turns, "opacities": opacities}
