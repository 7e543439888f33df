"""Files of splats that we write, read by PlayCanvas' splat-transform: what it finds is what we find."""

from dataclasses import replace

import pytest
import torch
from clients import by_splat_transform
from cloud import cloud

from volkit.io import load, save


@pytest.mark.parametrize("suffix", ["ply", "compressed.ply", "spz", "sog"])
def test_it_finds_what_we_find(tmp_path, suffix):
    """Both decode the same bytes, in the same order; an .spz holds the axes of a .ply for it."""
    scene = cloud()
    scene = scene.view(placement=replace(scene.placement, frame="ydown"))
    ours, theirs = tmp_path / f"ours.{suffix}", tmp_path / "theirs.ply"
    save(scene, ours, spz_frame="ply")
    by_splat_transform(ours, theirs)
    mine, found = (_columns(load(path, spz_frame="ply")) for path in (ours, theirs))
    for name, column in mine.items():
        # Some operations of float32; of opacities the bytes 0 and 255, which each program keeps off 0 and 1 in its way.
        tolerance = 1e-3 if name == "logits" else 2e-6
        torch.testing.assert_close(found[name], column, atol=tolerance, rtol=0.0, msg=lambda text, n=name: n + text)


def _columns(splats):
    """Opacities for their logits, unit quaternions with a positive first part."""
    columns = {name: column.detach().double() for name, column in splats.columns_in().items()}
    turns = torch.nn.functional.normalize(columns["quaternions"], dim=-1)
    columns["quaternions"] = turns * torch.where(turns[:, :1] < 0, -1.0, 1.0)
    return columns | {"logits": torch.sigmoid(columns["logits"])}
