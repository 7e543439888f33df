"""The one switch over kinds: which renderer draws a representation."""

from typing import Any, Protocol

from volkit.geometry import Cameras
from volkit.rendering.picture import Picture
from volkit.rendering.splatting import SplatRenderer
from volkit.rendering.surface import MeshRenderer
from volkit.rendering.volume import VolumeRenderer
from volkit.representations.field import Field
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Representation
from volkit.representations.splats import Splats

__all__ = ["Renderer", "renderer_for"]


class Renderer(Protocol):
    """Draws a representation as cameras of the world see it."""

    def __call__(self, subject: Any, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]`, world frame and unit; `Picture.over` lays them over a background."""
        ...


def renderer_for(representation: Representation, *, step_scale: float = 1.0, normals: bool = False) -> Renderer:
    """The renderer that suits a representation; TypeError where there is none.

    `step_scale` scales the steps of fields.
    """
    if isinstance(representation, Field):
        return VolumeRenderer(step_scale, normals=normals)
    if isinstance(representation, Splats):
        return SplatRenderer(normals)
    if isinstance(representation, Mesh):
        return MeshRenderer()
    raise TypeError(f"no renderer draws a {type(representation).__name__}: fields, splats and meshes can be rendered")
