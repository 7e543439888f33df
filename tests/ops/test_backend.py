"""The choice of an implementation: what is forced is honoured or refused, and nothing falls back unsaid."""

import json
import os
import re
import subprocess
import sys
import warnings

import pytest
import torch

from volkit.ops import backend

FLOATS = torch.zeros(2)


def test_forced_choice_nests_and_ends():
    with backend.use("reference"):
        assert backend.choose("op", FLOATS) == "reference"
        with backend.use("native"):
            assert backend.choose("op", FLOATS) == "native"
        assert backend.choose("op", FLOATS) == "reference"
    assert backend.choose("op", FLOATS) == "native"


def test_environment_is_read_and_checked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("VOLKIT_BACKEND", "reference")
    assert backend.choose("op", FLOATS) == "reference"
    monkeypatch.setenv("VOLKIT_BACKEND", "fast")
    with pytest.raises(ValueError, match="unknown backend 'fast'; choose one of auto"):
        backend.choose("op", FLOATS)


def test_double_goes_to_the_reference_only_under_auto():
    assert backend.choose("op", FLOATS.double()) == "reference"
    assert backend.choose("op", FLOATS.double(), dtypes=(torch.float64,)) == "native"
    with backend.use("native"), pytest.raises(RuntimeError, match="takes float32, not"):
        backend.choose("op", FLOATS.double())


def test_forced_choice_refuses_other_devices():
    with backend.use("cuda"), pytest.raises(RuntimeError, match="tensors are on cpu; move them"):
        backend.choose("op", FLOATS)
    with pytest.raises(ValueError, match="move them to one device"):
        backend.choose("op", FLOATS, torch.zeros(2, device="meta"))


def test_missing_extension_warns_once_or_raises(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(backend, "_native", None)
    monkeypatch.setattr(backend, "_warned", set())
    with pytest.warns(RuntimeWarning, match=r"many times slower: volkit\.ops\._native is not importable.*pip install"):
        assert backend.choose("op", FLOATS) == "reference"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend.choose("op", FLOATS) == "reference"
    with (
        backend.use("native"),
        pytest.raises(RuntimeError, match=r"forced but volkit\.ops\._native is not importable"),
    ):
        backend.choose("op", FLOATS)


def test_instruction_sets(isa: str):
    assert backend.isa() == isa
    assert str(backend.describe()["bfloat16_products"]).startswith("bfloat16" if "bf16" in isa else "float32")
    with pytest.raises(ValueError, match="choose one of: "):
        backend.use_isa("sse")
    assert backend.isa() == isa


def test_instruction_set_from_the_environment():
    weakest = str(backend.describe()["isas"][0])  # pyright: ignore[reportIndexIssue]
    code = "from volkit.ops import backend; print(backend.isa())"
    answer = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "VOLKIT_ISA": weakest}, capture_output=True
    )
    assert answer.stdout.decode().strip() == weakest, answer.stderr.decode()


def test_description_is_json_and_explains():
    before = set(sys.modules)
    description = json.loads(json.dumps(backend.describe()))
    assert re.fullmatch(r"works \(isa \w+, \d+ threads?\)", description["native"]), description["native"]
    assert description["isa"] in description["isas"] and f"isa {description['isa']}," in description["native"]
    assert description["libraries"].keys() == {"gsplat"}  # no other is wired
    for name, state in description["libraries"].items():
        assert state == "available" or state.startswith(name)
    assert "gsplat" not in sys.modules.keys() - before


def test_a_broken_backend_is_not_said_to_work(monkeypatch):
    monkeypatch.setattr(backend, "run", lambda *given, **fields: None)
    assert backend.describe()["native"].endswith("wrong numbers")  # pyright: ignore[reportAttributeAccessIssue]

    def fails(*given, **fields):
        raise RuntimeError("no such instruction")

    monkeypatch.setattr(backend, "run", fails)
    assert "fails" in backend.describe()["native"] and "no such" in backend.describe()["native"]
    with pytest.raises(ValueError, match="unknown library 'other'; known: gsplat"):
        backend.library_missing("other")
