"""Scenes, toy priors and the viewer that come with volkit: in a checkout, in a wheel, in the package of toy priors."""

from importlib.util import find_spec
from pathlib import Path

from volkit.extras import TOYS, advice
from volkit.files.errors import FormatError

__all__ = ["TOY_PRIORS", "bundled_folder", "path_advice", "scene_folders", "viewer_page"]

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


def path_advice(path: Path) -> str:
    """What to do about a path where nothing is: the bundled scene of that name, if there is one."""
    found = next((folder / path.name for folder in scene_folders() if (folder / path.name).is_file()), None)
    return "check the path" if found is None else f"check the path; the bundled scene is {found}"


def viewer_page() -> bytes:
    """The viewer's page without scenes; ValueError where it was not built."""
    built = PACKAGE / "viewer" / "viewer.html"
    if not built.is_file():
        raise ValueError(
            "this volkit was built without its viewer; in a checkout run 'make viewer' (with Node.js 18 or later and"
            " npm), then install volkit from there again"
        )
    return built.read_bytes()
