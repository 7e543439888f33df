#!/bin/sh
# splat-transform 3.7 writes the axes of a .ply into .spz, whose description says right, up, back; 2.7 turned them.
#
# Said on 2026-11-30:
#   splat-transform 2.7.1: (1, 2, 3) of a .ply is expected at [1.0, -2.0, -3.0] in .spz, seen at [1.0, -2.0, -3.0]
#   splat-transform 3.7.0: (1, 2, 3) of a .ply is expected at [1.0, -2.0, -3.0] in .spz, seen at [1.0, 2.0, 3.0]
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
for version in 2.7.1 3.7.0; do
  npm install --silent --no-audit --no-fund --prefix "$version" "@playcanvas/splat-transform@$version"
done
cat > read.py <<'END'
import gzip
import struct
import sys

names = "x y z f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3".split()
if sys.argv[1:] == ["write"]:  # one splat at (1, 2, 3) of a .ply, where +Y points down and +Z away
    head = ["ply", "format binary_little_endian 1.0", "element vertex 1", *(f"property float {name}" for name in names)]
    with open("a.ply", "wb") as file:
        file.write("\n".join([*head, "end_header\n"]).encode())
        file.write(struct.pack("<14f", 1, 2, 3, 0, 0, 0, 2, -3, -3, -3, 1, 0, 0, 0))
    sys.exit()
seen = {}
for version in ("2.7.1", "3.7.0"):
    with open(f"{version}.spz", "rb") as file:
        data = gzip.decompress(file.read())  # version 3: a header of 16 bytes, then 24 bits a coordinate
    steps = 1 << data[13]
    seen[version] = [int.from_bytes(data[16 + 3 * i : 19 + 3 * i], "little", signed=True) / steps for i in range(3)]
    print(f"splat-transform {version}: (1, 2, 3) of a .ply is expected at [1.0, -2.0, -3.0] in .spz, seen at", seen[version])
sys.exit(seen != {"2.7.1": [1.0, -2.0, -3.0], "3.7.0": [1.0, 2.0, 3.0]})
END
"${PYTHON:-python3}" read.py write
for version in 2.7.1 3.7.0; do
  node "$version/node_modules/@playcanvas/splat-transform/bin/cli.mjs" -q --spz-version 3 a.ply "$version.spz"
done
"${PYTHON:-python3}" read.py
