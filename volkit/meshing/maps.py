"""Normal and occlusion maps of levels, baked from the dense surface."""

import math
from collections.abc import Sequence

import torch
from torch.nn import functional

from volkit.geometry import Rays
from volkit.geometry.triangles import Triangles, corner_tangents
from volkit.meshing.paint import fill_empty, upsample
from volkit.meshing.unwrap import Atlas
from volkit.rendering.surface import first_hits
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["bake_normals", "bake_occlusion"]

SEARCH_SHARE = 0.03  # of the dense surface's diagonal: largest distance of it from a level, to both sides
TEXELS_AT_ONCE = 1 << 18  # texels at once
ROUNDING_OFFSET = 0.51  # of a step of 8 bits: a flat texel is 128, 128, 255 in spite of rounding errors of floats
OCCLUSION_STRIDE = 4  # texels a side that share one evaluation of occlusion
OCCLUSION_RAYS = 64  # of an evaluation
OCCLUSION_SHARE = 0.15  # of the diagonal: farther surfaces do not occlude, else rooms would be black
RAY_OFFSET = 1e-4  # of the diagonal, from the surface to the origin of its rays

Places = tuple[Float[Tensor, "texel 3"], Float[Tensor, "texel 3"]]


def bake_normals(atlases: Sequence[Atlas], dense: Triangles, size: int) -> UInt8[Tensor, "height width 3"]:
    """Bake the dense surface's normals in the tangent space of each texel, as in glTF: `2 c / 255 - 1`, +Y up.

    `n ~ x T + y w N x T + z N` with tangent and normal as interpolated, without normalisation (Mikkelsen 2008).
    """
    picture = torch.tensor([0.0, 0.0, 1.0]).repeat(size * size, 1)
    filled = torch.zeros(size * size, dtype=torch.bool)
    for atlas in atlases:
        texel, face, where = atlas.texels(size)
        tangents, sign = corner_tangents(atlas.surface, atlas.corner_uv).split([3, 1], -1)
        normals = atlas.surface.normals[atlas.surface.faces]
        filled[texel] = True
        for rows in torch.arange(len(texel)).split(TEXELS_AT_ONCE):
            on, share = face[rows], where[rows][..., None]
            t, n = (tangents[on] * share).sum(1), (normals[on] * share).sum(1)
            b = sign[on, 0] * torch.linalg.cross(n, t)
            _, target = _project_to_dense(atlas, dense, on, where[rows])
            # Cramer's rule: interpolated t and n are not orthogonal between vertices
            inner = [(target * torch.linalg.cross(*pair)).sum(-1) for pair in ((b, n), (n, t), (t, b))]
            volume = (t * torch.linalg.cross(b, n)).sum(-1)
            found = functional.normalize(torch.stack(inner, -1) * volume.sign()[:, None], dim=-1)
            # there is no frame where tangent and normal are parallel, and no normal to store behind the level
            picture[texel[rows]] = torch.where(found[:, 2:] > 0, found, picture.new_tensor([0.0, 0.0, 1.0]))
    whole = fill_empty(picture.view(size, size, 3), filled.view(size, size))
    return (127.5 * whole + 127.5 + ROUNDING_OFFSET).floor().clamp(0, 255).to(torch.uint8)


def bake_occlusion(
    atlases: Sequence[Atlas], dense: Triangles, size: int, generator: torch.Generator
) -> UInt8[Tensor, "height width"]:
    """Bake ambient occlusion: the cosine-weighted share of the sky over a texel that is free.

    `1 - mean of max(0, 1 - t / far)` over rays, so that farther surfaces occlude less; one texel of 4 x 4 is evaluated,
    those between are interpolated.
    """
    coarse = max(size // OCCLUSION_STRIDE, 1)
    value, covered = torch.zeros(coarse * coarse), torch.zeros(coarse * coarse, dtype=torch.bool)
    for atlas in atlases:
        texel, face, where = atlas.texels(coarse)
        for rows in torch.arange(len(texel)).split(TEXELS_AT_ONCE):
            value[texel[rows]] = _sky_visibility(
                dense, _project_to_dense(atlas, dense, face[rows], where[rows]), generator
            )
        covered[texel] = True
    if not bool(covered.any()):
        return torch.full((size, size), 255, dtype=torch.uint8)
    whole = upsample(value.view(coarse, coarse, 1), covered.view(coarse, coarse), size)[..., 0]
    return (255.0 * whole).round().clamp(0, 255).to(torch.uint8)


def _project_to_dense(
    atlas: Atlas, dense: Triangles, face: Int[Tensor, " texel"], where: Float[Tensor, "texel 3"]
) -> Places:
    """The nearest point of the dense surface along a level's normals, and its interpolated normal there.

    Where no ray meets its front, the nearest vertex.
    """
    surface, share = atlas.surface, where[..., None]
    start = (surface.corners[face] * share).sum(1)
    out = functional.normalize((surface.normals[surface.faces[face]] * share).sum(1), dim=-1)
    reach = SEARCH_SHARE * _diagonal(dense)
    normals = dense.normals
    best, at, normal = torch.full((len(start),), reach), start.clone(), torch.zeros_like(out)
    for direction in (out, -out):
        hit, on, far = first_hits(dense.vertices, dense.faces, Rays(start, direction))
        rows = ((hit >= 0) & (far < best)).nonzero()[:, 0]
        normals_there = (normals[dense.faces[hit[rows].long()]] * on[rows][..., None]).sum(1)
        fits = (normals_there * out[rows]).sum(-1) > 0
        rows, normals_there = rows[fits], normals_there[fits]
        best[rows], normal[rows] = far[rows], normals_there
        at[rows] = start[rows] + far[rows, None] * direction[rows]
    missed = (normal == 0).all(-1).nonzero()[:, 0]
    if len(missed):
        from scipy.spatial import KDTree

        nearest = torch.from_numpy(KDTree(dense.vertices.numpy()).query(start[missed].numpy())[1])
        fits = (normals[nearest] * out[missed]).sum(-1, keepdim=True) > 0
        at[missed], normal[missed] = dense.vertices[nearest], torch.where(fits, normals[nearest], out[missed])
    return at, functional.normalize(normal, dim=-1)


def _sky_visibility(dense: Triangles, places: Places, generator: torch.Generator) -> Float[Tensor, " texel"]:
    """The free share of the sky over places on the dense surface, by a randomly rotated spiral of rays."""
    diagonal, k = _diagonal(dense), torch.arange(OCCLUSION_RAYS)
    height, turn = (1.0 - (k + 0.5) / OCCLUSION_RAYS).sqrt(), k * math.pi * (3.0 - math.sqrt(5.0))
    found = []
    for at, normal in zip(*(part.split(TEXELS_AT_ONCE // OCCLUSION_RAYS) for part in places), strict=True):
        angle = turn + 2.0 * math.pi * torch.rand(len(at), 1, generator=generator)
        flat = (1.0 - height**2).sqrt()
        side = functional.normalize(torch.linalg.cross(normal, _farthest_axis(normal)), dim=-1)
        basis = torch.stack([side, torch.linalg.cross(normal, side), normal], 1)
        directions = torch.stack([flat * angle.cos(), flat * angle.sin(), height.expand(len(at), -1)], -1) @ basis
        origins = (at + RAY_OFFSET * diagonal * normal)[:, None].expand_as(directions)
        hit, _, far = first_hits(dense.vertices, dense.faces, Rays(origins.reshape(-1, 3), directions.reshape(-1, 3)))
        shade = torch.where(hit >= 0, (1.0 - far / (OCCLUSION_SHARE * diagonal)).clamp_min(0.0), 0.0)
        found.append(1.0 - shade.view(len(at), OCCLUSION_RAYS).mean(1))
    return torch.cat(found)


def _farthest_axis(normal: Float[Tensor, "texel 3"]) -> Float[Tensor, "texel 3"]:
    """The axis farthest from each normal."""
    return functional.one_hot(normal.abs().argmin(-1), 3).to(normal)


def _diagonal(surface: Triangles) -> float:
    return float((surface.vertices.amax(0) - surface.vertices.amin(0)).norm())
