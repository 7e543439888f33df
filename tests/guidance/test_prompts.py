"""Words by side, Perp-Neg's weights, words left out."""

import math

import pytest
import torch

from volkit.geometry import Cameras
from volkit.guidance import Condition
from volkit.guidance.prompts import Prompts, conditions_for, encode_pose, side_of


class Listener:
    """Says which texts it was told, each as one number."""

    def __init__(self):
        self.known = {}

    def embed(self, texts):
        rows = [self.known.setdefault(text, float(len(self.known))) for text in texts]
        return Condition(text=torch.tensor(rows).view(-1, 1, 1))


def around(*azimuths, elevation=0.0):
    """Cameras at azimuths from the front, which looks along -y; degrees."""
    a = torch.deg2rad(torch.tensor(azimuths)) - math.pi / 2
    e = torch.deg2rad(torch.tensor(elevation))
    centres = 3.0 * torch.stack([a.cos() * e.cos(), a.sin() * e.cos(), e.sin().expand(len(a))], -1)
    return Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 20.0, (8, 8))


def test_sides():
    listener = Listener()
    conditions_for(listener, Prompts("a cat"), around(0.0, 44.0, -46.0, 134.0, -136.0, 180.0))
    assert [t for t in listener.known if t][:3] == ["a cat, front view", "a cat, side view", "a cat, back view"]
    told = conditions_for(listener, Prompts("a cat"), around(0.0, 44.0, -46.0, 134.0, -136.0, 180.0)).prompt.text
    assert told.flatten().tolist() == [
        listener.known[f"a cat, {s} view"] for s in ["front", "front", "side", "side", "back", "back"]
    ]
    assert side_of(0.0, math.radians(61.0)) == "overhead" and side_of(3.0, math.radians(59.0)) == "back"
    alone = conditions_for(listener, Prompts("a cat", sides=False), around(0.0, 180.0))
    assert (alone.prompt.text == listener.known["a cat"]).all()


def test_perp_neg_pushes_away_what_is_not_seen():
    told = conditions_for(Listener(), Prompts("a cat", perp_neg=True), around(0.0, 90.0, 179.999, 45.0))
    front, side = told.beside_weights
    assert (told.beside_weights <= 1e-3).all()
    # 4 e^(-1/2) - 2.426 and e^(-1/2) - .606 are zero to the digits of the constants: the side that is seen stays.
    assert front[0] == pytest.approx(0.0, abs=2e-4) and side[1] == pytest.approx(0.0, abs=1e-3)
    assert side[0] == pytest.approx(-(4.0 - 2.426), abs=1e-3) and front[2] == pytest.approx(-(1.0 + 0.967), abs=1e-3)
    words = Listener()
    told = conditions_for(words, Prompts("a cat", perp_neg=True), around(0.0, 45.0, 90.0))
    f, s = words.known["a cat, front view"], words.known["a cat, side view"]
    assert told.prompt.text.flatten().tolist() == pytest.approx([f, (f + s) / 2, s], abs=1e-5)
    above = conditions_for(words, Prompts("a cat", perp_neg=True), around(20.0, elevation=80.0))
    assert (above.beside_weights == 0).all() and float(above.prompt.text) == words.known["a cat, overhead view"]


def test_contradicting_words_are_left_out():
    prompts = Prompts("a smiling cat, sitting", contradicting={"smiling": ("back", "overhead")})
    assert prompts.for_side("front") == "a smiling cat, sitting, front view"
    assert prompts.for_side("back") == "a cat, sitting, back view"


def test_an_empty_prompt_is_refused():
    for text in ("", "  \n"):
        with pytest.raises(ValueError, match="the prompt is empty: describe"):
            Prompts(text)


def test_camera_numbers_are_the_pose():
    numbers = encode_pose(around(0.0, 90.0)).view(2, 4, 4)
    assert torch.equal(numbers[:, :3], around(0.0, 90.0).world_from_camera)
    assert numbers[:, 3].tolist() == [[0.0, 0.0, 0.0, 1.0]] * 2
