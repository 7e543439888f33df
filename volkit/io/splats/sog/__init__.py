"""PlayCanvas' SOG: splats as lossless WebP pictures and a page of JSON, in one archive or in a folder."""

from volkit.io.splats.sog.sog_file import read, sniff, write

__all__ = ["read", "sniff", "write"]
