"""Holes are filled, faces that cannot be drawn go, and what comes out holds water."""

import math

import pytest
import torch
from shapes import ball, box, joined, sheet

from volkit.geometry.triangles import Triangles
from volkit.meshing.watertight import Repairs, clean_faces, make_watertight

trimesh = pytest.importorskip("trimesh")
manifold3d = pytest.importorskip("manifold3d")


def _checked(surface: Triangles) -> float:
    """The volume of what must be a solid, whether or not a reader joins its vertices."""
    for process in (False, True):
        shell = trimesh.Trimesh(surface.vertices.numpy(), surface.faces.numpy(), process=process)
        assert shell.is_watertight and shell.is_winding_consistent
    body = manifold3d.Manifold(manifold3d.Mesh(surface.vertices.numpy(), surface.faces.int().numpy().astype("uint32")))
    assert body.status() == manifold3d.Error.NoError
    return float(shell.volume)


def _without(surface: Triangles, gone: torch.Tensor) -> Triangles:
    return surface.keep(~gone)


def test_holes_are_filled() -> None:
    whole = ball(cells=48)
    middles = whole.corners.mean(1)
    open_ball = _without(whole, (middles[:, 2] > 0.8) | (middles[:, 0] < -0.9) | (torch.arange(len(whole)) == 17))
    cap = lambda height: math.pi * height**2 * (3 - height) / 3  # noqa: E731
    # flat lids take the caps away; chords of the lattice and one row of faces that straddles the cut
    assert _checked(make_watertight(open_ball)) == pytest.approx(4 / 3 * math.pi - cap(0.2) - cap(0.1), rel=0.01)
    # manifold3d joins what float32 cannot tell apart
    assert len(make_watertight(whole)) == pytest.approx(len(whole), rel=0.01)


def test_a_sliver_hole_and_touching_holes_are_filled() -> None:
    cube = box()
    for gone in ([0], [0, 1], [0, 5], [0, 1, 4, 5], list(range(0, 12, 2))):
        some = _without(cube, torch.isin(torch.arange(12), torch.tensor(gone)))
        assert _checked(make_watertight(some)) > 0.3


def test_boxes_that_share_an_edge_come_apart() -> None:
    assert _checked(make_watertight(joined(box(), box(middle=(1.0, 1.0, 0.0))))) == pytest.approx(2.0, rel=1e-3)


def test_inside_out_is_turned() -> None:
    assert _checked(make_watertight(Triangles(box().vertices, box().faces.flip(1)))) == pytest.approx(1.0)


def test_what_is_no_solid_is_drawn_anew() -> None:
    slab = _checked(make_watertight(sheet(4), 64))
    assert slab == pytest.approx(1.0 / 64, rel=0.2)  # half a spacing to either side
    one_turned = box()
    one_turned.faces[3] = one_turned.faces[3].flip(0)
    # 1 / 64 wide lattice, half a spacing farther out on each side, rounded edges
    assert _checked(make_watertight(one_turned, 64)) == pytest.approx((1 + 1 / 64) ** 3, rel=0.01)


def test_bad_faces_go_and_are_counted() -> None:
    good = box()
    vertices = torch.cat([good.vertices, torch.tensor([[math.nan, 0, 0], [0.5, 0.5, 0.5], [math.inf, 0, 0]])])
    bad = torch.tensor([[0, 1, 8], [0, 1, 10], [7, 9, 0], [2, 2, 3], [0, 2, 3], [2, 3, 0], [3, 2, 0]])
    clean, repairs = clean_faces(Triangles(vertices, torch.cat([good.faces, bad])))
    # 9 lies where 7 does; 0 2 3 is there already, and again turned; its back is a face of its own
    assert repairs == Repairs(not_finite=2, without_area=2, twice=2) and len(clean) == 13
    assert len(clean.vertices) == 8 and torch.isfinite(clean.vertices).all()
    assert _checked(make_watertight(Triangles(vertices, torch.cat([good.faces, bad[:4]])))) == pytest.approx(1.0)


@pytest.mark.parametrize("vertices", [torch.full((3, 3), math.nan), torch.zeros(3, 3)])
def test_nothing_left_is_said(vertices: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="no face is left"):
        clean_faces(Triangles(vertices, torch.tensor([[0, 1, 2]])))
