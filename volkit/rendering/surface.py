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
STEP_SHARE = 1e-6  # of the mesh's diagonal: how far behind a surface that light passes the next one is looked for
MAX_LAYERS = 64  # surfaces of a ray
INVISIBLE = 1.0 / 512.0  # what less light than that reaches changes no 8-bit pixel


@dataclass(frozen=True)
class MeshRenderer:
    """Renders meshes, in world frame and unit, with several samples a pixel for smooth edges and textures.

    Surfaces behind one whose alpha is below 1 show through it. Depth and normals are means over what a pixel shows.
    Differentiable in `vertices`, `corner_uv`, `images` or `colours` of floats in [0, 1], and in the cameras' poses and
    intrinsics: where any of them requires a gradient the mesh is rasterised, and its outlines move with the vertices
    (`ops.raster.antialias`); else rays find the same samples. There is no gradient through which face is in front
    where two surfaces intersect, nor of the outlines of what shows through another surface.

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
        return self._average(_layers(mesh, rays), width, height)

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
        seen = (shaded[:, 3] < 1.0 - INVISIBLE).nonzero()[:, 0]
        behind = _layers(mesh, Rays(rays.origins[seen], rays.directions[seen]), along[seen], face[hit][seen])
        shaded = shaded.index_add(0, seen, (1.0 - shaded[seen, 3:4]) * behind)
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
    """Colour, 1, world distance and the world normal, turned to the eye, all times alpha."""
    place, rgba = mesh.world_from_local, mesh.colours_at(face, barycentric)
    corners = mesh.vertices[mesh.faces[face].long()]
    normal = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal = functional.normalize(place.vectors(normal), dim=-1, eps=torch.finfo(normal.dtype).tiny)
    away = (normal * place.vectors(directions)).sum(-1, keepdim=True) > 0
    far = distance[:, None] * place.scale
    seen = torch.cat([rgba[:, :3], torch.ones_like(far), far, torch.where(away, -normal, normal)], 1)
    return rgba[:, 3:] * seen


def _layers(
    mesh: Mesh, rays: Rays, start: Float[Tensor, " ray"] | None = None, last: Int[Tensor, " ray"] | None = None
) -> Float[Tensor, "ray 8"]:
    """All surfaces along rays of the mesh's own frame, composited front to back as `_shade_hits` gives them.

    From `start` on, where face `last` has been seen already.
    """
    count, step = len(rays.origins), STEP_SHARE * mesh.domain.diagonal
    sums, light = mesh.vertices.new_zeros(count, 8), mesh.vertices.new_ones(count)
    begin = torch.zeros_like(light) if start is None else start.detach()
    passed = torch.full((count,), -1, dtype=torch.int32) if last is None else last.int()
    rows = torch.arange(count)
    for _ in range(MAX_LAYERS):
        if not len(rows):
            break
        begin = begin + torch.where(passed >= 0, step, 0.0)
        origins, directions = rays.origins[rows], rays.directions[rows]
        with torch.no_grad():
            face, where, far = first_hits(
                mesh.vertices, mesh.faces, Rays(origins + begin[:, None] * directions, directions)
            )
        hit = face >= 0
        new = (face != passed)[hit]  # but for rounding, which meets again what was just passed
        rows, face, where, begin = rows[hit], face[hit], where[hit], (far + begin)[hit]
        seen = Rays(origins[hit], directions[hit])
        exact, distance = (where, begin) if not torch.is_grad_enabled() else _meet(mesh, face, seen)
        shaded = new[:, None] * _shade_hits(mesh, face, exact, distance, seen.directions)
        sums = sums.index_add(0, rows, light[rows, None] * shaded)
        light = light.index_copy(0, rows, light[rows] * (1.0 - shaded[:, 3]))
        on = light[rows] > INVISIBLE
        rows, passed, begin = rows[on], face[on], begin[on]
    return sums


def _meet(mesh: Mesh, face: Int[Tensor, " ray"], rays: Rays) -> tuple[Float[Tensor, "ray 3"], Float[Tensor, " ray"]]:
    """Barycentric coordinates and distance of where each ray meets the plane of its face; differentiable."""
    first, second, third = mesh.vertices[mesh.faces[face.long()].long()].unbind(1)
    a, b, to_eye = second - first, third - first, rays.origins - first
    p, q = torch.linalg.cross(rays.directions, b), torch.linalg.cross(to_eye, a)
    whole = (a * p).sum(-1)
    u, v = (to_eye * p).sum(-1) / whole, (rays.directions * q).sum(-1) / whole
    return torch.stack([1.0 - u - v, u, v], -1), (b * q).sum(-1) / whole


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
