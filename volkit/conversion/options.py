"""What a conversion is to make, as values; light to import, so that a command line is read before anything heavy is."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from volkit.choices import KINDS, AnyKind, Device, ParameterError, SpzFrame, SpzVersion

if TYPE_CHECKING:
    from volkit.data import Photographs
    from volkit.io.meshes.asset import Style
    from volkit.meshing.options import MeshOptions
    from volkit.representations import RepresentationConfig

__all__ = ["BUDGET", "ConvertChoices", "ConvertOptions", "FileChoices", "FileOptions"]

BUDGET = "60s"  # of learning, where nothing is said
OF_SPLATS = ("sh_degree", "surfels")  # options that say nothing about other kinds
ANEW = ("budget", "method", "photos", "config")  # that ask a field for learning in any case
LEARNING = (*ANEW, "max_splats", *OF_SPLATS)  # that mean nothing for a mesh, which is extracted


@dataclass(frozen=True, kw_only=True)
class ConvertChoices:
    """The options of a conversion that are words, numbers and switches."""

    to: AnyKind | None = None
    """Kind of representation, or mesh; by default the source's own, where the target's format holds it. Without an
    option of learning such a source is written as it is."""
    method: Literal["volkit", "pvd", "pvd-al"] | None = None
    """volkit (the default): closed-form start, cached answers, error-driven rays; pvd, pvd-al: the published
    methods."""
    budget: str | None = None
    """60s (as long as nothing is said), 10m of optimisation, or 2000 for steps."""
    size: int | None = None
    """Longest side of the pictures asked for, by default that of the source's cameras."""
    max_splats: int | None = None
    """How many splats there may be; by default all that a source of splats has, else 60000."""
    sh_degree: int | None = None
    """Degree of the spherical harmonics of splats, 0 to 4; by default that of a source of splats, else 3."""
    surfels: bool = False
    """Flat splats (2D Gaussians), where splats are made; a source of flat ones gives flat ones in any case."""

    def given(self, *names: str) -> list[str]:
        """Those of these options that were given, whatever their values."""
        return [name for name in names if getattr(self, name) is not None and getattr(self, name) is not False]


@dataclass(frozen=True, kw_only=True)
class ConvertOptions(ConvertChoices):
    """What a conversion is to make of a scene; None is what the source suggests, or the format of the target.

    >>> ConvertOptions(to="voxels", budget="30s").kind_asked
    'voxels'
    """

    config: "RepresentationConfig | None" = None
    """Sizes of the representation; by default those of its paper."""
    mesh: "MeshOptions | None" = None
    """What a mesh is to be like; a source that is a mesh keeps its surface and texture where nothing is said."""
    photos: "Photographs | None" = None
    """Photographs for a last stage, in which a field may pass its teacher."""

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
        """The kind that is asked for: by its name, or by what is said of a mesh."""
        return self.to or (None if self.mesh is None else "mesh")

    @property
    def anew(self) -> bool:
        """Whether options ask for learning, also where the source is of the kind already."""
        return bool(self.given(*ANEW))

    def check(self, kind: str) -> None:
        """Raise ParameterError where options mean nothing for what is to be made."""
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
    """How the files of a conversion are read and written, in words and switches."""

    device: Device = "auto"
    """auto: cuda where its kernels pass a test of themselves, else cpu."""
    drop_bad: bool = False
    """Leave out splats whose values are not finite, and say how many."""
    frame: Literal["auto", "zup", "yup", "ydown"] = "auto"
    """What is up in the target's coordinates: zup, yup, ydown (-Y, as .ply of captures); auto: as its format has it."""
    spz_frame: SpzFrame = "auto"
    """Axes of an .spz that is read or written: auto as the file's record says, without one as rub; rub as documented;
    ply as in a .ply."""
    spz_version: SpzVersion | None = None
    """Version of an .spz that is written; by default 2, which most viewers open, and 4 where harmonics have degree 4.
    Rotations of 3 and 4 are finer."""


@dataclass(frozen=True, kw_only=True)
class FileOptions(FileChoices):
    """How the files of a conversion are read and written, and whether what was written is read back."""

    measure: bool = True
    """Read what was written to compare it with its source, by eight views and parameter by parameter."""
    style: "Style | None" = None
    """How a mesh is written: names for an engine, texture format, compression."""


def _listed(names: list[str]) -> str:
    return ", ".join(f"{{{name}}}" for name in names)
