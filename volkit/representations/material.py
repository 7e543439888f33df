"""Materials of meshes as values, and looks: materials with their images, and where these lie on the faces."""

from dataclasses import dataclass, fields, replace
from typing import Literal

import torch

from volkit.typing import Bool, Float, Int, Tensor, UInt8

__all__ = ["SLOTS", "AlphaMode", "Look", "Material", "Texture", "Wrap"]

Wrap = Literal["repeat", "mirror", "clamp"]
AlphaMode = Literal["opaque", "mask", "blend"]


@dataclass(frozen=True)
class Texture:
    """An image of a mesh as one material uses it.

    Attributes:
        image: its row in the images of the mesh.
        uv: which set of uv it lies by: 0, or 1 for the second.
        wrap: what continues it beyond [0, 1] in u and in v.
        nearest: whether texels are drawn as squares, not interpolated.
    """

    image: int
    uv: Literal[0, 1] = 0
    wrap: tuple[Wrap, Wrap] = ("repeat", "repeat")
    nearest: bool = False


@dataclass(frozen=True)
class Material:
    """What the faces of a mesh show, after glTF's metallic-roughness material.

    Base colour in linear light is `base_colour * texture * vertex colours`; a picture under even white light shows it
    and `emission` times its texture. Roughness and metalness are factors times the green and the blue of a texture.

    Attributes:
        name: of the material in its file.
        base_colour: linear factor and alpha.
        base_colour_texture: display-referred colour, and alpha.
        metallic: factor of metalness.
        roughness: factor of roughness.
        metallic_roughness_texture: linear.
        normal_texture: directions in tangent space, +Y up.
        normal_scale: factor of their x and y.
        occlusion_texture: share of the hemisphere that is open, in red.
        occlusion_strength: how much of it counts.
        emission: linear factor, above 1 for lamps.
        emission_texture: display-referred.
        alpha_mode: whether alpha counts for nothing, hides what is below the cutoff, or blends.
        alpha_cutoff: of `mask`.
        double_sided: whether engines draw its faces from behind; pictures of ours always do.
        unlit: whether base colour is light already.

    Example:
        >>> Material("glass", base_colour=(1.0, 1.0, 1.0, 0.2), alpha_mode="blend").roughness
        1.0
    """

    name: str = ""
    base_colour: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0)
    base_colour_texture: Texture | None = None
    metallic: float = 0.0
    roughness: float = 1.0
    metallic_roughness_texture: Texture | None = None
    normal_texture: Texture | None = None
    normal_scale: float = 1.0
    occlusion_texture: Texture | None = None
    occlusion_strength: float = 1.0
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    emission_texture: Texture | None = None
    alpha_mode: AlphaMode = "opaque"
    alpha_cutoff: float = 0.5
    double_sided: bool = False
    unlit: bool = False

    @property
    def textures(self) -> dict[str, Texture]:
        """Its textures by slot, without `_texture`."""
        found = {slot: getattr(self, f"{slot}_texture") for slot in SLOTS}
        return {slot: texture for slot, texture in found.items() if texture is not None}

    @property
    def has_finish(self) -> bool:
        """Whether roughness or metalness differ from those of a rough surface that is not metallic."""
        return self.metallic_roughness_texture is not None or (self.metallic, self.roughness) != (0.0, 1.0)

    def with_images(self, rows: dict[int, int]) -> "Material":
        """The material with other rows for its images."""
        moved = {slot: replace(one, image=rows[one.image]) for slot, one in self.textures.items()}
        return replace(self, **{f"{slot}_texture": texture for slot, texture in moved.items()})


# In the order in which files have them.
SLOTS = tuple(field.name.removesuffix("_texture") for field in fields(Material) if field.name.endswith("_texture"))


@dataclass(frozen=True)
class Look:
    """What the faces of a mesh show.

    Attributes:
        materials: at least one.
        images: `[height, width, channel]`, bytes or floats in [0, 1]; 4 channels of base colours, else 3 or 4.
        face_material: `[face]`, rows of the materials; None: all faces have the first.
        corner_uv: `[face, 3, 2]`, (0, 0) at the upper left corner of an image, v down; None: no texture has a place.
        second_uv: `[face, 3, 2]`, likewise.
        colours: `[vertex, 4]`, display-referred, bytes or floats, factors of the base colour; None: white.
    """

    materials: tuple[Material, ...] = (Material(),)
    images: tuple[Tensor, ...] = ()
    face_material: Int[Tensor, " face"] | None = None
    corner_uv: Float[Tensor, "face 3 2"] | None = None
    second_uv: Float[Tensor, "face 3 2"] | None = None
    colours: Tensor | None = None

    @classmethod
    def of_texture(
        cls,
        corner_uv: Float[Tensor, "face 3 2"],
        texture: Tensor,
        metallic_roughness: UInt8[Tensor, "height width 3"] | None = None,
    ) -> "Look":
        """One material with a texture, blended where the texture is transparent, and perhaps a finish."""
        clear = bool((texture[..., 3] < (255 if texture.dtype == torch.uint8 else 1.0)).any())
        material = Material(base_colour_texture=Texture(0), alpha_mode="blend" if clear else "opaque")
        if metallic_roughness is None:
            return cls((material,), (texture,), corner_uv=corner_uv)
        material = replace(material, metallic=1.0, metallic_roughness_texture=Texture(1))
        return cls((material,), (texture, metallic_roughness), corner_uv=corner_uv)

    @classmethod
    def of_colours(cls, colours: Tensor) -> "Look":
        """One material with colours at the vertices, blended where they are transparent."""
        clear = bool((colours[..., 3] < (255 if colours.dtype == torch.uint8 else 1.0)).any())
        return cls((Material(alpha_mode="blend" if clear else "opaque"),), colours=colours)

    def with_map(self, slot: str, image: UInt8[Tensor, "height width 3"]) -> "Look":
        """The look with one more texture of its only material, by the first uv; `slot` is one of `SLOTS`."""
        material = replace(self.materials[0], **{f"{slot}_texture": Texture(len(self.images))})
        return replace(self, materials=(material,), images=(*self.images, image))

    def with_faces(self, mask: Bool[Tensor, " face"]) -> "Look":
        """The look of the faces of a mask."""
        own = {name: getattr(self, name) for name in ("face_material", "corner_uv", "second_uv")}
        return replace(self, **{name: None if rows is None else rows[mask] for name, rows in own.items()})
