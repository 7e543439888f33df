"""Splats on the command line: fitted, converted both ways, thinned, looked into, edited."""

import json
import math

import pytest
import torch

from volkit.cli import main
from volkit.geometry import Domain
from volkit.io import save
from volkit.io.fields.analytic_scene import bundled
from volkit.representations import Splats, SplatsConfig


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Pictures of a bundled scene, splats fitted to them."""
    folder = tmp_path_factory.mktemp("splats")
    assert main(["render", str(bundled("primitives")), str(folder / "pictures"), "--size", "64"]) == 0
    target = folder / "splats.safetensors"
    words = ["fit", str(folder / "pictures"), str(target), "--to", "splats", "--budget", "250", "--max-splats", "4000"]
    assert main(words) == 0
    return folder


def _report(capsys, *words: str) -> dict:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_fitted_splats_look_like_their_pictures(fitted, capsys):
    report = _report(capsys, "compare", str(fitted / "splats.safetensors"), str(fitted / "pictures"))
    assert report["psnr"] > 20.0  # an untrained start has 10; 250 steps at 64 pixels


def test_surfels_are_fitted_and_stay_flat(fitted, capsys):
    from volkit.io import load

    target, fewer = fitted / "surfels.ply", fitted / "fewer.ply"
    _report(capsys, "fit", str(fitted / "pictures"), str(target), "--to", "splats", "--surfels", "--budget", "250",
            "--max-splats", "4000", "--force")  # fmt: skip
    assert _report(capsys, "inspect", str(target))["surfels"] is True
    assert _report(capsys, "compare", str(target), str(fitted / "pictures"))["psnr"] > 20.0  # as of 3D splats
    _report(capsys, "convert", str(target), str(fewer), "--max-splats", "1500", "--budget", "30", "--force")
    found = load(fewer)
    assert isinstance(found, Splats) and found.config.surfels and len(found) == 1500


def test_splats_become_surfels(fitted, capsys, tmp_path):
    words = [str(fitted / "splats.safetensors"), str(tmp_path / "a.ply"), "--surfels", "--budget", "60"]
    assert _report(capsys, "convert", *words)["psnr_to_source"] > 22.0  # 60 steps after flattening
    assert _report(capsys, "inspect", str(tmp_path / "a.ply"))["surfels"] is True


def test_surfels_are_splats(fitted, capsys):
    words = ["convert", str(fitted / "splats.safetensors"), str(fitted / "b.safetensors"), "--to", "mlp", "--surfels"]
    assert main(words) == 2 and "--to splats" in capsys.readouterr().err


def test_degrees_are_of_splats(fitted, capsys):
    words = ["fit", str(fitted / "pictures"), str(fitted / "c.safetensors"), "--sh-degree", "1", "--budget", "2"]
    assert main(words) == 2 and "--to splats" in capsys.readouterr().err


def test_fewer_harmonics(fitted, capsys, tmp_path):
    from volkit.io import load

    source, target = str(fitted / "splats.safetensors"), tmp_path / "plain.ply"
    _report(capsys, "convert", source, str(target), "--sh-degree", "1", "--budget", "20")
    found = load(target)
    assert isinstance(found, Splats) and found.config.degree == 1 and found.sh_rest.shape[1] == 3
    assert main(["convert", source, str(target), "--sh-degree", "5", "--force"]) == 2
    assert "0 to 4" in capsys.readouterr().err


def test_splats_to_a_field_and_back(fitted, capsys, small_kinds):
    grid, again = fitted / "grid.safetensors", fitted / "again.ply"
    report = _report(capsys, "convert", str(fitted / "splats.safetensors"), str(grid), "--to", "hash_grid",
                     "--budget", "150", "--force")  # fmt: skip
    assert report["from"] == "splats" and report["psnr_to_source"] > 22.0  # 150 steps; 12 where nothing is learnt
    report = _report(capsys, "convert", str(grid), str(again), "--to", "splats", "--budget", "150", "--max-splats",
                     "3000", "--force")  # fmt: skip
    assert report["psnr_to_source"] > 22.0 and again.stat().st_size <= 3000 * 248 + 2000
    assert report["parameters"] == 59 * report["splats"]  # of those that were written, however many it began with


def test_splats_are_looked_into(fitted, capsys):
    report = _report(capsys, "inspect", str(fitted / "splats.safetensors"))
    assert report["kind"] == "splats" and 0 < report["count"] <= 4000 and report["degree"] == 3
    assert len(report["opacity_histogram"]) == 10 and sum(report["opacity_histogram"]) == report["count"]
    assert report["odd"]["not finite"] == 0


def test_bad_splats_are_refused_or_dropped(capsys, tmp_path):
    splats = SplatsConfig(20, 1).build(Domain.cube(1.0), torch.Generator())
    with torch.no_grad():
        splats.means[3] = math.nan
        splats.quaternions[5] = 0.0
    save(splats, tmp_path / "a.ply")
    assert main(["render", str(tmp_path / "a.ply"), str(tmp_path / "a.png")]) == 1
    assert "2 splats" in capsys.readouterr().err
    assert main(["render", str(tmp_path / "a.ply"), str(tmp_path / "a.png"), "--drop-bad"]) == 0
    assert _report(capsys, "inspect", str(tmp_path / "a.ply"))["odd"]["not finite"] == 2


def test_a_mere_change_of_format_keeps_every_splat(fitted, capsys, tmp_path):
    from volkit.io import load

    source = fitted / "splats.safetensors"
    report = _report(capsys, "convert", str(source), str(tmp_path / "a.ply"))
    assert report["steps"] == 0
    ours, theirs = load(tmp_path / "a.ply"), load(source)
    assert all(torch.equal(a, b) for a, b in zip(ours.columns, theirs.columns, strict=True))


def test_fewer_splats_that_still_look_alike(fitted, capsys, tmp_path):
    source = fitted / "splats.safetensors"
    report = _report(capsys, "convert", str(source), str(tmp_path / "a.ply"), "--max-splats", "1500", "--budget", "60")
    assert (tmp_path / "a.ply").stat().st_size <= 1500 * 248 + 2000
    assert report["psnr_to_source"] > 24.0  # a third of the splats, 60 steps


def test_edits_cut_and_move_splats(fitted, capsys, tmp_path):
    from volkit.io import load

    source, target = str(fitted / "splats.safetensors"), tmp_path / "a.ply"
    words = ["--edit", "crop:sphere:0,0,0,0.5", "--edit", "scale:2", "--edit", "translate:1,0,0"]
    _report(capsys, "convert", source, str(target), *words)
    whole, part = load(source), load(target)
    assert 0 < len(part) < len(whole)
    assert ((part.means - torch.tensor([1.0, 0.0, 0.0])).norm(dim=-1) <= 1.0 + 1e-5).all()
