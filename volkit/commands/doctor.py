"""`volkit doctor`: what this machine can run, by running it, and why not the rest."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from volkit.extras import advice
from volkit.progress import Progress
from volkit.version import __version__

__all__ = ["DoctorJob"]


@dataclass(frozen=True)
class Capability:
    """What needs modules beside volkit's own: `modules` by the packages that bring them, `extra` that names these."""

    use: str
    modules: dict[str, str]
    extra: str = ""
    fix: str = ""  # where no extra helps


CAPABILITIES = {
    "mesh": Capability("meshes made, drawn and read", {
        "trimesh": "trimesh", "fast_simplification": "fast-simplification", "xatlas": "xatlas", "coacd": "coacd",
        "embreex": "embreex", "manifold3d": "manifold3d", "skimage": "scikit-image", "scipy": "scipy",
        "DracoPy": "DracoPy",
    }, "mesh"),
    "gltf": Capability("glTF compressed by meshopt", {"meshopt": "meshopt"}, "gltf"),
    "usd": Capability("USD files", {"pxr": "usd-core"}, "usd"),
    "vdb": Capability("OpenVDB files", {"openvdb": "openvdb"}, fix="install openvdb of conda-forge"),
    "nanovdb": Capability("NanoVDB files", {"warp": "warp-lang"}, "nanovdb"),
    "exr": Capability("OpenEXR pictures", {"OpenEXR": "OpenEXR"}, "exr"),
    "flip": Capability("the FLIP metric of compare", {"flip_evaluator": "flip-evaluator"}, "metrics"),
    "generate": Capability("diffusion priors", {
        "diffusers": "diffusers", "peft": "peft", "transformers": "transformers",
    }, "generate"),
    "video": Capability("videos", {"imageio_ffmpeg": "imageio-ffmpeg"}, fix="pip install imageio-ffmpeg"),
}  # fmt: skip


@dataclass(frozen=True)
class DoctorJob:
    """Say what runs here, tried by running it, and what is missing, with the line that installs it.

    Example: volkit doctor --json
    """

    def run(self, progress: Progress) -> dict[str, Any]:
        """Versions, processor, memory, backends, capabilities, formats, kinds, scenes."""
        import torch

        from volkit.files.bundled import scene_folders
        from volkit.io import FORMATS
        from volkit.ops import backend
        from volkit.representations import kinds

        return {
            "command": "doctor",
            "volkit": __version__,
            "python": sys.version.split()[0],
            "torch": torch.__version__,
            "machine": f"{platform.system()} {platform.machine()}",
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "memory": _memory(),
            "backend": backend.describe(),
            "backends": _backends(),
            "capabilities": {name: _missing(row) or f"ok ({row.use})" for name, row in CAPABILITIES.items()}
            | {"view": _viewer()},
            "kinds": kinds(),
            "formats": [f"{row.name} ({' '.join(row.suffixes)})" for row in FORMATS.values()],
            "scenes": sorted({path.stem for folder in scene_folders() for path in folder.glob("*.json")}),
        }


def _backends() -> dict[str, str]:
    """What computes, tried on a small op against the plain reference."""
    from volkit.devices import unverified
    from volkit.ops import backend

    found = backend.describe()
    native, cuda, gsplat = unverified("native"), unverified("cuda"), backend.library_missing("gsplat")
    isas = found["isas"]
    assert isinstance(isas, list)
    return {
        "native": native or f"works (isa {found['isa']} of {', '.join(isas)}; {found['threads']} threads)",
        "cuda": cuda or f"works ({found['cuda_devices']} devices)",
        "gsplat": gsplat or "installed; VOLKIT_BACKEND=gsplat chooses it",
        "reference": "works, many times slower",
    }


def _missing(row: Capability) -> str:
    """What is not there, and how to come by it; empty where all is."""
    absent = [package for module, package in row.modules.items() if find_spec(module) is None]
    if not absent or (row.modules.keys() == {"openvdb"} and find_spec("pyopenvdb")):
        return ""
    return f"missing {', '.join(absent)} ({row.use}): {row.fix or advice(row.extra, *absent)}"


def _viewer() -> str:
    from volkit.files.bundled import viewer_page

    try:
        viewer_page()
    except (ValueError, OSError) as error:
        return f"missing the viewer's page: {error}"
    return "ok (scenes in a browser)"


def _processor() -> str:
    try:
        names = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
                 if line.startswith("model name")]  # fmt: skip
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "unknown"


def _memory() -> str:
    """Of the machine, and what of it is free."""
    try:
        rows = [line.split() for line in Path("/proc/meminfo").read_text("utf-8").splitlines()]
    except OSError:
        return "unknown"
    kilobytes = {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
    total, free = (kilobytes.get(name, 0) / (1 << 20) for name in ("MemTotal", "MemAvailable"))
    return f"{total:.1f} GiB, {free:.1f} GiB free"
