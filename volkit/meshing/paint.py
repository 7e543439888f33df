"""Texels that make pictures alike: least squares over all views, a running mean of Gauss-Newton's diagonal steps."""

import torch
from torch.nn import functional

from volkit.meshing.textured import Drawn
from volkit.meshing.unwrap import GUTTER
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["Paint", "finer", "nearest", "paint_texels", "spread"]


VIEWS = 10  # of a step
PRIOR = 0.05  # samples that the first texture counts for: what is hardly seen stays as it was


def spread(
    picture: Float[Tensor, "height width channel"], filled: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """Every texel that is empty takes the value of the nearest that is not."""
    rows, columns, _ = nearest(filled)
    return picture[rows, columns]


def finer(
    coarse: Float[Tensor, "low low channel"], known: Bool[Tensor, "low low"], size: int
) -> Float[Tensor, "size size channel"]:
    """Between the known texels of a coarser picture linear; what lies beside none of them takes what the nearest has.

    Texels beside a chart are those within a coarse one: where its gutter is narrower than that, charts mix.
    """
    seen = known.to(coarse)[..., None]
    share = torch.cat([coarse * seen, seen], -1).permute(2, 0, 1)[None]
    fine = functional.interpolate(share, (size, size), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    return spread(fine[..., :-1] / fine[..., -1:].clamp_min(1e-6), fine[..., -1] > 0)


def nearest(
    filled: Bool[Tensor, "height width"],
) -> tuple[Int[Tensor, "height width"], Int[Tensor, "height width"], Float[Tensor, "height width"]]:
    """Row and column of the filled texel nearest to each, and how far it is."""
    from scipy.ndimage import distance_transform_edt

    found = distance_transform_edt(~filled.numpy(), return_indices=True)
    assert found is not None
    far, places = found
    rows, columns = torch.from_numpy(places).long()
    return rows, columns, torch.from_numpy(far).float()


class Paint:
    """Texels in display-referred colour, in which pictures are linear.

    With A from texels to samples and d what pictures lack, a step adds A^T d / A^T 1 (Gilbert 1972, SIRT), both sums
    over views of the past that fade. Texels that no picture shows stay as they were.
    """

    def __init__(self, texture: UInt8[Tensor, "height width 4"]) -> None:
        self._texture = texture
        self.texels: Float[Tensor, "texel 3"] = texture[..., :3].reshape(-1, 3).float() / 255.0
        self._start = self.texels.clone()
        self._lack, self._weight = torch.zeros_like(self.texels), torch.zeros(len(self.texels))
        self._total, self._views = torch.zeros(len(self.texels)), 0

    def see(self, drawn: Drawn, lack: Float[Tensor, "height width 3"], fading: float) -> None:
        """Take in what a picture lacks; every few of them texels change. `fading` is what the past keeps of its weight
        then."""
        missing = lack.reshape(-1, 3)[drawn.pixel]
        texel, weight = drawn.texel.flatten(), drawn.weight
        self._lack.index_add_(0, texel, (missing[:, None] * weight[..., None]).view(-1, 3))
        self._weight.index_add_(0, texel, weight.flatten())
        self._views += 1
        if self._views == VIEWS:
            self._change(fading)

    def _change(self, fading: float) -> None:
        self._total.mul_(fading).add_(self._weight)
        seen = (self._weight > 0).nonzero()[:, 0]
        back = (1.0 - fading) * PRIOR * (self._start[seen] - self.texels[seen])
        step = (self._lack[seen] + back) / (self._total[seen, None] + PRIOR)
        self.texels[seen] = (self.texels[seen] + step).clamp_(0.0, 1.0)
        self._lack.zero_()
        self._weight.zero_()
        self._views = 0

    def texture(self, own: Int[Tensor, " texel"]) -> UInt8[Tensor, "height width 4"]:
        """The texture as it is now. The surface's `own` texels are spread half a gutter about themselves; those
        farther away belong to nobody, or to other surfaces, and stay."""
        return paint_texels(self._texture, self.texels, own)


def paint_texels(
    texture: UInt8[Tensor, "height width 4"], texels: Float[Tensor, "texel 3"], own: Int[Tensor, " texel"]
) -> UInt8[Tensor, "height width 4"]:
    """A texture with other colours at a surface's own texels, and half a gutter about them."""
    height, width = texture.shape[:2]
    filled = torch.zeros(height * width, dtype=torch.bool)
    filled[own] = True
    rows, columns, far = nearest(filled.view(height, width))
    image = texels.view(height, width, 3)[rows, columns]
    colours = (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    changed = (far <= GUTTER / 2)[..., None]
    return torch.cat([torch.where(changed, colours, texture[..., :3]), texture[..., 3:]], -1)
