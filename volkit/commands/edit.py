"""`volkit edit`: change by words what an asset is, and nothing else of it."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from volkit.commands.prior_options import PriorJob, StartAsset
from volkit.devices import chosen_device, on_device
from volkit.evaluation.metrics import psnr
from volkit.generation import ScoreRung, change_mask
from volkit.generation.control_picture import ControlKind
from volkit.generation.rework import asset_subject, ensure_uv, place_of
from volkit.io.opening import open_scene
from volkit.progress import Progress
from volkit.representations import Mesh, Representation
from volkit.training.run import make_generator
from volkit.typing import Bool, Tensor

__all__ = ["EditJob"]

VIEWS, DRAWS = 8, 16  # of the measure of what was touched
MARGIN = 3  # pixels about what is to change that may change with it


@dataclass(frozen=True)
class EditJob(PriorJob):
    """Edit an asset by words: what it is, and what it shall be. What the prior does not ask to change is held.

    Source-anchored (delta denoising): what the prior says about the asset under the first words is taken off what it
    says about the edited one under the second, at the same noise. The report tells how far from the asset the parts
    are that were not to be touched.
    Example: volkit edit ball.glb "a red ball on a blue box" "a red ball on a green box" green.glb
    """

    asset: Path
    """Mesh, splats or a field."""
    source: str
    """What it is."""
    prompt: str
    """What it shall be."""
    target: Path
    """File to write."""
    method: str = field(default="dds", kw_only=True)
    """Rule of score distillation: dds, or another one that asks about the source's words."""
    preserve: float = 5.0
    """Weight with which pixels are held where the prior does not ask for a change."""
    free: bool = False
    """Let the vertices of a mesh move as well."""
    control: Path | None = None
    """Folder of a ControlNet, which is told the asset's shape: the prior then knows what it looks at."""
    control_kind: ControlKind = "normal"
    """What that was taught to read: normals, depth, or the edges of pictures."""
    texture: int = 1024
    """Texels a side for a mesh that has none of its own."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Edit, measure what was not to be touched, write, report."""
        device = chosen_device(self.device)
        scene, before = (open_scene(self.asset, self.device) for _ in range(2))
        for words in (self.source, self.prompt):
            self.check(words, [self.target], scene.config.kind)
        generator, prior = make_generator(self.seed), self.opened(device, progress, self.control)
        around, half = self.around(prior), prior.advice.half
        source = StartAsset(self.source, before, place_of(before, half), self.preserve, self.control_kind)
        if isinstance(scene, Mesh):
            scene = ensure_uv(scene, self.texture)
        generator = on_device(generator, device)
        subject = asset_subject(scene, self.penalties(), generator, 0.6 if self.free else 0.0)
        distillation = self.distillation(self.prompt, prior, around, self.target, generator, source)
        training = self.training(self.target)
        with progress.phase(f"edit {scene.config.kind}"):
            done = distillation.train([subject], training, progress)
        found = untouched(distillation.rung, source, done.scenes[0])
        report = self.written(done, [self.target], training, self.prompt, progress)
        report = {"command": "edit", "source": str(self.asset)} | found | report
        return self.told(report, done, distillation.rung, before)


@torch.no_grad()
def untouched(rung: ScoreRung, source: StartAsset, after: Representation) -> dict[str, float | None]:
    """PSNR between before and after, over eight views, of the pixels that the prior never asked to change, and of all.

    What it asks is its mean change_mask about the asset as it was, over many draws of noise.
    """
    cameras = rung.around.turntable(VIEWS, int(rung.around.draw(1, 1.0, make_generator(0)).size[0, 0]))
    white = torch.ones(VIEWS, 3, device=rung.generator.device)
    old, new = source.pictures(cameras, white), replace(source, scene=after).pictures(cameras, white)
    conditions, draws = rung.asked.about(cameras, white), make_generator(0)
    gradients = [rung.guidance.step(old, conditions, draws).gradient for _ in range(DRAWS)]
    kept = ~_grown(change_mask(torch.stack(gradients).mean(0)) > 0.5)
    held = new.clone()
    held[~kept] = old[~kept]
    share = float(kept.double().mean())
    flat = [picture.flatten(0, 1).clamp(0.0, 1.0).cpu() for picture in (held, new, old)]
    of_kept, of_all = psnr(flat[0], flat[2]), psnr(flat[1], flat[2])
    # Pixels that count as equal would make the mean better than it is.
    corrected = None if of_kept is None or not share else of_kept + 10.0 * torch.tensor(share).log10().item()
    return {"psnr_untouched": corrected, "share_untouched": share, "psnr_to_source": of_all}


def _grown(mask: Bool[Tensor, "view height width"]) -> Bool[Tensor, "view height width"]:
    width = 2 * MARGIN + 1
    return functional.max_pool2d(mask[:, None].float(), width, 1, MARGIN)[:, 0] > 0
