"""NeRF-Synthetic scenes: `transforms_train.json`, `transforms_val.json`, `transforms_test.json` (Mildenhall 2020)."""

from pathlib import Path

from volkit.data.listing import Listing, Reader, existing
from volkit.data.transforms import read_transforms, shots_from

__all__ = ["READER"]

SPLITS = ("train", "val", "test")


def _files(path: Path) -> list[tuple[str, Path]]:
    """The split files at a path; other names such as `transforms_test_all200.json` are no splits."""
    if path.is_dir():
        files = [(split, path / f"transforms_{split}.json") for split in SPLITS]
        return [(split, file) for split, file in files if file.is_file()]
    return [(split, path) for split in SPLITS if path.name == f"transforms_{split}.json"]


def _read(path: Path) -> Listing:
    shots = []
    for split, file in _files(path):
        shots += shots_from(file, read_transforms(file), split)
    kept, notes = existing(path, shots)
    return Listing(path, kept, notes=notes)


READER = Reader("blender", owns=lambda path: bool(_files(path)), read=_read)
