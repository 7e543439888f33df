"""Hostile and damaged files: a named error, nothing executed, nothing left behind."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from volkit.files.atomic import atomic_write
from volkit.files.restricted_pickle import LEGACY_MAGIC, load_pickled
from volkit.io import FormatError, load


class Command:
    """Runs a command when it is unpickled."""

    def __init__(self, function, *arguments):
        self.recipe = (function, arguments)

    def __reduce__(self):
        return self.recipe


ATTACKS = {
    "os.system": lambda mark: Command(os.system, f"touch {mark}"),
    "subprocess": lambda mark: Command(subprocess.check_output, ["touch", str(mark)]),
    "eval": lambda mark: Command(eval, f"open({str(mark)!r}, 'w').close()"),
    "open": lambda mark: Command(open, str(mark), "w"),
    "getattr": lambda mark: Command(getattr, "text", "upper"),
    "torch.load": lambda mark: Command(torch.load, str(mark)),
}


def poisoned(path, payload, legacy):
    content = {"model_coarse_state_dict": OrderedDict(a=torch.ones(2)), "model_fine_state_dict": payload}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("attack", ATTACKS)
def test_pickles_run_nothing(tmp_path, attack, legacy):
    mark, path = tmp_path / "executed", tmp_path / "model.ckpt"
    poisoned(path, ATTACKS[attack](mark), legacy)
    with pytest.raises(FormatError, match=r"model\.ckpt: .*; "):
        load(path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.ckpt"]


def test_the_refused_name_is_told(tmp_path):
    poisoned(tmp_path / "model.ckpt", Command(os.system, "true"), legacy=True)
    with pytest.raises(FormatError, match=r"'(posix|nt)\.system', which is code and not data"):
        load_pickled(tmp_path / "model.ckpt")


def test_bare_pickles_run_nothing(tmp_path):
    mark, path = tmp_path / "executed", tmp_path / "model.ckpt"
    path.write_bytes(pickle.dumps(Command(os.system, f"touch {mark}")))
    with pytest.raises(FormatError):
        load(path)
    assert not mark.exists()


def test_plain_data_is_let_in(tmp_path):
    content = {
        "tensor": torch.arange(6.0).view(2, 3),
        "array": np.arange(5, dtype=np.float32),
        "scalar": np.float64(2.5),
        "nested": [1, (2.5, "x"), {"a": None, 3: True}, OrderedDict(b=b"bytes")],
    }
    for legacy in (False, True):
        torch.save(content, tmp_path / "data.pt", _use_new_zipfile_serialization=not legacy)
        again = load_pickled(tmp_path / "data.pt")
        assert torch.equal(again["tensor"], content["tensor"]) and np.array_equal(again["array"], content["array"])
        assert again["scalar"] == 2.5 and again["nested"] == content["nested"]


@pytest.mark.parametrize("legacy", [False, True])
def test_truncated_pickles(tmp_path, legacy):
    path = tmp_path / "model.ckpt"
    poisoned(path, OrderedDict(b=torch.ones(1000)), legacy)
    data = path.read_bytes()
    for keep in (0, 1, 2, 14, 40, len(data) // 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:keep])
        with pytest.raises(FormatError, match=r"model\.ckpt"):
            load_pickled(path)


def test_flipped_bytes_never_crash(tmp_path):
    path = tmp_path / "model.ckpt"
    poisoned(path, OrderedDict(b=torch.ones(30)), legacy=True)
    data = bytearray(path.read_bytes())
    generator = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(data)
        damaged[generator.integers(0, len(data))] ^= 1 << generator.integers(0, 8)
        path.write_bytes(damaged)
        try:
            load_pickled(path)
        except FormatError as error:
            assert "model.ckpt" in str(error) and "\n" not in str(error)


def test_zip_bombs_are_refused_before_they_unpack(tmp_path):
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", pickle.dumps({"model_coarse_state_dict": {}}))
        archive.writestr("model/data/0", b"\0" * (64 << 20))
    with pytest.raises(FormatError, match="far more than its size"):
        load(path)


@pytest.mark.parametrize(
    "hollow",
    [
        torch.ones(1).expand(1 << 40),
        torch.sparse_coo_tensor(torch.zeros(1, 1).long(), torch.ones(1), (1 << 40,), check_invariants=True),
        torch.empty(1 << 40, device="meta"),
    ],
    ids=["repeated", "sparse", "empty"],
)
def test_tensors_without_memory_are_refused(tmp_path, hollow):
    """A few bytes must not become a terabyte when somebody copies the tensor."""
    torch.save({"deep": [{"inside": (hollow,)}]}, tmp_path / "model.ckpt")
    with pytest.raises(FormatError, match="holds fewer values"):
        load_pickled(tmp_path / "model.ckpt")


def test_a_storage_larger_than_memory(tmp_path):
    """A legacy file that announces a storage of a petabyte."""
    path = tmp_path / "model.ckpt"
    poisoned(path, OrderedDict(b=torch.ones(3)), legacy=True)
    data = path.read_bytes()
    assert data.startswith(LEGACY_MAGIC)
    huge = io.BytesIO(data.replace(b"K\x03Nt", b"\x8a\x07\x00\x00\x00\x00\x00\x00\x04Nt"))
    if huge.getvalue() == data:
        huge = io.BytesIO(data.replace(b"K\x03", b"\x8a\x07\x00\x00\x00\x00\x00\x00\x04"))
    path.write_bytes(huge.getvalue())
    with pytest.raises(FormatError, match=r"model\.ckpt"):
        load_pickled(path)


@pytest.mark.parametrize("name", ["scene.safetensors", "scene.ckpt", "scene.json", "scene.bin", "scene"])
@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"\xff" * 4096, b"PK\x03\x04" + b"\0" * 64, b"{}", b"[" * 5000])
def test_rubbish_of_every_name(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FormatError, match=r"scene.*: .*; "):
        load(tmp_path / name)


def test_a_write_that_fails_leaves_nothing(tmp_path):
    (tmp_path / "old.bin").write_bytes(b"old")
    for failure in (ValueError, KeyboardInterrupt):
        with pytest.raises(failure), atomic_write(tmp_path / "old.bin") as place:
            place.write_bytes(b"half")
            raise failure
    assert (tmp_path / "old.bin").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_named(tmp_path):
    with (
        pytest.raises(FormatError, match=r"full\.bin: cannot be written .*; free some space"),
        atomic_write(tmp_path / "full.bin") as place,
    ):
        place.unlink()
        place.symlink_to("/dev/full")
        place.write_bytes(b"x" * 100000)
    assert not list(tmp_path.iterdir())


LIMITED = """
import resource, signal, sys, torch
from volkit.io import FormatError
from volkit.files.tensor_file import write_state
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, 1 << 16))
try:
    write_state(sys.argv[1], torch.ones(1 << 16))
except FormatError as error:
    print(error)
"""


def test_a_disk_that_fills_while_tensors_are_written(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "state")], capture_output=True, text=True, check=False
    )
    assert "state: cannot be written" in done.stdout and not done.stderr, done.stderr
    assert not list(tmp_path.iterdir())
