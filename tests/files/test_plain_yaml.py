"""Settings that others wrote: plain values, whatever code their tags name."""

import sys

import pytest
import yaml

from volkit.files.errors import FormatError
from volkit.files.plain_yaml import read_plain_yaml

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [{', '.join(f'*{a}' for _ in range(10))}]\n" for a, b in zip("abcdef", "bcdefg", strict=True)
)


def read(tmp_path, text):
    path = tmp_path / "config.yml"
    path.write_text(text, encoding="utf-8")
    return read_plain_yaml(path)


TAGS = {
    "object": ("a: !!python/object:nerfstudio.configs.Config\n  b: 0.5\n", {"a": {"b": 0.5}}),
    "tuple": ("a: !!python/tuple [1, 2]\n", {"a": [1, 2]}),
    "name": ("a: !!python/name:nerfstudio.models.Model ''\n", {"a": ""}),
    "path": ("a: !!python/object/apply:pathlib.PosixPath\n- data\n- fox\n", {"a": ["data", "fox"]}),
    "address": ("host: 0.0.0.0\n", {"host": "0.0.0.0"}),
    "alias": ("a: &id001\n- data\nb: *id001\n", {"a": ["data"], "b": ["data"]}),
    "none": ("", None),
}


@pytest.mark.parametrize("name", TAGS)
def test_tags_of_python_are_plain_nodes(tmp_path, name):
    text, wanted = TAGS[name]
    assert read(tmp_path, text) == wanted


CALLS = {"object/apply": "[]", "object/new": "[]", "name": "''", "module": "''", "object": "{}"}


@pytest.mark.parametrize("call", CALLS)
def test_no_tag_runs_or_imports(tmp_path, call, monkeypatch):
    """A harmless module that leaves a file as soon as it is imported: YAML's own loader does, ours does not."""
    left, module = tmp_path / "left", f"harmless_{call.replace('/', '_')}"
    (tmp_path / f"{module}.py").write_text(f"from pathlib import Path\nPath({str(left)!r}).touch()\nmade = dict\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = module if call == "module" else f"{module}.made"
    text = f"a: !!python/{call}:{name} {CALLS[call]}\nb: 1\n"
    assert read(tmp_path, text)["b"] == 1
    assert not left.exists() and module not in sys.modules
    yaml.unsafe_load(text)
    assert left.exists()


HOSTILE = {
    "laughs": (LAUGHS, "more than 65536 values"),
    "deep": ("a: " + "[" * 100 + "]" * 100, "nested more than 64"),
    "many": ("- 1\n" * 70_000, "more than 65536 values"),
    "itself": ("a: &a [*a]\n", "part of"),
    "long": ("# " + "x" * (1 << 20), "more than 1048576 bytes"),
    "tag": ("a: !thing 3\n", "could not determine a constructor"),
    "broken": ("a: [1, 2\n", "no plain YAML"),
    "key": ("? [1, 2]\n: 3\n", "unhashable"),
    "bytes": ("a: \x00\n", "no plain YAML"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_settings_are_not_is_refused(tmp_path, name):
    text, fact = HOSTILE[name]
    with pytest.raises(FormatError, match=rf"config\.yml: .*{fact}"):
        read(tmp_path, text)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FormatError, match=r"none\.yml: cannot be read"):
        read_plain_yaml(tmp_path / "none.yml")
