"""DVGO checkpoints: an encoder from the layout's description, answers by hand in float64."""

import numpy as np
import pytest
import torch
from members import member
from mutants import survive

from volkit.geometry import Points
from volkit.io import FormatError, load
from volkit.representations.occupancy_bits import unpack_bits

LOWER, UPPER, SIZE, BANDS = (-1.0, -0.8, -1.2), (1.0, 0.9, 1.1), (4, 5, 6), 2


def checkpoint(kind="fine", seed=0):
    """`coarse` has colours alone, `fine` adds diffuse colour to a network, `direct` has the network alone."""
    generator = torch.Generator().manual_seed(seed)
    features = 3 if kind == "coarse" else 5
    state = {
        "xyz_min": torch.tensor(LOWER),
        "density.grid": torch.randn(1, 1, *SIZE, generator=generator) * 3,
        "k0.grid": torch.randn(1, features, *SIZE, generator=generator),
        "act_shift": torch.tensor([-2.0]),
        "mask_cache.mask": torch.ones(7, 6, 5, dtype=torch.bool),
    }
    if kind != "coarse":
        inputs = features - (0 if kind == "direct" else 3) + 3 + 6 * BANDS
        for name, rows, columns in (("0", 8, inputs), ("2.0", 8, 8), ("3", 3, 8)):
            state[f"rgbnet.{name}.weight"] = torch.randn(rows, columns, generator=generator) * columns**-0.5
            state[f"rgbnet.{name}.bias"] = torch.randn(rows, generator=generator)
    arguments = {
        "xyz_min": np.array(LOWER, np.float32), "xyz_max": np.array(UPPER, np.float32), "num_voxels": 120,
        "num_voxels_base": 1000, "alpha_init": 0.01, "voxel_size_ratio": torch.tensor(2.0), "density_type": "DenseGrid",
        "k0_type": "DenseGrid", "rgbnet_dim": 0 if kind == "coarse" else features, "rgbnet_direct": kind == "direct",
        "rgbnet_depth": 3, "rgbnet_width": 8, "viewbase_pe": BANDS, "mask_cache_path": None,
    }  # fmt: skip
    return {"global_step": 20000, "model_kwargs": arguments, "model_state_dict": state, "optimizer_state_dict": {}}


def interpolated(grid, unit):
    """Corners at the ends of the box: trilinear [C, X, Y, Z]."""
    place = unit * (np.array(SIZE) - 1)
    cell = np.minimum(np.floor(place).astype(int), np.array(SIZE) - 2)
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        x, y, z = (cell + corner).T
        total = total + grid[:, x, y, z] * np.where(corner, place - cell, 1 - (place - cell)).prod(-1)
    return total.T


def by_hand(content, positions, directions):
    state = {name: tensor.double().numpy() for name, tensor in content["model_state_dict"].items()}
    lower, upper = np.array(LOWER), np.array(UPPER)
    unit = (positions - lower) / (upper - lower)
    raw = interpolated(state["density.grid"][0], unit)[:, 0] + state["act_shift"][0]
    edge = ((upper - lower).prod() / content["model_kwargs"]["num_voxels_base"]) ** (1 / 3)
    density = np.log1p(np.exp(raw)) / edge
    k0 = interpolated(state["k0.grid"][0], unit)
    if "rgbnet.0.weight" not in state:
        return density, 1 / (1 + np.exp(-k0))
    direct = content["model_kwargs"]["rgbnet_direct"]
    scaled = np.concatenate([directions[:, [i]] * 2.0 ** np.arange(BANDS) for i in range(3)], 1)
    hidden = np.concatenate([k0 if direct else k0[:, 3:], directions, np.sin(scaled), np.cos(scaled)], 1)
    for name in ("0", "2.0", "3"):
        weight, bias = state[f"rgbnet.{name}.weight"], state[f"rgbnet.{name}.bias"]
        hidden = (hidden if name == "0" else np.maximum(hidden, 0)) @ weight.T + bias
    return density, 1 / (1 + np.exp(-(hidden if direct else hidden + k0[:, :3])))


def questions(count=200):
    generator = np.random.default_rng(4)
    directions = generator.normal(size=(count, 3))
    positions = np.array(LOWER) + generator.random((count, 3)) * (np.array(UPPER) - LOWER)
    return positions, directions / np.linalg.norm(directions, axis=1)[:, None]


def store(path, content):
    torch.save(content, path)
    return path


@pytest.mark.parametrize("kind", ["coarse", "fine", "direct"])
def test_answers(tmp_path, kind):
    content = checkpoint(kind)
    field = load(store(tmp_path / "fine_last.tar", content))
    positions, directions = questions()
    with torch.no_grad():
        answer = field.query(Points(torch.from_numpy(positions).float(), torch.from_numpy(directions).float()))
    density, rgb = by_hand(content, positions, directions)
    assert np.allclose(answer.density, density, rtol=1e-4, atol=1e-4)  # float32 positions in cells
    assert np.allclose(answer.rgb, rgb, atol=1e-5)  # same
    assert field.provenance["steps"] == 20000


def test_alpha_of_a_step_is_the_projects():
    """1 - (1 + exp(s + shift))^-interval equals 1 - exp(-softplus(s + shift) interval)."""
    raw, interval = np.linspace(-5, 5, 11), 0.7
    assert np.allclose(1 - (1 + np.exp(raw)) ** -interval, 1 - np.exp(-np.log1p(np.exp(raw)) * interval))


def test_published_parameter_count():
    """160^3 voxels with 12 features and 39 inputs of 128, as `configs/default.py` has them."""
    from volkit.geometry import Domain
    from volkit.representations import VoxelFeaturesConfig

    with torch.device("meta"):
        field = VoxelFeaturesConfig().build(Domain.cube(1.0), torch.Generator())
    network = (9 + 27) * 128 + 128 + 128 * 128 + 128 + 128 * 3 + 3
    assert sum(p.numel() for p in field.parameters()) == 160**3 * 13 + network


def test_known_free_space_is_not_occupied(tmp_path):
    content = checkpoint()
    content["model_state_dict"]["mask_cache.mask"][:, :, 2:] = False
    bits = unpack_bits(load(store(tmp_path / "fine_last.tar", content)).occupancy)
    z = sum(((torch.arange(128**3) >> (3 * bit + 2)) & 1) << bit for bit in range(7))
    assert bits[z < 60].all() and not bits[z > 66].any()  # corners 0 and 1 of 5 reach to the half of the box


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda c: c["model_kwargs"].update(mpi_depth=128), "forward-facing or unbounded"),
        (lambda c: c["model_kwargs"].update(k0_type="TensoRFGrid"), "its k0_type is 'TensoRFGrid'"),
        (lambda c: c["model_kwargs"].update(rgbnet_full_implicit=True), "fully implicit"),
        (lambda c: c["model_kwargs"].update(xyz_max=np.array([0.0, np.nan, 1.0])), "box|must lie below"),
        (lambda c: c["model_state_dict"].update({"k0.grid": torch.zeros(1, 5, 2, 2, 2)}), "its grids have shapes"),
        (lambda c: c["model_state_dict"].update({"rgbnet.3.bias": torch.zeros(4)}), "rgbnet"),
        (lambda c: c["model_state_dict"].update(act_shift=torch.tensor([torch.inf])), "not a tensor of finite numbers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, fact):
    content = checkpoint()
    change(content)
    with pytest.raises(FormatError, match=rf"fine_last\.tar: .*({fact})"):
        load(store(tmp_path / "fine_last.tar", content))


def test_mutants(tmp_path):
    path = store(tmp_path / "fine_last.tar", checkpoint())
    inside = member(path, "data.pkl")
    survive(path, path.read_bytes())
    survive(path, *inside)
