"""3D Gaussians on a picture plane: `project` each to an ellipse and a colour, then `blend` them near to far."""

from volkit.ops.splat.blend import Blended, blend
from volkit.ops.splat.project import Projected, SplatView, project

__all__ = ["Blended", "Projected", "SplatView", "blend", "project"]
