"""`transforms.json` of nerfstudio and instant-ngp.

Facts: nerfstudio's data conventions page and dataparser; instant-ngp's nerf_loader.h for scale, offset, aabb_scale.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from volkit.data.listing import Listing, Reader, Shot, existing, triple
from volkit.data.transforms import number, picture_name, read_transforms, shots_from
from volkit.files.errors import FormatError
from volkit.geometry import Domain

__all__ = ["READER"]

SPLITS = ("train", "val", "test")
NGP_SCALE, NGP_OFFSET = 0.33, 0.5  # instant-ngp's defaults: ngp = scale * file + offset


def _file(path: Path) -> Path:
    return path / "transforms.json" if path.is_dir() else path


def _owns(path: Path) -> bool:
    file = _file(path)
    return file.suffix == ".json" and file.is_file()


def _read(path: Path) -> Listing:
    file = _file(path)
    document = read_transforms(file)
    shots, split_notes = _with_splits(document, shots_from(file, document))
    kept, missing = existing(file, shots)
    notes = [*missing, *split_notes]
    box = _box(file, document)
    if box is not None:
        shown = ", ".join(f"{low:.2f}..{high:.2f}" for low, high in zip(box.lower, box.upper, strict=True))
        notes.append(f"the file's own aabb_scale means the box {shown}")
    if "applied_transform" in document:
        notes.append("the file's applied_transform is kept: poses stay as the file has them")
    return Listing(file, kept, box=box, notes=tuple(notes))


def _with_splits(document: dict[str, Any], shots: list[Shot]) -> tuple[list[Shot], list[str]]:
    split_of = {}
    for split in SPLITS:
        names = document.get(f"{split}_filenames")
        if isinstance(names, list):
            split_of.update({picture_name(name): split for name in names if isinstance(name, str)})
    if not split_of:
        return shots, []
    kept = [replace(shot, split=split_of[shot.name]) for shot in shots if shot.name in split_of]
    left = len(shots) - len(kept)
    return kept, [f"{left} frames stand in no split of the file and are skipped"] if left else []


def _box(file: Path, document: dict[str, Any]) -> Domain | None:
    """The cube of side aabb_scale around 0.5 in instant-ngp's frame, taken back to the file's."""
    side = number(file, document, "aabb_scale")
    if side is None:
        return None
    scale = number(file, document, "scale", NGP_SCALE)
    offset = document.get("offset", NGP_OFFSET)
    offsets = offset if isinstance(offset, list) else [offset] * 3
    if not scale or scale < 0 or side <= 0 or len(offsets) != 3:
        raise FormatError(file, "aabb_scale, scale or offset make no box", "repair or remove them")
    values = [number(file, {"offset": value}, "offset") or 0.0 for value in offsets]
    centre = [(0.5 - value) / scale for value in values]
    half = 0.5 * side / scale
    return Domain(triple(c - half for c in centre), triple(c + half for c in centre))


READER = Reader("nerfstudio", owns=_owns, read=_read)
