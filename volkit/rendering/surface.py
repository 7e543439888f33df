"""The renderer of meshes: ray casting (embreex), or rasterisation where gradients are needed; unlit base colour."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from volkit.extras import advice
from volkit.geometry import Cameras, Rays
from volkit.geometry.lens import PINHOLE
from volkit.ops.raster import antialias, opposite_corners, rasterise
from volkit.rendering.picture import Picture, one_size
from volkit.rendering.through_lens import lens_map
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Int, Tensor

__all__ = ["MeshRenderer", "first_hits"]

NEAR_SHARE = 1e-4  # of the mesh's diagonal: what is nearer to a camera is not rasterised


@dataclass(frozen=True)
class MeshRenderer:
    """Renders meshes, in world frame and unit, with several samples a pixel for smooth edges and textures.

    Depth and normals are means over the samples of a pixel that hit. Differentiable in `vertices`, `corner_uv`, a
    `images` or `colours` of floats in [0, 1], and in the cameras' poses and intrinsics: where any of them requires a
    gradient the mesh is rasterised, and its outlines move with the vertices (`ops.raster.antialias`); else rays find
    the same samples. There is no gradient through which face is in front where two surfaces intersect.

    Attributes:
        rays_across: samples of a pixel in each direction.
    """

    rays_across: int = 3  # of a pixel, in each direction

    def __call__(self, scene: Mesh, cameras: Cameras) -> Picture:
        """Pictures `[camera, height, width]` of cameras that share one size."""
        one_size(cameras)
        trainable = (scene.vertices, scene.corner_uv, scene.colours, *scene.images)
        if torch.is_grad_enabled() and any(t.requires_grad for t in (*trainable, *cameras.tensors)):
            views = [checkpoint(self._rasterise, scene, cameras, i, use_reentrant=False) for i in range(len(cameras))]
        else:
            with torch.no_grad():
                views = [self._trace(scene, cameras, index) for index in range(len(cameras))]
        return Picture.cat(views)

    def _trace(self, mesh: Mesh, cameras: Cameras, index: int) -> Picture:
        width, height = cameras.size[index].tolist()
        pixels = _samples(width, height, self.rays_across)
        rays = mesh.world_from_local.inverse().rays(cameras.rays(torch.full((len(pixels),), index), pixels))
        face, barycentric, depth = first_hits(mesh.vertices, mesh.faces, rays)
        hit = (face >= 0).nonzero()[:, 0]
        shaded = _shade_hits(mesh, face[hit], barycentric[hit], depth[hit], rays.directions[hit])
        sums = torch.zeros(len(pixels), shaded.shape[1]).index_copy(0, hit, shaded)
        return self._average(sums, width, height)

    def _rasterise(self, mesh: Mesh, cameras: Cameras, index: int) -> Picture:
        if cameras.lens != PINHOLE:
            lens = lens_map(cameras, index)
            return lens.warp(self._rasterise(mesh, lens.camera, 0))
        width, height = cameras.size[index].tolist()
        n, camera = self.rays_across, cameras[[index]].transform(mesh.world_from_local.inverse())
        pose, (fx, fy, cx, cy) = camera.world_from_camera[0], camera.intrinsics[0].unbind()
        x, y, z = ((mesh.vertices - pose[:, 3]) @ pose[:, :3]).unbind(-1)
        points = torch.stack([n * (fx * x + cx * z), n * (fy * y + cy * z), z], -1)
        diagonal = float((mesh.vertices.detach().amax(0) - mesh.vertices.detach().amin(0)).norm())
        found = rasterise(points, mesh.faces, (n * width, n * height), near=NEAR_SHARE * diagonal)
        face = found.face.flatten()
        hit = (face >= 0).nonzero()[:, 0]
        # Samples lie in the rows of one larger picture, as `antialias` reads them, not pixel by pixel.
        places = _samples(n * width, n * height, 1)[hit].to(camera.intrinsics) / n
        rays = camera.rays(torch.zeros_like(hit), places)
        along = found.depth.flatten()[hit] / (rays.directions @ pose[:, 2])
        shaded = _shade_hits(mesh, face[hit], found.barycentric.flatten(0, 1)[hit], along, rays.directions)
        flat = shaded.new_zeros(len(face), shaded.shape[1]).index_copy(0, hit, shaded)
        samples, neighbours = flat.view(n * height, n * width, -1), _neighbours(mesh.faces)
        smooth = antialias(samples, found, points, mesh.faces, neighbours)
        return self._average(smooth, width, height)

    def _average(self, samples: Tensor, width: int, height: int) -> Picture:
        """The picture of the means over each pixel's samples, as `_shade_hits` gives them."""
        n = self.rays_across
        mean = samples.view(height, n, width, n, -1).mean((1, 3))[None]
        rgb, opacity, far, facing = mean.split([3, 1, 1, 3], -1)
        opacity, far = opacity[..., 0], far[..., 0] / opacity[..., 0].clamp_min(1e-6)
        median = torch.where(opacity >= 0.5, far, torch.inf).detach()
        return Picture({"rgb": rgb}, opacity, far, median, functional.normalize(facing, dim=-1))


def _samples(width: int, height: int, across: int) -> Float[Tensor, "sample 2"]:
    """Pixel positions of `across` by `across` samples a pixel, as rows of one larger picture."""
    part = (torch.arange(across) + 0.5) / across
    y, x = torch.meshgrid(
        (torch.arange(height)[:, None] + part).flatten(), (torch.arange(width)[:, None] + part).flatten(), indexing="ij"
    )
    return torch.stack([x, y], -1).view(-1, 2)


def _shade_hits(
    mesh: Mesh, face: Tensor, barycentric: Tensor, distance: Tensor, directions: Float[Tensor, "hit 3"]
) -> Float[Tensor, "hit 8"]:
    """Colour times alpha, alpha, world distance times alpha, and the world normal, turned to the eye."""
    place, rgba = mesh.world_from_local, mesh.colours_at(face, barycentric)
    corners = mesh.vertices[mesh.faces[face].long()]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = functional.normalize(place.vectors(normal), dim=-1, eps=torch.finfo(normal.dtype).tiny)
    away = (normal * place.vectors(directions)).sum(-1, keepdim=True) > 0
    alpha = rgba[:, 3:]
    far = alpha * distance[:, None] * place.scale
    return torch.cat([rgba[:, :3] * alpha, alpha, far, torch.where(away, -normal, normal)], 1)


@lru_cache(maxsize=1)  # a mesh that learns keeps its faces
def _neighbours(faces: Tensor) -> Int[Tensor, "face 3"]:
    return opposite_corners(faces)


def first_hits(
    vertices: Float[Tensor, "vertex 3"], faces: Int[Tensor, "face 3"], rays: Rays
) -> tuple[Int[Tensor, " ray"], Float[Tensor, "ray 3"], Float[Tensor, " ray"]]:
    """The first face along each ray (-1: none), its barycentric coordinates there, and the distance."""
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
        raise RuntimeError(f"drawing meshes needs embreex: {advice('mesh', 'embreex')}") from error
    scene = rtcore_scene.EmbreeScene()  # pyright: ignore[reportAttributeAccessIssue]
    TriangleMesh(scene, vertices[faces.long()].cpu().numpy())
    return scene
