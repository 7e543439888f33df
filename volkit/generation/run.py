"""Runs of the score rung: of any subject; and of meshes, which are fields first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from volkit.evaluation.evaluate import write_picture
from volkit.generation import Penalties, ScoreRung, ScoreStudent, Subject
from volkit.generation.mesh_subject import MeshSubject
from volkit.geometry import Cameras
from volkit.guidance import Uniform
from volkit.meshing.options import MeshOptions
from volkit.meshing.pipeline import extract_mesh
from volkit.progress import Progress
from volkit.rendering.renderer import renderer_for
from volkit.representations import Field, Mesh, Representation
from volkit.training.loop import Budget, TrainingLoop
from volkit.training.run import TrainingRun
from volkit.typing import Float, Tensor

__all__ = ["PRIOR_STEP_SCALE", "GenerationRun", "MeshStages", "RunResult", "at_late_times", "generate_mesh"]

PREVIEW_VIEWS, PREVIEW_SIZE = 4, 96  # views of a preview, pixels a side of each
EVALUATIONS = 24  # points on the curve of the loss, and previews
PRIOR_STEP_SCALE = 6.0  # of the steps through a field, for pictures as small as those that a prior sees
LATE_TIMES = 0.5  # of the diffusion's times: from there on noise hides shape, which a second stage has already


@dataclass(frozen=True)
class RunResult:
    """What a run left."""

    scenes: tuple[Representation, ...]
    steps: int
    seconds: float
    history: list[dict[str, float]]

    @classmethod
    def of(cls, fit: TrainingLoop, subjects: Sequence[Subject]) -> "RunResult":
        """One stage."""
        return cls(tuple(subject.scene for subject in subjects), fit.step, fit.seconds, fit.history.rows)

    def then(self, later: "RunResult") -> "RunResult":
        """Two stages, the second with its clock going on."""
        rows = [
            row | {"step": row["step"] + self.steps, "seconds": row["seconds"] + self.seconds} for row in later.history
        ]
        return RunResult(
            later.scenes,
            self.steps + later.steps,
            self.seconds + later.seconds,
            [*self.history, *rows],
        )


@dataclass(frozen=True)
class GenerationRun:
    """A rung, and where to write what it has led to so far."""

    rung: ScoreRung
    preview: Path | None = None

    def changed(self, change: Callable[[ScoreRung], ScoreRung]) -> "GenerationRun":
        """With another rung."""
        return replace(self, rung=change(self.rung))

    def train(self, subjects: Sequence[Subject], training: TrainingRun, progress: Progress) -> RunResult:
        """Optimise; when memory runs out, say what to lower."""
        looks = self.rung.around.turntable(PREVIEW_VIEWS, PREVIEW_SIZE).moved(self.rung.place)

        def quick_psnr(scene: Representation) -> None:
            if self.preview is not None:
                write_picture(self.preview, _row_of_views(scene, looks))

        try:
            student = ScoreStudent(subjects, self.rung, self.rung.generator)
            return RunResult.of(training.run(student, progress, quick_psnr, evaluations=EVALUATIONS), subjects)
        except (MemoryError, RuntimeError) as error:  # torch's own class on GPUs, a plain RuntimeError on a CPU
            if isinstance(error, MemoryError) or "memory" in str(error).lower():
                raise RuntimeError(
                    f"out of memory: lower --views (now {self.rung.views}) or --size, give --precision float16 or a "
                    f"smaller prior; {training.part} holds the last good state"
                ) from error
            raise


@dataclass(frozen=True)
class MeshStages:
    """How a mesh comes about: a field, its surface with its vertices free, then colours alone."""

    faces: int
    texture: int | None
    across: float  # pixels that the object is wide in the prior's pictures
    penalties: Penalties
    pbr: bool = False  # whether roughness and metalness learn, under lights
    field: float = 0.7  # share of the budget
    shape: float = 0.6  # share of the rest in which vertices move

    def options(self) -> MeshOptions:
        """Cells and texels to match what a prior can see."""
        texture = self.texture or 1 << max(7, round(8.0 * self.across).bit_length())
        return MeshOptions(faces=self.faces, texture=texture, cells=max(48, round(3.0 * self.across)), maps="colour")


def generate_mesh(
    distillation: GenerationRun,
    subjects: Sequence[Subject],
    training: TrainingRun,
    stages: MeshStages,
    progress: Progress,
) -> RunResult:
    """A field, its mesh, the mesh's own refinement; an interrupted run goes on in the stage where it was."""
    rest, purpose = _part(training.budget, 1.0 - stages.field), f"{training.purpose} stage=mesh"
    second = replace(training, purpose=purpose, budget=rest)
    left = second.left(subjects[0].scene.device)
    second = replace(second, resume=left is not None)
    if left is None:
        first = distillation.train(subjects, replace(training, budget=_part(training.budget, stages.field)), progress)
        meshes = [_mesh(scene, stages, progress) for scene in first.scenes]
        left = {"meshes": [dict(mesh.state_dict()) for mesh in meshes], "steps": first.steps, "seconds": first.seconds}
    else:
        meshes = [_stored(tensors) for tensors in left["meshes"]]
        first = RunResult((), left["steps"], left["seconds"], [])
    lights = distillation.rung.generator if stages.pbr else None
    subjects = [MeshSubject(mesh, stages.penalties, stages.shape, lights) for mesh in meshes]
    return first.then(distillation.changed(at_late_times).train(subjects, replace(second, beside=left), progress))


def at_late_times(rung: ScoreRung) -> ScoreRung:
    """The same rung at its last size and the late times of the diffusion, for what has its shape already (Magic3D)."""
    guidance, method = rung.guidance, rung.guidance.method
    if isinstance(method.times, Uniform):
        guidance = replace(guidance, method=replace(method, times=replace(method.times, high=LATE_TIMES)))
    around = rung.around.final()
    return ScoreRung(guidance, rung.asked, around, rung.views, rung.generator, rung.learners, rung.place)


def _mesh(scene: Representation, stages: MeshStages, progress: Progress) -> Mesh:
    assert isinstance(scene, Field)
    size = 4 * round(stages.across)
    frozen = scene.requires_grad_(False)
    try:
        return extract_mesh(frozen, stages.options(), size=size, progress=progress).mesh
    except ValueError as error:  # fog has no surface
        raise ValueError(f"nothing solid has come about in the field yet: give a larger --budget ({error})") from error


def _stored(tensors: dict[str, Tensor]) -> Mesh:
    return Mesh.of(tensors["vertices"], tensors["faces"], corner_uv=tensors["corner_uv"], texture=tensors["texture"])


def _part(budget: Budget, share: float) -> Budget:
    if budget.seconds is not None:
        return Budget(seconds=budget.seconds * share)
    assert budget.steps is not None
    return Budget(steps=max(1, round(budget.steps * share)))


@torch.no_grad()
def _row_of_views(scene: Representation, cameras: Cameras) -> Float[Tensor, "height width 3"]:
    """Pictures over white, side by side."""
    picture = renderer_for(scene, step_scale=PRIOR_STEP_SCALE)(scene, cameras.to(scene.device))
    return torch.cat(list(picture.over(picture.opacity.new_ones(3)).cpu()), 1)
