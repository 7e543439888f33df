#!/bin/sh
# trimesh.util.concatenate paints a textured part and one of vertex colours grey, all of both.
#
# Said on 2026-11-30:
#   trimesh 5.2.0
#   parts: one textured in red, one with green vertices; joined they are expected in red and green
#   seen: kind of visual None and colours [[102, 102, 102, 255]]
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet trimesh==5.2.0 numpy==2.4.6 pillow==13.0.0
env/bin/python - <<'END'
import sys

import numpy as np
import trimesh
from PIL import Image
from trimesh.visual import ColorVisuals, TextureVisuals
from trimesh.visual.material import PBRMaterial

red, green = trimesh.creation.box(), trimesh.creation.box()
picture = Image.new("RGB", (4, 4), (255, 0, 0))
red.visual = TextureVisuals(np.full((8, 2), 0.5), material=PBRMaterial(baseColorTexture=picture))
green.visual = ColorVisuals(green, vertex_colors=np.tile(np.uint8([0, 255, 0, 255]), (8, 1)))
both = trimesh.util.concatenate([red, green])
seen = np.unique(both.visual.vertex_colors, axis=0).tolist()
print("trimesh", trimesh.__version__)
print("parts: one textured in red, one with green vertices; joined they are expected in red and green")
print("seen: kind of visual", both.visual.kind, "and colours", seen)
sys.exit(seen != [[102, 102, 102, 255]])
END
