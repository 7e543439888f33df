"""Pictures of a textured surface, differentiable in its vertices and linear in its texels."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import torch

from volkit.geometry import Cameras
from volkit.meshing.unwrap import Atlas
from volkit.ops.raster import antialias, opposite_corners, rasterise
from volkit.typing import Float, Int, Tensor

__all__ = ["TexelPicture", "TexturedSurface"]

SAMPLES_ACROSS = 2  # of a pixel, in each direction
NEAR_SHARE = 1e-3  # of the surface's diagonal: distance of the near plane


# Shades samples: from interpolated texels, face and barycentric coordinates to colours.
Shade = Callable[[Tensor, Int[Tensor, " sample"], Float[Tensor, "sample 3"]], Float[Tensor, "sample 3"]]


class TexelPicture(NamedTuple):
    """A picture, and the texels and bilinear weights of its samples."""

    picture: Float[Tensor, "height width 4"]  # premultiplied colour, and opacity
    pixel: Int[Tensor, " sample"]
    texel: Int[Tensor, "sample 4"]
    weight: Float[Tensor, "sample 4"]


@dataclass(frozen=True)
class TexturedSurface:
    """The constant part of an unwrapped surface whose vertices and texels change."""

    faces: Int[Tensor, "face 3"]
    opposite: Int[Tensor, "face 3"]
    corner_uv: Float[Tensor, "face 3 2"]
    size: tuple[int, int]  # width and height of the texture
    near: float

    @classmethod
    def of(cls, atlas: Atlas, size: tuple[int, int]) -> Self:
        """An atlas with a texture of that width and height."""
        faces, vertices = atlas.surface.faces, atlas.surface.vertices
        diagonal = float((vertices.amax(0) - vertices.amin(0)).norm())
        return cls(faces, opposite_corners(faces), atlas.corner_uv, size, NEAR_SHARE * diagonal)

    def draw(
        self,
        vertices: Float[Tensor, "vertex 3"],
        texels: Float[Tensor, "texel channel"],
        camera: Cameras,
        shade: Shade | None = None,
    ) -> TexelPicture:
        """The picture of one pinhole camera of the surface's frame: four samples a pixel, antialiased outlines.

        Texels are display-referred colours, unless `shade` computes colours from them.
        """
        width, height = camera.size[0].tolist()
        across = (SAMPLES_ACROSS * width, SAMPLES_ACROSS * height)
        points = to_homogeneous(vertices, camera, SAMPLES_ACROSS)
        fragments = rasterise(points, self.faces, across, near=self.near)
        face = fragments.face.flatten()
        sample = (face >= 0).nonzero()[:, 0]
        where = fragments.barycentric.flatten(0, 1)[sample]
        texel, weight = self._bilinear((self.corner_uv[face[sample].long()] * where[..., None]).sum(1))
        colour = (texels[texel] * weight[..., None]).sum(1)
        if shade is not None:
            colour = shade(colour, face[sample].long(), where)
        opaque = torch.cat([colour, torch.ones_like(colour[:, :1])], 1)
        flat = colour.new_zeros(len(face), 4).index_copy(0, sample, opaque)
        smooth = antialias(flat.view(*across[::-1], 4), fragments, points, self.faces, self.opposite)
        picture = smooth.view(height, SAMPLES_ACROSS, width, SAMPLES_ACROSS, 4).mean((1, 3))
        row, column = sample.div(across[0] * SAMPLES_ACROSS, rounding_mode="floor"), sample % across[0]
        pixel = row * width + column.div(SAMPLES_ACROSS, rounding_mode="floor")
        return TexelPicture(picture, pixel, texel, weight.detach())

    def _bilinear(self, uv: Float[Tensor, "sample 2"]) -> tuple[Int[Tensor, "sample 4"], Float[Tensor, "sample 4"]]:
        """The four texels about each place, centred at integer + 0.5, and their bilinear weights."""
        width, height = self.size
        position = uv * uv.new_tensor(self.size) - 0.5
        low = position.detach().floor()
        x, y = (position - low).unbind(-1)
        left, top = low.long().unbind(-1)
        left, right = left.clamp(0, width - 1), (left + 1).clamp(0, width - 1)
        top, bottom = top.clamp(0, height - 1) * width, (top + 1).clamp(0, height - 1) * width
        texel = torch.stack([top + left, top + right, bottom + left, bottom + right], -1)
        return texel, torch.stack([(1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y], -1)


def to_homogeneous(points: Float[Tensor, "point 3"], camera: Cameras, across: int = 1) -> Float[Tensor, "point 3"]:
    """Homogeneous points (w x, w y, w) of one pinhole camera's picture, with `across` samples along a pixel."""
    pose, (fx, fy, cx, cy) = camera.world_from_camera[0], (across * camera.intrinsics[0]).tolist()
    x, y, z = ((points - pose[:, 3]) @ pose[:, :3]).unbind(-1)
    return torch.stack([fx * x + cx * z, fy * y + cy * z, z], -1)
