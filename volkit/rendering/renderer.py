"""The one switch over kinds: which renderer draws a representation; and the verb over it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from volkit.geometry import Cameras
from volkit.rendering.analytic import AnalyticRenderer
from volkit.rendering.picture import Picture
from volkit.rendering.splatting import SplatRenderer
from volkit.rendering.surface import MeshRenderer
from volkit.rendering.volume import VolumeRenderer
from volkit.representations.analytic import AnalyticField
from volkit.representations.field import Field
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Representation
from volkit.representations.splats import Splats

__all__ = ["Renderer", "render", "renderer_for"]


Subject = TypeVar("Subject", bound=Representation, contravariant=True)


class Renderer(Protocol[Subject]):
    """Draws representations of one kind as cameras of the world see them."""

    def __call__(self, subject: Subject, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]`, world frame and unit; `Picture.over` lays them over a background."""
        ...


def render(
    scene: Representation,
    cameras: Cameras,
    *,
    channels: Sequence[str] | None = None,
    normals: bool = False,
    step_scale: float = 1.0,
) -> Picture:
    """Draw a scene of any kind: tensors `[camera, height, width]` of colour, opacity, depth and what else it has.

    `channels` names the channels that are wanted, by default all of the scene's; `normals` adds unit normals of fields
    and splats (of meshes they are always there); `step_scale` scales the steps through a field, 2 being faster and
    coarser. Cameras are of the world frame, share one size, and may lie on another device.

    Differentiable, where torch's gradients are enabled and anything requires them, in colour, opacity and depth:

    - fields: in whatever their answers depend on, and in the cameras' poses and intrinsics. Where samples lie has no
      gradient: a step is finer than what it would tell;
    - splats: in all parameters and in poses; not in intrinsics;
    - meshes: in vertices, uv, float textures and colours, poses and intrinsics.

    Raises ValueError where cameras differ in size or a channel is not there, TypeError for what cannot be drawn.

    Example:
        >>> picture = render(scene, Camera.look_at((2, 0, 1), size=(256, 256)))  # doctest: +SKIP
        >>> picture.over(torch.ones(3)).mean().backward()  # doctest: +SKIP
    """
    picture = renderer_for(scene, step_scale=step_scale, normals=normals)(scene, cameras.to(scene.device))
    if channels is None:
        return picture
    if missing := [name for name in channels if name not in picture.channels]:
        raise ValueError(f"render: the scene has no channel '{missing[0]}': it has {', '.join(picture.channels)}")
    return replace(picture, channels={name: picture.channels[name] for name in channels})


def renderer_for(representation: Representation, *, step_scale: float = 1.0, normals: bool = False) -> Renderer[Any]:
    """The renderer that suits a representation, by the table `RENDERERS`; TypeError where there is none.

    `step_scale` scales the steps of fields.
    """
    made = next((RENDERERS[kind] for kind in type(representation).__mro__ if kind in RENDERERS), None)
    if made is None:
        name = type(representation).__name__
        raise TypeError(f"no renderer draws a {name}: fields, splats and meshes can be rendered")
    return made(step_scale, normals)


# By the class of a scene, its nearest one first; of the scale of steps and whether normals are wanted.
RENDERERS: dict[type, Callable[[float, bool], Renderer[Any]]] = {
    AnalyticField: lambda step_scale, normals: AnalyticRenderer(step_scale, normals=normals),
    Field: lambda step_scale, normals: VolumeRenderer(step_scale, normals=normals),
    Splats: lambda step_scale, normals: SplatRenderer(normals),
    Mesh: lambda step_scale, normals: MeshRenderer(),
}
