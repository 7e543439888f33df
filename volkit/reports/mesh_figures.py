"""Figures of a mesh: wireframe, normals, and texture charts."""

import torch
from torch.nn import functional

from volkit.geometry import Cameras, Rays
from volkit.io.meshes.asset import Asset
from volkit.rendering.surface import first_hits
from volkit.representations import Mesh
from volkit.typing import Float, Tensor

__all__ = ["mesh_figures"]

FIGURE_SIZE = 640  # pixels of a side
PAPER, INK = (0.98, 0.976, 0.965), (0.14, 0.15, 0.17)
LINE_HALF_WIDTH = 0.6  # pixels

Image = Float[Tensor, "height width 3"]


def mesh_figures(asset: Asset, camera: Cameras) -> dict[str, Image]:
    """Figures by caption: normals, texture charts, and the wireframe of each level, from a world-frame camera."""
    mesh, camera = asset.levels[0], camera.resize(FIGURE_SIZE)
    figures = {"normals": draw_normals(mesh, camera)}
    if mesh.has_one_texture:
        figures["texture and its charts"] = draw_charts(mesh)
    for number, level in enumerate(asset.levels):
        figures[f"level {number}: {len(level.faces)} triangles"] = draw_wireframe(level, camera)
    return figures


def draw_wireframe(mesh: Mesh, camera: Cameras) -> Image:
    """Edges of the visible faces."""
    size, pixels, face, _ = _visible_faces(mesh, camera)
    hit = (face >= 0).nonzero()[:, 0]
    corners = mesh.vertices[mesh.faces[face[hit].long()].long()].view(-1, 3)
    ends, _ = camera.project(0, mesh.world_from_local.points(corners))
    return _draw_edges(pixels, hit, ends.view(-1, 3, 2)).view(*size, 3)


def draw_normals(mesh: Mesh, camera: Cameras) -> Image:
    """World-frame normals as colours, `(n + 1) / 2`."""
    size, pixels, face, where = _visible_faces(mesh, camera)
    hit = (face >= 0).nonzero()[:, 0]
    picture = pixels.new_tensor(PAPER).repeat(len(pixels), 1)
    corners = mesh.triangles.normals[mesh.faces[face[hit].long()].long()]
    normal = mesh.world_from_local.vectors((corners * where[hit, :, None]).sum(1))
    picture[hit] = 0.5 * functional.normalize(normal, dim=-1) + 0.5
    return picture.view(*size, 3)


def draw_charts(mesh: Mesh) -> Image:
    """The texture with the edges of faces in uv."""
    y, x = torch.meshgrid(torch.arange(FIGURE_SIZE) + 0.5, torch.arange(FIGURE_SIZE) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).view(-1, 2)
    ends = mesh.corner_uv * FIGURE_SIZE
    flat = functional.pad(ends, (0, 1)).view(-1, 3)
    above = functional.pad(pixels, (0, 1), value=1.0)
    down = above.new_tensor([0.0, 0.0, -1.0]).expand_as(above)
    face = first_hits(flat, torch.arange(len(flat)).view(-1, 3), Rays(above, down))[0]
    hit = (face >= 0).nonzero()[:, 0]
    size, texture = (FIGURE_SIZE, FIGURE_SIZE), mesh.texture[None, ..., :3].permute(0, 3, 1, 2) / 255.0
    image = functional.interpolate(texture, size, mode="bilinear", antialias=True)[0].permute(1, 2, 0).reshape(-1, 3)
    lines = _draw_edges(pixels, hit, ends[face[hit].long()])
    return (0.6 * image + 0.4 * image * lines).view(FIGURE_SIZE, FIGURE_SIZE, 3)


def _visible_faces(mesh: Mesh, camera: Cameras) -> tuple[tuple[int, int], Tensor, Tensor, Tensor]:
    """(height, width), pixel centres [pixel, 2], visible face (-1: none) and barycentric coordinates."""
    width, height = camera.size[0].tolist()
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = mesh.world_from_local.inverse().rays(camera.picture_rays(0))
    face, where, _ = first_hits(mesh.vertices, mesh.faces, rays)
    return (height, width), torch.stack([x, y], -1).view(-1, 2), face, where


def _draw_edges(pixels: Tensor, hit: Tensor, ends: Float[Tensor, "hit 3 2"]) -> Float[Tensor, "pixel 3"]:
    """White faces with dark edges; `ends` are the corners, in pixels, of the face that each pixel in `hit` shows."""
    along = ends.roll(-1, 1) - ends
    to = pixels[hit, None] - ends
    away = (along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]).abs() / along.norm(dim=-1).clamp_min(1e-6)
    ink = (LINE_HALF_WIDTH + 0.5 - away.amin(-1, keepdim=True)).clamp(0.0, 1.0)
    picture = pixels.new_tensor(PAPER).repeat(len(pixels), 1)
    picture[hit] = torch.lerp(picture.new_ones(3), picture.new_tensor(INK), ink)
    return picture
