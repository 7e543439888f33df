"""How answers become pictures."""

from volkit.rendering.picture import Picture
from volkit.rendering.renderer import Renderer, render, renderer_for
from volkit.rendering.volume import Integral, VolumeRenderer, integrate, render_rays

__all__ = ["Integral", "Picture", "Renderer", "VolumeRenderer", "integrate", "render", "render_rays", "renderer_for"]
