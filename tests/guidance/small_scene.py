"""A mixture of small pictures, renders, their exact critic, and one step on them."""

from dataclasses import replace

import torch
from closed_form import seeded

from volkit.guidance.condition import Condition, Conditions
from volkit.guidance.guidance import Guidance
from volkit.guidance.mixture import MixturePrior
from volkit.guidance.ratio import ExactRatio

EXACT = dict(rtol=1e-9, atol=1e-11)  # float64 through a hundred operations on numbers up to 1e3; the issue asks 1e-6


def pictures(views=4, seed=0):
    return torch.rand(views, 6, 6, 3, generator=seeded(seed), dtype=torch.float64)


PRIOR = MixturePrior(
    pictures(3, 1).movedim(-1, 1),
    torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64),
    ("cat", "dog", "blur"),
    torch.eye(3).double(),
)
RENDERS = pictures()


class Wordless(MixturePrior):
    """The exact critic of renders, to which words mean nothing."""

    def eps(self, at, condition):
        return super().eps(at, replace(condition, text=None))


CRITIC = Wordless(
    RENDERS.movedim(-1, 1), torch.zeros(4, dtype=torch.float64), directions=torch.eye(3).double()[[0, 1, 2, 0]]
)
CAMERA = torch.eye(3).double()[[0, 1, 2, 0]]
WORDS = Conditions(
    PRIOR.embed(["cat"]),
    PRIOR.embed([""]),
    negative=PRIOR.embed(["blur"]),
    source=PRIOR.embed(["dog"]),
    critic=Condition(camera=CAMERA),
    source_pictures=pictures(seed=3),
)


def g(method, conditions=WORDS, fraction=0.1, critic=CRITIC, prior=PRIOR, seed=0):
    guidance = Guidance(prior, method, critic, ExactRatio(prior, critic) if critic else None)
    return guidance.step(RENDERS, conditions, seeded(seed), fraction=fraction).direction


def same(a, b, **change):
    torch.testing.assert_close(g(a, **change), g(b, **change), **EXACT)
