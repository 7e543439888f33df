"""`volkit retexture`: a mesh painted from a prompt; its shape and uv stay."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.commands.options import taken
from volkit.commands.prior_options import PriorOptions, check_pbr
from volkit.generation.options import RetextureChoices

if TYPE_CHECKING:
    from volkit.progress import Progress

__all__ = ["RetextureJob"]


@dataclass(frozen=True)
class RetextureJob(PriorOptions, RetextureChoices):
    """Paint a mesh from a prompt. Vertices, faces and uv stay as they are; a mesh without uv is unwrapped.

    Example: volkit retexture teapot.glb "a blue teapot with white dots" painted.glb --prior models/sd15 --budget 10m
    """

    mesh: Path
    """The mesh to paint."""
    prompt: str
    """Description of the painted mesh."""
    target: Path
    """File to write."""
    control: Path | None = None
    """Folder of a ControlNet, which conditions the prior on the asset's shape."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Paint, write, report."""
        from volkit.files.errors import FormatError
        from volkit.generation import RetextureOptions, retexture
        from volkit.io.opening import open_scene
        from volkit.representations import Mesh

        before = open_scene(self.mesh, self.device)
        if not isinstance(before, Mesh):
            raise FormatError(self.mesh, f"holds {before.config.kind}, not a mesh", "convert it --to mesh first")
        self.check([self.prompt], [self.target], "mesh")
        if self.pbr:
            check_pbr("mesh", [self.target])
        prior = self.open_prior(progress, self.control)
        options = RetextureOptions(
            **taken(self, RetextureChoices), score=self.settings(), preview=self.preview_writer(self.target)
        )
        made = retexture(
            before, self.prompt, self.method, prior, options=options, budget=self.training_run(self.target),
            seed=self.seed, callback=progress,
        )  # fmt: skip
        report = {"command": "retexture", "source": str(self.mesh)}
        return self.write(report, made, [self.target], progress, before)
