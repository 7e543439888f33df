"""Triangle meshes with one texture or with vertex colours."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch.nn import functional

from volkit.geometry import Domain
from volkit.geometry.triangles import Triangles
from volkit.ops.param_group import ParamGroup
from volkit.representations.kinds import RepresentationConfig
from volkit.representations.representation import Representation
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["Mesh", "MeshConfig"]


@dataclass(frozen=True)
class MeshConfig(RepresentationConfig):
    """The sizes of a mesh.

    Attributes:
        vertices: number of vertices.
        faces: number of triangles.
        texture: height and width of the texture; (0, 0): vertex colours.
    """

    kind: ClassVar[str] = "mesh"
    trainable: ClassVar[bool] = False
    vertices: int = 3
    faces: int = 1
    texture: tuple[int, int] = (0, 0)

    def build(self, domain: Domain, generator: torch.Generator) -> "Mesh":
        """A mesh of zeros, to be filled."""
        return Mesh(self, domain)


class Mesh(Representation):
    """A triangle mesh with display-referred base colour, from a texture by each corner's uv, or at the vertices.

    uv is glTF's: (0, 0) is the texture's upper left corner, v runs down; textures repeat outside [0, 1].

    Attributes:
        vertices: `[vertex, 3]`, local frame.
        faces: `[face, 3]`, int32, counter-clockwise seen from outside.
        corner_uv: `[face, 3, 2]`; empty without a texture.
        texture: `[height, width, 4]`, bytes, or floats in [0, 1].
        colours: `[vertex, 4]`, likewise; empty with a texture.
        metallic_roughness: by the same uv as the texture, linear: roughness in green, metalness in blue; None: rough
            and not metallic.
    """

    vertices: Tensor
    faces: Tensor
    corner_uv: Tensor
    texture: Tensor
    colours: Tensor
    metallic_roughness: UInt8[Tensor, "height width 3"] | None

    def __init__(self, config: MeshConfig, domain: Domain) -> None:
        super().__init__(domain)
        self.config = config
        textured = config.texture[0] > 0
        self.register_buffer("vertices", torch.zeros(config.vertices, 3))
        self.register_buffer("faces", torch.zeros(config.faces, 3, dtype=torch.int32))
        self.register_buffer("corner_uv", torch.zeros(config.faces if textured else 0, 3, 2))
        self.register_buffer("texture", torch.zeros(*config.texture, 4, dtype=torch.uint8))
        self.register_buffer("colours", torch.zeros(0 if textured else config.vertices, 4, dtype=torch.uint8))
        self.register_buffer("metallic_roughness", None)

    @classmethod
    def of(
        cls,
        vertices: Float[Tensor, "vertex 3"],
        faces: Int[Tensor, "face 3"],
        *,
        corner_uv: Float[Tensor, "face 3 2"] | None = None,
        texture: UInt8[Tensor, "height width 4"] | None = None,
        metallic_roughness: UInt8[Tensor, "height width 3"] | None = None,
        colours: UInt8[Tensor, "vertex 4"] | None = None,
    ) -> "Mesh":
        """A mesh from its parts; without texture and colours it is light grey."""
        size = (0, 0) if corner_uv is None or texture is None else (texture.shape[0], texture.shape[1])
        low, high = vertices.amin(0).double(), vertices.amax(0).double()  # in float32 the margin may round to nothing
        pad = 1e-4 * float((high - low).norm()) + 1e-9  # so that the box of a flat mesh is not empty
        domain = Domain(tuple((low - pad).tolist()), tuple((high + pad).tolist()))
        mesh = cls(MeshConfig(len(vertices), len(faces), size), domain)
        mesh.vertices, mesh.faces = vertices.float(), faces.int()
        if corner_uv is not None and texture is not None:
            mesh.corner_uv, mesh.texture, mesh.metallic_roughness = corner_uv.float(), texture, metallic_roughness
        else:
            mesh.colours = colours if colours is not None else torch.full((len(vertices), 4), 200, dtype=torch.uint8)
            if colours is None:
                mesh.colours[:, 3] = 255
        return mesh

    def bounds(self) -> Domain:
        """The box about all vertices."""
        return self.domain

    def param_groups(self) -> list[ParamGroup]:
        """None: a mesh is a teacher."""
        return []

    def _sizes(self) -> list[str]:
        colours = "texture {1} x {0}".format(*self.config.texture) if self.config.texture[0] else "vertex colours"
        return [f"{len(self.faces)} faces", f"{len(self.vertices)} vertices", colours]

    def check(self) -> None:
        """Raise ValueError where a face names a vertex that is not there."""
        if len(self.faces) and not (int(self.faces.min()) >= 0 and int(self.faces.max()) < len(self.vertices)):
            low, high = int(self.faces.min()), int(self.faces.max())
            raise ValueError(f"mesh: faces name vertices {low} to {high}, there are {len(self.vertices)}")

    @property
    def triangles(self) -> Triangles:
        """Its vertices and faces, local frame."""
        return Triangles(self.vertices, self.faces.long())

    def with_faces(self, mask: Bool[Tensor, " face"]) -> "Mesh":
        """The mesh with the faces of a mask; all vertices stay."""
        return self._with_geometry(self.vertices, mask)

    def with_vertices(self, vertices: Float[Tensor, "vertex 3"]) -> "Mesh":
        """The mesh with other vertex positions."""
        return self._with_geometry(vertices, slice(None))

    def _with_geometry(self, vertices: Tensor, mask: Tensor | slice) -> "Mesh":
        if not self.config.texture[0]:
            return self._place(Mesh.of(vertices, self.faces[mask], colours=self.colours))
        parts = {"corner_uv": self.corner_uv[mask], "texture": self.texture}
        return self._place(Mesh.of(vertices, self.faces[mask], **parts, metallic_roughness=self.metallic_roughness))

    def as_metallic_roughness(self) -> "Mesh | None":
        """The mesh with `metallic_roughness` as its texture; None where there is none."""
        if self.metallic_roughness is None:
            return None
        full = torch.full_like(self.metallic_roughness[..., :1], 255)
        picture = torch.cat([self.metallic_roughness, full], -1)
        return self._place(Mesh.of(self.vertices, self.faces, corner_uv=self.corner_uv, texture=picture))

    def _place(self, mesh: "Mesh") -> "Mesh":
        return mesh.view(placement=self.placement, capture=self.capture)

    def base_colour(
        self, face: Int[Tensor, " point"], barycentric: Float[Tensor, "point 3"]
    ) -> Float[Tensor, "point 4"]:
        """Colour and alpha in [0, 1] at points of faces, bilinear between texels, centred at integer + 0.5.

        Differentiable in the barycentric coordinates, and in a texture or colours of floats.
        """
        if not self.config.texture[0]:
            corners = _unit(self.colours[self.faces[face].long()])
            return (corners * barycentric[..., None]).sum(1)
        uv = (self.corner_uv[face] * barycentric[..., None]).sum(1)
        uv = uv - uv.floor()
        image = _unit(self.texture).permute(2, 0, 1)[None]
        found = functional.grid_sample(
            image, 2.0 * uv[None, None] - 1.0, mode="bilinear", align_corners=False, padding_mode="border"
        )
        return found[0, :, 0].T


def _unit(colours: Tensor) -> Tensor:
    """Bytes as parts of 255; floats are in [0, 1] already."""
    return colours.float() / 255.0 if colours.dtype == torch.uint8 else colours
