"""Noise of vertices is told from shape, and goes."""

import torch
from shapes import ball

from volkit.geometry.triangles import Triangles
from volkit.meshing.simplify import denoise, median_bend

EDGE = 0.075  # of the lattice that the ball comes from


def noisy(surface: Triangles, size: float) -> Triangles:
    """Every vertex moved by itself."""
    noise = torch.randn(surface.vertices.shape, generator=torch.Generator().manual_seed(0))
    return Triangles(surface.vertices + size * noise, surface.faces)


def test_noise_goes_and_the_ball_stays() -> None:
    worse = noisy(ball(), 0.4 * EDGE)
    better, rounds = denoise(worse)
    assert rounds > 0 and median_bend(better) < median_bend(worse) / 3
    before, after = ((surface.vertices.norm(dim=-1) - 1.0) for surface in (worse, better))
    # A vertex is averaged with some eight neighbours, again and again; the ball keeps its size to a part of the noise.
    assert after.std() < before.std() / 2 and after.mean().abs() < 0.3 * before.std()


def test_solids_and_faint_noise_are_left_alone() -> None:
    for surface in (ball(), noisy(ball(), 0.02 * EDGE), noisy(Triangles(ball().vertices, ball().faces[:400]), EDGE)):
        assert denoise(surface) == (surface, 0)


def test_a_surface_without_neighbours_is_left_alone() -> None:
    apart = torch.arange(3 * 600).view(-1, 3)
    surface = Triangles(torch.rand(3 * 600, 3, generator=torch.Generator().manual_seed(0)), apart)
    assert denoise(surface) == (surface, 0)
