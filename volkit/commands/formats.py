"""`volkit formats`: which files are read and written, and what each of them keeps."""

from dataclasses import dataclass
from typing import Any

from volkit.io import describe
from volkit.progress import Progress

__all__ = ["FormatsJob"]


@dataclass(frozen=True)
class FormatsJob:
    """Say which files are read and written, what may be in them, what is up, what they keep and lose.

    Coordinates are turned to what is up in the format, splats with their harmonics; --frame of volkit convert overrules
    it. Example: volkit formats --json
    """

    def run(self, progress: Progress) -> dict[str, Any]:
        """The table, a row for each format."""
        return {"command": "formats", "formats": describe()}
