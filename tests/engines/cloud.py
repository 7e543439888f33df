"""A lump of splats of all colours and sizes, with sheen."""

import torch

from volkit.geometry import Domain
from volkit.representations import Splats, SplatsConfig


def cloud(count: int = 1500, degree: int = 3, mip: bool = False, surfels: bool = False) -> Splats:
    """About as wide as the unit ball, most of it opaque."""
    generator = torch.Generator().manual_seed(0)
    splats = SplatsConfig(count, degree, mip, surfels).build(Domain.cube(1.0), generator)
    spread = {"means": 0.5, "quaternions": 1.0, "log_scales": 0.5, "logits": 2.0, "sh_dc": 0.7, "sh_rest": 0.2}
    with torch.no_grad():
        for name, parameter in splats.named_parameters():
            parameter.copy_(spread[name] * torch.randn(parameter.shape, generator=generator))
        splats.log_scales.sub_(3.0)
    return splats
