"""Refining and editing beside the truth: meshes of exact scenes, made worse and refined, or edited by words.

python tools/measure_rework.py                 eight shapes refined, four scenes edited, by the toy prior
python tools/measure_rework.py --budget 2m     so long each, in seconds; then nothing else may run on the machine

Every cell is a line `rework/...` of tools/results/summary.jsonl; a run that was stopped goes on with what is missing.
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).parent))

from cells import measured
from generation_figures import figures
from measure_mesh import in_world
from toy.grammar import parse
from toy.scenes import exact_scene

from volkit.commands.edit_with_prompt import EditWithPromptJob
from volkit.commands.refine import RefineJob
from volkit.evaluation.metrics import surface_distances
from volkit.generation import CameraSampler
from volkit.generation.build import ScoreSettings, open_guiding_prior, sample_cameras
from volkit.geometry import Domain
from volkit.io import load, save
from volkit.meshing.options import MeshOptions
from volkit.meshing.pipeline import extract_mesh
from volkit.progress import Progress
from volkit.representations import Mesh, Representation
from volkit.training.loop import Budget

REFINED = (
    "a red sphere", "a yellow cube", "a green cylinder", "an orange cone", "a blue torus", "a pink capsule",
    "a cyan cube on a purple cylinder", "a green sphere with a yellow nose",
)  # fmt: skip
EDITED = (
    ("a red sphere on a blue cube", "a red sphere on a green cube"),
    ("a yellow cone on a purple cube", "a pink cone on a purple cube"),
    ("a green cylinder beside a red cube", "a green cylinder beside an orange cube"),
    ("a cyan cube with a red nose", "a cyan cube with a yellow nose"),
)
MESH = MeshOptions(faces=3_000, texture=256, cells=96, maps="colour")
NOISE = 0.05  # of the vertices, in the cube from -1 to 1, where a pixel of the prior is 0.08 wide
BLUR = 13  # texels
POINTS, NEAR = 30_000, 0.02
QUIET = Progress()


def main() -> None:
    """Measure what has no result yet; print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="400", help="of each, steps or seconds")
    parser.add_argument("--first", type=int, help="so many of each list")
    parser.add_argument("--work", type=Path, default=Path("out/rework"))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    timed = Budget.parse(options.budget).seconds is not None
    around = sample_cameras(open_guiding_prior(), ScoreSettings())
    refined, edited = REFINED[: options.first], EDITED[: options.first]
    rows = [
        measured(f"rework/refined-{_name(p)}", lambda p=p: refine(options, p, around), timed=timed) for p in refined
    ]
    keys = ("psnr_before", "psnr", "iou_before", "iou", "chamfer_before", "chamfer")
    _print(("prompt", *keys), rows)
    rows = [
        measured(f"rework/edited-{_name(b)}", lambda a=a, b=b: edit(options, a, b, around), timed=timed)
        for a, b in edited
    ]
    _print(("prompt", "psnr_untouched", "share_untouched", "psnr_before", "psnr"), rows)


def refine(options: argparse.Namespace, prompt: str, around: CameraSampler) -> dict[str, Any]:
    """Of an exact mesh with noisy vertices and a blurred texture: how near to the exact scene, before and after."""
    worse, better = (options.work / f"{_name(prompt)}-{state}.glb" for state in ("worse", "better"))
    truth = exact_mesh(prompt)
    save(degraded(truth), worse)
    report = RefineJob(worse, prompt, better, budget=options.budget, force=True).run(QUIET)
    before, after = ({**figures(m, prompt, around), "chamfer": apart(m, truth)} for m in (load(worse), load(better)))
    return report | after | {f"{key}_before": before[key] for key in ("psnr", "iou", "chamfer")}


def edit(options: argparse.Namespace, source: str, prompt: str, around: CameraSampler) -> dict[str, Any]:
    """Of an exact mesh: what stayed, and how near it comes to the other exact scene."""
    asset, target = (options.work / f"{_name(words)}.glb" for words in (source, prompt))
    save(exact_mesh(source), asset)
    report = EditWithPromptJob(asset, source, prompt, target, budget=options.budget, force=True).run(QUIET)
    before = figures(load(asset), prompt, around)["psnr"]
    return report | figures(load(target), prompt, around) | {"psnr_before": before}


def exact_mesh(prompt: str) -> Mesh:
    """The scene that a prompt means, as a mesh with a texture."""
    field = exact_scene(parse(prompt)).build(Domain.cube(1.0), torch.Generator().manual_seed(0))
    return extract_mesh(field, MESH, size=200).mesh


def degraded(mesh: Mesh) -> Mesh:
    """Vertices moved at random, each texel the mean of its neighbours."""
    noise = torch.randn(mesh.vertices.shape, generator=torch.Generator().manual_seed(1))
    colours = mesh.texture.movedim(-1, 0)[None].float()
    spread = functional.pad(colours, [BLUR // 2] * 4, mode="replicate")
    blurred = functional.avg_pool2d(spread, BLUR, 1)[0].movedim(0, -1)
    return Mesh.of(
        mesh.vertices + NOISE * noise, mesh.faces, corner_uv=mesh.corner_uv, texture=blurred.to(mesh.texture.dtype)
    )


def apart(mine: Representation, truth: Mesh) -> float:
    """Chamfer distance between surfaces, in the cube from -1 to 1."""
    assert isinstance(mine, Mesh)
    generator = torch.Generator().manual_seed(0)
    found = (in_world(mesh).sample(POINTS, generator) for mesh in (mine, truth))
    return surface_distances(*found, NEAR).chamfer


def _name(prompt: str) -> str:
    return prompt.replace(" ", "_")


def _print(keys: tuple[str, ...], rows: list[dict[str, Any]]) -> None:
    print("| " + " | ".join(keys) + " |\n|" + "---|" * len(keys))
    for row in rows:
        cells = (f"{row[key]:.3f}" if isinstance(row[key], float) else str(row[key]) for key in keys)
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
