"""Scenes and toy priors that come with volkit, in a checkout, in a wheel, and in the separate package of toy priors."""

from importlib.util import find_spec
from pathlib import Path

from volkit.extras import TOYS, advice
from volkit.files.errors import FormatError

__all__ = ["TOY_PRIORS", "bundled_folder", "scene_folders"]

TOY_PRIORS = "toy_prior/"  # prefix of bundled priors; no repository of the hub has it
PACKAGE = Path(__file__).parents[1]


def scene_folders() -> list[Path]:
    """Folders with bundled scenes and priors: of the wheel, of the checkout, of the package of toy priors."""
    toys = find_spec("volkit_toys")
    apart = (toys and toys.submodule_search_locations) or ()
    places = [PACKAGE / "scenes", PACKAGE.parent / "scenes", *map(Path, apart)]
    return [folder for folder in places if folder.is_dir()]


def bundled_folder(name: str) -> Path:
    """The path of a bundled folder such as `toy_prior/pixels32`; FormatError, with the fix, where it is missing."""
    for folder in scene_folders():
        if (folder / name).is_dir():
            return folder / name
    if name.startswith(TOY_PRIORS):
        raise FormatError(name, "is not installed: all toy priors but pixels32 are in a separate package", advice(TOYS))
    raise FormatError(name, "is not bundled with volkit", "name a folder of your own")
