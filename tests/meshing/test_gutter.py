"""Texels beside charts: coarser pictures become finer ones without mixing charts."""

import torch

from volkit.meshing.paint import upsample


def test_a_ramp_stays_a_ramp() -> None:
    centres = (torch.arange(8) + 0.5) / 8
    fine = upsample(centres.expand(8, 8)[..., None], torch.ones(8, 8, dtype=torch.bool), 16)
    truth = ((torch.arange(16) + 0.5) / 16).clamp(centres[0], centres[-1])
    torch.testing.assert_close(fine[..., 0], truth.expand(16, 16), atol=1e-6, rtol=0)  # float32


def test_charts_do_not_mix() -> None:
    coarse, known = torch.full((8, 8, 1), 99.0), torch.zeros(8, 8, dtype=torch.bool)  # nobody may see the 99
    coarse[:, :2], coarse[:, 6:], known[:, :2], known[:, 6:] = 0.0, 1.0, True, True
    fine = upsample(coarse, known, 16)[..., 0]
    assert (fine[:, :8] == 0).all() and (fine[:, 8:] == 1).all()
