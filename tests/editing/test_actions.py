"""Actions over objects: the old scene stays, the new one shares nothing, sizes and ground are those of what is seen."""

from dataclasses import dataclass, replace
from functools import cache

import pytest
import torch
from torch.nn.functional import normalize

from volkit.editing import Action, Crop, Decimate, Erase, Fit, Ground, KeepOpacity, Merge, Move, edit
from volkit.editing.move import robust_box
from volkit.geometry import Box, Domain, Similarity
from volkit.representations import Ball, Mesh, Placement, Splats, SplatsConfig, VoxelsConfig


def shell(count: int = 300) -> Splats:
    """Small opaque splats evenly on a unit sphere."""
    generator = torch.Generator().manual_seed(0)
    splats = SplatsConfig(count, 1).build(Domain.cube(1.2), generator).requires_grad_(False)
    splats.means.copy_(normalize(torch.randn(count, 3, generator=generator), dim=-1))
    splats.log_scales.fill_(0.01).log_()
    splats.logits.fill_(3.0)
    return splats


@cache
def block():
    """A field of even fog, 2 x 1 x 1, in the middle of a larger box."""
    config = VoxelsConfig(resolution=16, start=16, doublings=())
    field = config.build(Domain.cube(2.0), torch.Generator().manual_seed(0)).requires_grad_(False)
    field.density_data.fill_(50.0)
    return edit(field, [Crop(Box((-1.0, -0.5, -0.5), (1.0, 0.5, 0.5)))])


def stored(scene) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in scene.state_dict().items()}


@pytest.mark.parametrize("actions", [
    [Crop(Ball((0.0, 0.0, 1.0), 1.0))], [Move.scale(2.0)], [Decimate(0.5)], [KeepOpacity(0.2), Fit(3.0), Ground()],
], ids=["crop", "move", "decimate", "several"])  # fmt: skip
def test_the_old_scene_stays_and_shares_nothing(actions):
    old = shell()
    before, place, config = stored(old), old.world_from_local, old.config
    new = edit(old, actions)
    assert new is not old and not {t.data_ptr() for t in old.parameters()} & {t.data_ptr() for t in new.parameters()}
    for parameter in new.parameters():
        parameter.add_(1.0)
    new.keep(torch.zeros(len(new), dtype=torch.bool))
    assert (old.world_from_local, old.config) == (place, config)
    assert all(torch.equal(tensor, before[name]) for name, tensor in old.state_dict().items())


def test_a_field_that_was_cut_is_no_view_of_the_old_one():
    field = VoxelsConfig(resolution=8, start=8, doublings=()).build(Domain.cube(1.0), torch.Generator())
    field.requires_grad_(False).density_data.fill_(5.0)
    cut = edit(field, [Erase(Box((-2.0, -2.0, -2.0), (0.0, 2.0, 2.0)))])
    field.density_data.zero_()
    left, right = cut.density(torch.tensor([[-0.5, 0.0, 0.0], [0.5, 0.0, 0.0]])).tolist()
    assert left == 0.0 and right > 1.0


@pytest.mark.parametrize("make", [shell, block], ids=["splats", "field"])
def test_fit_sets_the_longest_side_about_the_centre(make):
    scene = edit(make(), [Move.translate(3.0, 0.0, 0.0)])
    before, after = (torch.stack(robust_box(each)) for each in (scene, edit(scene, [Fit(0.3)])))
    # what is seen ends between two lattice cells of a field or two of 300 splats
    assert float((after[1] - after[0]).max()) == pytest.approx(0.3, rel=0.02)
    torch.testing.assert_close(after.mean(0), before.mean(0), atol=0.01 * 2.0, rtol=0.0)  # 1 % of the size before


def test_fit_asks_about_what_is_seen_and_not_about_what_flies_away():
    scene = shell()
    scene.means[0] = torch.tensor([90.0, 0.0, 0.0])
    assert edit(scene, [Fit(1.0)]).world_from_local.scale == pytest.approx(0.5, rel=0.05)  # of a ball 2 wide


def test_the_box_of_a_turned_scene_is_that_of_the_world():
    turned = edit(block(), [Move.rotate("z", 45.0)])
    lower, upper = robust_box(turned)
    wide = (2.0 + 1.0) / 2.0**0.5  # of a 2 x 1 rectangle on its corner
    # a thousandth of the fog is cut off at each of the two corners, sqrt(0.004) of their legs, and cells are 0.03 wide
    assert (upper - lower).tolist() == pytest.approx([wide, wide, 1.0], abs=0.2)
    mesh = Mesh.of(torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 2, 0], [9, 9, 9]]), torch.tensor([[0, 1, 2]]))
    assert robust_box(mesh)[1].tolist() == [1.0, 2.0, 0.0]  # the vertex that no face has is not seen


def test_ground_stands_upright_on_the_origin():
    scene = shell().view(placement=Placement(frame="ydown"))
    scene.means[:, 1] *= 2.0  # 4 high, for -y is up
    scene = edit(scene, [Move.translate(5.0, 7.0, 9.0)])
    found = edit(scene, [Ground()])
    lower, upper = robust_box(found)
    assert found.frame == "zup"
    assert (0.5 * (lower + upper))[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-3)  # float32 columns, 9 away
    assert float(lower[2]) == pytest.approx(0.0, abs=1e-3)  # the same
    assert float(upper[2]) == pytest.approx(4.0, rel=0.05)  # the ends of 300 random splats
    assert found.columns_in()["means"][:, 2].min() > -0.05  # a splat's reach


def test_merging_is_an_action():
    other = shell(50).view(placement=Similarity(translation=(4.0, 0.0, 0.0)))
    found = edit(shell(), [Merge((other,)), Crop(Box((2.0, -2.0, -2.0), (6.0, 2.0, 2.0)))])
    assert isinstance(found, Splats) and len(found) == 50 and len(other) == 50


@dataclass(frozen=True)
class Lift(Action):
    """An action of a user's own."""

    by: float

    def change(self, scene, generator):
        lifted = scene.with_()
        lifted.means[:, 2] += self.by
        return lifted


def test_an_action_of_ones_own():
    old = shell()
    new = edit(old, [Lift(2.0)])
    torch.testing.assert_close(new.means[:, 2], old.means[:, 2] + 2.0)
    field = VoxelsConfig(resolution=8, start=8, doublings=()).build(Domain.cube(1.0), torch.Generator())
    with pytest.raises(ValueError, match="Lift is for splats, and the source is a voxels"):
        edit(field, [Lift(2.0)])


def test_actions_are_values():
    assert Decimate(0.5) == Decimate(0.5) and hash(Fit(1.0)) == hash(Fit(1.0))
    assert replace(Fit(1.0), size=2.0) == Fit(2.0)
    for wrong in (lambda: Fit(0.0), lambda: Decimate(2.5), lambda: KeepOpacity(2.0), lambda: Box((0, 0, 0), (1, 0, 1))):
        with pytest.raises(ValueError):
            wrong()
