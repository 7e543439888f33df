"""Results and reports of generation."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from volkit.generation.build import MethodChoice, ScoreSettings, method_name
from volkit.generation.objective import ScoreObjective
from volkit.generation.run import RunResult
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
    """The figures of a run.

    Attributes:
        prompt: the text.
        kind: of the scene.
        prior: its name.
        method: its name.
        scale: guidance scale at the end; None where the method has none.
        seconds: of optimisation.
        steps: of optimisation.
        parameters: number of trainable parameters.
        measures: by name, dB and shares, in comparison with the source.
    """

    prompt: str
    kind: str
    prior: str
    method: str
    scale: float | None
    seconds: float
    steps: int
    parameters: int
    measures: dict[str, float | None] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values, measures beside the rest."""
        plain = asdict(self)
        measures = plain.pop("measures")
        return plain | {"ms_per_step": round(1e3 * self.seconds / max(self.steps, 1), 1)} | measures


@dataclass(frozen=True)
class GenerationResult:
    """The result of generating, refining, retexturing or editing.

    Attributes:
        scenes: one for each particle.
        history: losses over the run, a row for each point of the curve.
        report: figures of the run.
        objective: with its cameras and guidance.
    """

    scenes: tuple[Representation, ...]
    history: list[dict[str, float]]
    report: GenerationReport
    objective: ScoreObjective = field(repr=False)

    @property
    def scene(self) -> Representation:
        """The first scene."""
        return self.scenes[0]

    def turntable(self, count: int, size: int) -> Cameras:
        """World-frame cameras around the scene, as under the prior, from the front on."""
        return self.objective.sampler.turntable(count, size).transform(self.objective.place)


@dataclass(frozen=True)
class Request:
    """The request of a run: prompt, method, name of the prior, and settings."""

    prompt: str
    method: MethodChoice
    prior: str
    settings: ScoreSettings

    def result(
        self, outcome: RunResult, objective: ScoreObjective, measures: dict[str, float | None] | None = None
    ) -> GenerationResult:
        """The result of a run with its report; scenes are frozen and carry their provenance."""
        name = method_name(self.method)
        provenance = {"prompt": self.prompt, "prior": self.prior, "method": name}
        scenes = tuple(scene.requires_grad_(False).view(provenance=provenance) for scene in outcome.scenes)
        first = scenes[0]
        report = GenerationReport(
            prompt=self.prompt,
            kind=first.config.kind,
            prior=self.prior,
            method=name,
            scale=guidance_scale(objective.guidance.method),
            seconds=round(outcome.seconds, 2),
            steps=outcome.steps,
            parameters=count_parameters(first),
            measures=measures or {},
        )
        return GenerationResult(scenes, outcome.history, report, objective)


def prior_name(prior: Any) -> str:
    """The name of a prior in reports: its folder or name, `toy`, or the class of a user's object."""
    if prior is None:
        return "toy"
    if isinstance(prior, str | Path):
        return str(prior)
    return getattr(prior, "name", "") or type(prior).__name__


def training_run(budget: str | int | Budget | TrainingRun) -> TrainingRun:
    """A budget as a run that stores no unfinished work; a `TrainingRun` as it is."""
    if isinstance(budget, TrainingRun):
        return budget
    return TrainingRun(budget if isinstance(budget, Budget) else Budget.parse(str(budget)))


def progress_of(callback: Callback | Progress | None) -> Progress:
    """A progress as it is, or one that calls a function after every step."""
    return callback if isinstance(callback, Progress) else CallbackProgress(callback)


def guidance_scale(method: Method) -> float | None:
    """The guidance scale of a method at the end of a run; None where it has none."""
    combine = method.combine.combine if isinstance(method.combine, Bounded) else method.combine
    scale = getattr(combine, "scale", None)
    return scale.corners[-1][1] if isinstance(scale, Ramp) else scale
