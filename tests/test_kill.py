"""kill -9 at random moments of a fit and of a conversion: the last good state stays, no half file, the same end."""

import json
import multiprocessing
import os
import random
import signal
from dataclasses import dataclass
from pathlib import Path

import imageio.v3 as imageio
import pytest
import torch

from volkit.commands.convert import ConvertJob
from volkit.commands.fit import FitJob
from volkit.files.tensor_file import read_state
from volkit.io import load
from volkit.progress import Progress
from volkit.representations.hash_grid import HashGridConfig

SMALL = HashGridConfig(levels=4, log2_table=10, width=16)
KILLS = 20 if "VOLKIT_FUZZ_SEED" in os.environ else 8
STEPS = "120"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Six views of a red disc, as a Blender folder."""
    root = tmp_path_factory.mktemp("disc")
    (root / "train").mkdir()
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(24.0), indexing="ij")
    disc = ((x - 11.5) ** 2 + (y - 11.5) ** 2 < 49).float()
    image = (torch.stack([disc, 0 * disc, 0 * disc, disc], -1) * 255).to(torch.uint8).numpy()
    frames = []
    for k in range(6):
        turn = torch.tensor(k * torch.pi / 3)
        c, s = float(turn.cos()), float(turn.sin())
        pose = [[-s, 0, c, 4 * c], [c, 0, s, 4 * s], [0, 1, 0, 0], [0, 0, 0, 1]]
        imageio.imwrite(root / "train" / f"r_{k}.png", image)
        frames.append({"file_path": f"./train/r_{k}", "transform_matrix": pose})
    (root / "transforms_train.json").write_text(json.dumps({"camera_angle_x": 0.69, "frames": frames}))
    return root


def run(job) -> None:
    torch.set_num_threads(1)
    job.run(Progress())


def killed_until_done(job, target: Path, seed: int) -> int:
    """Run, kill, look, resume, until the target is there; returns how many kills it survived."""
    moments = random.Random(seed)
    # Children of a server that has imported everything start at once, and no thread pool is forked.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["volkit.commands.convert", "volkit.commands.fit", "torch._dynamo"])
    kills = 0
    while not target.exists():
        child = context.Process(target=run, args=(job,))
        child.start()
        if kills < KILLS:
            child.join(moments.uniform(0.2, 1.2))
        child.join(None if kills >= KILLS else 0)
        if child.is_alive():
            os.kill(child.pid, signal.SIGKILL)
            child.join()
            kills += 1
        part = target.with_name(target.name + ".part")
        if part.exists():
            read_state(part)  # raises when it is not whole
        if target.exists():
            load(target)
    return kills


@dataclass(frozen=True)
class Same:
    """Tensors that must be equal bit for bit."""

    path: Path

    def tensors(self) -> dict[str, torch.Tensor]:
        return load(self.path).stored_tensors()


def assert_same(a: Path, b: Path) -> None:
    ours, theirs = Same(a).tensors(), Same(b).tensors()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def fit_job(dataset: Path, target: Path) -> FitJob:
    return FitJob(
        dataset, target, budget=STEPS, resume=True, config=SMALL, checkpoint_seconds=0.05, domain="-2,-2,-2,2,2,2"
    )


def test_a_killed_fit_ends_where_an_unbroken_one_does(dataset, tmp_path):
    broken, whole = tmp_path / "broken" / "disc.safetensors", tmp_path / "whole" / "disc.safetensors"
    for path in (broken, whole):
        path.parent.mkdir()
    assert killed_until_done(fit_job(dataset, broken), broken, seed=1) > 0
    torch.set_num_threads(1)
    fit_job(dataset, whole).run(Progress())
    assert_same(broken, whole)
    assert [path.name for path in broken.parent.iterdir()] == [broken.name]


def test_a_killed_conversion_ends_where_an_unbroken_one_does(dataset, tmp_path):
    source = tmp_path / "disc.safetensors"
    fit_job(dataset, source).run(Progress())
    broken, whole = tmp_path / "broken" / "disc.safetensors", tmp_path / "whole" / "disc.safetensors"
    for path in (broken, whole):
        path.parent.mkdir()

    def job(target: Path) -> ConvertJob:
        return ConvertJob(
            (source, target), budget=STEPS, resume=True, config=HashGridConfig(levels=3, log2_table=9, width=16),
            checkpoint_seconds=0.05,
        )  # fmt: skip

    assert killed_until_done(job(broken), broken, seed=2) > 0
    torch.set_num_threads(1)
    job(whole).run(Progress())
    assert_same(broken, whole)
    assert [path.name for path in broken.parent.iterdir()] == [broken.name]
