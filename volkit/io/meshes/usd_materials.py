"""Materials of USD stages as values of ours: UsdPreviewSurface with its textures, and the uv that they lie by."""

# usd-core defines its modules' members at run time.
# pyright: reportAttributeAccessIssue=false

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.eight_bits import in_8_bits
from volkit.files.errors import FormatError
from volkit.io.meshes.parts import ImageTable
from volkit.representations import Material, Texture
from volkit.representations.material import Wrap

__all__ = ["UsdLook", "UsdMaterials", "UvPlacing", "check_inside"]

MAX_TRANSFORMS = 8  # of a texture's uv, one behind the other; a cycle would never end
WRAPS: dict[str, Wrap] = {"clamp": "clamp", "mirror": "mirror", "repeat": "repeat"}
WITHOUT_MATERIAL = (0.578, 0.578, 0.578, 1.0)  # 0.8 in sRGB
CHANNELS = {"r": 0, "g": 1, "b": 2, "a": 3}
UV_SETS = 2  # that a mesh of ours has


@dataclass(frozen=True)
class UvPlacing:
    """Uv from a primvar: `turn @ st + offset`, v up."""

    name: str
    matrix: tuple[tuple[float, float], tuple[float, float]] = ((1.0, 0.0), (0.0, 1.0))
    move: tuple[float, float] = (0.0, 0.0)

    @property
    def turn(self) -> np.ndarray:
        """[2, 2]."""
        return np.array(self.matrix)

    @property
    def offset(self) -> np.ndarray:
        """[2]."""
        return np.array(self.move)


@dataclass(frozen=True)
class UsdLook:
    """A material, the uv of its textures, and whether it shows the colours of the mesh."""

    material: Material
    uv: tuple[UvPlacing, ...] = ()
    shows_colours: bool = False


@dataclass
class _Source:
    """What feeds an input: the channel of an image."""

    texture: Texture
    key: Any
    output: str
    scale: tuple[float, ...]


@dataclass
class UsdMaterials:
    """Reads materials by the prims that they are bound to.

    Attributes:
        images: receives their images.
        lost: receives what is left out, by name.
    """

    images: ImageTable
    lost: set[str] = field(default_factory=set)

    def read(self, bound: Any) -> UsdLook:
        """What the material bound to a prim shows."""
        surface = _surface(bound)
        if surface is None:
            return UsdLook(Material(base_colour=WITHOUT_MATERIAL), shows_colours=True)
        return _SurfaceReader(self, bound, surface).look()


class _SurfaceReader:
    """Reads one UsdPreviewSurface."""

    def __init__(self, materials: UsdMaterials, bound: Any, surface: Any) -> None:
        self.images, self.lost, self.surface = materials.images, materials.lost, surface
        self.stage = Path(bound.GetPrim().GetStage().GetRootLayer().realPath)
        self.placings: list[UvPlacing] = []

    def look(self) -> UsdLook:
        base, glow = self._source("diffuseColor", "RGBA"), self._source("emissiveColor", "RGBA")
        colour, emission = self._value("diffuseColor", (0.18,) * 3), self._value("emissiveColor", (0.0,) * 3)
        plain = self._reads_colours("diffuseColor")
        unlit = not any(colour) and base is None and not plain and (glow or self._reads_colours("emissiveColor"))
        if unlit:  # light alone
            base, glow, plain = glow, None, plain or self._reads_colours("emissiveColor")
            emission = (0.0,) * 3
        if base is None and not plain and not unlit and self._given("diffuseColor") is False:
            plain, colour = True, WITHOUT_MATERIAL[:3]
        rgb = base.scale[:3] if base else (1.0,) * 3 if plain else colour
        alpha, mode, cutoff = self._alpha(base)
        finish, metallic, roughness = self._finish()
        material = Material(
            str(self.surface.GetPrim().GetParent().GetName()),
            (*map(float, rgb), alpha),  # pyright: ignore[reportArgumentType]
            base.texture if base else None,
            metallic,
            roughness,
            finish,
            self._map("normal"),
            occlusion_texture=self._map("occlusion"),
            emission=(1.0, 1.0, 1.0) if glow else tuple(map(float, emission)),  # pyright: ignore[reportArgumentType]
            emission_texture=glow.texture if glow else None,
            alpha_mode=mode,
            alpha_cutoff=cutoff,
            unlit=bool(unlit),
        )
        return UsdLook(material, tuple(self.placings), bool(plain))

    def _alpha(self, base: _Source | None) -> tuple[float, Any, float]:
        """The factor of alpha, its mode and cutoff."""
        source, value = self._source("opacity", "RGBA"), float(self._value("opacity", 1.0))
        if source is not None and (base is None or source.key != base.key or source.output != "a"):
            self.lost.add("opacity of a texture of its own")
            source = None
        cutoff = float(self._value("opacityThreshold", 0.0))
        if source is None and value >= 1.0:
            return 1.0, "opaque", 0.5
        return 1.0 if source else value, "mask" if cutoff > 0.0 else "blend", cutoff or 0.5

    def _finish(self) -> tuple[Texture | None, float, float]:
        """The texture of roughness and metalness, and their factors."""
        rough, metal = self._source("roughness", "RGB"), self._source("metallic", "RGB")
        metallic, roughness = float(self._value("metallic", 0.0)), float(self._value("roughness", 0.5))
        if rough is None and metal is None:
            return None, metallic, roughness
        first = rough or metal
        assert first is not None
        as_ours = (rough is None or rough.output == "g") and (metal is None or metal.output == "b")
        if as_ours and (rough is None or metal is None or rough.key == metal.key):
            return first.texture, 1.0 if metal else metallic, 1.0 if rough else roughness
        if rough is not None and metal is not None and rough.texture.uv != metal.texture.uv:
            self.lost.add("metalness by uv of its own")
            metal = None
        pixels = np.full((*self.images.images[first.texture.image].shape[:2], 3), 255, np.uint8)
        for source, row in ((rough, 1), (metal, 2)):
            if source is not None:
                own = self.images.images[source.texture.image]
                lines, columns = (np.arange(n) * m // n for n, m in zip(pixels.shape[:2], own.shape[:2], strict=True))
                pixels[..., row] = own[lines][:, columns][..., CHANNELS.get(source.output, 0) % own.shape[2]]
        key = tuple((one.key, one.output) if one else None for one in (rough, metal))
        row = self.images.row(("finish", *key), pixels)
        texture = Texture(row, first.texture.uv, first.texture.wrap)
        return texture, 1.0 if metal else metallic, 1.0 if rough else roughness

    def _map(self, name: str) -> Texture | None:
        source = self._source(name, "RGB")
        if source is not None and name == "occlusion" and source.output not in ("r", "rgb"):
            pixels = self.images.images[source.texture.image][..., CHANNELS[source.output] % 3]
            row = self.images.row(("occlusion", source.key, source.output), np.stack([pixels] * 3, -1))
            return Texture(row, source.texture.uv, source.texture.wrap)
        return source.texture if source else None

    def _source(self, name: str, mode: str) -> _Source | None:
        """The texture that feeds an input; None without one."""
        slot = self.surface.GetInput(name)
        texture = _feeding(slot)
        if texture is None or texture.GetIdAttr().Get() != "UsdUVTexture":
            return None
        placing = _placing(texture)
        if placing not in self.placings:
            if len(self.placings) == UV_SETS:
                self.lost.add("textures by a third set of uv")
                return None
            self.placings.append(placing)
        asset = texture.GetInput("file").Get()
        key = (mode, asset.resolvedPath or asset.path)
        pixels = np.zeros(0) if self.images.has(key) else _image(self.stage, asset, mode)
        wrap: tuple[Wrap, Wrap] = _wrap(texture, "wrapS"), _wrap(texture, "wrapT")
        found = Texture(self.images.row(key, pixels), 1 if self.placings.index(placing) else 0, wrap)
        output = str(slot.GetConnectedSources()[0][0].sourceName)
        return _Source(found, key[1], output, tuple(_value(texture, "scale", (1.0,) * 4)))

    def _reads_colours(self, name: str) -> bool:
        """Whether an input shows the colours of the mesh."""
        source = _feeding(self.surface.GetInput(name))
        return source is not None and source.GetIdAttr().Get() == "UsdPrimvarReader_float3"

    def _given(self, name: str) -> bool:
        slot = self.surface.GetInput(name)
        return bool(slot) and (slot.Get() is not None or slot.HasConnectedSource())

    def _value(self, name: str, default: Any) -> Any:
        return _value(self.surface, name, default)


def check_inside(path: Path, named: str) -> None:
    """Raise FormatError for a file outside the folder of the stage at `path`; `a.usdz[b.png]` is in the archive."""
    if not Path(named.partition("[")[0]).resolve().is_relative_to(path.parent.resolve()):
        raise FormatError(path, f"names {named}, outside its folder", "keep the files of a stage together")


def _surface(bound: Any) -> Any:
    """The surface shader of the material that is bound to a prim, or None."""
    from pxr import UsdShade

    material, _ = UsdShade.MaterialBindingAPI(bound).ComputeBoundMaterial()
    return (material.ComputeSurfaceSource()[0] or None) if material else None


def _placing(texture: Any) -> UvPlacing:
    """The primvar by which a texture lies, turned and moved by what stands between them."""
    reader, turn, offset = _feeding(texture.GetInput("st")), np.eye(2), np.zeros(2)
    for _ in range(MAX_TRANSFORMS):
        if reader is None or reader.GetIdAttr().Get() != "UsdTransform2d":
            break
        scale, moved = _value(reader, "scale", (1.0, 1.0)), _value(reader, "translation", (0.0, 0.0))
        angle = np.radians(_value(reader, "rotation", 0.0))
        own = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(scale)
        turn, offset = turn @ own, turn @ np.array(moved) + offset  # scaled, then turned, then moved
        reader = _feeding(reader.GetInput("in"))
    name = "st" if reader is None else str(_value(reader, "varname", "st"))
    (a, b), (c, d) = turn.tolist()
    x, y = offset.tolist()
    return UvPlacing(name, ((a, b), (c, d)), (x, y))


def _feeding(slot: Any) -> Any:
    """The shader that feeds an input, or None."""
    from pxr import UsdShade

    found = slot.GetConnectedSources()[0] if slot and slot.HasConnectedSource() else []
    return UsdShade.Shader(found[0].source) if found else None


def _wrap(texture: Any, name: str) -> Wrap:
    return WRAPS.get(str(_value(texture, name, "")), "repeat")


def _value(shader: Any, name: str, default: Any) -> Any:
    slot = shader.GetInput(name)
    value = slot.Get() if slot else None
    return default if value is None else value


def _image(path: Path, asset: Any, mode: str) -> np.ndarray:
    """The image beside the stage at `path`, or within its archive."""
    from PIL import Image
    from pxr import Ar

    check_inside(path, asset.resolvedPath or asset.path)
    data = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(asset.resolvedPath))
    if data is None:
        raise ValueError(f"picture {asset.path} is not there")
    return np.array(in_8_bits(Image.open(BytesIO(data.GetBuffer()))).convert(mode))
