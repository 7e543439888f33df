"""Triangle meshes whose parts have materials: textures, factors, vertex colours."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from volkit.geometry import Domain
from volkit.geometry.colour import linear_from_srgb, srgb_from_linear
from volkit.geometry.triangles import Triangles
from volkit.ops.param_group import ParamGroup
from volkit.representations.kinds import RepresentationConfig
from volkit.representations.material import Look, Material, Texture, Wrap
from volkit.representations.representation import Representation
from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["Mesh", "MeshConfig"]

GREY = 200  # of 255: what a mesh without colours shows


@dataclass(frozen=True)
class MeshConfig(RepresentationConfig):
    """The sizes and materials of a mesh.

    Attributes:
        vertices: number of vertices.
        faces: number of triangles.
        materials: of its faces.
        images: height, width and channels of each.
        uv_sets: 0, 1 or 2.
        coloured: whether vertices have colours.
        shaded: whether vertices have normals of their own; else those of their faces count.
    """

    kind: ClassVar[str] = "mesh"
    trainable: ClassVar[bool] = False
    vertices: int = 3
    faces: int = 1
    materials: tuple[Material, ...] = (Material(),)
    images: tuple[tuple[int, int, int], ...] = ()
    uv_sets: int = 0
    coloured: bool = True
    shaded: bool = False

    def build(self, domain: Domain, generator: torch.Generator) -> "Mesh":
        """A mesh of zeros, to be filled."""
        return Mesh(self, domain)


class Mesh(Representation):
    """A triangle mesh whose faces have materials.

    Attributes:
        vertices: `[vertex, 3]`, local frame.
        faces: `[face, 3]`, int32, counter-clockwise seen from outside.
        face_material: `[face]`, int32, rows of `config.materials`.
        corner_uv: `[face, 3, 2]`, (0, 0) at the upper left corner of an image, v down; empty without uv.
        second_uv: `[face, 3, 2]`, likewise.
        colours: `[vertex, 4]`, display-referred bytes, or floats in [0, 1]; empty where vertices have none.
        normals: `[vertex, 3]`, local frame, as the file has them; empty where those of the faces count.
    """

    vertices: Tensor
    faces: Tensor
    face_material: Tensor
    corner_uv: Tensor
    second_uv: Tensor
    colours: Tensor
    normals: Tensor
    config: MeshConfig

    def __init__(self, config: MeshConfig, domain: Domain) -> None:
        super().__init__(domain)
        self.config = config
        self.register_buffer("vertices", torch.zeros(config.vertices, 3))
        self.register_buffer("faces", torch.zeros(config.faces, 3, dtype=torch.int32))
        self.register_buffer("face_material", torch.zeros(config.faces, dtype=torch.int32))
        self.register_buffer("corner_uv", torch.zeros(config.faces if config.uv_sets > 0 else 0, 3, 2))
        self.register_buffer("second_uv", torch.zeros(config.faces if config.uv_sets > 1 else 0, 3, 2))
        colours = torch.zeros(config.vertices if config.coloured else 0, 4, dtype=torch.uint8)
        self.register_buffer("colours", colours)
        self.register_buffer("normals", torch.zeros(config.vertices if config.shaded else 0, 3))
        for number, size in enumerate(config.images):
            self.register_buffer(f"image_{number}", torch.zeros(size, dtype=torch.uint8))

    @classmethod
    def of(
        cls,
        vertices: Float[Tensor, "vertex 3"],
        faces: Int[Tensor, "face 3"],
        *,
        corner_uv: Float[Tensor, "face 3 2"] | None = None,
        texture: Tensor | None = None,
        metallic_roughness: UInt8[Tensor, "height width 3"] | None = None,
        colours: Tensor | None = None,
    ) -> "Mesh":
        """A mesh of one material: with a texture, with colours at its vertices, or light grey."""
        if corner_uv is not None and texture is not None:
            return cls.build(vertices, faces, Look.of_texture(corner_uv, texture, metallic_roughness))
        if colours is None:
            colours = torch.full((len(vertices), 4), GREY, dtype=torch.uint8)
            colours[:, 3] = 255
        return cls.build(vertices, faces, Look.of_colours(colours))

    @classmethod
    def build(
        cls,
        vertices: Float[Tensor, "vertex 3"],
        faces: Int[Tensor, "face 3"],
        look: Look,
        normals: Float[Tensor, "vertex 3"] | None = None,
    ) -> "Mesh":
        """A mesh with any materials, images, uv, colours and normals.

        Raises:
            ValueError: faces name vertices or materials, or materials images or uv, that are not there.
        """
        low, high = vertices.amin(0).double(), vertices.amax(0).double()  # in float32 the margin may round to nothing
        pad = 1e-4 * float((high - low).norm()) + 1e-9  # so that the box of a flat mesh is not empty
        config = MeshConfig(
            len(vertices), len(faces), look.materials, tuple((*image.shape,) for image in look.images),  # pyright: ignore[reportArgumentType]
            uv_sets=(look.corner_uv is not None) + (look.second_uv is not None),
            coloured=look.colours is not None, shaded=normals is not None,
        )  # fmt: skip
        mesh = cls(config, Domain(tuple((low - pad).tolist()), tuple((high + pad).tolist())))
        mesh.vertices, mesh.faces = vertices.float(), faces.int()
        mesh.face_material = mesh.face_material.to(vertices.device)
        if look.face_material is not None:
            mesh.face_material = look.face_material.int()
        for name in ("corner_uv", "second_uv"):
            rows = getattr(look, name)
            setattr(mesh, name, getattr(mesh, name).to(vertices.device) if rows is None else rows.float())
        mesh.colours = mesh.colours.to(vertices.device) if look.colours is None else look.colours
        mesh.normals = mesh.normals.to(vertices.device) if normals is None else normals.float()
        for number, image in enumerate(look.images):
            setattr(mesh, f"image_{number}", image)
        mesh.check()
        return mesh

    @property
    def images(self) -> tuple[Tensor, ...]:
        """The images of its materials, `[height, width, channel]`."""
        return tuple(getattr(self, f"image_{number}") for number in range(len(self.config.images)))

    @property
    def look(self) -> Look:
        """What its faces show, by the same tensors."""
        config = self.config
        return Look(
            config.materials,
            self.images,
            self.face_material,
            self.corner_uv if config.uv_sets > 0 else None,
            self.second_uv if config.uv_sets > 1 else None,
            self.colours if config.coloured else None,
        )

    @property
    def has_one_texture(self) -> bool:
        """Whether an image, repeated by the first uv, is all the base colour of all faces; `texture` is that image."""
        material = self.config.materials[0]
        return (
            len(self.config.materials) == 1
            and material.base_colour_texture == Texture(0)
            and material.base_colour == (1.0, 1.0, 1.0, 1.0)
            and not any(material.emission)
            and not self.config.coloured
        )

    @property
    def texture(self) -> Tensor:
        """`[height, width, 4]` of a mesh that has one texture; ValueError for others."""
        if not self.has_one_texture:
            raise ValueError("the mesh has more than one texture to its name: join its materials first")
        return self.images[0]

    @property
    def metallic_roughness(self) -> UInt8[Tensor, "height width 3"] | None:
        """`[height, width, 3]` of a mesh of one material, roughness in green, metalness in blue; None without one."""
        texture = self.config.materials[0].metallic_roughness_texture
        return None if texture is None or len(self.config.materials) > 1 else self.images[texture.image]

    def bounds(self) -> Domain:
        """The box about all vertices."""
        return self.domain

    def param_groups(self) -> list[ParamGroup]:
        """None: a mesh is a teacher."""
        return []

    def _sizes(self) -> list[str]:
        config = self.config
        look = "vertex colours" if config.coloured else "plain"
        if config.images:
            height, width, _ = config.images[0]
            look = f"texture {width} x {height}" if len(config.images) == 1 else f"{len(config.images)} images"
        parts = [] if len(config.materials) == 1 else [f"{len(config.materials)} materials"]
        return [f"{config.faces} faces", f"{config.vertices} vertices", *parts, look]

    def check(self) -> None:
        """Raise ValueError where a face or a material names what is not there."""
        config = self.config
        if not config.materials:
            raise ValueError("mesh: has no material")
        _check_rows("faces name vertices", self.faces, len(self.vertices))
        _check_rows("faces name materials", self.face_material, len(config.materials))
        for material in config.materials:
            for slot, texture in material.textures.items():
                if not 0 <= texture.image < len(config.images):
                    raise ValueError(f"mesh: {slot} names image {texture.image}, there are {len(config.images)}")
                if texture.uv >= config.uv_sets:
                    raise ValueError(f"mesh: {slot} lies by uv set {texture.uv}, there are {config.uv_sets}")
                if config.images[texture.image][2] < (4 if slot == "base_colour" else 3):
                    raise ValueError(f"mesh: image {texture.image} has too few channels for {slot}")

    @property
    def triangles(self) -> Triangles:
        """Its vertices and faces, local frame."""
        return Triangles(self.vertices, self.faces.long())

    @property
    def vertex_normals(self) -> Float[Tensor, "vertex 3"]:
        """Normals of its own, else those of the faces about each vertex; local frame."""
        return self.normals if self.config.shaded else self.triangles.normals

    def with_faces(self, mask: Bool[Tensor, " face"]) -> "Mesh":
        """The mesh with the faces of a mask; all vertices stay."""
        normals = self.normals if self.config.shaded else None
        return self._place(Mesh.build(self.vertices, self.faces[mask], self.look.with_faces(mask), normals))

    def with_vertices(self, vertices: Float[Tensor, "vertex 3"]) -> "Mesh":
        """The mesh with other vertex positions, and the normals of its faces."""
        return self._place(Mesh.build(vertices, self.faces, self.look))

    def with_look(self, look: Look) -> "Mesh":
        """The same surface with another look."""
        return self._place(Mesh.build(self.vertices, self.faces, look, self.normals if self.config.shaded else None))

    def as_metallic_roughness(self) -> "Mesh | None":
        """The mesh with roughness in green and metalness in blue as its colours; None where nothing has a finish."""
        if not any(material.has_finish for material in self.config.materials):
            return None
        images, materials = [], []
        for material in self.config.materials:
            texture = material.metallic_roughness_texture
            factor = torch.tensor([1.0, material.roughness, material.metallic], device=self.device)
            finish = factor[None, None] if texture is None else factor * _unit(self.images[texture.image][..., :3])
            picture = torch.cat([finish, torch.ones_like(finish[..., :1])], -1)
            materials.append(Material(base_colour_texture=replace(texture or Texture(0), image=len(images))))
            images.append((255.0 * picture).round().to(torch.uint8))
        uv = self.look.corner_uv
        uv = self.vertices.new_zeros(len(self.faces), 3, 2) if uv is None else uv
        look = replace(self.look, materials=tuple(materials), images=tuple(images), corner_uv=uv, colours=None)
        return self.with_look(look)

    def _place(self, mesh: "Mesh") -> "Mesh":
        return mesh.view(placement=self.placement, capture=self.capture)

    def colours_at(
        self, face: Int[Tensor, " point"], barycentric: Float[Tensor, "point 3"]
    ) -> Float[Tensor, "point 4"]:
        """Display-referred colour and alpha in [0, 1] at points of faces, as under even white light.

        Base colour and emission, added in linear light; alpha as the material's mode has it. Texels are centred at
        integer + 0.5. Differentiable in the barycentric coordinates, and in images or colours of floats.
        """
        if len(self.config.materials) == 1:
            return self._shade(self.config.materials[0], face, barycentric)
        number, found = self.face_material[face.long()], barycentric.new_zeros(len(face), 4)
        for row in number.unique().tolist():
            own = (number == row).nonzero()[:, 0]
            shaded = self._shade(self.config.materials[row], face[own], barycentric[own])
            found = found.index_copy(0, own, shaded.to(found))
        return found

    def _shade(self, material: Material, face: Tensor, barycentric: Tensor) -> Tensor:
        """Colours and alpha at points of faces of one material."""
        texel = self._sampled(material.base_colour_texture, face, barycentric)
        tint = self._vertex_light(face, barycentric)
        glow = torch.tensor(material.emission, device=barycentric.device)
        if texel is None or tint is not None or material.base_colour != (1.0, 1.0, 1.0, 1.0) or bool(glow.any()):
            light = torch.tensor(material.base_colour, device=barycentric.device).expand(len(face), 4)
            for factor in (None if texel is None else _to_linear(texel), tint):
                light = light if factor is None else light * factor
            emitted = self._sampled(material.emission_texture, face, barycentric)
            glow = glow if emitted is None else glow * linear_from_srgb(emitted[:, :3])
            rgb = srgb_from_linear((light[:, :3] + glow).clamp(0.0, 1.0))
            texel = torch.cat([rgb, light[:, 3:]], 1)
        if material.alpha_mode == "blend":
            return texel
        alpha = texel[:, 3:].detach()
        shown = (
            torch.ones_like(alpha) if material.alpha_mode == "opaque" else (alpha >= material.alpha_cutoff).to(alpha)
        )
        return torch.cat([texel[:, :3], shown], 1)

    def _vertex_light(self, face: Tensor, barycentric: Tensor) -> Tensor | None:
        """Linear vertex colours and alpha at points of faces; None where they are white."""
        if not self.config.coloured:
            return None
        corners = self.colours[self.faces[face.long()].long()]
        if corners.dtype == torch.uint8 and bool((corners == 255).all()):
            return None
        return (_to_linear(_unit(corners)) * barycentric[..., None]).sum(1)

    def _sampled(self, texture: Texture | None, face: Tensor, barycentric: Tensor) -> Tensor | None:
        """The texels of a texture at points of faces, [point, channel] in [0, 1]."""
        if texture is None:
            return None
        corners = (self.corner_uv, self.second_uv)[texture.uv][face.long()]
        return _sample(self.images[texture.image], (corners * barycentric[..., None]).sum(1), texture)


def _sample(image: Tensor, uv: Float[Tensor, "point 2"], texture: Texture) -> Float[Tensor, "point channel"]:
    """Values of an image at uv, bilinear between texels or the nearest one's, beyond it as its wraps say."""
    height, width = image.shape[:2]
    place = uv * uv.new_tensor([width, height]) - (0.0 if texture.nearest else 0.5)
    low = place.detach().floor()
    part, corner = place - low, low.long()
    across = [_wrapped(corner[:, 0] + step, width, texture.wrap[0]) for step in (0, 1)]
    down = [_wrapped(corner[:, 1] + step, height, texture.wrap[1]) for step in (0, 1)]
    if texture.nearest:
        return _unit(image[down[0], across[0]])
    x, y = part[:, :1], part[:, 1:]
    upper, lower = (_unit(image[row, across[0]]) * (1.0 - x) + _unit(image[row, across[1]]) * x for row in down)
    return upper * (1.0 - y) + lower * y


def _wrapped(index: Int[Tensor, " point"], size: int, wrap: Wrap) -> Int[Tensor, " point"]:
    """Which texel of a row stands at an index, also beyond the row."""
    if wrap == "clamp":
        return index.clamp(0, size - 1)
    if wrap == "repeat":
        return index.remainder(size)
    there = index.remainder(2 * size)
    return torch.where(there < size, there, 2 * size - 1 - there)


def _to_linear(rgba: Float[Tensor, "*any 4"]) -> Float[Tensor, "*any 4"]:
    return torch.cat([linear_from_srgb(rgba[..., :3]), rgba[..., 3:]], -1)


def _unit(colours: Tensor) -> Tensor:
    """Bytes as parts of 255; floats are in [0, 1] already."""
    return colours.float() / 255.0 if colours.dtype == torch.uint8 else colours


def _check_rows(what: str, rows: Tensor, count: int) -> None:
    if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < count:
        raise ValueError(f"mesh: {what} {int(rows.min())} to {int(rows.max())}, there are {count}")
