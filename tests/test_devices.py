"""Where tensors go: `--device` says so in words, and nothing is created anywhere else.

There need not be a GPU. While a step runs, the default device is `meta`: a tensor that does not follow its input ends
up there and cannot meet the others.
"""

import json
from pathlib import Path

import pytest
import torch

from volkit import cli
from volkit.data import Photographs
from volkit.devices import chosen_device, on_device, unverified
from volkit.distillation.field_training import FieldTrainee
from volkit.distillation.fit import FitSettings, trainee_from_photographs, untrained_scene
from volkit.distillation.pvd_objective import METHODS
from volkit.distillation.pvd_student import pvd_trainee
from volkit.distillation.stages import FieldPair
from volkit.geometry import Cameras, Domain
from volkit.io.opening import open_scene
from volkit.ops import backend
from volkit.rendering.viewpoints import distillation_cameras
from volkit.representations.hash_grid import HashGridConfig
from volkit.representations.mlp import MlpConfig
from volkit.representations.tensor_cp import TensorCPConfig
from volkit.representations.tensor_vm import TensorVMConfig
from volkit.representations.voxels import VoxelsConfig
from volkit.sampling.occupancy import stride_for
from volkit.training.loop import Budget, TrainingLoop

STUDENTS = {
    "hash_grid": HashGridConfig(levels=4, log2_table=10, width=16),
    "voxels": VoxelsConfig(resolution=8, start=8),
    "tensor_vm": TensorVMConfig(resolution=8, start=8),
    "tensor_cp": TensorCPConfig(resolution=8, start=8),
    "mlp": MlpConfig(layers=2, width=16),
}


@pytest.fixture(scope="module")
def photographs() -> Photographs:
    """Four views of nothing but noise, one of them held out, with alpha and masks."""
    generator = torch.Generator().manual_seed(0)
    turn = torch.arange(4.0) * torch.pi / 2
    centres = 3.0 * torch.stack([turn.cos(), turn.sin(), torch.full_like(turn, 0.3)], -1)
    cameras = Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 12.0, (12, 12))
    images = torch.randint(256, (4, 12, 12, 4), generator=generator, dtype=torch.uint8)
    mask = torch.ones(12, 12, dtype=torch.uint8)
    names = tuple("abcd")
    return Photographs(cameras, tuple(images), names, ("train",) * 3 + ("test",), Domain.cube(1.0), masks=(mask,) * 4)


@pytest.fixture
def nowhere(monkeypatch):
    """No CUDA, whatever the machine has."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("kind", STUDENTS)
def test_a_step_of_a_fit_creates_nothing_elsewhere(photographs, kind, monkeypatch):
    monkeypatch.setattr(type(STUDENTS[kind]), "batch_samples", 1 << 10)
    generator = torch.Generator().manual_seed(0)
    scene = untrained_scene(photographs, STUDENTS[kind], generator)
    student = trainee_from_photographs(scene, photographs, FitSettings(exposure=True), generator)
    assert isinstance(student, FieldTrainee)
    stepped(student)


def stepped(student: FieldTrainee) -> None:
    fit = TrainingLoop(student, Budget(steps=3))
    with torch.device("meta"):
        fit.run()
    assert fit.step == 3 and all(p.device.type == "cpu" for p in student.scene.parameters())


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_the_published_methods_creates_nothing_elsewhere(photographs, method):
    generator = torch.Generator().manual_seed(0)
    teacher = untrained_scene(photographs, STUDENTS["hash_grid"], generator).requires_grad_(False)
    student = STUDENTS["tensor_vm"].build(teacher.domain, generator).placed_like(teacher)
    cameras = distillation_cameras(teacher, 6, None, generator)
    pair = FieldPair(
        teacher, student, cameras, lambda rays: rays, stride_for(teacher.domain), near=0.1, generator=generator
    )
    stepped(pvd_trainee(pair, METHODS[method]))


def test_a_word_that_cannot_be_meant_is_one_line(capsys, nowhere, tmp_path):
    scene = str(Path(__file__).parent.parent / "scenes" / "primitives.json")
    for command in (("render", scene), ("compare", scene), ("convert", scene), ("fit", str(tmp_path))):
        assert cli.main([*command, str(tmp_path / "x.png"), "--device", "cuda"]) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1 and "device cuda" in err and "use device cpu" in err, command
    assert cli.main(["render", scene, "x.png", "--device", "tpu"]) == 2
    assert list(tmp_path.iterdir()) == []


def test_auto_takes_what_is_there(nowhere):
    assert chosen_device("auto").type == "cpu"
    with pytest.raises(ValueError, match="no such device"):
        chosen_device("tpu")


def test_a_generator_that_is_there_already_stays():
    generator = torch.Generator().manual_seed(3)
    assert on_device(generator, torch.device("cpu")) is generator


def test_the_device_is_reported(capsys, tmp_path):
    scene = open_scene(Path(__file__).parent.parent / "scenes" / "primitives.json", "cpu")
    assert scene.device.type == "cpu"  # of its buffers: it has no parameters
    source = str(Path(__file__).parent.parent / "scenes" / "primitives.json")
    target = str(tmp_path / "x.safetensors")
    assert cli.main(["convert", source, target, "--to", "hash_grid", "--device", "auto", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["device"] in ("cpu", "cuda")


def test_kernels_are_tried_before_they_are_taken(monkeypatch):
    """`auto` takes CUDA by what a small grid gave there, not by what the machine says of itself."""
    if backend.native_missing():
        pytest.skip(backend.native_missing())
    unverified.cache_clear()
    assert unverified("native") == ""
    monkeypatch.setattr(backend, "cuda_missing", lambda: "")
    tried = unverified("cuda")
    unverified.cache_clear()
    if not torch.cuda.is_available():
        assert "was tried" in tried and chosen_device("auto").type == "cpu"


def test_wrong_kernels_are_not_taken(monkeypatch):
    real = backend.run

    def wrong(op, on, **fields):
        real(op, on, **fields)
        if op == "hash_encode":
            fields["out"].mul_(1.5)

    if backend.native_missing():
        pytest.skip(backend.native_missing())
    unverified.cache_clear()
    monkeypatch.setattr(backend, "run", wrong)
    found = unverified("native")
    unverified.cache_clear()
    assert "does not answer as the reference" in found
