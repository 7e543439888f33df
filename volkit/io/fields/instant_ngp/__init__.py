"""Snapshots of NVlabs/instant-ngp (`.ingp`, `.msgpack`), read and written."""

from volkit.io.fields.instant_ngp.reader import FORMAT

__all__ = ["FORMAT"]
