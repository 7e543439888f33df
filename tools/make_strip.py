"""The README's pictures: a bundled scene as photographs, hash grid, splats and a mesh in Blender; an asset of words.

python tools/make_strip.py           some ten minutes on two idle cores; needs `make engines` for Blender
python tools/make_strip.py --quick   sizes and budgets of seconds, to see that it runs

Stages that are done are kept under --work and not repeated. Every picture is drawn from a scene of the project itself.
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).parent.parent
BLENDER = ROOT / ".engines" / "bpy" / "bin" / "python"
PROMPT = "a red ball on a blue box"
VIEW = "images/test_004.png"  # held out, and shows all that stands on the table
CAPTION_HEIGHT = 26
MARGIN = 6


@dataclass(frozen=True)
class Effort:
    """How large and how long."""

    size: int
    fit: str
    convert: str
    words: str
    faces: int
    texture: int


FULL = Effort(size=192, fit="120s", convert="120s", words="600", faces=20_000, texture=1024)
QUICK = Effort(size=32, fit="20", convert="10", words="4", faces=500, texture=128)


def run_volkit(target: Path, *arguments: str) -> Path:
    """Run a command of volkit whose target it is, unless that is there already."""
    if not target.exists():
        given = [target if argument == "TARGET" else argument for argument in arguments]
        subprocess.run([sys.executable, "-m", "volkit.cli", *map(str, given)], check=True)
    return target


def make_scenes(work: Path, effort: Effort) -> dict[str, Path]:
    """The photographs of the bundled scene, and what is made of them, by the name of what it is."""
    scene, size = ROOT / "scenes" / "still_life.json", str(effort.size)
    photos = run_volkit(work / "photos", "render", scene, "TARGET", "--split", "all", "--size", size)
    grid = work / "grid.safetensors"
    run_volkit(grid, "fit", photos, "TARGET", "--to", "hash_grid", "--budget", effort.fit)
    splats, mesh, words = work / "splats.ply", work / "mesh.glb", work / "words.glb"
    run_volkit(splats, "convert", grid, "TARGET", "--to", "splats", "--budget", effort.convert, "--no-measure")
    shape = ("--faces", str(effort.faces), "--texture", str(effort.texture))
    run_volkit(mesh, "convert", grid, "TARGET", "--to", "mesh", *shape, "--no-measure")
    run_volkit(words, "generate", PROMPT, "TARGET", "--budget", effort.words)
    return {"photos": photos, "grid": grid, "splats": splats, "mesh": mesh, "words": words}


def draw_by_blender(mesh: Path, photos: Path, picture: Path) -> Path:
    """The mesh as Blender draws it without light, from where the photograph was taken."""
    from volkit.data import load_photographs

    if picture.exists():
        return picture
    data = load_photographs(photos)
    camera = data.cameras[[data.names.index(VIEW)]]
    pose = [*camera.world_from_camera[0].tolist(), [0, 0, 0, 1]]
    job = {"path": str(mesh), "picture": str(picture), "world_from_camera": pose,
           "focal": float(camera.intrinsics[0, 0]), "size": int(camera.size[0, 0])}  # fmt: skip
    jobs = picture.with_suffix(".json")
    jobs.write_text(json.dumps([job]), encoding="utf-8")
    script = ROOT / "tests" / "engines" / "in_blender.py"
    subprocess.run([BLENDER, script, jobs, picture.with_suffix(".seen.json")], check=True)
    return picture


def draw_panels(work: Path, scenes: dict[str, Path], size: int) -> dict[str, Path]:
    """One picture of each, by its caption."""

    def drawn(name: str, *view: str) -> Path:
        return run_volkit(work / f"{name}.png", "render", scenes[name], "TARGET", "--background", "white", *view)

    photos = scenes["photos"]
    panels = {"photographs": photos / VIEW, "hash grid": drawn("grid", "--view", VIEW),
              "Gaussian splats": drawn("splats", "--cameras", str(work / "one_view.json"))}  # fmt: skip
    if BLENDER.exists():
        panels["mesh, in Blender"] = draw_by_blender(scenes["mesh"], photos, work / "mesh_blender.png")
    else:
        print("no Blender (make engines): volkit draws the mesh", file=sys.stderr)
        panels["mesh"] = drawn("mesh", "--cameras", str(work / "one_view.json"))
    return panels | {f'"{PROMPT}"': drawn("words", "--size", str(size))}


def keep_one_view(photos: Path, target: Path) -> None:
    """A transforms.json of the one camera from which all but the last picture are drawn."""
    data = json.loads((photos / "transforms.json").read_text(encoding="utf-8"))
    data["frames"] = [frame for frame in data["frames"] if frame["file_path"] == VIEW]
    target.write_text(json.dumps({k: v for k, v in data.items() if not k.endswith("_filenames")}), encoding="utf-8")


def join_panels(panels: dict[str, Path]) -> Image.Image:
    """Side by side over white, each above its caption."""
    pictures = {caption: Image.open(path).convert("RGBA") for caption, path in panels.items()}
    side = max(picture.width for picture in pictures.values())
    strip = Image.new("RGB", ((side + MARGIN) * len(pictures) - MARGIN, side + CAPTION_HEIGHT), "white")
    pen, font = ImageDraw.Draw(strip), ImageFont.load_default(13)
    for index, (caption, picture) in enumerate(pictures.items()):
        left = index * (side + MARGIN)
        strip.paste(picture, (left, (side - picture.height) // 2), picture)
        pen.text((left + side / 2, side + CAPTION_HEIGHT / 2), caption, fill=(60, 60, 60), font=font, anchor="mm")
    return strip


def main(arguments: list[str] | None = None) -> int:
    """Make the scenes, draw them, join the pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "strip", help="folder of what is made on the way")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "images" / "strip.png", help="picture to write")
    parser.add_argument("--quick", action="store_true", help="small and rough, in a minute")
    options = parser.parse_args(arguments)
    options.work.mkdir(parents=True, exist_ok=True)
    effort = QUICK if options.quick else FULL
    scenes = make_scenes(options.work, effort)
    keep_one_view(scenes["photos"], options.work / "one_view.json")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    join_panels(draw_panels(options.work, scenes, effort.size)).save(options.out, optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
