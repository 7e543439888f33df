"""Pictures, the results of renderers: named channels, opacity, depth, normals."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch

from volkit.geometry import Cameras
from volkit.typing import Float, Tensor

__all__ = ["Picture", "one_size"]


@dataclass(frozen=True)
class Picture:
    """Rendered rays or whole pictures: leading axes are `ray`, or `camera height width`.

    Channels are premultiplied by opacity: over a background b the colour is `rgb + (1 - opacity) b`. Depth is the
    distance along the unit ray: `depth` the expected one divided by opacity, `median` where transmittance falls to one
    half (inf where it does not). Normals are unit, world frame, facing the camera; zero in empty pixels.

    Attributes:
        channels: `rgb`, and the further channels of the scene, each premultiplied by opacity.
        opacity: 0 in empty pixels, 1 where the background is hidden.
        depth: expected distance along the unit ray, in the frame's unit.
        median: distance at which transmittance is one half.
        normal: unit, facing the camera.

    Example:
        >>> clear = Picture({"rgb": torch.zeros(1, 3)}, torch.zeros(1), torch.zeros(1))
        >>> clear.over(torch.ones(3))
        tensor([[1., 1., 1.]])
    """

    channels: dict[str, Float[Tensor, "*pixel channel"]]
    opacity: Float[Tensor, "*pixel"]
    depth: Float[Tensor, "*pixel"]
    median: Float[Tensor, "*pixel"] | None = None
    normal: Float[Tensor, "*pixel 3"] | None = None

    @property
    def rgb(self) -> Float[Tensor, "*pixel 3"]:
        """Premultiplied colour, display-referred."""
        return self.channels["rgb"]

    def over(self, background: Float[Tensor, "*pixel 3"] | Float[Tensor, "3"]) -> Float[Tensor, "*pixel 3"]:
        """Colour over a background: `rgb + (1 - opacity) background`."""
        return self.rgb + (1.0 - self.opacity)[..., None] * background

    def map(self, change) -> Self:
        """The picture with a function applied to every tensor (reshape, slice, move to a device)."""
        members = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "channels"}
        new = {name: None if member is None else change(member) for name, member in members.items()}
        return replace(self, channels={name: change(value) for name, value in self.channels.items()}, **new)

    @staticmethod
    def cat(parts: "list[Picture]") -> "Picture":
        """Concatenate along the first axis."""
        first = parts[0]
        names = [f.name for f in fields(Picture) if f.name != "channels" and getattr(first, f.name) is not None]
        channels = {name: torch.cat([part.channels[name] for part in parts]) for name in first.channels}
        return Picture(channels, **{name: torch.cat([getattr(part, name) for part in parts]) for name in names})


def one_size(cameras: Cameras) -> tuple[int, int]:
    """Width and height that all cameras share; ValueError where they differ, as one tensor holds one size."""
    if len(cameras.size.unique(dim=0)) != 1:
        raise ValueError("render: cameras of one call must share one size; render them one by one")
    width, height = cameras.size[0].tolist()
    return width, height
