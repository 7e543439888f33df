"""Solids to collide with are closed, convex and about the shape."""

import pytest
import torch
from shapes import ball, box, joined, sheet

from volkit.geometry.triangles import Triangles
from volkit.meshing.colliders import MAX_PIECE_VERTICES, MAX_PIECES, MAX_VERTICES, build_colliders

trimesh = pytest.importorskip("trimesh")


def _turned(surface: Triangles) -> Triangles:
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))[0]
    return Triangles(surface.vertices @ (turn * turn.det()), surface.faces)


def _ell() -> Triangles:
    """Two boxes that make an L: half of its hull is empty."""
    return joined(box((2.0, 0.4, 0.4)), box((0.4, 0.4, 2.0), (-0.8, 0.0, 1.2)))


def _outside(solid: Triangles, points: torch.Tensor) -> torch.Tensor:
    """How far points lie beyond the planes of a convex solid."""
    normal = torch.nn.functional.normalize(solid.spans.double(), dim=-1)
    return ((points.double()[:, None] - solid.corners[:, 0].double()) * normal).sum(-1).amax(1)


SOLIDS = {"ball": ball(cells=24), "box": box((1.0, 2.0, 0.5)), "turned": _turned(box((1.0, 2.0, 0.5))), "ell": _ell(),
          "sheet": sheet()}  # fmt: skip


@pytest.mark.parametrize("name", SOLIDS)
@pytest.mark.parametrize("shape", ["convex", "hulls", "box"])
def test_all_are_closed_and_convex(shape, name: str) -> None:
    if shape == "hulls":
        pytest.importorskip("coacd")
    surface = SOLIDS[name]
    found = build_colliders(surface, shape)
    diagonal = float((surface.vertices.amax(0) - surface.vertices.amin(0)).norm())
    for solid in found:
        shell = trimesh.Trimesh(solid.vertices.numpy(), solid.faces.numpy(), process=False)
        assert shell.is_watertight and shell.is_winding_consistent and shell.volume > 0
        # float32 vertices of a hull found in float64
        assert float(_outside(solid, solid.vertices).max()) < 1e-6 * diagonal
        assert len(solid.vertices) <= (MAX_PIECE_VERTICES if shape == "hulls" else MAX_VERTICES)
        assert len(solid) <= 255
    assert len(found) <= (MAX_PIECES if shape == "hulls" else 1)


def test_a_hull_of_few_vertices_is_nearly_the_hull() -> None:
    (solid,) = build_colliders(ball(cells=48), "convex")
    assert len(solid.vertices) == MAX_VERTICES
    # caps of 128 even points on a unit ball are 0.18 wide, and a chord of 0.36 sags by 0.016; farthest first is uneven
    assert float(_outside(solid, ball(cells=48).vertices).max()) < 0.04


def test_a_box_is_the_smallest() -> None:
    (upright,) = build_colliders(SOLIDS["box"], "box")
    assert torch.equal(upright.vertices.amax(0), torch.tensor([0.5, 1.0, 0.25])) and len(upright) == 12
    (turned,) = build_colliders(SOLIDS["turned"], "box")
    assert trimesh.Trimesh(turned.vertices.numpy(), turned.faces.numpy()).volume == pytest.approx(1.0, rel=1e-4)
    # trimesh's search is exact over edges of the hull; float32 corners


def test_hulls_follow_a_shape() -> None:
    pytest.importorskip("coacd")
    whole, parts = build_colliders(_ell(), "convex"), build_colliders(_ell(), "hulls")
    volume = lambda solids: sum(trimesh.Trimesh(s.vertices.numpy(), s.faces.numpy()).volume for s in solids)  # noqa: E731
    # the boxes hold 0.64 together, their hull about 1.2; the grid of 50 that the cuts are made on thickens the arms
    assert len(parts) > 1 and volume(parts) < 0.8 < volume(whole)
    again = build_colliders(_ell(), "hulls")
    assert all(torch.equal(a.vertices, b.vertices) for a, b in zip(parts, again, strict=True))


def test_nothing_has_no_collider() -> None:
    with pytest.raises(ValueError, match="no faces"):
        build_colliders(Triangles(torch.zeros(0, 3), torch.zeros(0, 3, dtype=torch.long)), "convex")
