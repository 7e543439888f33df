"""The matrix of volkit's files and the programs that open them: what each sees, against what the file was made from.

python tools/readers/run.py                     all programs that are installed; prints the tables
python tools/readers/run.py --write             keeps the results too, and renews docs/formats.md
python tools/readers/run.py --only trimesh --files draco quantized --fresh

Each cell is a process of its own, bounded in time and memory. `tools/readers/install.py` installs the programs.
"""

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import render_tables
from compare import REFUSED, Verdict, judge_mesh, judge_splats
from files import FILES, File, make_files
from kept import keep, results
from programs import ENGINES, NODE, NODE_MODULES, PROGRAMS, PYTHON, READERS, Program
from reader_tables import matrix_of_meshes, matrix_of_splats
from truth import MeshTruth, SplatTruth

PATIENCE = 180  # seconds of a cell
MEMORY = 4 << 30  # bytes that one process may hold


def main() -> int:
    """Make the files, run the programs, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PROGRAM", help="these programs")
    parser.add_argument("--files", nargs="+", metavar="NAME", help=f"of {', '.join(file.name for file in FILES)}")
    parser.add_argument("--fresh", action="store_true", help="write the files anew")
    parser.add_argument("--write", action="store_true", help="keep the results and renew docs/formats.md")
    options = parser.parse_args()
    folder = READERS / "files"
    for made in folder.iterdir() if options.fresh and folder.is_dir() else ():
        made.unlink()
    truths = make_files(folder)
    rows = {}
    for program in PROGRAMS:
        if options.only and program.name not in options.only:
            continue
        cells = {}
        for file in FILES:
            if file.name in program.files and (not options.files or file.name in options.files):
                verdict = opened(program, file, folder, truths[file.source])
                cells[file.name] = {"word": verdict.word, "detail": verdict.detail}
                print(program.name, file.name, verdict, file=sys.stderr, flush=True)
        rows[program.name] = {"program": program.name, "version": program.version, "cells": cells}
    if options.write:
        known = results("readers")
        for name, row in rows.items():
            before = known.get(name, {}).get("cells", {}) if options.files else {}
            keep(f"readers/{name}", row | {"cells": before | row["cells"]})
        return render_tables.main([])
    print(matrix_of_splats(rows), matrix_of_meshes(rows), sep="\n", end="")
    return 0


def opened(program: Program, file: File, folder: Path, truth: SplatTruth | MeshTruth) -> Verdict:
    """One cell."""
    with tempfile.TemporaryDirectory() as place:
        picture, told = Path(place) / "picture.png", Path(place) / "seen.json"
        command, environment = runner(program)
        if command is None:
            return Verdict("not installed")
        words = [*command, program.name, str(folder / file.file), str(picture), str(told)]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, cwd=place,
                                  env={**os.environ, **environment}, preexec_fn=bound)  # fmt: skip
        except subprocess.TimeoutExpired:
            return Verdict(REFUSED, f"nothing after {PATIENCE} s")
        if not told.exists():
            return Verdict("not installed") if missing(done.stderr) else Verdict(REFUSED, message(done.stderr))
        seen: dict[str, Any] = json.loads(told.read_text())
        if picture.exists():
            seen["image"] = np.array(Image.open(picture).convert("RGB"))
    if "refused" in seen:
        return Verdict(REFUSED, message(seen["refused"]))
    if "valid" in seen:
        return Verdict("right", seen["valid"]) if not seen["errors"] else Verdict("wrong", seen["errors"])
    judge = judge_splats if isinstance(truth, SplatTruth) else judge_mesh
    limits = {name: max(program.limits.get(name, 0.0), file.limits.get(name, 0.0)) for name in
              (*program.limits, *file.limits)}  # fmt: skip
    return judge(seen, truth, file.frame, limits)  # pyright: ignore[reportArgumentType]


def runner(program: Program) -> tuple[list[str] | None, dict[str, str]]:
    """What opens a file by a program, and its environment; None where it is not here."""
    if program.by == "pypi" and PYTHON.exists():
        libraries = READERS / "libusb" / "usr" / "lib" / "x86_64-linux-gnu"
        return [str(PYTHON), str(HERE / "open_in_python.py")], {"LD_LIBRARY_PATH": str(libraries)}
    if program.by == "npm" and NODE.exists() and (NODE_MODULES / program.packages[0].rpartition("@")[0]).is_dir():
        # a module finds packages beside itself alone
        script = shutil.copy(HERE / "open_in_node.mjs", NODE_MODULES.parent)
        return [str(NODE), str(script)], {"READERS": str(NODE_MODULES.parent)}
    if program.by == "blender" and (ENGINES / "bpy" / ".installed").exists():
        return [str(ENGINES / "bpy" / "bin" / "python"), str(HERE / "open_in_blender.py")], {}
    return None, {}


def bound() -> None:
    """Before a program starts."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))


def missing(said: str) -> bool:
    """Whether a program did not even load."""
    return bool(re.search(r"ModuleNotFoundError|ERR_MODULE_NOT_FOUND|Cannot find (module|package)", said))


def message(said: str) -> str:
    """The line of an error that says what is wrong, short and without places."""
    lines = [line.strip() for line in said.strip().splitlines() if line.strip()]
    told = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)] or lines or ["no message"]
    return re.sub(r"(/[\w.-]+)+/", "", told[-1]).replace("|", "/")[:90]


if __name__ == "__main__":
    sys.exit(main())
