"""`--edit`: words of the command line into changes of a scene, in their order, in the source's world frame and unit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from volkit.editing import cuts_and_moves as shape
from volkit.editing import thin
from volkit.progress import Progress
from volkit.representations import Field, Mesh, Representation, Splats, innermost
from volkit.representations.splat_extent import core

__all__ = ["ACTIONS", "EDIT_HELP", "Action", "edited", "shaping"]


@dataclass(frozen=True)
class Action:
    """One word of `--edit`: `change(scene, numbers, generator)` is given as many numbers as one of `takes` says."""

    name: str
    numbers: str  # as they are named in a form
    takes: tuple[int, ...]
    change: Callable[[Representation, tuple[float, ...], torch.Generator], Representation]
    says: str
    of: tuple[type[Representation], ...]
    thins: bool = False  # leaves the scene where it is, as large as it is, and means to be seen little

    @property
    def form(self) -> str:
        """How it is written."""
        return f"{self.name}:{self.numbers}" if 0 not in self.takes else f"{self.name}[:{self.numbers}]"


BOX, BALL = ("x0,y0,z0,x1,y1,z1", (6,)), ("x,y,z,radius", (4,))
CUT, ANY, SPLATS = (Field, Splats), (Field, Splats, Mesh), (Splats,)
ROWS = (
    Action("crop:box", *BOX, shape.cut("box", True), "keep what is inside", CUT),
    Action("crop:sphere", *BALL, shape.cut("sphere", True), "keep what is inside", CUT),
    Action("erase:box", *BOX, shape.cut("box", False), "keep what is outside", CUT),
    Action("erase:sphere", *BALL, shape.cut("sphere", False), "keep what is outside", CUT),
    Action("scale", "factor", (1,), shape.scale, "about the origin", ANY),
    *(Action(f"rotate:{axis}", "degrees", (1,), shape.turn(axis), "about that axis", ANY) for axis in "xyz"),
    Action("translate", "x,y,z", (3,), shape.translate, "move", ANY),
    Action("opacity", "least", (1,), thin.by_opacity, "keep splats at least so opaque, 0 to 1", SPLATS, True),
    Action("size", "[smallest,]largest", (1, 2), thin.by_size,
           "keep splats whose largest standard deviation lies between", SPLATS, True),
    Action("floaters", "neighbours,ratio", (0, 2), thin.floaters,
           "drop splats that do not touch their 16 nearest, by mean + 2 deviations of all", SPLATS, True),
    Action("sh", "degree", (1,), thin.harmonics, "keep harmonics to that degree, 0 to 4", SPLATS, True),
    Action("decimate", "share|count", (1,), thin.decimate,
           "drop splats that show least, join neighbours that look alike", SPLATS, True),
)  # fmt: skip
ACTIONS: dict[str, Action] = {row.name: row for row in ROWS}
EDIT_HELP = "Change the source first; again for more, in order:\n" + "\n".join(f"{r.form} ({r.says})" for r in ROWS)


def edited(
    scene: Representation,
    edits: Sequence[str],
    generator: torch.Generator | None = None,
    progress: Progress | None = None,
) -> Representation:
    """Apply edits in order; ValueError names the edit that could not be read, or that has no meaning for this scene.

    Cuts are in the frame as it is at that point of the list: `scale:2` then `crop:...` crops the scaled scene.
    A progress is told how many splats each left.
    """
    generator = generator or torch.Generator().manual_seed(0)
    for text in edits:
        action, numbers = _read(text)
        if not isinstance(scene, action.of):
            raise ValueError(f"--edit {text}: {_refused(action, innermost(scene).config.kind)}")
        before = len(scene) if isinstance(scene, Splats) else 0
        try:
            scene = action.change(scene, numbers, generator)
        except ValueError as error:
            raise ValueError(f"--edit {text}: {error}") from error
        if isinstance(scene, Splats) and len(scene) < before:
            if not len(scene):
                raise ValueError(f"--edit {text}: none of {before} splats is left; ask for less")
            scene = scene.view(domain=core(scene))
            if progress is not None:
                progress.note(f"--edit {text}: {len(scene)} of {before} splats are left")
    return scene


def shaping(edits: Sequence[str]) -> tuple[str, ...]:
    """Those edits that say what is to be seen and where, without those that thin it out."""
    return tuple(text for text in edits if not _read(text)[0].thins)


def _read(text: str) -> tuple[Action, tuple[float, ...]]:
    """The action and its numbers."""
    named = [row for row in ROWS if text == row.name or text.startswith(row.name + ":")]
    try:
        if not named:
            raise ValueError("there is no such edit")
        return named[0], _numbers(text[len(named[0].name) + 1 :], named[0].takes)
    except ValueError as error:
        forms = ", ".join(row.form for row in ROWS)
        raise ValueError(f"--edit {text}: cannot be read ({error}); forms: {forms}") from error


def _numbers(text: str, takes: tuple[int, ...]) -> tuple[float, ...]:
    values = tuple(float(part.removesuffix("%")) / (100 if "%" in part else 1) for part in text.split(",") if text)
    if len(values) not in takes or not all(math.isfinite(value) for value in values):
        raise ValueError(f"needs {' or '.join(map(str, takes))} numbers, got '{text}'")
    return values


def _refused(action: Action, kind: str) -> str:
    if action.of == SPLATS:
        return f"is for splats, and the source is a {kind}; convert it with --to splats first"
    return f"a {kind} can be moved but not cut; convert it first"
