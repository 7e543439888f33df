"""Work that goes on from a file ends where unbroken work does, also with parameters that grow or lie channels last."""

import pytest
import torch
from test_devices import photographs  # noqa: F401

from volkit.distillation.fit import FitSettings, trainee_from_photographs, untrained_scene
from volkit.files.tensor_file import read_state, write_state
from volkit.representations.tensor_cp import TensorCPConfig
from volkit.representations.tensor_vm import TensorVMConfig
from volkit.representations.voxels import VoxelsConfig
from volkit.training.loop import Budget, TrainingLoop

STEPS, BREAK = 8, 6
GROWING = {
    "tensor_vm": TensorVMConfig(resolution=12, start=6),
    "tensor_cp": TensorCPConfig(resolution=12, start=6),
    "voxels": VoxelsConfig(resolution=12, start=6),
}


def fitted(seen, kind: str) -> TrainingLoop:
    generator = torch.Generator().manual_seed(0)
    scene = untrained_scene(seen, GROWING[kind], generator)
    return TrainingLoop(trainee_from_photographs(scene, seen, FitSettings(), generator), Budget(steps=STEPS))


class Stop(Exception):
    """The power is cut."""


@pytest.mark.parametrize("kind", GROWING)
def test_resumed_work_is_the_same_work(photographs, kind, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr(type(GROWING[kind]), "batch_samples", 1 << 10)
    path = tmp_path / "state.part"

    def watch(info, losses, fit) -> None:
        if info.step == BREAK:
            write_state(path, fit.state())

    whole = fitted(photographs, kind)
    started = {name: tuple(p.shape) for name, p in whole.trainee.scene.named_parameters()}
    whole.run([watch])
    resumed = fitted(photographs, kind)
    resumed.load_state(read_state(path))
    assert resumed.step == BREAK
    resumed.run()
    ours, theirs = (dict(fit.trainee.scene.named_parameters()) for fit in (resumed, whole))
    assert {name: tuple(p.shape) for name, p in theirs.items()} != started  # it has grown before the break
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(ours[name].stride() == theirs[name].stride() for name in theirs)
