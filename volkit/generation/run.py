"""Runs of score distillation, of any particles; and of meshes, which are fields first."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from volkit.evaluation.evaluate import Preview
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.particle import Particle
from volkit.generation.rung import ScoreRung, ScoreTrainee
from volkit.generation.start_asset import PRIOR_STEP_SCALE
from volkit.geometry import Cameras
from volkit.guidance import Uniform
from volkit.meshing.options import MeshOptions
from volkit.meshing.pipeline import extract_mesh
from volkit.progress import Progress
from volkit.rendering.renderer import renderer_for
from volkit.representations import Mesh, Representation
from volkit.training.loop import Budget, TrainingLoop
from volkit.training.run import TrainingRun
from volkit.typing import Float, Tensor

__all__ = ["GenerationRun", "MeshTarget", "RunResult", "at_late_times", "generate_mesh"]

PREVIEW_VIEWS, PREVIEW_SIZE = 4, 96  # views of a preview, pixels a side of each
EVALUATIONS = 24  # points on the curve of the loss, and previews
LATE_TIMES = 0.5  # of the diffusion's times: from there on noise hides shape, which a second stage has already


@dataclass(frozen=True)
class RunResult:
    """What a run left."""

    scenes: tuple[Representation, ...]
    steps: int
    seconds: float
    history: list[dict[str, float]]

    @classmethod
    def of(cls, fit: TrainingLoop, particles: Sequence[Particle]) -> "RunResult":
        """One stage."""
        return cls(tuple(particle.scene for particle in particles), fit.step, fit.seconds, fit.history.rows)

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
    """A rung, and who is shown what it has led to so far."""

    rung: ScoreRung
    preview: Preview | None = None

    def late(self) -> "GenerationRun":
        """The same at the last size and the late times of the diffusion (`at_late_times`)."""
        return replace(self, rung=at_late_times(self.rung))

    def train(self, particles: Sequence[Particle], training: TrainingRun, progress: Progress) -> RunResult:
        """Optimise; when memory runs out, say what to lower."""
        looks = self.rung.around.turntable(PREVIEW_VIEWS, PREVIEW_SIZE).moved(self.rung.place)

        def show(scene: Representation) -> None:
            if self.preview is not None:
                self.preview(_row_of_views(scene, looks))

        try:
            trainee = ScoreTrainee(particles, self.rung)
            return RunResult.of(training.run(trainee, progress, show, evaluations=EVALUATIONS), particles)
        except (MemoryError, RuntimeError) as error:  # torch's own class on GPUs, a plain RuntimeError on a CPU
            if isinstance(error, MemoryError) or "memory" in str(error).lower():
                raise RuntimeError(
                    f"out of memory: lower views (now {self.rung.views}) or size, open the prior in float16 or take a "
                    f"smaller one{training.kept}"
                ) from error
            raise


@dataclass(frozen=True)
class MeshTarget:
    """A mesh to be generated: a field first, then its surface with its vertices free, then colours alone."""

    faces: int = 5_000
    """Triangles, at most."""
    texture: int | None = None
    """Texels a side; None: eight for each pixel that the prior sees."""
    pbr: bool = False
    """Whether roughness and metalness learn, under random lights."""
    field_share: float = 0.7
    """Share of the budget in which the field learns."""
    shape_share: float = 0.6
    """Share of the rest in which vertices move."""

    def options(self, across: float) -> MeshOptions:
        """Cells and texels to match what a prior can see of an object so many pixels wide."""
        texture = self.texture or 1 << max(7, round(8.0 * across).bit_length())
        return MeshOptions(faces=self.faces, texture=texture, cells=max(48, round(3.0 * across)), maps="colour")


def generate_mesh(
    run: GenerationRun,
    particles: Sequence[Particle],
    training: TrainingRun,
    target: MeshTarget,
    across: float,
    progress: Progress,
) -> RunResult:
    """A field, `across` pixels wide in the prior's pictures, its mesh, the mesh's own refinement.

    An interrupted run goes on in the stage where it was.
    """
    kept = training.checkpoint
    kept = None if kept is None else replace(kept, purpose=f"{kept.purpose} stage=mesh")
    left = None if kept is None else kept.left(particles[0].scene.device)
    resume = left is not None
    if left is None:
        first = run.train(particles, replace(training, budget=_part(training.budget, target.field_share)), progress)
        meshes = [_mesh(scene, target.options(across), 4 * round(across), progress) for scene in first.scenes]
        left = {"meshes": [dict(mesh.state_dict()) for mesh in meshes], "steps": first.steps, "seconds": first.seconds}
    else:
        meshes = [_stored(tensors) for tensors in left["meshes"]]
        first = RunResult((), left["steps"], left["seconds"], [])
    lights = run.rung.generator if target.pbr else None
    shaped = [MeshParticle(mesh, particles[0].penalties, target.shape_share, lights) for mesh in meshes]
    kept = None if kept is None else replace(kept, resume=resume, beside=left)
    rest = TrainingRun(_part(training.budget, 1.0 - target.field_share), kept)
    return first.then(run.late().train(shaped, rest, progress))


def at_late_times(rung: ScoreRung) -> ScoreRung:
    """The same rung at its last size and the late times of the diffusion, for what has its shape already (Magic3D)."""
    guidance, method = rung.guidance, rung.guidance.method
    if isinstance(method.times, Uniform):
        guidance = replace(guidance, method=replace(method, times=replace(method.times, high=LATE_TIMES)))
    return rung.guided(guidance, rung.around.final())


def _mesh(scene: Representation, options: MeshOptions, size: int, progress: Progress) -> Mesh:
    try:
        return extract_mesh(scene.requires_grad_(False), options, size=size, progress=progress).mesh
    except ValueError as error:  # fog has no surface
        raise ValueError(f"nothing solid has come about in the field yet: give a larger budget ({error})") from error


def _stored(tensors: dict[str, Any]) -> Mesh:
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
