"""`volkit generate`: from words to an asset, by what a diffusion prior says about its pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volkit.commands.prior_options import PriorJob, check_pbr
from volkit.commands.usage import UsageError
from volkit.devices import chosen_device, on_device
from volkit.generation import CameraSampler
from volkit.generation.run import MeshStages, generate_mesh
from volkit.generation.scenes import LEARNABLE, build_subject, coarse_first, pixels_across, scene_of
from volkit.geometry import Domain
from volkit.io import format_for
from volkit.progress import Progress
from volkit.training.run import make_generator

__all__ = ["GenerateJob"]

DEFAULT = "hash_grid"
PREFERRED = ("mesh", "splats")  # where the target's format holds no field
KINDS = (*LEARNABLE, "mesh")


@dataclass(frozen=True)
class GenerateJob(PriorJob):
    """Make an asset of words, by score distillation: a diffusion model of pictures says how each view should change.

    The prior that comes with volkit knows simple solids in eight colours, alone, one on or beside another, or with a
    nose; --prior names a real one, a folder of diffusers' format or a name of the hub.
    Example: volkit generate "a red ball on a blue box" ball.safetensors
    A mesh:  volkit generate "a green cone" cone.glb --seed 3
    Others:  volkit generate "a corgi" corgi.ply --prior models/sd15 --method vsd --budget 30m --device cuda
    """

    prompt: str
    """What it shall be."""
    target: Path
    """File to write; its suffix names the format: .safetensors a field, .ply splats, .glb a mesh."""
    to: str | None = None
    """Kind of representation: hash_grid, voxels, planes, tensor_vm, tensor_cp, mlp, splats, mesh; by default the first
    that the target's format holds. A mesh is a field first."""
    particles: int = 1
    """How many assets are made together, with one critic; TARGET-2, TARGET-3, ... are the others."""
    max_splats: int = 20_000
    """How many splats there may be, with --to splats."""
    faces: int = 5_000
    """How many triangles a mesh may have, with --to mesh."""
    texture: int | None = None
    """Texels a side of a mesh's texture, a power of two; by default eight for each pixel that the prior sees."""
    pbr: bool = False
    """Learn roughness and metalness as well, and colours free of light: seen under random lights, written to glTF."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Distil, write, report."""
        device, kind, targets = chosen_device(self.device), self._kind(), self._targets()
        self.check(self.prompt, targets, kind)
        if self.pbr:
            check_pbr(kind, targets)
        generator, prior = make_generator(self.seed), self.opened(device, progress)
        around, half = self.around(prior), prior.advice.half
        around = around if kind == "splats" else coarse_first(around)
        coarse = DEFAULT if kind == "mesh" else kind
        scenes = [scene_of(coarse, around, half, generator, self.max_splats).to(device) for _ in range(self.particles)]
        generator = on_device(generator, device)
        distillation = self.distillation(self.prompt, prior, around, self.target, generator)
        subjects = [build_subject(scene, self.penalties(), generator, self.max_splats) for scene in scenes]
        training = self.training(self.target)
        with progress.phase(f"generate {kind}"):
            if kind == "mesh":
                done = generate_mesh(distillation, subjects, training, self._stages(around, half), progress)
            else:
                done = distillation.train(subjects, training, progress)
        report = {"command": "generate"} | self.written(done, targets, training, self.prompt, progress)
        return self.told(report, done, distillation.rung)

    def _kind(self) -> str:
        """What was asked for, else a field, else what the format holds."""
        if self.to is not None and self.to not in KINDS:
            kinds = ", ".join(KINDS)
            raise UsageError(f"--to {self.to}: there is no such kind to generate; choose one of {kinds}")
        if self.to is not None:
            return self.to
        holds = format_for(self.target, kind=DEFAULT).holds
        return DEFAULT if DEFAULT in holds else next((kind for kind in PREFERRED if kind in holds), DEFAULT)

    def _stages(self, around: CameraSampler, half: float) -> MeshStages:
        across = pixels_across(around, Domain.cube(half))
        return MeshStages(self.faces, self.texture, across, self.penalties(), self.pbr)

    def _targets(self) -> list[Path]:
        """Where particles go."""
        if self.particles < 1:
            raise UsageError("--particles: give at least 1")
        more = [self.target.with_stem(f"{self.target.stem}-{i}") for i in range(2, self.particles + 1)]
        return [self.target, *more]
