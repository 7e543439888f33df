"""What every entry of the table of guidance methods promises."""

from dataclasses import replace

import pytest
import torch

from volkit.guidance import (
    METHODS,
    Condition,
    Conditions,
    ExactRatio,
    GridPrior,
    Guidance,
    Mirror,
    MixturePrior,
    RankWeighting,
)

NAMES = pytest.mark.parametrize("name", METHODS)
VIEWS, SIZE = 4, 6
ISSUED = {
    *("sds", "sjc", "ld", "hifa", "vsd", "esd", "adversarial_sd", "asynchronous_sd", "bootstrapped_sd", "balanced_sd"),
    *("csd", "csm", "ism", "nfsd", "dds", "sdi", "sds_bridge", "mvsds", "lgvsd", "fdiv_sd", "random_scale_vsd"),
}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def pictures(seed, views=VIEWS, size=SIZE):
    return torch.rand(views, size, size, 3, generator=seeded(seed), dtype=torch.float64)


def prior(size=SIZE):
    variances = torch.tensor([0.1, 0.2, 0.05], dtype=torch.float64)
    return MixturePrior(pictures(1, 3, size).movedim(-1, 1), variances, ("cat", "dog", "blur"))


def conditions(prior, source=None):
    said = {word: prior.embed([word]) for word in ("cat", "dog", "blur", "")}
    return Conditions(
        said["cat"],
        said[""],
        said["blur"],
        said["dog"],
        critic=Condition(),
        source_pictures=pictures(3) if source is None else source,
    )


class Wordless(MixturePrior):
    """A critic of renders, to which words mean nothing."""

    def eps(self, at, condition):
        return super().eps(at, replace(condition, text=None))


def guidance(name):
    critic = Wordless(pictures(2).movedim(-1, 1), torch.full((VIEWS,), 0.01, dtype=torch.float64))
    return Guidance(prior(), METHODS[name](), critic, ExactRatio(prior(), critic))


def test_the_table_holds_what_was_promised():
    assert set(METHODS) == ISSUED
    for name, method in METHODS.items():
        assert method.__name__ == name and "arXiv" in (method.__doc__ or ""), f"{name}: formula and source"


@NAMES
@pytest.mark.parametrize("fraction", [0.0, 0.35, 1.0])
def test_a_step_is_finite_shaped_and_pure(name, fraction):
    told, x = conditions(prior()), pictures(2)
    kept = x.clone()
    once, again = (guidance(name).step(x, told, seeded(), 7, fraction) for _ in range(2))
    assert once.gradient.shape == x.shape and torch.isfinite(once.gradient).all() and once.loss > 0
    assert once.t.shape == (VIEWS,) and once.t.min() >= 0 and once.t.max() < 1000
    assert torch.equal(once.gradient, again.gradient) and torch.equal(x, kept) and not once.gradient.requires_grad


@NAMES
def test_the_gradient_goes_through_the_encoder(name):
    """With an encoder E that scales by 3, `∂L/∂pictures = 3 g / views`, the picture term aside."""

    class Scaled(MixturePrior):
        def encode(self, pictures):
            return 3.0 * super().encode(pictures)

    given = guidance(name)
    scaled = Scaled(given.prior.means, given.prior.variances, given.prior.labels)
    method = replace(given.method, picture=0.0)
    seen = replace(given, prior=scaled, method=method).step(pictures(2), conditions(prior()), seeded())
    torch.testing.assert_close(seen.gradient, 3.0 * seen.direction.movedim(1, -1) / VIEWS)


@NAMES
def test_the_precision_is_that_of_the_pictures(name):
    told = conditions(prior())
    narrow = replace(told, source_pictures=told.source_pictures.float())
    seen = guidance(name).step(pictures(2).float(), narrow, seeded())
    assert seen.gradient.dtype == seen.direction.dtype == torch.float32 and torch.isfinite(seen.gradient).all()


@NAMES
def test_methods_see_a_grid_as_one_picture(name):
    """Four views as a 2x2 grid: one group, one time, and a gradient of the views' own shape."""
    grid = GridPrior(prior(2 * SIZE), rows=2, columns=2)
    critic = Wordless(pictures(2, 1, 2 * SIZE).movedim(-1, 1), torch.ones(1, dtype=torch.float64))
    told = conditions(grid.prior)
    whole = Guidance(grid, METHODS[name](), critic, ExactRatio(grid.prior, critic))
    seen = whole.step(pictures(2), told, seeded())
    assert seen.t.shape == (1,) and seen.gradient.shape == (VIEWS, SIZE, SIZE, 3) and seen.loss > 0


@NAMES
@pytest.mark.parametrize("shape", [Mirror(), RankWeighting()])
def test_shaping_goes_with_every_method(name, shape):
    given = guidance(name)
    shaped = replace(given, method=replace(given.method, shaping=(shape,)))
    seen = shaped.step(pictures(2), conditions(prior()), seeded())
    assert torch.isfinite(seen.gradient).all() and seen.loss > 0
