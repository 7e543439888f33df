"""torch-ngp's and ngp_pl's checkpoints: densities and colours against NumPy by the formulas of their own sources."""

import math

import numpy as np
import pytest
import torch

from volkit.geometry import Points
from volkit.io import FormatError, load, save
from volkit.representations.occupancy_bits import occupied_at, unpack_bits

PRIMES = np.array([1, 2654435761, 805459861], np.uint64)
CELLS = 128**3


def encoded(x, table, offsets, growth, base, padding):
    """`kernel_grid` of torch-ngp's gridencoder.cu, and tiny-cuda-nn's with `padding` 0, in float64; x in [0, 1]."""
    features = []
    for level in range(len(offsets) - 1):
        size = int(offsets[level + 1] - offsets[level])
        scale = np.float32(np.exp2(np.float32(level * np.log2(growth)))) * np.float32(base) - np.float32(1)
        edge = math.ceil(scale) + 1 + padding
        place = x * float(scale) + 0.5
        cell = np.floor(place)
        value = 0.0
        for corner in range(8):
            step = np.array([corner >> axis & 1 for axis in range(3)])
            vertex = (cell + step).astype(np.uint64)
            if edge**3 <= size:
                entry = vertex @ np.array([1, edge, edge * edge], np.uint64)
            else:
                entry = np.bitwise_xor.reduce(vertex * PRIMES & np.uint64(0xFFFFFFFF), axis=1)
            weight = np.where(step, place - cell, 1 - (place - cell)).prod(1)
            value = value + weight[:, None] * table[int(offsets[level]) + (entry % np.uint64(size)).astype(np.int64)]
        features.append(value)
    return np.concatenate(features, 1)


def harmonics(d):
    """tiny-cuda-nn's `sh_enc` of degree 4, signs and all; torch-ngp's shencoder is the same."""
    x, y, z = d.T
    rows = [
        0.28209479177387814 + 0 * x,
        -0.48860251190291987 * y, 0.48860251190291987 * z, -0.48860251190291987 * x,
        1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.94617469575755997 * z * z - 0.31539156525251999,
        -1.0925484305920792 * x * z, 0.54627421529603959 * (x * x - y * y),
        0.59004358992664352 * y * (-3 * x * x + y * y), 2.8906114426405538 * x * y * z,
        0.45704579946446572 * y * (1 - 5 * z * z), 0.3731763325901154 * z * (5 * z * z - 3),
        0.45704579946446572 * x * (1 - 5 * z * z), 1.4453057213202769 * z * (x * x - y * y),
        0.59004358992664352 * x * (-x * x + 3 * y * y),
    ]  # fmt: skip
    return np.stack(rows, 1)


def network(values, *matrices):
    for matrix in matrices[:-1]:
        values = np.maximum(values @ matrix.T, 0)
    return values @ matrices[-1].T


def points(half):
    """Places all over the cube, its outermost cells too, and directions."""
    random = np.random.default_rng(3)
    x = random.uniform(-half, half, (400, 3))
    x[:40] = np.sign(x[:40]) * half * (1 - 1e-3 * random.uniform(size=(40, 3)))
    d = random.normal(size=(400, 3))
    return x, d / np.linalg.norm(d, axis=1, keepdims=True)


def torch_ngp(bound=2.0, log2_table=14, levels=8, aligned=True):
    """A checkpoint by the names and sizes of `save_checkpoint` and `GridEncoder`, its growth, and its arrays."""
    generator = torch.Generator().manual_seed(1)
    growth = np.exp2(np.log2(2048 * bound / 16) / (levels - 1))
    sizes = [min(2**log2_table, (int(np.ceil(16 * growth**i)) + 1) ** 3) for i in range(levels)]
    sizes = [-(-size // 8) * 8 for size in sizes] if aligned else sizes
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    shapes = {"sigma_net.0": (64, 2 * levels), "sigma_net.1": (16, 64)}
    shapes |= {"color_net.0": (64, 31), "color_net.1": (64, 64), "color_net.2": (3, 64)}
    state = {f"{name}.weight": 0.3 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    state |= {"encoder.embeddings": 0.25 * torch.randn(int(offsets[-1]), 2, generator=generator),
              "encoder.offsets": torch.from_numpy(offsets),
              "aabb_train": torch.tensor([-bound] * 3 + [bound] * 3),
              "density_bitfield": torch.zeros(2 * CELLS // 8, dtype=torch.uint8)}  # fmt: skip
    state["density_bitfield"][CELLS // 8 :] = 255
    stats = {"loss": [0.1], "results": [np.float64(30.0)], "checkpoints": [], "best_result": None}
    return {"epoch": 3, "global_step": 900, "stats": stats, "mean_density": 1.0, "model": state}, growth


@pytest.mark.parametrize("aligned", [True, False])
def test_torch_ngp(tmp_path, aligned):
    stored, growth = torch_ngp(aligned=aligned)
    torch.save(stored, tmp_path / "ngp.pth")
    field = load(tmp_path / "ngp.pth")
    assert field.frame == "yup" and field.provenance["steps"] == 900 and field.config.kind == "hash_grid"
    state = {name: tensor.double().numpy() for name, tensor in stored["model"].items()}
    x, d = points(2.0)
    encoding = encoded((x + 2) / 4, state["encoder.embeddings"], state["encoder.offsets"], growth, 16, 1)
    h = network(encoding, state["sigma_net.0.weight"], state["sigma_net.1.weight"])
    colour = network(np.concatenate([harmonics(d), h[:, 1:]], 1), *(state[f"color_net.{k}.weight"] for k in range(3)))
    check(field, x, d, np.exp(h[:, 0]), 1 / (1 + np.exp(-colour)))


def check(field, x, d, density, colour):
    sample = field.query(Points(torch.from_numpy(x).float(), torch.from_numpy(d).float()))
    # float32 rounds places by 2e-4 of the finest cells, whose entries differ by half a unit
    np.testing.assert_allclose(sample.density.detach().numpy(), density, rtol=5e-3)
    np.testing.assert_allclose(sample.rgb.detach().numpy(), colour, atol=5e-3)


def store(path, stored):
    torch.save(stored, path)
    return path


def ngp_pl(scale=1.0):
    """A checkpoint by the names and sizes of `models/networks.py`, its growth, offsets, and its arrays."""
    generator = torch.Generator().manual_seed(2)
    growth = math.exp(math.log(2048 * scale / 16) / 15)
    edges = [math.ceil(16 * growth**i - 1) + 1 for i in range(16)]
    sizes = [min(-(-(edge**3) // 8) * 8, 2**19) for edge in edges]
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    shapes = ((64, 32), (16, 64), (64, 32), (64, 64), (16, 64))
    matrices = [0.3 * torch.randn(shape, generator=generator) for shape in shapes]
    table = 0.25 * torch.randn(int(offsets[-1]), 2, generator=generator)
    state = {
        "center": torch.zeros(1, 3), "xyz_min": -scale * torch.ones(1, 3), "xyz_max": scale * torch.ones(1, 3),
        "density_bitfield": torch.full((2 * CELLS // 8,), 255, dtype=torch.uint8),
        "xyz_encoder.params": torch.cat([matrices[0].ravel(), matrices[1].ravel(), table.ravel()]),
        "rgb_net.params": torch.cat([matrix.ravel() for matrix in matrices[2:]]),
    }  # fmt: skip
    stored = {"epoch": 29, "global_step": 30000, "pytorch-lightning_version": "1.7"}
    stored |= {"state_dict": {f"model.{name}": value for name, value in state.items()}}
    return stored, growth, offsets, table, matrices


def empty_ngp_pl():
    """A small file of one: its parameters are one zero, as often as is needed."""
    stored = ngp_pl()[0]
    for name in ("xyz_encoder.params", "rgb_net.params"):
        stored["state_dict"][f"model.{name}"] = torch.zeros(1).expand(len(stored["state_dict"][f"model.{name}"]))
    return stored


def test_ngp_pl(tmp_path):
    stored, growth, offsets, table, matrices = ngp_pl()
    field = load(store(tmp_path / "a.ckpt", stored))
    assert field.config.lookup == "tcnn" and field.provenance["steps"] == 30000
    x, d = points(1.0)
    x = 0.95 * x  # tiny-cuda-nn's outermost half cells wrap, as ours do, and as this NumPy does not
    exact = [matrix.double().numpy() for matrix in matrices]
    h = network(encoded((x + 1) / 2, table.double().numpy(), offsets, growth, 16, 0), *exact[:2])
    colour = network(np.concatenate([harmonics(d), h], 1), *exact[2:])[:, :3]
    check(field, x, d, np.exp(h[:, 0]), 1 / (1 + np.exp(-colour)))
    save(field, tmp_path / "b.ingp")
    torch.testing.assert_close(load(tmp_path / "b.ingp").table, field.table, atol=2e-3, rtol=1e-3)  # half precision


def test_bits_of_cascades_are_joined(tmp_path):
    stored, _ = torch_ngp()
    bits = torch.zeros(2, CELLS // 8, dtype=torch.uint8)
    bits[0, 0] = 1  # the cell at (-1, -1, -1) of the inner cube
    bits[1, -1] = 128  # the cell at (2, 2, 2) of the outer one
    stored["model"]["density_bitfield"] = bits.reshape(-1)
    torch.save(stored, tmp_path / "a.pth")
    field = load(tmp_path / "a.pth")
    inside = torch.tensor([[-0.999, -0.999, -0.999], [1.99, 1.99, 1.99], [0.0, 0.0, 0.0], [-1.99, -1.99, -1.99]])
    assert unpack_bits(field.occupancy).sum() == 2
    assert occupied_at(field.occupancy, field.domain.unit_from_local(inside)).tolist() == [True, True, False, False]


def test_a_field_of_torch_ngp_is_no_snapshot_of_instant_ngp(tmp_path):
    stored, _ = torch_ngp()
    torch.save(stored, tmp_path / "a.pth")
    field = load(tmp_path / "a.pth")
    with pytest.raises(FormatError, match="cannot hold these networks"):
        save(field, tmp_path / "b.ingp")
    save(field, tmp_path / "b.safetensors")
    assert load(tmp_path / "b.safetensors").config == field.config


@pytest.mark.parametrize(("name", "value", "fact"), [
    ("aabb_train", torch.tensor([-1.0, -1, -1, 1, 1, 2]), "no|not a cube"),
    ("encoder.offsets", torch.tensor([0, 8, 4920], dtype=torch.int32), "do not fit"),
    ("color_net.0.weight", torch.zeros(64, 30), "other inputs"),
    ("sigma_net.1.weight", torch.full((16, 64), torch.nan), "NaN"),
    ("encoder_bg.embeddings", torch.zeros(8, 2), "background model"),
])  # fmt: skip
def test_what_is_no_such_field_is_refused(tmp_path, name, value, fact):
    stored, _ = torch_ngp()
    stored["model"][name] = value
    torch.save(stored, tmp_path / "a.pth")
    with pytest.raises(FormatError, match=fact):
        load(tmp_path / "a.pth")
