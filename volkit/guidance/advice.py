"""How a prior wants to be used, where whoever made it says so: `distillation.json` in its folder."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

__all__ = ["Advice"]

NAME = "distillation.json"


@dataclass(frozen=True)
class Advice:
    """What suits one prior; by default what suits a large one of photographs.

    A guidance scale of 100 makes sense for a model of billions of captions; one that has seen a few thousand
    objects is followed best at 5, and is wrong about anything seen from where it never looked.
    """

    scale: float | None = None  # the most guidance; None: every method's own
    weight: str | None = None  # w(t) for `sds`; None: the published σ²
    times: tuple[float, float] | None = None  # of the diffusion, in shares, for `sds`; None: .02 to .98
    bounded: bool = False  # whether x̂0 is kept in [-1, 1], where pixels lie
    views: int = 4  # of a step
    size: int = 64  # pixels a side of the pictures that are drawn; the prior enlarges them to its own
    half: float = 1.0  # half the edge of the cube that holds its objects, in its unit of length
    distance: tuple[float, float] = (3.5, 4.5)  # of cameras, in that unit
    field_of_view: tuple[float, float] = (35.0, 45.0)  # degrees
    elevation: tuple[float, float] = (-10.0, 60.0)
    front: float = 0.0  # share of views that stand about the front
    camera: str = "pose"  # the language in which a camera is told: pose, circle, silent
    sides: bool = True  # whether the words name the side that is seen

    @classmethod
    def of(cls, folder: Path) -> Self:
        """What a folder says, or the defaults; ValueError where it says what nobody understands."""
        place = folder / NAME
        if not place.is_file():
            return cls()
        said = json.loads(place.read_text(encoding="utf-8"))
        known = [f.name for f in fields(cls)]
        if unknown := sorted(set(said) - set(known)):
            raise ValueError(f"{place}: nobody knows {', '.join(unknown)}; known are {', '.join(known)}")
        members: dict[str, Any] = {name: tuple(m) if isinstance(m, list) else m for name, m in said.items()}
        return cls(**members)
