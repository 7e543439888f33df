"""Pictures that show what a mesh is made of: its edges, normals and texture."""

import torch
from torch.nn import functional

from volkit.geometry import Cameras, Rays
from volkit.io.meshes.asset import Asset
from volkit.rendering.surface import first_hits
from volkit.representations import Mesh
from volkit.typing import Float, Tensor

__all__ = ["mesh_figures"]

SIDE = 640  # pixels of the pictures of edges, normals and texture
PAPER, INK = (0.98, 0.976, 0.965), (0.14, 0.15, 0.17)
LINE = 0.6  # pixels to either side of an edge

Image = Float[Tensor, "height width 3"]


def mesh_figures(asset: Asset, camera: Cameras) -> dict[str, Image]:
    """Pictures by their captions, as a world-frame camera sees the levels."""
    mesh, camera = asset.levels[0], camera.resize(SIDE)
    figures = {"normals": normals(mesh, camera)}
    if mesh.config.texture[0]:
        figures["texture and its charts"] = charts(mesh)
    for number, level in enumerate(asset.levels):
        figures[f"level {number}: {len(level.faces)} triangles"] = wireframe(level, camera)
    return figures


def wireframe(mesh: Mesh, camera: Cameras) -> Image:
    """The edges of the faces that are seen."""
    size, pixels, face, _ = _seen(mesh, camera)
    hit = (face >= 0).nonzero()[:, 0]
    corners = mesh.vertices[mesh.faces[face[hit].long()].long()].view(-1, 3)
    ends, _ = camera.project(0, mesh.world_from_local.points(corners))
    return _inked(pixels, hit, ends.view(-1, 3, 2)).view(*size, 3)


def normals(mesh: Mesh, camera: Cameras) -> Image:
    """World-frame normals as colours, (n + 1) / 2."""
    size, pixels, face, where = _seen(mesh, camera)
    hit = (face >= 0).nonzero()[:, 0]
    picture = pixels.new_tensor(PAPER).repeat(len(pixels), 1)
    corners = mesh.triangles.normals[mesh.faces[face[hit].long()].long()]
    normal = mesh.world_from_local.vectors((corners * where[hit, :, None]).sum(1))
    picture[hit] = 0.5 * functional.normalize(normal, dim=-1) + 0.5
    return picture.view(*size, 3)


def charts(mesh: Mesh) -> Image:
    """The texture, and the edges of the faces on it."""
    y, x = torch.meshgrid(torch.arange(SIDE) + 0.5, torch.arange(SIDE) + 0.5, indexing="ij")
    pixels = torch.stack([x, y], -1).view(-1, 2)
    ends = mesh.corner_uv * SIDE
    flat = functional.pad(ends, (0, 1)).view(-1, 3)
    above = functional.pad(pixels, (0, 1), value=1.0)
    down = above.new_tensor([0.0, 0.0, -1.0]).expand_as(above)
    face = first_hits(flat, torch.arange(len(flat)).view(-1, 3), Rays(above, down))[0]
    hit = (face >= 0).nonzero()[:, 0]
    image = functional.interpolate(
        mesh.texture[None, ..., :3].permute(0, 3, 1, 2) / 255.0, (SIDE, SIDE), mode="bilinear", antialias=True
    )[0].permute(1, 2, 0).reshape(-1, 3)  # fmt: skip
    lines = _inked(pixels, hit, ends[face[hit].long()])
    return (0.6 * image + 0.4 * image * lines).view(SIDE, SIDE, 3)


def _seen(mesh: Mesh, camera: Cameras) -> tuple[tuple[int, int], Tensor, Tensor, Tensor]:
    """Size (height, width), centres of pixels, the face that each shows and where on it."""
    width, height = camera.size[0].tolist()
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    rays = mesh.world_from_local.inverse().rays(camera.picture_rays(0))
    face, where, _ = first_hits(mesh.vertices, mesh.faces, rays)
    return (height, width), torch.stack([x, y], -1).view(-1, 2), face, where


def _inked(pixels: Tensor, hit: Tensor, ends: Float[Tensor, "hit 3 2"]) -> Float[Tensor, "pixel 3"]:
    """White faces, dark where an edge of the face that is hit passes near the pixel's centre."""
    along = ends.roll(-1, 1) - ends
    to = pixels[hit, None] - ends
    away = (along[..., 0] * to[..., 1] - along[..., 1] * to[..., 0]).abs() / along.norm(dim=-1).clamp_min(1e-6)
    ink = (LINE + 0.5 - away.amin(-1, keepdim=True)).clamp(0.0, 1.0)
    picture = pixels.new_tensor(PAPER).repeat(len(pixels), 1)
    picture[hit] = torch.lerp(picture.new_ones(3), picture.new_tensor(INK), ink)
    return picture
