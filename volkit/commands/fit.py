"""`volkit fit`: from posed photographs to a scene of any kind."""

from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import FROM_PYTHON, KINDS, Device, LearntKind
from volkit.commands.options import UsageError, flag

if TYPE_CHECKING:  # help does not wait for torch
    from volkit.data import Photographs
    from volkit.distillation.fit import FitSettings
    from volkit.progress import Progress

__all__ = ["FitJob"]

OF_SPLATS = ("max_splats", "sh_degree", "surfels", "densify", "start")  # options that do not apply to fields
FREE = {"resume", "force", "dry_run", "checkpoint_seconds", "preview"}  # options that do not change what is made


@dataclass(frozen=True)
class FitJob:
    """Fit a radiance field or splats to posed photographs.

    DATA is a folder with transforms.json (Blender, nerfstudio, instant-ngp), a COLMAP model, LLFF poses, or a video
    with poses.
    A field: volkit fit photos/fox fox.safetensors --to hash_grid --size 480 --holdout 8 --budget 3m
    Splats: volkit fit photos/fox fox.ply --to splats --max-splats 100000 --budget 10m
    """

    data: Path
    """Folder of the dataset, or its transforms.json."""
    target: Path
    """File to write; its suffix selects the format (volkit formats lists them)."""
    to: LearntKind = "hash_grid"
    """Representation to fit."""
    size: int | None = None
    """Longest side in pixels to which the pictures are reduced; by default they stay as they are."""
    holdout: int | None = None
    """Hold out every Nth picture (0, N, 2N, ... by name) for testing."""
    budget: str = "5m"
    """Time of optimisation (120s, 10m, 1h) or a number of steps (2000)."""
    exposure: bool = False
    """Learn the exposure and white balance of every photograph; fields only."""
    domain: str | None = None
    """Box x0,y0,z0,x1,y1,z1, by default estimated from the cameras; append :contracted for an unbounded scene."""
    up: str | None = None
    """Up axis of the dataset's world: x, -x, y, -y, z or -z; by default as its convention has it."""
    unit_scale: float | None = None
    """Metres per unit of the dataset."""
    max_splats: int | None = None
    """Largest number of splats, with --to splats; by default 60000."""
    sh_degree: int | None = None
    """Degree of the spherical harmonics, 0 to 4, with --to splats; by default 3."""
    surfels: bool = False
    """Fit flat splats (2D Gaussians), with --to splats."""
    densify: Literal["mcmc", "classic"] | None = None
    """Densification of splats: mcmc (default; Kheradmand et al. 2024), or classic: clone, split and prune as in
    3DGS."""
    start: Path | None = None
    """Point cloud (.ply, dataset frame) from which splats are initialised; by default the dataset's own, if any."""
    seed: int = 0
    """Random seed; the same seed and number of steps give the same scene on one machine."""
    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""
    checkpoint_seconds: float = 20.0
    """Seconds of work between checkpoints, TARGET.part."""
    resume: bool = False
    """Continue from the checkpoint, TARGET.part."""
    force: bool = False
    """Overwrite an existing target."""
    dry_run: bool = False
    """Estimate memory and time, and stop."""
    config: Any = field(default=None, metadata=FROM_PYTHON)
    """Sizes of the representation, from Python or a preset; by default those of its paper."""
    preview: bool = False
    """Write TARGET.png, a held-out view, during the fit."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Read, fit, write, report."""
        from volkit.data import load_photographs
        from volkit.devices import chosen_device
        from volkit.distillation.fit import fit_scene, untrained_scene
        from volkit.io import save
        from volkit.ops import backend
        from volkit.reports.estimate import estimate
        from volkit.training.run import Checkpoint, TrainingRun, count_parameters, make_generator

        device = chosen_device(self.device)
        budget = self._checked()
        with progress.phase("read"):
            photos = load_photographs(
                self.data, self.size, self.holdout, self.up, self.unit_scale, self.domain, progress.counted
            )
        for note in photos.notes:
            progress.note(note)
        generator = make_generator(self.seed)
        scene = untrained_scene(photos, self._config(photos), generator).to(device)
        named = {"command": "fit", "source": str(self.data), "target": str(self.target), "kind": self.to,
                 "parameters": count_parameters(scene), "seed": self.seed, "device": device.type,
                 "backend": backend.describe()}  # fmt: skip
        if self.dry_run:
            pixels = sum(image.numel() for image in photos.images)
            return named | estimate(scene, budget, pixels, photos.split.count("test") or len(photos))
        purpose = " ".join(f"{name}={value}" for name, value in asdict(self).items() if name not in FREE)
        checkpoint = Checkpoint.of(self.target, purpose, self.resume, self.checkpoint_seconds)
        made = fit_scene(scene, photos, TrainingRun(budget, checkpoint), self._settings(photos), generator, progress)
        save(made.scene, self.target)
        checkpoint.remove()
        report = made.report
        return named | {
            "seconds": report.seconds, "steps": report.steps, "psnr": report.psnr, "views": report.views,
            "bytes": self.target.stat().st_size, "history": list(made.history), "notes": progress.notes,
        }  # fmt: skip

    def _checked(self) -> Any:
        """The budget; wrong options and targets are refused before any work."""
        from volkit.io import check_target
        from volkit.training.loop import Budget

        given = [n for n in OF_SPLATS if getattr(self, n) is not None and getattr(self, n) is not False]
        if self.to not in KINDS:
            raise UsageError(f"--to {self.to}: there is no such kind to fit; choose one of {', '.join(KINDS)}")
        if self.to != "splats" and given:
            raise UsageError(f"about splats alone: {', '.join(map(flag, given))}; give them with --to splats")
        if self.to == "splats" and self.exposure:
            raise UsageError("--exposure applies to fields only; leave it out with --to splats")
        if self.sh_degree is not None and not 0 <= self.sh_degree <= 4:
            raise UsageError(f"--sh-degree {self.sh_degree}: the harmonics of splats have degree 0 to 4")
        try:
            budget = Budget.parse(self.budget)
        except ValueError as error:
            raise UsageError(f"--{error}") from error
        if self.target.exists() and not self.force and not self.dry_run:
            raise FileExistsError(f"{self.target}: exists already; --force overwrites it")
        if not self.dry_run:
            check_target(self.target, self.to)
        return budget

    def _config(self, photos: "Photographs") -> Any:
        from volkit.distillation.strategies import MAX_SPLATS
        from volkit.distillation.students import default_config
        from volkit.geometry import Similarity
        from volkit.representations import SplatsConfig

        splats = SplatsConfig(degree=3 if self.sh_degree is None else self.sh_degree, surfels=self.surfels)
        splats = replace(splats, count=min(splats.count, self.max_splats or MAX_SPLATS))
        cameras = photos.subset("train").cameras
        return self.config or default_config(self.to, photos.domain, Similarity(), cameras, splats)

    def _settings(self, photos: "Photographs") -> "FitSettings":
        from volkit.distillation.fit import FitSettings
        from volkit.distillation.strategies import MAX_SPLATS, DefaultStrategy, MCMCStrategy
        from volkit.evaluation.evaluate import write_picture
        from volkit.io.splats.point_cloud import read_points

        strategy = DefaultStrategy if self.densify == "classic" else MCMCStrategy
        points = None if self.start is None else photos.world_from_file.points(read_points(self.start))
        preview = partial(write_picture, self.target.with_suffix(".png")) if self.preview else None
        return FitSettings(strategy(self.max_splats or MAX_SPLATS), self.exposure, points, preview)
