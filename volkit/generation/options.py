"""Options of generation that a command line can give; light to import, so that it is read before anything heavy is."""

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
    """Options of score distillation; None is the default of the method or of the prior."""

    scale: float | None = None
    """Guidance scale; by default that of the method or of the prior."""
    weight: str | None = None
    """Weight w(t) of diffusion times: sigma_squared, sigma_over_alpha, one, ...; by default that of the method."""
    negative: str = ""
    """Negative prompt, for methods that use one."""
    sides: Sides = "auto"
    """View-dependent prompts: words (front view, ...), perp_neg or none; auto: words, unless the prior is conditioned
    on cameras."""
    grid: bool = False
    """Show the prior four views as one picture, which makes a prior of single pictures consistent."""
    views: int | None = None
    """Pictures per step and particle; by default 4."""
    size: int | None = None
    """Final size of the training pictures in pixels a side; by default that of the prior, else 64."""
    front: float | None = None
    """Share of views near the front, as in pictures of the web; 0: evenly all around."""


@dataclass(frozen=True, kw_only=True)
class GenerateChoices:
    """Options of generation from a prompt."""

    particles: int = 1
    """Number of assets that are trained together, with one critic."""
    max_splats: int = 20_000
    """Largest number of splats."""


@dataclass(frozen=True, kw_only=True)
class AssetChoices:
    """Options of all work on an asset that exists."""

    texture: int = 1024
    """Texels a side of the texture of a mesh that has none."""
    control_kind: ControlKind = "normal"
    """Input of the ControlNet: normals, depth, or edges of pictures."""


@dataclass(frozen=True, kw_only=True)
class RefineChoices(AssetChoices):
    """Options of refinement."""

    geometry: Literal["free", "locked"] = "free"
    """Whether the vertices of a mesh may move (free) or not (locked); its faces and uv stay."""
    pbr: bool = False
    """Train roughness and metalness as well, and base colour without shading, under random lights; stored in glTF."""


@dataclass(frozen=True, kw_only=True)
class RetextureChoices(AssetChoices):
    """Options of retexturing."""

    keep: bool = False
    """Start from the present colours, not from grey."""
    pbr: bool = False
    """Train roughness and metalness as well, and base colour without shading, under random lights; stored in glTF."""


@dataclass(frozen=True, kw_only=True)
class EditChoices(AssetChoices):
    """Options of editing by prompts."""

    preserve: float = 5.0
    """Weight of preserving pixels in which the prior asks for no change."""
    free: bool = False
    """Let the vertices of a mesh move, too."""
