"""The pictures of an asset as files: base colour, roughness and metalness, normal map, occlusion."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np

from volkit.choices import TextureFormat
from volkit.io.meshes.asset import Asset

__all__ = ["PictureFile", "picture_files", "see_through"]

QUALITY = 92  # of JPEG and WebP, out of 100; 4:4:4 where there is a choice
EXACT = ("normal", "metallicRoughness")  # are no colours: blocks of JPEG would show, and mix channels
SUFFIXES: dict[TextureFormat, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True)
class PictureFile:
    """One picture, coded: what it is for, by glTF's name of the slot."""

    slot: str
    data: bytes
    coding: TextureFormat

    def named(self, stem: str) -> str:
        """The name of its file beside the asset `stem`."""
        return f"{stem}_{self.slot}.{SUFFIXES[self.coding]}"

    @property
    def mime(self) -> str:
        """Its media type."""
        return f"image/{self.coding}"


def see_through(asset: Asset) -> bool:
    """Whether the texture has texels that are not opaque."""
    return bool((asset.levels[0].texture[..., 3] < 255).any())


def picture_files(asset: Asset, coding: TextureFormat) -> list[PictureFile]:
    """All that the asset has. What is no colour is coded without loss, as PNG where JPEG is asked for."""
    maps: dict[str, np.ndarray] = {}
    if asset.levels[0].config.texture[0]:
        texture = asset.levels[0].texture.numpy()
        maps["baseColor"] = texture if see_through(asset) else texture[..., :3]
    if asset.metallic_roughness is not None:
        maps["metallicRoughness"] = asset.metallic_roughness.numpy()
    if asset.normal_map is not None:
        maps["normal"] = asset.normal_map.numpy()
    if asset.occlusion is not None:
        maps["occlusion"] = asset.occlusion.numpy()
    return [_coded(slot, pixels, coding) for slot, pixels in maps.items()]


def _coded(slot: str, pixels: np.ndarray, coding: TextureFormat) -> PictureFile:
    from PIL import Image

    if slot in EXACT and coding == "jpeg":
        coding = "png"
    file, picture = BytesIO(), Image.fromarray(np.ascontiguousarray(pixels))
    if coding == "jpeg":
        picture.save(file, "JPEG", quality=QUALITY, subsampling=0)
    elif coding == "webp":
        picture.save(file, "WEBP", quality=QUALITY, lossless=slot in EXACT)
    else:
        picture.save(file, "PNG")
    return PictureFile(slot, file.getvalue(), coding)
