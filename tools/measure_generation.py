"""Assets of a list of prompts by some methods: files, a table, and a contact sheet of two views of each.

python tools/measure_generation.py                                  the held-out prompts, by sds
python tools/measure_generation.py --prompts list.txt --methods sds vsd csd --work out/generation --sheet out/sheet.png
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parent))

from cells import measured
from generation_figures import figures, seen, spread
from generation_tables import generation_table
from measure_memory import with_random_weights

from volkit.commands.generate import GenerateJob
from volkit.evaluation.evaluate import write_picture
from volkit.files.bundled import bundled_folder
from volkit.generation import CameraSampler
from volkit.generation.build import TOY_PRIOR, ScoreSettings, open_guiding_prior, sample_cameras
from volkit.io import load
from volkit.progress import Progress
from volkit.training.loop import Budget
from volkit.typing import Float, Tensor

SHOWN, TILE = (0, 1), 96  # of eight views around: from the front, and from the front's right; pixels a side
ELEVATION = 20.0


def main() -> None:
    """Generate and measure what has no result yet; print the table, write the sheet."""
    options = _options()
    options.work.mkdir(parents=True, exist_ok=True)
    options.prior = _prepared(options)
    around = sample_cameras(open_guiding_prior(options.prior), ScoreSettings())
    timed = Budget.parse(options.budget).seconds is not None
    rows = []
    for prompt in _prompts(options):
        for method in options.methods:
            target = options.work / f"{_slug(prompt)}-{method}.{options.format}"
            name = f"generation/{options.name}/{target.stem}"
            run = lambda p=prompt, m=method, t=target: _cell(options, p, m, t, around)  # noqa: E731
            rows.append(measured(name, run, target, timed=timed))
    print(generation_table({method: [row for row in rows if row["method"] == method] for method in options.methods}))
    if options.sheet:
        write_picture(options.sheet, _sheet(rows, options, around))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompts", type=Path, help="a line each; by default the toy prior's held-out prompts")
    parser.add_argument("--only", choices=["plain", "marked"], help="of the held-out prompts")
    parser.add_argument("--first", type=int, help="so many of the prompts")
    parser.add_argument("--methods", nargs="+", default=["sds"])
    parser.add_argument("--prior", help="folder or hub name; by default the bundled toy prior")
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--to", help="kind of representation")
    parser.add_argument("--format", default="safetensors", help="suffix of the files")
    parser.add_argument("--scale", type=float)
    parser.add_argument("--sides", default="auto", choices=["auto", "words", "perp_neg", "none"])
    parser.add_argument("--blind", action="store_true", help="tell the prior no camera")
    parser.add_argument("--untrained", action="store_true", help="ask the prior's networks before any training")
    parser.add_argument("--particles", type=int, default=1, help="assets of each prompt, and how far they are apart")
    parser.add_argument("--name", default="toy", help="of the group of results")
    parser.add_argument("--work", type=Path, default=Path("out/generation"), help="where the assets go")
    parser.add_argument("--sheet", type=Path, help="picture to write")
    return parser.parse_args()


def _prompts(options: argparse.Namespace) -> list[str]:
    if options.prompts:
        found = [line.strip() for line in options.prompts.read_text(encoding="utf-8").splitlines() if line.strip()]
    else:
        held_out = json.loads((bundled_folder("toy_prior") / "held_out.json").read_text(encoding="utf-8"))
        found = [*held_out["plain"], *held_out["marked"]] if options.only is None else held_out[options.only]
    return found[: options.first]


def _prepared(options: argparse.Namespace) -> str | None:
    """The prior that was asked for, or a copy that knows nothing, or one whose defaults give it no camera."""
    prior = Path(options.prior or bundled_folder(TOY_PRIOR))
    if options.untrained:
        target = options.work / f"{prior.name}-untrained"
        if not target.exists():
            with_random_weights(prior, target)
    elif options.blind:
        target = options.work / f"{prior.name}-blind"
        shutil.copytree(prior, target, dirs_exist_ok=True)
        place = target / "distillation.json"
        place.write_text(json.dumps(json.loads(place.read_text(encoding="utf-8")) | {"camera": "silent"}))
    else:
        return options.prior
    return str(target)


def _cell(options: argparse.Namespace, prompt: str, method: str, target: Path, around: CameraSampler) -> dict[str, Any]:
    job = GenerateJob(
        prompt, target, to=options.to, prior=options.prior, method=method, scale=options.scale, sides=options.sides,
        budget=options.budget, particles=options.particles, force=True,
    )  # fmt: skip
    report = job.run(Progress())
    if options.particles > 1:
        return report | spread([load(path) for path in report["target"]], around)
    return report | figures(load(target), prompt, around)


def _slug(prompt: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", prompt.lower()).strip("_")


def _sheet(
    rows: list[dict[str, Any]], options: argparse.Namespace, around: CameraSampler
) -> Float[Tensor, "height width 3"]:
    """A row a prompt, two views a method."""
    cameras = around.turntable(8, TILE, ELEVATION)[list(SHOWN)]
    pictures = [torch.cat(list(seen(load(Path(row["target"][0])), cameras)[0]), 1) for row in _placed(rows, options)]
    across = len(options.methods)
    return torch.cat([torch.cat(pictures[i : i + across], 1) for i in range(0, len(pictures), across)])


def _placed(rows: list[dict[str, Any]], options: argparse.Namespace) -> list[dict[str, Any]]:
    """Kept results say nothing of folders: the assets lie in the folder of this run."""
    return [row | {"target": [options.work / Path(row["target"][0]).name]} for row in rows]


if __name__ == "__main__":
    main()
