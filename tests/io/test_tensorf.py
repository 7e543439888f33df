"""TensoRF checkpoints: an encoder from the layout's description, answers by hand in float64, round trips."""

import zipfile

import numpy as np
import pytest
import torch
from members import member
from mutants import survive

from volkit.files.restricted_pickle import pickle_start
from volkit.geometry import Domain, Points, Similarity
from volkit.io import FormatError, load, save
from volkit.representations import Placement, TensorCPConfig, TensorVMConfig
from volkit.representations.occupancy_bits import unpack_bits

BOX = [[-1.0, -0.8, -1.2], [1.0, 0.9, 1.1]]
PLANES, LINES = ((0, 1), (0, 2), (1, 2)), (2, 1, 0)
SIZE = (5, 6, 7)


def checkpoint(kind="vm", shading="SH", density=(2, 2, 2), app=(3, 3, 3), activation="softplus", mask=None, seed=0):
    """A file's content; shapes as the project makes them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(shape, generator=generator) * 0.8

    state, dim = {}, 27
    for name, counts in (("density", density), ("app", app)):
        for index, ((a, b), c) in enumerate(zip(PLANES, LINES, strict=True)):
            if kind == "vm":
                state[f"{name}_plane.{index}"] = draw(1, counts[index], SIZE[b], SIZE[a])
            state[f"{name}_line.{index}"] = draw(1, counts[index], SIZE[c], 1)
    state["basis_mat.weight"] = draw(dim, sum(app) if kind == "vm" else app[0])
    bands = {"MLP_Fea": 2, "MLP": 0}.get(shading)
    if bands is not None:
        inputs = dim * (1 + 2 * bands) + 3 * (1 + 2 * 2)
        for index, (rows, columns) in zip((0, 2, 4), ((8, inputs), (8, 8), (3, 8)), strict=True):
            state[f"renderModule.mlp.{index}.weight"] = draw(rows, columns) * columns**-0.5
            state[f"renderModule.mlp.{index}.bias"] = draw(rows)
    arguments = {
        "aabb": torch.tensor(BOX), "gridSize": list(SIZE), "density_n_comp": list(density),
        "appearance_n_comp": list(app), "app_dim": dim, "density_shift": -2, "alphaMask_thres": 1e-4,
        "distance_scale": 25, "rayMarch_weight_thres": 1e-4, "fea2denseAct": activation, "near_far": [2.0, 6.0],
        "step_ratio": 0.5, "shadingMode": shading, "pos_pe": 6, "view_pe": 2, "fea_pe": 2, "featureC": 8,
    }  # fmt: skip
    content = {"kwargs": arguments, "state_dict": state}
    if mask is not None:
        content["alphaMask.shape"] = mask.shape
        content["alphaMask.mask"] = np.packbits(mask.reshape(-1))
        content["alphaMask.aabb"] = torch.tensor(BOX)
    return content


def store(path, content):
    torch.save(content, path)
    return path


def texel(values, where):
    """Linear interpolation along the last axes of [C, ...] at coordinates in [0, n - 1], float64."""
    out = 0.0
    cells = [np.clip(np.floor(w).astype(int), 0, n - 2) for w, n in zip(where, values.shape[1:], strict=True)]
    for corner in np.ndindex(*(2,) * len(cells)):
        index = tuple(cell + step for cell, step in zip(cells, corner, strict=True))
        weight = 1.0
        for w, cell, step in zip(where, cells, corner, strict=True):
            weight = weight * (w - cell if step else 1 - (w - cell))
        out = out + weight * values[(slice(None), *index)]
    return out


def features(state, name, kind, unit):
    """Products of factors [component, point], plane after plane."""
    grid = [unit[:, axis] * (SIZE[axis] - 1) for axis in range(3)]
    lines = [texel(state[f"{name}_line.{i}"][0, :, :, 0].double().numpy(), [grid[c]]) for i, c in enumerate(LINES)]
    if kind == "cp":
        return lines[0] * lines[1] * lines[2]
    planes = [
        texel(state[f"{name}_plane.{i}"][0].double().numpy(), [grid[b], grid[a]]) for i, (a, b) in enumerate(PLANES)
    ]
    return np.concatenate([plane * line for plane, line in zip(planes, lines, strict=True)])


def encoded(values, bands):
    scaled = np.concatenate([values[:, [i]] * 2.0 ** np.arange(bands) for i in range(values.shape[1])], 1)
    return np.concatenate([np.sin(scaled), np.cos(scaled)], 1)


def by_hand(content, kind, positions, directions):
    state, arguments = content["state_dict"], content["kwargs"]
    lower, upper = np.array(BOX)
    unit = (positions - lower) / (upper - lower)
    density = features(state, "density", kind, unit).sum(0)
    if arguments["fea2denseAct"] == "softplus":
        density = np.log1p(np.exp(density + arguments["density_shift"]))
    density = np.maximum(density, 0) * arguments["distance_scale"]
    appearance = (state["basis_mat.weight"].double().numpy() @ features(state, "app", kind, unit)).T
    if arguments["shadingMode"] == "SH":
        x, y, z = directions.T
        basis = np.stack([
            np.full_like(x, 0.28209479177387814), -0.4886025119029199 * y, 0.4886025119029199 * z,
            -0.4886025119029199 * x, 1.0925484305920792 * x * y, -1.0925484305920792 * y * z,
            0.31539156525252005 * (2 * z * z - x * x - y * y), -1.0925484305920792 * x * z,
            0.5462742152960396 * (x * x - y * y)], -1)  # fmt: skip
        return density, np.maximum((appearance.reshape(-1, 3, 9) * basis[:, None]).sum(-1) + 0.5, 0)
    bands = arguments["fea_pe"] if arguments["shadingMode"] == "MLP_Fea" else 0
    hidden = np.concatenate([appearance, directions, encoded(appearance, bands), encoded(directions, 2)], 1)
    for index in (0, 2, 4):
        weight, bias = (state[f"renderModule.mlp.{index}.{part}"].double().numpy() for part in ("weight", "bias"))
        hidden = (np.maximum(hidden, 0) if index else hidden) @ weight.T + bias
    return density, 1 / (1 + np.exp(-hidden))


def questions(count=200):
    generator = np.random.default_rng(4)
    lower, upper = np.array(BOX)
    directions = generator.normal(size=(count, 3))
    return lower + generator.random((count, 3)) * (upper - lower), directions / np.linalg.norm(directions, axis=1)[
        :, None
    ]


@pytest.mark.parametrize("kind", ["vm", "cp"])
@pytest.mark.parametrize("shading", ["SH", "MLP_Fea", "MLP"])
@pytest.mark.parametrize("activation", ["softplus", "relu"])
def test_answers(tmp_path, kind, shading, activation):
    content = checkpoint(kind, shading, activation=activation)
    field = load(store(tmp_path / "scene.th", content))
    positions, directions = questions()
    with torch.no_grad():
        answer = field.query(Points(torch.from_numpy(positions).float(), torch.from_numpy(directions).float()))
    density, rgb = by_hand(content, kind, positions, directions)
    assert np.allclose(answer.density, density, rtol=1e-3, atol=1e-3)  # float32 products of factors, times 25
    assert np.allclose(answer.rgb, rgb, atol=1e-3)  # float32 products of factors
    assert field.config.kind == f"tensor_{kind}"


def test_planes_of_different_ranks(tmp_path):
    content = checkpoint(density=(4, 1, 2), app=(2, 5, 1))
    field = load(store(tmp_path / "scene.th", content))
    positions, directions = questions()
    with torch.no_grad():
        answer = field.query(Points(torch.from_numpy(positions).float(), torch.from_numpy(directions).float()))
    density, rgb = by_hand(content, "vm", positions, directions)
    assert np.allclose(answer.density, density, rtol=1e-3, atol=1e-3)  # float32 products of factors, times 25
    assert np.allclose(answer.rgb, rgb, atol=1e-3)  # float32 products of factors


def test_published_parameter_counts():
    """VM-192 at 300^3 and CP-384 at 500^3, counted from the paper's sizes."""
    with torch.device("meta"):
        vm = TensorVMConfig(start=300, shading="MLP_Fea").build(Domain.cube(1.0), torch.Generator())
        cp = TensorCPConfig(start=500, shading="MLP_Fea").build(Domain.cube(1.0), torch.Generator())
    head = 150 * 128 + 128 + 128 * 128 + 128 + 128 * 3 + 3
    # cubes to voxels may lose one cell to rounding, as N_to_reso does
    assert sum(p.numel() for p in vm.parameters()) == 192 * (300**2 + 300) + 27 * 144 + head
    assert sum(p.numel() for p in cp.parameters()) == 384 * 3 * 500 + 27 * 288 + head


def test_the_alpha_mask_bounds_where_matter_is(tmp_path):
    generator = np.random.default_rng(0)
    mask = generator.random((1, 1, 9, 8, 10)) > 0.97
    field = load(store(tmp_path / "scene.th", checkpoint(mask=mask)))
    marked = unpack_bits(field.occupancy)
    positions = torch.from_numpy(questions(20000)[0])
    lower, upper = torch.tensor(BOX, dtype=torch.float64)
    grid = (positions - lower) / (upper - lower) * 2 - 1
    value = torch.nn.functional.grid_sample(
        torch.from_numpy(mask).double(), grid.view(1, -1, 1, 1, 3), align_corners=True
    ).flatten()
    cells = (field.domain.unit_from_local(positions) * 128).long()
    code = sum(((cells[:, axis] >> bit) & 1) << (3 * bit + axis) for axis in range(3) for bit in range(7))
    assert marked[code[value > 0]].all()  # nothing that counts is lost
    assert marked.float().mean() < (value > 0).double().mean() + 0.15  # and cells are hardly larger than needed


@pytest.mark.parametrize("config", [
    TensorVMConfig(start=6, density_components=2, appearance_components=3),
    TensorVMConfig(start=6, density_components=2, appearance_components=3, shading="MLP_Fea", feature_width=8),
    TensorCPConfig(start=6, density_components=4, appearance_components=6, activation="relu"),
])  # fmt: skip
def test_round_trip(tmp_path, config):
    generator = torch.Generator().manual_seed(1)
    field = config.build(Domain(*map(tuple, BOX)), generator)
    field.occupancy = torch.randint(0, 256, field.occupancy.shape, generator=generator).to(torch.uint8)
    field = field.view(placement=Placement(Similarity(scale=2.0)), provenance={"note": "of a test"})
    save(field, tmp_path / "scene.th")
    again = load(tmp_path / "scene.th")
    assert field.state_dict().keys() == again.state_dict().keys()
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in field.state_dict().items())
    assert again.world_from_local == field.world_from_local and again.provenance == field.provenance
    points = Points(*(torch.from_numpy(values).float() for values in questions()))
    with torch.no_grad():
        assert torch.equal(again.query(points).rgb, field.query(points).rgb)
        assert torch.equal(again.density(points.positions), field.density(points.positions))


def test_the_written_mask_loses_nothing(tmp_path):
    """What the project's own interpolation of our mask counts includes every cell that we mark."""
    field = TensorVMConfig(start=6).build(Domain(*map(tuple, BOX)), torch.Generator())
    field.occupancy = (torch.rand(field.occupancy.shape, generator=torch.Generator().manual_seed(0)) < 0.01).to(
        torch.uint8
    )
    save(field, tmp_path / "scene.th")
    content = torch.load(tmp_path / "scene.th", weights_only=False)
    bits = np.unpackbits(content["alphaMask.mask"])[: np.prod(content["alphaMask.shape"])]
    volume = torch.from_numpy(bits.reshape(content["alphaMask.shape"])).float()
    positions = torch.from_numpy(questions(20000)[0]).float()
    box = content["alphaMask.aabb"]
    grid = (positions - box[0]) / (box[1] - box[0]) * 2 - 1
    counts = torch.nn.functional.grid_sample(volume, grid.view(1, -1, 1, 1, 3), align_corners=True).flatten() > 0
    cells = (field.domain.unit_from_local(positions) * 128).long()
    code = sum(((cells[:, axis] >> bit) & 1) << (3 * bit + axis) for axis in range(3) for bit in range(7))
    assert counts[unpack_bits(field.occupancy)[code]].all() and not counts.all()


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda c: c["kwargs"].update(shadingMode="MLP_PE"), "its shading is 'MLP_PE'"),
        (lambda c: c["kwargs"].update(fea2denseAct="exp"), "its density activation is 'exp'"),
        (lambda c: c["kwargs"].update(aabb=torch.zeros(2, 3)), "must lie below"),
        (lambda c: c["kwargs"].pop("view_pe") and c["kwargs"].update(shadingMode="MLP"), "renderModule"),
        (lambda c: c["state_dict"].update({"density_plane.1": torch.zeros(1, 2, 3, 3)}), "texels"),
        (lambda c: c["state_dict"].update({"app_line.1": torch.full((1, 3, 6, 1), torch.nan)}), "NaN"),
        (lambda c: c["state_dict"].pop("density_line.0") is None, "density_line.0"),
        (lambda c: c.update({"alphaMask.mask": np.zeros(2, np.uint8), "alphaMask.shape": (9, 9, 9),
                             "alphaMask.aabb": torch.tensor(BOX)}), "alpha mask"),
        (lambda c: c.pop("kwargs"), "lacks 'kwargs'"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, change, fact):
    content = checkpoint()
    change(content)
    with pytest.raises(FormatError, match=rf"scene\.th: .*({fact})"):
        load(store(tmp_path / "scene.th", content))


def test_mutants(tmp_path):
    path = store(tmp_path / "scene.th", checkpoint(mask=np.ones((1, 1, 4, 4, 4), bool)))
    inside = member(path, "data.pkl")
    survive(path, path.read_bytes())
    survive(path, *inside)


def test_a_zip_that_ends_too_soon_is_nobodys(tmp_path):
    """Its member says that it is longer than the file: found by mutants, 5 : 2000."""
    path = tmp_path / "scene.th"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", bytes(100))
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02")
    data[at + 20 : at + 28] = (10**6).to_bytes(4, "little") * 2  # in the archive's table: packed and unpacked
    path.write_bytes(bytes(data))
    assert pickle_start(path) == b""
    with pytest.raises(FormatError):
        load(path)


def test_normalised_device_coordinates_are_said(tmp_path):
    content = checkpoint()
    for near_far, notes in ([0.0, 1.0], 1), ([2.0, 6.0], 0):
        content["kwargs"]["near_far"] = near_far
        torch.save(content, tmp_path / "scene.th")
        assert len(load(tmp_path / "scene.th").provenance.get("notes", ())) == notes
