"""What every entry of the table of representations promises."""

from dataclasses import asdict, replace

import pytest
import torch
from kinds import BOX, SMALL, missing_kinds, questions, small_field

from volkit.geometry import Domain, Points
from volkit.ops import backend
from volkit.representations import REPRESENTATIONS

KINDS = pytest.mark.parametrize("name", SMALL)


def test_every_kind_is_tested():
    assert missing_kinds() == set()


@KINDS
@pytest.mark.parametrize("contracted", [False, True])
def test_answers_have_shapes_and_are_finite(name, contracted):
    field = small_field(name, contracted=contracted)
    points = questions(257, reach=3.0)
    sample = field.query(points)
    assert sample.density.shape == (257,) and sample.rgb.shape == (257, 3)
    assert torch.isfinite(sample.density).all() and torch.isfinite(sample.rgb).all()
    assert (sample.density >= 0).all() and (sample.rgb >= 0).all()
    assert (sample.density > 0).any()


@KINDS
def test_density_alone_is_the_density_of_the_whole_answer(name):
    field = small_field(name)
    points = questions(100)
    with torch.no_grad():
        # Equal operations on equal numbers; matrix products of other widths may round differently.
        torch.testing.assert_close(field.density(points.positions), field.query(points).density, rtol=1e-5, atol=1e-6)


@KINDS
def test_nothing_is_outside_the_domain(name):
    field = small_field(name)
    points = questions(500, reach=3.0)
    outside = ~BOX.contains(points.positions)
    if not name.startswith("hash_grid"):  # whose domain is the cube around the box
        assert (field.query(points).density[outside] == 0).all()
    far = points.at(points.positions + 10.0)
    assert (field.query(far).density == 0).all() and (field.density(far.positions) == 0).all()


# A NeRF in local coordinates and DVGO's voxels are read from files alone, which say their densities per local unit.
OF_NO_SCALE = [name for name in SMALL if name != "mlp local" and not name.startswith("voxel_features")]


@pytest.mark.parametrize("contracted", [False, True])
@pytest.mark.parametrize("name", OF_NO_SCALE)
def test_an_untrained_field_in_other_units_has_the_same_optical_depth(name, contracted):
    small = Domain(BOX.lower, BOX.upper, contracted)
    large = Domain(tuple(256.0 * x for x in BOX.lower), tuple(256.0 * x for x in BOX.upper), contracted)
    here, there = (SMALL[name].build(box, torch.Generator().manual_seed(0)) for box in (small, large))
    points = questions(100).positions
    with torch.no_grad():
        # A power of two scales coordinates without rounding; 1e-6 is left for what divides by edges.
        torch.testing.assert_close(256.0 * there.density(256.0 * points), here.density(points), rtol=1e-6, atol=1e-9)


@KINDS
def test_no_points_are_no_answers(name):
    field = small_field(name)
    sample = field.query(questions(0))
    assert sample.density.shape == (0,) and sample.rgb.shape == (0, 3)


@KINDS
def test_a_configuration_survives_as_a_dictionary(name):
    config = SMALL[name]
    assert REPRESENTATIONS[config.kind](**asdict(config)) == config


@KINDS
def test_stored_tensors_rebuild_the_field(name):
    field = small_field(name)
    field.refine(1.0)
    field.occupancy.random_(generator=torch.Generator().manual_seed(3))
    again = SMALL[name].build(BOX, torch.Generator().manual_seed(9))
    again.load_state_dict({name: tensor.clone() for name, tensor in field.stored_tensors().items()})
    again.check()
    points = questions(64)
    with torch.no_grad():
        ours, theirs = field.query(points), again.query(points)
    assert torch.equal(ours.density, theirs.density) and torch.equal(ours.rgb, theirs.rgb)
    assert torch.equal(field.occupancy, again.occupancy)


@KINDS
def test_refining_keeps_what_was_there(name):
    field = small_field(name, seed=4)
    points = questions(200)
    with torch.no_grad():
        before = field.query(points)
        grown = field.refine(1.0)
        after = field.query(points)
    if not grown:
        assert torch.equal(before.density, after.density)
        return
    assert not field.refine(1.0)
    # Linear interpolation of a random coarse grid at half its spacing: kinks move, the field as a whole does not.
    for old, new in ((before.density, after.density), (before.rgb, after.rgb)):
        assert (new - old).abs().mean() < 0.25 * (old - old.mean(0)).abs().mean()


@KINDS
def test_every_parameter_has_one_rate_and_learns(name):
    field = small_field(name)
    groups = field.param_groups()
    listed = [parameter for group in groups for parameter in group.parameters]
    assert sorted(map(id, listed)) == sorted(map(id, field.parameters()))
    assert all(group.lr > 0 for group in groups) and len({group.name for group in groups}) == len(groups)
    sample = field.query(questions(400))
    (sample.density.sum() + sample.rgb.square().sum()).backward()
    assert all(p.grad is not None and bool((p.grad != 0).any()) for p in listed)


@KINDS
def test_gradients_add_up_in_place(name):
    field = small_field(name)
    points = questions(100)

    def descend() -> dict[str, torch.Tensor]:
        sample = field.query(points)
        (sample.density.sum() + sample.rgb.square().sum()).backward()
        return {key: p.grad.clone() for key, p in field.named_parameters() if p.grad is not None}

    once, twice = descend(), descend()
    for key, gradient in once.items():
        # Sums in another order: a few units in the last place of the largest entries.
        torch.testing.assert_close(twice[key], 2 * gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max()))


@KINDS
def test_gradients_are_those_of_the_formula(name):
    field = small_field(name).double()
    points = questions(7, reach=0.9, dtype=torch.float64)
    names = [key for key, _ in field.named_parameters()]

    def answer(positions, *values):
        with backend.use("reference"):
            sample = torch.func.functional_call(
                _Query(field), {f"field.{k}": v for k, v in zip(names, values, strict=True)}, (points.at(positions),)
            )
        return sample

    values = [p.detach().clone().requires_grad_() for p in field.parameters()]
    start = points.positions.clone().requires_grad_()
    # 1e-5: kinks of ReLU and cell borders are missed by a step of 1e-7 with these seeds.
    assert torch.autograd.gradcheck(answer, (start, *values), eps=1e-7, atol=1e-5, rtol=1e-4, fast_mode=True)


@KINDS
def test_penalties_are_finite_and_reach_parameters(name):
    field = small_field(name)
    losses = field.penalties(torch.Generator().manual_seed(0))
    if losses:
        total = torch.stack(list(losses.values())).sum()
        assert torch.isfinite(total)
        total.backward()
        assert any(p.grad is not None and bool((p.grad != 0).any()) for p in field.parameters())


@KINDS
def test_poisoned_questions_do_not_crash(name):
    field = small_field(name)
    points = questions(6)
    positions = points.positions.clone()
    positions[0] = torch.nan
    positions[1] = torch.inf
    positions[2] = 1e30
    positions[3] = 1e-42
    with torch.no_grad():
        sample = field.query(points.at(positions))
        clean = field.query(points)
    assert torch.isfinite(sample.density[2:]).all()
    # Neighbours of poison answer as ever; matrix products may group them differently.
    torch.testing.assert_close(sample.density[4:], clean.density[4:], rtol=1e-5, atol=1e-6)


def test_damaged_links_are_named():
    field = small_field("voxels")
    field.links[0, 0, 0] = len(field.density_data)
    with pytest.raises(ValueError, match="voxels"):
        field.check()


def test_impossible_configurations_are_refused():
    with pytest.raises(ValueError, match="27"):
        replace(SMALL["tensor_vm"], appearance_dim=12)


class _Query(torch.nn.Module):
    """Makes a field callable, so that its parameters can be arguments."""

    def __init__(self, field):
        super().__init__()
        self.field = field

    def forward(self, points: Points):
        sample = self.field.query(points)
        return sample.density, sample.rgb
