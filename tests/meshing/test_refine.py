"""Meshes that learn from pictures: outlines are found, texels find their colours, other charts stay as they were."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from shapes import around, ball

from volkit.geometry.triangles import Triangles
from volkit.meshing import refine
from volkit.meshing.large_steps import LargeSteps, undo_flips
from volkit.meshing.paint import Paint
from volkit.meshing.refine import refine_mesh
from volkit.meshing.textured import TexturedSurface, to_homogeneous
from volkit.meshing.unwrap import Atlas, unwrap
from volkit.rendering.renderer import renderer_for
from volkit.representations import Mesh

pytest.importorskip("embreex")
SIDE = 256


@pytest.fixture(scope="module")
def atlas() -> Atlas:
    pytest.importorskip("xatlas")
    return unwrap([ball(cells=20)], SIDE)[0]


def _striped(atlas: Atlas) -> torch.Tensor:
    """A texture with stripes along the ball's height, and what belongs to nobody in magenta."""
    texel, face, where = atlas.texels(SIDE)
    point = (atlas.surface.corners[face] * where[..., None]).sum(1)
    stripe = 0.5 + 0.4 * torch.sign((6 * point[:, 2]).sin())
    picture = torch.tensor([255, 0, 255, 255], dtype=torch.uint8).repeat(SIDE * SIDE, 1)
    picture[texel, :3] = (255 * torch.stack([stripe, 1 - stripe, point[:, 0].abs() / 2], -1)).round().to(torch.uint8)
    return picture.view(SIDE, SIDE, 4)


def _grey() -> torch.Tensor:
    return torch.full((SIDE, SIDE, 4), 128, dtype=torch.uint8).index_fill(2, torch.tensor([3]), 255)


def test_a_textured_surface_is_drawn_as_the_renderer_draws_it(atlas: Atlas) -> None:
    camera, texture = around(3)[[1]], _striped(atlas)
    surface = TexturedSurface.of(atlas, (SIDE, SIDE))
    mine = surface.draw(atlas.surface.vertices, texture[..., :3].reshape(-1, 3) / 255.0, camera).picture
    mesh = Mesh.of(atlas.surface.vertices, atlas.surface.faces, corner_uv=atlas.corner_uv, texture=texture)
    theirs = renderer_for(mesh)(mesh, camera)
    truth = torch.cat([theirs.rgb[0], theirs.opacity[0, ..., None]], -1)
    # four samples a pixel against nine: steps of 1/4 at the edges of stripes, of 1/9 at outlines
    assert float((mine - truth).square().mean().sqrt()) < 0.02
    assert float((mine - truth)[..., 3].abs().max()) < 0.2


def test_points_on_pictures_are_where_cameras_project_them(atlas: Atlas) -> None:
    camera = around(3)[[2]]
    points = to_homogeneous(atlas.surface.vertices, camera)
    pixels, ahead = camera.project(0, atlas.surface.vertices)
    torch.testing.assert_close(points[:, :2] / points[:, 2:], pixels, rtol=1e-5, atol=1e-3)  # float32 of 100 pixels
    torch.testing.assert_close(points[:, 2], ahead, rtol=1e-6, atol=1e-6)


def test_noise_of_each_step_does_not_turn_faces() -> None:
    whole, generator = ball(cells=20), torch.Generator().manual_seed(1)
    shape, target = LargeSteps(whole), whole.vertices + torch.tensor([0.0, 0.0, 0.1])
    for _ in range(200):
        noise = torch.randn(target.shape, generator=generator)  # thrice the whole way
        shape.step(shape.vertices - target + 0.3 * noise, 0.3)
    moved = shape.vertices - whole.vertices
    assert float(moved.mean(0)[2]) == pytest.approx(0.1, abs=0.03)  # Adam swings about its end by some steps' length
    after = Triangles(shape.vertices, whole.faces)
    # marching cubes leaves some faces that are nearly points
    assert ((after.spans * whole.spans).sum(-1) > 0)[whole.areas > 0.1 * whole.areas.mean()].all()


def test_faces_that_turned_over_go_back() -> None:
    whole = ball(cells=20)
    vertices = whole.vertices + 0.02 * torch.randn(whole.vertices.shape, generator=torch.Generator().manual_seed(2))
    vertices[whole.faces[0]] = -vertices[whole.faces[0]].roll(1, 0)
    assert ((Triangles(vertices, whole.faces).spans * whole.spans).sum(-1) < 0).any()
    after = undo_flips(whole, vertices)
    assert ((after.spans * whole.spans).sum(-1) >= 0).all()
    assert (after.vertices == vertices).all(-1).float().mean() > 0.5  # others stay where they went


def test_texels_are_found_and_neighbours_stay(atlas: Atlas) -> None:
    truth = _striped(atlas)
    surface, paint = TexturedSurface.of(atlas, (SIDE, SIDE)), Paint(_grey())
    wanted = truth[..., :3].reshape(-1, 3) / 255.0
    cameras = around(40)
    for _ in range(3):
        for index in range(len(cameras)):
            seen = surface.draw(atlas.surface.vertices, wanted, cameras[[index]]).picture
            drawn = surface.draw(atlas.surface.vertices, paint.texels, cameras[[index]])
            paint.observe(drawn, (seen - drawn.picture)[..., :3], 0.8)
    own = atlas.texels(SIDE)[0]
    found = paint.texture(own)
    error = (found.view(-1, 4)[own, :3].float() / 255 - wanted[own]).abs().mean()
    assert float(error) < 0.06  # pixels are two texels wide: the edges of stripes stay soft
    alien = torch.ones(SIDE * SIDE, dtype=torch.bool)
    alien[own] = False
    near = torch.nn.functional.max_pool2d((~alien).float().view(1, 1, SIDE, SIDE), 9, 1, 4)[0, 0] > 0
    assert torch.equal(found[~near], _grey()[~near]) and bool((~near).any())


def test_a_ball_grows_to_its_picture_within_its_time(atlas: Atlas, monkeypatch) -> None:
    """The source is a larger ball with stripes; the mesh begins smaller and grey. The clock ticks when it is read."""
    ticks = itertools.count()
    monkeypatch.setattr(refine, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    truth = Mesh.of(1.1 * atlas.surface.vertices, atlas.surface.faces, corner_uv=atlas.corner_uv,
                    texture=_striped(atlas))  # fmt: skip
    shares = []
    found = refine_mesh(truth, atlas, _grey(), around(30), 150.0, torch.Generator().manual_seed(0),
                    lambda fraction, **_: shares.append(fraction))  # fmt: skip
    assert next(ticks) == 151  # a second a reading: none once its time is over
    assert shares == sorted(shares) and shares[-1] > 0.9
    assert found.psnr_after > found.psnr_before + 6.0  # measured: 22
    radius = found.atlas.surface.vertices.norm(dim=-1)
    assert float(radius.mean()) == pytest.approx(1.1, abs=0.02)  # a pixel is 0.035
    assert torch.equal(found.atlas.surface.faces, atlas.surface.faces)
    assert ((found.atlas.surface.spans * atlas.surface.spans).sum(-1) >= 0).all()


def test_what_no_camera_sees_cannot_learn(atlas: Atlas) -> None:
    mesh = Mesh.of(atlas.surface.vertices, atlas.surface.faces)
    away = around(12)
    away = away.__class__(away.world_from_camera * torch.tensor([-1.0, 1, -1, 1]), away.intrinsics, away.size)
    with pytest.raises(ValueError, match="no camera sees the surface"):
        refine_mesh(mesh, atlas, _grey(), away, 1.0, torch.Generator().manual_seed(0))
