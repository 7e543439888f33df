"""`volkit edit`: a scene cut, moved, sized, cleaned or thinned, and written in a format that holds its kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from volkit.choices import Device
from volkit.commands.edits import EDIT_HELP, edited
from volkit.commands.options import Shown, UsageError

if TYPE_CHECKING:
    from volkit.progress import Progress

__all__ = ["EditJob"]


@dataclass(frozen=True)
class EditJob:
    """Edit a scene: crop, erase, move, scale, rotate, clean or decimate it, in the order of the options.

    Nothing is trained, and the kind stays. For edits by prompts see volkit edit-with-prompt.
    Example: volkit edit scan.ply clean.ply --edit floaters --edit crop:sphere:0,0,0,2 --edit rotate:x:90
    """

    source: Path
    """Scene of any kind."""
    target: Path
    """File to write, in a format that holds the source's kind."""
    edit: Annotated[tuple[str, ...], Shown("ACTION", EDIT_HELP)] = ()
    frame: Literal["auto", "zup", "yup", "ydown"] = "auto"
    """Up axis of the target: zup (+Z), yup (+Y), ydown (-Y, as .ply of captures); auto: that of its format."""
    drop_bad: bool = False
    """Drop splats with values that are not finite, and report how many."""
    seed: int = 0
    """Random seed; the same seed decimates alike."""
    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""
    force: bool = False
    """Overwrite an existing target."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Read, apply, write, report."""
        from volkit.conversion.options import FileChoices
        from volkit.conversion.source import Source
        from volkit.io import check_target, save
        from volkit.training.run import count_parameters, make_generator

        if not self.edit:
            raise UsageError("edit: give at least one --edit, such as --edit floaters")
        if self.target.exists() and not self.force:
            raise FileExistsError(f"{self.target}: exists already; --force overwrites it")
        generator, choices = make_generator(self.seed), FileChoices(device=self.device, drop_bad=self.drop_bad)
        source = edited(Source.read([self.source], choices, generator, progress), self.edit, generator, progress)
        scene = source.scene
        check_target(self.target, scene.config.kind)
        save(scene, self.target, frame=self.frame)
        counts = {} if scene.splat_count is None else {"source_splats": source.splats, "splats": scene.splat_count}
        return {
            "command": "edit", "source": str(self.source), "target": str(self.target), "kind": scene.config.kind,
            "edits": list(self.edit), **counts, "parameters": count_parameters(scene),
            "bytes": self.target.stat().st_size, "notes": progress.notes,
        }  # fmt: skip
