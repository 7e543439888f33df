#!/bin/sh
# Warp writes a wrong voxel size into NanoVDB grids whose transform turns: sums of matrix rows, not lengths of axes.
#
# Said on 2026-11-30:
#   warp 1.19.0
#   voxel size: expected [0.1, 0.1, 0.1], seen [0.0398, 0.1357, 0.1]
set -eu
place=$(mktemp -d) && trap 'rm -rf "$place"' EXIT && cd "$place"
"${PYTHON:-python3}" -m venv env && env/bin/pip install --quiet warp-lang==1.19.0 numpy==2.4.6
env/bin/python - <<'END' 2>/dev/null
import math
import sys

import warp

warp.config.quiet = True
cos, sin = 0.1 * math.cos(0.5), 0.1 * math.sin(0.5)  # voxels of 0.1, turned about z by 0.5 radians
turned = warp.mat33f(cos, -sin, 0.0, sin, cos, 0.0, 0.0, 0.0, 0.1)
tiles = warp.array([[0, 0, 0]], dtype=warp.int32, device="cpu")
volume = warp.Volume.allocate_by_tiles(tiles, bg_value=0.0, device="cpu", transform=turned)
seen = [round(size, 4) for size in volume.get_voxel_size()]
print("warp", warp.__version__)
print("voxel size: expected [0.1, 0.1, 0.1], seen", seen)
sys.exit(seen != [round(cos - sin, 4), round(cos + sin, 4), 0.1])
END
