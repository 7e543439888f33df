"""Train a small diffusion model of simple solids: the prior that `volkit generate` uses unless told otherwise.

It sees pictures rendered from exact scenes, with captions such as "a blue cube on a green cylinder" and "a yellow cube
with a red nose", and is told the camera and the colour of the ground. There are four:

    pixels32   pictures of 32x32                         pixels64   pictures of 64x64
    latent     64x64, seen through its own autoencoder   views4     pixels32 that sees four sides at once

Time is counted on the CPU, so that a run may be stopped and go on. Where --work holds the state of an earlier run, it
is taken up, and goes on until --minutes are spent in all. The combinations of scenes/toy_prior/held_out.json are never
shown.

    python tools/train_toy_prior.py --minutes 60
    python tools/train_toy_prior.py --model views4 --minutes 30      (like the others it begins with pixels32)
    python tools/train_toy_prior.py --start scenes/toy_prior/pixels32 --rate 8e-4 --minutes 30 --out better --work new
"""

from volkit.threads import set_wait_policy

set_wait_policy()  # before torch is loaded

import argparse
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
SHIPPED = ROOT / "scenes" / "toy_prior"
RATES = {"pixels32": 1.5e-3, "pixels64": 1.5e-3, "latent": 1.5e-3, "views4": 6e-4}
AUTOENCODER, AUTOENCODER_RATE = 0.4, 2e-3  # the share of the latent prior's time that goes to its autoencoder


def main(arguments: list[str] | None = None) -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=list(RATES), default="pixels32")
    parser.add_argument("--minutes", type=float, default=60.0, help="of CPU time, earlier runs included (default 60)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, captions, cameras and noise")
    parser.add_argument("--start", type=Path, help="the prior whose weights it begins with (default: pixels32)")
    parser.add_argument("--rate", type=float, help="the highest of the learning rate (default: 6e-4 to 1.5e-3)")
    parser.add_argument("--batch", type=int, default=64, help="pictures of a step")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="default: all cores")
    parser.add_argument("--work", type=Path, default=ROOT / "out" / "toy_prior", help="where states and logs lie")
    parser.add_argument("--out", type=Path, default=SHIPPED, help="where MODEL/ is written")
    train(parser.parse_args(arguments))


def train(options: argparse.Namespace) -> None:
    """One prior from where it is to the end of its time."""
    from toy.denoising import Denoising, Reconstruction
    from toy.learning import learn
    from toy.networks import MODELS
    from toy.saving import save

    from volkit.guidance.pipeline.codec import PixelCodec

    torch.set_num_threads(options.threads)
    model, target, vae = MODELS[options.model], options.out / options.model, None
    codec, seconds = PixelCodec(model.side, model.block), 60.0 * options.minutes
    if model.latent:
        first = Reconstruction(model, options.seed, max(1, options.batch // 8))
        learn(first, _course(options, "autoencoder", AUTOENCODER * seconds, lambda log: None))
        seconds -= AUTOENCODER * seconds
        codec, vae = first.settle(), first.network
    learner = Denoising(model, codec, options.seed, options.batch)
    if start := options.start or (model.start and _nearest(options.out, model.start)):
        learner.parts.load(start)

    def show(log: Path) -> None:
        save(target, model, learner.parts, vae)
        shutil.copy(log, target / "training.jsonl")

    learn(learner, _course(options, options.model, seconds, show))


def _nearest(out: Path, name: str) -> Path:
    """A prior of this run, or that which comes with volkit."""
    return out / name if (out / name / "model_index.json").is_file() else SHIPPED / name


def _course(options: argparse.Namespace, name: str, seconds: float, show: Callable[[Path], None]):
    from toy.learning import Course

    options.work.mkdir(parents=True, exist_ok=True)
    state, log = options.work / f"{name}.pt", options.work / f"{name}.jsonl"
    log.touch()
    rate = AUTOENCODER_RATE if name == "autoencoder" else options.rate or RATES[name]
    return Course(seconds, rate, state, log, lambda: show(log))


if __name__ == "__main__":
    main()
