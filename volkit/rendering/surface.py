"""Meshes as cameras see them: rays to the first triangle (embreex), base colour without light."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional

from volkit.geometry import Cameras, Rays
from volkit.rendering.picture import Picture
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Int, Tensor

__all__ = ["MeshRenderer", "first_hits"]


@dataclass(frozen=True)
class MeshRenderer:
    """Draws meshes, in world frame and unit; several rays a pixel make edges and textures smooth.

    Depth and normals are means over the rays of a pixel that hit.
    """

    rays_across: int = 3  # of a pixel, in each direction

    @torch.no_grad()
    def __call__(self, subject: Mesh, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]` of cameras that share one size."""
        if len(cameras.size.unique(dim=0)) != 1:
            raise ValueError("render: cameras of one call must share one size; render them one by one")
        return Picture.cat([self._view(subject, cameras, index) for index in range(len(cameras))])

    def _view(self, mesh: Mesh, cameras: Cameras, index: int) -> Picture:
        width, height = cameras.size[index].tolist()
        n, place = self.rays_across, mesh.world_from_local
        part = (torch.arange(n) + 0.5) / n
        y, x = torch.meshgrid(
            (torch.arange(height)[:, None] + part).flatten(), (torch.arange(width)[:, None] + part).flatten(),
            indexing="ij",
        )  # fmt: skip
        pixels = torch.stack([x, y], -1).view(-1, 2)
        rays = place.inverse().rays(cameras.rays(torch.full((len(pixels),), index), pixels))
        face, barycentric, depth = first_hits(mesh.vertices, mesh.faces, rays)
        hit = (face >= 0).nonzero()[:, 0]
        rgba = mesh.base_colour(face[hit], barycentric[hit])
        corners = mesh.vertices[mesh.faces[face[hit]].long()]
        normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normal = functional.normalize(place.vectors(normal), dim=-1)
        away = (normal * place.vectors(rays.directions[hit])).sum(-1, keepdim=True) > 0
        sums = torch.zeros(len(pixels), 8)
        alpha = rgba[:, 3:]
        sums[hit] = torch.cat(
            [rgba[:, :3] * alpha, alpha, alpha * depth[hit, None] * place.scale, torch.where(away, -normal, normal)], 1
        )
        mean = sums.view(height, n, width, n, 8).mean((1, 3))[None]
        rgb, opacity, far, facing = mean.split([3, 1, 1, 3], -1)
        opacity, far = opacity[..., 0], far[..., 0] / opacity[..., 0].clamp_min(1e-6)
        median = torch.where(opacity >= 0.5, far, torch.inf)
        return Picture({"rgb": rgb}, opacity, far, median, functional.normalize(facing, dim=-1))


def first_hits(
    vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"], rays: Rays
) -> tuple[Int[Tensor, " ray"], Float[Tensor, "ray 3"], Float[Tensor, " ray"]]:
    """The first face along each ray (-1: none), where on it, and how far."""
    found = _tree(vertices, faces).run(rays.origins.float().numpy(), rays.directions.float().numpy(), output=True)
    face = torch.from_numpy(found["primID"]).int()
    u, v = torch.from_numpy(found["u"]), torch.from_numpy(found["v"])
    return face, torch.stack([1.0 - u - v, u, v], -1), torch.from_numpy(found["tfar"])


@lru_cache(maxsize=1)  # pictures of one mesh follow each other, and a large one takes seconds to sort
def _tree(vertices: Tensor, faces: Tensor) -> Any:
    try:
        from embreex import rtcore_scene
        from embreex.mesh_construction import TriangleMesh
    except ImportError as error:
        raise RuntimeError("meshes are drawn by embreex, which is not installed: pip install embreex") from error
    scene = rtcore_scene.EmbreeScene()  # pyright: ignore[reportAttributeAccessIssue]
    TriangleMesh(scene, vertices[faces.long()].cpu().numpy())
    return scene
