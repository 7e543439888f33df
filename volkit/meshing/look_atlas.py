"""Painting what faces show into one texture: patches with what continues them, packed into an atlas."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from volkit.geometry.colour import bytes_from_linear, linear_from_bytes
from volkit.representations.material import Wrap
from volkit.representations.mesh import Look

__all__ = [
    "LookPart",
    "corner_colours",
    "is_flat",
    "look_of",
    "paint_atlas",
    "part_image",
    "part_uv",
]

GUTTER = 2  # texels about every patch of an atlas: bilinear samples at its border see what continues it
MAX_ATLAS = 1 << 13  # texels a side
GRADIENT_PATCH = 8  # texels a side of the patch of a face with colours at its corners and no image, at first
SMALLEST_GRADIENT = 2
ROUGH = np.array([255, 255, 0], np.uint8)  # roughness 1 and metalness 0, where a part says nothing


@dataclass(frozen=True)
class LookPart:
    """Faces of one material: an image by uv, times colours at corners, or either of the two.

    Attributes:
        rows: `[face]`, of the mesh.
        uv: `[face, 3, 2]`, of image and finish.
        image: `[height, width, 4]`, display-referred bytes and alpha.
        colours: `[face, 3, 4]`, display-referred bytes and alpha; with an image they multiply it in linear light.
        finish: `[height, width, 3]`, roughness in green, metalness in blue.
        wrap: what continues the image in u and in v.
    """

    rows: np.ndarray
    uv: np.ndarray | None = None
    image: np.ndarray | None = None
    colours: np.ndarray | None = None
    finish: np.ndarray | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


def corner_colours(part: LookPart) -> np.ndarray:
    """Colours [face, 3, 4] of a part, white where it has none."""
    return np.full((len(part.rows), 3, 4), 255, np.uint8) if part.colours is None else part.colours


def part_uv(part: LookPart) -> np.ndarray:
    """Uv [face, 3, 2] of a part, zeros where it has none."""
    return np.zeros((len(part.rows), 3, 2)) if part.uv is None else part.uv


def part_image(part: LookPart) -> np.ndarray:
    """The image of a part; of one without, its colour, as one texel."""
    return corner_colours(part)[:1, :1] if part.image is None else part.image


def is_flat(part: LookPart) -> bool:
    """Whether the colours at its corners add nothing to its image, or are one colour without an image."""
    if part.colours is None:
        return True
    return bool((part.colours == (255 if part.image is not None else part.colours[:1, :1])).all())


def look_of(corner_uv: np.ndarray, image: np.ndarray, finish: np.ndarray | None) -> Look:
    """One texture by the uv of corners, its finish where it says something."""
    said = finish is not None and bool((finish[..., 1:] != ROUGH[1:]).any())
    return Look.of_texture(
        torch.from_numpy(corner_uv.astype(np.float32)),
        torch.from_numpy(np.ascontiguousarray(image)),
        torch.from_numpy(np.ascontiguousarray(finish)) if said else None,
    )


@dataclass(frozen=True)
class _Patch:
    """A rectangle of an atlas: texels, and which corners of which faces lie where, in texels from its upper left."""

    image: np.ndarray  # [height, width, 4]
    finish: np.ndarray | None  # [height, width, 3]
    faces: np.ndarray  # rows of the mesh
    corners: np.ndarray  # [face, 3, 2]


def paint_atlas(parts: Sequence[LookPart], faces: int) -> tuple[Look, str]:
    """One texture of all parts, and a line on it."""
    for shrink in (1, 2, 4, 8, 16, 32, 64):  # half as fine each time, until it fits
        try:
            patches = _all_patches(parts, shrink)
        except _TooLargeError:
            continue
        places, size = _pack([patch.image.shape[:2] for patch in patches])
        if max(size) <= MAX_ATLAS:
            break
    else:
        raise ValueError(f"its {len(parts)} looks do not fit one texture of {MAX_ATLAS} x {MAX_ATLAS} texels")
    atlas = np.zeros((*size, 4), np.uint8)
    with_finish = any(patch.finish is not None for patch in patches)
    finish = np.tile(ROUGH, (*size, 1)) if with_finish else None
    corner_uv = np.zeros((faces, 3, 2))
    for patch, (top, left) in zip(patches, places, strict=True):
        height, width = patch.image.shape[:2]
        rows, columns = slice(top, top + height), slice(left, left + width)
        atlas[rows, columns] = patch.image
        if finish is not None and patch.finish is not None:
            finish[rows, columns] = patch.finish
        corner_uv[patch.faces] = (patch.corners + np.array([left, top])) / np.array([size[1], size[0]])
    finer = "" if shrink == 1 else f", {shrink} times as coarse as they were"
    texture = f"of {size[1]} x {size[0]} texels{finer}"
    said = f"its {len(parts)} parts share one texture {texture}"
    if len(parts) == 1:
        said = f"its texture is painted anew {texture}, with vertex colours over it or what continues it"
    return look_of(corner_uv, atlas, finish), said


class _TooLargeError(Exception):
    """Patches have more texels than an atlas."""


def _all_patches(parts: Sequence[LookPart], shrink: int) -> list[_Patch]:
    """The patches of all parts, `shrink` times as coarse as their images; _TooLargeError before too much is made."""
    patches, texels = [], 0
    for part in parts:
        for patch in _patches(_shrunk(part, shrink), max(SMALLEST_GRADIENT, GRADIENT_PATCH // shrink)):
            patches.append(patch)
            texels += patch.image.shape[0] * patch.image.shape[1]
            if texels > MAX_ATLAS**2:
                raise _TooLargeError
    return patches


def _shrunk(part: LookPart, times: int) -> LookPart:
    """The part with images of a fraction of the texels, means of squares of them."""
    if times == 1 or part.image is None:
        return part
    from PIL import Image

    def smaller(pixels: np.ndarray) -> np.ndarray:
        size = (max(1, pixels.shape[1] // times), max(1, pixels.shape[0] // times))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))

    finish = None if part.finish is None else smaller(part.finish)
    return replace(part, image=smaller(part.image), finish=finish)


def _patches(part: LookPart, gradient: int) -> Iterator[_Patch]:
    """What of an atlas a part needs; gradients have `gradient` texels a side."""
    if is_flat(part):
        image, finish = part_image(part), part.finish
        if finish is not None and image.shape[:2] == (1, 1):  # the finish needs its texels
            image = np.broadcast_to(image, (*finish.shape[:2], 4))
        uv = _moved_near_origin(part_uv(part), part.wrap)
        if image.shape[:2] == (1, 1):
            uv = np.full_like(uv, 0.5)
        yield _image_patch(image, finish, uv, part.wrap, part.rows)
    elif part.image is None:
        patch = _gradient_patch(corner_colours(part), part.rows, gradient)
        finish = None if part.finish is None else part.finish.mean((0, 1)).round().astype(np.uint8)
        yield patch if finish is None else replace(patch, finish=np.broadcast_to(finish, (*patch.image.shape[:2], 3)))
    else:
        for number, row in enumerate(part.rows):
            yield _face_patch(part, part.image, number, row)


def _moved_near_origin(uv: np.ndarray, wrap: tuple[Wrap, Wrap]) -> np.ndarray:
    """Corner uv of each face, moved by whole periods of the image to where they begin in the first."""
    periods = np.array([{"repeat": 1.0, "mirror": 2.0, "clamp": np.inf}[one] for one in wrap])
    lowest = uv.min(1, keepdims=True)
    return uv - np.where(np.isinf(periods), 0.0, np.floor(lowest / np.where(np.isinf(periods), 1.0, periods)) * periods)


def _image_patch(
    image: np.ndarray, finish: np.ndarray | None, uv: np.ndarray, wrap: tuple[Wrap, Wrap], rows: np.ndarray
) -> _Patch:
    """As much of an image and of what continues it as the uv reach, with a gutter."""
    size = np.array([image.shape[1], image.shape[0]])
    columns, lines = _reached(uv * size)
    own = image[_wrapped(lines, image.shape[0], wrap[1])][:, _wrapped(columns, image.shape[1], wrap[0])]
    found = None
    if finish is not None:
        high, wide = finish.shape[:2]
        line = (_wrapped(lines, image.shape[0], wrap[1]) + 0.5) * high / image.shape[0]
        column = (_wrapped(columns, image.shape[1], wrap[0]) + 0.5) * wide / image.shape[1]
        found = finish[line.astype(int)][:, column.astype(int)]
    return _Patch(own, found, rows, uv * size - (columns[0], lines[0]))


def _reached(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and lines of texels that corners reach, with a gutter; _TooLargeError for more than an atlas has."""
    flat = corners.reshape(-1, 2)
    low, end = np.floor(flat.min(0)).astype(int) - GUTTER, np.ceil(flat.max(0)).astype(int) + GUTTER
    if (end - low > MAX_ATLAS).any():
        raise _TooLargeError
    return np.arange(low[0], end[0]), np.arange(low[1], end[1])


def _wrapped(index: np.ndarray, size: int, wrap: Wrap) -> np.ndarray:
    """Which texel of a row of `size` stands at each index, also outside of it."""
    if wrap == "clamp":
        return index.clip(0, size - 1)
    if wrap == "repeat":
        return index % size
    there = index % (2 * size)
    return np.where(there < size, there, 2 * size - 1 - there)


def _gradient_patch(colours: np.ndarray, rows: np.ndarray, size: int) -> _Patch:
    """Faces with colours [face, 3, 4] at their corners and no image: a square of texels for each, in a grid."""
    corners = np.array([[0.0, 0.0], [size, 0.0], [0.0, size]])
    columns, lines = _reached(corners)
    side, across = len(columns), math.ceil(math.sqrt(len(rows)))
    down = math.ceil(len(rows) / across)
    if side * across > MAX_ATLAS:
        raise _TooLargeError
    shares = _barycentric(np.stack(np.meshgrid(columns + 0.5, lines + 0.5), -1), corners)
    grid = np.zeros((down * across, side, side, 4), np.uint8)
    grid[: len(rows)] = bytes_from_linear(np.einsum("yxk,fkc->fyxc", shares, linear_from_bytes(colours)).clip(0.0, 1.0))
    image = grid.reshape(down, across, side, side, 4).swapaxes(1, 2).reshape(down * side, across * side, 4)
    number = np.arange(len(rows))
    places = side * np.stack([number % across, number // across], 1) + GUTTER
    return _Patch(image, None, rows, places[:, None] + corners)


def _face_patch(part: LookPart, image: np.ndarray, number: int, row: int) -> _Patch:
    """One face of a part whose colours at corners vary over its image: their product in linear light."""
    size = np.array([image.shape[1], image.shape[0]])
    corners = _moved_near_origin(part_uv(part)[[number]], part.wrap)
    patch = _image_patch(image, part.finish, corners, part.wrap, np.array([row]))
    columns, lines = _reached(corners * size)
    shares = _barycentric(np.stack(np.meshgrid(columns + 0.5, lines + 0.5), -1), corners[0] * size)
    light = (shares @ linear_from_bytes(corner_colours(part)[number])).clip(0.0, 1.0)
    return replace(patch, image=bytes_from_linear(light * linear_from_bytes(patch.image)))


def _barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Shares of three corners at points of a plane, `[..., 3]`; a third each where they lie on a line."""
    one, other = corners[1] - corners[0], corners[2] - corners[0]
    area = one[0] * other[1] - one[1] * other[0]
    if abs(area) < 1e-12:
        return np.full((*points.shape[:-1], 3), 1.0 / 3.0)
    away = points - corners[0]
    second = (away[..., 0] * other[1] - away[..., 1] * other[0]) / area
    third = (one[0] * away[..., 1] - one[1] * away[..., 0]) / area
    return np.stack([1.0 - second - third, second, third], -1)


def _pack(sizes: Sequence[tuple[int, ...]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Places (top, left) of rectangles (height, width) on shelves, highest first, and the size of the whole."""
    area = sum(height * width for height, width in sizes)
    room = max(max(width for _, width in sizes), int(np.ceil(np.sqrt(1.1 * area))))
    places, top, left, shelf = [(0, 0)] * len(sizes), 0, 0, 0
    for number in sorted(range(len(sizes)), key=lambda n: -sizes[n][0]):
        height, width = sizes[number]
        if left + width > room:
            top, left, shelf = top + shelf, 0, 0
        places[number], left, shelf = (top, left), left + width, max(shelf, height)
    return places, (top + shelf, room)
