"""Options of a conversion; light to import, so that a command line is read before anything heavy is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from volkit.choices import KINDS, AnyKind, Device, ParameterError, SpzFrame, SpzVersion

if TYPE_CHECKING:
    from volkit.data import Photographs
    from volkit.io.meshes.asset import Style
    from volkit.meshing.options import MeshOptions
    from volkit.representations import RepresentationConfig

__all__ = ["BUDGET", "ConvertChoices", "ConvertOptions", "FileChoices", "FileOptions"]

BUDGET = "60s"  # of training, by default
OF_SPLATS = ("sh_degree", "surfels")  # options that do not apply to other kinds
ANEW = ("budget", "method", "photos", "config")  # options that ask for training in any case
LEARNING = (*ANEW, "max_splats", *OF_SPLATS)  # options that do not apply to a mesh, which is extracted


@dataclass(frozen=True, kw_only=True)
class ConvertChoices:
    """Options of a conversion that a command line can give: words, numbers and switches."""

    to: AnyKind | None = None
    """Kind of representation, or mesh; by default that of the source, if the target's format can hold it. A source of
    this kind is written as it is, unless an option asks for training."""
    method: Literal["volkit", "pvd", "pvd-al"] | None = None
    """Distillation method: volkit (default) with closed-form initialisation, cached teacher samples and error-driven
    rays; pvd or pvd-al as published."""
    budget: str | None = None
    """Time of optimisation (60s by default, 10m, 1h) or a number of steps (2000)."""
    size: int | None = None
    """Longest side in pixels of the pictures of the source; by default as its cameras recorded."""
    max_splats: int | None = None
    """Largest number of splats; by default as many as a source of splats has, else 60000."""
    sh_degree: int | None = None
    """Degree of the splats' spherical harmonics, 0 to 4; by default that of a source of splats, else 3."""
    surfels: bool = False
    """Make flat splats (2D Gaussians); a source of flat splats stays flat in any case."""

    def given(self, *names: str) -> list[str]:
        """Names of the options that were given, also with their default values."""
        return [name for name in names if getattr(self, name) is not None and getattr(self, name) is not False]


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(ConvertChoices):
    """Options of `convert`; None is the value that the source or the target's format suggests.

    Raises:
        ParameterError: a kind or degree that does not exist, or options that do not apply to the requested kind.

    Example:
        >>> ConvertOptions(to="voxels", budget="30s").kind_asked
        'voxels'
    """

    config: "RepresentationConfig | None" = None
    """Sizes of the representation; by default those of its paper."""
    mesh: "MeshOptions | None" = None
    """Options of a mesh; by default a source that is a mesh keeps its surface and texture."""
    photos: "Photographs | None" = None
    """Photographs for a last stage, in which a field may surpass its teacher."""

    def __post_init__(self) -> None:
        if self.to not in (None, "mesh", *KINDS):
            kinds = ", ".join((*KINDS, "mesh"))
            raise ParameterError(f"{{to}} {self.to}: there is no such kind to convert to; choose one of {kinds}", "to")
        if self.sh_degree is not None and not 0 <= self.sh_degree <= 4:
            degree = f"{{sh_degree}} {self.sh_degree}: the harmonics of splats have degree 0 to 4"
            raise ParameterError(degree, "sh_degree")
        if self.kind_asked is not None:
            self.check(self.kind_asked)

    @property
    def kind_asked(self) -> str | None:
        """The requested kind: by its name, or mesh where options of a mesh are given."""
        return self.to or (None if self.mesh is None else "mesh")

    @property
    def anew(self) -> bool:
        """Whether options ask for training, also where the source is already of the requested kind."""
        return bool(self.given(*ANEW))

    def check(self, kind: str) -> None:
        """Raise ParameterError where options do not apply to the kind that is made."""
        if kind == "mesh":
            if given := self.given(*LEARNING):
                raise ParameterError(f"a mesh is extracted, not learnt: leave out {_listed(given)}", *given)
            return
        if self.mesh is not None:
            raise ParameterError("about meshes alone: {mesh}; give it with {to} mesh", "mesh", "to")
        if kind != "splats" and (given := self.given(*OF_SPLATS)):
            names = _listed(given)
            raise ParameterError(f"about splats alone: {names}; give them with {{to}} splats", "to", *given)


@dataclass(frozen=True, kw_only=True)
class FileChoices:
    """Options of reading and writing files that a command line can give."""

    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""
    drop_bad: bool = False
    """Drop splats with values that are not finite, and report how many."""
    frame: Literal["auto", "zup", "yup", "ydown"] = "auto"
    """Up axis of the target: zup (+Z), yup (+Y), ydown (-Y, as .ply of captures); auto: that of its format."""
    spz_frame: SpzFrame = "auto"
    """Axes of an .spz that is read or written: auto as the file's record says, without one as rub; rub as documented;
    ply as in a .ply."""
    spz_version: SpzVersion | None = None
    """Version of an .spz that is written; by default 2, which most viewers open, and 4 where harmonics have degree 4.
    Rotations of 3 and 4 are finer."""


@dataclass(frozen=True, kw_only=True)
class FileOptions(FileChoices):
    """Options of `convert` for reading and writing files, and for measuring what was written.

    Example:
        >>> FileOptions(frame="yup", measure=False).frame
        'yup'
    """

    measure: bool = True
    """Read the target back and compare it with the source, by eight views and parameter by parameter."""
    style: "Style | None" = None
    """How a mesh is written: names for an engine, texture format, compression."""


def _listed(names: list[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
