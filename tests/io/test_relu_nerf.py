"""Networks as the paper has them, in the checkpoints of two programs, against what these answer."""

import pytest
import torch
from mutants import survive
from test_nerf_checkpoint import encoded, questions
from torch.nn.functional import linear

from volkit.io import load

NAMES = {
    "yenchenlin": ("pts_linears.{}", 0, ("feature_linear", "alpha_linear", "views_linears.0", "rgb_linear")),
    "nerf_pl": ("xyz_encoding_{}.0", 1, ("xyz_encoding_final", "sigma", "dir_encoding.0", "rgb.0")),
}
SUFFIX = {"yenchenlin": "200000.tar", "nerf_pl": "epoch=15.ckpt"}


def model(kind, width=80, layers=8, skip=5, seed=0):
    """A list of layers as they are asked, and the state by that program's names."""
    generator = torch.Generator().manual_seed(seed)
    pattern, first, ends = NAMES[kind]
    sizes = [(width, 63)] + [(width, width + 63 * (k == skip)) for k in range(1, layers)]
    sizes += [(width, width), (1, width), (width // 2, width + 27), (3, width // 2)]
    names = [pattern.format(k + first) for k in range(layers)] + list(ends)
    made = [
        (torch.randn(*s, generator=generator) * s[1] ** -0.5, torch.randn(s[0], generator=generator)) for s in sizes
    ]
    made[layers + 1][0].abs_()  # so that there is matter: its inputs are at least 0
    state = {}
    for name, (weight, bias) in zip(names, made, strict=True):
        state |= {f"{name}.weight": weight, f"{name}.bias": bias}
    return made, state


def store(folder, kind, state):
    path = folder / SUFFIX[kind]
    if kind == "yenchenlin":
        content = {"global_step": 7, "network_fn_state_dict": model(kind, seed=9)[1], "network_fine_state_dict": state}
    else:
        coarse = {f"nerf_coarse.{name}": tensor for name, tensor in model(kind, seed=9)[1].items()}
        content = {"global_step": 7, "state_dict": coarse | {f"nerf_fine.{name}": t for name, t in state.items()}}
    torch.save(content, path)
    return path


def by_hand(layers, positions, directions, skip):
    *trunk, feature, density, seen, rgb = layers
    code = hidden = encoded(positions, 10)
    for index, (weight, bias) in enumerate(trunk):
        hidden = linear(torch.cat([code, hidden], -1) if skip and index == skip else hidden, weight, bias).relu()
    raw = linear(hidden, *density)[:, 0].relu()
    hidden = linear(torch.cat([linear(hidden, *feature), encoded(directions, 4)], -1), *seen).relu()
    return raw, torch.sigmoid(linear(hidden, *rgb))


@pytest.mark.parametrize("kind", NAMES)
@pytest.mark.parametrize(("width", "layers", "skip"), [(80, 8, 5), (32, 8, 4), (80, 4, 0)])
def test_answers(tmp_path, kind, width, layers, skip):
    made, state = model(kind, width, layers, skip)
    field, points = load(store(tmp_path, kind, state)), questions()
    with torch.no_grad():
        answer = field.query(points)
    density, rgb = by_hand(made, points.positions, points.directions, skip)
    assert torch.allclose(answer.density, density, atol=2e-5)  # the order of float32 sums
    assert torch.allclose(answer.rgb, rgb, atol=2e-5)  # same
    assert density.max() > 0 and field.provenance["steps"] == 7


@pytest.mark.parametrize("kind", NAMES)
def test_mutants(tmp_path, kind):
    path = store(tmp_path, kind, model(kind, 16, 3, 0)[1])
    survive(path, path.read_bytes(), share=0.3)
