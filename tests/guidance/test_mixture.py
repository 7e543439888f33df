"""Analytic priors of pictures: words, cameras, and where distillation under them ends."""

from dataclasses import replace

import torch
from closed_form import seeded

from volkit.guidance import METHODS, Conditions, Guidance, MixturePrior, Noised, Uniform
from volkit.guidance.guidance import Method

SIZE = 8
SIDES = torch.eye(3, dtype=torch.float64)


def templates():
    """Two objects from three sides, as pictures."""
    return torch.rand(6, SIZE, SIZE, 3, generator=seeded(), dtype=torch.float64)


def prior(concentration=400.0):
    return MixturePrior(
        templates().movedim(-1, 1),
        torch.full((6,), 0.01, dtype=torch.float64),
        ("cat",) * 3 + ("dog",) * 3,
        SIDES.repeat(2, 1),
        concentration,
    )


def test_words_and_cameras_choose_the_picture():
    """SDS of three views ends at the templates of that object from those sides, whatever it starts from."""
    dog = prior().embed(["dog"]).expand(3)
    told = Conditions(dog, dog).map(lambda condition: replace(condition, camera=SIDES))
    pictures = torch.rand(3, SIZE, SIZE, 3, generator=seeded(1), dtype=torch.float64)
    method = Method(times=Uniform(0.02, 0.3), combine=METHODS["sds"](1.0).combine)
    guidance, generator = Guidance(prior(), method), seeded(2)
    for step in range(400):
        pictures = pictures - 3.0 * (1 - step / 400) * 3 * guidance.step(pictures, told, generator).gradient
    # Three views a step: 3 undoes the mean over views. What is left is the noise of the last steps.
    assert (pictures - templates()[3:]).abs().mean() < 0.02


def test_concentration_weighs_directions_as_its_formula_says():
    """`exp(κ ⟨d, d_k⟩)` among equal components: κ = log 2 along one of two orthogonal sides gives 2 to 1."""
    two = MixturePrior(
        torch.tensor([0.0, 1.0]).double().view(2, 1, 1, 1),
        torch.zeros(2, dtype=torch.float64),
        directions=SIDES[:2],
        concentration=float(torch.log(torch.tensor(2.0, dtype=torch.float64))),
    )
    at = Noised(torch.zeros(1, 1, 1, 1, dtype=torch.float64), torch.tensor([999]))
    condition = two.embed([""])
    apart = two.log_density(at, replace(condition, camera=SIDES[:1])) - two.log_density(at, condition)
    alpha, sigma = (float(v[999]) for v in (two.schedule.alpha, two.schedule.sigma))
    far = torch.exp(torch.tensor(-0.5 * alpha**2 / sigma**2, dtype=torch.float64))
    torch.testing.assert_close(apart[0], ((2 + far) / 3 / ((1 + far) / 2)).log(), rtol=1e-9, atol=1e-12)
