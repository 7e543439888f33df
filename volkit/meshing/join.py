"""Joining the materials of a mesh into one: their images and colours painted into one texture; no change of shape."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from volkit.geometry.colour import bytes_from_linear, linear_from_bytes
from volkit.meshing.look_atlas import (
    LookPart,
    corner_colours,
    is_flat,
    look_of,
    paint_atlas,
    part_image,
    part_uv,
)
from volkit.representations.material import Look, Material, Texture
from volkit.representations.mesh import Mesh

__all__ = ["join_materials"]


def join_materials(mesh: Mesh) -> tuple[Mesh, list[str]]:
    """The mesh with one material, and what that did to its look.

    Base colour, emission, alpha, roughness and metalness come into one texture and one finish, or into colours at the
    vertices where no part has an image; maps of normals and occlusion are lost. Images are painted with what continues
    them, products with vertex colours face by face, coarser where one texture would not hold them. The mesh itself
    where it has one texture already, or one material and colours.

    Raises:
        ValueError: the looks do not fit one texture of 8192 texels a side.

    Example:
        >>> joined, notes = join_materials(volkit.load("chess.glb"))  # doctest: +SKIP
    """
    if _is_joined(mesh):
        return mesh, []
    if mesh.device.type != "cpu":
        joined, notes = join_materials(mesh.with_().cpu())
        return joined.to(mesh.device), notes
    notes, materials = _losses(mesh), mesh.config.materials
    rows = mesh.face_material.numpy()
    parts = [_part(mesh, material, np.flatnonzero(rows == number)) for number, material in enumerate(materials)]
    parts = [_folded(part) for part in parts if len(part.rows)]
    if not any(part.image is not None or part.finish is not None for part in parts):
        colours = _shared_colours(parts, mesh.faces.long().numpy(), len(mesh.vertices))
        if colours is not None:
            return mesh.with_look(Look.of_colours(torch.from_numpy(colours))), notes
    if _one_image(parts):
        corners = np.zeros((len(rows), 3, 2), np.float32)
        for part in parts:
            corners[part.rows] = part_uv(part)
        return mesh.with_look(look_of(corners, part_image(parts[0]), parts[0].finish)), notes
    look, said = paint_atlas(parts, len(rows))
    return mesh.with_look(look), [*notes, said]


def _is_joined(mesh: Mesh) -> bool:
    """Whether one texture and one finish, or colours at the vertices, are all that it shows."""
    material = mesh.config.materials[0]
    finish = material.metallic_roughness_texture
    factors = (0.0, 1.0) if finish is None else (1.0, 1.0)
    as_ours = (material.metallic, material.roughness) == factors and (finish is None or finish == Texture(finish.image))
    if mesh.has_one_texture:
        opaque = material.alpha_mode == "blend" or bool((mesh.texture[..., 3] == 255).all())
        return as_ours and opaque and not {"normal", "occlusion"} & set(material.textures)
    plain = len(mesh.config.materials) == 1 and not material.textures and material.base_colour == (1.0,) * 4
    return as_ours and plain and mesh.config.coloured and not any(material.emission)


def _losses(mesh: Mesh) -> list[str]:
    lost = {slot for material in mesh.config.materials for slot in material.textures if slot in ("normal", "occlusion")}
    notes = [f"left out of the one texture: {' and '.join(sorted(lost))} maps"] if lost else []
    if mesh.config.coloured and any(any(material.emission) for material in mesh.config.materials):
        notes.append("emission is tinted by the colours of vertices in the one texture")
    return notes


def _part(mesh: Mesh, material: Material, rows: np.ndarray) -> LookPart:
    """The faces `rows` with what their material shows under even white light."""
    sets = [uv.numpy() for uv in (mesh.corner_uv, mesh.second_uv)]
    base, glow, finish = (
        material.base_colour_texture, material.emission_texture, material.metallic_roughness_texture
    )  # fmt: skip
    colours = mesh.colours[mesh.faces[torch.from_numpy(rows)].long()].numpy() if mesh.config.coloured else None
    place = base or glow or finish
    uv = None if place is None else sets[place.uv][rows]
    factor, emission = np.array(material.base_colour), np.array([*material.emission, 0.0])
    image = None if base is None else mesh.images[base.image].numpy()
    if glow is not None and any(material.emission) and (base is None or glow.uv == base.uv):
        emission = emission * linear_from_bytes(_with_alpha(_resized(mesh.images[glow.image].numpy(), image)))
        image = np.full((*emission.shape[:2], 4), 255, np.uint8) if image is None else image
    if image is not None and ((factor != 1.0).any() or emission[..., :3].any()):
        image = bytes_from_linear(linear_from_bytes(image) * factor + emission)
    elif image is None:
        light = factor if colours is None else linear_from_bytes(colours) * factor
        colours = np.broadcast_to(bytes_from_linear(light + emission), (len(rows), 3, 4))
    wrap = ("repeat", "repeat") if place is None else place.wrap
    if image is not None:
        image = _shown_alpha(image, material)
        if colours is not None and material.alpha_mode != "blend":
            colours = np.concatenate([colours[..., :3], np.full_like(colours[..., 3:], 255)], -1)
    else:
        assert colours is not None
        colours = _shown_alpha(colours, material)
    return LookPart(
        rows,
        uv,
        image,
        colours,
        _finish(mesh, material, place is None or finish is None or finish.uv == place.uv),
        wrap,
    )


def _finish(mesh: Mesh, material: Material, by_same_uv: bool) -> np.ndarray | None:
    """Roughness in green and metalness in blue of a material, [height, width, 3]; None where it has no finish."""
    if not material.has_finish:
        return None
    factor, texture = np.array([1.0, material.roughness, material.metallic]), material.metallic_roughness_texture
    pixels = np.full((1, 1, 3), 255.0)
    if texture is not None:
        own = mesh.images[texture.image].numpy()[..., :3]
        pixels = own if by_same_uv else own.mean((0, 1), keepdims=True)  # what lies by other uv is there in the mean
    return (pixels * factor).round().astype(np.uint8)


def _resized(pixels: np.ndarray, like: np.ndarray | None) -> np.ndarray:
    from PIL import Image

    if like is None or like.shape[:2] == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((like.shape[1], like.shape[0]), Image.Resampling.BILINEAR))


def _with_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.concatenate([pixels[..., :3], np.full_like(pixels[..., :1], 255)], -1)


def _shown_alpha(rgba: np.ndarray, material: Material) -> np.ndarray:
    """Colours with the alpha that is drawn: that of `opaque` is 1, that of `mask` 0 or 1 by its cutoff."""
    if material.alpha_mode == "blend":
        return rgba
    shown = rgba[..., 3:] >= 255.0 * material.alpha_cutoff if material.alpha_mode == "mask" else True
    return np.concatenate([rgba[..., :3], np.where(shown, 255, np.zeros_like(rgba[..., 3:]))], -1).astype(np.uint8)


def _folded(part: LookPart) -> LookPart:
    """The part with one colour at all its corners multiplied into its image."""
    if part.image is None or part.colours is None or not (part.colours == part.colours[:1, :1]).all():
        return part
    if (part.colours == 255).all():
        return replace(part, colours=None)
    return replace(
        part,
        image=bytes_from_linear(linear_from_bytes(part.image) * linear_from_bytes(part.colours[0, 0])),
        colours=None,
    )


def _shared_colours(parts: Sequence[LookPart], faces: np.ndarray, vertices: int) -> np.ndarray | None:
    """Colours [vertex, 4] of parts without images; None where corners at one vertex differ."""
    found = np.zeros((vertices, 4), np.uint8)
    for part in parts:
        found[faces[part.rows]] = corner_colours(part)
    alike = all((found[faces[part.rows]] == corner_colours(part)).all() for part in parts)
    return found if alike else None


def _one_image(parts: Sequence[LookPart]) -> bool:
    """Whether all parts show one image, repeated as ours are, and nothing else."""
    first = parts[0]

    def alike(one: np.ndarray | None, other: np.ndarray | None) -> bool:
        return one is other or (one is not None and other is not None and np.array_equal(one, other))

    return all(
        is_flat(part)
        and alike(part_image(part), part_image(first))
        and alike(part.finish, first.finish)
        and (part.wrap == ("repeat", "repeat") or _within(part))
        for part in parts
    )


def _within(part: LookPart) -> bool:
    """Whether no uv needs what continues the image; bilinear samples at its very border do not count."""
    uv = part_uv(part)
    return bool((uv >= 0.0).all() and (uv <= 1.0).all())
