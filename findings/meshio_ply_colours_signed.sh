#!/bin/sh
# meshio reads the bytes of a .ply's colours ("uchar") as signed numbers: 200 comes out as -56.
#
# Said on 2026-12-01:
#   meshio 5.3.5
#   red of the three vertices: expected [200, 127, 0], seen [-56, 127, 0] int8
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet meshio==5.3.5 numpy==2.4.6
env/bin/python - <<'END'
import struct
import sys

import meshio

# A triangle with a colour at each vertex, binary, as scanners write it.
head = """ply
format binary_little_endian 1.0
element vertex 3
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
"""
rows = [(0, 0, 0, 200, 100, 50), (1, 0, 0, 127, 128, 255), (0, 1, 0, 0, 1, 2)]
with open("triangle.ply", "wb") as file:
    file.write(head.encode() + b"".join(struct.pack("<3f3B", *row) for row in rows) + struct.pack("<B3i", 3, 0, 1, 2))
red = meshio.read("triangle.ply").point_data["red"]
print("meshio", meshio.__version__)
print("red of the three vertices: expected [200, 127, 0], seen", red.tolist(), red.dtype)
sys.exit(red.tolist() != [-56, 127, 0])
END
