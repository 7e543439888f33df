"""`volkit inspect`: what a file holds."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from volkit.data import load_photographs
from volkit.io import load
from volkit.io.opening import capture_size, is_scene
from volkit.progress import Progress
from volkit.representations import Field, Splats
from volkit.sampling.occupancy_grid import unpack_bits

__all__ = ["InspectJob"]

BINS = 10  # of histograms
HUGE = 0.1  # of the domain's diagonal
INVISIBLE = 1.0 / 255.0  # opacity: nothing of such a splat is ever drawn


@dataclass(frozen=True)
class InspectJob:
    """Say what a scene file or a dataset holds. Example: volkit inspect out/chair.safetensors"""

    path: Path
    """Scene file or dataset."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Kind, sizes, frame, tensors, capture of a scene; pictures, cameras, domain of a dataset."""
        with progress.phase("read"):
            return self._scene() if is_scene(self.path) else self._dataset(progress)

    def _scene(self) -> dict[str, Any]:
        scene = load(self.path)
        box, capture, frame = scene.bounds(), scene.capture, scene.world_from_local
        tensors = {
            name: f"{list(t.shape)} {str(t.dtype).removeprefix('torch.')}" for name, t in scene.stored_tensors().items()
        }
        report: dict[str, Any] = {
            "command": "inspect", "path": str(self.path), "holds": "scene", "kind": scene.config.kind,
            "bytes": self.path.stat().st_size, "parameters": sum(p.numel() for p in scene.parameters()),
            "lower": list(box.lower), "upper": list(box.upper), "contracted": scene.domain.contracted,
            "frame": scene.frame, "world_from_local": asdict(frame), "config": asdict(scene.config), "tensors": tensors,
        }  # fmt: skip
        if isinstance(scene, Field):
            report["occupied"] = float(unpack_bits(scene.occupancy).float().mean())
        if isinstance(scene, Splats):
            report |= _splats(scene)
        if capture is not None:
            report |= {
                "views": len(capture.names), "held_out": list(capture.held_out), "size": capture_size(capture),
                "lens": capture.cameras.lens.model, "near": capture.near, "background": capture.background,
            }  # fmt: skip
        if scene.provenance:
            report["provenance"] = dict(scene.provenance)
        return report

    def _dataset(self, progress: Progress) -> dict[str, Any]:
        seen = load_photographs(self.path, progress=progress.counted)
        splits = {name: seen.split.count(name) for name in sorted(set(seen.split))}
        sizes = sorted({tuple(size) for size in seen.cameras.size.tolist()})
        return {
            "command": "inspect", "path": str(self.path), "holds": "dataset", "pictures": len(seen), "splits": splits,
            "sizes": [list(size) for size in sizes], "alpha": seen.has_alpha,
            "masks": any(mask is not None for mask in seen.masks),
            "lens": seen.cameras.lens.model, "near": seen.near, "lower": list(seen.domain.lower),
            "upper": list(seen.domain.upper), "contracted": seen.domain.contracted, "notes": list(seen.notes),
        }  # fmt: skip


def _splats(splats: Splats) -> dict[str, Any]:
    """How many, of which degree, how solid and how large (logarithms to base 10 of the longest axis), what is odd."""
    good = ~splats.bad
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
                "invisible": int((opacity < INVISIBLE).sum())},
    }  # fmt: skip
