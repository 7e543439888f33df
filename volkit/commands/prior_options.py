"""Options that generate, refine, retexture and edit-with-prompt share: prior, method, penalties, budget, output."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import Device
from volkit.commands.options import UsageError, taken
from volkit.generation.options import ScoreChoices

if TYPE_CHECKING:  # help does not wait for torch
    from volkit.evaluation.evaluate import Preview
    from volkit.generation.build import ScoreSettings
    from volkit.generation.result import GenerationResult
    from volkit.guidance.prior import GuidingPrior
    from volkit.progress import Progress
    from volkit.representations import Representation
    from volkit.training.run import TrainingRun

__all__ = ["PriorOptions", "check_pbr"]

IGNORED = {"resume", "force", "checkpoint_seconds", "preview", "report"}  # options that do not change what is made
HOLD_PBR = (".glb", ".gltf", ".usd", ".usda", ".usdc", ".usdz")


@dataclass(frozen=True, kw_only=True)
class PriorOptions(ScoreChoices):
    """Options of every command that trains with a prior."""

    prior: str | None = None
    """Diffusion model: a folder in diffusers format, or a hub name; by default the toy prior that comes with volkit."""
    method: str = "sds"
    """Score distillation method: sds, sjc, ld, hifa, vsd, esd, csd, nfsd, ism, sdi, mvsds, ...; an unknown name lists
    all."""
    budget: str = "2m"
    """Time of optimisation (120s, 10m, 1h) or a number of steps (2000)."""
    seed: int = 0
    """Random seed; the same seed and number of steps give the same asset on one machine."""
    opacity: float = 0.0
    """Weight of the opacity penalty, which removes fog that the prior does not need."""
    entropy: float = 0.0
    """Weight of the entropy of opacity, which makes pixels either opaque or empty."""
    distortion: float = 0.0
    """Weight of the distortion loss (mip-NeRF 360), which gathers density in one place along each ray."""
    orientation: float = 0.0
    """Weight of the orientation loss (Ref-NeRF), against visible normals that face away from the camera."""
    smoothness: float = 0.0
    """Weight of the smoothness of normals."""
    lora: Path | None = None
    """LoRA weights to merge into the prior."""
    ip_adapter: Path | None = None
    """IP-Adapter weights, through which the prior sees --image-prompt; image_encoder/ lies beside the file."""
    image_prompt: Path | None = None
    """Picture that the asset should look like; needs --ip-adapter."""
    precision: Literal["float32", "float16", "bfloat16"] = "float32"
    """Precision of the prior's network; float16 halves its memory on a GPU."""
    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""
    report: Path | None = None
    """Write a report: a page (.html) with views from all around, the loss and the settings, or JSON (.json)."""
    preview: bool = False
    """Write TARGET.png, four views, during training."""
    checkpoint_seconds: float = 20.0
    """Seconds of work between checkpoints, TARGET.part."""
    resume: bool = False
    """Continue from the checkpoint, TARGET.part."""
    force: bool = False
    """Overwrite existing targets."""

    def check(self, prompts: Sequence[str], targets: Sequence[Path], kind: str) -> None:
        """Raise UsageError, FormatError or FileExistsError for wrong options, prompts or targets, before any work."""
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
        self.training_run(targets[0])  # refuses a budget that is none
        for path in (*targets, self.report):
            if path is not None and path.exists() and not self.force:
                raise FileExistsError(f"{path}: exists already; --force overwrites it")
        for target in targets:
            check_target(target, kind)
        if self.report is not None:
            check_report(self.report)

    def open_prior(self, progress: "Progress", control: Path | None = None) -> "GuidingPrior":
        """The prior, with a ControlNet if one is given."""
        from volkit.devices import chosen_device
        from volkit.generation.build import open_guiding_prior
        from volkit.guidance.pipeline import Additions

        if control is not None and self.grid:
            raise UsageError("--control conditions single views, and --grid joins four into one; leave one of them out")
        with progress.phase("prior"):
            additions = Additions(lora=self.lora, image_prompt=self.ip_adapter, control=control)
            return open_guiding_prior(self.prior, chosen_device(self.device), self.precision, additions)

    def settings(self) -> "ScoreSettings":
        """The settings of score distillation, for the engine."""
        from volkit.devices import chosen_device
        from volkit.generation.build import ScoreSettings, image_prompt
        from volkit.generation.penalties import Penalties

        image = None
        if self.ip_adapter is not None and self.image_prompt is not None:
            image = image_prompt(self.ip_adapter, self.image_prompt, chosen_device(self.device))
        penalties = Penalties(self.opacity, self.entropy, self.distortion, self.orientation, self.smoothness)
        return ScoreSettings(**taken(self, ScoreChoices), penalties=penalties, image=image)

    def training_run(self, target: Path) -> "TrainingRun":
        """The training run, with its checkpoint beside the target."""
        from volkit.training.loop import Budget
        from volkit.training.run import Checkpoint, TrainingRun

        purpose = " ".join(f"{name}={value}" for name, value in asdict(self).items() if name not in IGNORED)
        budget = _usage("--", lambda: Budget.parse(self.budget))
        return TrainingRun(budget, Checkpoint.of(target, purpose, self.resume, self.checkpoint_seconds))

    def preview_writer(self, target: Path) -> "Preview | None":
        """The function that writes preview pictures, if they are wanted."""
        from volkit.evaluation.evaluate import write_picture

        return partial(write_picture, target.with_suffix(".png")) if self.preview else None

    def write(
        self,
        report: dict[str, Any],
        made: "GenerationResult",
        targets: Sequence[Path],
        progress: "Progress",
        before: "Representation | None" = None,
    ) -> dict[str, Any]:
        """Write the assets and, if wanted, a page that compares them with the scene `before`; returns the report."""
        from volkit.io import save
        from volkit.ops import backend
        from volkit.reports import prior_report

        for target, scene in zip(targets, made.scenes, strict=True):
            save(scene, target)
        if (checkpoint := self.training_run(targets[0]).checkpoint) is not None:
            checkpoint.remove()
        report = report | made.report.as_dict() | {
            "target": [str(target) for target in targets], "seed": self.seed, "bytes": targets[0].stat().st_size,
            "device": self.device, "backend": backend.describe(), "history": made.history, "notes": progress.notes,
        }  # fmt: skip
        if self.report is not None:
            cameras = made.turntable(prior_report.VIEWS, prior_report.VIEW_SIZE)
            prior_report.write_prior_report(self.report, report, made.scenes, cameras, before)
        return report


def check_pbr(kind: str, targets: Sequence[Path]) -> None:
    """UsageError where roughness and metalness cannot be trained or stored."""
    if kind != "mesh":
        raise UsageError(f"--pbr: {kind} has no roughness and metalness; make a mesh (--to mesh)")
    if lost := [str(target) for target in targets if target.suffix.lower() not in HOLD_PBR]:
        raise UsageError(f"--pbr: {', '.join(lost)} cannot hold roughness and metalness; write .glb, .gltf or .usdz")


def _check_composition(options: PriorOptions, make: Any) -> None:
    """UsageError for options that do not apply to the method."""
    from inspect import signature

    from volkit.guidance import Cfg, Critic

    if options.scale is not None and "scale" not in signature(make).parameters:
        raise UsageError(f"--scale: {options.method} has no guidance scale; leave it out")
    if options.sides == "perp_neg" and not isinstance(make().combine, Cfg):
        raise UsageError(f"--sides perp_neg: {options.method} does not combine by a guidance scale alone")
    if options.grid and isinstance(make().second, Critic):
        raise UsageError(f"--grid: {options.method} has a critic, which sees one view at a time; leave it out")


def _usage(sign: str, call: Any) -> Any:
    """The value of a call; its ValueError becomes a UsageError."""
    try:
        return call()
    except ValueError as error:
        raise UsageError(f"{sign}{error}") from error
