"""Memory of `volkit generate` under a prior of a real model's shape with random weights: nothing is downloaded.

python tools/measure_memory.py ../shared/data/diffusers/stable-diffusion-v1-5 --work out/memory --steps 2
python tools/measure_memory.py ../shared/data/diffusers/stable-diffusion-v1-5 --device cuda --precision float16
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
import json
import resource
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from cells import brief
from kept import keep

from volkit.commands.generate import GenerateJob
from volkit.progress import Progress

KEPT = ("prompt", "kind", "prior", "method", "scale", "steps", "seconds", "ms_per_step", "device", "backend")


def main() -> None:
    """Build the folder where there is none yet, run in a process of its own, keep the figures."""
    given = options()
    folder = given.work / given.configurations.name
    if not (folder / "model_index.json").is_file():
        with_random_weights(given.configurations, folder)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as apart:
        found = apart.submit(generated, folder, given).result()
    name = f"{given.configurations.name}-{given.device}-{given.precision}-{given.views}_views"
    keep(f"generation/memory-{name}", brief(found))
    print(json.dumps(found, indent=1, default=str))


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configurations", type=Path, help="folder in the format of diffusers; no weights are needed")
    parser.add_argument("--work", type=Path, default=Path("out/memory"), help="where weights and the asset go")
    parser.add_argument("--prompt", default="a chair")
    parser.add_argument("--suffix", default="safetensors", help="of the asset: safetensors a hash grid, ply splats")
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--views", type=int, default=4, help="of a step")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="float32", choices=["float32", "float16", "bfloat16"])
    return parser.parse_args()


def with_random_weights(source: Path, target: Path) -> None:
    """A copy of a folder of configurations, its networks in half precision with the weights that they begin with."""
    import diffusers
    import transformers

    part = target.with_name(target.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(source, part, copy_function=shutil.copyfile)
    index = json.loads((source / "model_index.json").read_text())
    torch.set_default_dtype(torch.bfloat16)
    torch.manual_seed(0)
    for name in [part for part in ("text_encoder", "vae", "unet") if part in index]:  # one seed, so one order
        owner, kind = index[name]
        config = json.loads((source / name / "config.json").read_text())
        if owner == "transformers":
            network = getattr(transformers, kind)(getattr(transformers, kind).config_class(**config))
        else:
            network = getattr(diffusers, kind).from_config(config)
        network.save_pretrained(part / name)
    torch.set_default_dtype(torch.float32)
    part.rename(target)


def generated(folder: Path, given: argparse.Namespace) -> dict[str, Any]:
    """What the command reports, and the most memory that its process held."""
    target = given.work / f"{given.prompt.replace(' ', '_')}.{given.suffix}"
    job = GenerateJob(
        given.prompt, target, prior=str(folder), budget=str(given.steps), views=given.views,
        device=given.device, precision=given.precision, checkpoint_seconds=1e9, force=True,
    )  # fmt: skip
    report = job.run(Progress())
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    gpu = torch.cuda.max_memory_allocated() / 2**30 if given.device == "cuda" else None
    found = {key: report[key] for key in KEPT} | {"prior": folder.name, "views": given.views}
    told = {"precision": given.precision, "threads": torch.get_num_threads()}
    return found | told | {"peak_gib": round(gib, 2), "peak_gpu_gib": gpu and round(gpu, 2)}


if __name__ == "__main__":
    main()
