"""`volkit refine`: an asset refined under a prompt."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.commands.options import taken
from volkit.commands.prior_options import PriorOptions, check_pbr
from volkit.generation.options import RefineChoices

if TYPE_CHECKING:
    from volkit.progress import Progress

__all__ = ["RefineJob"]


@dataclass(frozen=True)
class RefineJob(PriorOptions, RefineChoices):
    """Refine a mesh, splats or a field under a prompt: sharper colours and cleaner shape of the same object.

    Only small diffusion times are used, at which the prior adds detail and does not replace the object. The asset stays
    in its own frame; for the prior it is scaled to the size of its training objects.
    Example: volkit refine scan.glb "a red ball on a blue box" better.glb --geometry locked
    """

    asset: Path
    """Mesh (textured or not), splats, or a field."""
    prompt: str
    """Description of the asset."""
    target: Path
    """File to write."""
    denoise: Literal["auto", "off"] = "auto"
    """Whether noisy vertices of a mesh, as in a poor scan, are smoothed first, unless its geometry is locked."""
    control: Path | None = None
    """Folder of a ControlNet, which conditions the prior on the asset's shape."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Refine, write, report."""
        from volkit.generation import RefineOptions, refine
        from volkit.io.opening import open_scene

        before = open_scene(self.asset, self.device)
        self.check([self.prompt], [self.target], before.config.kind)
        if self.pbr:
            check_pbr(before.config.kind, [self.target])
        prior = self.open_prior(progress, self.control)
        options = RefineOptions(
            **taken(self, RefineChoices),
            denoise=self.denoise == "auto",
            score=self.settings(),
            preview=self.preview_writer(self.target),
        )
        made = refine(
            before, self.prompt, self.method, prior, options=options, budget=self.training_run(self.target),
            seed=self.seed, callback=progress,
        )  # fmt: skip
        report = {"command": "refine", "source": str(self.asset)}
        return self.write(report, made, [self.target], progress, before)
