"""What generating, refining, retexturing and editing share: the prior, its rule, its cameras, the run."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from volkit.commands.usage import UsageError
from volkit.devices import Device
from volkit.generation import CameraSampler, Penalties, ScoreRung
from volkit.generation.control_picture import ControlKind, control_picture
from volkit.generation.guided import Precision, Rule, Sides, build_conditions, build_guidance, open_guiding_prior
from volkit.generation.image_prompt import image_prompt
from volkit.generation.run import PRIOR_STEP_SCALE, GenerationRun, RunResult
from volkit.geometry import Cameras, Similarity
from volkit.guidance.pipeline import Additions, PipelinePrior
from volkit.guidance.prompts import Prompts
from volkit.guidance.ramps import Ramp
from volkit.io import check_target, save
from volkit.ops import backend
from volkit.progress import Progress
from volkit.rendering.renderer import renderer_for
from volkit.reports.fit_report import check_report
from volkit.reports.prior_report import SHOWN_SIZE, VIEWS, strength, write_prior_report
from volkit.representations import Representation
from volkit.training.loop import Budget
from volkit.training.run import CHECKPOINT_SECONDS, TrainingRun, count_parameters
from volkit.typing import Float, Tensor

__all__ = ["PriorJob", "StartAsset", "check_pbr"]

IGNORED = {"resume", "force", "checkpoint_seconds", "preview", "report"}  # what makes no other job
IN_PLACE = Similarity()
HOLD_PBR = (".glb", ".gltf", ".usd", ".usda", ".usdc", ".usdz")


@dataclass(frozen=True)
class StartAsset:
    """What there was at the start: its words, and itself."""

    words: str = ""
    scene: Representation | None = None
    place: Similarity = IN_PLACE  # world from the prior's frame
    preserve: float = 0.0  # of it, where the prior does not ask for a change
    control: ControlKind = "normal"

    def pictures(self, cameras: Cameras, background: Float[Tensor, "view 3"]) -> Float[Tensor, "view h w 3"]:
        """The scene by cameras of the prior's frame, over one colour a view, no finer than a student of it is drawn."""
        assert self.scene is not None
        picture = renderer_for(self.scene, step_scale=PRIOR_STEP_SCALE)(self.scene, cameras.moved(self.place))
        return picture.over(background[:, None, None])

    def told(self, cameras: Cameras, size: int) -> Float[Tensor, "view 3 height width"]:
        """The scene by cameras of the prior's frame, as a ControlNet is told it."""
        assert self.scene is not None
        return control_picture(self.scene, cameras.moved(self.place), size, self.control)


NOTHING = StartAsset()


@dataclass(frozen=True, kw_only=True)
class PriorJob(ABC):
    """Options of every command that asks a prior."""

    prior: str | None = None
    """Folder or hub name of a diffusion model; by default the toy prior that comes with volkit."""
    method: str = "sds"
    """Rule of score distillation: sds, sjc, ld, hifa, vsd, esd, csd, nfsd, ism, sdi, mvsds, ...; a wrong name lists
    all."""
    scale: float | None = None
    """Guidance scale; by default the method's own, or what the prior's folder advises."""
    weight: str | None = None
    """Weight of the diffusion's times: sigma_squared, sigma_over_alpha, one, ...; by default the method's own."""
    negative: str = ""
    """What it shall not be, for methods that ask about that."""
    sides: Sides = "auto"
    """How words tell the side that is seen: words (front view, ...), perp_neg, none; auto: words, where the prior is
    not told the camera."""
    grid: bool = False
    """Show the prior four views as one picture, so that a prior of single pictures makes them agree."""
    views: int | None = None
    """Pictures of a step, of each particle; by default 4."""
    size: int | None = None
    """Pixels a side of the pictures at the end; by default what the prior's folder advises, else 64."""
    front: float | None = None
    """Share of views about the front, as web pictures are taken; 0: evenly around."""
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
    budget: str = "2m"
    """120s, 10m, 1h of optimisation, or 2000 for steps."""
    seed: int = 0
    """Same seed, same budget in steps, same machine: same asset."""
    lora: Path | None = None
    """File of LoRA weights that are merged into the prior."""
    ip_adapter: Path | None = None
    """File of an IP-Adapter, with which the prior looks at --image-prompt; image_encoder/ lies beside it."""
    image_prompt: Path | None = None
    """Picture of what it shall look like, for priors with --ip-adapter."""
    precision: Precision = "float32"
    """Of the prior's network: float16 halves its memory on a GPU."""
    device: Device = "cpu"
    """cpu, cuda, or auto: cuda where there is one."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """How much work a power cut may cost."""
    resume: bool = False
    """Go on from TARGET.part."""
    force: bool = False
    """Overwrite existing targets."""
    preview: bool = False
    """Write TARGET.png, four views, as the work goes on."""
    report: Path | None = None
    """Page (.html) with pictures from all around, the loss and the settings, or the same as .json."""

    @abstractmethod
    def run(self, progress: Progress) -> dict[str, Any]:
        """Do it, write, report."""

    def opened(self, device: torch.device, progress: Progress, control: Path | None = None) -> PipelinePrior:
        """The prior, with a ControlNet on it where one is named."""
        if control is not None and self.grid:
            raise UsageError("--control: tells of one view at a time, and --grid shows four as one; leave one out")
        with progress.phase("prior"):
            additions = Additions(lora=self.lora, image_prompt=self.ip_adapter, control=control)
            return open_guiding_prior(self.prior, device, self.precision, additions)

    def around(self, prior: PipelinePrior) -> CameraSampler:
        """The prior's own cameras; the pictures grow to their size in half of the run."""
        advice = prior.advice
        size = self.size or advice.size
        ramp = size if size <= advice.size else Ramp(((0.0, advice.size), (0.5, size)))
        front = advice.front if self.front is None else self.front
        return CameraSampler(ramp, advice.distance, advice.field_of_view, advice.elevation, front)

    def penalties(self) -> Penalties:
        """The regularisers."""
        return Penalties(self.opacity, self.entropy, self.distortion, self.orientation, self.smoothness)

    def distillation(
        self,
        prompt: str,
        prior: PipelinePrior,
        around: CameraSampler,
        target: Path,
        generator: torch.Generator,
        source: StartAsset = NOTHING,
    ) -> GenerationRun:
        """Everything that a run needs but for its subjects."""
        rule = Rule(prompt, self.method, self.scale, self.weight, self.negative, source.words, self.sides)
        asked = build_conditions(rule, prior, source.pictures if source.words else None, grid=self.grid)
        control = (lambda cameras: source.told(cameras, prior.codec.size)) if prior.controlled else None
        asked = replace(asked, preserve=source.preserve, control=control)
        if self.ip_adapter is not None and self.image_prompt is not None:
            asked = replace(asked, image=image_prompt(self.ip_adapter, self.image_prompt, generator.device))
        guidance, learners = build_guidance(rule, prior, generator, grid=self.grid)
        views = self.views or prior.advice.views
        rung = ScoreRung(guidance, asked, around, views, generator, learners, source.place)
        return GenerationRun(rung, target.with_suffix(".png") if self.preview else None)

    def training(self, target: Path) -> TrainingRun:
        """The run on its way to a file."""
        purpose = " ".join(f"{name}={value}" for name, value in asdict(self).items() if name not in IGNORED)
        return TrainingRun(target, Budget.parse(self.budget), purpose, self.resume, self.checkpoint_seconds)

    def check(self, prompt: str, targets: Sequence[Path], kind: str) -> None:
        """Whatever is wrong with the words or the targets is said before the work begins."""
        Prompts(prompt)  # refuses an empty one
        if self.views is not None and self.views < 1:
            raise UsageError("--views: give at least 1")
        for path in (*targets, self.report):
            if path is not None and path.exists() and not self.force:
                raise FileExistsError(f"{path}: exists already; --force overwrites it")
        for target in targets:
            check_target(target, kind)
        if self.report is not None:
            check_report(self.report)
        if (self.ip_adapter is None) != (self.image_prompt is None):
            raise UsageError("--ip-adapter FILE and --image-prompt PICTURE go together; give both or neither")

    def written(
        self, done: RunResult, targets: Sequence[Path], training: TrainingRun, prompt: str, progress: Progress
    ) -> dict[str, Any]:
        """Write the assets; tell what was done."""
        name = self.prior or "toy"
        for target, scene in zip(targets, done.scenes, strict=True):
            save(scene.view(provenance={"prompt": prompt, "prior": name, "method": self.method}), target)
        training.finish()
        return {
            "prompt": prompt, "target": [str(target) for target in targets], "kind": done.scenes[0].config.kind,
            "prior": name, "method": self.method, "seconds": round(done.seconds, 2), "steps": done.steps,
            "ms_per_step": round(1e3 * done.seconds / max(done.steps, 1), 1), "seed": self.seed,
            "parameters": count_parameters(done.scenes[0]), "bytes": targets[0].stat().st_size,
            "device": self.device, "backend": backend.describe(), "history": done.history, "notes": progress.notes,
        }  # fmt: skip

    def told(
        self, report: dict[str, Any], done: RunResult, rung: ScoreRung, before: Representation | None = None
    ) -> dict[str, Any]:
        """What was done, as a page too where one was asked for: beside what there was `before`."""
        report |= {"scale": strength(rung.guidance.method)}
        if self.report is not None:
            cameras = rung.around.turntable(VIEWS, SHOWN_SIZE).moved(rung.place)
            write_prior_report(self.report, report, done.scenes, cameras, before)
        return report


def check_pbr(kind: str, targets: Sequence[Path]) -> None:
    """UsageError where roughness and metalness would be learnt and could not be kept."""
    if kind != "mesh":
        raise UsageError(f"--pbr: {kind} has no roughness and metalness; make a mesh (--to mesh)")
    if lost := [str(target) for target in targets if target.suffix.lower() not in HOLD_PBR]:
        raise UsageError(f"--pbr: {', '.join(lost)} cannot hold roughness and metalness; write .glb, .gltf or .usdz")
