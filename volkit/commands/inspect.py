"""`volkit inspect`: the contents of a file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.progress import Progress

if TYPE_CHECKING:  # help does not wait for torch
    from volkit.reports.contents import SceneContents

__all__ = ["InspectJob"]


@dataclass(frozen=True)
class InspectJob:
    """Print what a scene file or a dataset contains, and which commands come next.

    Example: volkit inspect out/chair.safetensors
    """

    path: Path
    """Scene file or dataset."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Report kind, sizes, frame, tensors and capture of a scene; pictures, cameras and domain of a dataset."""
        from volkit.reports.contents import SceneContents, read_contents

        with progress.phase("read"):
            found = read_contents(self.path, progress)
        if isinstance(found, SceneContents):
            advice = self._advice(found)
        else:
            advice = [f"fit a scene to it: volkit fit {self.path} scene.safetensors --budget 3m"]
        return {"command": "inspect"} | found.as_dict() | {"advice": advice}

    def _advice(self, found: "SceneContents") -> list[str]:
        """Commands that come next."""
        from volkit.reports.contents import HUGE_SIZE, INVISIBLE_OPACITY

        name, stem, advice = self.path.name, self.path.stem.split(".")[0], []
        odd = {} if found.splats is None else found.splats.odd
        removed = {"floaters": "--edit floaters", "invisible": f"--edit opacity:{INVISIBLE_OPACITY:.4f}",
                   "huge": f"--edit size:{HUGE_SIZE * found.diagonal:.3g}", "not finite": "--drop-bad"}  # fmt: skip
        wanted = {what: flags for what, flags in removed.items() if odd.get(what)}
        if wanted:
            counts = ", ".join(f"{odd[what]} {what}" for what in wanted)
            advice.append(f"{counts}: volkit convert {name} clean{self._suffix()} {' '.join(wanted.values())}")
        seen = "--view 0" if found.capture is not None and found.capture.views else "--sheet"
        advice.append(f"render it: volkit render {name} {stem}.png {seen}")
        if found.kind != "mesh":
            advice.append(f"extract a mesh: volkit convert {name} {stem}.glb --to mesh")
        return advice

    def _suffix(self) -> str:
        """That of a file of splats like this one; `.ply` where such a file is not written."""
        from volkit.files.errors import FormatError
        from volkit.io.formats import writer_for

        try:
            writer_for(Path(f"clean{self.path.suffix}"), "splats")
        except FormatError:
            return ".ply"
        return self.path.suffix
