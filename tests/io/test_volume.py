"""Plain volumes: arrays and JSON as any program writes them, and round trips."""

import json

import numpy as np
import pytest
import torch
from members import member
from mutants import survive

from volkit.geometry import Domain, Points, Similarity
from volkit.io import FormatError, load, save
from volkit.representations import Placement, Voxels, VoxelsConfig


def store(folder, about=None, **arrays):
    path = folder / "cloud.volume.npz"
    np.savez_compressed(path, **arrays)
    about = {"lower": [-1.0, 0.0, 2.0], "upper": [1.0, 3.0, 4.0]} if about is None else about
    (folder / "cloud.volume.json").write_text(json.dumps(about))
    return path


def grid(seed=0):
    generator = np.random.default_rng(seed)
    return {"density": generator.random((4, 6, 5)) + 0.1, "rgb": generator.random((4, 6, 5, 3))}


@pytest.mark.parametrize("coloured", [True, False])
def test_values_stand_at_cell_centres(tmp_path, coloured):
    arrays = grid()
    rgb = arrays["rgb"] if coloured else np.full((4, 6, 5, 3), 0.5)
    field = load(store(tmp_path, **(arrays if coloured else {"density": arrays["density"]})))
    cells = np.stack(np.meshgrid(*map(np.arange, (4, 6, 5)), indexing="ij"), -1).reshape(-1, 3)
    centres = np.array([-1.0, 0.0, 2.0]) + (cells + 0.5) * [0.5, 0.5, 0.4]
    directions = torch.tensor([[0.0, 0.6, 0.8]]).expand(len(centres), 3)
    with torch.no_grad():
        answer = field.query(Points(torch.from_numpy(centres).float(), directions))
    assert np.allclose(answer.density, arrays["density"].ravel(), atol=1e-5)  # float32 positions in cells
    assert np.allclose(answer.rgb, rgb.reshape(-1, 3), atol=1e-5)  # same


def test_round_trip(tmp_path):
    generator = torch.Generator().manual_seed(0)
    field = Voxels(VoxelsConfig(resolution=6, start=6), Domain((-1.0, -0.7, -1.2), (1.0, 0.9, 1.1)))
    field.keep(torch.rand(field.links.shape, generator=generator) < 0.5)
    with torch.no_grad():
        field.density_data.copy_(torch.rand(field.density_data.shape, generator=generator) + 0.1)
        field.sh_data.normal_(generator=generator)
    field = field.view(placement=Placement(Similarity(scale=3.0)), provenance={"note": "of a test"})
    save(field, tmp_path / "cloud.volume.npz")
    again = load(tmp_path / "cloud.volume.npz")
    for name in ("links", "density_data", "sh_data"):
        assert torch.equal(again.state_dict()[name], field.state_dict()[name]), name
    assert again.domain == field.domain and again.world_from_local == field.world_from_local
    assert again.provenance == field.provenance


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"density": np.zeros((4, 6))}, "3 axes"),
        ({"density": np.full((4, 6, 5), np.nan)}, "finite"),
        ({"rgb": np.zeros((4, 6, 4, 3))}, "its colours have shape"),
        ({"harmonics": np.zeros((4, 6, 5, 3, 5))}, "5 harmonics"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changed, fact):
    with pytest.raises(FormatError, match=rf"cloud\.volume\.npz: .*({fact})"):
        load(store(tmp_path, **{**grid(), **changed}))


def test_the_sidecar_is_needed(tmp_path):
    path = store(tmp_path, **grid())
    with pytest.raises(FormatError, match="must lie below"):
        load(store(tmp_path, about={"lower": [0, 0, 0], "upper": [0, 1, 1]}, **grid()))
    (tmp_path / "cloud.volume.json").write_text("[" * 3000)
    with pytest.raises(FormatError, match=r"cloud\.volume\.json: is not JSON"):
        load(path)
    (tmp_path / "cloud.volume.json").unlink()
    with pytest.raises(FormatError, match=r"cloud\.volume\.json: cannot be read .*; put it beside cloud\.volume\.npz"):
        load(path)


def test_mutants(tmp_path):
    path = store(tmp_path, **grid())
    inside = member(path, "density.npy")
    survive(path, path.read_bytes())
    survive(path, *inside, share=0.5)
