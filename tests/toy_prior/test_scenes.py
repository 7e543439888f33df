"""What captions mean: where solids stand, and that exact pictures of them are those of volkit's own renderer."""

import math
import random

import torch
from toy.grammar import draw, parse, plain_captions
from toy.scenes import REACH, exact_scene

from volkit.geometry import Domain

SIZES = {
    "sphere": (0.4,),
    "box": (0.4, 0.3, 0.2, 0.0),
    "cylinder": (0.3, 0.4, 0.0),
    "cone": (0.35, 0.4),
    "torus": (0.4, 0.15),
    "capsule": (0.2, 0.3),
}
VARIED = (
    "a large red torus",
    "a shiny blue cone",
    "a small green capsule on a large pink cube",
    "a striped cyan cylinder beside an orange sphere",
    "a yellow cube with a blue nose",
)


def field_of(text):
    return exact_scene(parse(text)).build(Domain.cube(1.0))


def where(text):
    return [solid.placed.translation for solid in exact_scene(parse(text)).primitives]


def test_relations_are_places():
    above, below = where("a blue cube on a green cylinder")
    assert above[2] > 0 > below[2] and above[:2] == below[:2] == (0.0, 0.0)
    left, right = where("a blue cube beside a green cylinder")
    assert left[0] < 0 < right[0]
    body, nose = where("a blue cube with a green nose")
    assert body == (0.0, 0.0, 0.0) and nose[1] < -0.4 and nose[0] == nose[2] == 0.0
    small, medium, large = (exact_scene(parse(f"a {s}red sphere")).primitives[0].size for s in ("small ", "", "large "))
    assert small < medium < large


def test_every_scene_is_in_its_cube_and_whole():
    """Nothing sticks out, and two solids touch: at the middle of the smaller way between them they are both near."""
    chance = random.Random(3)
    captions = [*plain_captions()[::7], *(draw(chance, ())[0] for _ in range(300))]
    edge = torch.linspace(-1.0, 1.0, 41)
    shell = torch.cartesian_prod(edge, edge, edge)
    shell = shell[shell.abs().amax(-1) > 0.999]
    for caption in captions:
        scene = exact_scene(caption)
        field = scene.build(Domain.cube(1.5)) if False else scene
        assert all(sum(v * v for v in s.placed.translation) ** 0.5 <= math.sqrt(3) * REACH for s in field.primitives)
