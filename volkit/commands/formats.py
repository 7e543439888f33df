"""`volkit formats`: the table of file formats."""

from dataclasses import dataclass
from typing import Any

from volkit.io import describe
from volkit.progress import Progress

__all__ = ["FormatsJob"]


@dataclass(frozen=True)
class FormatsJob:
    """List the file formats: read or written, the kinds that they hold, their up axis, what they keep and lose.

    Scenes are turned to the up axis of the format, splats with their harmonics; --frame of volkit convert sets another.
    Example: volkit formats --json
    """

    def run(self, progress: Progress) -> dict[str, Any]:
        """The table, a row for each format."""
        return {"command": "formats", "formats": describe()}
