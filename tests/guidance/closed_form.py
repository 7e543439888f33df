"""Expectations over time and noise by quadrature, through the very code that distils."""

from dataclasses import dataclass, replace

import torch
from numpy.polynomial.hermite_e import hermegauss

from volkit.guidance.condition import Condition, Conditions
from volkit.guidance.guidance import Guidance
from volkit.guidance.mixture import MixturePrior
from volkit.guidance.paths import FixedNoise

SCHEDULE = MixturePrior(torch.zeros(1, 1), torch.ones(1)).schedule


def times(low, high):
    """Every tenth of the thousand times in [low, high)."""
    return torch.arange(int(1000 * low), int(1000 * high), 10)


@dataclass(frozen=True)
class Given:
    """These times, in this order."""

    t: torch.Tensor

    def __call__(self, schedule, count, fraction, generator):
        assert len(self.t) == count
        return self.t


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def mixture(means, variances, labels=()):
    """A mixture of scalars, that is of pictures of one number."""
    means = torch.as_tensor(means, dtype=torch.float64)
    variances = torch.as_tensor(variances, dtype=torch.float64).expand(len(means))
    return MixturePrior(means.view(-1, 1, 1, 1), variances, labels)


def weighed(*weights):
    """A condition that weighs the components so."""
    return Condition(text=torch.tensor([weights], dtype=torch.float64).log())


def scalars(values):
    return torch.as_tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


def directions(guidance, conditions, theta, t, noise, fraction=0.0):
    """g of every row for given θ, t and ε, all of one length."""
    method = replace(guidance.method, path=FixedNoise(scalars(noise)), times=Given(t))
    step = replace(guidance, method=method).step
    return step(scalars(theta), conditions, seeded(), fraction=fraction).direction.flatten()


def expected(method, prior, conditions, theta, t, *, critic=None, nodes=48):
    """`E_{t, ε}[g(θ)]` at every θ: the mean over the times and Gauss-Hermite quadrature over the noise."""
    noise, weights = (torch.from_numpy(v) for v in hermegauss(nodes))
    theta = torch.as_tensor(theta, dtype=torch.float64)
    row, time, node = (
        v.flatten() for v in torch.meshgrid(*(torch.arange(len(v)) for v in (theta, t, noise)), indexing="ij")
    )
    g = directions(Guidance(prior, method, critic), conditions, theta[row], t[time], noise[node])
    return (g.view(len(theta), len(t), nodes) @ weights).mean(1) / weights.sum()


def stable_points(pull, low=-4.0, high=4.0, count=33):
    """Where descent comes to rest: `pull` crosses zero upwards; bracketed on a lattice, then bisected to 1e-4."""
    lattice = torch.linspace(low, high, count, dtype=torch.float64)
    values = pull(lattice)
    rising = ((values[:-1] < 0) & (values[1:] >= 0)).nonzero()[:, 0]
    left, right = lattice[rising], lattice[rising + 1]
    for _ in range(12):  # 1/4 halved 12 times is 6e-5
        middle = 0.5 * (left + right)
        below = pull(middle) < 0
        left, right = torch.where(below, middle, left), torch.where(below, right, middle)
    return (0.5 * (left + right)).tolist()


def only(prompt, **more):
    """Conditions with the same words everywhere."""
    return Conditions(prompt, prompt, **more)
