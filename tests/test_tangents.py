"""Tangent spaces: along u, at right angles to the normal, the bitangent up the texture, also where it is mirrored."""

import math

import pytest
import torch

from volkit.geometry.triangles import Triangles, corner_tangents

SQUARE = Triangles(torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), torch.tensor([[0, 1, 2], [0, 2, 3]]))


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("angle", [0.0, 0.7, 2.0])
def test_a_turned_square(angle: float, mirrored: bool) -> None:
    turn = torch.tensor([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    uv = SQUARE.vertices[:, :2] @ turn.T  # u along (cos, sin), v up along (-sin, cos)
    if mirrored:
        uv[:, 0] = -uv[:, 0]
    uv[:, 1] = 1.0 - uv[:, 1]  # glTF's v runs down
    found = corner_tangents(SQUARE, uv[SQUARE.faces]).view(-1, 4)
    along = torch.tensor([math.cos(angle), math.sin(angle), 0.0]) * (-1 if mirrored else 1)
    torch.testing.assert_close(found[:, :3], along.expand(6, 3), atol=1e-6, rtol=0)  # float32
    bitangent = found[:, 3:] * torch.linalg.cross(torch.tensor([0.0, 0, 1]).expand(6, 3), found[:, :3])
    up = torch.tensor([-math.sin(angle), math.cos(angle), 0.0])
    torch.testing.assert_close(bitangent, up.expand(6, 3), atol=1e-6, rtol=0)


def test_a_bent_strip_weighs_by_angle() -> None:
    """Two faces that meet at a ridge of 90 degrees, with u across it: by symmetry level on the ridge."""
    vertices = torch.tensor([[-1.0, 0, -1], [0, 0, 0], [1, 0, -1], [-1, 1, -1], [0, 1, 0], [1, 1, -1]])
    faces = torch.tensor([[0, 1, 4], [0, 4, 3], [1, 2, 5], [1, 5, 4]])
    u = torch.tensor([0.0, 0.5, 1.0]).repeat(2)
    uv = torch.stack([u, torch.tensor([1.0, 1, 1, 0, 0, 0])], -1)
    found = corner_tangents(Triangles(vertices, faces), uv[faces])
    level = torch.linalg.cross(torch.tensor([0.0, 1, 0]).expand(2, 3), Triangles(vertices, faces).normals[[1, 4]])
    torch.testing.assert_close(found[0, 1, :3], level[0], atol=1e-6, rtol=0)
    torch.testing.assert_close(found[0, 2, :3], level[1], atol=1e-6, rtol=0)
    assert torch.equal(found[0, 1], found[2, 0])  # one vertex, one uv, one tangent


def test_faces_without_area_and_without_uv() -> None:
    flat = Triangles(torch.zeros(3, 3), torch.tensor([[0, 1, 2]]))
    for surface, uv in ((SQUARE, torch.zeros(2, 3, 2)), (flat, torch.rand(1, 3, 2))):
        found = corner_tangents(surface, uv)
        assert torch.isfinite(found).all() and torch.allclose(found[..., :3].norm(dim=-1), torch.ones(()))
