"""Unwrapping of levels of detail to one texture without overlap, and the surface point of each texel."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from volkit.geometry import Rays
from volkit.geometry.triangles import Triangles
from volkit.rendering.surface import first_hits
from volkit.typing import Float, Int, Tensor

__all__ = ["Atlas", "unwrap"]

GUTTER_TEXELS = 4  # texels between charts, and as many about the atlas
LEVEL_DENSITY_RATIO = 2.0  # of the texels per length of successive levels: coarse levels are seen from afar


@dataclass(frozen=True)
class Atlas:
    """uv of each face's corners, as glTF has them (v runs down from the upper left corner)."""

    surface: Triangles
    corner_uv: Float[Tensor, "face 3 2"]

    def texels(self, size: int) -> tuple[Int[Tensor, " texel"], Int[Tensor, " texel"], Float[Tensor, "texel 3"]]:
        """Flat indices of the texels whose centres lie on a face, that face, and the barycentric coordinates."""
        flat = torch.cat([self.corner_uv, torch.zeros(len(self.corner_uv), 3, 1)], -1).reshape(-1, 3) * size
        faces = torch.arange(len(flat)).view(-1, 3)
        x, y = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="xy")
        origins = torch.stack([x, y, torch.ones_like(x)], -1).reshape(-1, 3)
        face, where, _ = first_hits(flat, faces, Rays(origins, origins.new_tensor([0.0, 0.0, -1.0]).expand_as(origins)))
        texel = (face >= 0).nonzero()[:, 0]
        return texel, face[texel].long(), where[texel]

    def density(self, size: int) -> float:
        """Mean texels per local unit of length."""
        a, b, c = (self.corner_uv * size).unbind(1)
        flat = 0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]).abs().sum()
        return float((flat / self.surface.areas.sum()).sqrt())


def unwrap(levels: Sequence[Triangles], size: int) -> tuple[Atlas, ...]:
    """Unwrap and pack all levels by xatlas; each level has half the texel density of the one before it."""
    import xatlas

    atlas = xatlas.Atlas()
    for number, level in enumerate(levels):
        atlas.add_mesh((level.vertices / LEVEL_DENSITY_RATIO**number).numpy(), level.faces.numpy().astype(np.uint32))
    packing = xatlas.PackOptions()
    packing.resolution, packing.padding, packing.bilinear = size, GUTTER_TEXELS, True
    atlas.generate(pack_options=packing)
    return tuple(_to_atlas(level, *atlas.get_mesh(number)) for number, level in enumerate(levels))


def _to_atlas(level: Triangles, rows: np.ndarray, faces: np.ndarray, uv: np.ndarray) -> Atlas:
    """The atlas of xatlas's output, which splits vertices at seams, and whose v runs up."""
    origin, corners = torch.from_numpy(rows.astype(np.int64)), torch.from_numpy(faces.astype(np.int64))
    down = torch.from_numpy(uv * [1.0, -1.0] + [0.0, 1.0]).float()
    return Atlas(Triangles(level.vertices, origin[corners]), down[corners])
