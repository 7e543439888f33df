"""Meshes trained by a prior: rasterised with antialiased outlines; vertices take large steps, faces and uv stay."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from volkit.generation.particle import Drawing
from volkit.generation.penalties import Penalties
from volkit.geometry import Cameras
from volkit.geometry.colour import linear_from_srgb, srgb_from_linear
from volkit.geometry.triangles import Triangles
from volkit.guidance.ramps import value
from volkit.meshing.large_steps import Smoothing, undo_flips
from volkit.meshing.paint import paint_texels
from volkit.meshing.pipeline import check_libraries
from volkit.meshing.textured import Shade, TexturedSurface
from volkit.meshing.unwrap import Atlas
from volkit.ops.param_group import ParamGroup
from volkit.rendering.shading import Lights, Reflectance, reflect
from volkit.representations import Mesh
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["MIN_ROUGHNESS", "LitSurface", "MeshParticle", "metallic_roughness_texels", "metallic_roughness_texture"]


START_MATERIAL = (0.6, 0.0)  # roughness and metalness of meshes without any
MIN_ROUGHNESS = 0.1  # smallest trained roughness: highlights of smoother surfaces fall between pixels

TEXEL_LEARNING_RATE = 1e-2
VERTEX_STEP = 0.05  # mean edges: the first step's length before it is spread
FINE_STEP_SHARE = 0.4  # of that for a nearly finished shape: larger steps dent flat sides


def metallic_roughness_texels(mesh: Mesh) -> Float[Tensor, "texel 2"]:
    """Roughness and metalness at the texels of the texture."""
    size = mesh.texture.shape[:2]
    if mesh.metallic_roughness is None:
        return mesh.vertices.new_tensor(START_MATERIAL).repeat(size[0] * size[1], 1)
    picture = mesh.metallic_roughness[..., 1:].movedim(-1, 0)[None].float() / 255.0
    resized = functional.interpolate(picture, size, mode="bilinear", antialias=True)
    return resized[0].movedim(0, -1).reshape(-1, 2)


def metallic_roughness_texture(
    start_mesh: Mesh, material: Float[Tensor, "texel 2"], own: Int[Tensor, " texel"]
) -> UInt8[Tensor, "height width 3"]:
    """Roughness in green and metalness in blue; texels that are not of the surface keep their values."""
    one = material.new_ones(len(material), 1)
    start = torch.cat([one, metallic_roughness_texels(start_mesh), one], 1).view(*start_mesh.texture.shape[:2], 4)
    picture = (start * 255.0).round().to(torch.uint8)
    return paint_texels(picture, torch.cat([one, material], 1), own)[..., :3]


@dataclass(frozen=True)
class LitSurface:
    """Shades samples of a surface under lights, to display-referred colours clamped to white."""

    vertices: Float[Tensor, "vertex 3"]
    normals: Float[Tensor, "vertex 3"]
    faces: Int[Tensor, "face 3"]
    eye: Float[Tensor, "3"]
    lights: Lights

    def __call__(
        self, values: Float[Tensor, "sample 5"], face: Int[Tensor, " sample"], where: Float[Tensor, "sample 3"]
    ) -> Float[Tensor, "sample 3"]:
        """Colours from base colour, roughness and metalness; faces are two-sided."""
        corners, weight = self.faces[face], where[..., None]
        normal = functional.normalize((self.normals[corners] * weight).sum(1), dim=-1)
        eye = functional.normalize(self.eye - (self.vertices[corners] * weight).sum(1), dim=-1)
        normal = torch.where((normal * eye).sum(-1, keepdim=True) < 0.0, -normal, normal)
        base, roughness, metalness = values.split([3, 1, 1], -1)
        light = reflect(Reflectance(linear_from_srgb(base), roughness, metalness), normal, eye, self.lights)
        return srgb_from_linear(light.clamp_max(1.0))


class MeshParticle:
    """A textured mesh whose texels and vertices learn; topology and uv stay.

    Vertices are `v = v_0 + (I + λ L)^-1 o` with trained offsets o (Nicolet et al. 2021). Of the penalties `smoothness`
    applies, to the angles between neighbouring faces.

    Args:
        mesh: the start.
        penalties: weights of the regularisers.
        shape_share: fraction of the run after which vertices stay; at 0 the shape is locked.
        lights: with a generator, roughness and metalness learn as well, under new random lights in every step, and the
            texture is the unlit base colour.
        fine: smaller steps, for a nearly finished shape.
    """

    def __init__(
        self,
        mesh: Mesh,
        penalties: Penalties,
        shape_share: float = 1.0,
        lights: torch.Generator | None = None,
        *,
        fine: bool = False,
    ) -> None:
        check_libraries()
        self.rate = VERTEX_STEP * (FINE_STEP_SHARE if fine else 1.0)
        self.start_mesh, self.penalties, self.shape_share, self.lights = mesh, penalties, shape_share, lights
        self.atlas = Atlas(mesh.triangles, mesh.corner_uv)
        height, width = mesh.texture.shape[:2]
        self.surface = TexturedSurface.of(self.atlas, (width, height))
        texels = mesh.texture[..., :3].reshape(-1, 3).float() / 255.0
        self.texels = nn.Parameter(
            texels if lights is None else torch.cat([texels, metallic_roughness_texels(mesh)], 1)
        )
        self.offsets = nn.Parameter(torch.zeros_like(mesh.vertices))
        self.spread = Smoothing(self.atlas.surface) if shape_share > 0 else None

    @property
    def vertices(self) -> Tensor:
        """The current vertices, local frame."""
        start = self.atlas.surface.vertices
        return start if self.spread is None else start + self.spread(self.offsets)

    @property
    def scene(self) -> Mesh:
        """The current mesh, without flipped faces."""
        start = self.start_mesh
        with torch.no_grad():
            vertices = undo_flips(self.atlas.surface, self.vertices).vertices
            own = self.atlas.texels(self.surface.size[0])[0]
            texture = paint_texels(start.texture, self.texels[:, :3], own)
            material = start.metallic_roughness
            if self.lights is not None:
                material = metallic_roughness_texture(start, self.texels[:, 3:], own)
        mesh = Mesh.of(vertices, start.faces, corner_uv=start.corner_uv, texture=texture, metallic_roughness=material)
        return mesh.placed_like(start)

    def draw(self, cameras: Cameras, info: StepInfo) -> Drawing:
        """Pictures, one camera after the other."""
        local, vertices = cameras.transform(self.start_mesh.world_from_local.inverse()), self.vertices
        free = info.fraction < self.shape_share
        vertices = vertices if free else vertices.detach()
        shades = self._shaders(vertices, local)
        rgba = torch.stack(
            [self.surface.draw(vertices, self.texels, local[[i]], shade).picture for i, shade in enumerate(shades)]
        )
        weight, penalties = value(self.penalties.smoothness, info.fraction), {}
        if weight and free:
            penalties["smoothness"] = weight * self._bending(vertices)
        return Drawing(rgba[..., :3], rgba[..., 3], penalties)

    def _shaders(self, vertices: Tensor, cameras: Cameras) -> list[Shade | None]:
        """The shading of each camera: none, or by the lights of this step."""
        if self.lights is None:
            return [None] * len(cameras)
        lights, faces = Lights.random(self.lights), self.surface.faces
        normals = Triangles(vertices, faces).normals
        return [LitSurface(vertices, normals, faces, eye, lights) for eye in cameras.centres]

    def _bending(self, vertices: Tensor) -> Tensor:
        """`Σ 1 - n·n'` over edges, n and n' being the normals of their faces."""
        corners = vertices[self.surface.faces]
        normals = nn.functional.normalize(
            torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
        )
        face, corner = (self.surface.opposite >= 0).nonzero(as_tuple=True)
        other = self.surface.opposite[face, corner].long().div(3, rounding_mode="floor")
        return 0.5 * (1.0 - (normals[face] * normals[other]).sum(-1)).sum()

    def groups(self) -> list[ParamGroup]:
        """Texels, and offsets unless they are locked."""
        texels = [ParamGroup("texels", (self.texels,), TEXEL_LEARNING_RATE, sparse=True)]
        if self.spread is None:
            return texels
        return [*texels, ParamGroup("offsets", (self.offsets,), self.rate * self.spread.edge)]

    def after_step(self, info: StepInfo, generator: torch.Generator, record: None = None) -> ParameterChange | None:
        """Clamp colours to [0, 1], and roughness to `MIN_ROUGHNESS`."""
        self.texels.data.clamp_(0.0, 1.0)
        self.texels.data[:, 3:4].clamp_min_(MIN_ROUGHNESS)
        return None

    def state(self) -> dict[str, Any]:
        """Texels and offsets."""
        return {"texels": self.texels.detach(), "offsets": self.offsets.detach()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.texels.data.copy_(state["texels"])
        self.offsets.data.copy_(state["offsets"])
