"""The normals of an asset as the picture by which a ControlNet is told its shape."""

from dataclasses import replace

import torch

from volkit.geometry import Cameras
from volkit.render.renderer import renderer_for
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = ["normal_control"]

COARSE = 4.0  # of the steps through a field: normals of what is solid change little with them


@torch.no_grad()
def normal_control(scene: Representation, cameras: Cameras, size: int) -> Float[Tensor, "view 3 height width"]:
    """`(1 - n) / 2` in the camera's frame, `size` pixels a side: red to the left, green to the top, blue to the front,
    as the Normal 1.1 network of ControlNet has it; grey where nothing is.
    """
    scale = size / cameras.size[0, 0]
    seen = replace(cameras, intrinsics=cameras.intrinsics * scale, size=torch.full_like(cameras.size, size))
    seen = seen.to(scene.device)
    picture = renderer_for(scene, choice=COARSE, normals=True)(scene, seen)
    assert picture.normal is not None
    own = torch.einsum("vhwi,vij->vjhw", picture.normal, seen.world_from_camera[:, :, :3])
    return 0.5 - 0.5 * own * picture.opacity[:, None]
