"""Texels that make pictures alike: least squares over all views, a running mean of Gauss-Newton's diagonal steps."""

import torch
from torch.nn import functional

from volkit.meshing.textured import TexelPicture
from volkit.meshing.unwrap import GUTTER_TEXELS
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["Paint", "fill_empty", "nearest_filled", "paint_texels", "upsample"]


VIEWS_PER_STEP = 10  # of a step
PRIOR_SAMPLES = 0.05  # samples that the first texture counts for: what is hardly seen stays as it was


def fill_empty(
    picture: Float[Tensor, "height width channel"], filled: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """Every texel that is empty takes the value of the nearest that is not."""
    rows, columns, _ = nearest_filled(filled)
    return picture[rows, columns]


def upsample(
    coarse: Float[Tensor, "low low channel"], covered: Bool[Tensor, "low low"], size: int
) -> Float[Tensor, "size size channel"]:
    """Between the known texels of a coarser picture linear; what lies beside none of them takes what the nearest has.

    Texels beside a chart are those within a coarse one: where its gutter is narrower than that, charts mix.
    """
    touched = covered.to(coarse)[..., None]
    share = torch.cat([coarse * touched, touched], -1).permute(2, 0, 1)[None]
    fine = functional.interpolate(share, (size, size), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    return fill_empty(fine[..., :-1] / fine[..., -1:].clamp_min(1e-6), fine[..., -1] > 0)


def nearest_filled(
    filled: Bool[Tensor, "height width"],
) -> tuple[Int[Tensor, "height width"], Int[Tensor, "height width"], Float[Tensor, "height width"]]:
    """Row and column of the filled texel nearest to each, and how far it is."""
    from scipy.ndimage import distance_transform_edt

    found = distance_transform_edt(~filled.numpy(), return_indices=True)
    assert found is not None
    distance, places = found
    rows, columns = torch.from_numpy(places).long()
    return rows, columns, torch.from_numpy(distance).float()


class Paint:
    """Texels in display-referred colour, in which pictures are linear.

    With A from texels to samples and d what pictures lack, a step adds A^T d / A^T 1 (Gilbert 1972, SIRT), both sums
    over views of the past that fade. Texels that no picture shows stay as they were.
    """

    def __init__(self, texture: UInt8[Tensor, "height width 4"]) -> None:
        self._texture = texture
        self.texels: Float[Tensor, "texel 3"] = texture[..., :3].reshape(-1, 3).float() / 255.0
        self._start = self.texels.clone()
        self._residual, self._weight = torch.zeros_like(self.texels), torch.zeros(len(self.texels))
        self._total, self._views = torch.zeros(len(self.texels)), 0

    def observe(self, drawn: TexelPicture, residual: Float[Tensor, "height width 3"], fading: float) -> None:
        """Take in what a picture lacks; every few of them texels change. `fading` is what the past keeps of its weight
        then."""
        missing = residual.reshape(-1, 3)[drawn.pixel]
        texel, weight = drawn.texel.flatten(), drawn.weight
        self._residual.index_add_(0, texel, (missing[:, None] * weight[..., None]).view(-1, 3))
        self._weight.index_add_(0, texel, weight.flatten())
        self._views += 1
        if self._views == VIEWS_PER_STEP:
            self._update(fading)

    def _update(self, fading: float) -> None:
        self._total.mul_(fading).add_(self._weight)
        touched = (self._weight > 0).nonzero()[:, 0]
        pull = (1.0 - fading) * PRIOR_SAMPLES * (self._start[touched] - self.texels[touched])
        step = (self._residual[touched] + pull) / (self._total[touched, None] + PRIOR_SAMPLES)
        self.texels[touched] = (self.texels[touched] + step).clamp_(0.0, 1.0)
        self._residual.zero_()
        self._weight.zero_()
        self._views = 0

    def texture(self, surface_texels: Int[Tensor, " texel"]) -> UInt8[Tensor, "height width 4"]:
        """The current texture: the surface's own texels, spread by half a gutter.

        Texels farther away belong to no surface, or to another one, and keep their values.
        """
        return paint_texels(self._texture, self.texels, surface_texels)


def paint_texels(
    texture: UInt8[Tensor, "height width 4"], texels: Float[Tensor, "texel 3"], surface_texels: Int[Tensor, " texel"]
) -> UInt8[Tensor, "height width 4"]:
    """A texture with other colours at a surface's own texels, and half a gutter about them."""
    height, width = texture.shape[:2]
    filled = torch.zeros(height * width, dtype=torch.bool)
    filled[surface_texels] = True
    rows, columns, distance = nearest_filled(filled.view(height, width))
    image = texels.view(height, width, 3)[rows, columns]
    colours = (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    changed = (distance <= GUTTER_TEXELS / 2)[..., None]
    return torch.cat([torch.where(changed, colours, texture[..., :3]), texture[..., 3:]], -1)
