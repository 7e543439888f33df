"""`volkit edit-with-prompt`: change by words what an asset is, and nothing else of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.commands.options import taken
from volkit.commands.prior_options import PriorOptions
from volkit.generation.options import EditChoices

if TYPE_CHECKING:
    from volkit.progress import Progress

__all__ = ["EditWithPromptJob"]


@dataclass(frozen=True)
class EditWithPromptJob(PriorOptions, EditChoices):
    """Edit an asset by words: what it is, and what it shall be. What the prior does not ask to change is held.

    Source-anchored (delta denoising): what the prior says about the asset under the first words is taken off what it
    says about the edited one under the second, at the same noise. The report tells how far from the asset the parts
    are that were not to be touched.
    Example: volkit edit-with-prompt ball.glb "a red ball on a blue box" "a red ball on a green box" green.glb
    """

    asset: Path
    """Mesh, splats or a field."""
    before: str
    """What it is."""
    after: str
    """What it shall be."""
    target: Path
    """File to write."""
    method: str = field(default="dds", kw_only=True)
    """Rule of score distillation: dds, or another one that asks about the source's words."""
    control: Path | None = None
    """Folder of a ControlNet, which is shown the asset's shape: the prior then knows what it looks at."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Edit, write, report."""
        from volkit.generation import EditOptions, edit_with_prompt
        from volkit.io.opening import open_scene

        scene = open_scene(self.asset, self.device)
        self.check([self.before, self.after], [self.target], scene.config.kind)
        options = EditOptions(
            **taken(self, EditChoices),
            method=self.method,
            score=self.settings(),
            preview=self.previewed(self.target),
        )
        made = edit_with_prompt(
            scene, self.before, self.after, self.opened(progress, self.control), options=options,
            budget=self.training(self.target), seed=self.seed, callback=progress,
        )  # fmt: skip
        report = {"command": "edit-with-prompt", "source": str(self.asset)}
        return self.written(report, made, [self.target], progress, scene)
