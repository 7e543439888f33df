"""A textured asset with everything that a file can hold, of known shape and colour: a lopsided ball on six squares."""

from dataclasses import replace
from itertools import product

import numpy as np
import torch
import trimesh

from volkit.geometry import Similarity
from volkit.geometry.triangles import Triangles
from volkit.io.meshes.asset import Asset, Style
from volkit.representations import Look, Mesh

SIZE = 192  # texels a side, two rows of three squares
FITTING = 0.42  # of a square, from its middle to the edge of its side of the cube: faces reach past it
RADII = torch.tensor([1.0, 0.7, 0.5])
PLACE = Similarity(translation=(0.5, -0.25, 2.0), scale=1.5)
STYLES = [
    Style(engine, picture, draco, quantize)
    for engine, picture, (draco, quantize) in product(
        ("gltf", "unity", "unreal", "godot", "godot3", "blender"),
        ("png", "jpeg", "webp"),
        ((False, False), (True, False), (False, True)),
    )
    if not (engine in ("godot", "godot3") and (draco or quantize))
    and not (engine in ("unity", "unreal", "godot3") and picture == "webp")
]


def colour(direction: np.ndarray) -> np.ndarray:
    """Smooth, different on every side, from dark to bright."""
    return 0.5 + 0.47 * np.sin(2.5 * direction[..., [0, 1, 2]] + 1.3 * direction[..., [1, 2, 0]] + [0.0, 2.0, 4.0])


def ball(subdivisions: int) -> Mesh:
    """One level: radii 1, 0.7 and 0.5, each face on the square of the side of the cube that it looks at."""
    sphere = trimesh.creation.icosphere(subdivisions=subdivisions)
    corners = sphere.vertices[sphere.faces]
    centre = corners.mean(1)
    axis = np.abs(centre).argmax(1)
    side = 2 * axis + (np.take_along_axis(centre, axis[:, None], 1)[:, 0] < 0)
    depth = np.abs(np.take_along_axis(corners, axis[:, None, None], 2)[..., 0])
    across = np.stack([np.take_along_axis(corners, ((axis + k) % 3)[:, None, None], 2)[..., 0] for k in (1, 2)], -1)
    uv = (_middles()[side][:, None] + FITTING * across / depth[..., None]) / [3, 2]
    return Mesh.of(
        torch.from_numpy(np.array(sphere.vertices)).float() * RADII, torch.from_numpy(np.array(sphere.faces)),
        corner_uv=torch.from_numpy(uv), texture=_painted(),
    ).placed_like(_placed())  # fmt: skip


def coloured(subdivisions: int) -> Mesh:
    """The same without texture, colours at the vertices."""
    mesh = ball(subdivisions)
    rgb = colour((mesh.vertices / RADII).numpy())
    rgba = np.concatenate([255 * rgb, np.full((len(rgb), 1), 255)], 1).round().astype(np.uint8)
    return Mesh.of(mesh.vertices, mesh.faces, colours=torch.from_numpy(rgba)).placed_like(_placed())


def asset(lit: bool = True) -> Asset:
    """Three levels, two solids, roughness and metalness, normal map, occlusion, uv for lightmaps."""
    flat = torch.tensor([128, 128, 255], dtype=torch.uint8).expand(64, 64, 3).contiguous()
    free = torch.full((64, 64, 3), 200, dtype=torch.uint8)
    finish = torch.tensor([255, 150, 60], dtype=torch.uint8).expand(32, 32, 3).contiguous()
    boxes = tuple(_box(torch.tensor([x, 0.0, 0.0])) for x in (-0.5, 0.5))
    levels = []
    for level in (ball(3), ball(2), ball(1)):
        look = Look.of_texture(level.corner_uv, level.texture, finish).with_map("normal", flat)
        look = look.with_map("occlusion", free)
        levels.append(level.with_look(replace(look, materials=(replace(look.materials[0], unlit=not lit),))))
    lightmaps = tuple(0.1 + 0.5 * level.corner_uv for level in levels)
    return Asset(
        tuple(levels), boxes, lightmap_uv=lightmaps, extras={"source": "a ball", "numbers": [1, 2]},
    )  # fmt: skip


def _box(centre: torch.Tensor) -> Triangles:
    box = trimesh.creation.box((0.5, 0.5, 0.5))
    return Triangles(torch.from_numpy(np.array(box.vertices)).float() + centre, torch.from_numpy(np.array(box.faces)))


def _placed() -> Mesh:
    mesh = Mesh.of(torch.eye(3), torch.tensor([[0, 1, 2]]))
    mesh = mesh.view(placement=PLACE)
    return mesh


def _middles() -> np.ndarray:
    return np.stack([np.arange(6) % 3 + 0.5, np.arange(6) // 3 + 0.5], 1)


def _painted() -> torch.Tensor:
    at = (np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE)), -1) + 0.5) / SIZE * [3, 2]
    square = np.floor(at).astype(int)
    side = square[..., 0] + 3 * square[..., 1]
    across = (at - square - 0.5) / FITTING
    direction = np.empty((SIZE, SIZE, 3))
    for k, values in enumerate((np.where(side % 2, -1.0, 1.0), across[..., 0], across[..., 1])):
        np.put_along_axis(direction, (side // 2 + k)[..., None] % 3, values[..., None], 2)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    rgba = np.concatenate([255 * colour(direction), np.full((SIZE, SIZE, 1), 255)], -1)
    return torch.from_numpy(rgba.round().astype(np.uint8))
