"""Which splats a scene can do without."""

import torch

from volkit.geometry import Cameras
from volkit.geometry.lens import PINHOLE
from volkit.ops.splat import blend, project
from volkit.rendering.splatting import splat_view
from volkit.rendering.through_lens import lens_map
from volkit.representations.splats import Splats
from volkit.typing import Float, Tensor

__all__ = ["contributions"]

MOST_TILES = 5e7  # that splats cover on all pictures together: seconds, where each of many fills the pictures
TILE = 16.0


def contributions(splats: Splats, cameras: Cameras) -> Float[Tensor, " splat"]:
    """The light that each splat gives to pictures, `sum over pixels and cameras of T alpha`.

    It is the gradient of the pictures' sum with respect to a channel that is one everywhere. What gives little can go
    first (LightGaussian, Fan et al. 2024, without its volume term). Cameras that would take too long are left out.
    """
    light, tiles = torch.zeros(len(splats), 1, device=splats.device), 0.0
    for index in range(len(cameras)):
        straight = cameras[[index]] if cameras.lens == PINHOLE else lens_map(cameras, index).camera
        view = splat_view(splats, straight, 0)
        with torch.no_grad():
            flat = project(*splats.columns, view=view)
        one = torch.ones_like(light).requires_grad_()
        seen = blend(flat.means, flat.shapes, flat.opacities, flat.depths, one, flat.extents, view.size)
        (given,) = torch.autograd.grad(seen.channels.sum(), one)
        light += given
        wide = (2.0 * flat.extents / TILE).minimum(flat.extents.new_tensor(view.size) / TILE)
        tiles += float((wide + 1.0).prod(-1)[flat.extents[:, 0] > 0].sum())
        if tiles > MOST_TILES:
            break
    return light[:, 0]
