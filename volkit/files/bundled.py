"""What comes with volkit: scenes and a small prior, in a checkout as in an installed wheel."""

from pathlib import Path

from volkit.files.errors import FormatError

__all__ = ["bundled_folder", "scene_folders"]


def scene_folders() -> list[Path]:
    """Where the bundled scenes lie."""
    package = Path(__file__).parents[1]
    return [folder for folder in (package / "scenes", package.parent / "scenes") if folder.is_dir()]


def bundled_folder(name: str) -> Path:
    """A folder among the bundled scenes, by its path there."""
    for folder in scene_folders():
        if (folder / name).is_dir():
            return folder / name
    raise FormatError(name, "did not come with this volkit", "name a folder of your own")
