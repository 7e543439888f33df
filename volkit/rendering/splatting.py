"""The renderer of splats."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.geometry import Cameras, rotations_of
from volkit.geometry.lens import PINHOLE
from volkit.ops.splat import Projected, SplatView, blend, project
from volkit.rendering.picture import Picture, one_size
from volkit.rendering.through_lens import LensMap, lens_map
from volkit.representations.splats import Splats
from volkit.typing import Float, Tensor

__all__ = ["SplatRenderer", "splat_view"]

NEAR_SHARE = 0.003  # of the diagonal of the scene's own box: in a box of edge 2 about gsplat's 0.01


def splat_view(splats: Splats, cameras: Cameras, index: int) -> SplatView:
    """One camera in the splats' local frame; ValueError for a lens with distortion."""
    if cameras.lens != PINHOLE:
        raise ValueError(f"splats are drawn by pinhole cameras, not through a {cameras.lens.model} lens")
    place = splats.world_from_local.inverse()
    pose = cameras[[index]].transform(place).world_from_camera[0]
    rotation = pose[:, :3].T
    camera_from_local = torch.cat([rotation, -(rotation @ pose[:, 3:])], 1)
    fx, fy, cx, cy = cameras.intrinsics[index].tolist()
    width, height = cameras.size[index].tolist()
    near = NEAR_SHARE * splats.domain.diagonal
    if splats.capture is not None:  # no matter is closer to its cameras: splats there are floaters
        near = max(near, 0.5 * splats.capture.near / splats.world_from_local.scale)
    return SplatView(camera_from_local, (fx, fy, cx, cy), (width, height), near, splats.config.mip)


@dataclass(frozen=True)
class SplatRenderer:
    """Renders splats, in world frame and unit.

    Depth is that of the splats' centres; of surfels, that of the intersection with each pixel's ray. A splat's normal
    is its shortest axis, a surfel's that of its plane.

    Differentiable in all parameters and in the cameras' poses; not in intrinsics and lenses, which the projection takes
    as numbers, nor through the median of depth.

    Attributes:
        normals: whether pictures have normals.
    """

    normals: bool = False

    def __call__(self, scene: Splats, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]` of cameras that share one size."""
        one_size(cameras)
        return Picture.cat([self._view(scene, cameras, index) for index in range(len(cameras))])

    def _view(self, scene: Splats, cameras: Cameras, index: int) -> Picture:
        if cameras.lens == PINHOLE:
            return self._pinhole(scene, cameras, index)
        lens = lens_map(cameras, index)
        return lens.warp(self._pinhole(scene, lens.camera, 0))

    def render_features(
        self,
        scene: Splats,
        cameras: Cameras,
        index: int,
        feature: Float[Tensor, "splat channel"],
        lens: LensMap | None = None,
    ) -> tuple[Float[Tensor, "height width channel"], Float[Tensor, "height width"], Projected]:
        """Colours followed by a feature of each splat, opacity, and the projected splats, for training.

        Channels are premultiplied; `lens` is `lens_map(cameras, index)`, if it is known already.
        """
        if cameras.lens != PINHOLE:
            lens = lens or lens_map(cameras, index)
            cameras, index = lens.camera, 0
        view = splat_view(scene, cameras, index)
        flat = project(*scene.columns, view=view)
        channels = torch.cat([flat.colours, feature], 1)
        blended = blend(flat.means, flat.shapes, flat.opacities, flat.depths, channels, flat.extents, view.size)
        if lens is None:
            return blended.channels, blended.opacity, flat
        return lens.resample(blended.channels[None])[0], lens.resample(blended.opacity[None])[0], flat

    def _pinhole(self, scene: Splats, cameras: Cameras, index: int) -> Picture:
        view = splat_view(scene, cameras, index)
        flat = project(*scene.columns, view=view)
        channels = torch.cat([flat.colours, _normals(scene, view)], 1) if self.normals else flat.colours
        blended = blend(
            flat.means, flat.shapes, flat.opacities, flat.depths, channels, flat.extents, view.size, depth=True
        )
        assert blended.median is not None
        rgb, *rest, depth = blended.channels.split([3, 3, 1] if self.normals else [3, 1], -1)
        slant = _slant(view, depth) * scene.world_from_local.scale
        expected = depth[..., 0] / blended.opacity.clamp_min(1e-6) * slant
        normal = functional.normalize(scene.world_from_local.vectors(rest[0]), dim=-1)[None] if rest else None
        median = torch.where(blended.opacity >= 0.5, blended.median * slant, torch.inf)
        return Picture({"rgb": rgb[None]}, blended.opacity[None], expected[None], median[None], normal)


def _slant(view: SplatView, like: Tensor) -> Float[Tensor, "height width"]:
    """Distance along a pixel's ray for each unit along the viewing axis."""
    fx, fy, cx, cy = view.intrinsics
    width, height = view.size
    x = (torch.arange(width, device=like.device, dtype=like.dtype) + 0.5 - cx) / fx
    y = (torch.arange(height, device=like.device, dtype=like.dtype) + 0.5 - cy) / fy
    return (1.0 + x[None, :].square() + y[:, None].square()).sqrt()


def _normals(splats: Splats, view: SplatView) -> Float[Tensor, "splat 3"]:
    """Shortest axes, local frame, facing the camera; of surfels the third, which has no scale."""
    turn = rotations_of(splats.quaternions)
    if splats.config.surfels:
        normal = turn[:, :, 2]
    else:
        normal = turn[torch.arange(len(splats), device=turn.device), :, splats.log_scales.argmin(-1)]
    centre = -view.camera_from_world[:, :3].T @ view.camera_from_world[:, 3]
    away = ((splats.means - centre) * normal).sum(-1, keepdim=True) > 0
    return torch.where(away, -normal, normal)
