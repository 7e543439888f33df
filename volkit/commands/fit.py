"""`volkit fit`: from posed photographs to a scene of any kind."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from volkit.commands.estimate import estimate
from volkit.data import Photographs, load_photographs
from volkit.devices import Device, chosen_device, on_device
from volkit.distillation.build import Pictures, trainee_from_pictures
from volkit.distillation.sizes import checked_degree, default_config
from volkit.distillation.splats.adaptive import DefaultStrategy
from volkit.distillation.splats.mcmc import MCMCStrategy
from volkit.distillation.splats.student import SplatStudent
from volkit.distillation.student import FieldStudent
from volkit.evaluation.evaluate import Evaluator, white_background
from volkit.geometry import Similarity
from volkit.io import check_target, save
from volkit.io.splats.point_cloud import read_points
from volkit.ops import backend
from volkit.progress import Progress
from volkit.representations import (
    Capture,
    Representation,
    RepresentationConfig,
    SplatsConfig,
    trainable_kinds,
)
from volkit.training.loop import Budget
from volkit.training.run import CHECKPOINT_SECONDS, TrainingRun, count_parameters, make_generator

__all__ = ["FitJob"]

DENSIFY = {"mcmc": MCMCStrategy, "classic": DefaultStrategy}


@dataclass(frozen=True)
class FitJob:
    """Fit a radiance field or splats to posed photographs.

    DATA is a folder with transforms.json (Blender, nerfstudio, instant-ngp), a COLMAP model, LLFF poses, or a video
    with poses. Example: volkit fit photos/fox fox.safetensors --to hash_grid --size 480 --preserveout 8 --budget 3m
    """

    data: Path
    """Folder (or transforms file) of the dataset."""
    target: Path
    """File to write; its suffix names the format."""
    to: str = "hash_grid"
    """Kind of representation: hash_grid, mlp, voxels, tensor_vm, tensor_cp, planes, splats."""
    size: int | None = None
    """Longest side of the pictures in pixels; by default as they are."""
    holdout: int | None = None
    """Keep pictures 0, N, 2N, ... (sorted by name) for testing."""
    budget: str = "5m"
    """120s, 10m, 1h of optimisation, or 2000 for steps."""
    exposure: bool = False
    """Learn exposure and white balance of every photograph."""
    domain: str | None = None
    """x0,y0,z0,x1,y1,z1[:contracted] overrules the box found from the cameras."""
    up: str | None = None
    """World up of the dataset: x, -x, y, -y, z, -z."""
    unit_scale: float | None = None
    """Metres per unit of the dataset."""
    max_splats: int = 60_000
    """How many splats there may be, with --to splats."""
    sh_degree: int = 3
    """Degree of the spherical harmonics of splats, 0 to 4, with --to splats."""
    surfels: bool = False
    """Flat splats (2D Gaussians), with --to splats."""
    densify: Literal["mcmc", "classic"] = "mcmc"
    """How splats move and multiply: by Markov chain Monte Carlo, or cloned, split and pruned as in 3DGS."""
    start: Path | None = None
    """A .ply of points, in the dataset's frame, where splats begin; by default the dataset's own points, if any."""
    seed: int = 0
    """Same seed, same budget in steps, same machine: same scene."""
    device: Device = "cpu"
    """cpu, cuda, or auto: cuda where there is one."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """How much work a power cut may cost."""
    resume: bool = False
    """Go on from TARGET.part."""
    force: bool = False
    """Overwrite an existing target."""
    dry_run: bool = False
    """Say what it would take, and stop."""
    config: Annotated[RepresentationConfig | None, tyro.conf.Suppress] = None
    """Sizes of the representation, from Python or a preset; by default those of its paper."""
    preview: bool = False
    """Write TARGET.png, a held-out view, as the fit goes on."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Fit, write, report."""
        budget, device = Budget.parse(self.budget), chosen_device(self.device)
        if self.target.exists() and not self.force and not self.dry_run:
            raise FileExistsError(f"{self.target}: exists already; --force overwrites it")
        self._check()
        with progress.phase("read"):
            photographs = load_photographs(
                self.data, self.size, self.holdout, self.up, self.unit_scale, self.domain, progress.counted
            )
        for note in photographs.notes:
            progress.note(note)
        generator = make_generator(self.seed)
        scene = self._scene(photographs, generator).to(device)
        generator = on_device(generator, device)
        report = {"command": "fit", "source": str(self.data), "target": str(self.target), "kind": self.to,
                  "parameters": count_parameters(scene), "seed": self.seed, "device": device.type,
                  "backend": backend.describe()}  # fmt: skip
        if self.dry_run:
            pixels = sum(image.numel() for image in photographs.images)
            return report | estimate(scene, budget, pixels, photographs.split.count("test") or len(photographs))
        judge = Evaluator.of(photographs, self.target.with_suffix(".png") if self.preview else None)
        training = TrainingRun(self.target, budget, self._purpose(), self.resume, self.checkpoint_seconds)
        with progress.phase(f"fit {self.to}"):
            started = time.perf_counter()
            student = self._trainee(scene, photographs, generator)
            fit = training.run(student, progress, judge.quick_psnr, spent=time.perf_counter() - started)
        save(scene, self.target)
        training.finish()
        psnr = judge.mean_psnr(scene, progress)
        return report | {
            "seconds": round(fit.seconds, 2), "steps": fit.step, "psnr": psnr, "views": judge.label,
            "bytes": self.target.stat().st_size, "history": fit.history.rows, "notes": progress.notes,
        }  # fmt: skip

    def _purpose(self) -> str:
        ignored = {"resume", "force", "dry_run", "checkpoint_seconds", "preview"}
        return " ".join(f"{name}={value}" for name, value in asdict(self).items() if name not in ignored)

    def _check(self) -> None:
        """Whatever is wrong with the target is said before the work begins."""
        if self.to not in trainable_kinds():
            kinds = ", ".join(trainable_kinds())
            raise ValueError(f"--to {self.to}: there is no such kind to fit; choose one of {kinds}")
        if self.to != "splats" and (self.surfels or self.start or self.densify != "mcmc" or self.sh_degree != 3):
            raise ValueError("--surfels, --sh-degree, --start and --densify are for --to splats; leave them out here")
        if not self.dry_run:
            check_target(self.target, self.to)

    def _scene(self, photographs: Photographs, generator) -> Representation:
        train = photographs.subset("train")
        splats = SplatsConfig(degree=checked_degree(self.sh_degree), surfels=self.surfels)
        splats = replace(splats, count=min(splats.count, self.max_splats))
        config = self.config or default_config(self.to, photographs.domain, Similarity(), train.cameras, splats)
        scene = config.build(photographs.domain, generator)
        held_out = tuple(n for n, split in zip(photographs.names, photographs.split, strict=True) if split != "train")
        assert len(train) > 0
        return scene.view(
            capture=Capture(
                photographs.cameras, photographs.names, held_out, photographs.near, white_background(photographs)
            )
        )

    def _trainee(self, scene: Representation, photographs: Photographs, generator) -> FieldStudent | SplatStudent:
        train = photographs.subset("train")
        points = photographs.points
        if self.start is not None:
            points = photographs.world_from_file.points(read_points(self.start))
        seen = Pictures(train.cameras, train.images, train.masks, train.near, points)
        densify = DENSIFY[self.densify](self.max_splats)
        return trainee_from_pictures(scene, seen, generator, densify, exposure=self.exposure)
