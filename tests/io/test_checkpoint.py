"""States of unfinished work come back equal, bit for bit and type for type."""

import math

import pytest
import torch

from volkit.files.errors import FormatError
from volkit.files.tensor_file import read_state, write_state


def test_round_trip_is_exact(tmp_path):
    generator = torch.Generator().manual_seed(7)
    state = {
        "tensor": torch.randn(3, 4, generator=generator),
        "view": torch.arange(12.0).view(3, 4).t(),
        "channels_last": torch.randn(1, 3, 4, 5, generator=generator).contiguous(memory_format=torch.channels_last),
        "scalar": torch.tensor(3.25, dtype=torch.float64),
        "half": torch.randn(5, generator=generator).to(torch.bfloat16),
        "empty": torch.zeros(0, 3),
        "generator": generator.get_state(),
        "numbers": [1, -(2**80), 0.1, 1e-310, math.inf, True, None, "text \u00e9\n"],
        "tuple": (1, (2, [3])),
        0: {1: torch.ones(2, dtype=torch.int32)},
        "empties": [{}, [], ()],
    }
    write_state(tmp_path / "state.part", state)
    again = read_state(tmp_path / "state.part")
    assert list(again) == list(state)
    assert again["numbers"] == state["numbers"]
    assert [type(value) for value in again["numbers"]] == [type(value) for value in state["numbers"]]
    assert again["tuple"] == state["tuple"] and again["empties"] == state["empties"]
    for name in ("tensor", "view", "channels_last", "scalar", "half", "empty", "generator"):
        assert again[name].dtype == state[name].dtype and torch.equal(again[name], state[name])
    assert torch.equal(again[0][1], state[0][1])
    other = torch.Generator()
    other.set_state(again["generator"])
    assert torch.equal(torch.rand(9, generator=other), torch.rand(9, generator=generator))


def test_parts_of_one_tensor_do_not_drag_it_along(tmp_path):
    whole = torch.zeros(1 << 20)
    write_state(tmp_path / "small", {"a": whole[:4], "b": whole[2:6]})
    assert (tmp_path / "small").stat().st_size < 1000


def test_rewriting_does_not_change_what_was_read(tmp_path):
    path = tmp_path / "state"
    write_state(path, torch.zeros(1000))
    first = read_state(path)
    write_state(path, torch.ones(1000))
    assert first.sum() == 0 and read_state(path).sum() == 1000


def test_what_cannot_be_stored_is_named(tmp_path):
    with pytest.raises(TypeError, match="set"):
        write_state(tmp_path / "state", {"a": {1, 2}})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("keep", [0, 4, 8, 40, 200, -1])
def test_truncated_states_are_refused(tmp_path, keep):
    path = tmp_path / "state"
    write_state(path, {"a": torch.arange(100)})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FormatError, match="state"):
        read_state(path)
