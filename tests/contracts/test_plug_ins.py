"""Kinds and formats of other packages: found by their entry points, without a call."""

import sys

import pytest
import torch

from volkit.geometry import Domain
from volkit.io import FORMATS, FormatError, check_target, describe, format_for, is_scene, load, register_format, save
from volkit.representations import (
    REPRESENTATIONS,
    HashGridConfig,
    RepresentationConfig,
    config_class,
    kinds,
    register_representation,
    trainable_kinds,
)

PACKAGE = """
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch

from volkit.io import Format
from volkit.representations import Field, FieldSample, RepresentationConfig


@dataclass(frozen=True)
class BallConfig(RepresentationConfig):
    kind: ClassVar[str] = "ball"
    radius: float = 0.5

    def build(self, domain, generator):
        return BallField(self, domain)


class BallField(Field):
    def __init__(self, config, domain):
        super().__init__(domain)
        self.config = config
        self.level = torch.nn.Parameter(torch.tensor(30.0))

    def density(self, positions):
        return self.level * (positions.norm(dim=-1) < self.config.radius)

    def query(self, points):
        return FieldSample(self.density(points.positions), {"rgb": points.positions.abs()})


def read(path):
    level, radius = path.read_text().split()[1:]
    field = BallField(BallConfig(float(radius)), __import__("volkit").geometry.Domain.cube(1.0))
    field.level.data.fill_(float(level))
    return field


def write(field, path):
    path.write_text(f"BALL {field.level.item()} {field.config.radius}")


BALL = Format("ball", (".ball",), ("ball",), None, lambda path: path.read_bytes()[:4] == b"BALL", read, write, "all")
"""
ENTRY_POINTS = """
[volkit.representations]
ball = balls_of_others:BallConfig
[volkit.formats]
ball = balls_of_others:BALL
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package on the path, as pip leaves it; forgotten afterwards."""
    monkeypatch.setitem(sys.modules, "balls_of_others", None)
    del sys.modules["balls_of_others"]
    folder = tmp_path / "site"
    (folder / "balls-1.0.dist-info").mkdir(parents=True)
    (folder / "balls-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: balls\nVersion: 1.0\n")
    (folder / "balls-1.0.dist-info" / "entry_points.txt").write_text(ENTRY_POINTS)
    (folder / "balls_of_others.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(folder)
    before = dict(REPRESENTATIONS), dict(FORMATS)
    yield folder
    for table, rows in zip((REPRESENTATIONS, FORMATS), before, strict=True):
        table.clear()
        table.update(rows)


def ball():
    return config_class("ball")(0.25).build(Domain.cube(1.0), torch.Generator())


def test_nothing_is_imported_until_it_is_asked_for(installed):
    assert "ball" in kinds() and "balls_of_others" not in sys.modules
    assert config_class("hash_grid") is HashGridConfig and "balls_of_others" not in sys.modules
    assert config_class("ball").kind == "ball" and "balls_of_others" in sys.modules


def test_a_kind_of_another_package_has_facts_and_is_a_student(installed):
    config = config_class("ball")
    assert issubclass(config, RepresentationConfig) and "ball" in trainable_kinds()
    assert config.batch_samples > 0 and config.activation_bytes > 0
    assert config.for_prior(32.0) == config() == config().for_pictures(64.0)
    assert [group.rule for group in ball().param_groups()] == ["adam"]


def test_a_kind_of_another_package_is_stored_in_our_file(installed, tmp_path):
    save(ball(), tmp_path / "a.safetensors")
    REPRESENTATIONS.pop("ball")
    again = load(tmp_path / "a.safetensors")
    assert again.config.radius == 0.25 and again.level.item() == 30.0


def test_a_file_says_which_kind_is_not_installed(installed, tmp_path, monkeypatch):
    save(ball(), tmp_path / "a.safetensors")
    REPRESENTATIONS.pop("ball")
    (installed / "balls-1.0.dist-info" / "entry_points.txt").write_text("")
    with pytest.raises(FormatError, match=r"unknown kind 'ball'.*install"):
        load(tmp_path / "a.safetensors")


def test_a_format_of_another_package_is_found_by_suffix_and_by_content(installed, tmp_path):
    path = tmp_path / "a.ball"
    check_target(path, "ball")
    save(ball(), path)
    FORMATS.pop("ball")
    assert is_scene(path)
    FORMATS.pop("ball")
    assert load(path).config.radius == 0.25
    FORMATS.pop("ball")
    path.rename(tmp_path / "a.bin")
    assert load(tmp_path / "a.bin").config.radius == 0.25 and is_scene(tmp_path / "a.bin")
    FORMATS.pop("ball")
    assert format_for(path).name == "ball" and format_for(path, "ball").name == "ball"
    FORMATS.pop("ball")
    assert "ball" in [row["name"] for row in describe()]


def test_a_package_that_fails_is_named_and_left_out(installed, tmp_path):
    (installed / "balls_of_others.py").write_text("raise RuntimeError('half installed')")
    with pytest.warns(RuntimeWarning, match="balls_of_others.*half installed"), pytest.raises(ValueError, match="ball"):
        config_class("ball")
    with pytest.warns(RuntimeWarning, match="balls_of_others"), pytest.raises(FormatError, match="names no format"):
        format_for(tmp_path / "a.ball")


def test_what_an_entry_point_names_must_be_that(installed):
    text = "[volkit.representations]\nball = volkit:version\n[volkit.formats]\nball = volkit:version\n"
    (installed / "balls-1.0.dist-info" / "entry_points.txt").write_text(text)
    with pytest.raises(ValueError, match="no configuration of the kind 'ball'"):
        config_class("ball")
    with pytest.raises(ValueError, match=r"not a volkit\.io\.Format"):
        describe()


def test_names_are_given_once(installed):
    with pytest.raises(ValueError, match="choose another name"):
        register_representation(type("Twin", (HashGridConfig,), {}))
    with pytest.raises(ValueError, match="choose another name"):
        register_format(type(FORMATS["ply"])("ply", (), (), None, lambda path: False, None, None, ""))
    assert register_representation(HashGridConfig) is HashGridConfig
    assert register_format(FORMATS["ply"]) is FORMATS["ply"]
