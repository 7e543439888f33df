"""`volkit edit`: actions in their order, from file to file, with the counts that are left."""

import json

import torch

import volkit
from volkit.cli import main
from volkit.geometry import Domain
from volkit.representations import SplatsConfig


def _scan(path):
    scene = SplatsConfig(count=60, degree=0).build(Domain.cube(1.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        scene.logits[:20] = -9.0
    volkit.save(scene, path)
    return scene


def test_actions_are_applied_in_their_order(tmp_path, capsys):
    scene = _scan(tmp_path / "a.ply")
    line = ["edit", str(tmp_path / "a.ply"), str(tmp_path / "b.ply")]
    assert main([*line, "--edit", "opacity:0.01", "--edit", "scale:2", "--edit", "translate:1,0,0", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["source_splats"] == 60 and report["splats"] == 40 and report["kind"] == "splats"
    before, after = (volkit.load(tmp_path / name) for name in ("a.ply", "b.ply"))
    moved = 2.0 * before.world_from_local.points(before.means[20:]) + torch.tensor([1.0, 0.0, 0.0])
    torch.testing.assert_close(after.world_from_local.points(after.means), moved)
    assert len(scene) == 60
    assert main([*line, "--edit", "scale:2"]) == 1 and "--force" in capsys.readouterr().err


def test_what_is_typed_wrongly_ends_with_two(tmp_path, capsys):
    _scan(tmp_path / "a.ply")
    line = ["edit", str(tmp_path / "a.ply"), str(tmp_path / "b.ply")]
    assert main(line) == 2 and "at least one --edit" in capsys.readouterr().err
    assert main([*line, "--edit", "floatrs"]) == 2 and "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "b.ply").exists()
