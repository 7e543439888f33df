"""`volkit inspect`: what a file holds."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.progress import Progress

if TYPE_CHECKING:  # help needs none of it, and torch takes a second to import
    from volkit.representations import Representation, Splats

__all__ = ["InspectJob"]

BINS = 10  # of histograms
HUGE = 0.1  # of the domain's diagonal
INVISIBLE = 1.0 / 255.0  # opacity: nothing of such a splat is ever drawn
MAX_SEARCHED = 200_000  # splats among which floaters are counted: a second for each 50 000


@dataclass(frozen=True)
class InspectJob:
    """Say what a scene file or a dataset holds, and what to do next. Example: volkit inspect out/chair.safetensors"""

    path: Path
    """Scene file or dataset."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Kind, sizes, frame, tensors, capture of a scene; pictures, cameras, domain of a dataset."""
        from volkit.io import is_scene

        with progress.phase("read"):
            return self._scene() if is_scene(self.path) else self._dataset(progress)

    def _scene(self) -> dict[str, Any]:
        from volkit.io import load
        from volkit.io.opening import capture_size
        from volkit.rendering.viewpoints import visible_box
        from volkit.representations import Field, Mesh, Splats
        from volkit.sampling.occupancy_grid import unpack_bits

        scene = load(self.path)
        box, whole, capture, frame = visible_box(scene), scene.bounds(), scene.capture, scene.world_from_local
        tensors = {
            name: f"{list(t.shape)} {str(t.dtype).removeprefix('torch.')}" for name, t in scene.stored_tensors().items()
        }
        report: dict[str, Any] = {
            "command": "inspect", "path": str(self.path), "holds": "scene", "kind": scene.config.kind,
            "bytes": self.path.stat().st_size, "parameters": sum(p.numel() for p in scene.parameters()),
            "box": {"lower": list(box.lower), "upper": list(box.upper)},
            "lower": list(whole.lower), "upper": list(whole.upper), "contracted": scene.domain.contracted,
            "frame": scene.frame, "world_from_local": asdict(frame), "config": asdict(scene.config), "tensors": tensors,
        }  # fmt: skip
        if isinstance(scene, Field):
            report["occupied"] = float(unpack_bits(scene.occupancy).float().mean())
        if isinstance(scene, Splats):
            report |= _splats(scene)
        if isinstance(scene, Mesh):
            report |= {"faces": len(scene.faces), "vertices": len(scene.vertices)}
        if capture is not None:
            report |= {
                "views": len(capture.names), "held_out": list(capture.held_out), "size": capture_size(capture),
                "lens": capture.cameras.lens.model, "near": capture.near, "background": capture.background,
            }  # fmt: skip
        if scene.provenance:
            report["provenance"] = dict(scene.provenance)
        return report | {"advice": self._advice(scene, report)}

    def _advice(self, scene: "Representation", report: dict[str, Any]) -> list[str]:
        """Commands that come next."""
        name, found = self.path.name, []
        odd = report.get("odd", {})
        removed = {"floaters": "--edit floaters", "invisible": f"--edit opacity:{INVISIBLE:.4f}",
                   "huge": f"--edit size:{HUGE * scene.domain.diagonal * scene.world_from_local.scale:.3g}",
                   "not finite": "--drop-bad"}  # fmt: skip
        wanted = {what: flags for what, flags in removed.items() if odd.get(what)}
        if wanted:
            counts = ", ".join(f"{odd[what]} {what}" for what in wanted)
            found.append(f"{counts}: volkit convert {name} clean{self.path.suffix} {' '.join(wanted.values())}")
        seen = "--view 0" if report.get("views") else "--sheet"
        found.append(f"see it: volkit render {name} {self.path.stem.split('.')[0]}.png {seen}")
        if report["kind"] != "mesh":
            found.append(f"a mesh of it: volkit convert {name} {self.path.stem.split('.')[0]}.glb --to mesh")
        return found

    def _dataset(self, progress: Progress) -> dict[str, Any]:
        from volkit.data import load_photographs

        seen = load_photographs(self.path, progress=progress.counted)
        splits = {name: seen.split.count(name) for name in sorted(set(seen.split))}
        sizes = sorted({tuple(size) for size in seen.cameras.size.tolist()})
        return {
            "command": "inspect", "path": str(self.path), "holds": "dataset", "pictures": len(seen), "splits": splits,
            "sizes": [list(size) for size in sizes], "alpha": seen.has_alpha,
            "masks": any(mask is not None for mask in seen.masks),
            "lens": seen.cameras.lens.model, "near": seen.near, "lower": list(seen.domain.lower),
            "upper": list(seen.domain.upper), "contracted": seen.domain.contracted, "notes": list(seen.notes),
            "advice": [f"learn it: volkit fit {self.path} scene.safetensors --budget 3m"],
        }  # fmt: skip


def _splats(splats: "Splats") -> dict[str, Any]:
    """How many, of which degree, how solid and how large (logarithms to base 10 of the longest axis), what is odd."""
    import torch

    good = ~splats.invalid
    opacity, size = splats.opacities.detach()[good], splats.scales.detach()[good].amax(-1)
    logarithm = size.clamp_min(1e-12).log10()
    low, high = (float(logarithm.min()), float(logarithm.max())) if len(size) else (0.0, 1.0)
    return {
        "count": len(splats), "surfels": splats.config.surfels, "degree": splats.config.degree,
        "mode": "mip" if splats.config.mip else "classic",
        "opacity_histogram": torch.histc(opacity, BINS, 0.0, 1.0).long().tolist(),
        "size_histogram": {"log10_from": low, "log10_to": high,
                           "counts": torch.histc(logarithm, BINS, low, high).long().tolist()},
        "odd": {"not finite": int((~good).sum()), "huge": int((size > HUGE * splats.domain.diagonal).sum()),
                "invisible": int((opacity < INVISIBLE).sum()), "floaters": _floaters(splats)},
    }  # fmt: skip


def _floaters(splats: "Splats") -> int | None:
    """How many splats `--edit floaters` would take; None where there are too many to look, or what counts is absent."""
    from volkit.editing import DropFloaters
    from volkit.training.run import make_generator

    if len(splats) > MAX_SEARCHED or bool(splats.invalid.any()):
        return None
    try:
        return len(splats) - len(DropFloaters().change(splats, make_generator(0)))  # pyright: ignore[reportArgumentType]
    except RuntimeError:  # scipy comes with an extra
        return None
