"""Runs of score distillation for any particles; and for meshes, which are extracted from a field."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from volkit.evaluation.evaluate import Preview
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.objective import ScoreObjective, ScoreTrainee
from volkit.generation.particle import Particle
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
LATE_TIMES = 0.5  # largest diffusion time, as a share, of a second stage: more noise would hide its finished shape


@dataclass(frozen=True)
class RunResult:
    """The scenes and losses of a run."""

    scenes: tuple[Representation, ...]
    steps: int
    seconds: float
    history: list[dict[str, float]]

    @classmethod
    def of(cls, fit: TrainingLoop, particles: Sequence[Particle]) -> "RunResult":
        """The result of one stage."""
        return cls(tuple(particle.scene for particle in particles), fit.step, fit.seconds, fit.history.rows)

    def then(self, later: "RunResult") -> "RunResult":
        """The result of two stages in succession."""
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
    """A objective and the function that receives previews."""

    objective: ScoreObjective
    preview: Preview | None = None

    def late(self) -> "GenerationRun":
        """The same with the final picture size and low-noise times (`at_late_times`)."""
        return replace(self, objective=at_late_times(self.objective))

    def train(self, particles: Sequence[Particle], training: TrainingRun, progress: Progress) -> RunResult:
        """Train particles; RuntimeError names the fix where memory runs out."""
        preview_cameras = self.objective.sampler.turntable(PREVIEW_VIEWS, PREVIEW_SIZE).transform(self.objective.place)

        def show(scene: Representation) -> None:
            if self.preview is not None:
                self.preview(_row_of_views(scene, preview_cameras))

        try:
            trainee = ScoreTrainee(particles, self.objective)
            return RunResult.of(training.run(trainee, progress, show, evaluations=EVALUATIONS), particles)
        except (MemoryError, RuntimeError) as error:  # torch's own class on GPUs, a plain RuntimeError on a CPU
            if isinstance(error, MemoryError) or "memory" in str(error).lower():
                raise RuntimeError(
                    f"out of memory: lower views (now {self.objective.views}) or size, open the prior in float16 or "
                    f"take a smaller one{training.checkpoint_note}"
                ) from error
            raise


@dataclass(frozen=True)
class MeshTarget:
    """A mesh as the target of `generate`: a field is trained, its mesh extracted, then vertices and texture refined.

    Example:
        >>> MeshTarget(faces=2_000, pbr=True).texture is None
        True
    """

    faces: int = 5_000
    """Largest number of triangles."""
    texture: int | None = None
    """Texels a side; None: eight for each pixel of the prior's pictures."""
    pbr: bool = False
    """Whether roughness and metalness are trained, under random lights."""
    field_share: float = 0.7
    """Share of the budget in which the field is trained."""
    shape_share: float = 0.6
    """Share of the rest in which vertices move."""

    def options(self, across: float) -> MeshOptions:
        """Lattice cells and texels that match a prior's pictures of an object so many pixels wide."""
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
    """Train fields that are `across` pixels wide in the prior's pictures, extract their meshes, and refine these.

    An interrupted run resumes in the stage where it was.
    """
    checkpoint = training.checkpoint
    checkpoint = None if checkpoint is None else replace(checkpoint, purpose=f"{checkpoint.purpose} stage=mesh")
    stored = None if checkpoint is None else checkpoint.read_extra(particles[0].scene.device)
    resume = stored is not None
    if stored is None:
        first = run.train(particles, replace(training, budget=_share_of(training.budget, target.field_share)), progress)
        meshes = [_extract(scene, target.options(across), 4 * round(across), progress) for scene in first.scenes]
        tensors = [dict(mesh.state_dict()) for mesh in meshes]
        stored = {"meshes": tensors, "steps": first.steps, "seconds": first.seconds}
    else:
        meshes = [_load_mesh(tensors) for tensors in stored["meshes"]]
        first = RunResult((), stored["steps"], stored["seconds"], [])
    lights = run.objective.generator if target.pbr else None
    refined = [MeshParticle(mesh, particles[0].penalties, target.shape_share, lights) for mesh in meshes]
    checkpoint = None if checkpoint is None else replace(checkpoint, resume=resume, extra=stored)
    rest = TrainingRun(_share_of(training.budget, 1.0 - target.field_share), checkpoint)
    return first.then(run.late().train(refined, rest, progress))


def at_late_times(objective: ScoreObjective) -> ScoreObjective:
    """The objective with its final picture size and low-noise times, for scenes with a finished shape (Magic3D)."""
    guidance, method = objective.guidance, objective.guidance.method
    if isinstance(method.times, Uniform):
        guidance = replace(guidance, method=replace(method, times=replace(method.times, high=LATE_TIMES)))
    return objective.with_guidance(guidance, objective.sampler.final())


def _extract(scene: Representation, options: MeshOptions, size: int, progress: Progress) -> Mesh:
    try:
        return extract_mesh(scene.requires_grad_(False), options, size=size, progress=progress).mesh
    except ValueError as error:  # fog has no surface
        raise ValueError(f"the field has no solid surface yet: give a larger budget ({error})") from error


def _load_mesh(tensors: dict[str, Any]) -> Mesh:
    return Mesh.of(tensors["vertices"], tensors["faces"], corner_uv=tensors["corner_uv"], texture=tensors["texture"])


def _share_of(budget: Budget, share: float) -> Budget:
    if budget.seconds is not None:
        return Budget(seconds=budget.seconds * share)
    assert budget.steps is not None
    return Budget(steps=max(1, round(budget.steps * share)))


@torch.no_grad()
def _row_of_views(scene: Representation, cameras: Cameras) -> Float[Tensor, "height width 3"]:
    """Pictures over white, side by side."""
    picture = renderer_for(scene, step_scale=PRIOR_STEP_SCALE)(scene, cameras.to(scene.device))
    return torch.cat(list(picture.over(picture.opacity.new_ones(3)).cpu()), 1)
