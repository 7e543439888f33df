"""Another library's eyes on what was written: its figures are in the report, and a disagreement is told."""

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from engines.assets import asset
from plyfile import PlyData

from volkit.cli import main
from volkit.conversion.options import FileOptions
from volkit.conversion.splats import convert_columns
from volkit.evaluation import second_reader
from volkit.geometry import Domain
from volkit.io import save
from volkit.io.meshes import gltf_writer
from volkit.io.splats import ply
from volkit.progress import Progress
from volkit.representations import Splats, SplatsConfig


@pytest.fixture
def source(tmp_path) -> Path:
    import torch

    splats = SplatsConfig(300, 1).build(Domain.cube(2.0), torch.Generator().manual_seed(0))
    assert isinstance(splats, Splats)
    save(splats, tmp_path / "a.ply")
    return tmp_path / "a.ply"


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(second_reader, "MAX_SHARE", 1e9)


def converted(source, target):
    return convert_columns(source, target, FileOptions(), 0, Progress())


@pytest.mark.parametrize("suffix", ["ply", "glb"])
def test_its_figures_are_in_the_report(source, tmp_path, patient, suffix):
    told = converted(source, tmp_path / f"b.{suffix}").as_dict()["second_reading"]
    assert told["library"].split()[0] == {"ply": "plyfile", "glb": "trimesh"}[suffix]
    assert told["agrees"] is True and told["splats"] == 300
    if suffix == "ply":
        vertex = PlyData.read(source)["vertex"]
        assert told["lower"] == [float(vertex[axis].min()) for axis in "xyz"]
        assert told["colour"] == pytest.approx([0.5] * 3, abs=1e-4)  # harmonics of 0: grey


def test_a_scene_that_was_edited_is_read_again_too(source, tmp_path, patient, capsys):
    line = ["convert", str(source), str(tmp_path / "b.ply"), "--edit", "opacity:0.01", "--size", "32", "--json"]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)["second_reading"]
    assert told["agrees"] is True and told["library"].startswith("plyfile")


def test_a_writer_that_errs_is_told(source, tmp_path, monkeypatch):
    """Of a swap that our reader swaps back nothing else would tell."""
    floats = ply._floats

    def mirrored(columns, order):
        return floats(columns | {"means": columns["means"] * np.array([1, 1, -1], np.float32)}, order)

    monkeypatch.setattr(ply, "_floats", mirrored)
    report = converted(source, tmp_path / "b.ply").as_dict()
    assert report["second_reading"]["agrees"] is False
    assert any("plyfile" in note and "reads other splats" in note for note in report["notes"])


def test_it_is_left_out_where_it_would_cost_too_much(source, tmp_path, monkeypatch):
    monkeypatch.setattr(time, "process_time", lambda: 1.0)
    assert "second_reading" not in converted(source, tmp_path / "b.glb").as_dict()
    assert "second_reading" not in converted(source, tmp_path / "b.spz").as_dict()
    assert "second_reading" not in converted(source, tmp_path / "b.compressed.ply").as_dict()


@pytest.mark.parametrize("suffix", ["glb", "gltf", "ply"])
def test_of_a_mesh_too(tmp_path, patient, capsys, monkeypatch, suffix):
    """Triangles, bounds, materials by name, colours of their textures; and a writer that errs is told."""
    whole = asset()
    save(whole.mesh, tmp_path / "a.safetensors")
    line = [
        "convert",
        str(tmp_path / "a.safetensors"),
        str(tmp_path / f"b.{suffix}"),
        "--size",
        "32",
        "--json",
        "--force",
    ]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)["second_reading"]
    assert told["agrees"] is True and told["library"].startswith("trimesh") and told["triangles"] == 1280
    corners = whole.mesh.view_in_frame("zup" if suffix == "ply" else "yup").world_from_local.points(whole.mesh.vertices)
    assert told["lower"] == pytest.approx(corners.amin(0).tolist(), abs=1e-5)


def test_a_writer_of_meshes_that_errs_is_told(tmp_path, patient, capsys, monkeypatch):
    """Of a swap of axes that our reader swaps back nothing else would tell."""
    save(asset().mesh, tmp_path / "a.safetensors")
    rows = gltf_writer._split_rows

    def mirrored(*given):
        found = rows(*given)
        return replace(found, positions=found.positions * [1, 1, -1])

    monkeypatch.setattr(gltf_writer, "_split_rows", mirrored)
    line = ["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.glb"), "--size", "32", "--json"]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["second_reading"]["agrees"] is False and any("reads another mesh" in note for note in told["notes"])


def test_a_library_that_fails_stops_no_conversion(tmp_path, patient, capsys, monkeypatch):
    """The file is written and was read by our own reader: that another cannot is told, no more."""
    save(asset().mesh, tmp_path / "a.safetensors")

    def refuses(*given, **more):
        raise RuntimeError("no such feature")

    monkeypatch.setattr("trimesh.load_scene", refuses)
    line = ["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.glb"), "--size", "32", "--json"]
    assert main(line) == 0
    told = json.loads(capsys.readouterr().out)
    assert "second_reading" not in told and any("no such feature" in note for note in told["notes"])
