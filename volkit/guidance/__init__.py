"""Score distillation: gradients of pictures under a diffusion prior, `g = w(t) h(r) A[Σ_k c_k ε_k(x_t^k, t_k, y_k)]`.

The sum runs over noise predictions `ε_k` under conditions `y_k`; `w` weights times, `h` density ratios, and `A` shapes
the direction.
"""

from volkit.guidance.combine import Bounded, Cfg, Linear, MinNorm, PerpNeg, RandomScale
from volkit.guidance.condition import Condition, Conditions
from volkit.guidance.guidance import Guidance, Method, NoisyView
from volkit.guidance.methods import METHODS
from volkit.guidance.mixture import MixturePrior
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.paths import FixedNoise, InvertedNoise, RandomNoise, SharedNoise, Trajectory
from volkit.guidance.prior import GridPrior, Noised, Prior, Score
from volkit.guidance.ramps import Descending, Ramp, Uniform, switch
from volkit.guidance.ratio import ExactRatio, LogRatio
from volkit.guidance.second_scores import (
    Critic,
    NegativePrompt,
    NoSecondScore,
    PriorAtSecondPoint,
    SampledNoise,
    SourceBranch,
)
from volkit.guidance.weights import WEIGHTS, Clip, Mirror, RankWeighting

__all__ = [
    "METHODS",
    "WEIGHTS",
    "Bounded",
    "Cfg",
    "Clip",
    "Condition",
    "Conditions",
    "Critic",
    "Descending",
    "ExactRatio",
    "FixedNoise",
    "GridPrior",
    "Guidance",
    "InvertedNoise",
    "Linear",
    "LogRatio",
    "Method",
    "MinNorm",
    "Mirror",
    "MixturePrior",
    "NegativePrompt",
    "NoSecondScore",
    "NoiseSchedule",
    "Noised",
    "NoisyView",
    "PerpNeg",
    "Prior",
    "PriorAtSecondPoint",
    "Ramp",
    "RandomNoise",
    "RandomScale",
    "RankWeighting",
    "SampledNoise",
    "Score",
    "SharedNoise",
    "SourceBranch",
    "Trajectory",
    "Uniform",
    "switch",
]
