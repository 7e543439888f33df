"""From words and settings to a guidance: which prior, which rule, what learns beside it, what a step asks."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from volkit.choices import ParameterError, Precision
from volkit.files.bundled import TOY_PRIORS, bundled_folder
from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.generation.options import ScoreChoices
from volkit.generation.penalties import Penalties
from volkit.generation.rung import ConditionBuilder, ScoreRung
from volkit.generation.start_asset import StartAsset
from volkit.guidance import METHODS, WEIGHTS, Bounded, Cfg, Critic, GridPrior, Guidance, Method, PerpNeg, Uniform
from volkit.guidance.condition import Conditions
from volkit.guidance.critic import Discriminator
from volkit.guidance.pipeline import Additions, LoraPrior, PipelinePrior, open_prior
from volkit.guidance.prior import GuidingPrior, Prior, guiding_prior
from volkit.guidance.prompts import CAMERA_ENCODINGS, FLAWS, NEGATIVE, Prompts, conditions_for
from volkit.guidance.ramps import Ramp
from volkit.guidance.sample import sample
from volkit.typing import Float, Tensor

__all__ = [
    "TOY",
    "MethodChoice",
    "ScoreSettings",
    "build_rung",
    "method_name",
    "open_guiding_prior",
    "sample_cameras",
]

MethodChoice = str | Method | Callable[..., Method]  # a name of METHODS, a composition of one's own, or what makes one
TOY = "toy_prior/pixels32"
CRITIC_RATE = 1e-3  # ten times ProlificDreamer's: runs have a thousand steps, not 25 thousand
CRITIC_RANK = 16
DRAWN, STRIDES = 64, 20  # pictures that a prior draws by itself for a density ratio, and the strides of each


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(ScoreChoices):
    """How a prior is asked and how its answer is used; None is what the method or the prior itself advises."""

    penalties: Penalties = field(default_factory=Penalties)
    """Regularisers beside the prior."""
    image: Float[Tensor, "1 token width"] | None = None
    """An embedded picture of what it shall look like (IP-Adapter)."""

    def __post_init__(self) -> None:
        if self.weight is not None and self.weight not in WEIGHTS:
            raise ParameterError(f"weight '{self.weight}': there is no such weight; choose one of {', '.join(WEIGHTS)}")
        if self.views is not None and self.views < 1:
            raise ParameterError(f"views {self.views}: give at least 1")


def open_guiding_prior(
    prior: Any = None,
    device: torch.device | str = "cpu",
    precision: Precision = "float32",
    additions: Additions | None = None,
) -> GuidingPrior:
    """A prior by the name of a folder, a toy prior (`toy_prior/pixels64`) or a hub repository, or one's own object.

    None is the toy prior that comes along.
    """
    if prior is not None and not isinstance(prior, str | Path):
        return guiding_prior(prior)
    name = str(prior or TOY)
    place = bundled_folder(name) if name.startswith(TOY_PRIORS) and not Path(name).is_dir() else name
    opened = open_prior(place, device, getattr(torch, precision), additions)
    return replace(opened, name="toy" if prior is None else name)


def method_name(method: MethodChoice) -> str:
    """What a method is called in reports; ValueError where there is none of that name."""
    if isinstance(method, Method):
        return "own"
    name = method if isinstance(method, str) else getattr(method, "__name__", "own")
    if isinstance(method, str) and name not in METHODS:
        raise ParameterError(f"method '{name}': there is no such method; choose one of {', '.join(METHODS)}")
    return name


def sample_cameras(prior: GuidingPrior, settings: ScoreSettings) -> CameraSampler:
    """The prior's own cameras; the pictures grow to their size in half of the run."""
    advice = prior.advice
    size = settings.size or advice.size
    ramp = size if size <= advice.size else Ramp(((0.0, advice.size), (0.5, size)))
    front = advice.front if settings.front is None else settings.front
    return CameraSampler(ramp, advice.distance, advice.field_of_view, advice.elevation, front)


def build_rung(
    prompt: str,
    method: MethodChoice,
    prior: GuidingPrior,
    settings: ScoreSettings,
    around: CameraSampler,
    generator: torch.Generator,
    start: StartAsset | None = None,
) -> ScoreRung:
    """All that a step asks of a prior; ValueError for what cannot be asked, or words that the prior never saw."""
    asked = _build_conditions(prompt, method_name(method), prior, settings, start)
    guidance, learners = _build_guidance(prompt, method, prior, settings, generator)
    views = settings.views or prior.advice.views
    rung = ScoreRung(guidance, asked, around, views, generator, learners)
    return rung if start is None else rung.placed(start.place)


def _compose(method: MethodChoice, settings: ScoreSettings, prior: GuidingPrior) -> Method:
    """A method no stronger than its prior stands; ValueError where a setting does not apply to it."""
    name, advice = method_name(method), prior.advice
    made = method if isinstance(method, Method) else _made(method, name, settings.scale, advice.scale)
    if isinstance(method, Method) and settings.scale is not None:
        raise ParameterError("scale: a composition of one's own has its scale in it; leave it out")
    plain = name == "sds"  # every other name stands for what was published under it
    weight = settings.weight or (advice.weight if plain else None)
    made = made if weight is None else replace(made, weight=WEIGHTS[weight])
    if plain and advice.times is not None:
        made = replace(made, times=Uniform(*advice.times))
    if settings.sides == "perp_neg":
        if not isinstance(made.combine, Cfg):
            raise ParameterError(f"sides perp_neg: {name} does not combine by a guidance scale alone")
        made = replace(made, combine=PerpNeg(made.combine.scale))
    if prior.bounded and isinstance(made.combine, Cfg | PerpNeg):
        made = replace(made, combine=Bounded(made.combine))
    return made


def _made(method: str | Callable[..., Method], name: str, scale: float | None, advised: float | None) -> Method:
    make = METHODS[method] if isinstance(method, str) else method
    parameters = signature(make).parameters
    if "scale" not in parameters:
        if scale is not None:
            raise ParameterError(f"scale: {name} has no guidance scale; leave it out")
        return make()
    own = parameters["scale"].default
    if scale is None:
        scale = min(own, advised or own) if isinstance(own, int | float) else own
    return make(scale=scale)  # pyright: ignore[reportCallIssue]


def _build_guidance(
    prompt: str, method: MethodChoice, prior: GuidingPrior, settings: ScoreSettings, generator: torch.Generator
) -> tuple[Guidance, list[Learner]]:
    """The guidance, and what learns beside the scene: a critic, a prior of its own, a density ratio."""
    made, name = _compose(method, settings, prior), method_name(method)
    if settings.grid:
        if isinstance(made.second, Critic):
            raise ParameterError(f"grid: {name} has a critic, which sees one view at a time; leave it out")
        return Guidance(GridPrior(prior), made), []
    learners: list[Learner] = []
    asked: Prior = prior
    critic, ratio = None, None
    if name == "bootstrapped_sd":
        asked = _learnable(prior, name, generator, "personal")
        learners.append(PersonalLearner(asked, prior, CRITIC_RATE))
    if isinstance(made.second, Critic):
        critic = _learnable(prior, name, generator, "critic")
        learners.append(CriticLearner(critic, CRITIC_RATE))
    if made.divergence != "reverse_kl":
        drawn = _draw(prior, prompt, generator)
        ratio = Discriminator(drawn.shape[1], prior.schedule, generator).to(drawn.device)
        learners.append(RatioLearner(ratio, drawn, CRITIC_RATE))
    return Guidance(asked, made, critic, ratio), learners


def _learnable(prior: GuidingPrior, method: str, generator: torch.Generator, name: str) -> LoraPrior:
    """A copy of the prior that learns by low-rank weights."""
    if not isinstance(prior, PipelinePrior):
        raise ParameterError(
            f"method {method}: its {name} learns low-rank weights of a diffusers network, and this prior is a "
            f"{type(getattr(prior, 'own', prior)).__name__}; take a method without one, such as sds or csd"
        )
    return LoraPrior(prior, generator, name, CRITIC_RANK)


def _build_conditions(
    prompt: str, method: str, prior: GuidingPrior, settings: ScoreSettings, start: StartAsset | None
) -> ConditionBuilder:
    """Words by sides, cameras in the prior's language, and what there was at the start."""
    sides, advised = settings.sides, prior.advice.sides
    by_words = sides in ("words", "perp_neg") or (sides == "auto" and advised)
    negative = settings.negative or (NEGATIVE if method in ("nfsd", "csd") and advised else "")
    words = "" if start is None else start.words
    source = words or (FLAWS if method == "sds_bridge" and advised else "")
    prompts = Prompts(prompt, negative, source, by_words, sides == "perp_neg")
    prior.embed([prompts.text, *(text for text in (negative, source) if text)])
    pictures = start.pictures if start is not None and words else None
    control = None
    if start is not None and prior.controlled:
        control = lambda cameras: start.control_picture(cameras, prior.size)  # noqa: E731
    preserve = 0.0 if start is None else start.preserve
    if settings.grid:  # one prompt for all views of a picture of pictures
        condition = prior.embed([prompts.text]), prior.embed([""])
        tell, camera = (lambda cameras: Conditions(*condition)), None
    else:
        tell, camera = (lambda cameras: conditions_for(prior, prompts, cameras)), CAMERA_ENCODINGS[prior.advice.camera]
    return ConditionBuilder(tell, camera, source=pictures, control=control, image=settings.image, preserve=preserve)


def _draw(prior: GuidingPrior, prompt: str, generator: torch.Generator) -> Tensor:
    """Pictures that the prior draws by itself of the prompt."""
    words = prior.embed([prompt]).rows(DRAWN), prior.embed([""]).rows(DRAWN)
    blank = prior.encode(torch.zeros(1, prior.size, prior.size, 3, device=prior.schedule.alpha.device))
    return sample(prior, (DRAWN, *blank.shape[1:]), Conditions(*words), generator, Cfg(1.0), STRIDES)
