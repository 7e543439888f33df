"""Pictures in 8 bits a channel."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["in_8_bits"]


def in_8_bits(image: "Image.Image") -> "Image.Image":
    """A Pillow image whose grey values of 16 bits, or floats in [0, 1], are rounded to 8; others as they are.

    Pillow's own `convert` cuts such values off at 255 instead, so that a grey of 16 bits turns white.
    """
    from PIL import Image

    if image.mode == "F":
        values = np.asarray(image, np.float64).clip(0.0, 1.0)
    elif image.mode == "I" or image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.float64).clip(0.0, 65535.0) / 65535.0
    else:
        return image
    return Image.fromarray((255.0 * values).round().astype(np.uint8))
