"""Snapshots of NVlabs/instant-ngp (`.ingp`, `.msgpack`), read and written."""

from volkit.io.fields.instant_ngp.container import sniff
from volkit.io.fields.instant_ngp.reader import read
from volkit.io.fields.instant_ngp.writer import write

__all__ = ["read", "sniff", "write"]
