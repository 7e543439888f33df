"""`volkit refine`: a better asset from one that is there already, by what a prior says of its pictures."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from volkit.commands.prior_options import PriorJob, StartAsset, check_pbr
from volkit.devices import chosen_device, on_device
from volkit.evaluation.evaluate import Evaluator
from volkit.generation.control_picture import ControlKind
from volkit.generation.rework import asset_subject, denoise_if_noisy, ensure_uv, place_of
from volkit.generation.run import at_late_times
from volkit.io.opening import open_scene
from volkit.progress import Progress
from volkit.representations import Mesh
from volkit.training.run import make_generator

__all__ = ["RefineJob"]


@dataclass(frozen=True)
class RefineJob(PriorJob):
    """Refine a mesh, splats or a field under a prompt: sharper colours, cleaner shape, the same thing.

    The prior is asked at the late times of its diffusion alone, where it says how to finish what it sees and not what
    else to make of it. An asset stays in its own frame; the prior is shown it as large as it expects things.
    Example: volkit refine scan.glb "a red ball on a blue box" better.glb --geometry locked
    """

    asset: Path
    """Mesh with or without a texture, splats, or a field."""
    prompt: str
    """What it is."""
    target: Path
    """File to write."""
    geometry: Literal["free", "locked"] = "free"
    """Whether the vertices of a mesh may move; its faces and uv stay."""
    denoise: Literal["auto", "off"] = "auto"
    """Whether vertices that are mostly noise, as in a poor scan, are smoothed first; those of locked meshes are not."""
    texture: int = 1024
    """Texels a side for a mesh that has none of its own."""
    control: Path | None = None
    """Folder of a ControlNet, which is told the asset's shape: the prior then knows what it looks at."""
    control_kind: ControlKind = "normal"
    """What that was taught to read: normals, depth, or the edges of pictures."""
    pbr: bool = False
    """Learn roughness and metalness as well, and colours free of light: seen under random lights, written to glTF."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Distil, write, report."""
        device = chosen_device(self.device)
        scene, before = (open_scene(self.asset, self.device) for _ in range(2))
        self.check(self.prompt, [self.target], scene.config.kind)
        if self.pbr:
            check_pbr(scene.config.kind, [self.target])
        generator, prior = make_generator(self.seed), self.opened(device, progress, self.control)
        around, half = self.around(prior), prior.advice.half
        place = place_of(before, half)
        if isinstance(scene, Mesh):
            noisy = self.geometry == "free" and self.denoise == "auto"
            scene = ensure_uv(denoise_if_noisy(scene, progress) if noisy else scene, self.texture)
        free = 0.6 if self.geometry == "free" else 0.0
        generator = on_device(generator, device)
        subject = asset_subject(scene, self.penalties(), generator, free, self.pbr)
        source = StartAsset(scene=before, place=place, control=self.control_kind)
        distillation = self.distillation(self.prompt, prior, around, self.target, generator, source).changed(
            at_late_times
        )
        training = self.training(self.target)
        with progress.phase(f"refine {scene.config.kind}"):
            done = distillation.train([subject], training, progress)
        report = self.written(done, [self.target], training, self.prompt, progress)
        changed = Evaluator.of_scene(before, 128, make_generator(0)).mean_psnr(done.scenes[0], progress)
        report = {"command": "refine", "source": str(self.asset), "psnr_to_source": changed} | report
        return self.told(report, done, distillation.rung, before)
