"""How answers become pictures."""

from volkit.render.picture import Picture
from volkit.render.renderer import Renderer, renderer_for
from volkit.render.volume import Integral, VolumeRenderer, integrate, render_rays

__all__ = ["Integral", "Picture", "Renderer", "VolumeRenderer", "integrate", "render_rays", "renderer_for"]
