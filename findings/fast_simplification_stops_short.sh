#!/bin/sh
# fast-simplification may leave a mesh as it is, or far from the count that was asked for, and says nothing.
#
# Said on 2026-11-30:
#   fast-simplification 0.2.0
#   a closed cylinder of 800 triangles: 20 asked for, seen 800
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet fast-simplification==0.2.0 trimesh==5.2.0 numpy==2.4.6
env/bin/python - <<'END'
import sys
from importlib.metadata import version

import fast_simplification
import numpy as np
import trimesh

closed = trimesh.creation.cylinder(1.0, 2.0, sections=200)
assert closed.is_watertight
left = fast_simplification.simplify(np.float32(closed.vertices), np.int32(closed.faces), target_count=20)[1]
print("fast-simplification", version("fast-simplification"))
print(f"a closed cylinder of {len(closed.faces)} triangles: 20 asked for, seen {len(left)}")
sys.exit(len(left) != 800)
END
