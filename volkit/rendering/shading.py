"""Shading of glTF's metallic-roughness material (glTF 2.0 specification, appendix B.3)."""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch.nn import functional

from volkit.typing import Float, Tensor

__all__ = ["Lights", "Reflectance", "reflect", "sky_reflectance"]

DIELECTRIC = 0.04  # reflected head on by what is no metal
MIN_ALPHA = 1e-3  # α: a perfect mirror would show a distant light in no pixel
MIN_COSINE = 1e-4
TABLE_CELLS, TABLE_DRAWS = (
    32,
    48,
)  # of the table of a sky: in each direction, and half vectors for a cell, in each direction
LIGHT_COUNT, LIGHT_STRENGTH, SKY_STRENGTH = (
    3,
    (0.2, 1.0),
    (0.2, 0.6),
)  # of drawn lights: a matte white surface is .85 bright on average


@dataclass(frozen=True)
class Reflectance:
    """Base colour in linear light, roughness, metalness; all in [0, 1]."""

    base: Float[Tensor, "point 3"]
    roughness: Float[Tensor, "point 1"]
    metalness: Float[Tensor, "point 1"]


@dataclass(frozen=True)
class Lights:
    """White directional lights and an even white sky.

    A matte white surface that faces a light, or is lit by the sky alone, is as bright as their strength.
    """

    directions: Float[Tensor, "light 3"]  # towards each, unit
    strength: Float[Tensor, " light"]
    sky: Float[Tensor, ""]

    @classmethod
    def random(cls, generator: torch.Generator) -> Self:
        """Three lights from random directions and a sky, of random strengths."""
        device = generator.device
        directions = torch.randn(LIGHT_COUNT, 3, generator=generator, device=device)
        share = torch.rand(LIGHT_COUNT + 1, generator=generator, device=device)
        strength = LIGHT_STRENGTH[0] + (LIGHT_STRENGTH[1] - LIGHT_STRENGTH[0]) * share[1:]
        return cls(
            functional.normalize(directions, dim=-1),
            strength,
            SKY_STRENGTH[0] + (SKY_STRENGTH[1] - SKY_STRENGTH[0]) * share[0],
        )


def reflect(
    material: Reflectance, normal: Float[Tensor, "point 3"], eye: Float[Tensor, "point 3"], lights: Lights
) -> Float[Tensor, "point 3"]:
    """Reflected light towards the eye, `Σ π E (n·l) f(l, v)` plus that of the sky, in linear light.

    `f = (1 - F) c / π + F D V`: Schlick's Fresnel term, GGX with Smith's separable visibility. Normals and directions
    towards the eye are unit. Differentiable in material, normals and directions.
    """
    colour = material.base * (1.0 - material.metalness)
    head_on = torch.lerp(torch.full_like(material.base, DIELECTRIC), material.base, material.metalness)
    alpha = material.roughness.square().clamp_min(MIN_ALPHA)
    facing = (normal * eye).sum(-1, keepdim=True).abs().clamp_min(MIN_COSINE)
    share = sky_reflectance(head_on, material.roughness, facing)
    total = lights.sky * ((1.0 - share) * colour + share)
    for direction, strength in zip(lights.directions, lights.strength, strict=True):
        lit = (normal @ direction)[:, None].clamp_min(0.0)
        half = functional.normalize(eye + direction, dim=-1)
        fresnel = head_on + (1.0 - head_on) * (1.0 - (eye * half).sum(-1, keepdim=True).clamp(0.0, 1.0)) ** 5
        towards = (normal * half).sum(-1, keepdim=True).clamp(0.0, 1.0)
        spread = (alpha / (towards.square() * (alpha.square() - 1.0) + 1.0)).square() / math.pi
        visible = _smith(alpha, lit.clamp_min(MIN_COSINE)) * _smith(alpha, facing)
        total = total + math.pi * strength * lit * ((1.0 - fresnel) * colour / math.pi + fresnel * spread * visible)
    return total


def _smith(alpha: Tensor, cosine: Tensor) -> Tensor:
    """`1 / (c + √(α² + (1 - α²) c²))`."""
    squared = alpha.square()
    return 1.0 / (cosine + (squared + (1.0 - squared) * cosine.square()).sqrt())


def sky_reflectance(
    head_on: Float[Tensor, "point 3"], roughness: Float[Tensor, "point 1"], facing: Float[Tensor, "point 1"]
) -> Float[Tensor, "point 3"]:
    """The share of an even sky that the specular lobe reflects, `∫ F D V (n·l) dl` over the half-space.

    `f0 A + B` with A and B of roughness and n·v from a table (the split sum of Karis 2013, exact for an even sky).
    """
    place = torch.cat([facing, roughness], -1).view(1, 1, -1, 2) * 2.0 - 1.0
    table = _table().to(head_on)[None]
    scale, bias = functional.grid_sample(table, place, align_corners=True)[0, :, 0, :, None]
    return head_on * scale + bias


@lru_cache(maxsize=1)
def _table() -> Float[Tensor, "2 roughness facing"]:
    """A and B by importance sampling of GGX half vectors: `F D V (n·l) dl = F V (n·l) 4 (v·h) / (n·h)` of each."""
    roughness, facing = torch.meshgrid(
        *(torch.linspace(0.0, 1.0, TABLE_CELLS, dtype=torch.float64),) * 2, indexing="ij"
    )
    alpha, nv = (x[..., None, None] for x in (roughness.square().clamp_min(MIN_ALPHA), facing.clamp_min(MIN_COSINE)))
    share = (torch.arange(TABLE_DRAWS, dtype=torch.float64) + 0.5) / TABLE_DRAWS
    nh = ((1.0 - share) / (1.0 + (alpha.square() - 1.0) * share)).sqrt().movedim(-1, -2)  # [.., height, 1]
    across = (1.0 - nh.square()).clamp_min(0.0).sqrt() * (math.pi * share).cos()
    vh = nv * nh + (1.0 - nv.square()).sqrt() * across
    nl = 2.0 * vh * nh - nv
    weight = 4.0 * nl * vh / nh * _smith(alpha, nl.clamp_min(MIN_COSINE)) * _smith(alpha, nv)
    weight = torch.where((nl > 0.0) & (vh > 0.0), weight, 0.0)
    edge = (1.0 - vh.clamp(0.0, 1.0)) ** 5
    return torch.stack([((1.0 - edge) * weight).mean((-1, -2)), (edge * weight).mean((-1, -2))])
