"""`Asset`: levels of detail on one texture, maps and colliders, as a game engine loads them; and its texture files."""

from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Any

import numpy as np

from volkit.choices import Engine, TextureFormat
from volkit.geometry import Frame
from volkit.geometry.triangles import Triangles
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor, UInt8

__all__ = [
    "Asset",
    "AssetFigures",
    "LevelFigures",
    "RefineFigures",
    "Style",
    "TextureFile",
    "encode_textures",
    "has_transparency",
]


LOSSY_QUALITY = 92  # of JPEG and WebP, out of 100; without chroma subsampling
LOSSLESS_SLOTS = ("normal", "metallicRoughness")  # not colours: JPEG would show its blocks and mix the channels
SUFFIXES: dict[TextureFormat, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True)
class LevelFigures:
    """Measurements of one level of detail."""

    triangles: int
    texels_per_unit: float
    watertight: bool
    components: int
    chamfer_to_dense: float  # share of the diagonal, to the surface before simplification
    f_score_to_dense: float  # at 1 % of the diagonal


@dataclass(frozen=True)
class RefineFigures:
    """What refining the texture against the source gained: PSNR in dB over white, from held-out cameras."""

    psnr_before: float
    psnr_after: float
    steps: int
    pictures: int


@dataclass(frozen=True)
class AssetFigures:
    """Measurements of a whole asset; `stages` are seconds by stage."""

    triangles: int
    vertices: int
    dense_triangles: int | None = None
    texture: int | None = None
    colliders: int = 0
    levels: tuple[LevelFigures, ...] = ()
    refined: RefineFigures | None = None
    seconds: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values; what was not measured is left out."""
        return {name: value for name, value in asdict(self).items() if value not in (None, ())}


@dataclass(frozen=True)
class Asset:
    """Meshes, maps and colliders of one object, all in the local frame of the first level."""

    levels: tuple[Mesh, ...]  # finest first; all index the same texture
    colliders: tuple[Triangles, ...] = ()  # closed and convex
    normal_map: UInt8[Tensor, "height width 3"] | None = None  # tangent space, +Y up, as in glTF
    metallic_roughness: UInt8[Tensor, "height width 3"] | None = None  # roughness in green, metalness in blue, linear
    occlusion: UInt8[Tensor, "height width"] | None = None  # share of the hemisphere that is unoccluded
    unlit: bool = False  # the texture holds observed light, not the colour of the surface
    lightmap_uv: tuple[Float[Tensor, "face 3 2"], ...] = ()  # one per level, by corner; no two faces overlap
    extras: dict[str, Any] = field(default_factory=dict)  # provenance
    figures: AssetFigures | None = None  # None where the asset was read, not made

    @property
    def mesh(self) -> Mesh:
        """The finest level, with the asset's metallic-roughness map."""
        level = self.levels[0]
        if self.metallic_roughness is None or level.metallic_roughness is not None:
            return level
        mesh = Mesh.of(
            level.vertices,
            level.faces,
            corner_uv=level.corner_uv,
            texture=level.texture,
            metallic_roughness=self.metallic_roughness,
        )
        return mesh.view(placement=level.placement, capture=level.capture)


@dataclass(frozen=True)
class Style:
    """How an asset is written: names for an engine, texture format, compression, axes (None: those of the format)."""

    engine: Engine = "gltf"
    texture_format: TextureFormat = "png"
    draco: bool = False
    quantize: bool = False
    frame: Frame | None = None


@dataclass(frozen=True)
class TextureFile:
    """One encoded texture; `slot` is glTF's name for its use, such as `baseColor`."""

    slot: str
    data: bytes
    format: TextureFormat

    def file_name(self, stem: str) -> str:
        """The name of its file beside the asset `stem`."""
        return f"{stem}_{self.slot}.{SUFFIXES[self.format]}"

    @property
    def mime(self) -> str:
        """Its media type, such as `image/png`."""
        return f"image/{self.format}"


def has_transparency(asset: Asset) -> bool:
    """Whether any texel of the texture is not opaque."""
    return bool((asset.levels[0].texture[..., 3] < 255).any())


def encode_textures(asset: Asset, format: TextureFormat) -> list[TextureFile]:
    """All textures of an asset. Maps that are not colours are encoded without loss, as PNG in place of JPEG."""
    maps: dict[str, np.ndarray] = {}
    if asset.levels[0].config.texture[0]:
        texture = asset.levels[0].texture.numpy()
        maps["baseColor"] = texture if has_transparency(asset) else texture[..., :3]
    if asset.metallic_roughness is not None:
        maps["metallicRoughness"] = asset.metallic_roughness.numpy()
    if asset.normal_map is not None:
        maps["normal"] = asset.normal_map.numpy()
    if asset.occlusion is not None:
        maps["occlusion"] = asset.occlusion.numpy()
    return [_encode_texture(slot, pixels, format) for slot, pixels in maps.items()]


def _encode_texture(slot: str, pixels: np.ndarray, format: TextureFormat) -> TextureFile:
    from PIL import Image

    if slot in LOSSLESS_SLOTS and format == "jpeg":
        format = "png"
    file, picture = BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if format == "jpeg":
        picture.save(file, "JPEG", quality=LOSSY_QUALITY, subsampling=0)
    elif format == "webp":
        picture.save(file, "WEBP", quality=LOSSY_QUALITY, lossless=slot in LOSSLESS_SLOTS)
    else:
        picture.save(file, "PNG")
    return TextureFile(slot, file.getvalue(), format)
