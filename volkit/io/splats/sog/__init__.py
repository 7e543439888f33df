"""PlayCanvas' SOG: splats as lossless WebP pictures and a page of JSON, in one archive or in a folder."""

from volkit.io.splats.sog.sog_file import FORMAT

__all__ = ["FORMAT"]
