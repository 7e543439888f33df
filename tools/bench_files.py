"""Time files of splats beside gsply and splat-transform, a million splats of degree 3: `python tools/bench_files.py`.

Each program does the same work in turn. gsply (PyPI) is called in this process as volkit is; splat-transform is a
program of Node.js, whose start, timed with a file of one splat, is to be taken off its figures. volkit waits until what
it writes is on the disk, the others do not, and so are timed a second time with that. splat-transform is found as
`splat-transform` on the path, or by --splat-transform "node .../cli.mjs". Splats are seeded noise unless --source names
a file: noise is what compresses worst. Results are kept as `bench_files-<device>` in tools/results/summary.jsonl.
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from bench_frame import IDLE, Bench, Cases, busy_cores, save
from bench_tables import WAITED

import volkit
from volkit.evaluation.evaluate import Evaluator
from volkit.geometry import Domain
from volkit.progress import Progress
from volkit.representations import Placement, Splats, SplatsConfig

FORMATS = (".ply", ".compressed.ply", ".spz")
WAYS = ((".ply", ".ply"), (".ply", ".compressed.ply"), (".ply", ".spz"), (".spz", ".ply"))
SIDE = 320  # pixels a side of the pictures that judge a .sog
SPREAD = {"means": 1.0, "quaternions": 1.0, "log_scales": 0.5, "logits": 2.0, "sh_dc": 0.5, "sh_rest": 0.2}


def main() -> None:
    """Time all, keep the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000, help="splats of noise")
    parser.add_argument("--source", type=Path, help="a file of splats instead of noise")
    parser.add_argument("--trained", type=Path, help="a file of splats to write as .sog as well: noise has no palette")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--splat-transform", default=shutil.which("splat-transform"), help="its command")
    parser.add_argument("--busy", action="store_true", help="measure although others use the machine")
    options = parser.parse_args()
    if not options.busy and (busy := busy_cores()) > IDLE:
        raise SystemExit(f"bench_files: others use {busy:.2f} cores; wait, or give --busy")
    device = torch.device("cpu")
    bench = Bench(device, options.repeats, options.count, torch.Generator().manual_seed(0), warm_up=1)
    with tempfile.TemporaryDirectory() as folder:
        scene = volkit.load(options.source) if options.source else noise(options.count, bench.generator)
        cases = _doors(bench, scene, Path(folder))
        if options.splat_transform:
            cases |= _ways(bench, scene, Path(folder), shlex.split(options.splat_transform))
        if options.trained:
            cases |= _sog(bench, volkit.load(options.trained), Path(folder))
    print(save("bench_files", device, {"files": cases}))


def noise(count: int, generator: torch.Generator) -> Splats:
    """Small splats of any colour and opacity."""
    splats = SplatsConfig(count, 3).build(Domain.cube(1.0), generator)
    with torch.no_grad():
        for name, parameter in splats.named_parameters():
            parameter.copy_(SPREAD[name] * torch.randn(parameter.shape, generator=generator))
        splats.log_scales.sub_(4.0)
    splats = splats.view(placement=Placement(frame="ydown"))  # as files of splats have it
    return splats


def _doors(bench: Bench, scene: Splats, folder: Path) -> Cases:
    """Each format written and read; gsply beside."""
    cases: Cases = {}
    for suffix in FORMATS:
        ours, theirs = folder / f"ours{suffix}", folder / f"theirs{suffix}"
        writing: dict[str, Callable[[], Any]] = {"volkit": partial(volkit.save, scene, ours)}
        reading: dict[str, Callable[[], Any]] = {"volkit": partial(volkit.load, ours)}
        volkit.save(scene, ours)
        if find_spec("gsply"):
            writing["gsply"], reading["gsply"] = _gsply(folder / "ours.ply", ours, theirs)
        cases[f"write {suffix}"] = _sized(bench.time(_waited_for(writing, theirs), len(scene)), ours, theirs)
        cases[f"read {suffix}"] = _sized(bench.time(reading, len(scene)), ours, ours)
    return cases


def _gsply(source: Path, ours: Path, theirs: Path) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """What writes and reads a file by gsply."""
    import gsply

    held = gsply.plyread(str(source))
    if ours.suffix == ".spz":
        return partial(gsply.write_spz, str(theirs), held), partial(gsply.read_spz, str(ours))
    packed = ours.name.endswith(".compressed.ply")
    return partial(gsply.plywrite, str(theirs), held, compressed=packed), partial(gsply.plyread, str(ours))


def _ways(bench: Bench, scene: Splats, folder: Path, program: list[str]) -> Cases:
    """Files from one format to another; splat-transform beside."""
    one = folder / "one.ply"
    few = noise(1, bench.generator)
    volkit.save(few, one)
    cases = {"start": bench.time({"splat-transform": partial(_ran, program, one, folder / "two.ply")}, 1)}
    for before, after in WAYS:
        source, ours, theirs = folder / f"source{before}", folder / f"ours{after}", folder / f"theirs{after}"
        volkit.save(scene, source)
        variants = {
            "volkit": partial(_converted, source, ours),
            "splat-transform": partial(_ran, program, source, theirs),
        }
        timed = bench.brief().time(_waited_for(variants, theirs), len(scene))
        cases[f"{before} to {after}"] = _sized(timed, ours, theirs)
    return cases


def _waited_for(variants: dict[str, Callable[[], Any]], made: Path) -> dict[str, Callable[[], Any]]:
    """With those of others once more, until what they write is on the disk."""

    def until(write: Callable[[], Any]) -> None:
        write()
        with made.open("rb") as file:
            os.fsync(file.fileno())

    return variants | {f"{name}{WAITED}": partial(until, run) for name, run in variants.items() if name != "volkit"}


def _sog(bench: Bench, scene: Splats, folder: Path) -> Cases:
    """Written alone, for splat-transform needs a GPU for that; how near its pictures are, in dB."""
    target = folder / "ours.sog"
    timed = bench.brief().time({"volkit": partial(volkit.save, scene, target)}, len(scene))
    judge = Evaluator.of_scene(scene, SIDE, bench.generator)
    timed["volkit"]["psnr"] = judge.mean_psnr(volkit.load(target), Progress())
    return {f"write .sog, {len(scene)} trained ones": _sized(timed, target, target)}


def _converted(source: Path, target: Path) -> None:
    volkit.save(volkit.load(source), target)


def _ran(program: list[str], source: Path, target: Path) -> None:
    subprocess.run([*program, "-q", "-w", str(source), str(target)], check=True, capture_output=True)


def _sized(timed: dict[str, dict[str, Any]], ours: Path, theirs: Path) -> dict[str, dict[str, Any]]:
    """With the bytes of the file that each wrote or read."""
    for name, numbers in timed.items():
        numbers["bytes"] = (ours if name == "volkit" else theirs).stat().st_size
    return timed


if __name__ == "__main__":
    main()
