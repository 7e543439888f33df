"""Lens distortion of pictures that are rendered by a pinhole camera, by resampling."""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from volkit.geometry import Cameras
from volkit.geometry.lens import PINHOLE
from volkit.rendering.picture import Picture
from volkit.typing import Float, Tensor

__all__ = ["LensMap", "lens_map"]

MAX_LENS_WIDENING = 3.0  # sides of the pinhole's picture to the lens's: beyond it, a lens sees nearly sideways


@dataclass(frozen=True)
class LensMap:
    """A pinhole camera that covers the view of a lens, and the position in its picture of each pixel of the lens."""

    camera: Cameras
    at: Float[Tensor, "height width 2"]  # pixels of the pinhole's picture

    def warp(self, picture: Picture) -> Picture:
        """The picture `[1, height, width]` through the lens: colours between pixels, depths of the nearest one."""
        return Picture(
            {name: self.resample(value) for name, value in picture.channels.items()},
            self.resample(picture.opacity),
            self.resample(picture.depth, "nearest"),
            None if picture.median is None else self.resample(picture.median, "nearest"),
            None if picture.normal is None else self.resample(picture.normal, "nearest"),
        )

    def resample(
        self, values: Float[Tensor, "1 height width *channel"], mode: str = "bilinear"
    ) -> Float[Tensor, "1 height width *channel"]:
        """Values of the pinhole's picture at the pixels of the lens, interpolated or of the nearest pixel."""
        height, width = values.shape[1:3]
        grid = (2.0 * self.at / self.at.new_tensor([width, height]) - 1.0)[None]
        flat = values.unsqueeze(-1) if values.dim() == 3 else values
        found = functional.grid_sample(
            flat.permute(0, 3, 1, 2), grid, mode=mode, align_corners=False, padding_mode="border"
        ).permute(0, 2, 3, 1)
        return found[..., 0] if values.dim() == 3 else found


def lens_map(cameras: Cameras, index: int) -> LensMap:
    """The map of one camera with a lens; ValueError where its view is too wide for any pinhole camera."""
    one = cameras[[index]]
    width, height = one.size[0].tolist()
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).view(-1, 2).to(one.intrinsics)
    focal, centre = one.intrinsics.split(2, -1)
    coefficients = None if one.coefficients is None else one.coefficients.expand(len(pixels), -1)
    directions = one.lens.directions((pixels - centre) / focal, coefficients)
    at = directions[:, :2] / directions[:, 2:].clamp_min(1e-6) * focal + centre
    low, high = at.amin(0).floor() - 1.0, at.amax(0).ceil() + 1.0
    size = (high - low).long()
    if bool((directions[:, 2] <= 0).any()) or bool((size > MAX_LENS_WIDENING * one.size[0]).any()):
        raise ValueError(
            f"render: camera {index} sees too far to the side through its {one.lens.model} lens for a flat picture; "
            "use views of a narrower lens"
        )
    intrinsics = torch.cat([focal, centre - low], -1)
    camera = replace(one, intrinsics=intrinsics, size=size[None], lens=PINHOLE, coefficients=None)
    return LensMap(camera, (at - low).view(height, width, 2))
