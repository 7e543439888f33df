"""What can be said of work with a prior in words, numbers and switches; light to import, as command lines need it."""

from dataclasses import dataclass
from typing import Literal

from volkit.choices import ControlKind, Sides

__all__ = [
    "EditChoices",
    "GenerateChoices",
    "RefineChoices",
    "RetextureChoices",
    "ScoreChoices",
]


@dataclass(frozen=True, kw_only=True)
class ScoreChoices:
    """How a prior is asked; None is what the method or the prior itself advises."""

    scale: float | None = None
    """Guidance scale; by default the method's own, or what the prior's folder advises."""
    weight: str | None = None
    """Weight of the diffusion's times: sigma_squared, sigma_over_alpha, one, ...; by default the method's own."""
    negative: str = ""
    """What it shall not be, for methods that ask about that."""
    sides: Sides = "auto"
    """How words tell the side that is seen: words (front view, ...), perp_neg, none; auto: words, where the prior is
    not told the camera."""
    grid: bool = False
    """Show the prior four views as one picture, so that a prior of single pictures makes them agree."""
    views: int | None = None
    """Pictures of a step, of each particle; by default 4."""
    size: int | None = None
    """Pixels a side of the pictures at the end; by default what the prior's folder advises, else 64."""
    front: float | None = None
    """Share of views about the front, as web pictures are taken; 0: evenly around."""


@dataclass(frozen=True, kw_only=True)
class GenerateChoices:
    """How words become scenes."""

    particles: int = 1
    """How many assets are made together, with one critic."""
    max_splats: int = 20_000
    """How many splats there may be, where splats are made."""


@dataclass(frozen=True, kw_only=True)
class AssetChoices:
    """What every prior that changes an asset is told."""

    texture: int = 1024
    """Texels a side for a mesh that has none of its own."""
    control_kind: ControlKind = "normal"
    """What a ControlNet was taught to read: normals, depth, or the edges of pictures."""


@dataclass(frozen=True, kw_only=True)
class RefineChoices(AssetChoices):
    """How an asset is refined."""

    geometry: Literal["free", "locked"] = "free"
    """Whether the vertices of a mesh may move; its faces and uv stay."""
    pbr: bool = False
    """Learn roughness and metalness as well, and colours free of light: seen under random lights, written to glTF."""


@dataclass(frozen=True, kw_only=True)
class RetextureChoices(AssetChoices):
    """How a mesh is painted."""

    keep: bool = False
    """Begin with the colours that are there, not with grey."""
    pbr: bool = False
    """Learn roughness and metalness as well, and colours free of light: seen under random lights, written to glTF."""


@dataclass(frozen=True, kw_only=True)
class EditChoices(AssetChoices):
    """How an asset is edited by words."""

    preserve: float = 5.0
    """Weight with which pixels are held where the prior does not ask for a change."""
    free: bool = False
    """Let the vertices of a mesh move as well."""
