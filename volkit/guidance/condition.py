"""Conditions of a diffusion prior: text, cameras, control pictures, picture prompts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Self

import torch

from volkit.typing import Float, Tensor

__all__ = ["Condition", "Conditions"]


@dataclass(frozen=True)
class Condition:
    """The condition of one prediction, a row for each view; None leaves an input out.

    Attributes:
        text: hidden states of the text; for a mixture the log weights of its components.
        pooled: the text as one vector, for networks that take it.
        camera: the camera, in the prior's own encoding.
        control: pictures of normals, depth or edges for a ControlNet, in [0, 1].
        image: an embedded picture beside the text (IP-Adapter).
    """

    text: Float[Tensor, "view ..."] | None = None
    pooled: Float[Tensor, "view width"] | None = None
    camera: Float[Tensor, "view number"] | None = None
    control: Float[Tensor, "view channel height width"] | None = None
    image: Float[Tensor, "view token width"] | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Self:
        """The condition with a function applied to every member that is not None."""
        members = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{name: change(member) for name, member in members.items() if member is not None})

    def expand(self, views: int) -> Self:
        """A row for each of `views` views, where one row stands for all of them."""
        return self.map(lambda m: m.expand(views, *m.shape[1:]) if len(m) == 1 else m)

    @staticmethod
    def cat(parts: "Sequence[Condition]") -> "Condition":
        """Concatenate along the views; ValueError where a member is None in some of them only."""
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
    """The conditions of all terms of one step.

    Attributes:
        prompt: under the prompt.
        null: under the empty prompt.
        negative: under the negative prompt; None: `null`.
        source: under the prompt of the source, for methods that compare with it.
        beside: the prompt as from other sides, for Perp-Neg.
        beside_weights: weight of each of `beside` for each view.
        critic: the prompt without a side, and the camera, for a critic; None: `prompt`.
        source_pictures: pictures of the source, display-referred.

    Example:
        >>> both = Conditions(prompt=Condition(text=torch.ones(1, 2)), null=Condition(text=torch.zeros(1, 2)))
        >>> both.get("negative").text.tolist()
        [[0.0, 0.0]]
    """

    prompt: Condition
    null: Condition
    negative: Condition | None = None
    source: Condition | None = None
    beside: tuple[Condition, ...] = ()
    beside_weights: Float[Tensor, "beside view"] | None = None
    critic: Condition | None = None
    source_pictures: Float[Tensor, "view height width 3"] | None = None

    def get(self, name: str) -> Condition:
        """The condition of a term, `prompt`, `null`, `negative`, `source`, `critic` or `beside0`, ...; ValueError where
        a method needs one that is not given.
        """
        if name.startswith("beside"):
            return self.beside[int(name.removeprefix("beside"))]
        found = getattr(self, name) or {"negative": self.null, "critic": self.prompt}.get(name)
        if found is None:
            raise ValueError(f"this method needs the condition '{name}', which is missing: give conditions.{name}")
        return found

    def map(self, change: Callable[[Condition], Condition]) -> Self:
        """The conditions with a function applied to each, for example to add the same camera."""
        single = {n: getattr(self, n) for n in ("prompt", "null", "negative", "source", "critic")}
        changed = {name: change(condition) for name, condition in single.items() if condition is not None}
        return replace(self, **changed, beside=tuple(change(condition) for condition in self.beside))

    def with_image(self, image: Float[Tensor, "1 token width"]) -> Self:
        """Add an embedded picture to all conditions but `null` and `negative`, which get zeros in its place.

        Source: IP-Adapter (Ye et al. 2023, section 3.3), which drops the picture together with the words.
        """

        def beside(condition: Condition, picture: Tensor) -> Condition:
            assert condition.text is not None
            return replace(condition, image=picture.expand(len(condition.text), *picture.shape[1:]))

        nothing, conditions = torch.zeros_like(image), self.map(lambda condition: beside(condition, image))
        negative = None if self.negative is None else beside(self.negative, nothing)
        return replace(conditions, null=beside(self.null, nothing), negative=negative)
