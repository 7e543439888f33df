"""Plain NeRF checkpoints of others: architecture from shapes, answers as their program gives them."""

import pytest
import torch
from torch.nn.functional import linear

from volkit.geometry import Points
from volkit.io import FormatError, load


def model(layers=3, width=16, position=10, direction=4, skip=0, seed=0):
    """Random tensors under the project's names; `skip` takes the encoding again at multiples of it."""
    generator = torch.Generator().manual_seed(seed)
    encoded, seen = 3 + 6 * position, 3 + 6 * direction
    again = [skip > 0 and i > 0 and i % skip == 0 and i != layers - 1 for i in range(layers - 1)]
    shapes = {"layer1": (width, encoded)}
    shapes |= {f"layers_xyz.{i}": (width, width + encoded * again[i]) for i in range(layers - 1)}
    shapes |= {"layers_dir.0": (width // 2, width + seen), "fc_alpha": (1, width), "fc_rgb": (3, width // 2)}
    shapes["fc_feat"] = (width, width)
    state = {}
    for name, (rows, columns) in shapes.items():
        state[f"{name}.weight"] = torch.randn(rows, columns, generator=generator) * columns**-0.5
        state[f"{name}.bias"] = torch.randn(rows, generator=generator) * 0.1
    return state


def encoded(values, bands):
    parts = [values]
    for k in range(bands):
        parts += [torch.sin(values * 2.0**k), torch.cos(values * 2.0**k)]
    return torch.cat(parts, -1)


def by_hand(state, positions, directions, bands=(10, 4)):
    """What that project's network answers: density after ReLU, colour after sigmoid."""
    code = encoded(positions, bands[0])
    hidden = linear(code, state["layer1.weight"], state["layer1.bias"])
    i = 0
    while f"layers_xyz.{i}.weight" in state:
        weight = state[f"layers_xyz.{i}.weight"]
        inputs = torch.cat([hidden, code], -1) if weight.shape[1] > hidden.shape[1] else hidden
        hidden, i = linear(inputs, weight, state[f"layers_xyz.{i}.bias"]).relu(), i + 1
    density = linear(hidden, state["fc_alpha.weight"], state["fc_alpha.bias"]).relu()[:, 0]
    feature = linear(hidden, state["fc_feat.weight"], state["fc_feat.bias"]).relu()
    seen = torch.cat([feature, encoded(directions, bands[1])], -1)
    hidden = linear(seen, state["layers_dir.0.weight"], state["layers_dir.0.bias"]).relu()
    return density, torch.sigmoid(linear(hidden, state["fc_rgb.weight"], state["fc_rgb.bias"]))


def questions(count=200):
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return Points(torch.rand(count, 3, generator=generator) * 2.4 - 1.2, directions)


def store(path, state, legacy=False, **extra):
    content = {"iter": 7, "model_coarse_state_dict": model(seed=9), "model_fine_state_dict": state, **extra}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    return path


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"layers": 8, "skip": 4}, {"position": 6, "direction": 2, "width": 24}])
def test_architecture_and_answers(tmp_path, legacy, sizes):
    state = model(**sizes)
    field = load(store(tmp_path / "model.ckpt", state, legacy))
    points = questions()
    with torch.no_grad():
        answer = field.query(points)
    bands = (sizes.get("position", 10), sizes.get("direction", 4))
    density, rgb = by_hand(state, points.positions, points.directions, bands)
    assert torch.allclose(answer.density, density, atol=1e-5)  # the order of float32 sums
    assert torch.allclose(answer.rgb, rgb, atol=1e-5)  # same
    assert field.config.kind == "mlp" and field.provenance["steps"] == 7


def test_a_coarse_model_alone_is_used(tmp_path):
    torch.save({"model_coarse_state_dict": model(seed=4)}, tmp_path / "model.ckpt")
    assert torch.equal(load(tmp_path / "model.ckpt").layer1.weight, model(seed=4)["layer1.weight"])


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda s: s.pop("layer1.weight"), "lacks layers"),
        (lambda s: s.update({"layer1.weight": torch.zeros(16, 62)}), "no multiple of 3"),
        (lambda s: s.update({"fc_rgb.weight": torch.zeros(4, 8)}), "not a checkpoint of nerf-pytorch"),
        (lambda s: s.update({"fc_rgb.bias": torch.tensor([0.0, float("nan"), 0.0])}), "NaN"),
        (lambda s: s.update({"fc_rgb.bias": "text"}), "not a tensor of floats"),
        (lambda s: s.clear(), "'layer1.weight'|lacks layers"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, fact):
    state = model()
    change(state)
    path = store(tmp_path / "model.ckpt", state)
    if not state:
        assert load(path).layer1.weight.shape == (16, 63)  # an empty fine model: the coarse one is all there is
        return
    with pytest.raises(FormatError, match=rf"model\.ckpt: .*({fact})"):
        load(path)


@pytest.mark.parametrize("name", ["chair", "drums", "hotdog", "materials"])
def test_published_checkpoints(shared_data, name):
    (path,) = (shared_data / "checkpoints" / "nerf-pytorch" / f"{name}-lowres").glob("*.ckpt")
    field = load(path)
    assert (field.config.layers, field.config.width, field.config.skip) == (4, 128, 0)
    assert (field.config.position_bands, field.config.direction_bands) == (10, 4)
    state = torch.load(path, map_location="cpu", weights_only=True)["model_fine_state_dict"]
    points = questions()
    with torch.no_grad():
        answer = field.query(points)
    density, rgb = by_hand(state, points.positions, points.directions)
    assert torch.allclose(answer.density, density, rtol=1e-4, atol=1e-3)  # float32 sums in densities up to 1e3
    assert torch.allclose(answer.rgb, rgb, atol=1e-4)  # same


def test_published_chair_agrees_with_the_pictures(shared_data):
    from volkit.data import load_photographs
    from volkit.evaluation.metrics import psnr

    (path,) = (shared_data / "checkpoints" / "nerf-pytorch" / "chair-lowres").glob("*.ckpt")
    field = load(path)
    seen = load_photographs(shared_data / "images" / "chair" / "transforms_test.json", size=32, domain="-1,-1,-1,1,1,1")
    image = seen.images[0].float() / 255
    truth = image[..., :3] * image[..., 3:] + 1 - image[..., 3:]
    rays = seen.cameras.picture_rays(0)
    edges = torch.linspace(2.0, 6.0, 129)
    positions = rays.origins[:, None] + rays.directions[:, None] * (0.5 * (edges[1:] + edges[:-1]))[:, None]
    directions = rays.directions[:, None].expand_as(positions)
    with torch.no_grad():
        answer = field.query(Points(positions.reshape(-1, 3), directions.reshape(-1, 3)))
    thickness = answer.density.view(len(rays), -1) * (4.0 / 128)
    reached = torch.exp(thickness - thickness.cumsum(-1))
    weights = reached * (1 - torch.exp(-thickness))
    rgb = (weights[..., None] * answer.rgb.view(*weights.shape, 3)).sum(1) + 1 - weights.sum(1, keepdim=True)
    # The checkpoint was trained to 25 to 33 dB; wrong axes or encodings give less than 15.
    assert psnr(rgb.view(32, 32, 3), truth) > 25.0
