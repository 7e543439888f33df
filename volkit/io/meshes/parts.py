"""Parts of a mesh file, each with a look of its own, and their joining into one mesh with one texture; no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from volkit.geometry.colour import array_linear_from_srgb, array_srgb_from_linear

__all__ = ["Part", "Wrap", "join_parts", "part_from_trimesh", "srgb_bytes"]

Wrap = Literal["repeat", "mirror", "clamp"]

GUTTER = 2  # texels about every patch of an atlas: bilinear samples at its border see what continues it
MAX_ATLAS = 1 << 13  # texels a side
MAX_UV = 1e6  # images from the first to where a uv may lie
FLAT_PATCH = 1  # texels a side of a patch of one colour, its gutter not counted
GRADIENT_PATCH = 8  # texels a side of the patch of a face with colours at its corners and no image
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
    light = [
        np.concatenate([array_linear_from_srgb(a[..., :3] / 255.0), a[..., 3:] / 255.0], -1)
        for a in (part.image, part.colours[0])
    ]
    return replace(part, image=srgb_bytes(light[0] * light[1]), colours=None)


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
    shrink = 1
    while True:  # half as fine each time, until it fits
        patches, at = [], 0
        for part in parts:
            patches += _patches(_shrunk(part, shrink), at)
            at += len(part.faces)
        places, size = _pack([patch.image.shape[:2] for patch in patches])
        if max(size) <= MAX_ATLAS or shrink >= MAX_ATLAS:
            break
        shrink *= 2
    atlas = np.zeros((*size, 4), np.uint8)
    with_finish = any(patch.finish is not None for patch in patches)
    finish = np.tile(ROUGH, (*size, 1)) if with_finish else None
    corner_uv = np.zeros((at, 3, 2))
    for patch, (top, left) in zip(patches, places, strict=True):
        height, width = patch.image.shape[:2]
        rows, columns = slice(top, top + height), slice(left, left + width)
        atlas[rows, columns] = patch.image
        if finish is not None and patch.finish is not None:
            finish[rows, columns] = patch.finish
        corner_uv[patch.faces] = (patch.corners + np.array([left, top])) / np.array([size[1], size[0]])
    finer = "" if shrink == 1 else f", {shrink} times as coarse as they were"
    looks = "parts with looks of their own share" if len(parts) > 1 else "part with colours over its image has"
    notes.append(f"{len(parts)} {looks} one texture of {size[1]} x {size[0]} texels{finer}")
    return _appearance(corner_uv, atlas, finish)


def _shrunk(part: Part, times: int) -> Part:
    """The part with images of a fraction of the texels, means of squares."""
    if times == 1 or part.image is None:
        return part
    from PIL import Image

    def smaller(pixels: np.ndarray) -> np.ndarray:
        size = (max(1, pixels.shape[1] // times), max(1, pixels.shape[0] // times))
        return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BOX))

    finish = None if part.metallic_roughness is None else smaller(part.metallic_roughness)
    return replace(part, image=smaller(part.image), metallic_roughness=finish)


def _patches(part: Part, first: int) -> list[_Patch]:
    """What of an atlas a part needs; its faces are numbered from `first`."""
    rows = np.arange(first, first + len(part.faces))
    if _flat(part):
        image = _image(part)
        if part.image is None and part.metallic_roughness is None:
            image = np.broadcast_to(image, (FLAT_PATCH, FLAT_PATCH, 4))
        uv = _moved_near_origin(_uv(part)[part.faces], part.wrap)
        if image.shape[:2] == (1, 1):
            uv = np.full_like(uv, 0.5)
        return [_image_patch(image, part.metallic_roughness, uv, part.wrap, rows)]
    return [_face_patch(part, face, first + number) for number, face in enumerate(part.faces)]


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
    low = np.floor(uv.min((0, 1)) * size).astype(int) - GUTTER
    end = np.minimum(np.ceil(uv.max((0, 1)) * size).astype(int) + GUTTER, low + MAX_ATLAS)
    columns, lines = (np.arange(low[axis], end[axis]) for axis in (0, 1))
    own = image[_wrapped(lines, image.shape[0], wrap[1])][:, _wrapped(columns, image.shape[1], wrap[0])]
    found = None
    if finish is not None:
        high, wide = finish.shape[:2]
        line = (_wrapped(lines, image.shape[0], wrap[1]) + 0.5) * high / image.shape[0]
        column = (_wrapped(columns, image.shape[1], wrap[0]) + 0.5) * wide / image.shape[1]
        found = finish[line.astype(int)][:, column.astype(int)]
    return _Patch(own, found, rows, uv * size - low)


def _wrapped(index: np.ndarray, size: int, wrap: Wrap) -> np.ndarray:
    """Which texel of a row of `size` stands at each index, also outside of it."""
    if wrap == "clamp":
        return index.clip(0, size - 1)
    if wrap == "repeat":
        return index % size
    there = index % (2 * size)
    return np.where(there < size, there, 2 * size - 1 - there)


def _face_patch(part: Part, face: np.ndarray, row: int) -> _Patch:
    """One face of a part whose colours at vertices vary: their interpolation, times the image in linear light."""
    colours = _colours(part)[face].astype(np.float64) / 255.0
    if part.image is None:
        corners = np.array([[0.0, 0.0], [GRADIENT_PATCH, 0.0], [0.0, GRADIENT_PATCH]])
        low, high = np.full(2, -GUTTER), np.full(2, GRADIENT_PATCH + GUTTER)
    else:
        size = np.array([part.image.shape[1], part.image.shape[0]])
        corners = _moved_near_origin(_uv(part)[face][None], part.wrap)[0] * size
        low = np.floor(corners.min(0)).astype(int) - GUTTER
        high = np.minimum(np.ceil(corners.max(0)).astype(int) + GUTTER, low + MAX_ATLAS)
    columns, lines = np.arange(low[0], high[0]), np.arange(low[1], high[1])
    centres = np.stack(np.meshgrid(columns + 0.5, lines + 0.5), -1)
    shares = _barycentric(centres, corners)
    if part.image is None:  # as colours at vertices alone are: between display-referred values
        own = (255.0 * (shares @ colours).clip(0.0, 1.0)).round().astype(np.uint8)
        return _Patch(own, None, np.array([row]), (corners - low)[None])
    light = np.concatenate([array_linear_from_srgb(colours[:, :3]), colours[:, 3:]], 1)
    texels = part.image[_wrapped(lines, part.image.shape[0], part.wrap[1])]
    texels = texels[:, _wrapped(columns, part.image.shape[1], part.wrap[0])] / 255.0
    texels = np.concatenate([array_linear_from_srgb(texels[..., :3]), texels[..., 3:]], -1)
    own = srgb_bytes((shares @ light).clip(0.0, 1.0) * texels)
    patch = _image_patch(part.image, part.metallic_roughness, (corners / size)[None], part.wrap, np.array([row]))
    return replace(patch, image=own)


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
