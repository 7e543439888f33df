"""`--edit`: words of the command line into edits of a scene, in their order, in the source file's frame and unit."""

import math

from volkit.geometry import Domain, Similarity
from volkit.representations import Field, Representation, Splats
from volkit.representations.edited import Ball, Cut, Edited

__all__ = ["edited"]

FORMS = (
    "crop:box:x0,y0,z0,x1,y1,z1, erase:box:x0,y0,z0,x1,y1,z1, crop:sphere:x,y,z,r, erase:sphere:x,y,z,r, "
    "scale:factor, rotate:x|y|z:degrees, translate:x,y,z"
)


def edited(scene: Representation, edits: tuple[str, ...]) -> Representation:
    """Apply edits in order; ValueError names the edit that could not be read and the forms there are.

    Cuts are in the frame as it is at that point of the list: `scale:2` then `crop:...` crops the scaled scene.
    """
    for text in edits:
        verb, _, rest = text.partition(":")
        try:
            scene = _cut(scene, verb == "crop", rest) if verb in ("crop", "erase") else _moved(scene, verb, rest)
        except (ValueError, IndexError) as error:
            raise ValueError(f"--edit {text}: cannot be read ({error}); forms: {FORMS}") from None
    return scene


def _numbers(text: str, count: int) -> tuple[float, ...]:
    values = tuple(float(part) for part in text.split(","))
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise ValueError(f"needs {count} numbers, got '{text}'")
    return values


def _cut(scene: Representation, keep_inside: bool, rest: str) -> Representation:
    shape, _, text = rest.partition(":")
    if shape == "sphere":
        x, y, z, radius = _numbers(text, 4)
        region: Domain | Ball = Ball((x, y, z), radius)
    elif shape == "box":
        x0, y0, z0, x1, y1, z1 = _numbers(text, 6)
        region = Domain((x0, y0, z0), (x1, y1, z1))
    else:
        raise ValueError(f"there is no shape '{shape}'")
    if isinstance(scene, Splats):
        scene.kept(region.contains(scene.world_from_local.points(scene.means.detach())) == keep_inside)
        return scene
    if not isinstance(scene, Field):
        raise ValueError(f"a {scene.config.kind} can be moved but not cut; convert it first")
    return Edited(scene, (Cut(region, keep_inside, scene.world_from_local),))


def _moved(scene: Representation, verb: str, rest: str) -> Representation:
    if verb == "scale":
        change = Similarity(scale=_numbers(rest, 1)[0])
    elif verb == "translate":
        change = Similarity(translation=_numbers(rest, 3))
    elif verb == "rotate":
        axis, _, degrees = rest.partition(":")
        change = Similarity(rotation=_turn(axis, math.radians(_numbers(degrees, 1)[0])))
    else:
        raise ValueError(f"there is no edit '{verb}'")
    scene.world_from_local = change @ scene.world_from_local
    if scene.capture is not None:
        scene.capture = scene.capture.moved(change)
    return scene


def _turn(axis: str, angle: float) -> tuple[tuple[float, ...], ...]:
    i = "xyz".index(axis)
    j, k = (i + 1) % 3, (i + 2) % 3
    rows = [[0.0] * 3 for _ in range(3)]
    rows[i][i] = 1.0
    rows[j][j] = rows[k][k] = math.cos(angle)
    rows[k][j], rows[j][k] = math.sin(angle), -math.sin(angle)
    return tuple(map(tuple, rows))
