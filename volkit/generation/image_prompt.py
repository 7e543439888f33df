"""Picture prompts of IP-Adapters."""

from pathlib import Path

import torch

from volkit.data.pictures import read_picture, size_of_picture
from volkit.evaluation.evaluate import WHITE, composite_over
from volkit.guidance.pipeline import embed_pictures
from volkit.typing import Float, Tensor

__all__ = ["image_prompt"]

IMAGE_ENCODER = "image_encoder"  # folder of the CLIP vision model beside the published IP-Adapters


def image_prompt(adapter: Path, picture: Path, device: torch.device) -> Float[Tensor, "1 1 width"]:
    """The embedding of a picture, over white, by the CLIP vision model beside an IP-Adapter.

    FileNotFoundError where there is no such model, FormatError where the file is no picture.
    """
    pixels = composite_over(read_picture(picture, size_of_picture(picture)), WHITE)
    return embed_pictures(adapter.parent / IMAGE_ENCODER, pixels[None].to(device))
