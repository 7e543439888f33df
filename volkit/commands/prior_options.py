"""What generating, refining, retexturing and editing by words share: the prior, its rule, its cameras, the run."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import Device
from volkit.commands.options import UsageError, taken
from volkit.generation.options import ScoreChoices

if TYPE_CHECKING:  # torch takes a second to import: help needs none of it
    from volkit.evaluation.evaluate import Preview
    from volkit.generation.build import ScoreSettings
    from volkit.generation.result import GenerationResult
    from volkit.guidance.prior import GuidingPrior
    from volkit.progress import Progress
    from volkit.representations import Representation
    from volkit.training.run import TrainingRun

__all__ = ["PriorOptions", "check_pbr"]

IGNORED = {"resume", "force", "checkpoint_seconds", "preview", "report"}  # what makes no other job
HOLD_PBR = (".glb", ".gltf", ".usd", ".usda", ".usdc", ".usdz")


@dataclass(frozen=True, kw_only=True)
class PriorOptions(ScoreChoices):
    """Options of every command that asks a prior."""

    prior: str | None = None
    """Folder or hub name of a diffusion model; by default the toy prior that comes with volkit."""
    method: str = "sds"
    """Rule of score distillation: sds, sjc, ld, hifa, vsd, esd, csd, nfsd, ism, sdi, mvsds, ...; a wrong name lists
    all."""
    budget: str = "2m"
    """120s, 10m, 1h of optimisation, or 2000 for steps."""
    seed: int = 0
    """Same seed, same budget in steps, same machine: same asset."""
    opacity: float = 0.0
    """Weight of emptiness: fog goes where the prior does not mind."""
    entropy: float = 0.0
    """Weight of the entropy of opacity: a pixel shows the object or does not."""
    distortion: float = 0.0
    """Weight of the distortion of rays (mip-NeRF 360): matter lies in one place along each."""
    orientation: float = 0.0
    """Weight against visible surfaces that look away (Ref-NeRF)."""
    smoothness: float = 0.0
    """Weight of the smoothness of normals."""
    lora: Path | None = None
    """File of LoRA weights that are merged into the prior."""
    ip_adapter: Path | None = None
    """File of an IP-Adapter, with which the prior looks at --image-prompt; image_encoder/ lies beside it."""
    image_prompt: Path | None = None
    """Picture of what it shall look like, for priors with --ip-adapter."""
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of the prior's network: float16 halves its memory on a GPU."""
    device: Device = "auto"
    """auto: cuda where its kernels pass a test of themselves, else cpu."""
    report: Path | None = None
    """Page (.html) with pictures from all around, the loss and the settings, or the same as .json."""
    preview: bool = False
    """Write TARGET.png, four views, as the work goes on."""
    checkpoint_seconds: float = 20.0
    """How much work a power cut may cost."""
    resume: bool = False
    """Go on from TARGET.part."""
    force: bool = False
    """Overwrite existing targets."""

    def check(self, prompts: Sequence[str], targets: Sequence[Path], kind: str) -> None:
        """Whatever is wrong with the options, the words or the targets is said before the work begins."""
        from volkit.generation.build import method_name
        from volkit.guidance import METHODS, WEIGHTS
        from volkit.guidance.prompts import Prompts
        from volkit.io import check_target
        from volkit.reports.page import check_report

        for prompt in prompts:
            _usage("", lambda prompt=prompt: Prompts(prompt))
        _usage("--", lambda: method_name(self.method))
        if self.weight is not None and self.weight not in WEIGHTS:
            raise UsageError(f"--weight {self.weight}: there is no such weight; choose one of {', '.join(WEIGHTS)}")
        if self.views is not None and self.views < 1:
            raise UsageError("--views: give at least 1")
        _check_composition(self, METHODS[self.method])
        if (self.ip_adapter is None) != (self.image_prompt is None):
            raise UsageError("--ip-adapter FILE and --image-prompt PICTURE go together; give both or neither")
        self.training(targets[0])  # refuses a budget that is none
        for path in (*targets, self.report):
            if path is not None and path.exists() and not self.force:
                raise FileExistsError(f"{path}: exists already; --force overwrites it")
        for target in targets:
            check_target(target, kind)
        if self.report is not None:
            check_report(self.report)

    def opened(self, progress: "Progress", control: Path | None = None) -> "GuidingPrior":
        """The prior, with a ControlNet on it where one is named."""
        from volkit.devices import chosen_device
        from volkit.generation.build import open_guiding_prior
        from volkit.guidance.pipeline import Additions

        if control is not None and self.grid:
            raise UsageError("--control: shows one view at a time, and --grid shows four as one; leave one out")
        with progress.phase("prior"):
            additions = Additions(lora=self.lora, image_prompt=self.ip_adapter, control=control)
            return open_guiding_prior(self.prior, chosen_device(self.device), self.precision, additions)

    def settings(self) -> "ScoreSettings":
        """How the prior is asked, for the engine."""
        from volkit.devices import chosen_device
        from volkit.generation.build import ScoreSettings, image_prompt
        from volkit.generation.penalties import Penalties

        image = None
        if self.ip_adapter is not None and self.image_prompt is not None:
            image = image_prompt(self.ip_adapter, self.image_prompt, chosen_device(self.device))
        penalties = Penalties(self.opacity, self.entropy, self.distortion, self.orientation, self.smoothness)
        return ScoreSettings(**taken(self, ScoreChoices), penalties=penalties, image=image)

    def training(self, target: Path) -> "TrainingRun":
        """The run on its way to a file."""
        from volkit.training.loop import Budget
        from volkit.training.run import Checkpoint, TrainingRun

        purpose = " ".join(f"{name}={value}" for name, value in asdict(self).items() if name not in IGNORED)
        budget = _usage("--", lambda: Budget.parse(self.budget))
        return TrainingRun(budget, Checkpoint.of(target, purpose, self.resume, self.checkpoint_seconds))

    def previewed(self, target: Path) -> "Preview | None":
        """Who writes pictures as the work goes on."""
        from volkit.evaluation.evaluate import write_picture

        return partial(write_picture, target.with_suffix(".png")) if self.preview else None

    def written(
        self,
        report: dict[str, Any],
        made: "GenerationResult",
        targets: Sequence[Path],
        progress: "Progress",
        before: "Representation | None" = None,
    ) -> dict[str, Any]:
        """Write the assets and, where one was asked for, a page, beside what there was `before`; what was done."""
        from volkit.io import save
        from volkit.ops import backend
        from volkit.reports import prior_report

        for target, scene in zip(targets, made.scenes, strict=True):
            save(scene, target)
        if (kept := self.training(targets[0]).checkpoint) is not None:
            kept.finish()
        report = report | made.report.as_dict() | {
            "target": [str(target) for target in targets], "seed": self.seed, "bytes": targets[0].stat().st_size,
            "device": self.device, "backend": backend.describe(), "history": made.history, "notes": progress.notes,
        }  # fmt: skip
        if self.report is not None:
            cameras = made.turntable(prior_report.VIEWS, prior_report.VIEW_SIZE)
            prior_report.write_prior_report(self.report, report, made.scenes, cameras, before)
        return report


def check_pbr(kind: str, targets: Sequence[Path]) -> None:
    """UsageError where roughness and metalness would be learnt and could not be kept."""
    if kind != "mesh":
        raise UsageError(f"--pbr: {kind} has no roughness and metalness; make a mesh (--to mesh)")
    if lost := [str(target) for target in targets if target.suffix.lower() not in HOLD_PBR]:
        raise UsageError(f"--pbr: {', '.join(lost)} cannot hold roughness and metalness; write .glb, .gltf or .usdz")


def _check_composition(options: PriorOptions, make: Any) -> None:
    """UsageError for options that have no meaning for the method."""
    from inspect import signature

    from volkit.guidance import Cfg, Critic

    if options.scale is not None and "scale" not in signature(make).parameters:
        raise UsageError(f"--scale: {options.method} has no guidance scale; leave it out")
    if options.sides == "perp_neg" and not isinstance(make().combine, Cfg):
        raise UsageError(f"--sides perp_neg: {options.method} does not combine by a guidance scale alone")
    if options.grid and isinstance(make().second, Critic):
        raise UsageError(f"--grid: {options.method} has a critic, which sees one view at a time; leave it out")


def _usage(sign: str, call: Any) -> Any:
    """A value, or the ValueError of what was typed as a UsageError."""
    try:
        return call()
    except ValueError as error:
        raise UsageError(f"{sign}{error}") from error
