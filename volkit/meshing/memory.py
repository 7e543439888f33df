"""How much memory there is for more."""

import os
from pathlib import Path

__all__ = ["free_memory"]


def free_memory() -> int:
    """Bytes that can be had without swapping, where the system tells (Linux's MemAvailable), else all that it has."""
    table = Path("/proc/meminfo")
    if table.exists():
        lines = dict(line.split(":") for line in table.read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
