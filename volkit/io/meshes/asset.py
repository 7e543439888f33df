"""`Asset`: levels of detail with the same materials, and colliders, as a game engine loads them; its texture files."""

import re
from dataclasses import asdict, dataclass, field
from io import BytesIO
from typing import Any

import numpy as np

from volkit.choices import Engine, TextureFormat
from volkit.geometry import Frame
from volkit.geometry.triangles import Triangles
from volkit.representations.material import SLOTS, Material
from volkit.representations.mesh import Mesh
from volkit.typing import Float, Tensor

__all__ = [
    "SLOT_NAMES",
    "Asset",
    "AssetFigures",
    "LevelFigures",
    "RefineFigures",
    "Style",
    "TextureFile",
    "encode_textures",
    "has_transparency",
    "material_names",
]


PNG_LEVEL = 4  # zlib's: half the time of its 6, 4 % larger
LOSSY_QUALITY = 92  # of JPEG and WebP, out of 100; without chroma subsampling
SLOT_NAMES = dict(zip(SLOTS, ("baseColor", "metallicRoughness", "normal", "occlusion", "emissive"), strict=True))
LOSSLESS_SLOTS = ("normal", "metallic_roughness")  # not colours: JPEG would show its blocks and mix the channels
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
    """Meshes and colliders of one object, all in the local frame of the first level."""

    levels: tuple[Mesh, ...]  # finest first; all have the same materials and images
    colliders: tuple[Triangles, ...] = ()  # closed and convex
    lightmap_uv: tuple[Float[Tensor, "face 3 2"], ...] = ()  # one per level, by corner; no two faces overlap
    extras: dict[str, Any] = field(default_factory=dict)  # provenance
    figures: AssetFigures | None = None  # None where the asset was read, not made

    @property
    def mesh(self) -> Mesh:
        """The finest level."""
        return self.levels[0]

    @property
    def materials(self) -> tuple[Material, ...]:
        """The materials of all levels."""
        return self.levels[0].config.materials


@dataclass(frozen=True)
class Style:
    """How an asset is written.

    Attributes:
        engine: whose importer the names of levels and colliders are for; a feature that it lacks is refused.
        texture_format: of the pictures; jpeg holds no alpha.
        draco: whether arrays are compressed by Draco; glTF alone.
        quantize: whether arrays are integers (KHR_mesh_quantization); glTF alone, and not with Draco.
        frame: of the file's coordinates; None: what the format prescribes.
    """

    engine: Engine = "gltf"
    texture_format: TextureFormat = "png"
    draco: bool = False
    quantize: bool = False
    frame: Frame | None = None


@dataclass(frozen=True)
class TextureFile:
    """One encoded image; `name` says what it shows, such as `baseColor` or `wheel_normal`."""

    image: int  # its row in the images of the mesh
    name: str
    data: bytes
    format: TextureFormat

    def file_name(self, stem: str) -> str:
        """The name of its file beside the asset `stem`."""
        return f"{stem}_{self.name}.{SUFFIXES[self.format]}"

    @property
    def mime(self) -> str:
        """Its media type, such as `image/png`."""
        return f"image/{self.format}"


def has_transparency(asset: Asset) -> bool:
    """Whether a material shows the alpha of an image that is not opaque."""
    return any(_shows_alpha(asset, image) for image in range(len(asset.mesh.images)))


def encode_textures(asset: Asset, format: TextureFormat) -> list[TextureFile]:
    """All images of an asset. Maps that are not colours are encoded without loss, as PNG in place of JPEG."""
    uses: dict[int, list[tuple[str, Material]]] = {}
    for material in asset.materials:
        for slot, texture in material.textures.items():
            uses.setdefault(texture.image, []).append((slot, material))
    names: dict[str, int] = {}
    files, words = [], material_names(asset.materials, "part")
    for image, used in sorted(uses.items()):
        slot, material = used[0]
        name = SLOT_NAMES[slot]
        if len(asset.materials) > 1:
            name = f"{words[asset.materials.index(material)]}_{name}"
        names[name] = names.get(name, 0) + 1
        name = name if names[name] == 1 else f"{name}_{names[name]}"
        pixels = asset.mesh.images[image].cpu().numpy()
        pixels = pixels if pixels.shape[2] == 4 and _shows_alpha(asset, image) else pixels[..., :3]
        lossless = any(slot in LOSSLESS_SLOTS for slot, _ in used)
        if lossless and format == "jpeg":
            files.append(TextureFile(image, name, _encode_image(pixels, "png"), "png"))
        else:
            files.append(TextureFile(image, name, _encode_image(pixels, format, lossless), format))
    return files


def material_names(materials: tuple[Material, ...], stem: str) -> list[str]:
    """A name of its own for each, of letters, digits, `-` and `_` alone: its own, else `stem` and a number."""
    found: list[str] = []
    for row, material in enumerate(materials):
        word = re.sub(r"[^\w-]+", "_", material.name, flags=re.ASCII).strip("_")[:40]
        word = word or (stem if len(materials) == 1 else f"{stem}{row}")
        found.append(f"{word}_{row}" if word in found else word)
    return found


def _shows_alpha(asset: Asset, image: int) -> bool:
    """Whether an image is not opaque, and a material shows that."""
    shown = any(
        material.alpha_mode != "opaque"
        and material.base_colour_texture is not None
        and material.base_colour_texture.image == image
        for material in asset.materials
    )
    return shown and bool((asset.mesh.images[image][..., 3] < 255).any())


def _encode_image(pixels: np.ndarray, format: TextureFormat, lossless: bool = False) -> bytes:
    """The bytes of a picture file."""
    from PIL import Image

    file, picture = BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if format == "jpeg":
        picture.save(file, "JPEG", quality=LOSSY_QUALITY, subsampling=0)
    elif format == "webp":
        picture.save(file, "WEBP", quality=LOSSY_QUALITY, lossless=lossless)
    else:
        picture.save(file, "PNG", compress_level=PNG_LEVEL)
    return file.getvalue()
