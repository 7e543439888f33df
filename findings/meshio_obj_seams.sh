#!/bin/sh
# meshio refuses .obj files whose texture has a seam: it wants one texture coordinate per vertex, OBJ has one per corner.
#
# Said on 2026-11-30:
#   meshio 5.3.5
#   expected two triangles, seen ValueError: len(points) = 4, but len(point_data["obj:vt"]) = 6
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet meshio==5.3.5 numpy==2.4.6
env/bin/python - <<'END'
import sys

import meshio

# A square of two triangles, whose diagonal is a seam: four vertices, six texture coordinates.
vertices = ["v 0 0 0", "v 1 0 0", "v 1 1 0", "v 0 1 0"]
texels = ["vt 0 0", "vt 1 0", "vt 1 0.4", "vt 0 0.5", "vt 1 0.9", "vt 0 0.9"]
with open("square.obj", "w") as file:
    file.write("\n".join([*vertices, *texels, "f 1/1 2/2 3/3", "f 1/4 3/5 4/6"]) + "\n")
print("meshio", meshio.__version__)
try:
    seen = str(meshio.read("square.obj").cells_dict)
except ValueError as error:
    seen = f"ValueError: {error}"
print("expected two triangles, seen", seen)
sys.exit("len(points) = 4" not in seen)
END
