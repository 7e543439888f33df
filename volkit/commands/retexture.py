"""`volkit retexture`: new colours by words for a mesh whose shape and uv stay."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from volkit.commands.prior_options import PriorJob, StartAsset, check_pbr
from volkit.devices import chosen_device, on_device
from volkit.files.errors import FormatError
from volkit.generation.control_picture import ControlKind
from volkit.generation.mesh_subject import MeshSubject
from volkit.generation.rework import ensure_uv, place_of
from volkit.io import load
from volkit.progress import Progress
from volkit.representations import Mesh
from volkit.training.run import make_generator

__all__ = ["RetextureJob"]

GREY = 128


@dataclass(frozen=True)
class RetextureJob(PriorJob):
    """Paint a mesh by words. Vertices, faces and uv are written as they were read; a mesh without uv is unwrapped.

    Example: volkit retexture teapot.glb "a blue teapot with white dots" painted.glb --prior models/sd15 --budget 10m
    """

    mesh: Path
    """The mesh to paint."""
    prompt: str
    """What it shall look like."""
    target: Path
    """File to write."""
    keep: bool = False
    """Begin with the colours that are there, not with grey."""
    texture: int = 1024
    """Texels a side for a mesh that has none of its own."""
    control: Path | None = None
    """Folder of a ControlNet, which is told the asset's shape: the prior then knows what it looks at."""
    control_kind: ControlKind = "normal"
    """What that was taught to read: normals, depth, or the edges of pictures."""
    pbr: bool = False
    """Learn roughness and metalness as well, and colours free of light: seen under random lights, written to glTF."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Paint, write, report."""
        device, before = chosen_device(self.device), load(self.mesh)
        if not isinstance(before, Mesh):
            raise FormatError(self.mesh, f"holds {before.config.kind}, not a mesh", "convert it --to mesh first")
        self.check(self.prompt, [self.target], "mesh")
        if self.pbr:
            check_pbr("mesh", [self.target])
        generator, prior = make_generator(self.seed), self.opened(device, progress, self.control)
        around, place = self.around(prior), place_of(before, prior.advice.half)
        mesh = ensure_uv(before, self.texture)
        if not self.keep:
            mesh = _grey(mesh)
        generator = on_device(generator, device)
        source = StartAsset(scene=before, place=place, control=self.control_kind)
        distillation = self.distillation(self.prompt, prior, around, self.target, generator, source)
        training = self.training(self.target)
        with progress.phase("retexture"):
            subject = MeshSubject(mesh, self.penalties(), 0.0, generator if self.pbr else None)
            done = distillation.train([subject], training, progress)
        report = self.written(done, [self.target], training, self.prompt, progress)
        report = {"command": "retexture", "source": str(self.mesh)} | report
        return self.told(report, done, distillation.rung, before)


def _grey(mesh: Mesh) -> Mesh:
    """The same without its colours; what is transparent stays so."""
    texture = torch.where(torch.arange(4) < 3, GREY, mesh.texture).to(torch.uint8)
    grey = Mesh.of(
        mesh.vertices, mesh.faces, corner_uv=mesh.corner_uv, texture=texture, metallic_roughness=mesh.metallic_roughness
    )
    return grey.placed_like(mesh)
