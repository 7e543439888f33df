"""What a prior is told besides the noised picture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch

from volkit.typing import Float, Tensor

__all__ = ["Condition", "Conditions"]


@dataclass(frozen=True)
class Condition:
    """One answer to "a picture of what?", a row a view; what is None the prior is not told.

    Attributes:
        text: hidden states of the words; for a mixture log weights of its components.
        pooled: the words in one vector, where a prior wants that too.
        camera: numbers that tell the camera, in the prior's own encoding.
        control: pictures of normals, depth or edges for a ControlNet, in [0, 1].
        image: an embedded picture that stands beside the words (IP-Adapter).
    """

    text: Float[Tensor, "view ..."] | None = None  # hidden states of the words; for a mixture log weights
    pooled: Float[Tensor, "view width"] | None = None  # the words in one vector, where a prior wants that too
    camera: Float[Tensor, "view number"] | None = None
    control: Float[Tensor, "view channel height width"] | None = None  # normals, depth or edges, in [0, 1]
    image: Float[Tensor, "view token width"] | None = None  # an embedded picture that stands beside the words

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Apply a function to every member that is there."""
        members = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(member) for name, member in members.items() if member is not None})

    def expand(self, views: int) -> Self:
        """A row for each of `views` views, where one row is given for all."""
        return self.map(lambda m: m.expand(views, *m.shape[1:]) if len(m) == 1 else m)

    @staticmethod
    def cat(parts: "Sequence[Condition]") -> "Condition":
        """One below the other; all must have the same members."""
        joined = {}
        for name in (f.name for f in fields(Condition)):
            members = [getattr(part, name) for part in parts]
            given = [member for member in members if member is not None]
            if given and len(given) < len(members):
                raise ValueError(f"conditions: '{name}' is given for {len(given)} of {len(members)}; give it for all")
            joined[name] = torch.cat(given) if given else None
        return Condition(**joined)


@dataclass(frozen=True)
class Conditions:
    """Everything that the terms of one step may ask the prior about, by the name of the term.

    Attributes:
        prompt: the words.
        null: no words.
        negative: unwanted words; the null words where it is not given.
        source: words for what there is now.
        beside: the same words from other sides, for Perp-Neg.
        beside_weights: of each of `beside` for each view.
        critic: what a critic is told; the prompt where it is not given.
        source_pictures: what there was at the start, display-referred.
    """

    prompt: Condition
    null: Condition
    negative: Condition | None = None  # the null words where it is not given
    source: Condition | None = None  # words for what there is now
    beside: tuple[Condition, ...] = ()  # the same words from other sides, for Perp-Neg
    beside_weights: Float[Tensor, "beside view"] | None = None
    critic: Condition | None = None  # words without a side, and the camera; the prompt where it is not given
    source_pictures: Float[Tensor, "view height width 3"] | None = None  # what there was at the start

    def get(self, name: str) -> Condition:
        """The condition of a term: `prompt`, `null`, `negative`, `source`, `critic` or `beside0`, ..."""
        if name.startswith("beside"):
            return self.beside[int(name.removeprefix("beside"))]
        found = getattr(self, name) or {"negative": self.null, "critic": self.prompt}.get(name)
        if found is None:
            raise ValueError(f"this method asks about '{name}' and the conditions have none: give conditions.{name}")
        return found

    def map(self, change: Callable[[Condition], Condition]) -> Self:
        """Tell every condition something more, for example the same camera."""
        single = {n: getattr(self, n) for n in ("prompt", "null", "negative", "source", "critic")}
        changed = {name: change(condition) for name, condition in single.items() if condition is not None}
        return replace(self, **changed, beside=tuple(change(condition) for condition in self.beside))

    def with_image(self, image: Float[Tensor, "1 token width"]) -> Self:
        """Show an embedded picture beside all words but those that are pushed away from: zeros stand beside these.

        Source: IP-Adapter (Ye et al. 2023, section 3.3), which drops the picture together with the words.
        """

        def beside(condition: Condition, picture: Tensor) -> Condition:
            assert condition.text is not None
            return replace(condition, image=picture.expand(len(condition.text), *picture.shape[1:]))

        nothing, conditions = torch.zeros_like(image), self.map(lambda condition: beside(condition, image))
        negative = None if self.negative is None else beside(self.negative, nothing)
        return replace(conditions, null=beside(self.null, nothing), negative=negative)
