"""Nerfacto checkpoints of both kinds: encoders from the layouts' descriptions, answers by hand in float64."""

import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from by_hand import PRIMES, harmonics, level_sizes, looked_up, matrices, network
from members import member
from mutants import survive

from volkit.geometry import Points
from volkit.io import FormatError, load

LEVELS, BASE, FINEST, LOG2, LOOKS = 3, 4, 19, 7, 6
SETTINGS = """!!python/object:nerfstudio.engine.trainer.TrainerConfig
pipeline: !!python/object:nerfstudio.pipelines.base_pipeline.VanillaPipelineConfig
  model: !!python/object:nerfstudio.models.nerfacto.NerfactoModelConfig
    _target: !!python/name:nerfstudio.models.nerfacto.NerfactoModel ''
    average_init_density: 0.01
    base_res: 4
    disable_scene_contraction: false
    log2_hashmap_size: 7
    proposal_net_args_list:
    - base_res: 16
      max_res: 128
    use_average_appearance_embedding: true
viewer: !!python/object:nerfstudio.configs.base_config.ViewerConfig
  websocket_host: 0.0.0.0
"""
GROWTH = math.exp(math.log(FINEST / BASE) / (LEVELS - 1))
ENCODING = {"n_levels": LEVELS, "base_resolution": BASE, "per_level_scale": GROWTH, "log2_hashmap_size": LOG2}


def tcnn_state(generator):
    """Flat vectors: [network][table], inputs of the head padded with ones to 48."""
    tables = [generator.normal(size=(size, 2)) for _, _, size in level_sizes(ENCODING)]
    base, head = matrices(generator, 64, 1, 16, 16), matrices(generator, 64, 2, 48, 16)
    flat = [np.concatenate([part.ravel() for part in group]) for group in ((*base, *tables), head)]
    state = {"mlp_base.model.params": flat[0], "mlp_head.tcnn_encoding.params": flat[1]}
    return state, lambda u, d, looks: tcnn_answer(base, head, tables, u, d, looks)


def tcnn_answer(base, head, tables, unit, directions, looks):
    hidden = network(base, looked_up(ENCODING, tables, unit), 0.0)
    seen = np.concatenate([harmonics(directions), hidden[:, 1:16], np.tile(looks, (len(unit), 1))], 1)
    return hidden[:, 0], network(head, seen, 1.0)[:, :3]


def torch_state(generator):
    """Layers with biases; one table, hashed on every level."""
    table = generator.normal(size=(LEVELS << LOG2, 2))
    state, layers = {"mlp_base.model.0.hash_table": table}, {}
    for name, sizes in (("mlp_base.model.1", (6, 64, 16)), ("mlp_head", (31 + LOOKS, 64, 64, 3))):
        layers[name] = []
        for index, (a, b) in enumerate(pairwise(sizes)):
            weight, bias = generator.normal(size=(b, a)) * a**-0.5, generator.normal(size=b)
            state |= {f"{name}.layers.{index}.weight": weight, f"{name}.layers.{index}.bias": bias}
            layers[name].append((weight, bias))
    return state, lambda u, d, looks: torch_answer(*layers.values(), table, u, d, looks)


def torch_answer(base, head, table, unit, directions, looks):
    features = []
    for level in range(LEVELS):
        place = unit * math.floor(BASE * GROWTH**level + 1e-6)  # 1e-6: 19 is meant, float64 may give 18.999
        cell = np.floor(place).astype(np.int64)
        total = 0.0
        for corner in np.ndindex(2, 2, 2):
            x, y, z = (cell + corner).T
            row = ((x * PRIMES[0]) ^ (y * PRIMES[1]) ^ (z * PRIMES[2])) % (1 << LOG2) + (level << LOG2)
            total = total + table[row] * np.where(corner, place - cell, 1 - (place - cell)).prod(-1)[:, None]
        features.append(total)
    hidden = layered(base, np.concatenate(features, 1))
    seen = np.concatenate(
        [unsigned_harmonics(0.5 * directions + 0.5), hidden[:, 1:], np.tile(looks, (len(unit), 1))], 1
    )
    return hidden[:, 0], layered(head, seen)


def layered(layers, hidden):
    for index, (weight, bias) in enumerate(layers):
        hidden = (np.maximum(hidden, 0) if index else hidden) @ weight.T + bias
    return hidden


def unsigned_harmonics(at):
    """Polynomials that are the real harmonics without Condon-Shortley signs on the sphere, at any argument."""
    x, y, z = at.T
    return np.stack([
        0.28209479177387814 + 0 * x, 0.4886025119029199 * y, 0.4886025119029199 * z, 0.4886025119029199 * x,
        1.0925484305920792 * x * y, 1.0925484305920792 * y * z, 0.9461746957575601 * z * z - 0.31539156525252,
        1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y),
        0.5900435899266435 * y * (3 * x * x - y * y), 2.890611442640554 * x * y * z,
        0.4570457994644658 * y * (5 * z * z - 1), 0.3731763325901154 * z * (5 * z * z - 3),
        0.4570457994644658 * x * (5 * z * z - 1), 1.445305721320277 * z * (x * x - y * y),
        0.5900435899266435 * x * (x * x - 3 * y * y),
    ], -1)  # fmt: skip


STATES = {"tcnn": tcnn_state, "torch": torch_state}


def store(folder, state, settings=SETTINGS, transform=None):
    """The folders that nerfstudio makes around a checkpoint."""
    buffers = {"max_res": FINEST, "num_levels": LEVELS, "log2_hashmap_size": LOG2}
    tensors = {name: torch.tensor(value) for name, value in buffers.items()}
    tensors |= {name: torch.from_numpy(np.asarray(value, np.float32)) for name, value in state.items()}
    tensors["aabb"] = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    pipeline = {f"_model.field.{name}": tensor for name, tensor in tensors.items()}
    path = folder / "nerfstudio_models" / "step-000000007.ckpt"
    path.parent.mkdir(exist_ok=True)
    torch.save({"step": 7, "pipeline": pipeline, "optimizers": {}, "schedulers": {}, "scalers": {}}, path)
    if settings is not None:
        (folder / "config.yml").write_text(settings)
    if transform is not None:
        (folder / "dataparser_transforms.json").write_text(json.dumps(transform))
    return path


def made(kind, seed=0):
    generator = np.random.default_rng(seed)
    state, answer = STATES[kind](generator)
    looks = generator.normal(size=(5, LOOKS))
    state["embedding_appearance.embedding.weight"] = looks
    return state, answer, looks


def questions(count=300):
    generator = np.random.default_rng(1)
    directions = generator.normal(size=(count, 3))
    positions = generator.normal(size=(count, 3)) * 2  # a third within the unit cube
    return positions, directions / np.linalg.norm(directions, axis=1)[:, None]


def contracted(x):
    norm = np.abs(x).max(-1, keepdims=True)
    return (np.where(norm > 1, (2 - 1 / norm) * x / norm, x) + 2) / 4


@pytest.mark.parametrize("kind", STATES)
@pytest.mark.parametrize("average", [True, False])
@pytest.mark.parametrize("bounded", [True, False])
def test_answers(tmp_path, kind, average, bounded):
    state, answer, looks = made(kind)
    settings = SETTINGS if average else SETTINGS.replace("embedding: true", "embedding: false")
    settings = settings.replace("contraction: false", "contraction: true") if bounded else settings
    field = load(store(tmp_path, state, settings))
    positions, directions = questions()
    positions = np.clip(positions, -0.99, 0.99) if bounded else positions
    raw, rgb = answer((positions + 1) / 2 if bounded else contracted(positions), directions, looks.mean(0) * average)
    with torch.no_grad():
        sample = field.query(Points(torch.from_numpy(positions).float(), torch.from_numpy(directions).float()))
    expected = 0.01 * np.exp(raw)
    assert np.allclose(sample.density, expected, rtol=2e-3)  # float32 positions in cells of 1/19, exponentiated
    assert np.allclose(sample.rgb, 1 / (1 + np.exp(-rgb)), atol=1e-3)  # same
    assert field.provenance["steps"] == 7


def test_models_without_the_setting_answer_with_zeros(tmp_path):
    """As nerfstudio's own instant-ngp does, whatever its table of appearances holds."""
    settings = SETTINGS.replace("    use_average_appearance_embedding: true\n", "")
    positions, directions = (torch.from_numpy(each).float() for each in questions())
    answers = []
    for name, shift in (("a", 0.0), ("b", 2.0)):
        (tmp_path / name).mkdir()
        state, _, looks = made("torch")
        state["embedding_appearance.embedding.weight"] = looks + shift
        with torch.no_grad():
            answers.append(load(store(tmp_path / name, state, settings)).query(Points(positions, directions)).rgb)
    assert torch.equal(*answers)


def test_a_folder_of_a_run_stands_for_its_checkpoint(tmp_path):
    path = store(tmp_path, made("tcnn")[0])
    assert torch.equal(load(tmp_path).table, load(path).table)


def test_published_parameter_counts():
    """Nerfacto's table of 16 levels to 2048 cells and 2^19 entries, and its networks of 64."""
    from volkit.io.fields.nerfacto import TcnnNetwork
    from volkit.ops.hash_encode import HashLevels

    levels = HashLevels(16, 2, 19, 16, math.exp(math.log(2048 / 16) / 15))
    assert levels.entries * 2 == 12196240  # as instant-ngp's with the same growth (its issue 992)
    assert TcnnNetwork(32, 16, 64, 1).parameters == 3072 and TcnnNetwork(63, 3, 64, 2).parameters == 9216


def test_frame(tmp_path):
    """p = scale (R x + t): nerfstudio's own way from the data set into its unit frame."""
    angle = 0.7
    rotation = np.array([[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]])
    transform = np.concatenate([rotation, [[1.0], [2.0], [3.0]]], 1)
    state = made("tcnn")[0]
    field = load(store(tmp_path, state, transform={"transform": transform.tolist(), "scale": 0.25}))
    world = np.array([[0.4, -1.0, 2.0]])
    local = 0.25 * (world @ rotation.T + transform[:, 3])
    assert np.allclose(field.world_from_local.points(torch.from_numpy(local)), world, atol=1e-12)  # float64


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda s: s.pop("mlp_head.tcnn_encoding.params"), "mlp_head"),
        (lambda s: s.update({"mlp_head.tcnn_encoding.params": np.zeros(77)}), "77 parameters"),
        (lambda s: s.update({"mlp_base.model.params": np.zeros(99)}), "99 parameters"),
        (lambda s: s.update({"mlp_base.model.params": np.full(9, np.nan)}), "NaN"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, fact):
    state = made("tcnn")[0]
    change(state)
    with pytest.raises(FormatError, match=rf"step-000000007\.ckpt: .*({fact})"):
        load(store(tmp_path, state))


def test_density_has_no_unit_without_settings(tmp_path):
    with pytest.raises(FormatError, match=r"lacks config\.yml"):
        load(store(tmp_path, made("tcnn")[0], settings=None))


def test_damaged_transforms_are_named(tmp_path):
    path = store(tmp_path, made("tcnn")[0], transform={"transform": [[1.0]], "scale": 1.0})
    with pytest.raises(FormatError, match=r"dataparser_transforms\.json"):
        load(path)


@pytest.mark.parametrize("kind", STATES)
def test_mutants(tmp_path, kind):
    path = store(tmp_path, made(kind)[0])
    inside = member(path, "data.pkl")
    survive(path, path.read_bytes(), share=0.5)
    survive(path, *inside, share=0.5)
