"""Normals and occlusion in textures: known shapes, read as a renderer reads them."""

import numpy as np
import pytest
import torch
from shapes import ball, joined, sheet
from torch.nn import functional

from volkit.geometry.triangles import Triangles, corner_tangents
from volkit.meshing.maps import OCCLUSION_SHARE, bake_normals, bake_occlusion
from volkit.meshing.simplify import simplify
from volkit.meshing.unwrap import Atlas, unwrap

pytest.importorskip("xatlas")
WAVES = 6.0


def _bumps(direction: torch.Tensor) -> torch.Tensor:
    return 1.0 + 0.03 * (WAVES * direction).sin().sum(-1)


def _bump_normals(points: torch.Tensor) -> torch.Tensor:
    points = points.double().requires_grad_()
    away = points.norm(dim=-1)
    (gradient,) = torch.autograd.grad((away - _bumps(points / away[:, None])).sum(), points)
    return functional.normalize(gradient, dim=-1).float()


def _flat(vector: np.ndarray, normal: np.ndarray) -> np.ndarray:
    vector = vector - normal * (normal @ vector)
    return vector / max(np.linalg.norm(vector), 1e-300)


def _mikkelsen(atlas: Atlas) -> tuple[torch.Tensor, torch.Tensor]:
    """Tangents and signs corner by corner, each derivative of position by u from a linear system."""
    normals, sums, keys = atlas.surface.normals.double().numpy(), {}, []
    for face, uv in zip(atlas.surface.faces.numpy(), atlas.corner_uv.double().numpy(), strict=True):
        p = atlas.surface.vertices.double().numpy()[face]
        s = np.stack([uv[:, 0], 1.0 - uv[:, 1]], 1)
        edges = np.stack([s[1] - s[0], s[2] - s[0]])
        by_u = (np.linalg.pinv(edges) @ np.stack([p[1] - p[0], p[2] - p[0]]))[0]
        for k in range(3):
            n = normals[face[k]]
            onward, back = _flat(p[(k + 1) % 3] - p[k], n), _flat(p[(k + 2) % 3] - p[k], n)
            key = (int(face[k]), *uv[k], np.linalg.det(edges) > 0)
            sums[key] = sums.get(key, 0.0) + np.arccos(np.clip(onward @ back, -1, 1)) * _flat(by_u, n)
            keys.append(key)
    tangents = np.stack([sums[key] / max(np.linalg.norm(sums[key]), 1e-300) for key in keys]).reshape(-1, 3, 3)
    signs = np.array([1.0 if key[3] else -1.0 for key in keys[::3]])
    return torch.from_numpy(tangents), torch.from_numpy(signs)


def test_tangents_are_those_of_mikkelsen() -> None:
    (atlas,) = unwrap([simplify(ball(_bumps), 300)], 256)
    mirrored = Atlas(atlas.surface, torch.stack([1.0 - atlas.corner_uv[..., 0], atlas.corner_uv[..., 1]], -1))
    for one in (atlas, mirrored):
        tangents, signs = corner_tangents(one.surface, one.corner_uv).double().split([3, 1], -1)
        told, sign = _mikkelsen(one)
        assert torch.equal(signs, sign[:, None, None].expand_as(signs).to(signs))
        # two ways to the same sums of float64 over thin faces, one of them rounded to float32
        torch.testing.assert_close(tangents, told, atol=1e-6, rtol=0)
    there, back = (corner_tangents(one.surface, one.corner_uv)[..., 3] for one in (atlas, mirrored))
    assert torch.equal(there, -back)


def test_bumps_come_back_from_the_normal_map() -> None:
    dense = ball(_bumps, cells=96)
    (atlas,) = unwrap([simplify(dense, 1500)], 512)
    texture = bake_normals([atlas], dense, 512)
    texel, face, where = atlas.texels(512)
    read = functional.normalize(texture.view(-1, 3)[texel].float() * 2 / 255 - 1, dim=-1)
    tangents, sign = (part.float() for part in _mikkelsen(atlas))
    share = where[..., None]
    t = (tangents[face] * share).sum(1)
    n = (atlas.surface.normals[atlas.surface.faces[face]] * share).sum(1)
    b = sign[face][:, None] * torch.linalg.cross(n, t)
    seen = read[:, :1] * t + read[:, 1:2] * b + read[:, 2:] * n
    truth = _bump_normals((atlas.surface.corners[face] * share).sum(1))
    away = (functional.normalize(seen, dim=-1) * truth).sum(-1).clamp(-1, 1).acos().rad2deg()
    without = (functional.normalize(n, dim=-1) * truth).sum(-1).clamp(-1, 1).acos().rad2deg()
    # 8 bits are 0.2 degrees, a lattice of 2.4 / 96 turns normals of such waves by about half a degree
    assert float(away.median()) < 0.8 < float(without.median()) and float(away.quantile(0.99)) < 4.0


def test_flat_is_flat() -> None:
    square = sheet()
    (atlas,) = unwrap([square], 128)
    turned = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    turned = turned * turned.det()
    for surface in (square, Triangles(square.vertices @ turned, square.faces)):
        texture = bake_normals([Atlas(surface, atlas.corner_uv)], surface, 128)
        assert (texture == torch.tensor([128, 128, 255])).all()


def test_a_lid_shades_what_lies_under_it() -> None:
    ground = sheet(20, 1.0)
    lid = Triangles(sheet(1, 40.0, 0.5).vertices, sheet(1, 40.0).faces.flip(1))
    both = joined(ground, lid)
    diagonal = float((both.vertices.amax(0) - both.vertices.amin(0)).norm())
    (atlas,) = unwrap([ground], 64)
    seen = bake_occlusion([atlas], both, 64, torch.Generator().manual_seed(0))
    # rays of slope c = cos meet the lid at h / c: the mean of 1 - h / (c far) by the cosine is (1 - h / far)^2
    truth = 1.0 - (1.0 - 0.5 / (OCCLUSION_SHARE * diagonal)) ** 2
    inner = seen.float() / 255
    assert float(inner.mean()) == pytest.approx(truth, abs=0.01)  # 64 rays a look, even over the sky
    open_sky = bake_occlusion([atlas], ground, 64, torch.Generator().manual_seed(0))
    assert (open_sky == 255).all()


def test_a_corner_is_darker_than_the_open() -> None:
    ground = sheet(20, 1.0)
    turn = torch.tensor([[0.0, 0.0, -1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    wall = Triangles(sheet(20, 1.0).vertices @ turn + torch.tensor([-0.5, 0.0, 0.5]), sheet(20).faces)
    assert float(wall.spans[:, 0].sum()) > 0
    both = joined(ground, wall)
    atlases = unwrap([both], 128)
    seen = bake_occlusion(atlases, both, 128, torch.Generator().manual_seed(0)).float() / 255
    texel, face, where = atlases[0].texels(128)
    spot = (both.corners[face] * where[..., None]).sum(1)
    value = seen.flatten()[texel]
    floor = (spot[:, 2] < 1e-6) & (spot[:, 1].abs() < 0.2) & (spot[:, 0] < 0.3)
    diagonal = float((both.vertices.amax(0) - both.vertices.amin(0)).norm())
    u, v = torch.rand(2, 1, 20_000, generator=torch.Generator().manual_seed(1))
    toward = v.sqrt() * (2 * torch.pi * u).cos()  # by the cosine; the wall is met after distance / toward
    away = (spot[floor, 0] + 0.5)[:, None] / toward.clamp_min(1e-9)
    truth = 1.0 - (1.0 - away / (OCCLUSION_SHARE * diagonal)).clamp_min(0.0).mean(1)
    # 64 rays a look are even, but one look serves four texels a side: 0.03 long, along which the truth is linear
    assert float((value[floor] - truth).abs().mean()) < 0.02 and float(truth.min()) < 0.7
