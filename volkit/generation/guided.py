"""From words and options to a guidance: which prior, which rule, what learns beside it, what a step asks."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Literal

import torch

from volkit.files.bundled import TOY_PRIORS, bundled_folder
from volkit.generation import ConditionBuilder, CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.geometry import Cameras
from volkit.guidance import METHODS, WEIGHTS, Bounded, Cfg, Critic, GridPrior, Guidance, Method, PerpNeg, Uniform
from volkit.guidance.condition import Conditions
from volkit.guidance.discriminator import Discriminator
from volkit.guidance.pipeline import Additions, Advice, LoraPrior, PipelinePrior, open_prior
from volkit.guidance.pipeline.codec import PixelCodec
from volkit.guidance.prompts import FLAWS, NEGATIVE, Prompts, conditions_for
from volkit.guidance.sample import sample
from volkit.guidance.telling import CAMERA_ENCODINGS
from volkit.typing import Tensor

__all__ = ["TOY", "Precision", "Rule", "Sides", "build_conditions", "build_guidance", "open_guiding_prior"]

Sides = Literal["auto", "words", "perp_neg", "none"]
Precision = Literal["float32", "float16", "bfloat16"]
TOY = "toy_prior/pixels32"
CRITIC_RATE = 1e-3  # ten times ProlificDreamer's: runs have a thousand steps, not 25 thousand
CRITIC_RANK = 16
DRAWN, STRIDES = 64, 20  # pictures that a prior draws by itself for a density ratio, and the strides of each


@dataclass(frozen=True)
class Rule:
    """What a prior is asked and how its answer is used."""

    prompt: str
    method: str = "sds"
    scale: float | None = None
    weight: str | None = None
    negative: str = ""
    source: str = ""
    sides: Sides = "auto"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"--method {self.method}: there is no such method; choose one of {', '.join(METHODS)}")
        if self.weight is not None and self.weight not in WEIGHTS:
            raise ValueError(f"--weight {self.weight}: there is no such weight; choose one of {', '.join(WEIGHTS)}")


def open_guiding_prior(
    name: str | None, device: torch.device, precision: Precision = "float32", additions: Additions | None = None
) -> PipelinePrior:
    """A prior by the name of a folder, of a toy prior (`toy_prior/pixels64`) or of a hub repository; by default TOY."""
    name = name or TOY
    place = bundled_folder(name) if name.startswith(TOY_PRIORS) and not Path(name).is_dir() else name
    return open_prior(place, device, getattr(torch, precision), additions)


def _method(rule: Rule, advice: Advice, *, pixels: bool) -> Method:
    """A named method, no stronger than its prior stands; ValueError where an option does not apply to it."""
    make = METHODS[rule.method]
    parameters = signature(make).parameters
    if "scale" not in parameters:
        if rule.scale is not None:
            raise ValueError(f"--scale: {rule.method} has no guidance scale; leave it out")
        method = make()
    else:
        own = parameters["scale"].default
        scale = rule.scale if rule.scale is not None else min(own, advice.scale or own)
        method = make(scale)  # pyright: ignore[reportCallIssue]
    plain = rule.method == "sds"  # every other name stands for what was published under it
    weight = rule.weight or (advice.weight if plain else None)
    method = method if weight is None else replace(method, weight=WEIGHTS[weight])
    if plain and advice.times is not None:
        method = replace(method, times=Uniform(*advice.times))
    if rule.sides == "perp_neg":
        if not isinstance(method.combine, Cfg):
            raise ValueError(f"--sides perp_neg: {rule.method} does not combine by a guidance scale alone")
        method = replace(method, combine=PerpNeg(method.combine.scale))
    if advice.bounded and pixels and isinstance(method.combine, Cfg | PerpNeg):
        method = replace(method, combine=Bounded(method.combine))
    return method


def build_guidance(
    rule: Rule, prior: PipelinePrior, generator: torch.Generator, *, grid: bool = False
) -> tuple[Guidance, list[Learner]]:
    """The guidance, and what learns beside the scene: a critic, a prior of its own, a density ratio."""
    method = _method(rule, prior.advice, pixels=isinstance(prior.codec, PixelCodec))
    if grid:
        if isinstance(method.second, Critic):
            raise ValueError(f"--grid: {rule.method} has a critic, which sees one view at a time; leave it out")
        return Guidance(GridPrior(prior), method), []
    learners: list[Learner] = []
    seen, critic, ratio = prior, None, None
    if rule.method == "bootstrapped_sd":
        seen = LoraPrior(prior, generator, "personal", CRITIC_RANK)
        learners.append(PersonalLearner(seen, prior, CRITIC_RATE))
    if isinstance(method.second, Critic):
        critic = LoraPrior(prior, generator, "critic", CRITIC_RANK)
        learners.append(CriticLearner(critic, CRITIC_RATE))
    if method.divergence != "reverse_kl":
        drawn = _drawn(prior, rule, generator)
        ratio = Discriminator(drawn.shape[1], prior.schedule, generator).to(drawn.device)
        learners.append(RatioLearner(ratio, drawn, CRITIC_RATE))
    return Guidance(seen, method, critic, ratio), learners


def build_conditions(
    rule: Rule, prior: PipelinePrior, pictures: Callable[[Cameras, Tensor], Tensor] | None = None, *, grid: bool = False
) -> ConditionBuilder:
    """Words by sides, cameras in the prior's language; `pictures` are of what there was at the start.

    ValueError for words that the prior never saw.
    """
    by_words = rule.sides in ("words", "perp_neg") or (rule.sides == "auto" and prior.advice.sides)
    negative = rule.negative or (NEGATIVE if rule.method in ("nfsd", "csd") and prior.advice.sides else "")
    source = rule.source or (FLAWS if rule.method == "sds_bridge" and prior.advice.sides else "")
    prompts = Prompts(rule.prompt, negative, source, by_words, rule.sides == "perp_neg")
    prior.embed([prompts.text, *(text for text in (negative, source) if text)])
    if grid:  # one prompt for all views of a picture of pictures
        condition = prior.embed([prompts.text]), prior.embed([""])
        return ConditionBuilder(lambda cameras: Conditions(*condition), source=pictures)
    return ConditionBuilder(
        lambda cameras: conditions_for(prior, prompts, cameras), CAMERA_ENCODINGS[prior.advice.camera], pictures
    )


def _drawn(prior: PipelinePrior, rule: Rule, generator: torch.Generator) -> Tensor:
    """Pictures that the prior draws by itself of the prompt."""
    words = prior.embed([rule.prompt]).rows(DRAWN), prior.embed([""]).rows(DRAWN)
    blank = prior.encode(torch.zeros(1, prior.codec.size, prior.codec.size, 3, device=prior.schedule.alpha.device))
    return sample(prior, (DRAWN, *blank.shape[1:]), Conditions(*words), generator, Cfg(1.0), STRIDES)
