"""The door for photographs: finds the convention, decodes the pictures, settles world frame, domain and near."""

import math
from collections import Counter
from functools import partial
from pathlib import Path

import torch

from volkit.data import colmap, llff, nerfstudio, transforms, video
from volkit.data.extent import Extent, find_extent, parse_domain
from volkit.data.listing import Listing, Reader, Shot, cameras_of
from volkit.data.photographs import Photographs
from volkit.data.pictures import Progress, read_mask, read_picture, read_pictures, size_of_picture
from volkit.data.video import read_frames
from volkit.data.world import align
from volkit.files.errors import FormatError
from volkit.geometry import Cameras
from volkit.typing import Tensor

__all__ = ["READERS", "load_photographs"]

# Tried in this order: a folder of LLFF or a video may hold a COLMAP model or a transforms.json that says more.
READERS: tuple[Reader, ...] = (video.READER, transforms.BLENDER, nerfstudio.READER, colmap.READER, llff.READER)
OTHER_SHAPE = 0.02  # of the ratio of sides: rounding of a shrunken picture stays under it


def load_photographs(
    path: Path | str,
    size: int | None = None,
    holdout: int | None = None,
    up: str | None = None,
    unit_scale: float | None = None,
    domain: str | None = None,
    progress: Progress | None = None,
) -> Photographs:
    """Read a dataset folder or file of any convention.

    `size` is the longest side in pixels (never enlarged); `holdout` N marks pictures 0, N, 2N, ... by name as test;
    `up` is the file's upward axis (`z`, `-y`, `0,1,0`), `unit_scale` metres per file unit, `domain` as
    `extent.parse_domain` reads it, world frame. Raises FormatError naming file, fact and fix.
    """
    if size is not None and size < 1:
        raise ValueError(f"size {size}: the longest side has at least 1 pixel")
    path = Path(path)
    listing = _reader(path).read(path)
    cameras, notes = _cameras(listing)
    cameras = cameras if size is None else cameras.resize(size)
    images, masks = _decoded(listing.shots, cameras, progress)
    cameras, points, world_from_file, frame_note = align(
        listing, cameras, up, 1.0 if unit_scale is None else unit_scale
    )
    if domain is not None:
        found = Extent(parse_domain(domain), 0.0, "domain as given")
    else:
        found = find_extent(cameras, images, listing, world_from_file, points)
    photographs = Photographs(
        cameras=cameras,
        images=images,
        names=tuple(shot.name for shot in listing.shots),
        split=tuple(shot.split for shot in listing.shots),
        domain=found.domain,
        near=found.near,
        masks=masks,
        points=points,
        notes=(*listing.notes, *notes, frame_note, found.note),
        world_from_file=world_from_file,
    )
    return photographs if holdout is None else photographs.held_out(holdout)


def _reader(path: Path) -> Reader:
    if not path.exists():
        raise FormatError(path, "no such file or folder", "check the path")
    for reader in READERS:
        if reader.owns(path):
            return reader
    known = ", ".join(reader.name for reader in READERS)
    raise FormatError(path, "is no dataset that is known here", f"give one of: {known}")


def _cameras(listing: Listing) -> tuple[Cameras, tuple[str, ...]]:
    """Cameras at the pictures' true sizes, file frame; a note counts those that the file listed otherwise."""
    sizes, rescaled = [], Counter()
    for shot in listing.shots:
        size = shot.size if shot.frame is not None else size_of_picture(shot.image, shot.size)
        if abs(math.log(size[0] * shot.size[1] / (size[1] * shot.size[0]))) > OTHER_SHAPE:
            fact = f"is {size[0]}x{size[1]} but listed as {shot.size[0]}x{shot.size[1]}: another shape"
            raise FormatError(shot.image, fact, "crop it back or correct the listed size")
        sizes.append(size)
        if size != shot.size:
            rescaled[f"listed {shot.size[0]}x{shot.size[1]}, found {size[0]}x{size[1]}"] += 1
    notes = tuple(f"intrinsics rescaled for {count} pictures: {what}" for what, count in rescaled.items())
    return cameras_of(listing.source, listing.shots, sizes), notes


def _decoded(
    shots: tuple[Shot, ...], cameras: Cameras, progress: Progress | None
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
    """All pictures at their cameras' sizes, all with alpha or none; an alpha channel that is opaque throughout goes."""
    sizes = [(int(width), int(height)) for width, height in cameras.size.tolist()]
    pairs = list(zip(shots, sizes, strict=True))
    if all(shot.frame is not None for shot in shots):
        images = read_frames(shots[0].image, [(shot.frame or 0, size) for shot, size in pairs], progress)
    else:
        images = read_pictures([partial(read_picture, shot.image, size, shot.size) for shot, size in pairs], progress)
    if any(image.shape[-1] == 4 and bool((image[..., 3] < 255).any()) for image in images):
        images = [_with_alpha(image) for image in images]
    else:
        images = [image[..., :3].contiguous() for image in images]
    masked = any(shot.mask is not None for shot in shots)
    masks = [None if shot.mask is None else read_mask(shot.mask, size) for shot, size in pairs] if masked else []
    return tuple(images), tuple(masks)


def _with_alpha(image: Tensor) -> Tensor:
    if image.shape[-1] == 4:
        return image
    return torch.cat([image, torch.full_like(image[..., :1], 255)], -1)
