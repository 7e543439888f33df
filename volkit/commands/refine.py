"""`volkit refine`: a better asset from one that is there already, by what a prior says of its pictures."""

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
    denoise: Literal["auto", "off"] = "auto"
    """Whether vertices that are mostly noise, as in a poor scan, are smoothed first; those of locked meshes are not."""
    control: Path | None = None
    """Folder of a ControlNet, which is shown the asset's shape: the prior then knows what it looks at."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Refine, write, report."""
        from volkit.generation import RefineOptions, refine
        from volkit.io.opening import open_scene

        before = open_scene(self.asset, self.device)
        self.check([self.prompt], [self.target], before.config.kind)
        if self.pbr:
            check_pbr(before.config.kind, [self.target])
        prior = self.opened(progress, self.control)
        options = RefineOptions(
            **taken(self, RefineChoices),
            denoise=self.denoise == "auto",
            score=self.settings(),
            preview=self.previewed(self.target),
        )
        made = refine(
            before, self.prompt, self.method, prior, options=options, budget=self.training(self.target),
            seed=self.seed, callback=progress,
        )  # fmt: skip
        report = {"command": "refine", "source": str(self.asset)}
        return self.written(report, made, [self.target], progress, before)
