#!/bin/sh
# nanovdb_convert 10.0.1 turns a turned grid the other way on its way from .nvdb to .vdb, files of its own too.
# Debian's packages, unpacked here without root; pyopenvdb wants the Python that Debian built it for (3.11 in 12).
#
# Said on 2026-11-30:
#   nanovdb_convert of Debian's libnanovdb-tools 10.0.1-2
#   a grid turned about z by 0.5 radians, to .nvdb and back: expected 0.5, seen -0.5
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
parts=$(apt-get install --simulate --no-install-recommends python3-openvdb libnanovdb-tools | sed -n 's/^Inst \([^ ]*\).*/\1/p')
apt-get download --quiet=2 $parts 2>/dev/null
for part in *.deb; do dpkg -x "$part" .; done
system=$place/usr/lib
libraries=$system/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="$libraries:$libraries/blas:$libraries/lapack" PYTHONPATH="$system/python3/dist-packages"
cat > run.py <<'END'
import math
import subprocess
import sys

import pyopenvdb

grid = pyopenvdb.FloatGrid()
grid.name = "density"
grid.fill((0, 0, 0), (7, 7, 7), 0.5)
grid.transform = pyopenvdb.createLinearTransform(
    [[math.cos(0.5), math.sin(0.5), 0, 0], [-math.sin(0.5), math.cos(0.5), 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
)
pyopenvdb.write("a.vdb", grids=[grid])
for source, target in (("a.vdb", "a.nvdb"), ("a.nvdb", "b.vdb")):
    subprocess.run(["usr/bin/nanovdb_convert", source, target], check=True, capture_output=True)
ways = []
for path in ("a.vdb", "b.vdb"):
    x, y, _ = pyopenvdb.read(path, "density").transform.indexToWorld((1, 0, 0))
    ways.append(round(math.atan2(y, x), 3))
print("nanovdb_convert of Debian's", sys.argv[1])
print(f"a grid turned about z by {ways[0]} radians, to .nvdb and back: expected {ways[0]}, seen {ways[1]}")
sys.exit(ways[1] != -ways[0])
END
version=$(dpkg-deb --field libnanovdb-tools_*.deb Version)
"${PYTHON:-python3}" run.py "libnanovdb-tools $version"
