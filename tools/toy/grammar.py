"""What can be said: single solids, one on or beside another, one with a coloured nose where its face is.

caption := thing | thing "on" thing | thing "beside" thing | thing "with a" colour "nose"
thing   := "a" | "an" [size] [material] colour shape
"""

import random
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "COLOURS",
    "MATERIALS",
    "SHAPES",
    "SIZES",
    "VOCABULARY",
    "Caption",
    "Thing",
    "draw",
    "parse",
    "plain_captions",
]

Relation = Literal["alone", "on", "beside", "with"]
# Display-referred albedos.
COLOURS = {
    "red": (0.86, 0.10, 0.10),
    "orange": (0.97, 0.50, 0.07),
    "yellow": (0.96, 0.88, 0.12),
    "green": (0.12, 0.62, 0.18),
    "cyan": (0.15, 0.78, 0.84),
    "blue": (0.12, 0.22, 0.86),
    "purple": (0.52, 0.16, 0.66),
    "pink": (0.97, 0.58, 0.74),
}
SHAPES = ("sphere", "cube", "cylinder", "cone", "torus", "capsule")
SYNONYMS = {"ball": "sphere", "box": "cube", "ring": "torus"}
SIZES = ("small", "large")
MATERIALS = ("matte", "shiny", "striped")
SIDE_WORDS = (",", "front", "side", "back", "overhead", "view")
VOCABULARY = ("a", "an", *SIZES, *MATERIALS, *COLOURS, *SHAPES, *SYNONYMS, "on", "beside", "with", "nose", *SIDE_WORDS)
ARTICLES = ("a", "an")
# How often which relation is drawn; noses are small and neighbours unlike from every side: they need the most looking.
RELATIONS: dict[Relation, float] = {"alone": 0.17, "on": 0.27, "beside": 0.2, "with": 0.36}


@dataclass(frozen=True)
class Thing:
    """A solid; without a word it is of middling size, and matte."""

    colour: str
    shape: str
    size: str = ""
    material: str = ""

    def __post_init__(self) -> None:
        if self.colour not in COLOURS:
            raise ValueError(f"'{self.colour}' is no colour: there are {', '.join(COLOURS)}")
        if self.shape not in SHAPES:
            raise ValueError(f"'{self.shape}' is no shape: there are {', '.join((*SHAPES, *SYNONYMS))}")

    def __str__(self) -> str:
        return _with_article(" ".join(filter(None, (self.size, self.material, self.colour, self.shape))))


@dataclass(frozen=True)
class Caption:
    """One solid, or two in a relation, or one with the colour of its nose."""

    first: Thing
    relation: Relation = "alone"
    second: Thing | None = None
    nose: str = ""

    def __str__(self) -> str:
        if self.relation == "with":
            return f"{self.first} with {_with_article(self.nose)} nose"
        return str(self.first) if self.second is None else f"{self.first} {self.relation} {self.second}"

    @property
    def combination(self) -> str:
        """Colours, shapes and relation, whatever the sizes and materials: what is held out is held out as a whole."""
        bare = [Thing(thing.colour, thing.shape) for thing in (self.first, self.second) if thing is not None]
        return str(Caption(bare[0], self.relation, bare[1] if len(bare) > 1 else None, self.nose))


def _with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def parse(text: str) -> Caption:
    """Understand a caption; ValueError names what is not in the grammar."""
    words = text.lower().split()
    for relation in ("on", "beside", "with"):
        if relation in words:
            at = words.index(relation)
            first, rest = _thing(words[:at]), words[at + 1 :]
            if relation != "with":
                return Caption(first, relation, _thing(rest))
            if len(rest) != 3 or rest[0] not in ARTICLES or rest[2] != "nose" or rest[1] not in COLOURS:
                raise ValueError(f"'{text}': after 'with' comes 'a COLOUR nose'")
            return Caption(first, relation, nose=rest[1])
    return Caption(_thing(words))


def _thing(words: list[str]) -> Thing:
    rest = list(words)
    if len(rest) < 3 or rest.pop(0) not in ARTICLES:
        raise ValueError(f"'{' '.join(words)}' is not 'a [size] [material] COLOUR SHAPE'")
    size = rest.pop(0) if rest[0] in SIZES else ""
    material = rest.pop(0) if rest[0] in MATERIALS else ""
    if len(rest) != 2:
        raise ValueError(f"'{' '.join(words)}' is not 'a [size] [material] COLOUR SHAPE'")
    return Thing(rest[0], SYNONYMS.get(rest[1], rest[1]), size, material)


def draw(chance: random.Random, held_out: Collection[str]) -> tuple[Caption, str]:
    """A caption to train on, and its words with synonyms; never one whose combination is held out."""
    while True:
        (relation,) = chance.choices(list(RELATIONS), list(RELATIONS.values()))
        first = _drawn_thing(chance)
        second = _drawn_thing(chance) if relation in ("on", "beside") else None
        others = [colour for colour in COLOURS if colour != first.colour]
        caption = Caption(first, relation, second, chance.choice(others) if relation == "with" else "")
        if caption.combination not in held_out:
            return caption, _reworded(str(caption), chance)


def _drawn_thing(chance: random.Random) -> Thing:
    size = chance.choice(SIZES) if chance.random() < 0.3 else ""
    material = chance.choice(MATERIALS) if chance.random() < 0.25 else ""
    return Thing(chance.choice(list(COLOURS)), chance.choice(SHAPES), size, material)


def _reworded(text: str, chance: random.Random) -> str:
    others = {shape: word for word, shape in SYNONYMS.items()}
    return " ".join(others[w] if w in others and chance.random() < 0.3 else w for w in text.split())


def plain_captions() -> list[Caption]:
    """Every combination without words of size or material: what a generated object is ranked among."""
    things = [Thing(colour, shape) for shape in SHAPES for colour in COLOURS]
    noses = [Caption(t, "with", nose=colour) for t in things for colour in COLOURS if colour != t.colour]
    pairs = [Caption(a, relation, b) for relation in ("on", "beside") for a in things for b in things]
    return [*(Caption(thing) for thing in things), *noses, *pairs]
