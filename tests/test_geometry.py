"""Values without parameters: cameras and lenses, domains, frames, spherical harmonics."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import sph_harm_y

from volkit.geometry import FISHEYE, OPENCV, Cameras, Domain, Similarity, sh_basis, sh_count


def cameras(count: int = 3) -> Cameras:
    generator = torch.Generator().manual_seed(0)
    centres = 4.0 * torch.nn.functional.normalize(torch.randn(count, 3, generator=generator), dim=-1)
    return Cameras.looking_at(centres, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 120.0, (64, 48))


LENSES = {
    "pinhole": (None, None),
    "phone": (OPENCV, [0.0578, -0.0805, -0.00098, 0.00016, 0.0, 0.0, 0.0, 0.0]),
    "barrel": (OPENCV, [-0.3, 0.1, 0.001, -0.002, -0.01, 0.0, 0.0, 0.0]),
    "fisheye": (FISHEYE, [0.05, -0.01, 0.002, -0.0005]),
}


@pytest.mark.parametrize("name", LENSES)
def test_rays_project_back_to_their_pixels(name):
    batch = cameras()
    lens, values = LENSES[name]
    if lens is not None:
        batch = replace(batch, lens=lens, coefficients=torch.tensor([values]).expand(len(batch), -1))
    for index in range(len(batch)):
        rays = batch.picture_rays(index)
        pixels, depth = batch.project(index, rays.origins + 2.5 * rays.directions)
        y, x = torch.meshgrid(torch.arange(48) + 0.5, torch.arange(64) + 0.5, indexing="ij")
        expected = torch.stack([x, y], -1).reshape(-1, 2)
        assert (depth > 0).all()
        assert (pixels - expected).abs().max() < 2e-3  # float32 pixels at 120 focal lengths: 1e-5 of 64


def test_rays_are_unit_and_the_centre_looks_forward():
    batch = cameras()
    rays = batch.rays(torch.tensor([1]), torch.tensor([[32.0, 24.0]]))
    assert torch.allclose(rays.directions.norm(dim=-1), torch.ones(1), atol=1e-6)  # float32 normalisation
    assert torch.allclose(rays.directions[0], batch.forward[1], atol=1e-6)  # same


def test_a_camera_on_the_up_axis_still_has_a_pose():
    batch = Cameras.looking_at(
        torch.tensor([[0.0, 0.0, 5.0]]), torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 9.0, (4, 4)
    )
    rotation = batch.world_from_camera[0, :, :3]
    assert torch.allclose(rotation.T @ rotation, torch.eye(3), atol=1e-5)  # float32 products


def test_resizing_keeps_rays():
    batch = cameras()
    half = batch.resize(32)
    a = batch.rays(torch.tensor([0]), torch.tensor([[20.0, 30.0]]))
    b = half.rays(torch.tensor([0]), torch.tensor([[10.0, 15.0]]))
    assert torch.allclose(a.directions, b.directions, atol=1e-6)  # float32


def test_moving_the_world_moves_cameras_with_it():
    batch = cameras()
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    turn = turn * torch.linalg.det(turn)
    change = Similarity(tuple(map(tuple, turn.tolist())), (1.0, -2.0, 0.5), 3.0)
    positions = torch.randn(20, 3, generator=torch.Generator().manual_seed(1))
    before, _ = batch.project(0, positions)
    after, _ = batch.transform(change).project(0, change.points(positions))
    assert torch.allclose(before, after, atol=1e-2, rtol=1e-4)  # float32 pixels, positions near the camera plane


def test_a_domain_grows_by_shares_of_its_edges():
    assert Domain((0.0, -1.0, 2.0), (1.0, 1.0, 6.0)).grow(0.5) == Domain((-0.5, -2.0, 0.0), (1.5, 2.0, 8.0))


@pytest.mark.parametrize("contracted", [False, True])
def test_domain_maps_invert(contracted):
    domain = Domain((-1.0, -2.0, 0.0), (3.0, 1.0, 2.0), contracted)
    positions = torch.randn(500, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 5
    unit = domain.unit_from_local(positions)
    assert torch.allclose(domain.local_from_unit(unit), positions, atol=1e-9)  # float64, 1/(2 - norm) amplifies by 1e2
    if contracted:
        assert ((unit > 0) & (unit < 1)).all()


def test_domain_span_is_the_slab():
    domain = Domain.cube(1.0)
    origins = torch.tensor([[-3.0, 0.0, 0.0], [-3.0, 2.0, 0.0], [0.0, 0.0, 0.0]])
    directions = torch.tensor([[1.0, 0.0, 0.0]]).expand(3, 3)
    near, far = domain.span(origins, directions)
    assert near[0] == 2 and far[0] == 4
    assert far[1] <= near[1]
    assert near[2] == 0 and far[2] == 1


def test_a_domain_without_volume_is_refused():
    with pytest.raises(ValueError, match="below upper"):
        Domain((0.0, 0.0, 0.0), (1.0, 0.0, 1.0))


def test_similarities_compose_and_invert():
    change = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (1.0, 2.0, 3.0), 2.0)
    identity = (change @ change.inverse()).matrix()
    assert torch.allclose(identity, torch.eye(4, dtype=torch.float64), atol=1e-12)  # float64
    with pytest.raises(ValueError, match="orthonormal"):
        Similarity(((1.0, 0.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)))


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
def test_spherical_harmonics_are_orthonormal(degree):
    # Gauss-Legendre in cos(theta) and a uniform rule in phi integrate products of degree 6 exactly.
    nodes, weights = np.polynomial.legendre.leggauss(8)
    phi = torch.arange(16, dtype=torch.float64) * (2 * torch.pi / 16)
    z = torch.tensor(nodes).repeat_interleave(16)
    ring = (1 - z * z).sqrt()
    turn = phi.repeat(8)
    directions = torch.stack([ring * turn.cos(), ring * turn.sin(), z], -1)
    weight = torch.tensor(weights).repeat_interleave(16) * (2 * torch.pi / 16)
    basis = sh_basis(directions, degree)
    gram = (basis * weight[:, None]).T @ basis
    assert torch.allclose(gram, torch.eye(sh_count(degree), dtype=torch.float64), atol=1e-12)  # exact quadrature


def test_spherical_harmonics_have_the_signs_of_condon_and_shortley():
    """Against scipy's complex ones: sqrt(2) Re Y_lm for m > 0, sqrt(2) Im Y_l|m| for m < 0."""
    directions = torch.nn.functional.normalize(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)).double())
    x, y, z = directions.T.numpy()
    polar, azimuth = np.arccos(z), np.arctan2(y, x)
    for place, (degree, order) in enumerate((l, m) for l in range(5) for m in range(-l, l + 1)):  # noqa: E741
        whole = math.sqrt(2.0 if order else 1.0) * sph_harm_y(degree, abs(order), polar, azimuth)
        wanted = whole.imag if order < 0 else whole.real
        found = sh_basis(directions, 4)[:, place].numpy()
        assert np.allclose(found, wanted, atol=1e-12), (degree, order)  # float64, polynomials of degree 4
