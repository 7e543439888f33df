"""A picture beside the words: what an IP-Adapter is told of it."""

from pathlib import Path

import torch

from volkit.data.pictures import picture_size, read_picture
from volkit.evaluation.evaluate import WHITE, composite_over
from volkit.guidance.pipeline import look
from volkit.typing import Float, Tensor

__all__ = ["image_prompt"]

IMAGE_ENCODER = "image_encoder"  # where the published IP-Adapters have the CLIP vision model that they see with


def image_prompt(adapter: Path, picture: Path, device: torch.device) -> Float[Tensor, "1 1 width"]:
    """A picture over white, as the CLIP vision model beside an IP-Adapter embeds it.

    FileNotFoundError where there is no such model, FormatError for what is no picture.
    """
    pixels = composite_over(read_picture(picture, picture_size(picture)), WHITE)
    return look(adapter.parent / IMAGE_ENCODER, pixels[None].to(device))
