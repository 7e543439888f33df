"""Parts of a mesh file, each with a look of its own, and their joining into one mesh with one texture; no torch."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from volkit.geometry.colour import array_linear_from_srgb, array_srgb_from_linear

__all__ = ["Part", "Wrap", "join_parts", "part_from_trimesh", "srgb_bytes"]

Wrap = Literal["repeat", "mirror", "clamp"]

GUTTER = 2  # texels about every patch of an atlas: bilinear samples at its border see what continues it
MAX_ATLAS = 1 << 13  # texels a side
MAX_UV = 1e6  # images from the first to where a uv may lie
GRADIENT_PATCH = 8  # texels a side of the patch of a face with colours at its corners and no image, at first
SMALLEST_GRADIENT = 2
ROUGH = np.array([255, 255, 0], np.uint8)  # roughness 1 and metalness 0, where a part says nothing


@dataclass(frozen=True)
class Part:
    """Triangles with one look: an image by uv, times colours at vertices, or either of the two.

    Attributes:
        vertices: `[vertex, 3]`, in the file's frame.
        faces: `[face, 3]`.
        uv: `[vertex, 2]`, (0, 0) at the image's upper left corner, v down.
        image: `[height, width, 4]`, display-referred bytes and alpha.
        colours: `[vertex, 4]`, display-referred bytes and alpha; with an image they multiply it in linear light.
        metallic_roughness: `[height, width, 3]`, roughness in green, metalness in blue, by the same uv.
        wrap: what continues the image in u and in v.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    image: np.ndarray | None = None
    colours: np.ndarray | None = None
    metallic_roughness: np.ndarray | None = None
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")


def srgb_bytes(light: np.ndarray) -> np.ndarray:
    """Linear colours and alpha as sRGB bytes."""
    coded = np.concatenate([array_srgb_from_linear(light[..., :3]), light[..., 3:].clip(0.0, 1.0)], -1)
    return (255.0 * coded).round().astype(np.uint8)


def part_from_trimesh(mesh: Any, wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")) -> Part:
    """The triangles of a `trimesh.Trimesh` with its look; `wrap` continues its image."""
    vertices, faces, visual = np.array(mesh.vertices), np.array(mesh.faces), mesh.visual
    if visual.kind != "texture":
        return Part(vertices, faces, colours=np.array(visual.vertex_colors, np.uint8))
    material = visual.material
    image = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
    if image is None or visual.uv is None:  # one colour
        return Part(vertices, faces, colours=np.tile(np.array(material.main_color, np.uint8), (len(vertices), 1)))
    uv = np.array(visual.uv, np.float64) * [1, -1] + [0, 1]  # trimesh's v runs up
    return Part(vertices, faces, uv, np.array(image.convert("RGBA")), wrap=wrap)


def join_parts(parts: Sequence[Part], notes: list[str]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Vertices, faces and appearance of all parts as one mesh, as `Mesh.of` takes them.

    Parts that share an image, and parts with colours alone, are put together as they are. Other looks are painted into
    one atlas: images with what continues them, products with vertex colours face by face. A note says so.
    """
    parts = [_folded(part) for part in parts if len(part.faces)]
    if not parts:
        return np.zeros((0, 3)), np.zeros((0, 3), np.int64), {}
    starts = np.cumsum([0, *(len(part.vertices) for part in parts)])
    vertices = np.concatenate([part.vertices for part in parts])
    faces = np.concatenate([p.faces + start for p, start in zip(parts, starts[:-1], strict=True)])
    if all(part.image is None for part in parts) and not any(part.metallic_roughness is not None for part in parts):
        return vertices, faces, {"colours": np.concatenate([_colours(part) for part in parts])}
    if _one_image(parts):
        uv = np.concatenate([_uv(part)[part.faces] for part in parts])
        return vertices, faces, _appearance(uv, _image(parts[0]), parts[0].metallic_roughness)
    return vertices, faces, _paint_atlas(parts, notes)


def _folded(part: Part) -> Part:
    """The part with one colour at all its vertices multiplied into its image."""
    if part.image is None or part.colours is None or not (part.colours == part.colours[:1]).all():
        return part
    if (part.colours == 255).all():
        return replace(part, colours=None)
    return replace(part, image=srgb_bytes(_linear(part.image) * _linear(part.colours[0])), colours=None)


def _appearance(corner_uv: np.ndarray, image: np.ndarray, finish: np.ndarray | None) -> dict[str, np.ndarray]:
    found = {"corner_uv": corner_uv.astype(np.float32), "texture": image}
    if finish is not None and (finish[..., 1:] != ROUGH[1:]).any():
        found["metallic_roughness"] = finish
    return found


def _colours(part: Part) -> np.ndarray:
    return np.full((len(part.vertices), 4), 255, np.uint8) if part.colours is None else part.colours


def _uv(part: Part) -> np.ndarray:
    return np.zeros((len(part.vertices), 2)) if part.uv is None else part.uv


def _image(part: Part) -> np.ndarray:
    """The image of a part; of one without, its colour, as one texel."""
    return _colours(part)[:1, None] if part.image is None else part.image


def _one_image(parts: Sequence[Part]) -> bool:
    """Whether all parts show one image, repeated as ours are, and nothing else."""
    first = parts[0]

    def alike(one: np.ndarray | None, other: np.ndarray | None) -> bool:
        return one is other or (one is not None and other is not None and np.array_equal(one, other))

    return all(
        _flat(part)
        and alike(_image(part), _image(first))
        and alike(part.metallic_roughness, first.metallic_roughness)
        and (part.wrap == ("repeat", "repeat") or _within(part))
        for part in parts
    )


def _flat(part: Part) -> bool:
    """Whether the colours at its vertices add nothing to its image, or are one colour without an image."""
    if part.colours is None:
        return True
    return bool((part.colours == (255 if part.image is not None else part.colours[:1])).all())


def _within(part: Part) -> bool:
    """Whether no uv needs what continues the image; bilinear samples at its very border do not count."""
    uv = _uv(part)
    return bool((uv >= 0.0).all() and (uv <= 1.0).all())


@dataclass(frozen=True)
class _Patch:
    """A rectangle of an atlas: texels, and which corners of which faces lie where, in texels from its upper left."""

    image: np.ndarray  # [height, width, 4]
    finish: np.ndarray | None  # [height, width, 3]
    faces: np.ndarray  # rows of the joined faces
    corners: np.ndarray  # [face, 3, 2]


def _paint_atlas(parts: Sequence[Part], notes: list[str]) -> dict[str, np.ndarray]:
    if any(part.uv is not None and not (np.abs(part.uv) < MAX_UV).all() for part in parts):
        raise ValueError(f"uv are not finite, or {MAX_UV:.0e} and more")
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
    corner_uv = np.zeros((sum(len(part.faces) for part in parts), 3, 2))
    for patch, (top, left) in zip(patches, places, strict=True):
        height, width = patch.image.shape[:2]
        rows, columns = slice(top, top + height), slice(left, left + width)
        atlas[rows, columns] = patch.image
        if finish is not None and patch.finish is not None:
            finish[rows, columns] = patch.finish
        corner_uv[patch.faces] = (patch.corners + np.array([left, top])) / np.array([size[1], size[0]])
    finer = "" if shrink == 1 else f", {shrink} times as coarse as they were"
    texture = f"of {size[1]} x {size[0]} texels{finer}"
    if len(parts) > 1:
        notes.append(f"{len(parts)} parts with looks of their own share one texture {texture}")
    else:
        notes.append(f"its texture is painted anew {texture}, with vertex colours over it or what continues it")
    return _appearance(corner_uv, atlas, finish)


class _TooLargeError(Exception):
    """Patches have more texels than an atlas."""


def _all_patches(parts: Sequence[Part], shrink: int) -> list[_Patch]:
    """The patches of all parts, `shrink` times as coarse as their images; _TooLargeError before too much is made."""
    patches, first, texels = [], 0, 0
    for part in parts:
        for patch in _patches(_shrunk(part, shrink), first, max(SMALLEST_GRADIENT, GRADIENT_PATCH // shrink)):
            patches.append(patch)
            texels += patch.image.shape[0] * patch.image.shape[1]
            if texels > MAX_ATLAS**2:
                raise _TooLargeError
        first += len(part.faces)
    return patches


def _shrunk(part: Part, times: int) -> Part:
    """The part with images of a fraction of the texels, means of squares of them."""
    if times == 1 or part.image is None:
        return part
    from PIL import Image

    def smaller(pixels: np.ndarray) -> np.ndarray:
        size = (max(1, pixels.shape[1] // times), max(1, pixels.shape[0] // times))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))

    finish = None if part.metallic_roughness is None else smaller(part.metallic_roughness)
    return replace(part, image=smaller(part.image), metallic_roughness=finish)


def _patches(part: Part, first: int, gradient: int) -> Iterator[_Patch]:
    """What of an atlas a part needs; its faces are numbered from `first`, gradients have `gradient` texels a side."""
    rows = np.arange(first, first + len(part.faces))
    if _flat(part):
        image, finish = _image(part), part.metallic_roughness
        if finish is not None and image.shape[:2] == (1, 1):  # the finish needs its texels
            image = np.broadcast_to(image, (*finish.shape[:2], 4))
        uv = _moved_near_origin(_uv(part)[part.faces], part.wrap)
        if image.shape[:2] == (1, 1):
            uv = np.full_like(uv, 0.5)
        yield _image_patch(image, finish, uv, part.wrap, rows)
    elif part.image is None:
        yield _gradient_patch(_colours(part)[part.faces], rows, gradient)
    else:
        for number, face in enumerate(part.faces):
            yield _face_patch(part, part.image, face, first + number)


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
    # As colours at vertices alone are: between display-referred values.
    grid = np.zeros((down * across, side, side, 4), np.uint8)
    grid[: len(rows)] = np.einsum("yxk,fkc->fyxc", shares, colours.astype(np.float32)).clip(0.0, 255.0).round()
    image = grid.reshape(down, across, side, side, 4).swapaxes(1, 2).reshape(down * side, across * side, 4)
    number = np.arange(len(rows))
    places = side * np.stack([number % across, number // across], 1) + GUTTER
    return _Patch(image, None, rows, places[:, None] + corners)


def _face_patch(part: Part, image: np.ndarray, face: np.ndarray, row: int) -> _Patch:
    """One face of a part whose colours at vertices vary over its image: their product in linear light."""
    size = np.array([image.shape[1], image.shape[0]])
    corners = _moved_near_origin(_uv(part)[face][None], part.wrap)
    patch = _image_patch(image, part.metallic_roughness, corners, part.wrap, np.array([row]))
    columns, lines = _reached(corners * size)
    shares = _barycentric(np.stack(np.meshgrid(columns + 0.5, lines + 0.5), -1), corners[0] * size)
    light = (shares @ _linear(_colours(part)[face])).clip(0.0, 1.0)
    return replace(patch, image=srgb_bytes(light * _linear(patch.image)))


def _linear(rgba: np.ndarray) -> np.ndarray:
    """Display-referred bytes as linear colours and alpha in [0, 1]."""
    values = rgba / 255.0
    return np.concatenate([array_linear_from_srgb(values[..., :3]), values[..., 3:]], -1)


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
