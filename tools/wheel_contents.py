"""What the built wheels hold, by part, and whether that is what should travel: the viewer in, the large priors out.

python tools/wheel_contents.py dist
"""

import argparse
import sys
import zipfile
from collections import Counter
from pathlib import Path

__all__ = ["faults", "sizes"]

MAX_MEGABYTES = 12.0  # of the main wheel, beyond kernels and viewer, before compression
BESIDE = ("kernels", "viewer")
BESIDE_PIXELS32 = {"latent", "pixels64", "views4"}


def main(arguments: list[str] | None = None) -> int:
    """Print sizes in MB by part; status 1 where a wheel holds what it should not or lacks what it should hold."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the wheels lie")
    folder = parser.parse_args(arguments).folder
    found = sorted(folder.glob("volkit3d*.whl"))
    for wheel in found:
        parts = ", ".join(f"{part} {size / 1e6:.1f}" for part, size in sorted(sizes(wheel).items()))
        print(f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB packed; unpacked {parts}")
    wrong = [fault for wheel in found for fault in faults(wheel)] if found else [f"{folder}: no wheels"]
    print(*wrong, sep="\n", end="\n" if wrong else "")
    return int(bool(wrong))


def sizes(wheel: Path) -> Counter[str]:
    """Bytes before compression by part: kernels, viewer, scenes, priors, code."""
    found: Counter[str] = Counter()
    for member in zipfile.ZipFile(wheel).infolist():
        found[_part(member.filename)] += member.file_size
    return found


def faults(wheel: Path) -> list[str]:
    """What is wrong with a wheel, in words."""
    names, found = zipfile.ZipFile(wheel).namelist(), sizes(wheel)
    priors = {name.partition("toy_prior/")[2].split("/")[0] for name in names if name.endswith("/model_index.json")}
    if wheel.name.startswith("volkit3d_toys-"):
        return (
            [] if priors == {"latent", "pixels64", "views4"} else [f"{wheel.name}: holds the priors {sorted(priors)}"]
        )
    wrong = []
    if priors != {"pixels32"}:
        wrong.append(f"{wheel.name}: holds the priors {sorted(priors)}, not pixels32 alone")
    wrong += [f"{wheel.name}: holds no {part}" for part in BESIDE if not found[part]]
    rest = sum(size for part, size in found.items() if part not in BESIDE) / 1e6
    if rest > MAX_MEGABYTES:
        wrong.append(f"{wheel.name}: {rest:.1f} MB beyond kernels and viewer, more than {MAX_MEGABYTES:.0f}")
    return wrong


def _part(name: str) -> str:
    if name.startswith("volkit/ops/_native"):
        return "kernels"
    if name.startswith("volkit/viewer/"):
        return "viewer"
    if "toy_prior/" in name:
        return "priors"
    return "scenes" if name.startswith("volkit/scenes/") else "code"


if __name__ == "__main__":
    sys.exit(main())
