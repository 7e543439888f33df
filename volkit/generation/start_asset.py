"""The source asset of refinement and editing, and its control pictures."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch

from volkit.choices import ControlKind
from volkit.extras import advice
from volkit.geometry import Cameras, Similarity
from volkit.rendering import Picture
from volkit.rendering.renderer import renderer_for
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = ["PRIOR_STEP_SCALE", "StartAsset", "control_picture"]

PRIOR_STEP_SCALE = 6.0  # of the steps through a field, for pictures as small as a prior's
CONTROL_STEP_SCALE = 4.0  # of the steps through a field: normals of solid matter depend little on them
DEPTH_OPACITY = 0.5  # opacity from which a pixel has a depth
IDENTITY = Similarity()


@dataclass(frozen=True)
class StartAsset:
    """An asset before training, and its placement in the prior's frame.

    Attributes:
        scene: the asset, frozen.
        words: a description of it; empty where the method does not use one.
        place: world from the prior's frame.
        preserve: weight of the difference from it in pixels that should not change.
        control: the kind of control pictures.
    """

    scene: Representation
    words: str = ""
    place: Similarity = IDENTITY
    preserve: float = 0.0
    control: ControlKind = "normal"

    def pictures(self, cameras: Cameras, background: Float[Tensor, "view 3"]) -> Float[Tensor, "view h w 3"]:
        """Pictures from cameras of the prior's frame, over a colour for each view, with the steps of a trainee."""
        picture = renderer_for(self.scene, step_scale=PRIOR_STEP_SCALE)(self.scene, cameras.transform(self.place))
        return picture.over(background[:, None, None])

    def control_picture(self, cameras: Cameras, size: int) -> Float[Tensor, "view 3 height width"]:
        """Control pictures from cameras of the prior's frame."""
        return control_picture(self.scene, cameras.transform(self.place), size, self.control)


@torch.no_grad()
def control_picture(
    scene: Representation, cameras: Cameras, size: int, kind: ControlKind = "normal"
) -> Float[Tensor, "view 3 height width"]:
    """Control pictures of a scene for a ControlNet (Zhang et al. 2023), `size` pixels a side, in [0, 1].

    `normal`: `(1 - n) / 2` in the camera's frame, red to the left, green to the top, blue to the front, grey in empty
    pixels (Normal 1.1). `depth`: `1 / depth` from 0 at the farthest pixel to 1 at the nearest, 0 in empty pixels
    (MiDaS). `canny`: 1 at edges of colour (Canny 1986), else 0.
    """
    scale = size / cameras.size[0, 0]
    resized = replace(cameras, intrinsics=cameras.intrinsics * scale, size=torch.full_like(cameras.size, size))
    resized = resized.to(scene.device)
    picture = renderer_for(scene, step_scale=CONTROL_STEP_SCALE, normals=kind == "normal")(scene, resized)
    return CONTROL_PICTURES[kind](picture, resized)


def _normal(picture: Picture, cameras: Cameras) -> Tensor:
    assert picture.normal is not None
    own = torch.einsum("vhwi,vij->vjhw", picture.normal, cameras.world_from_camera[:, :, :3])
    return 0.5 - 0.5 * own * picture.opacity[:, None]


def _depth(picture: Picture, cameras: Cameras) -> Tensor:
    visible = (picture.opacity > DEPTH_OPACITY) & picture.depth.isfinite() & (picture.depth > 0)
    near = torch.where(visible, 1.0 / picture.depth, torch.zeros_like(picture.depth))
    nearest = near.amax((1, 2), keepdim=True)
    farthest = torch.where(visible, near, nearest).amin((1, 2), keepdim=True)
    relative = torch.where(visible, (near - farthest) / (nearest - farthest).clamp_min(1e-12), torch.zeros_like(near))
    return relative[:, None].expand(-1, 3, -1, -1)


def _canny(picture: Picture, cameras: Cameras) -> Tensor:
    try:
        from skimage.feature import canny
    except ImportError as error:
        raise RuntimeError(f"control pictures of edges need scikit-image: {advice('mesh', 'scikit-image')}") from error
    grey = picture.over(picture.opacity.new_full((3,), 0.5)).mean(-1).cpu()
    edges = torch.stack([torch.from_numpy(canny(view.numpy())) for view in grey])
    return edges[:, None].expand(-1, 3, -1, -1).to(picture.opacity)


CONTROL_PICTURES: dict[ControlKind, Callable[[Picture, Cameras], Tensor]] = dict(
    zip(get_args(ControlKind), (_normal, _depth, _canny), strict=True)
)
