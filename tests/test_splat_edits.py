"""Edits of splats: what each leaves is counted and looked at, their order matters, and what has no meaning is said."""

import json
from copy import deepcopy

import numpy as np
import pytest
import torch
from plyfile import PlyData

from volkit.cli import main
from volkit.commands.edits import EDIT_FORMS, apply_edits
from volkit.evaluation.evaluate import render_over
from volkit.evaluation.metrics import psnr
from volkit.geometry import Domain, Similarity
from volkit.io import load, save
from volkit.rendering.viewpoints import orbit_cameras
from volkit.representations import Mesh, Splats, SplatsConfig, VoxelsConfig

WHITE = (1.0, 1.0, 1.0)


def ball(count: int = 400, degree: int = 2, extras: tuple[str, ...] = ()) -> Splats:
    """Opaque splats of many colours, evenly on a unit sphere, a tenth wide."""
    generator = torch.Generator().manual_seed(0)
    splats = SplatsConfig(count, degree, extras=extras).build(Domain.cube(1.2), generator).requires_grad_(False)
    splats.means.copy_(torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1))
    splats.log_scales.fill_(0.1).log_()
    splats.logits.fill_(3.0)
    splats.sh_dc.copy_(torch.randn(splats.sh_dc.shape, generator=generator))
    splats.sh_rest.copy_(0.1 * torch.randn(splats.sh_rest.shape, generator=generator))
    return splats


def alike(a: Splats, b: Splats) -> float:
    """PSNR of one view, infinite where they are identical."""
    camera = orbit_cameras(a, 1, 64)
    return psnr(render_over(b, camera, WHITE), render_over(a, camera, WHITE)) or torch.inf


def test_faint_splats_go():
    splats = ball()
    splats.logits[:150] = torch.logit(torch.tensor(0.04))
    found = apply_edits(splats, ("opacity:0.05",))
    assert len(found) == 250 == found.config.count and bool((found.opacities >= 0.05).all())
    assert len(apply_edits(ball(), ("opacity:95%",))) == 400  # sigmoid(3) = 0.953


def test_size_is_that_of_the_world_as_it_is_by_then():
    def sized() -> Splats:
        splats = ball()
        splats.log_scales[:100, 1] = torch.tensor(0.5).log()  # its largest axis counts
        splats.log_scales[100:120] = torch.tensor(0.001).log()
        return splats

    assert len(apply_edits(sized(), ("size:0.4",))) == 300
    assert len(apply_edits(sized(), ("size:0.01,0.4",))) == 280
    assert len(apply_edits(sized(), ("size:0.4", "scale:8"))) == 300
    assert len(apply_edits(sized(), ("scale:8", "size:0.4"))) == 20  # 0.8 wide by then, but for the smallest


def test_floaters_go_and_nothing_else():
    pytest.importorskip("scipy")
    splats = ball()
    splats.means[[3, 77, 200]] = torch.tensor([[4.0, 0, 0], [0, -5.0, 0], [2.0, 2.0, 2.0]])
    kept = splats.means[[i for i in range(400) if i not in (3, 77, 200)]]
    # three far ones make the deviation large: of 400 others none is 2 deviations from the mean
    assert torch.equal(apply_edits(splats, ("floaters",)).means, kept)


def test_floaters_are_told_by_neighbours_and_ratio():
    pytest.importorskip("scipy")
    line = ball(11, 0)
    line.means.zero_()
    line.means[:, 0] = torch.tensor([*range(10), 13.0])
    wide = deepcopy(line)
    wide.log_scales[10, 0] = 0.5  # 1.65 wide, so that it reaches the next
    # mean distance to the nearest one: 1 ten times and 4 once; mean 14/11, deviation 0.86, so that 4 is 3.16 away
    assert len(apply_edits(line, ("floaters:1,3.2",))) == 11
    assert apply_edits(line, ("floaters:1,3.1",)).means[:, 0].tolist() == list(range(10))
    assert len(apply_edits(wide, ("floaters:1,3.1",))) == 11


def test_harmonics_of_lower_degree_are_the_same():
    splats = ball(degree=3)
    lower = splats.sh_rest[:, :3].clone()
    found = apply_edits(splats, ("sh:1",))
    assert found.config.degree == 1 and torch.equal(found.sh_rest, lower)
    padded = apply_edits(found, ("sh:3",))
    assert padded.config.degree == 3 and torch.equal(padded.sh_rest[:, :3], lower) and not padded.sh_rest[:, 3:].any()
    assert apply_edits(found, ("sh:0",)).sh_rest.shape == (400, 0, 3)


def test_a_ply_has_the_columns_of_degree_3_where_they_are_asked_for(tmp_path):
    """Fifteen a channel, as plug-ins of engines cut them, whatever the degree."""
    splats = apply_edits(ball(degree=3), ("sh:1",))
    save(splats, tmp_path / "a.ply")
    assert main(["convert", str(tmp_path / "a.ply"), str(tmp_path / "b.ply"), "--edit", "sh:3", "--no-measure"]) == 0
    found = PlyData.read(tmp_path / "b.ply")["vertex"]
    for k in range(15):
        for channel in range(3):
            wanted = splats.sh_rest[:, k, channel].detach().numpy() if k < 3 else 0.0
            assert (np.asarray(found[f"f_rest_{15 * channel + k}"]) == wanted).all()


@pytest.mark.parametrize(("wanted", "left"), [("0.5", 200), ("50%", 200), ("120", 120), ("1", 400), ("1000", 400)])
def test_decimation_leaves_a_share_or_a_count(wanted, left):
    found = apply_edits(ball(extras=("label:u4",)), (f"decimate:{wanted}",))
    assert len(found) == left == found.config.count
    found.check()  # columns that cannot be joined are left out with it


def test_decimation_takes_what_is_not_seen():
    splats = ball()
    splats.logits[200:] = -12.0  # fainter than the least that a picture of 8 bits shows
    found = apply_edits(splats, ("decimate:200",))
    assert float((found.opacities < 0.01).float().mean()) < 0.1  # half of all before; a few have no near neighbour


def test_decimation_looks_better_than_leaving_out_at_random():
    whole, random, found = ball(2000), ball(2000), apply_edits(ball(2000), ("decimate:0.7",))
    random.keep(torch.randperm(2000, generator=torch.Generator().manual_seed(1))[:1400])
    assert alike(whole, found) > alike(whole, random) + 1.0  # dB; 1.6 here


def test_edits_act_in_their_order():
    splats = ball()
    splats.logits[splats.means[:, 0] > 0] = -5.0
    count = int((splats.means[:, 0] <= 0).sum())
    found = apply_edits(splats, ("opacity:0.5", "translate:10,0,0", "crop:box:9.5,-2,-2,12,2,2"))
    assert 0 < len(found) < count
    assert bool((found.columns_in()["means"][:, 0] >= 9.5).all())
    with pytest.raises(ValueError, match="none of 400 splats is left"):
        apply_edits(ball(), ("crop:box:9.5,-2,-2,12,2,2", "translate:10,0,0"))


def test_the_domain_is_that_of_what_is_left():
    assert max(apply_edits(ball(), ("crop:sphere:1,0,0,0.5",)).domain.extent) < 1.5  # of 2.4


@pytest.mark.parametrize(("text", "said"), [
    ("opacity:2", "between 0 and 1"), ("sh:1.5", "degree 0 to 4"), ("decimate:0", "share above 0"),
    ("decimate:20.5", "whole count"), ("floaters:0,2", "whole one from 1"), ("scale:-1", "must be positive"),
    ("opacity", "needs 1 numbers"), ("floaters:3", "needs 0 or 2 numbers"), ("size:1,2,3", "needs 1 or 2 numbers"),
])  # fmt: skip
def test_numbers_that_cannot_be_are_said(text, said):
    with pytest.raises(ValueError, match=f"--edit {text}: .*{said}"):
        apply_edits(ball(20), (text,))


@pytest.mark.parametrize("name", ["opacity", "size", "floaters", "sh", "decimate"])
def test_what_is_for_splats_is_refused_elsewhere(name):
    field = VoxelsConfig(resolution=8, start=8, doublings=()).build(Domain.cube(1.0), torch.Generator())
    numbers = ",".join("1" * max(EDIT_FORMS[name].takes))
    with pytest.raises(ValueError, match=rf"--edit {name}.*is for splats, and the source is a voxels; .*--to splats"):
        apply_edits(field, (f"{name}:{numbers}",))
    mesh = Mesh.of(torch.eye(3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(ValueError, match="can be moved but not cut"):
        apply_edits(mesh, ("crop:sphere:0,0,0,1",))


def test_every_edit_is_in_the_help(capsys):
    main(["convert", "--help"])
    help_text = "".join(capsys.readouterr().out.replace("│", "").split())
    assert not [row.form for row in EDIT_FORMS.values() if row.form.replace(" ", "") not in help_text]


def test_files_are_joined_with_their_degrees_and_frames(tmp_path, capsys):
    left, right = ball(300, degree=1), ball(200, degree=3)
    right = right.view(placement=Similarity(translation=(5.0, 0.0, 0.0), scale=2.0))
    save(left, tmp_path / "left.ply")
    save(right, tmp_path / "right.safetensors")
    words = [str(tmp_path / name) for name in ("left.ply", "right.safetensors", "both.ply")]
    assert main(["convert", *words, "--compose", "--json", "--edit", "translate:1,0,0"]) == 0
    report, both = json.loads(capsys.readouterr().out), load(tmp_path / "both.ply")
    assert isinstance(both, Splats) and len(both) == 500 and both.config.degree == 3
    assert report["max_difference"] == 0.0 and len(report["source"]) == 2
    here, there = both.means[:300], both.means[300:]
    torch.testing.assert_close(here, left.means + torch.tensor([1.0, 0.0, 0.0]))
    torch.testing.assert_close(there, 2.0 * right.means + torch.tensor([6.0, 0.0, 0.0]))
    torch.testing.assert_close(both.scales[300:], torch.full((200, 3), 0.2))
    assert not both.sh_rest[:300, 3:].any() and torch.equal(both.sh_rest[:300, :3], left.sh_rest)


def test_surfels_join_splats_and_a_field_does_not(tmp_path, capsys):
    flat = SplatsConfig(50, 0, surfels=True).build(Domain.cube(1.0), torch.Generator())
    field = VoxelsConfig(resolution=8, start=8, doublings=()).build(Domain.cube(1.0), torch.Generator())
    for name, scene in (("a", flat), ("b", ball(50)), ("c", field)):
        save(scene, tmp_path / f"{name}.safetensors")
    words = [str(tmp_path / f"{name}.safetensors") for name in ("a", "b", "both")]
    assert main(["convert", *words, "--compose", "--no-measure"]) == 0
    both = load(tmp_path / "both.safetensors").requires_grad_(False)
    assert isinstance(both, Splats) and not both.config.surfels and float(both.scales[:50, 2].max()) < 1e-8
    words[1] = str(tmp_path / "c.safetensors")
    assert main(["convert", *words, "--compose", "--force"]) == 1
    assert "joins fields, or splats, and not splats, voxels" in capsys.readouterr().err
