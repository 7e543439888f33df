"""`volkit view`: scenes in a browser."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from volkit.choices import Device, SpzFrame
from volkit.commands.edits import EDIT_HELP, apply_edits, parse_edits
from volkit.commands.options import Shown, UsageError
from volkit.progress import Progress

if TYPE_CHECKING:  # help does not wait for torch
    from volkit.reports.view_page import Exhibit
    from volkit.representations import Representation

__all__ = ["ViewJob"]

BACKGROUNDS = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5)}


@dataclass(frozen=True)
class ViewJob:
    """Show splats and meshes in a browser: orbit and fly; two scenes are compared under a slider, more listed by name.

    The page is one file that works offline; other files can be dropped on it. A field is shown as splats that are
    quickly fitted to it, and the page says so.
    Example: volkit view chair.ply chair.glb
    Keep the page: volkit view photos.ply result.spz --save compare.html
    """

    sources: Annotated[tuple[Path, ...], Shown("SOURCE...")]
    """Scene files; of two the first is left of the slider."""
    save: Path | None = None
    """Write the page here (.html) and open no browser."""
    budget: str = "20s"
    """Time (60s, 10m) or number of steps (2000) for fitting splats to each field."""
    up: Literal["auto", "z", "y", "-y", "-z"] = "auto"
    """Up axis; auto: that of the first scene's file, -y for splats whose file records none."""
    background: Literal["auto", "white", "black", "grey"] = "auto"
    """Background; auto: that of the first scene's capture, else white."""
    compact: bool = False
    """Quantise splats as .spz does: the page is several times smaller."""
    spz_frame: SpzFrame = "auto"
    """Axes of an .spz: auto as the file's record says, without one as rub; rub as documented; ply as in a .ply."""
    edit: Annotated[tuple[str, ...], Shown("ACTION", EDIT_HELP)] = ()
    drop_bad: bool = False
    """Drop splats with values that are not finite, and report how many."""
    seed: int = 0
    """Random seed of the splats that are fitted to fields."""
    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""
    force: bool = False
    """Overwrite an existing page."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Read, turn fields into splats, write the page, open it."""
        if not self.sources:
            raise UsageError("view: give at least one scene file")
        parse_edits(self.edit)
        self._check_target()
        from volkit.files.bundled import viewer_page
        from volkit.reports.view_page import view

        viewer_page()  # before anything is read: where there is none, nothing can be shown
        scenes: dict[str, Representation] = {}
        for source in self.sources:
            name = source.name if source.name not in scenes else str(source)
            scenes[name] = self._opened(source, progress)
        shown = view(
            scenes, self.save, budget=self.budget, up=self.up, background=BACKGROUNDS.get(self.background),
            compact=self.compact, seed=self.seed, progress=progress,
        )  # fmt: skip
        return {"command": "view", "page": str(shown.page), "bytes": shown.bytes, "opened": shown.opened,
                "compact": shown.compact, "scenes": [_row(exhibit) for exhibit in shown.exhibits],
                "notes": list(shown.notes)}  # fmt: skip

    def _opened(self, source: Path, progress: Progress) -> "Representation":
        from volkit.io.opening import note_reading, open_scene

        scene = open_scene(source, self.device, progress if self.drop_bad else None, self.spz_frame)
        note_reading(source, scene, progress)
        return apply_edits(scene, self.edit, progress=progress)

    def _check_target(self) -> None:
        if self.save is None:
            return
        if self.save.suffix.lower() not in (".html", ".htm"):
            raise UsageError(f"{self.save}: the page is HTML; name it .html")
        if self.save.exists() and not self.force:
            raise FileExistsError(f"{self.save}: exists already; --force overwrites it")
        from volkit.files.atomic import check_writable

        check_writable(self.save)


def _row(exhibit: "Exhibit") -> dict[str, Any]:
    from volkit.representations import Mesh

    scene = exhibit.scene
    held = {"faces": len(scene.faces)} if isinstance(scene, Mesh) else {"splats": len(scene)}
    return {"name": exhibit.name, "shown as": scene.config.kind} | held | {"note": exhibit.note}
