"""PlayCanvas' SOG: splats as lossless WebP images and a `meta.json`, in an archive or in a folder."""

from volkit.io.splats.sog.sog_file import read, sniff, write

__all__ = ["read", "sniff", "write"]
