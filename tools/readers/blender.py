"""Pictures of meshes by Blender and by volkit, without light: PSNR over the box of what either of them shows.

python tools/readers/blender.py ../shared/data/meshes                models whose names stand below
python tools/readers/blender.py ../shared/data/meshes --only my/robot.glb --keep out/pictures

A generated model of many parts and materials (many_parts.py) is drawn beside those that are named. Each is drawn once,
in Blender by the base colours of its materials, and kept as a line `blender/MODEL` of tools/results/summary.jsonl.
Blender comes from `make engines`.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).parent.parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(Path(__file__).parent)]

import many_parts
from kept import keep
from reader_tables import blender_table

import volkit as vk
from volkit.evaluation.metrics import psnr
from volkit.geometry import turn
from volkit.rendering.orbits import Viewpoint, orbit_path

MODELS = ("Avocado", "Duck", "Fox", "BoxTextured", "VertexColorTest")
SIZE = 400
VIEW = Viewpoint(azimuth=30.0, elevation=20.0)
PYTHON = ROOT / ".engines" / "bpy" / "bin" / "python"
TARGET = 30.0  # dB
PATIENCE = 900  # seconds


def main() -> int:
    """Draw, compare, keep and print; status 1 where a picture differs by more than the target."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="folder in which the models are looked for by name")
    parser.add_argument("--only", type=Path, nargs="+", help="draw these files instead, and keep no result")
    parser.add_argument("--keep", type=Path, help="folder for the pictures")
    options = parser.parse_args()
    if options.folder is None and not options.only:
        parser.error("name the folder of models, or files by --only")
    if not PYTHON.exists():
        sys.exit(f"{PYTHON.relative_to(ROOT)}: no Blender here; run make engines")
    with tempfile.TemporaryDirectory() as folder:
        models = options.only or [found(options.folder, name) for name in MODELS]
        if not options.only:
            many_parts.write(models_made := Path(folder) / "many_parts.glb")
            models.append(models_made)
        rows = compared(models, (options.keep or Path(folder)).absolute())
    for row in rows if not options.only else ():
        keep(f"blender/{row['model']}", row)
    print(blender_table(rows), end="")
    return int(any(row["psnr"] is not None and row["psnr"] < TARGET for row in rows))


def found(folder: Path, name: str) -> Path:
    """The one file of that name below a folder."""
    paths = [path for suffix in ("glb", "gltf") for path in sorted(folder.rglob(f"{name}.{suffix}"))]
    if not paths:
        raise FileNotFoundError(f"{folder}: no {name}.glb or {name}.gltf below it")
    return paths[0]


def compared(models: list[Path], folder: Path) -> list[dict]:
    """A row a model, with pictures in the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs, ours = [], []
    for path in models:
        scene = vk.load(path)
        cameras = orbit_path(scene, 1, SIZE, VIEW)
        with torch.no_grad():
            picture = vk.render(scene, cameras)
        ours.append(torch.cat([picture.rgb[0], picture.opacity[0][..., None]], -1))
        upright = cameras.transform(turn(scene.frame, "zup").inverse())  # Blender's world
        jobs.append({
            "path": str(path.absolute()), "picture": str(folder / f"{path.stem}_blender.png"), "size": SIZE,
            "world_from_camera": [*upright.world_from_camera[0].tolist(), [0.0, 0.0, 0.0, 1.0]],
            "focal": float(upright.intrinsics[0, 0]),
        })  # fmt: skip
    (folder / "jobs.json").write_text(json.dumps(jobs))
    command = [str(PYTHON), str(Path(__file__).with_name("draw_in_blender.py")), "jobs.json", "seen.json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(f"blender: {(done.stderr or done.stdout)[-2000:]}")
    seen = json.loads((folder / "seen.json").read_text())
    return [
        row(path, mine, job["picture"], told) for path, mine, job, told in zip(models, ours, jobs, seen, strict=True)
    ]


def row(path: Path, mine: torch.Tensor, picture: str, told: dict) -> dict:
    """PSNR of two pictures over white, within the box of both silhouettes; `mine` is premultiplied."""
    theirs = torch.from_numpy(np.array(Image.open(picture).convert("RGBA"))).float() / 255.0
    theirs = torch.cat([theirs[..., :3] * theirs[..., 3:], theirs[..., 3:]], -1)
    save(mine, Path(picture).with_name(f"{path.stem}_volkit.png"))
    masks = [picture[..., 3] > 0.5 for picture in (mine, theirs)]
    y, x = (masks[0] | masks[1]).nonzero(as_tuple=True)
    box = (slice(int(y.min()), int(y.max()) + 1), slice(int(x.min()), int(x.max()) + 1))
    flat = [picture[..., :3] + 1.0 - picture[..., 3:] for picture in (mine, theirs)]
    return {"model": path.stem, "faces": told["faces"], "psnr": psnr(flat[0][box], flat[1][box]),
            "outline": int((masks[0] != masks[1]).sum())}  # fmt: skip


def save(premultiplied: torch.Tensor, path: Path) -> None:
    """A picture over white."""
    rgb = premultiplied[..., :3] + 1.0 - premultiplied[..., 3:]
    Image.fromarray((255.0 * rgb.clamp(0, 1)).round().byte().numpy()).save(path)


if __name__ == "__main__":
    sys.exit(main())
