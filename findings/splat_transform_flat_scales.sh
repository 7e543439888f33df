#!/bin/sh
# splat-transform holds log scales at -20 or above in .compressed.ply, and nowhere else: flatter splats grow thicker.
#
# Said on 2026-11-30:
#   splat-transform 3.7.0: a log scale of -30 is expected back as -30 by way of every format
#   seen: .csv -30.0, .compressed.ply -20.0
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
npm install --silent --no-audit --no-fund @playcanvas/splat-transform@3.7.0
convert() { node node_modules/@playcanvas/splat-transform/bin/cli.mjs -q "$1" "$2"; }
cat > flat.py <<'END'
import csv
import struct
import sys

names = "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()
if sys.argv[1:] == ["write"]:
    head = ["ply", "format binary_little_endian 1.0", "element vertex 1", *(f"property float {name}" for name in names)]
    with open("a.ply", "wb") as file:
        file.write("\n".join([*head, "end_header\n"]).encode())
        file.write(struct.pack("<14f", 1, 2, 3, 0, 0, 0, 2, -3, -3, -30, 1, 0, 0, 0))
    sys.exit()
seen = []
for path in ("a.csv", "b.csv"):
    with open(path) as file:
        seen.append(float(next(csv.DictReader(file))["scale_2"]))
print("splat-transform 3.7.0: a log scale of -30 is expected back as -30 by way of every format")
print(f"seen: .csv {seen[0]}, .compressed.ply {seen[1]}")
sys.exit(seen != [-30.0, -20.0])
END
"${PYTHON:-python3}" flat.py write
convert a.ply a.csv
convert a.ply b.compressed.ply
convert b.compressed.ply b.csv
"${PYTHON:-python3}" flat.py
