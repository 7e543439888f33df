"""What generating, refining, painting and editing give back."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from volkit.generation.guided import MethodChoice, ScoreSettings, method_name
from volkit.generation.run import RunResult
from volkit.generation.rung import ScoreRung
from volkit.geometry import Cameras
from volkit.guidance import Bounded, Method
from volkit.guidance.ramps import Ramp
from volkit.progress import Progress
from volkit.representations import Representation
from volkit.training.loop import Budget
from volkit.training.run import Callback, CallbackProgress, TrainingRun, count_parameters

__all__ = [
    "GenerationReport",
    "GenerationResult",
    "Request",
    "guidance_scale",
    "prior_name",
    "progress_of",
    "training_run",
]


@dataclass(frozen=True)
class GenerationReport:
    """What was done, in figures."""

    prompt: str
    kind: str
    prior: str
    method: str
    scale: float | None  # of the guidance, at the end
    seconds: float
    steps: int
    parameters: int
    measures: dict[str, float | None] = field(default_factory=dict)  # against what there was before, dB and shares

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, measures beside the rest."""
        plain = asdict(self)
        measures = plain.pop("measures")
        return plain | {"ms_per_step": round(1e3 * self.seconds / max(self.steps, 1), 1)} | measures


@dataclass(frozen=True)
class GenerationResult:
    """The scenes that came about, how the loss went, and what was done."""

    scenes: tuple[Representation, ...]  # one for each particle
    history: list[dict[str, float]]
    report: GenerationReport
    rung: ScoreRung = field(repr=False)

    @property
    def scene(self) -> Representation:
        """The first of them."""
        return self.scenes[0]

    def turntable(self, count: int, size: int) -> Cameras:
        """World-frame cameras around it as the prior saw it, from the front on."""
        return self.rung.around.turntable(count, size).moved(self.rung.place)


@dataclass(frozen=True)
class Request:
    """What is asked for: words, a rule, the prior by the name that reports give it, and settings."""

    prompt: str
    method: MethodChoice
    prior: str
    settings: ScoreSettings

    def result(
        self, done: RunResult, rung: ScoreRung, measures: dict[str, float | None] | None = None
    ) -> GenerationResult:
        """A run's outcome with its report; scenes are frozen and know where they come from."""
        name = method_name(self.method)
        said = {"prompt": self.prompt, "prior": self.prior, "method": name}
        scenes = tuple(scene.requires_grad_(False).view(provenance=said) for scene in done.scenes)
        first = scenes[0]
        report = GenerationReport(
            prompt=self.prompt,
            kind=first.config.kind,
            prior=self.prior,
            method=name,
            scale=guidance_scale(rung.guidance.method),
            seconds=round(done.seconds, 2),
            steps=done.steps,
            parameters=count_parameters(first),
            measures=measures or {},
        )
        return GenerationResult(scenes, done.history, report, rung)


def prior_name(prior: Any) -> str:
    """What reports call a prior: its folder or name, `toy`, or the class of one's own object."""
    if prior is None:
        return "toy"
    if isinstance(prior, str | Path):
        return str(prior)
    return getattr(prior, "name", "") or type(prior).__name__


def training_run(budget: str | int | Budget | TrainingRun) -> TrainingRun:
    """A budget as a run that stores nothing; a `TrainingRun` says itself where unfinished work is kept."""
    if isinstance(budget, TrainingRun):
        return budget
    return TrainingRun(budget if isinstance(budget, Budget) else Budget.parse(str(budget)))


def progress_of(callback: Callback | Progress | None) -> Progress:
    """Who hears of the work: a progress itself, or one that calls a function after every step."""
    return callback if isinstance(callback, Progress) else CallbackProgress(callback)


def guidance_scale(method: Method) -> float | None:
    """The guidance scale that a method ends with, None where it has none."""
    combine = method.combine.combine if isinstance(method.combine, Bounded) else method.combine
    scale = getattr(combine, "scale", None)
    return scale.corners[-1][1] if isinstance(scale, Ramp) else scale
