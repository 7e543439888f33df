"""`render`, and the table of renderers by kind of scene."""

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


Scene = TypeVar("Scene", bound=Representation, contravariant=True)


class Renderer(Protocol[Scene]):
    """A function that renders scenes of one kind from world-frame cameras; `renderer_for` chooses it."""

    def __call__(self, scene: Scene, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]`, world frame and unit; `Picture.over` composites them on a background."""
        ...


def render(
    scene: Representation,
    cameras: Cameras,
    *,
    channels: Sequence[str] | None = None,
    normals: bool = False,
    step_scale: float = 1.0,
) -> Picture:
    """Render a scene of any kind to tensors `[camera, height, width]` of colour, opacity, depth and further channels.

    Colour, opacity and depth are differentiable, where torch's gradients are enabled and an input requires them:

    - fields: in whatever their density and channels depend on, and in the cameras' poses and intrinsics, but not
      through the positions of samples along a ray;
    - splats: in all parameters and in poses, not in intrinsics;
    - meshes: in vertices, uv, float textures and colours, poses and intrinsics.

    Args:
        scene: field, splats or mesh.
        cameras: world frame, of one size; they may lie on another device.
        channels: names of the channels to return; None: all of the scene's.
        normals: whether to add unit normals of fields and splats; meshes always have them.
        step_scale: factor of the steps through a field; 2 is faster and coarser.

    Raises:
        ValueError: cameras differ in size, or a channel does not exist.
        TypeError: there is no renderer for the scene.

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

    Args:
        representation: a field, splats or a mesh.
        step_scale: factor of the steps through a field.
        normals: whether pictures of fields and splats have normals.
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
