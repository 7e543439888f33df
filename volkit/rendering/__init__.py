"""Renderers: pictures of fields, splats and meshes; and cameras around a scene."""

from volkit.rendering.analytic import AnalyticRenderer
from volkit.rendering.orbits import ViewPath, Viewpoint, cameras_around, orbit_path
from volkit.rendering.picture import Picture
from volkit.rendering.renderer import Renderer, render, renderer_for
from volkit.rendering.splatting import SplatRenderer
from volkit.rendering.surface import MeshRenderer
from volkit.rendering.volume import Integral, VolumeRenderer, integrate, render_rays

__all__ = [
    "AnalyticRenderer",
    "Integral",
    "MeshRenderer",
    "Picture",
    "Renderer",
    "SplatRenderer",
    "ViewPath",
    "Viewpoint",
    "VolumeRenderer",
    "cameras_around",
    "integrate",
    "orbit_path",
    "render",
    "render_rays",
    "renderer_for",
]
