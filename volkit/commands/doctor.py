"""`volkit doctor`: what this machine can run, and why not the rest."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from volkit.extras import advice
from volkit.io import describe as formats
from volkit.io.fields.analytic_scene import bundled_names
from volkit.ops import backend
from volkit.progress import Progress
from volkit.representations import REPRESENTATIONS
from volkit.version import __version__

__all__ = ["DoctorJob"]

EXTRAS = {
    "OpenEXR": ("EXR pictures", "exr"),
    "diffusers": ("real diffusion priors", "generate"),
    "flip-evaluator": ("the FLIP metric of volkit compare", "metrics"),
    "imageio-ffmpeg": ("videos", ""),
    "peft": ("critics of diffusion priors", "generate"),
    "transformers": ("words for diffusion priors", "generate"),
    "trimesh": ("meshes", "mesh"),
    "usd-core": ("USD files", "usd"),
    "warp-lang": ("NanoVDB files", "nanovdb"),
}


@dataclass(frozen=True)
class DoctorJob:
    """Say which backends and extras were found, and why the others were not. Example: volkit doctor --json"""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Versions, processor, backends, extras, formats, kinds, scenes."""
        return {
            "command": "doctor",
            "volkit": __version__,
            "python": sys.version.split()[0],
            "machine": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "backend": backend.describe(),
            "extras": {name: _extra(name, *why) for name, why in EXTRAS.items()},
            "kinds": list(REPRESENTATIONS),
            "formats": [f"{row['name']} ({' '.join(row['suffixes'])})" for row in formats()],
            "scenes": bundled_names(),
        }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def _extra(name: str, use: str, extra: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return f"not installed: no {use}; {advice(extra, name) if extra else f'pip install {name}'}"
