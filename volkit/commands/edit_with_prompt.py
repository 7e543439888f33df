"""`volkit edit-with-prompt`: an asset edited by prompts, the rest of it preserved."""

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
    """Edit an asset by two prompts: what it is, and what it should become. All else is preserved.

    Delta denoising: the score of the source under the first prompt is subtracted from that of the edited asset under
    the second, at the same noise. The report says how close the parts that should not change are to the source.
    Example: volkit edit-with-prompt ball.glb "a red ball on a blue box" "a red ball on a green box" green.glb
    """

    asset: Path
    """Mesh, splats or a field."""
    before: str
    """Description of the source."""
    after: str
    """Description of the edited asset."""
    target: Path
    """File to write."""
    method: str = field(default="dds", kw_only=True)
    """Score distillation method: dds, or another one that uses the source's prompt."""
    control: Path | None = None
    """Folder of a ControlNet, which conditions the prior on the asset's shape."""

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
            preview=self.preview_writer(self.target),
        )
        made = edit_with_prompt(
            scene, self.before, self.after, self.open_prior(progress, self.control), options=options,
            budget=self.training_run(self.target), seed=self.seed, callback=progress,
        )  # fmt: skip
        report = {"command": "edit-with-prompt", "source": str(self.asset)}
        return self.write(report, made, [self.target], progress, scene)
