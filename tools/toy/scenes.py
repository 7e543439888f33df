"""The exact scene of every caption: which solids stand where, in a cube from -1 to 1, the face looking along -Y."""

from dataclasses import dataclass, replace
from functools import lru_cache

from toy.grammar import COLOURS, Caption, Thing
from volkit.geometry import Similarity
from volkit.representations.analytic import AnalyticConfig, Finish, Light, Primitive

__all__ = ["REACH", "exact_scene"]

REACH = 0.98  # half the edge of the cube that holds every scene
DAY = Light(direction=(-0.35, -0.5, 0.8), sun=0.6, sky=0.45, shadow=0.0, occlusion=0.0)
SCALES = {"": 1.0, "small": 0.65, "large": 1.1}
PAIRED, MARKED = 0.66, 0.85  # of the size of a solid that is alone
NOSE, SUNK = 0.29, 0.09  # radius of a nose and how far its middle is inside, of the body's scale
STRIPES = 0.42  # from one white stripe to the next
WHITE = (0.96, 0.96, 0.96)


@dataclass(frozen=True)
class Form:
    """A solid of the grammar among the primitives of the analytic room, at scale 1 around the origin."""

    shape: str
    size: tuple[float, ...]
    half_height: float
    half_width: float
    face: float  # how far in front of the middle its surface is, at the middle's height
    seat: float  # the height at which another one stands on it


FORMS = {
    "sphere": Form("sphere", (0.75,), 0.75, 0.75, 0.75, 0.71),
    "cube": Form("box", (0.6, 0.6, 0.6, 0.0), 0.6, 0.6, 0.6, 0.6),
    "cylinder": Form("cylinder", (0.55, 0.65, 0.0), 0.65, 0.55, 0.55, 0.65),
    "cone": Form("cone", (0.7, 0.72), 0.72, 0.7, 0.35, 0.56),  # its tip is inside what stands on it
    "torus": Form("torus", (0.56, 0.25), 0.25, 0.81, 0.81, 0.0),  # what stands on it sinks into its hole
    "capsule": Form("capsule", (0.42, 0.38), 0.8, 0.42, 0.42, 0.76),
}


@lru_cache(maxsize=1 << 14)
def exact_scene(caption: Caption) -> AnalyticConfig:
    """The solids that a caption means, under one light without shadows."""
    if caption.relation == "on":
        parts = _stacked(caption)
    elif caption.relation == "beside":
        parts = _side_by_side(caption)
    elif caption.relation == "with":
        parts = _with_nose(caption)
    else:
        parts = (_solid(caption.first, SCALES[caption.first.size]),)
    return AnalyticConfig(parts, light=DAY, title=str(caption))


def _solid(thing: Thing, scale: float, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Primitive:
    form, colour = FORMS[thing.shape], COLOURS[thing.colour]
    texture = Finish(colour, gloss=0.5 if thing.material == "shiny" else 0.0)
    if thing.material == "striped":
        texture = replace(texture, second=WHITE, pattern="stripes", period=STRIPES)
    return Primitive(form.shape, tuple(scale * edge for edge in form.size), Similarity(translation=at), texture)


def _stacked(caption: Caption) -> tuple[Primitive, ...]:
    """One above the other, in the middle of the cube, made smaller where they would not fit."""
    above, below = caption.first, caption.second
    assert below is not None
    up, down = FORMS[above.shape], FORMS[below.shape]
    a, b = PAIRED * SCALES[above.size], PAIRED * SCALES[below.size]
    rise = b * down.seat + a * up.half_height  # from middle to middle
    top, bottom = (
        max(rise + a * up.half_height, b * down.half_height),
        min(-b * down.half_height, rise - a * up.half_height),
    )
    fit = min(1.0, 2.0 * REACH / (top - bottom))
    middle = 0.5 * (top + bottom)
    return (
        _solid(above, fit * a, (0.0, 0.0, fit * (rise - middle))),
        _solid(below, fit * b, (0.0, 0.0, -fit * middle)),
    )


def _side_by_side(caption: Caption) -> tuple[Primitive, ...]:
    """The first to the left of the second for who looks at the front, on one floor."""
    left, right = caption.first, caption.second
    assert right is not None
    forms = FORMS[left.shape], FORMS[right.shape]
    a, b = PAIRED * SCALES[left.size], PAIRED * SCALES[right.size]
    widths, heights = (
        (a * forms[0].half_width, b * forms[1].half_width),
        (a * forms[0].half_height, b * forms[1].half_height),
    )
    fit = min(1.0, REACH / sum(widths))
    floor = -fit * max(heights)
    return (
        _solid(left, fit * a, (fit * -widths[1], 0.0, floor + fit * heights[0])),
        _solid(right, fit * b, (fit * widths[0], 0.0, floor + fit * heights[1])),
    )


def _with_nose(caption: Caption) -> tuple[Primitive, ...]:
    thing = caption.first
    scale = MARKED * SCALES[thing.size]
    ahead = scale * (FORMS[thing.shape].face - SUNK)
    nose = Primitive(
        "sphere", (scale * NOSE,), Similarity(translation=(0.0, -ahead, 0.0)), Finish(COLOURS[caption.nose])
    )
    return _solid(thing, scale), nose
