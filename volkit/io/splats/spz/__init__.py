"""Niantic's `.spz`, versions 1 to 4: the container, the numbers in it, and the door of the table."""

from volkit.io.splats.spz.spz_file import read, sniff, write

__all__ = ["read", "sniff", "write"]
