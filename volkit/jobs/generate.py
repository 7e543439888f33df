"""`volkit generate`: from words to an asset, by what a diffusion prior says about its pictures."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from volkit.distill.score import Around, Penalties, ScoreRung
from volkit.fit import Budget
from volkit.geometry import Domain
from volkit.guidance.pipeline import PipelinePrior
from volkit.guidance.ramps import Ramp
from volkit.io import check_target, format_for, save
from volkit.jobs.devices import Device, chosen_device, on_device
from volkit.jobs.distillation import Distillation, Done, MeshStages, meshed
from volkit.jobs.guiding import Precision, Rule, Sides, asked_about, guided, opened
from volkit.jobs.progress import Progress
from volkit.jobs.sitters import LEARNABLE, pixels_across, sitter_of
from volkit.jobs.training import CHECKPOINT_SECONDS, Training, count_parameters, seeded
from volkit.ops import backend
from volkit.representations import RepresentationConfig

__all__ = ["GenerateJob"]

DEFAULT = "hash_grid"
PREFERRED = ("mesh", "splats")  # where the target's format holds no field
KINDS = (*LEARNABLE, "mesh")


@dataclass(frozen=True)
class GenerateJob:
    """Make an asset of words, by score distillation: a diffusion model of pictures says how each view should change.

    The prior that comes with volkit knows simple solids in eight colours, one on another or with a nose; --prior names
    a real one, a folder of diffusers' format or a name of the hub.
    Example: volkit generate "a red ball on a blue box" ball.safetensors
    Splats:  volkit generate "a green cone" cone.ply --seed 3
    Others:  volkit generate "a corgi" corgi.safetensors --prior models/sd15 --method vsd --budget 30m --device cuda
    """

    prompt: str
    """What it shall be."""
    target: Path
    """File to write; its suffix names the format: .safetensors a field, .ply splats."""
    to: str | None = None
    """Kind of representation: hash_grid, voxels, planes, tensor_vm, tensor_cp, mlp, splats, mesh; by default that of
    the target's format: .safetensors hash_grid, .ply splats, .glb mesh. A mesh is first a field."""
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
    particles: int = 1
    """How many assets are made together, with one critic; TARGET-2, TARGET-3, ... are the others."""
    max_splats: int = 20_000
    """How many splats there may be, with --to splats."""
    faces: int = 5_000
    """How many triangles a mesh may have, with --to mesh."""
    texture: int | None = None
    """Texels a side of a mesh's texture, a power of two; by default eight for each pixel that the prior sees."""
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
    """Write TARGET.png, four views, as the asset grows."""
    config: Annotated[RepresentationConfig | None, tyro.conf.Suppress] = None
    """Sizes of the representation, from Python; by default as fine as the prior's pictures."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Distil, write, report."""
        device, kind = chosen_device(self.device), self._kind()
        self._check(kind)
        rule, generator = self._rule(), seeded(self.seed)
        with progress.stretch("prior"):
            prior = opened(self.prior, device, self.precision)
            asked = asked_about(rule, prior, grid=self.grid)
        around = self._around(prior)
        coarse = DEFAULT if kind == "mesh" else kind
        sitters = [
            sitter_of(coarse, around, prior.advice.half, self._penalties(), generator, self.config, self.max_splats)
            for _ in range(self.particles)
        ]
        generator = on_device(generator, device)
        guidance, learners = guided(rule, prior, generator, grid=self.grid)
        rung = ScoreRung(guidance, asked, around, self.views or prior.advice.views, generator, learners)
        preview = self.target.with_suffix(".png") if self.preview else None
        distillation = Distillation(rung, preview)
        training = Training(
            self.target, Budget.parse(self.budget), self._purpose(), self.resume, self.checkpoint_seconds
        )
        with progress.stretch(f"generate {kind}"):
            if kind == "mesh":
                done = meshed(distillation, sitters, training, self._mesh_stages(around, prior.advice.half), progress)
            else:
                done = distillation.train(sitters, training, progress)
        return self._written(done, training, kind, rung.views, progress)

    def _written(self, done: Done, training: Training, kind: str, views: int, progress: Progress) -> dict[str, Any]:
        """Write the assets; tell what was done."""
        for target, scene in zip(self._targets(), done.scenes, strict=True):
            scene.provenance = {"prompt": self.prompt, "prior": self._prior_name, "method": self.method}
            save(scene, target)
        training.finish()
        return {
            "command": "generate", "prompt": self.prompt, "target": [str(t) for t in self._targets()], "kind": kind,
            "prior": self._prior_name, "method": self.method, "seconds": round(done.seconds, 2), "steps": done.steps,
            "ms_per_step": round(1e3 * done.seconds / max(done.steps, 1), 1), "views": views, "seed": self.seed,
            "parameters": count_parameters(done.scenes[0]), "bytes": self.target.stat().st_size,
            "device": self.device, "backend": backend.describe(), "history": done.history,
            "notes": progress.notes,
        }  # fmt: skip

    @property
    def _prior_name(self) -> str:
        return self.prior or "toy"

    def _kind(self) -> str:
        """What was asked for, else a field, else what the format holds."""
        if self.to is not None:
            if self.to not in KINDS:
                kinds = ", ".join(KINDS)
                raise ValueError(f"--to {self.to}: there is no such kind to generate; choose one of {kinds}")
            return self.to
        holds = format_for(self.target, kind=DEFAULT).holds
        return DEFAULT if DEFAULT in holds else next((kind for kind in PREFERRED if kind in holds), DEFAULT)

    def _check(self, kind: str) -> None:
        """Whatever is wrong with the target or the options is said before the work begins."""
        if not self.prompt.strip():
            raise ValueError('the prompt is empty: say what it shall be, for example "a red ball on a blue box"')
        if self.particles < 1 or (self.views is not None and self.views < 1):
            raise ValueError("--particles and --views: give at least 1")
        for target in self._targets():
            if target.exists() and not self.force:
                raise FileExistsError(f"{target}: exists already; --force overwrites it")
            check_target(target, kind)

    def _rule(self) -> Rule:
        return Rule(self.prompt, self.method, self.scale, self.weight, self.negative, sides=self.sides)

    def _around(self, prior: PipelinePrior) -> Around:
        """The prior's own cameras; the pictures grow to their size over the first half of the run."""
        advice = prior.advice
        size = self.size or advice.size
        ramp = size if size <= advice.size else Ramp(((0.0, advice.size), (0.5, size)))
        front = advice.front if self.front is None else self.front
        return Around(ramp, advice.distance, advice.field_of_view, advice.elevation, front)

    def _penalties(self) -> Penalties:
        return Penalties(self.opacity, self.entropy, self.distortion, self.orientation, self.smoothness)

    def _mesh_stages(self, around: Around, half: float) -> MeshStages:
        return MeshStages(self.faces, self.texture, pixels_across(around, Domain.cube(half)), self._penalties())

    def _targets(self) -> list[Path]:
        """Where particles go."""
        more = [self.target.with_stem(f"{self.target.stem}-{i}") for i in range(2, self.particles + 1)]
        return [self.target, *more]

    def _purpose(self) -> str:
        ignored = {"resume", "force", "checkpoint_seconds", "preview"}
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if name not in ignored)
