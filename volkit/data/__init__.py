"""Posed photographs: a reader per convention, `Photographs` for all of them."""

from volkit.data.load import load_photographs
from volkit.data.photographs import Photographs

__all__ = ["Photographs", "load_photographs"]
