"""From prompts and settings to an objective: prior, method, learners, cameras and conditions."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from inspect import signature
from pathlib import Path
from typing import Any

import torch

from volkit.choices import ParameterError, Precision
from volkit.data.pictures import picture_size, read_picture
from volkit.evaluation.evaluate import WHITE, composite_over
from volkit.files.bundled import TOY_PRIORS, bundled_folder
from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.generation.objective import ConditionBuilder, ScoreObjective
from volkit.generation.options import ScoreChoices
from volkit.generation.penalties import Penalties
from volkit.generation.start_asset import StartAsset
from volkit.guidance import METHODS, WEIGHTS, Bounded, Cfg, Critic, GridPrior, Guidance, Method, PerpNeg, Uniform
from volkit.guidance.condition import Conditions
from volkit.guidance.critic import Discriminator
from volkit.guidance.pipeline import Additions, LoraPrior, PipelinePrior, embed_pictures, open_prior
from volkit.guidance.prior import GuidingPrior, Prior, as_guiding_prior
from volkit.guidance.prompts import CAMERA_ENCODINGS, FLAWS_PROMPT, NEGATIVE_PROMPT, Prompts, conditions_for
from volkit.guidance.ramps import Ramp
from volkit.guidance.sample import sample
from volkit.typing import Float, Tensor

__all__ = [
    "TOY_PRIOR",
    "MethodChoice",
    "ScoreSettings",
    "build_objective",
    "image_prompt",
    "method_name",
    "open_guiding_prior",
    "sample_cameras",
]

MethodChoice = str | Method | Callable[..., Method]  # a name of METHODS, a method, or a function that returns one
TOY_PRIOR = "toy_prior/pixels32"
IMAGE_ENCODER = "image_encoder"  # folder of the CLIP vision model beside the published IP-Adapters
CRITIC_RATE = 1e-3  # ten times ProlificDreamer's: runs have a thousand steps, not 25 thousand
CRITIC_RANK = 16
RATIO_PICTURES, RATIO_STRIDES = (
    64,
    20,
)  # pictures that a prior draws by itself for a density ratio, and the strides of each


@dataclass(frozen=True, kw_only=True)
class ScoreSettings(ScoreChoices):
    """Options of score distillation; None is the default of the method or of the prior.

    Raises:
        ParameterError: a weight that does not exist, or fewer than one view.

    Example:
        >>> ScoreSettings(scale=50.0, views=8).views
        8
    """

    penalties: Penalties = field(default_factory=Penalties)
    """Weights of regularisers."""
    image: Float[Tensor, "1 token width"] | None = None
    """An embedded picture that the scene should resemble (IP-Adapter)."""

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
    """Open a prior for generation; FileNotFoundError or ValueError where it cannot be used.

    Args:
        prior: a folder, a toy prior (`toy_prior/pixels64`), a hub repository, or a user's object; None: the bundled
            toy prior.
        device: of the network.
        precision: of its weights.
        additions: LoRA weights, ControlNet, IP-Adapter.
    """
    if prior is not None and not isinstance(prior, str | Path):
        return as_guiding_prior(prior)
    name = str(prior or TOY_PRIOR)
    place = bundled_folder(name) if name.startswith(TOY_PRIORS) and not Path(name).is_dir() else name
    pipeline = open_prior(place, device, getattr(torch, precision), additions)
    return replace(pipeline, name="toy" if prior is None else name)


def image_prompt(adapter: Path, picture: Path, device: torch.device) -> Float[Tensor, "1 1 width"]:
    """The embedding of a picture, over white, by the CLIP vision model beside an IP-Adapter.

    FileNotFoundError where there is no such model, FormatError where the file is no picture.
    """
    pixels = composite_over(read_picture(picture, picture_size(picture)), WHITE)
    return embed_pictures(adapter.parent / IMAGE_ENCODER, pixels[None].to(device))


def method_name(method: MethodChoice) -> str:
    """The name of a method in reports; ValueError for an unknown one."""
    if isinstance(method, Method):
        return "own"
    name = method if isinstance(method, str) else getattr(method, "__name__", "own")
    if isinstance(method, str) and name not in METHODS:
        raise ParameterError(f"method '{name}': there is no such method; choose one of {', '.join(METHODS)}")
    return name


def sample_cameras(prior: GuidingPrior, settings: ScoreSettings) -> CameraSampler:
    """The cameras that the prior recommends; pictures grow to their size during the first half of the run."""
    defaults = prior.defaults
    size = settings.size or defaults.size
    ramp = size if size <= defaults.size else Ramp(((0.0, defaults.size), (0.5, size)))
    front = defaults.front if settings.front is None else settings.front
    return CameraSampler(ramp, defaults.distance, defaults.field_of_view, defaults.elevation, front)


def build_objective(
    prompt: str,
    method: MethodChoice,
    prior: GuidingPrior,
    settings: ScoreSettings,
    sampler: CameraSampler,
    generator: torch.Generator,
    start: StartAsset | None = None,
) -> ScoreObjective:
    """The objective of a prompt under a prior.

    Args:
        prompt: the text.
        method: a name, a function or a `Method`.
        prior: opened by `open_guiding_prior`.
        settings: of its use.
        sampler: cameras of the steps.
        generator: of cameras, noise and times, on the prior's device.
        start: the source asset, for refinement and editing.

    Raises:
        ValueError: settings that do not suit method or prior, or a prompt that the prior does not know.
    """
    conditions = _build_conditions(prompt, method_name(method), prior, settings, start)
    guidance, learners = _build_guidance(prompt, method, prior, settings, generator)
    views = settings.views or prior.defaults.views
    objective = ScoreObjective(guidance, conditions, sampler, views, generator, learners)
    return objective if start is None else objective.with_place(start.place)


def _compose(method: MethodChoice, settings: ScoreSettings, prior: GuidingPrior) -> Method:
    """The method with the settings applied; ValueError where one does not apply to it."""
    name, defaults = method_name(method), prior.defaults
    composed = method if isinstance(method, Method) else _call_method(method, name, settings.scale, defaults.scale)
    if isinstance(method, Method) and settings.scale is not None:
        raise ParameterError("scale: a Method includes its guidance scale; leave it out")
    is_sds = name == "sds"  # every other name stands for what was published under it
    weight = settings.weight or (defaults.weight if is_sds else None)
    composed = composed if weight is None else replace(composed, weight=WEIGHTS[weight])
    if is_sds and defaults.times is not None:
        composed = replace(composed, times=Uniform(*defaults.times))
    if settings.sides == "perp_neg":
        if not isinstance(composed.combine, Cfg):
            raise ParameterError(f"sides perp_neg: {name} does not combine by a guidance scale alone")
        composed = replace(composed, combine=PerpNeg(composed.combine.scale))
    if prior.bounded and isinstance(composed.combine, Cfg | PerpNeg):
        composed = replace(composed, combine=Bounded(composed.combine))
    return composed


def _call_method(method: str | Callable[..., Method], name: str, scale: float | None, default: float | None) -> Method:
    make = METHODS[method] if isinstance(method, str) else method
    parameters = signature(make).parameters
    if "scale" not in parameters:
        if scale is not None:
            raise ParameterError(f"scale: {name} has no guidance scale; leave it out")
        return make()
    own = parameters["scale"].default
    if scale is None:
        scale = min(own, default or own) if isinstance(own, int | float) else own
    return make(scale=scale)


def _build_guidance(
    prompt: str, method: MethodChoice, prior: GuidingPrior, settings: ScoreSettings, generator: torch.Generator
) -> tuple[Guidance, list[Learner]]:
    """The guidance, and the learners beside the scene: a critic, a personalised prior, a density ratio."""
    composed, name = _compose(method, settings, prior), method_name(method)
    if settings.grid:
        if isinstance(composed.second, Critic):
            raise ParameterError(f"grid: {name} has a critic, which takes one view at a time; leave it out")
        return Guidance(GridPrior(prior), composed), []
    learners: list[Learner] = []
    guiding: Prior = prior
    critic, ratio = None, None
    if name == "bootstrapped_sd":
        guiding = _learnable(prior, name, generator, "personal")
        learners.append(PersonalLearner(guiding, prior, CRITIC_RATE))
    if isinstance(composed.second, Critic):
        critic = _learnable(prior, name, generator, "critic")
        learners.append(CriticLearner(critic, CRITIC_RATE))
    if composed.divergence != "reverse_kl":
        pictures = _sample_prior(prior, prompt, generator)
        ratio = Discriminator(pictures.shape[1], prior.schedule, generator).to(pictures.device)
        learners.append(RatioLearner(ratio, pictures, CRITIC_RATE))
    return Guidance(guiding, composed, critic, ratio), learners


def _learnable(prior: GuidingPrior, method: str, generator: torch.Generator, name: str) -> LoraPrior:
    """A copy of the prior that learns by low-rank weights."""
    if not isinstance(prior, PipelinePrior):
        raise ParameterError(
            f"method {method}: its {name} learns low-rank weights of a diffusers network, and this prior is a "
            f"{type(getattr(prior, 'wrapped', prior)).__name__}; take a method without one, such as sds or csd"
        )
    return LoraPrior(prior, generator, name, CRITIC_RANK)


def _build_conditions(
    prompt: str, method: str, prior: GuidingPrior, settings: ScoreSettings, start: StartAsset | None
) -> ConditionBuilder:
    """Prompts by sides, cameras in the prior's encoding, and the source asset."""
    sides, default = settings.sides, prior.defaults.sides
    names_sides = sides in ("words", "perp_neg") or (sides == "auto" and default)
    negative = settings.negative or (NEGATIVE_PROMPT if method in ("nfsd", "csd") and default else "")
    words = "" if start is None else start.words
    source = words or (FLAWS_PROMPT if method == "sds_bridge" and default else "")
    prompts = Prompts(prompt, negative, source, names_sides, sides == "perp_neg")
    prior.embed([prompts.text, *(text for text in (negative, source) if text)])
    pictures = start.pictures if start is not None and words else None
    control = None
    if start is not None and prior.controlled:
        control = lambda cameras: start.control_picture(cameras, prior.size)  # noqa: E731
    preserve = 0.0 if start is None else start.preserve
    if settings.grid:  # one prompt for all views of a picture of pictures
        condition = prior.embed([prompts.text]), prior.embed([""])
        build, camera = (lambda cameras: Conditions(*condition)), None
    else:
        build, camera = (
            (lambda cameras: conditions_for(prior, prompts, cameras)),
            CAMERA_ENCODINGS[prior.defaults.camera],
        )
    return ConditionBuilder(build, camera, source=pictures, control=control, image=settings.image, preserve=preserve)


def _sample_prior(prior: GuidingPrior, prompt: str, generator: torch.Generator) -> Tensor:
    """Samples of the prior under the prompt, in its own space."""
    words = prior.embed([prompt]).expand(RATIO_PICTURES), prior.embed([""]).expand(RATIO_PICTURES)
    blank = prior.encode(torch.zeros(1, prior.size, prior.size, 3, device=prior.schedule.alpha.device))
    return sample(prior, (RATIO_PICTURES, *blank.shape[1:]), Conditions(*words), generator, Cfg(1.0), RATIO_STRIDES)
