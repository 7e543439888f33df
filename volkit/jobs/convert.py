"""`volkit convert`: a scene of any kind into any other, or into a mesh, with no photographs needed."""

import time
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from volkit.data import load_photographs
from volkit.distill.pixels import PixelTable
from volkit.distill.pvd_start import pvd_schedule
from volkit.fit import Budget
from volkit.geometry import Frame
from volkit.io import SpzFrame, check_target, save
from volkit.io.formats import format_for
from volkit.jobs.batch import in_folder, run_all
from volkit.jobs.convert_report import write_report
from volkit.jobs.devices import Device, chosen_device, on_device
from volkit.jobs.edits import edited
from volkit.jobs.estimate import estimate
from volkit.jobs.extract import extract
from volkit.jobs.measure import JUDGED, Judge
from volkit.jobs.mesh_figures import mesh_figures
from volkit.jobs.mesh_options import MeshOptions
from volkit.jobs.opening import open_field, open_scene
from volkit.jobs.progress import Progress
from volkit.jobs.report import check_report
from volkit.jobs.students import splats_like, student_of
from volkit.jobs.trainees import Lesson, answer_bytes, trainee_of_teacher
from volkit.jobs.training import CHECKPOINT_SECONDS, Training, count_parameters, seeded
from volkit.ops import backend
from volkit.representations import (
    Composed,
    Field,
    Representation,
    RepresentationConfig,
)
from volkit.sampling.occupancy import stride_for
from volkit.sampling.occupancy_grid import fill_occupancy, unpack_bits

__all__ = ["ConvertJob"]

MAX_SPLATS = 60_000  # of a field
LEARNING = ("budget", "method", "photos", "max_splats", "sh_degree", "surfels", "resume", "preview", "dry_run")


@dataclass(frozen=True)
class ConvertJob:
    """Convert a scene into another representation by distillation, or extract a textured mesh from it.

    The student answers to its teacher, not to photographs; --photos adds a last stage on photographs, in which it may
    pass its teacher. Example: volkit convert chair.safetensors chair_vm.safetensors --to tensor_vm --budget 60s
    A mesh is extracted, not learnt: volkit convert chair.safetensors chair.glb --faces 20000 --lods 3 --collider hulls
    A source that is a mesh keeps its surface and texture unless one of the mesh options asks for other ones.
    """

    paths: tuple[Path, ...]
    """SOURCE... TARGET: the last is a folder, or the first is the source and the rest are targets."""
    to: str | None = None
    """Kind of representation, or mesh; by default the source's own, where the target's format holds it."""
    method: Literal["volkit", "pvd", "pvd-al"] = "volkit"
    """volkit: closed-form start, cached answers, error-driven rays; pvd, pvd-al: the published methods."""
    budget: str = "60s"
    """60s, 10m of optimisation, or 2000 for steps."""
    photos: Path | None = None
    """Dataset for a last stage on photographs."""
    compose: bool = False
    """Join all sources into one target (the last path)."""
    edit: tuple[str, ...] = ()
    """crop:box:x0,y0,z0,x1,y1,z1, erase:box:..., crop|erase:sphere:x,y,z,r, scale:2, rotate:z:90, translate:x,y,z."""
    size: int | None = None
    """Longest side of the pictures asked for, by default that of the source's cameras."""
    max_splats: int | None = None
    """How many splats there may be; by default all that a source of splats has, else 60000."""
    sh_degree: int | None = None
    """Degree of the spherical harmonics of splats, 0 to 4; by default that of a source of splats, else 3."""
    surfels: bool = False
    """Flat splats (2D Gaussians), where splats are made; a source of flat ones gives flat ones in any case."""
    mesh: MeshOptions = field(default_factory=MeshOptions)
    """With --to mesh."""
    format: str | None = None
    """Suffix of the targets where the last path is a folder: glb, ply, safetensors."""
    frame: Frame | Literal["auto"] = "auto"
    """What is up in the target's coordinates: zup, yup, ydown (-Y, as .ply of captures); auto: as its format has it."""
    spz_frame: SpzFrame = "rub"
    """Axes of an .spz that is read or written: rub as documented, ply as in a .ply, auto as the file's record says."""
    jobs: int = 1
    """How many conversions go on at once, where there are several; they share the cores."""
    report: Path | None = None
    """Write what was done and lost as a page with pictures (.html) or as JSON (.json)."""
    drop_bad: bool = False
    """Leave out splats whose values are not finite, and say how many."""
    seed: int = 0
    """Same seed, same budget in steps, same machine: same result."""
    device: Device = "cpu"
    """cpu, cuda, or auto: cuda where there is one."""
    checkpoint_seconds: float = CHECKPOINT_SECONDS
    """How much work a power cut may cost."""
    resume: bool = False
    """Go on from TARGET.part."""
    force: bool = False
    """Overwrite existing targets."""
    dry_run: bool = False
    """Say what it would take, and stop."""
    config: Annotated[RepresentationConfig | None, tyro.conf.Suppress] = None
    """Sizes of the representation, from Python or a preset; by default those of its paper."""
    preview: bool = False
    """Write TARGET.png, a held-out view, as the conversion goes on."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Convert, write, measure, report; several results are listed under `results`, failures counted by `failed`."""
        pairs = self._pairs()
        if len(pairs) == 1:
            return self._one(*pairs[0], progress)
        if self.report is not None:
            raise ValueError("--report is for one conversion; --json tells of several")
        alone = [replace(self, paths=(*sources, target), format=None) for sources, target in pairs]
        results = run_all([(one.paths[-1], one.run) for one in alone], self.jobs, progress)
        return {"command": "convert", "results": results, "failed": sum("error" in result for result in results)}

    def _pairs(self) -> list[tuple[tuple[Path, ...], Path]]:
        if len(self.paths) < 2:
            raise ValueError("convert: give a source and a target")
        *sources, last = self.paths
        if self.compose:
            return [(tuple(sources), last)]
        if last.is_dir() or (not last.suffix and (self.format or len(sources) > 1)):
            suffix = self.format or ("glb" if self._wants_mesh else "safetensors")
            targets = in_folder(sources, last, suffix.removeprefix("."))
            if not self.dry_run:
                last.mkdir(parents=True, exist_ok=True)
            return [((source,), target) for source, target in zip(sources, targets, strict=True)]
        if self.format is not None:
            raise ValueError(f"--format is for a folder; {last} says by its suffix what it is")
        return [((self.paths[0],), target) for target in self.paths[1:]]

    def _one(self, sources: tuple[Path, ...], target: Path, progress: Progress) -> dict[str, Any]:
        budget, device = Budget.parse(self.budget), chosen_device(self.device)
        for path in (target, self.report):
            if path is not None and path.exists() and not self.force and not self.dry_run:
                raise FileExistsError(f"{path}: exists already; --force overwrites it")
        if self.report is not None:
            check_report(self.report)
        generator = seeded(self.seed)
        teacher = self._teacher(sources, generator, progress)
        kind = self._kind(teacher, target)
        if kind == "mesh":
            return self._mesh(sources, teacher, target, generator, progress)
        if kind != "splats" and (self.surfels or self.sh_degree is not None):
            raise ValueError("--surfels and --sh-degree are about splats; give them with --to splats")
        wanted = splats_like(teacher, self.max_splats, self.sh_degree, self.surfels)
        student = student_of(kind, teacher, wanted, self.config, generator)
        if (self.photos or self.method != "volkit") and not (isinstance(teacher, Field) and isinstance(student, Field)):
            raise ValueError("--photos and --method pvd are for conversions between fields; leave them out here")
        report = {"command": "convert", "source": [str(s) for s in sources], "target": str(target),
                  "from": teacher.config.kind, "kind": student.config.kind, "method": self.method,
                  "parameters": count_parameters(student), "seed": self.seed, "device": device.type,
                  "backend": backend.describe()}  # fmt: skip
        if self.dry_run:
            return report | estimate(
                student, budget, 0, JUDGED, teacher=teacher, answers=answer_bytes(teacher, student, self.size)
            )
        check_target(target, student.config.kind)
        judge = None
        if student is teacher:
            save(student, target, spz_frame=self.spz_frame, frame=self.frame)
            report |= {"seconds": 0.0, "steps": 0, "psnr_to_source": None, "history": []}
        else:
            preview = target.with_suffix(".png") if self.preview else None
            judge = Judge.of_scene(teacher, self.size, generator, preview)
            report |= self._distil(teacher, student, target, judge, generator, progress)
        report |= {"bytes": target.stat().st_size, "notes": progress.notes}
        if target.suffix.lower() == ".spz" or "spz_frame" in teacher.provenance:
            raw = self.spz_frame == "ply" or self.frame in ("zup", "ydown")
            report["spz_frame"] = teacher.provenance.get("spz_frame", "ply" if raw else "rub")
        if self.report is not None:
            write_report(self.report, report, student, judge or Judge.of_scene(teacher, self.size, generator))
        return report

    def _distil(
        self,
        teacher: Representation,
        student: Representation,
        target: Path,
        judge: Judge,
        generator,
        progress: Progress,
    ) -> dict[str, Any]:
        """Teach the student within the budget, write it, and measure it beside its teacher."""
        budget = Budget.parse(self.budget)
        training = Training(target, budget, self._purpose(target), self.resume, self.checkpoint_seconds)
        lesson = Lesson(self.size, self.method, self._photographs(teacher.device), self.max_splats or MAX_SPLATS)
        with progress.stretch(f"convert to {student.config.kind}"):
            started = time.perf_counter()
            trainee = trainee_of_teacher(teacher, student, lesson, generator)
            schedule = None if self.method == "volkit" or not isinstance(student, Field) else pvd_schedule(student)
            fit = training.run(trainee, progress, judge.glance, schedule, time.perf_counter() - started)
        told = {
            "seconds": round(fit.seconds, 2),
            "steps": fit.step,
            "psnr_to_source": judge.mean_psnr(student, progress),
        }
        sources = [path.name for path in self.paths[:-1]]
        student.provenance = {"source": sources, "from": teacher.config.kind, "method": self.method} | told
        save(student, target, spz_frame=self.spz_frame, frame=self.frame)
        training.finish()
        return told | {"history": fit.history.rows}

    def _mesh(
        self, sources: tuple[Path, ...], teacher: Representation, target: Path, generator, progress: Progress
    ) -> dict[str, Any]:
        """Extract, write, measure: nothing is learnt, so that there is no budget."""
        if self._asked(*LEARNING):
            raise ValueError(
                "a mesh is extracted, not learnt: leave out --budget, --method, --photos, --max-splats, --sh-degree, "
                "--surfels, --resume, --preview and --dry-run"
            )
        frame = None if self.frame == "auto" else self.frame
        told, asset, judge = extract(teacher, sources, target, self.mesh, self.size, generator, progress, frame)
        report = {"command": "convert", "source": [str(s) for s in sources], "target": str(target),
                  "from": teacher.config.kind, "kind": "mesh", "seed": self.seed, "device": teacher.device.type,
                  "backend": backend.describe(), "notes": progress.notes} | told  # fmt: skip
        if self.report is not None:
            write_report(self.report, report, asset.levels[0], judge, mesh_figures(asset, judge.cameras[[0]]))
        return report

    def _purpose(self, target: Path) -> str:
        ignored = {"resume", "force", "dry_run", "checkpoint_seconds", "preview", "report", "jobs"}
        return f"{target} " + " ".join(f"{n}={v}" for n, v in asdict(self).items() if n not in ignored)

    def _teacher(self, sources: tuple[Path, ...], generator: torch.Generator, progress: Progress) -> Representation:
        if len(sources) == 1:
            whole = open_scene(sources[0], self.device, progress if self.drop_bad else None, self.spz_frame)
        else:
            whole = Composed([open_field(source, self.device) for source in sources])
        if self.edit:
            whole = edited(whole, self.edit)
        if self.edit and isinstance(whole, Field):
            somewhere, look = unpack_bits(whole.occupancy), on_device(generator, whole.device)
            fill_occupancy(whole, stride_for(whole.domain), look, visible=somewhere)
        return whole

    def _kind(self, teacher: Representation, target: Path) -> str:
        """What was asked for, else the source's own kind if the target's format holds it, else that format's first."""
        if self._asked("mesh") and self.to not in (None, "mesh"):
            given = [f.name for f in fields(self.mesh) if getattr(self.mesh, f.name) != f.default]
            named = ", ".join("--" + name.replace("_", "-") for name in given)
            raise ValueError(f"about meshes alone: {named}; give them with --to mesh")
        if self.to or self._wants_mesh:
            return self.to or "mesh"
        holds = format_for(target, kind=teacher.config.kind).holds
        return teacher.config.kind if teacher.config.kind in holds else holds[0]

    @property
    def _wants_mesh(self) -> bool:
        return self.to == "mesh" or self._asked("mesh")

    def _asked(self, *names: str) -> bool:
        """Whether any of these options is not as it is by default."""
        plain = ConvertJob(())
        return any(getattr(self, name) != getattr(plain, name) for name in names)

    def _photographs(self, device: torch.device) -> PixelTable | None:
        if self.photos is None:
            return None
        train = load_photographs(self.photos, self.size).subset("train")
        return PixelTable(train.cameras.to(device), train.images, train.masks)
