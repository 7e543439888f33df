"""Least-squares fitting of texels to pictures, by diagonal Gauss-Newton steps averaged over views."""

import torch
from torch.nn import functional

from volkit.meshing.textured import TexelPicture
from volkit.meshing.unwrap import GUTTER_TEXELS
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["Paint", "fill_empty", "nearest_filled", "paint_texels", "upsample"]


VIEWS_PER_STEP = 10
PRIOR_SAMPLES = 0.05  # weight of the first texture, in samples: hardly visible texels stay


def fill_empty(
    picture: Float[Tensor, "height width channel"], filled: Bool[Tensor, "height width"]
) -> Float[Tensor, "height width channel"]:
    """The picture with every empty texel set to the nearest filled one."""
    rows, columns, _ = nearest_filled(filled)
    return picture[rows, columns]


def upsample(
    coarse: Float[Tensor, "low low channel"], covered: Bool[Tensor, "low low"], size: int
) -> Float[Tensor, "size size channel"]:
    """A coarse picture interpolated linearly between its covered texels; other texels take the nearest value.

    Charts mix where their gutter is narrower than a coarse texel.
    """
    touched = covered.to(coarse)[..., None]
    share = torch.cat([coarse * touched, touched], -1).permute(2, 0, 1)[None]
    fine = functional.interpolate(share, (size, size), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    return fill_empty(fine[..., :-1] / fine[..., -1:].clamp_min(1e-6), fine[..., -1] > 0)


def nearest_filled(
    filled: Bool[Tensor, "height width"],
) -> tuple[Int[Tensor, "height width"], Int[Tensor, "height width"], Float[Tensor, "height width"]]:
    """Row and column of the filled texel nearest to each, and its distance."""
    from scipy.ndimage import distance_transform_edt

    found = distance_transform_edt(~filled.numpy(), return_indices=True)
    assert found is not None
    distance, places = found
    rows, columns = torch.from_numpy(places).long()
    return rows, columns, torch.from_numpy(distance).float()


class Paint:
    """Texels in display-referred colour, fitted to pictures, which are linear in them.

    With A from texels to samples and residuals d, a step adds A^T d / A^T 1 (Gilbert 1972, SIRT), with decaying sums
    over past views. Texels that are not in a picture keep their values.
    """

    def __init__(self, texture: UInt8[Tensor, "height width 4"]) -> None:
        self._texture = texture
        self.texels: Float[Tensor, "texel 3"] = texture[..., :3].reshape(-1, 3).float() / 255.0
        self._start = self.texels.clone()
        self._residual, self._weight = torch.zeros_like(self.texels), torch.zeros(len(self.texels))
        self._total, self._views = torch.zeros(len(self.texels)), 0

    def observe(self, drawn: TexelPicture, residual: Float[Tensor, "height width 3"], fading: float) -> None:
        """Add a picture's residual; after `VIEWS_PER_STEP` of them texels change, and past weights fade by `fading`."""
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
    """A texture with new colours at a surface's own texels, and half a gutter about them."""
    height, width = texture.shape[:2]
    filled = torch.zeros(height * width, dtype=torch.bool)
    filled[surface_texels] = True
    rows, columns, distance = nearest_filled(filled.view(height, width))
    image = texels.view(height, width, 3)[rows, columns]
    colours = (image.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
    changed = (distance <= GUTTER_TEXELS / 2)[..., None]
    return torch.cat([torch.where(changed, colours, texture[..., :3]), texture[..., 3:]], -1)
