"""Meshes that learn from a prior: rasterised, outlines antialiased; vertices take large steps, faces and uv stay."""

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
from volkit.meshing.large_steps import Smoothing, unturned
from volkit.meshing.paint import paint_texels
from volkit.meshing.pipeline import check_libraries
from volkit.meshing.textured import Shade, TexturedSurface
from volkit.meshing.unwrap import Atlas
from volkit.ops.param_group import ParamGroup
from volkit.rendering.shading import Lights, Material, reflected
from volkit.representations import Mesh
from volkit.training.loop import ParameterChange, StepInfo
from volkit.typing import Float, Int, Tensor, UInt8

__all__ = ["MIN_ROUGHNESS", "LitSurface", "MeshParticle", "metallic_roughness_texels", "metallic_roughness_texture"]


START = (0.6, 0.0)  # roughness and metalness of what says nothing of them
MIN_ROUGHNESS = 0.1  # the least roughness that learns: highlights of less fall between pixels

TEXEL_RATE = 1e-2
VERTEX_RATE = 0.05  # mean edges: the first step's length before it is spread
FINE_RATE = 0.4  # of that for a shape that is nearly right: more of it dents flat sides


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


class MeshParticle:
    """A textured mesh; from the fraction `settled` of the run on its colours alone learn, at 0 its shape is locked.

    Its topology and its uv stay as they are. `v = v_0 + (I + λ L)^-1 o`, offsets o learn (Nicolet et al. 2021).
    `fine` is for a shape that is nearly right already. Of the penalties `smoothness` applies, to the angles between
    neighbouring faces. With a generator of `lights` roughness and metalness learn as well: every step sees it lit by
    others, and its texture is the colour of its surface without any.
    """

    def __init__(
        self,
        mesh: Mesh,
        penalties: Penalties,
        settled: float = 1.0,
        lights: torch.Generator | None = None,
        *,
        fine: bool = False,
    ) -> None:
        check_libraries()
        self.rate = VERTEX_RATE * (FINE_RATE if fine else 1.0)
        self.begun, self.penalties, self.settled, self.lights = mesh, penalties, settled, lights
        self.atlas = Atlas(mesh.triangles, mesh.corner_uv)
        height, width = mesh.texture.shape[:2]
        self.surface = TexturedSurface.of(self.atlas, (width, height))
        texels = mesh.texture[..., :3].reshape(-1, 3).float() / 255.0
        self.texels = nn.Parameter(
            texels if lights is None else torch.cat([texels, metallic_roughness_texels(mesh)], 1)
        )
        self.offsets = nn.Parameter(torch.zeros_like(mesh.vertices))
        self.spread = Smoothing(self.atlas.surface) if settled > 0 else None

    @property
    def vertices(self) -> Tensor:
        """Where they are now, local frame."""
        start = self.atlas.surface.vertices
        return start if self.spread is None else start + self.spread(self.offsets)

    @property
    def scene(self) -> Mesh:
        """The mesh as it is now; no face is left turned over."""
        with torch.no_grad():
            vertices = unturned(self.atlas.surface, self.vertices).vertices
            own = self.atlas.texels(self.surface.size[0])[0]
            texture, finish = paint_texels(self.begun.texture, self.texels[:, :3], own), self.begun.metallic_roughness
            if self.lights is not None:
                finish = metallic_roughness_texture(self.begun, self.texels[:, 3:], own)
        mesh = Mesh.of(
            vertices, self.begun.faces, corner_uv=self.begun.corner_uv, texture=texture, metallic_roughness=finish
        )
        return mesh.placed_like(self.begun)

    def draw(self, cameras: Cameras, moment: StepInfo) -> Drawing:
        """Pictures, one camera after the other."""
        local, vertices = cameras.moved(self.begun.world_from_local.inverse()), self.vertices
        free = moment.fraction < self.settled
        vertices = vertices if free else vertices.detach()
        shades = self._shades(vertices, local)
        rgba = torch.stack(
            [self.surface.draw(vertices, self.texels, local[[i]], shade).picture for i, shade in enumerate(shades)]
        )
        weight, penalties = value(self.penalties.smoothness, moment.fraction), {}
        if weight and free:
            penalties["smoothness"] = weight * self._bent(vertices)
        return Drawing(rgba[..., :3], rgba[..., 3], penalties)

    def _shades(self, vertices: Tensor, cameras: Cameras) -> list[Shade | None]:
        """How each camera sees texels: as they are, or under the lights of this step."""
        if self.lights is None:
            return [None] * len(cameras)
        lights, faces = Lights.drawn(self.lights), self.surface.faces
        normals = Triangles(vertices, faces).normals
        return [LitSurface(vertices, normals, faces, eye, lights) for eye in cameras.centres]

    def _bent(self, vertices: Tensor) -> Tensor:
        """`Σ 1 - n·n'` over edges."""
        corners = vertices[self.surface.faces]
        normals = nn.functional.normalize(
            torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), dim=-1
        )
        face, corner = (self.surface.opposite >= 0).nonzero(as_tuple=True)
        other = self.surface.opposite[face, corner].long().div(3, rounding_mode="floor")
        return 0.5 * (1.0 - (normals[face] * normals[other]).sum(-1)).sum()

    def groups(self) -> list[ParamGroup]:
        """Texels, and offsets unless they are locked."""
        texels = [ParamGroup("texels", (self.texels,), TEXEL_RATE, sparse=True)]
        if self.spread is None:
            return texels
        return [*texels, ParamGroup("offsets", (self.offsets,), self.rate * self.spread.edge)]

    def after_step(self, moment: StepInfo, generator: torch.Generator, record: None = None) -> ParameterChange | None:
        """Keep colours displayable, and gloss where pixels can see it."""
        self.texels.data.clamp_(0.0, 1.0)
        self.texels.data[:, 3:4].clamp_min_(MIN_ROUGHNESS)
        return None

    def state(self) -> dict[str, Any]:
        """What learns."""
        return {"texels": self.texels.detach(), "offsets": self.offsets.detach()}

    def load_state(self, state: dict[str, Any]) -> None:
        self.texels.data.copy_(state["texels"])
        self.offsets.data.copy_(state["offsets"])
