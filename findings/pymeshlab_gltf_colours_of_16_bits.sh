#!/bin/sh
# PyMeshLab reads the 16-bit colours of a glTF's vertices wrong; the same colours as floats it reads right.
#
# Said on 2026-12-01:
#   pymeshlab 2025.7.post1
#   colour of the first vertex: stored [1.0, 0.5, 0.25], as floats seen [1.0, 0.5, 0.25] as 16 bits [1.0, 0.0, 0.0]
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet pymeshlab==2025.7.post1 numpy==2.4.6
env/bin/python - <<'END'
import base64
import json
import struct
import sys
from importlib.metadata import version

import pymeshlab

COLOURS = ((1.0, 0.5, 0.25, 1.0), (0.75, 0.2, 0.1, 1.0), (0.3, 0.6, 0.9, 1.0))


def seen(kind, packed):
    """The first colour of a triangle whose colours are stored so; core glTF 2.0, no extension."""
    corners = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
    blob = corners + packed + struct.pack("<3I", 0, 1, 2)
    uri = "data:application/octet-stream;base64," + base64.b64encode(blob).decode()
    places = ((0, 36), (36, len(packed)), (36 + len(packed), 12))
    scene = {
        "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": {"POSITION": 0, "COLOR_0": 1}, "indices": 2}]}],
        "buffers": [{"byteLength": len(blob), "uri": uri}],
        "bufferViews": [{"buffer": 0, "byteOffset": start, "byteLength": size} for start, size in places],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
            {"bufferView": 1, "componentType": kind, "normalized": kind != 5126, "count": 3, "type": "VEC4"},
            {"bufferView": 2, "componentType": 5125, "count": 3, "type": "SCALAR"},
        ],
    }
    with open("triangle.gltf", "w") as file:
        json.dump(scene, file)
    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh("triangle.gltf")
    return [round(float(part), 2) for part in meshes.current_mesh().vertex_color_matrix()[0][:3]]


flat = [part for colour in COLOURS for part in colour]
floats = seen(5126, struct.pack("<12f", *flat))
shorts = seen(5123, struct.pack("<12H", *(round(65535 * part) for part in flat)))
print("pymeshlab", version("pymeshlab"))
print("colour of the first vertex: stored [1.0, 0.5, 0.25], as floats seen", floats, "as 16 bits", shorts)
near = lambda found: all(abs(a - b) < 0.02 for a, b in zip(found, COLOURS[0]))
sys.exit(not (near(floats) and not near(shorts)))
END
