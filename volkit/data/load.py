"""`load_photographs`: recognise the convention, decode the pictures, find world frame, domain and near distance."""

import math
from collections import Counter
from functools import partial
from pathlib import Path

import torch

from volkit.data import colmap, llff, transforms, video
from volkit.data.extent import Extent, find_extent, parse_domain
from volkit.data.listing import Listing, Reader, Shot, build_cameras
from volkit.data.photographs import Photographs
from volkit.data.pictures import Progress, picture_size, read_mask, read_picture, read_pictures
from volkit.data.video import read_frames
from volkit.data.world import align
from volkit.files.bundled import path_advice
from volkit.files.errors import FormatError
from volkit.geometry import Cameras
from volkit.typing import Tensor

__all__ = ["READERS", "load_photographs"]

# In this order: where a folder follows several conventions, the one that says more comes first.
READERS: tuple[Reader, ...] = (video.READER, transforms.BLENDER, transforms.NERFSTUDIO, colmap.READER, llff.READER)
MAX_ASPECT_DIFFERENCE = 0.02  # of aspect ratios, as logarithm; rounding of downscaled sizes stays below


def load_photographs(
    path: Path | str,
    size: int | None = None,
    holdout: int | None = None,
    up: str | None = None,
    unit_scale: float | None = None,
    domain: str | None = None,
    progress: Progress | None = None,
) -> Photographs:
    """Read a folder or file of posed photographs: COLMAP, nerfstudio, instant-ngp, Blender, LLFF, or a posed video.

    The world frame is +Z up, in metres where `unit_scale` (metres per unit of the file) is given. `size` limits the
    longest side in pixels; pictures are never enlarged. `holdout` N puts pictures 0, N, 2N, ... by name into the test
    split. `up` is the file's up axis (`z`, `-y` or `0,1,0`); by default what the file says, else the cameras' mean.
    `domain` is `x0,y0,z0,x1,y1,z1` in the world frame, with `:contracted` for unbounded scenes; by default it is found
    from cameras, points and transparency. `progress(done, total)` is called for each picture. Raises FormatError, which
    names the file, the fact and the fix; ValueError for parameters.

    >>> photos = load_photographs("room/", size=800, holdout=8)
    """
    if size is not None and size < 1:
        raise ValueError(f"size {size}: give the longest side in pixels, at least 1")
    path = Path(path)
    listing = _choose_reader(path).read(path)
    cameras, notes = _cameras(listing)
    cameras = cameras if size is None else cameras.resize(size)
    images, masks = _decode(listing.shots, cameras, progress)
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
    return photographs if holdout is None else photographs.hold_out(holdout)


def _choose_reader(path: Path) -> Reader:
    if not path.exists():
        raise FormatError(path, "no such file or folder", path_advice(path))
    for reader in READERS:
        if reader.matches(path):
            return reader
    known = ", ".join(reader.name for reader in READERS)
    raise FormatError(path, "is not a dataset of a known convention", f"give one of: {known}")


def _cameras(listing: Listing) -> tuple[Cameras, tuple[str, ...]]:
    """Cameras for the pictures' actual sizes, file frame; a note counts those that the file lists differently."""
    sizes, rescaled = [], Counter()
    for shot in listing.shots:
        size = shot.size if shot.frame is not None else picture_size(shot.image, shot.size)
        if abs(math.log(size[0] * shot.size[1] / (size[1] * shot.size[0]))) > MAX_ASPECT_DIFFERENCE:
            fact = f"is {size[0]}x{size[1]} but listed as {shot.size[0]}x{shot.size[1]}, another aspect ratio"
            raise FormatError(shot.image, fact, "crop it back or correct the listed size")
        sizes.append(size)
        if size != shot.size:
            rescaled[f"listed {shot.size[0]}x{shot.size[1]}, found {size[0]}x{size[1]}"] += 1
    notes = tuple(f"intrinsics rescaled for {count} pictures: {what}" for what, count in rescaled.items())
    return build_cameras(listing.source, listing.shots, sizes), notes


def _decode(
    shots: tuple[Shot, ...], cameras: Cameras, progress: Progress | None
) -> tuple[tuple[Tensor, ...], tuple[Tensor | None, ...]]:
    """All pictures at their cameras' sizes; they keep alpha, all of them, if any pixel of any is transparent."""
    sizes = [(int(width), int(height)) for width, height in cameras.size.tolist()]
    pairs = list(zip(shots, sizes, strict=True))
    if all(shot.frame is not None for shot in shots):
        images = read_frames(shots[0].image, [(shot.frame or 0, size) for shot, size in pairs], progress)
    else:
        images = read_pictures([partial(read_picture, shot.image, size, shot.size) for shot, size in pairs], progress)
    if any(image.shape[-1] == 4 and bool((image[..., 3] < 255).any()) for image in images):
        images = [_add_alpha(image) for image in images]
    else:
        images = [image[..., :3].contiguous() for image in images]
    masked = any(shot.mask is not None for shot in shots)
    masks = [None if shot.mask is None else read_mask(shot.mask, size) for shot, size in pairs] if masked else []
    return tuple(images), tuple(masks)


def _add_alpha(image: Tensor) -> Tensor:
    if image.shape[-1] == 4:
        return image
    return torch.cat([image, torch.full_like(image[..., :1], 255)], -1)
