"""Hollows that nobody can look into are full, others stay."""

import torch

from volkit.meshing.isosurface import fill_inside

NOWHERE = torch.zeros(0, 3, dtype=torch.long)


def _block() -> torch.Tensor:
    """A block of matter in the middle of a lattice."""
    values = torch.full((24, 24, 24), -3.0)
    values[4:20, 4:20, 4:20] = 1.0
    return values


def test_hollows_are_full_and_the_open_is_not_touched() -> None:
    block = _block()
    hollow = block.clone()
    hollow[8:16, 8:16, 8:16] = -3.0
    tunnel = hollow.clone()
    tunnel[11:14, 11:14, 16:] = -3.0
    for values in (block, hollow, tunnel):
        found = fill_inside(values, NOWHERE, 3.0)
        assert (found[8:16, 8:16, 8:16] == 3.0).all()
        outside = block < 0
        assert (found[outside] == values[outside]).all()


def test_wide_openings_stay_open() -> None:
    values = _block()
    values[8:16, 8:16, 8:] = -3.0
    assert torch.equal(fill_inside(values, NOWHERE, 3.0)[9:15, 9:15, 8:], values[9:15, 9:15, 8:])


def test_a_room_with_a_camera_in_it_stays_empty() -> None:
    room = _block()
    room[6:18, 6:18, 6:18] = -3.0
    assert torch.equal(fill_inside(room, torch.tensor([[12, 12, 12]]), 3.0)[6:18, 6:18, 6:18], room[6:18, 6:18, 6:18])
    assert (fill_inside(room, NOWHERE, 3.0)[6:18, 6:18, 6:18] == 3.0).all()
