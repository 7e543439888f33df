"""Meshes made of scenes: known shapes come back, with their colours, in files that others open."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from shapes import around, ball, joined

from volkit import cli
from volkit.geometry import Domain, Rays, Similarity
from volkit.geometry.triangles import Triangles
from volkit.io import load, save
from volkit.io.fields.analytic_scene import bundled
from volkit.meshing import pipeline as mesh_job
from volkit.meshing.fusion import fuse_depths
from volkit.meshing.lattice import extract_known_zero, lattice_over
from volkit.meshing.pipeline import free_memory
from volkit.meshing.simplify import make_levels, simplify, smooth
from volkit.meshing.surface import drop_hidden_faces, drop_small_components, visible_faces
from volkit.meshing.unwrap import unwrap
from volkit.rendering.surface import first_hits
from volkit.representations import AnalyticField, Mesh
from volkit.representations.splats import SplatsConfig

trimesh = pytest.importorskip("trimesh")


def test_a_ball_on_a_lattice() -> None:
    whole = ball()
    # linear between points of a function that is nearly linear: h^2 / 8 of curvature 1, h = 0.075
    assert (whole.vertices.norm(dim=-1) - 1).abs().max() < 2e-3
    outward = torch.nn.functional.normalize(whole.corners.mean(1), dim=-1)
    assert ((whole.spans * outward).sum(-1) > 0).all()
    assert trimesh.Trimesh(whole.vertices.numpy(), whole.faces.numpy(), process=False).is_watertight
    assert float(whole.areas.sum()) == pytest.approx(4 * math.pi, rel=1e-2)  # chords of arcs of 0.075


def test_only_blocks_that_are_known_are_drawn() -> None:
    lattice = lattice_over(torch.full((3,), -1.2), torch.full((3,), 1.2), 64)
    point = torch.tensor([[0.0, 0.0, 1.0]])
    index, points = lattice.points(lattice.blocks_near(point, 0.1).nonzero())
    part = extract_known_zero(lattice, index, 1 - points.norm(dim=-1))
    assert part.vertices[:, 2].min() > 0 and (part.vertices.norm(dim=-1) - 1).abs().max() < 1e-3


def test_what_nobody_sees_goes() -> None:
    outer, inner = ball(1.0), ball(0.5)
    crumb = Triangles(0.02 * ball(1.0, cells=8).vertices + 1.15, ball(1.0, cells=8).faces)
    whole = joined(outer, inner, crumb)
    seen = visible_faces(whole, Similarity(), around())
    clean = drop_small_components(drop_hidden_faces(whole, seen))
    assert (clean.vertices.norm(dim=-1) - 1).abs().max() < 2e-3 and len(clean) == len(outer)


def test_fewer_faces_stay_on_the_ball() -> None:
    dense = ball(cells=64)
    few = simplify(smooth(dense), 500)
    assert 400 < len(few) <= 500
    points, _ = few.sample(5000, torch.Generator().manual_seed(0))
    # 500 equal triangles of a unit ball have sides of 0.24, and sagittas of 0.24^2 / 8
    assert (points.norm(dim=-1) - 1).abs().mean() < 0.0072
    assert [len(level) for level in make_levels(dense, 1600, 3)] == pytest.approx([1600, 400, 100], abs=4)
    with pytest.raises(ValueError, match="faces 3, lods 1: the last level would have fewer than 4"):
        make_levels(dense, 3, 1)


def test_folded_faces_have_a_normal() -> None:
    corners = torch.tensor([[0.0, 0, 0], [1e-5, 0, 0], [0, 1e-5, 0], [0, 0, 1]])
    folded = Triangles(corners, torch.tensor([[0, 1, 2], [2, 1, 0], [3, 3, 3]]))
    # float32 after float64: an ulp
    torch.testing.assert_close(folded.normals.norm(dim=-1), torch.ones(4), atol=1e-6, rtol=0)


def test_charts_of_no_level_overlap() -> None:
    atlases = unwrap(make_levels(ball(), 1000, 2), 256)
    met, texels = 0.0, []
    for atlas in atlases:
        texel, face, where = atlas.texels(256)
        uv = (atlas.corner_uv[face] * where[..., None]).sum(1)
        assert atlas.corner_uv.min() >= 0 and atlas.corner_uv.max() <= 1
        centre = torch.stack([texel % 256 + 0.5, texel // 256 + 0.5], -1) / 256
        torch.testing.assert_close(uv, centre, atol=1e-4, rtol=0)  # float32 barycentrics of texels
        a, b, c = (atlas.corner_uv * 256).unbind(1)
        met += float((0.5 * ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0])).abs().sum())
        texels.append(texel)
    # where charts overlapped, fewer texels than their areas' sum would be met; borders count as half a texel
    assert len(torch.cat(texels).unique()) == pytest.approx(met, rel=0.02)
    assert atlases[0].density(256) == pytest.approx(2 * atlases[1].density(256), rel=0.1)  # coarse: half as fine


def test_depths_are_fused() -> None:
    whole = ball(cells=64)
    mesh = Mesh.of(whole.vertices, whole.faces)
    found = fuse_depths(mesh, Domain.cube(1.2), around(48, 128), 64)
    # pixels are 0.03 wide at the ball, and depth is the mean over them
    assert (found.vertices.norm(dim=-1) - 1).abs().mean() < 0.01
    assert float(found.areas.sum()) == pytest.approx(4 * math.pi, rel=0.05)


def test_what_is_fuzzy_has_no_pits() -> None:
    generator = torch.Generator().manual_seed(0)
    scene = SplatsConfig(count=3000, degree=0).build(Domain.cube(1.2), generator)
    outward = torch.nn.functional.normalize(torch.randn(3000, 3, generator=generator), dim=-1)
    with torch.no_grad():  # half opaque all through a shell: each camera loses half of its light elsewhere
        scene.means.copy_(outward * (0.5 + 0.5 * torch.rand(3000, 1, generator=generator)))
        scene.log_scales.fill_(math.log(0.04))
        scene.logits.zero_()
    found = fuse_depths(scene, Domain.cube(1.2), around(48, 128), 64)
    face = first_hits(found.vertices, found.faces, Rays(3.0 * outward, -outward))[0].long()
    met = (face >= 0) & ((found.spans[face.clamp_min(0)] * outward).sum(-1) > 0)
    assert met.float().mean() > 0.999  # 0.983 where what lies deeper than the band says nothing


def _told(capsys) -> dict:
    return json.loads(capsys.readouterr().out)


def test_a_scene_becomes_an_asset(tmp_path: Path, capsys, few_views) -> None:
    scene, target = bundled("primitives"), tmp_path / "scene.glb"
    line = ["convert", str(scene), str(target), "--faces", "4000", "--texture", "256", "--cells", "96", "--size", "64"]
    page = tmp_path / "scene.html"
    assert cli.main([*line, "--lods", "2", "--report", str(page), "--json"]) == 0
    report = _told(capsys)
    assert report["kind"] == "mesh" and 0 < report["triangles"] <= 4000
    assert len(report["levels"]) == 2 and report["levels"][1]["triangles"] <= 1000
    # three views beside the source with error maps, normals, charts, edges of two levels
    assert page.read_text().count("data:image/png") == 3 * 3 + 4
    truth, mesh = load(scene), load(target)
    assert isinstance(truth, AnalyticField) and isinstance(mesh, Mesh)
    back = truth.world_from_local.inverse().points(mesh.world_from_local.points(mesh.vertices))
    away = truth.signed_distance(back).abs()
    # half a lattice interval of 1/96 of the box, and sharp edges that a lattice rounds
    assert float(away.median()) < 0.005 * truth.domain.diagonal
    assert report["psnr_to_source"] > 22.0  # 256 texels for the whole scene; a white picture has less than 15
    whole = trimesh.load_scene(target)
    assert len(whole.to_mesh().faces) == report["triangles"]


def test_an_obj_lies_beside_its_material(tmp_path: Path, capsys, few_views) -> None:
    target = tmp_path / "scene.obj"
    line = ["convert", str(bundled("primitives")), str(target), "--faces", "500", "--texture", "64", "--cells", "48"]
    assert cli.main([*line, "--size", "32", "--watertight", "--json"]) == 0
    report = _told(capsys)
    assert report["levels"][0]["watertight"] and report["triangles"] <= 500
    mesh = load(target)
    assert isinstance(mesh, Mesh) and len(mesh.faces) == report["triangles"] and mesh.texture.shape[:2] == (64, 64)
    assert {p.suffix for p in tmp_path.iterdir()} == {".obj", ".mtl", ".png"}


@pytest.mark.parametrize(("options", "said"), [
    (["--to", "voxels", "--faces", "9"], "about meshes alone: --faces"), (["--faces", "3"], "fewer than 4 faces"),
    (["--texture", "65536"], "at most 16384"), (["--texture", "100"], "power of two"),
    (["--budget", "5s"], "extracted, not learnt"),
])  # fmt: skip
def test_what_cannot_be_is_said(tmp_path: Path, capsys, options: list[str], said: str) -> None:
    target = tmp_path / ("a.glb" if "--to" not in options else "a.safetensors")
    line = ["convert", str(bundled("primitives")), str(target), "--cells", "32", "--size", "48"]
    assert cli.main([*line, *options]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_texture_that_memory_does_not_hold_is_refused(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(mesh_job, "free_memory", lambda: 1 << 30)
    line = ["convert", str(bundled("primitives")), str(tmp_path / "a.glb"), "--texture", "8192"]
    assert cli.main(line) == 2
    said = capsys.readouterr().err
    assert "texture 8192: needs some 12.5 GiB of memory, 1.0 are free" in said and not list(tmp_path.iterdir())
    assert free_memory() > 1 << 20


def test_written_colours_come_back(tmp_path: Path) -> None:
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    uv = torch.tensor([[0.0, 1], [1, 1], [1, 0], [0, 0]])
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]])
    texture = torch.randint(256, (8, 8, 4), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    texture[..., 3] = 255
    mesh = Mesh.of(square, faces, corner_uv=uv[faces], texture=texture)
    for name in ("a.glb", "a.obj"):
        save(mesh, tmp_path / name)
        again = load(tmp_path / name)
        assert isinstance(again, Mesh) and np.array_equal(again.texture.numpy(), texture.numpy())
        world = again.world_from_local.points(again.vertices)[again.faces.long()]
        torch.testing.assert_close(world, square[faces], atol=1e-6, rtol=0)  # float32 through a turn
        torch.testing.assert_close(again.corner_uv, uv[faces], atol=1e-6, rtol=0)  # written as float32
