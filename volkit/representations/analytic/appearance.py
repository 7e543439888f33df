"""The appearance of primitives: procedural textures and one fixed light, in closed form."""

import math
from dataclasses import dataclass
from typing import Literal

import torch

from volkit.geometry.colour import linear_from_srgb, srgb_from_linear
from volkit.typing import Float, Tensor

__all__ = ["Finish", "Light", "albedo", "shade"]

Triple = tuple[float, float, float]
EDGE_SLOPE = 6.0  # of the smoothed square waves: an edge is about a tenth of a period wide, which pictures can resolve
NOISE_WAVES = 12


@dataclass(frozen=True)
class Finish:
    """Two display-referred colours and the pattern that mixes them, in the primitive's own frame and unit."""

    colour: Triple = (0.8, 0.8, 0.8)
    second: Triple = (0.2, 0.2, 0.2)
    pattern: Literal["solid", "checker", "stripes", "gradient", "noise", "marble"] = "solid"
    period: float = 0.2
    axis: Triple = (0.0, 0.0, 1.0)  # of stripes, gradient and marble
    gloss: float = 0.0  # strength of the highlight and the sky's reflection
    shininess: float = 40.0  # exponent of the highlight


@dataclass(frozen=True)
class Light:
    """One sun, direction towards it in the local frame, and a sky that is brighter above; linear intensities."""

    direction: Triple = (0.4, -0.5, 0.77)
    sun: float = 0.75
    sky: float = 0.35
    shadow: float = 0.8  # how much of the sun a shadow takes
    occlusion: float = 0.7  # how much of the sky a crevice takes


def _noise(at: Tensor, period: float) -> Tensor:
    """Twelve plane waves along golden-spiral directions, three octaves: smooth, mostly in [-1, 1]."""
    index = torch.arange(NOISE_WAVES, dtype=at.dtype, device=at.device)
    z = 1.0 - (2.0 * index + 1.0) / NOISE_WAVES
    angle = index * (math.pi * (3.0 - math.sqrt(5.0)))
    ring = (1.0 - z * z).sqrt()
    octave = 2.0 ** (index % 3)
    waves = torch.stack([ring * angle.cos(), ring * angle.sin(), z]) * octave * (2.0 * math.pi / period)
    return (torch.sin(at @ waves + 1.7 * index) / octave).sum(-1) / 3.0


def albedo(texture: Finish, at: Float[Tensor, "point 3"]) -> Float[Tensor, "point 3"]:
    """Linear surface colour at positions of the primitive's own frame."""
    first, second = (linear_from_srgb(at.new_tensor(c)) for c in (texture.colour, texture.second))
    if texture.pattern == "solid":
        return first.expand(len(at), 3)
    along = at @ torch.nn.functional.normalize(at.new_tensor(texture.axis), dim=0)
    turn = math.pi / texture.period
    if texture.pattern == "checker":
        wave = torch.tanh(EDGE_SLOPE * torch.sin(turn * at + 0.5)).prod(-1)
    elif texture.pattern == "stripes":
        wave = torch.tanh(EDGE_SLOPE * torch.sin(2.0 * turn * along))
    elif texture.pattern == "gradient":
        wave = torch.sin(turn * along.clamp(-0.5 * texture.period, 0.5 * texture.period))
    elif texture.pattern == "noise":
        wave = torch.tanh(2.0 * _noise(at, texture.period))
    else:
        wave = torch.sin(2.0 * turn * along + 2.5 * _noise(at, 2.0 * texture.period))
    return first + (second - first) * (0.5 + 0.5 * wave)[:, None]


@dataclass(frozen=True)
class ShadingInputs:
    """The inputs of shading at surface points: colour, normal, view direction, visible light."""

    colour: Float[Tensor, "point 3"]  # linear
    normal: Float[Tensor, "point 3"]
    direction: Float[Tensor, "point 3"]  # unit, from the eye
    sunlit: Float[Tensor, " point"]
    open_sky: Float[Tensor, " point"]
    gloss: Float[Tensor, " point"]
    shininess: Float[Tensor, " point"]


def shade(surface: ShadingInputs, light: Light) -> Float[Tensor, "point 3"]:
    """Display-referred colours: `srgb(albedo (sky + sun max(0, n.l)) + gloss (sun (n.h)^s + fresnel sky))`.

    Lambert for the sun and a hemisphere sky `(1 + n_z) / 2`; the gloss lobe is Blinn-Phong's half vector, the
    reflected sky grows at grazing angles as Schlick's `(1 - n.v)^5`.
    """
    to_sun = torch.nn.functional.normalize(surface.normal.new_tensor(light.direction), dim=0)
    n, view = surface.normal, -surface.direction
    lambert = (n @ to_sun).clamp_min(0.0) * surface.sunlit
    sky = light.sky * (0.6 + 0.4 * n[:, 2]) * surface.open_sky
    half = torch.nn.functional.normalize(view + to_sun, dim=-1)
    facing = (n * view).sum(-1).clamp(0.0, 1.0)
    glint = (n * half).sum(-1).clamp(1e-6, 1.0) ** surface.shininess * (lambert > 0) * surface.sunlit
    mirrored_up = 2.0 * facing * n[:, 2] - view[:, 2]
    reflected = (0.04 + 0.96 * (1.0 - facing) ** 5) * (0.5 + 0.5 * mirrored_up) * surface.open_sky
    diffuse = surface.colour * (light.sun * lambert + sky)[:, None]
    return srgb_from_linear(diffuse + (surface.gloss * (light.sun * glint + reflected))[:, None])
