#!/bin/sh
# trimesh takes normalised integers of glTF for whole numbers: texture coordinates of 0 to 65535 instead of 0 to 1.
#
# Said on 2026-11-30:
#   trimesh 5.2.0
#   u of the three corners: expected [0.0, 1.0, 0.0], seen [0.0, 65535.0, 0.0]
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet trimesh==5.2.0 numpy==2.4.6 pillow==13.0.0
env/bin/python - <<'END'
import base64
import json
import struct
import sys

import trimesh

# A triangle whose texture coordinates are unsigned shorts and say so ("normalized"): core glTF 2.0, no extension.
corners = struct.pack("<9f", 0, 0, 0, 1, 0, 0, 0, 1, 0)
texels = struct.pack("<6H", 0, 0, 65535, 0, 0, 65535)
blob = corners + texels + struct.pack("<3I", 0, 1, 2)
uri = "data:application/octet-stream;base64," + base64.b64encode(blob).decode()
attributes = {"POSITION": 0, "TEXCOORD_0": 1}
scene = {
    "asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "nodes": [{"mesh": 0}],
    "meshes": [{"primitives": [{"attributes": attributes, "indices": 2, "material": 0}]}], "materials": [{}],
    "buffers": [{"byteLength": len(blob), "uri": uri}],
    "bufferViews": [{"buffer": 0, "byteOffset": start, "byteLength": size} for start, size in ((0, 36), (36, 12), (48, 12))],
    "accessors": [
        {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
        {"bufferView": 1, "componentType": 5123, "normalized": True, "count": 3, "type": "VEC2"},
        {"bufferView": 2, "componentType": 5125, "count": 3, "type": "SCALAR"},
    ],
}
with open("triangle.gltf", "w") as file:
    json.dump(scene, file)
found = trimesh.load("triangle.gltf", force="mesh").visual.uv[:, 0].tolist()
print("trimesh", trimesh.__version__)
print("u of the three corners: expected [0.0, 1.0, 0.0], seen", found)
sys.exit(found != [0.0, 65535.0, 0.0])
END
