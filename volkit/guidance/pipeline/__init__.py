"""Priors from pipelines in the format of diffusers, local folders or from the hub."""

from volkit.guidance.pipeline.additions import Additions, embed_pictures
from volkit.guidance.pipeline.lora import LoraPrior
from volkit.guidance.pipeline.prior import PipelinePrior, open_prior

__all__ = ["Additions", "LoraPrior", "PipelinePrior", "embed_pictures", "open_prior"]
