"""Checkpoints of programs that are not read are told as what they seem to be, never as a damaged file of another."""

import numpy as np
import pytest
import torch

from volkit.io import FormatError, load

WEIGHT = torch.zeros(4, 3)
FILES = {
    "neus.pth": ({"nerf": {}, "sdf_network_fine": {"lin0.weight_v": WEIGHT}, "iter_step": 5}, "NeuS"),
    "nerfmm.pth": ({"epoch": 1, "model_state_dict": {"layers0.0.weight": WEIGHT}}, "NeRF--"),
    "barf.ckpt": ({"iter": 5, "graph": {"nerf.mlp_feat.0.weight": WEIGHT}}, "BARF"),
    "model.pt": ({"octpath": WEIGHT, "octlevel": WEIGHT, "_geo_grid_pts": WEIGHT}, "SVRaster"),
    "last.ckpt": ({"state_dict": {"geometry.encoding.encoding.params": WEIGHT}}, "threestudio"),
    "mipnerf.ckpt": ({"pipeline": {"_model.field.mlp_base.layers.0.weight": WEIGHT}}, "vanilla-nerf or mipnerf"),
    "step.ckpt": ({"pipeline": {"_model.field.other": WEIGHT}}, "nerfstudio, of a model that is not read"),
    "own.pth": ({"my_first": WEIGHT, "my_second": WEIGHT}, "no known program: it holds 'my_first', 'my_second'"),
}


@pytest.mark.parametrize("name", FILES)
def test_what_a_checkpoint_seems_to_be(tmp_path, name):
    content, told = FILES[name]
    torch.save(content, tmp_path / name)
    with pytest.raises(FormatError, match=told) as caught:
        load(tmp_path / name)
    assert "cannot be read as" not in str(caught.value)


def test_what_an_archive_of_arrays_holds(tmp_path):
    np.savez(tmp_path / "a.npz", xyz=np.zeros(3), hash=np.zeros(3), mlp=np.zeros(3))
    with pytest.raises(FormatError, match="Compact-3DGS"):
        load(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=np.zeros(3))
    with pytest.raises(FormatError, match="holds the arrays 'images': it is of no known format"):
        load(tmp_path / "b.npz")
