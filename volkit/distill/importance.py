"""Which splats a scene can do without."""

import torch

from volkit.geometry import Cameras
from volkit.geometry.lens import PINHOLE
from volkit.ops.splat import blend, project
from volkit.render.splatting import splat_view
from volkit.render.through_lens import lens_map
from volkit.representations.splats import Splats
from volkit.typing import Float, Tensor

__all__ = ["contributions"]


def contributions(splats: Splats, cameras: Cameras) -> Float[Tensor, " splat"]:
    """The light that each splat gives to pictures, `sum over pixels and cameras of T alpha`.

    It is the gradient of the pictures' sum with respect to a channel that is one everywhere. What gives little can go
    first (LightGaussian, Fan et al. 2024, without its volume term).
    """
    light = torch.zeros(len(splats), 1, device=splats.device)
    for index in range(len(cameras)):
        straight = cameras[[index]] if cameras.lens == PINHOLE else lens_map(cameras, index).camera
        view = splat_view(splats, straight, 0)
        with torch.no_grad():
            flat = project(*splats.columns, view=view)
        one = torch.ones_like(light).requires_grad_()
        seen = blend(flat.means, flat.shapes, flat.opacities, flat.depths, one, flat.extents, view.size)
        (given,) = torch.autograd.grad(seen.channels.sum(), one)
        light += given
    return light[:, 0]
