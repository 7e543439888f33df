"""`volkit inspect`: what a file holds."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.progress import Progress

if TYPE_CHECKING:  # help needs none of it, and torch takes a second to import
    from volkit.reports.contents import SceneContents

__all__ = ["InspectJob"]


@dataclass(frozen=True)
class InspectJob:
    """Say what a scene file or a dataset holds, and what to do next. Example: volkit inspect out/chair.safetensors"""

    path: Path
    """Scene file or dataset."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Kind, sizes, frame, tensors, capture of a scene; pictures, cameras, domain of a dataset."""
        from volkit.reports.contents import SceneContents, read_contents

        with progress.phase("read"):
            found = read_contents(self.path, progress)
        if isinstance(found, SceneContents):
            advice = self._advice(found)
        else:
            advice = [f"learn it: volkit fit {self.path} scene.safetensors --budget 3m"]
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
            advice.append(f"{counts}: volkit convert {name} clean{self.path.suffix} {' '.join(wanted.values())}")
        seen = "--view 0" if found.capture is not None and found.capture.views else "--sheet"
        advice.append(f"see it: volkit render {name} {stem}.png {seen}")
        if found.kind != "mesh":
            advice.append(f"a mesh of it: volkit convert {name} {stem}.glb --to mesh")
        return advice
