"""The table of named methods: every rule is one composition of the five parts.

Times and ramps are in shares of the run; the papers' own steps stand in the docstrings. Scales are in the one
convention `ε_∅ + s (ε_y - ε_∅)`, also where an author's code counts from zero.

In the formulas `g` is the gradient in the prior's space, `ε` the added noise, `ε_y`, `ε_∅` and `ε_s` the noise
predicted with the prompt, without, and guided, `ε_φ` that of a critic trained on renders; `α`, `σ` and `T` are those of
the noise schedule.

Example:
    >>> rule = sds(scale=7.5)
    >>> rule.combine
    Cfg(scale=7.5, rescale=0.0)
"""

from collections.abc import Callable
from dataclasses import replace

from volkit.guidance.combine import Cfg, Linear, MinNorm, RandomScale
from volkit.guidance.guidance import Method
from volkit.guidance.paths import InvertedNoise, RandomNoise, SharedNoise
from volkit.guidance.ramps import Descending, Ramp, Uniform, switch
from volkit.guidance.ratio import Divergence
from volkit.guidance.second_scores import Critic, NegativePrompt, NoSecondScore, PriorAtSecondPoint, SourceBranch
from volkit.guidance.weights import Shaping, alpha, alpha_over_sigma, one, sigma_over_alpha

__all__ = [
    "METHODS",
    "adversarial_sd",
    "asynchronous_sd",
    "balanced_sd",
    "bootstrapped_sd",
    "csd",
    "csm",
    "dds",
    "esd",
    "fdiv_sd",
    "hifa",
    "ism",
    "ld",
    "lgvsd",
    "mvsds",
    "nfsd",
    "random_scale_vsd",
    "sdi",
    "sds",
    "sds_bridge",
    "sjc",
    "vsd",
]

_STEPPED = Uniform(high=switch(0.98, 0.5, at=0.2))  # ProlificDreamer: .98 for the first 5k of 25k steps
_SHRINKING = Uniform(high=Ramp(((0.0, 0.98), (0.3, 0.5))))  # LucidDreamer: over 1500 of 5k steps


def sds(scale: float = 100.0) -> Method:
    """Score distillation sampling: `g = σ² (ε_s - ε)` (DreamFusion, arXiv 2209.14988, equation 3).

    Args:
        scale: of classifier-free guidance, `s`.
    """
    return Method(combine=Cfg(scale))


def sjc(scale: float = 100.0) -> Method:
    """Score Jacobian chaining, variance reduced: `g = ε_s - ε` (arXiv 2212.00774).

    Args:
        scale: of classifier-free guidance, `s`.
    """
    return Method(combine=Cfg(scale), weight=one)


def ld(scale: float = 7.5, shaping: tuple[Shaping, ...] = ()) -> Method:
    """Likelihood distillation: `g = (α / σ) ε_s`, the gradient of -log p(x_t | y), with no noise term.

    arXiv 2411.13536, as printed; the authors' code keeps of it `α s (ε_y - ε_∅)`. Its grid score is a `GridPrior`
    around the prior.

    Args:
        scale: of classifier-free guidance, `s`.
        shaping: functions applied to the direction afterwards: mirrored gradients, weights by rank.
    """
    return Method(combine=Cfg(scale), second=NoSecondScore(), weight=alpha_over_sigma, shaping=shaping)


def hifa(scale: float = 100.0) -> Method:
    """HiFA: SDS with `t = t_max - (t_max - t_min) √fraction` and `.01 σ² (α / σ) (picture - decode(x̂0))` added.

    arXiv 2305.18766. Its z-variance is a regulariser of the renderer.

    Args:
        scale: of classifier-free guidance, `s`.
    """
    return Method(combine=Cfg(scale), times=Descending(0.98, 0.3, power=0.5), picture=0.01)


def vsd(scale: float = 7.5) -> Method:
    """Variational score distillation: `g = σ² (ε_s - ε_φ(x_t, t, y, c))` (arXiv 2305.16213, equation 9).

    Args:
        scale: of classifier-free guidance, `s`.
    """
    return Method(combine=Cfg(scale), second=Critic(), times=_STEPPED)


def esd(scale: float = 7.5, view_free: float = 0.5) -> Method:
    """Entropic score distillation: `g = σ² (ε_s - λ ε_φ(x_t; ∅_c) - (1 - λ) ε_φ(x_t; c))` (arXiv 2401.00909).

    Args:
        scale: of classifier-free guidance, `s`.
        view_free: `λ`, the share of the critic's prediction without the camera.
    """
    return Method(combine=Cfg(scale), second=Critic(view_free=view_free), times=_STEPPED)


def adversarial_sd(scale: float = 7.5, anti_prior: float = -0.75) -> Method:
    """Adversarial score distillation: VSD whose critic minimises `‖ε_φ - ε‖² + γ ‖ε_φ - ε_p(y)‖²` (arXiv 2312.00739).

    With the optimal critic `(ε_q + γ ε_p) / (1 + γ)` it is VSD of scale `1 + (s - 1)(1 + γ)` and weight `1 / (1 + γ)`.

    Args:
        scale: of classifier-free guidance, `s`.
        anti_prior: `γ`, weight of the critic's distance to the prior (negative: away from it).
    """
    return Method(combine=Cfg(scale), second=Critic(anti_prior=anti_prior), times=_STEPPED)


def asynchronous_sd(scale: float = 7.5, later: float = 0.1) -> Method:
    """Asynchronous score distillation: `g = σ² (ε_s(x_t, t) - ε_p(x_{t+Δ}, t + Δ, y))`.

    ScaleDreamer, arXiv 2407.02040. The same ε at both times: the prior at a noisier time stands in for the critic.

    Args:
        scale: of classifier-free guidance, `s`.
        later: `Δ` as a share of `t - t_min`.
    """
    return Method(RandomNoise(later=later), PriorAtSecondPoint("prompt"), Cfg(scale))


def bootstrapped_sd(scale: float = 2.0) -> Method:
    """Bootstrapped score distillation: VSD whose prior is itself trained on the asset's renders.

    DreamCraft3D, arXiv 2310.16818. The prior of the guidance is a `LoraPrior` that learns them; t_max falls from .5 to
    .2 over 5k steps.

    Args:
        scale: of classifier-free guidance, `s`.
    """
    return Method(combine=Cfg(scale), second=Critic(), times=Uniform(0.05, Ramp(((0.0, 0.5), (1.0, 0.2)))))


def balanced_sd(scale: float = 15.0) -> Method:
    """Balanced score distillation: `g = α (a c + (1 - a) d)`, the min-norm point of `λ (ε_y - ε_∅)` and `ε_∅`.

    PlacidDreamer, arXiv 2407.13976.

    Args:
        scale: `λ`, 15 in the authors' code.
    """
    return Method(second=NoSecondScore(), combine=MinNorm(scale), weight=alpha, times=_SHRINKING)


def csd() -> Method:
    """Classifier score distillation: `g = σ² (ε_y - ε_∅)`, the empty prompt replaced by the negative one on the way.

    Coefficients (prompt, negative, null) from (1, 0, -1) to (1, -1, 0) over the first half (arXiv 2310.19415:
    5k of 10k steps); without a negative prompt that is `ε_y - ε_∅` all the way.
    """
    ramps = Linear(1.0, Ramp(((0.0, 0.0), (0.5, -1.0))), Ramp(((0.0, -1.0), (0.5, 0.0))))
    return Method(second=NoSecondScore(), combine=ramps, times=Uniform(high=switch(0.98, 0.5, at=0.5)))


def csm() -> Method:
    """Classifier score matching: `g = (σ / α) (ε_y(x_t) - ε_∅(x_t))`, x_t by inversion (TV-3DG, arXiv 2410.21299).

    Weight, strides and times are ISM's: the authors published no code to compare with.
    """
    path = InvertedNoise(steps=5, interval=0.08)
    return Method(path, NoSecondScore(), Linear(prompt=1.0, null=-1.0), sigma_over_alpha, _SHRINKING)


def ism(scale: float = 7.5, interval: float = 0.08) -> Method:
    """Interval score matching: `g = (σ / α) (ε_s(x_t, t, y) - ε_∅(x_s, s))`, s = t - δ.

    LucidDreamer, arXiv 2311.11284; x_s and x_t by DDIM inversion without words.

    Args:
        scale: of classifier-free guidance, `s`.
        interval: `δ` as a share of T, .08 in the authors' code.
    """
    path = InvertedNoise(steps=5, interval=interval)
    return Method(path, PriorAtSecondPoint("null"), Cfg(scale), sigma_over_alpha, _SHRINKING)


def nfsd(scale: float = 7.5) -> Method:
    """Noise-free score distillation: `g = σ² (s (ε_y - ε_∅) + δ_D)` (arXiv 2310.17590).

    `δ_D = ε_∅` for t < .2 T, `ε_∅ - ε_neg` from there on (equation 6).

    Args:
        scale: of the conditional direction, `s`.
    """
    return Method(combine=Cfg(scale), second=NegativePrompt())


def dds(scale: float = 7.5) -> Method:
    """Delta denoising score: `g = ε_s(x_t, t, y) - ε_s(x_t^src, t, y_src)`, one ε for both (arXiv 2304.07090).

    Args:
        scale: of classifier-free guidance, `s`, for both terms.
    """
    return Method(SharedNoise(), SourceBranch(scale), Cfg(scale), one, Uniform(0.05, 0.95))


def sdi(scale: float = 7.5) -> Method:
    """Score distillation via inversion: `g = (σ / α) (ε_s(x_t) - ε*)`, ε* by DDIM inversion under negative guidance.

    arXiv 2405.15891: ten strides, t falls from .98 to .25 over 10k steps, η = .3.

    Args:
        scale: of classifier-free guidance, `s`; the inversion is guided by `1 - s`.
    """
    path = InvertedNoise(steps=10, scale=1.0 - scale, eta=0.3)
    return Method(path, combine=Cfg(scale), weight=sigma_over_alpha, times=Descending(0.98, 0.25))


def sds_bridge(scale: float = 40.0) -> Method:
    """Score distillation as a bridge: SDS, then for the last half `g = σ² s (ε_y - ε_src)`.

    arXiv 2406.09417. The source words describe the flaws of the present pictures, see `prompts.FLAWS_PROMPT`; the
    switch is at 500 of 1000 steps in the authors' experiments on pictures.

    Args:
        scale: of classifier-free guidance in the first half, of the bridge in the second.
    """
    coefficients = Linear(
        prompt=scale,
        null=switch(1.0 - scale, 0.0, at=0.5),
        source=switch(0.0, -scale, at=0.5),
        noise=switch(-1.0, 0.0, at=0.5),
    )
    return Method(second=NoSecondScore(), combine=coefficients)


def mvsds(scale: float = 50.0) -> Method:
    """Multi-view SDS: `g = x - x̂0` of all views together, x̂0 rescaled by half (MVDream, arXiv 2308.16512).

    One time for all views; t_min falls from .98 to .02 and t_max to .5 over 8k of 10k steps. For a prior of single
    pictures a `GridPrior` lays the views out as one.

    Args:
        scale: of classifier-free guidance, `s`.
    """
    low, high = Ramp(((0.0, 0.98), (0.8, 0.02))), Ramp(((0.0, 0.98), (0.8, 0.5)))
    return Method(combine=Cfg(scale, rescale=0.5), weight=sigma_over_alpha, times=Uniform(low, high, shared=True))


def lgvsd(scale: float = 7.5) -> Method:
    """Layout-guided VSD: `g = σ² (ε_s - ε_φ)`, both under one control picture (Urban Architect, arXiv 2404.06780).

    Args:
        scale: of classifier-free guidance, `s`.
    """
    return Method(combine=Cfg(scale), second=Critic(controlled=True))


def fdiv_sd(scale: float = 7.5, divergence: Divergence = "jensen_shannon") -> Method:
    """f-divergence distillation: `g = σ² h(r) (ε_s - ε_φ)`, r = p_t / q_t (f-distill, arXiv 2502.15681).

    Args:
        scale: of classifier-free guidance, `s`.
        divergence: names the function `h`; `Guidance` needs a `log_ratio` for all but `reverse_kl`.
    """
    return replace(vsd(scale), divergence=divergence)


def random_scale_vsd(low: float = 0.5, high: float = 4.0) -> Method:
    """VSD whose prior and critic are guided by one `s ~ U(low, high)`, new at every step.

    PG-SB of SNOOPI, arXiv 2412.02687, table 6 (.5 to 4 for Stable Diffusion, to 3 for PixArt).

    Args:
        low: smallest scale.
        high: largest scale.
    """
    scale = RandomScale(low, high)
    return replace(vsd(), combine=scale, second=Critic(scale=scale))


METHODS: dict[str, Callable[..., Method]] = {
    method.__name__: method
    for method in (
        sds,
        sjc,
        ld,
        hifa,
        vsd,
        esd,
        adversarial_sd,
        asynchronous_sd,
        bootstrapped_sd,
        balanced_sd,
        csd,
        csm,
        ism,
        nfsd,
        dds,
        sdi,
        sds_bridge,
        mvsds,
        lgvsd,
        fdiv_sd,
        random_scale_vsd,
    )
}
