"""`volkit view`: scenes in a browser."""

import webbrowser
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any, Literal

from volkit.choices import Device, SpzFrame
from volkit.commands.convert import ConvertJob
from volkit.files.atomic import check_writable
from volkit.geometry import UP_AXIS
from volkit.io.opening import open_scene
from volkit.progress import Progress
from volkit.reports.view_page import Exhibit, Start, ViewSettings, ply_bytes, viewer_page, write_page
from volkit.representations import Field, Mesh, Representation, Splats

__all__ = ["ViewJob"]

QUICK_SIZE = 400  # pixels of the pictures that a field teaches its splats
MAX_PAGE_SPLAT_BYTES = 100_000_000  # bytes of float32 splats in a page; browsers read what is larger, but slowly


@dataclass(frozen=True)
class ViewJob:
    """Look at splats and meshes in a browser: orbit and fly, two scenes side by side under a slider, more by name.

    The page is one file that works offline; other files can be dropped on it. A field is shown as splats that learn it
    quickly, which the page says.
    Example: volkit view chair.ply chair.glb
    To keep: volkit view photos.ply result.spz --save compare.html
    """

    sources: tuple[Path, ...]
    """Scene files; of two the first is left of the slider."""
    save: Path | None = None
    """Write the page here (.html) and open no browser."""
    budget: str = "20s"
    """60s, 10m or 2000 steps for the splats that stand in for each field."""
    up: Literal["auto", "z", "y", "-y", "-z"] = "auto"
    """The axis of the world that is up; auto: as the first scene's file says, -y for splats whose file does not."""
    background: Literal["auto", "white", "black", "grey"] = "auto"
    """auto: as the first scene was captured, else white."""
    compact: bool = False
    """Round splats as .spz does: a page several times smaller."""
    spz_frame: SpzFrame = "rub"
    """Axes of an .spz: rub as documented, ply as in a .ply, auto as the file's record says."""
    drop_bad: bool = False
    """Leave out splats whose values are not finite, and say how many."""
    seed: int = 0
    """Same seed, same budget in steps, same machine: same splats of fields."""
    device: Device = "auto"
    """auto: cuda where its kernels pass a test of themselves, else cpu."""
    force: bool = False
    """Overwrite an existing page."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Read, turn fields into splats, write the page, open it."""
        viewer, page = viewer_page(), self._target()
        scenes = [open_scene(s, self.device, progress if self.drop_bad else None, self.spz_frame) for s in self.sources]
        start, background = Start.of(scenes[0]), self._behind(scenes[0])
        up = UP_AXIS[scenes[0].frame] if self.up == "auto" else self.up
        exhibits = [self._exhibit(*pair, progress) for pair in zip(self.sources, scenes, strict=True)]
        size = sum(ply_bytes(exhibit.scene) for exhibit in exhibits)
        if size > MAX_PAGE_SPLAT_BYTES and not self.compact:
            progress.note(f"splats are rounded as in .spz: as they are they would take {size / 1e6:.0f} MB of the page")
        compact = self.compact or size > MAX_PAGE_SPLAT_BYTES
        write_page(page, viewer, exhibits, ViewSettings(start, up, background, compact))
        opened = self.save is None and webbrowser.open(page.resolve().as_uri())
        if self.save is None and not opened:
            progress.note(f"no browser was found here: open {page} in one")
        return {"command": "view", "page": str(page), "bytes": page.stat().st_size, "opened": opened,
                "compact": compact, "scenes": [_row(exhibit) for exhibit in exhibits],
                "notes": progress.notes}  # fmt: skip

    def _target(self) -> Path:
        if self.save is None:
            # It must outlive the command: the browser reads it later.
            return Path(mkdtemp(prefix="volkit-"), "view.html")
        if self.save.suffix.lower() not in (".html", ".htm"):
            raise ValueError(f"{self.save}: the page is HTML; name it .html")
        if self.save.exists() and not self.force:
            raise FileExistsError(f"{self.save}: exists already; --force overwrites it")
        check_writable(self.save)
        return self.save

    def _behind(self, scene: Representation) -> tuple[float, ...]:
        fixed = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "grey": (0.5, 0.5, 0.5)}
        captured = scene.capture.background if scene.capture else fixed["white"]
        return fixed.get(self.background) or captured or fixed["black"]

    def _exhibit(self, source: Path, scene: Representation, progress: Progress) -> Exhibit:
        if isinstance(scene, Field):
            return self._quick(source, scene, progress)
        assert isinstance(scene, Splats | Mesh)
        cut = isinstance(scene, Splats) and scene.config.degree > 3
        return Exhibit(source.name, scene, "harmonics are shown up to degree 3" if cut else "")

    def _quick(self, source: Path, field: Field, progress: Progress) -> Exhibit:
        with TemporaryDirectory() as folder:
            target = Path(folder, "quick.ply")
            job = ConvertJob((source, target), to="splats", budget=self.budget, size=QUICK_SIZE, seed=self.seed,
                             device=self.device)  # fmt: skip
            told = job.run(progress)
            splats = open_scene(target)
        assert isinstance(splats, Splats)
        alike = "" if told["psnr_to_source"] is None else f", {told['psnr_to_source']:.1f} dB to its own pictures"
        note = (f"a quick conversion of a field ({field.config.kind}): {len(splats)} splats that learnt it for "
                f"{told['seconds']:.0f} s{alike}")  # fmt: skip
        progress.note(f"{source.name} is shown as {note}")
        return Exhibit(source.name, splats, note)


def _row(exhibit: Exhibit) -> dict[str, Any]:
    scene = exhibit.scene
    held = {"splats": len(scene)} if isinstance(scene, Splats) else {"faces": len(scene.faces)}
    return {"name": exhibit.name, "shown as": scene.config.kind} | held | {"note": exhibit.note}
