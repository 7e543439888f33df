"""`--edit`: actions as text, applied in their order, in the source's world frame and unit."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from volkit.commands.options import UsageError

if TYPE_CHECKING:  # help does not wait for torch
    import torch

    from volkit.conversion.source import Source
    from volkit.editing import Action
    from volkit.progress import Progress
    from volkit.representations import Representation

__all__ = ["EDIT_FORMS", "EDIT_HELP", "apply_edits", "edited", "parse_edits"]


@dataclass(frozen=True)
class EditForm:
    """One action of `--edit`; `takes` lists how many numbers it may have."""

    name: str
    numbers: str  # their names
    takes: tuple[int, ...]
    purpose: str

    @property
    def form(self) -> str:
        """How it is written."""
        if not self.numbers:
            return self.name
        return f"{self.name}:{self.numbers}" if 0 not in self.takes else f"{self.name}[:{self.numbers}]"


BOX, BALL = ("x0,y0,z0,x1,y1,z1", (6,)), ("x,y,z,radius", (4,))
ROWS = (
    EditForm("crop:box", *BOX, "keep what is inside"),
    EditForm("crop:sphere", *BALL, "keep what is inside"),
    EditForm("erase:box", *BOX, "keep what is outside"),
    EditForm("erase:sphere", *BALL, "keep what is outside"),
    EditForm("fit", "size", (1,), "scale so that the longest side has this length"),
    EditForm("ground", "", (0,), "turn +Z up, and put the centre of the bottom at the origin"),
    EditForm("scale", "factor", (1,), "about the origin"),
    *(EditForm(f"rotate:{axis}", "degrees", (1,), "counter-clockwise about this axis") for axis in "xyz"),
    EditForm("translate", "x,y,z", (3,), "move by this vector"),
    EditForm("opacity", "min", (1,), "keep splats of at least this opacity, 0 to 1"),
    EditForm("size", "[min,]max", (1, 2), "keep splats whose largest standard deviation lies between"),
    EditForm("floaters", "neighbours,ratio", (0, 2),
             "drop splats far from their 16 nearest neighbours, by more than 2 deviations beyond the mean"),
    EditForm("sh", "degree", (1,),
             "harmonics of this degree, 0 to 4: higher ones are dropped, missing ones zero"),
    EditForm("decimate", "share|count", (1,), "drop the splats that contribute least, merge similar neighbours"),
)  # fmt: skip
EDIT_FORMS: dict[str, EditForm] = {row.name: row for row in ROWS}
EDIT_HELP = "Edit the scene first; give it again for more, in order. Frame and unit are the world's:\n" + "\n".join(
    f"{row.form} ({row.purpose})" for row in ROWS
)


def parse_edits(texts: Sequence[str]) -> "list[Action]":
    """The actions; UsageError names the text that cannot be parsed, and the known forms."""
    return [_parse(text) for text in texts]


def apply_edits(
    scene: "Representation",
    texts: Sequence[str],
    generator: "torch.Generator | None" = None,
    progress: "Progress | None" = None,
) -> "Representation":
    """A scene edited by actions in their order; ValueError names the one that does not apply to it.

    Tensors that do not change are shared with the scene given. Progress receives how many splats each action left.
    """
    from volkit.editing.action import apply_action, mark_empty
    from volkit.training.run import make_generator

    generator = generator or make_generator(0)
    actions = parse_edits(texts)
    for text, action in zip(texts, actions, strict=True):
        before = scene.splat_count
        try:
            scene = apply_action(scene, action, generator)
        except ValueError as error:
            hint = " (--to splats)" if "to splats first" in str(error) else ""
            raise ValueError(f"--edit {text}: {error}{hint}") from error
        left = scene.splat_count
        if progress is not None and before is not None and left is not None and left < before:
            progress.note(f"--edit {text}: {left} of {before} splats are left")
    return mark_empty(scene, generator) if any(action.empties for action in actions) else scene


def edited(source: "Source", texts: Sequence[str], generator: "torch.Generator", progress: "Progress") -> "Source":
    """A source edited by actions; those that keep its appearance do not change the scene that it is compared with."""
    if not texts:
        return source
    shapes = [text for text in texts if not _parse(text).keeps_appearance]
    return source.changed(
        lambda scene: apply_edits(scene, texts, generator, progress),
        None if len(shapes) == len(texts) else lambda scene: apply_edits(scene, shapes),
    )


def _parse(text: str) -> "Action":
    named = [row for row in ROWS if text == row.name or text.startswith(row.name + ":")]
    try:
        if not named:
            raise ValueError("there is no such edit")
        numbers = _numbers(text[len(named[0].name) + 1 :], named[0].takes)
    except ValueError as error:
        forms = ", ".join(row.form for row in ROWS)
        raise UsageError(f"--edit {text}: cannot be read ({error}); forms: {forms}") from error
    try:
        return _action(named[0].name, numbers)
    except ValueError as error:
        raise UsageError(f"--edit {text}: {error}") from error


def _numbers(text: str, takes: tuple[int, ...]) -> tuple[float, ...]:
    values = tuple(float(part.removesuffix("%")) / (100 if "%" in part else 1) for part in text.split(",") if text)
    if len(values) not in takes or not all(math.isfinite(value) for value in values):
        raise ValueError(f"needs {' or '.join(map(str, takes))} numbers, got '{text}'")
    return values


def _action(name: str, numbers: tuple[float, ...]) -> "Action":
    from volkit import editing
    from volkit.editing.cut import Crop, Erase
    from volkit.geometry import Box
    from volkit.representations import Ball

    match name.split(":"):
        case ["crop" | "erase" as word, shape]:
            cut = Crop if word == "crop" else Erase
            return cut(Box(numbers[:3], numbers[3:]) if shape == "box" else Ball(numbers[:3], numbers[3]))  # pyright: ignore[reportArgumentType]
        case ["rotate", axis]:
            return editing.Move.rotate(axis, numbers[0])  # pyright: ignore[reportArgumentType]
        case ["floaters"]:
            return editing.DropFloaters(*numbers)  # pyright: ignore[reportArgumentType]
        case ["size"]:
            return editing.KeepSize(*reversed(numbers))
        case [word]:
            made = {
                "fit": editing.Fit, "ground": editing.Ground, "scale": editing.Move.scale,
                "translate": editing.Move.translate, "opacity": editing.KeepOpacity, "sh": editing.SetDegree,
                "decimate": editing.Decimate,
            }  # fmt: skip
            return made[word](*numbers)
    raise AssertionError(name)
