"""K-Planes checkpoints: an encoder from the layout's description, answers by hand in float64."""

import numpy as np
import pytest
import torch
from by_hand import harmonics, matrices, network
from members import member
from mutants import survive

from volkit.geometry import Points
from volkit.io import FormatError, load
from volkit.io.fields.tcnn import TcnnNetwork

AXES, CHANNELS, SIZES = ((0, 1), (0, 2), (1, 2)), 8, ((4, 5, 6), (8, 10, 12))
BOX = ((-1.0, -0.8, -1.2), (1.0, 0.9, 1.1))


def checkpoint(contracted=False, seed=0):
    """Content of a file, and its matrices in float64."""
    generator = np.random.default_rng(seed)
    sigma, colour = matrices(generator, 32, 1, CHANNELS * len(SIZES), 16), matrices(generator, 32, 2, 32, 16)
    state = {"field.aabb": torch.tensor(BOX)}
    for scale, size in enumerate(SIZES):
        for index, (a, b) in enumerate(AXES):
            plane = generator.uniform(0.1, 1.5, size=(1, CHANNELS, size[b], size[a]))
            state[f"field.grids.{scale}.{index}"] = torch.from_numpy(plane).float()
    for name, layers in (("sigma_net", sigma), ("color_net", colour)):
        flat = np.concatenate([layer.ravel() for layer in layers])
        state[f"field.{name}.params"] = torch.from_numpy(flat).float()
    if contracted:
        state["field.spatial_distortion.global_translation"] = torch.tensor([0.1, 0.2, -0.3])
        state["field.spatial_distortion.global_scale"] = torch.tensor([0.5, 0.4, 0.5])
    return {"model": state, "optimizer": {}, "lr_scheduler": None, "global_step": 30000}, sigma, colour


def bilinear(plane, x, y):
    """[C, height, width] with its corner texels at the ends, x along the width."""
    place = np.stack([y * (plane.shape[1] - 1), x * (plane.shape[2] - 1)])
    cell = np.minimum(np.floor(place).astype(int), np.array(plane.shape[1:])[:, None] - 2)
    total = 0.0
    for corner in np.ndindex(2, 2):
        weight = np.where(np.array(corner)[:, None], place - cell, 1 - (place - cell)).prod(0)
        total = total + weight * plane[:, cell[0] + corner[0], cell[1] + corner[1]]
    return total.T


def by_hand(content, sigma, colour, unit, directions):
    features = []
    for scale in range(len(SIZES)):
        product = 1.0
        for index, (a, b) in enumerate(AXES):
            plane = content["model"][f"field.grids.{scale}.{index}"][0].double().numpy()
            product = product * bilinear(plane, unit[:, a], unit[:, b])
        features.append(product)
    hidden = network(sigma, np.concatenate(features, 1), 1.0)
    raw = network(colour, np.concatenate([harmonics(directions), hidden[:, :15]], 1), 1.0)[:, :3]
    return np.exp(hidden[:, 15] - 1), 1 / (1 + np.exp(-raw))


def store(path, content):
    torch.save(content, path)
    return path


def directions_of(generator, count):
    directions = generator.normal(size=(count, 3))
    return directions / np.linalg.norm(directions, axis=1)[:, None]


@pytest.mark.parametrize("contracted", [False, True])
def test_answers(tmp_path, contracted):
    content, sigma, colour = checkpoint(contracted)
    field = load(store(tmp_path / "model.pth", content))
    generator = np.random.default_rng(3)
    directions = directions_of(generator, 300)
    if contracted:
        world = generator.normal(size=(300, 3)) * 3
        moved = world * [0.5, 0.4, 0.5] + [0.1, 0.2, -0.3]
        norm = np.abs(moved).max(-1, keepdims=True)
        unit = np.where(norm > 1, (2 - 1 / norm) * moved / norm, moved) / 4 + 0.5
    else:
        unit = generator.random((300, 3))
        world = np.array(BOX[0]) + unit * (np.array(BOX[1]) - BOX[0])
    with torch.no_grad():
        answer = field.query(Points(torch.from_numpy(world).float(), torch.from_numpy(directions).float()))
    density, rgb = by_hand(content, sigma, colour, unit, directions)
    assert np.allclose(answer.density, density, rtol=1e-3)  # float32 products of planes, exponentiated
    assert np.allclose(answer.rgb, rgb, atol=1e-4)  # same
    assert field.provenance["steps"] == 30000


def test_published_parameter_count():
    """The hybrid model for NeRF's synthetic scenes: 32 features of 128, 256, 512 squared, networks of 64."""
    from volkit.geometry import Domain
    from volkit.representations import PlanesConfig

    with torch.device("meta"):
        field = PlanesConfig(resolution=128, scales=(1, 2, 4)).build(Domain.cube(1.5), torch.Generator())
    planes = 3 * 32 * (128**2 + 256**2 + 512**2)
    networks = TcnnNetwork(96, 16, 64, 1).parameters + TcnnNetwork(31, 3, 64, 2).parameters
    assert sum(p.numel() for p in field.parameters()) == planes + networks
    assert networks == 96 * 64 + 64 * 16 + 32 * 64 + 64 * 64 + 64 * 16


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda m: m.update({"field.grids.0.3": m["field.grids.0.0"]}), "4 planes per scale"),
        (lambda m: m.update({"field.color_basis.params": torch.zeros(4)}), "linear"),
        (lambda m: m.update({"field.appearance_embedding.weight": torch.zeros(4, 4)}), "appearance"),
        (lambda m: m.update({"field.sigma_net.params": torch.zeros(40)}), "MlpShape|40 parameters"),
        (lambda m: m.update({"field.grids.1.2": torch.zeros(1, 8, 3, 3)}), "do not fit each other"),
        (
            lambda m: m.update({"field.grids.1.2": torch.full((1, 8, 12, 10), torch.nan)}),
            "not a tensor of finite numbers",
        ),
        (lambda m: m.pop("field.color_net.params"), "color_net"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, fact):
    content = checkpoint()[0]
    change(content["model"])
    with pytest.raises(FormatError, match=rf"model\.pth: .*({fact})"):
        load(store(tmp_path / "model.pth", content))


def test_mutants(tmp_path):
    path = store(tmp_path / "model.pth", checkpoint()[0])
    inside = member(path, "data.pkl")
    survive(path, path.read_bytes())
    survive(path, *inside)
