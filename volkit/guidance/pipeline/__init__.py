"""Real priors: folders in the format of diffusers, local or from the hub."""

from volkit.guidance.pipeline.lora import LoraPrior
from volkit.guidance.pipeline.prior import PipelinePrior, open_prior

__all__ = ["LoraPrior", "PipelinePrior", "open_prior"]
