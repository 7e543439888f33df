"""What a lit mesh learns of its surface: base colour, roughness and metalness as texels, seen under given lights."""

from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.geometry.colour import linear_from_srgb, srgb_from_linear
from volkit.meshing.paint import paint_texels
from volkit.rendering.shading import Lights, Material, reflected
from volkit.representations import Mesh
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["MIN_ROUGHNESS", "LitSurface", "metallic_roughness_texels", "metallic_roughness_texture"]

START = (0.6, 0.0)  # roughness and metalness of what says nothing of them
MIN_ROUGHNESS = 0.1  # the least roughness that learns: highlights of less fall between pixels


def metallic_roughness_texels(mesh: Mesh) -> Float[Tensor, "texel 2"]:
    """Roughness and metalness where the texture has its texels."""
    size = mesh.texture.shape[:2]
    if mesh.metallic_roughness is None:
        return mesh.vertices.new_tensor(START).repeat(size[0] * size[1], 1)
    picture = mesh.metallic_roughness[..., 1:].movedim(-1, 0)[None].float() / 255.0
    fitted = functional.interpolate(picture, size, mode="bilinear", antialias=True)
    return fitted[0].movedim(0, -1).reshape(-1, 2)


def metallic_roughness_texture(
    begun: Mesh, finish: Float[Tensor, "texel 2"], own: Int[Tensor, " texel"]
) -> UInt8[Tensor, "height width 3"]:
    """Roughness in green and metalness in blue; what is no texel of the surface stays as it was at the start."""
    one = finish.new_ones(len(finish), 1)
    start = torch.cat([one, metallic_roughness_texels(begun), one], 1).view(*begun.texture.shape[:2], 4)
    picture = (start * 255.0).round().to(torch.uint8)
    return paint_texels(picture, torch.cat([one, finish], 1), own)[..., :3]


@dataclass(frozen=True)
class LitSurface:
    """The colours of a surface's samples as an eye sees them under lights: display-referred, at most white."""

    vertices: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "vertex 3"]
    faces: Int[Tensor, "face 3"]
    eye: Float[Tensor, "3"]
    lights: Lights

    def __call__(
        self, values: Float[Tensor, "sample 5"], face: Int[Tensor, " sample"], where: Float[Tensor, "sample 3"]
    ) -> Float[Tensor, "sample 3"]:
        """From base colour, roughness and metalness; a face that looks away is seen from behind."""
        corners, weight = self.faces[face], where[..., None]
        normal = functional.normalize((self.normals[corners] * weight).sum(1), dim=-1)
        eye = functional.normalize(self.eye - (self.vertices[corners] * weight).sum(1), dim=-1)
        normal = torch.where((normal * eye).sum(-1, keepdim=True) < 0.0, -normal, normal)
        base, roughness, metalness = values.split([3, 1, 1], -1)
        light = reflected(Material(linear_from_srgb(base), roughness, metalness), normal, eye, self.lights)
        return srgb_from_linear(light.clamp_max(1.0))
