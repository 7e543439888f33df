"""svox2 grids: an encoder from the layout's description, answers by hand in float64, round trips."""

import io
import zipfile

import numpy as np
import pytest
import torch
from members import member
from mutants import survive

from volkit.geometry import Domain, Points, Similarity
from volkit.io import FormatError, load, save
from volkit.representations import Placement, Voxels, VoxelsConfig
from volkit.representations.occupancy_bits import unpack_bits

SHAPE, RADIUS, CENTRE = (4, 5, 6), np.array([1.0, 0.8, 1.3], np.float32), np.array([0.1, -0.2, 0.3], np.float32)


def grid(basis=9, seed=0):
    """Arrays of a file in which a third of the voxels is empty; empty links are any negative number."""
    generator = np.random.default_rng(seed)
    full = generator.random(SHAPE) < 0.67
    links = -generator.integers(1, 9, SHAPE).astype(np.int32)
    links[full] = generator.permutation(full.sum())
    return {
        "radius": RADIUS,
        "center": CENTRE,
        "links": links,
        "density_data": generator.normal(size=(full.sum(), 1)).astype(np.float32) * 5,
        "sh_data": generator.normal(size=(full.sum(), 3 * basis)).astype(np.float16),
        "basis_type": np.array(1),
    }


def store(path, arrays):
    np.savez(path, **arrays)
    return path


def basis_of(degree, d):
    x, y, z = d.T
    values = [np.full_like(x, 0.28209479177387814)]
    if degree >= 1:
        values += [-0.4886025119029199 * y, 0.4886025119029199 * z, -0.4886025119029199 * x]
    if degree >= 2:
        values += [1.0925484305920792 * x * y, -1.0925484305920792 * y * z, 0.31539156525252005 * (3 * z * z - 1),
                   -1.0925484305920792 * x * z, 0.5462742152960396 * (x * x - y * y)]  # fmt: skip
    return np.stack(values, -1)


def by_hand(arrays, positions, directions, degree):
    """sigma = relu and colour = relu(SH + 1/2) of trilinear values; an empty corner counts as 0."""
    links = arrays["links"]
    density = arrays["density_data"] if "density_data" in arrays else arrays["data"][:, :1]
    sh = arrays["sh_data"] if "sh_data" in arrays else arrays["data"][:, 1:]
    size = np.array(links.shape)
    place = ((positions - CENTRE) / RADIUS * 0.5 + 0.5) * size - 0.5
    place = np.clip(place, 0, size - 1)
    cell = np.minimum(np.floor(place).astype(int), size - 2)
    total = 0.0
    for corner in np.ndindex(2, 2, 2):
        row = links[tuple((cell + corner).T)]
        value = np.concatenate([density, sh], 1).astype(np.float64)[np.maximum(row, 0)] * (row >= 0)[:, None]
        total = total + value * np.where(corner, place - cell, 1 - (place - cell)).prod(-1)[:, None]
    rgb = (total[:, 1:].reshape(len(total), 3, -1) * basis_of(degree, directions)[:, None]).sum(-1) + 0.5
    return np.maximum(total[:, 0], 0), np.maximum(rgb, 0)


def questions(count=300):
    generator = np.random.default_rng(2)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    return CENTRE + (generator.random((count, 3)) * 2 - 1) * RADIUS, directions


@pytest.mark.parametrize("degree", [0, 1, 2])
@pytest.mark.parametrize("old", [False, True])
def test_answers(tmp_path, degree, old):
    arrays = grid((degree + 1) ** 2)
    if old:  # the first versions kept one array, and no type of basis
        del arrays["basis_type"]
        arrays["data"] = np.concatenate([arrays.pop("density_data"), arrays.pop("sh_data").astype(np.float32)], 1)
    field = load(store(tmp_path / "scene.npz", arrays))
    positions, directions = questions()
    with torch.no_grad():
        answer = field.query(Points(torch.from_numpy(positions).float(), torch.from_numpy(directions).float()))
    density, rgb = by_hand(arrays, positions, directions, degree)
    assert np.allclose(answer.density, density, atol=2e-5)  # float32 positions in cells, densities up to 15
    assert np.allclose(answer.rgb, rgb, atol=1e-5)  # same, colours to 5


def test_occupancy_holds_all_matter(tmp_path):
    arrays = grid()
    arrays["density_data"][10:] = -1.0
    field = load(store(tmp_path / "scene.npz", arrays))
    positions = torch.from_numpy(questions(20000)[0]).float()
    with torch.no_grad():
        dense = field.density(positions) > 0
    cells = (field.domain.unit_from_local(positions) * 128).long().clamp(0, 127)
    code = sum(((cells[:, axis] >> bit) & 1) << (3 * bit + axis) for axis in range(3) for bit in range(7))
    marked = unpack_bits(field.occupancy)
    assert marked[code[dense]].all() and not marked.all()


def test_published_parameter_count():
    """A dense grid of 128^3 voxels with SH of degree 2 has 28 values a voxel."""
    with torch.device("meta"):
        field = Voxels(VoxelsConfig(resolution=128, start=128), Domain.cube(1.0))
    assert sum(p.numel() for p in field.parameters()) == 128**3 * 28 == 58720256


def test_round_trip(tmp_path):
    generator = torch.Generator().manual_seed(0)
    field = Voxels(VoxelsConfig(resolution=6, start=6), Domain((-1.0, -0.7, -1.2), (1.0, 0.9, 1.1)))
    field.keep(torch.rand(field.links.shape, generator=generator) < 0.5)
    with torch.no_grad():
        field.density_data.normal_(generator=generator)
        field.sh_data.copy_(torch.randn(field.sh_data.shape, generator=generator).half())
    field.occupancy = torch.randint(0, 256, field.occupancy.shape, generator=generator).to(torch.uint8)
    field = field.view(placement=Placement(Similarity(scale=3.0)), provenance={"note": "of a test"})
    save(field, tmp_path / "scene.npz")
    again = load(tmp_path / "scene.npz")
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in field.state_dict().items())
    assert again.domain == field.domain and again.world_from_local == field.world_from_local
    assert again.provenance == field.provenance
    with np.load(tmp_path / "scene.npz") as stored:
        assert stored["sh_data"].dtype == np.float16 and stored["links"].dtype == np.int32
        assert stored["basis_type"].item() == 1 and stored["radius"].shape == (3,)


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda a: a.update(basis_type=np.array(4)), "its colours have basis 4"),
        (lambda a: a.update(background_data=np.zeros(3)), "background"),
        (lambda a: a.update(radius=np.array([1.0, -1.0, 1.0])), "its box is damaged"),
        (lambda a: a.update(links=a["links"].astype(float)), "links"),
        (lambda a: a.update(links=np.zeros_like(a["links"])), "links"),
        (lambda a: a.update(links=a["links"] + 1), "links|same row"),
        (lambda a: a.update(sh_data=a["sh_data"][:, :5]), "no degree of harmonics"),
        (lambda a: a.update(density_data=np.full_like(a["density_data"], np.inf)), "density_data"),
        (lambda a: a.update(density_data=np.array([{"a": 1}])), "not an array of numbers"),
        (lambda a: a.pop("sh_data"), "lacks its densities or its colours"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, fact):
    arrays = grid()
    change(arrays)
    with pytest.raises(FormatError, match=rf"scene\.npz: .*({fact})"):
        load(store(tmp_path / "scene.npz", arrays))


def test_bombs_and_lying_headers_are_refused(tmp_path):
    path = tmp_path / "scene.npz"
    arrays = grid()
    np.savez_compressed(path, **{**arrays, "density_data": np.zeros((80 << 18, 1), np.float32)})
    with pytest.raises(FormatError, match="far more than its size"):
        load(path)
    lying = io.BytesIO()
    np.lib.format.write_array_header_1_0(lying, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1)})
    store(path, {name: array for name, array in arrays.items() if name != "density_data"})
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("density_data.npy", lying.getvalue() + bytes(64))
    with pytest.raises(FormatError, match="not an array of numbers of its size"):
        load(path)


def test_mutants(tmp_path):
    path = store(tmp_path / "scene.npz", grid(1))
    links, densities = member(path, "links.npy"), member(path, "density_data.npy")
    survive(path, path.read_bytes())
    survive(path, *links, share=0.5)
    survive(path, *densities, share=0.5)
