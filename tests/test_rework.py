"""Assets under a prior: refined, painted, edited; what was to stay has stayed."""

from dataclasses import replace

import pytest
import torch
from guidance import small_pipelines
from test_generate import AROUND, SIZE, one_thread, seeded, sphere, student  # noqa: F401
from test_generate_job import prior  # noqa: F401

import volkit
from volkit.commands.edit_with_prompt import EditWithPromptJob
from volkit.commands.refine import RefineJob
from volkit.commands.retexture import RetextureJob
from volkit.generation import change_mask
from volkit.generation.start_asset import control_picture, place_of, with_uv
from volkit.geometry import Domain, Similarity
from volkit.guidance import METHODS
from volkit.meshing.simplify import median_bend
from volkit.progress import Progress
from volkit.rendering.viewpoints import orbit_cameras
from volkit.representations import Look, Mesh, SplatsConfig
from volkit.representations.voxels import VoxelsConfig
from volkit.training.loop import Budget, StepInfo, TrainingLoop

QUIET = Progress()


def asset(kind, path):
    """A small thing of a kind in a file."""
    if kind == "mesh":
        volkit.save(sphere(), path.with_suffix(".glb"))
        return path.with_suffix(".glb")
    if kind == "splats":
        scene = SplatsConfig(count=60, degree=0).build(Domain.cube(0.7), seeded())
    else:
        scene = VoxelsConfig(resolution=8, start=8, sh_degree=0).build(Domain.cube(1.0), seeded())
        scene.density_data.data.mul_(2000.0)  # solid: rays end where they enter
    volkit.save(scene, path.with_suffix(".safetensors"))
    return path.with_suffix(".safetensors")


@pytest.mark.parametrize("kind", ["mesh", "splats", "voxels"])
def test_every_kind_is_refined_in_its_own_frame(prior, tmp_path, monkeypatch, kind):  # noqa: F811
    monkeypatch.setattr("volkit.reports.prior_report.VIEW_SIZE", 16)
    source = asset(kind, tmp_path / "a")
    target = tmp_path / f"b{source.suffix}"
    options = dict(prior=str(prior), budget="3", report=tmp_path / "page.html")
    report = RefineJob(source, "a b", target, **options).run(QUIET)
    page = options["report"].read_text()
    assert page.count("<img") == 3 * 8 and "source" in page and "difference" in page  # before, after, where they differ
    assert report["kind"] == kind and report["steps"] == 3
    # Three steps are small ones: it is still that asset, and it is not the same.
    assert 20.0 < report["psnr_to_source"] < 80.0


def test_locked_geometry_and_uv_are_written_as_they_were_read(prior, tmp_path):  # noqa: F811
    source = tmp_path / "a.glb"
    finish = torch.randint(256, (16, 16, 3), generator=seeded(), dtype=torch.uint8)
    finish[..., 0] = 255  # nobody's channel: glTF's is occlusion
    made = sphere()
    made = made.with_look(Look.of_texture(made.corner_uv, made.texture, finish))
    volkit.save(made, source)
    before = volkit.load(source)
    for name, job in (
        ("painted", RetextureJob(source, "a b", tmp_path / "painted.glb", prior=str(prior), budget="20")),
        ("locked", RefineJob(source, "a b", tmp_path / "locked.glb", geometry="locked", prior=str(prior), budget="20")),
    ):
        job.run(QUIET)
        after = volkit.load(tmp_path / f"{name}.glb")
        assert torch.equal(after.vertices[after.faces.long()], before.vertices[before.faces.long()])
        assert torch.equal(after.corner_uv, before.corner_uv)
        assert not torch.equal(after.texture, before.texture)
        assert torch.equal(after.metallic_roughness, finish)


def test_a_noisy_mesh_is_smoothed_first_unless_told_otherwise(prior, tmp_path, monkeypatch):  # noqa: F811
    monkeypatch.setattr("volkit.generation.start_asset.orbit_cameras", lambda mesh, *_: orbit_cameras(mesh, 6, 32))
    trimesh = pytest.importorskip("trimesh")
    made = trimesh.creation.icosphere(3, 0.5)
    noise = 0.06 * torch.randn(made.vertices.shape, generator=seeded()).numpy()
    made.vertices += noise
    made.export(tmp_path / "a.glb")
    bends = {}
    options = dict(prior=str(prior), budget="1", texture=64)
    for denoise in ("auto", "off"):
        RefineJob(tmp_path / "a.glb", "a b", tmp_path / f"{denoise}.glb", denoise=denoise, **options).run(QUIET)
        bends[denoise] = median_bend(volkit.load(tmp_path / f"{denoise}.glb").triangles)
    assert bends["off"] > 30.0 > 15.0 > bends["auto"]


def test_edits_tell_what_was_not_to_be_touched(prior, tmp_path):  # noqa: F811
    """A prior of random weights asks for changes everywhere: nothing is left that was not to be touched."""
    options = dict(prior=str(prior), budget="20")
    report = EditWithPromptJob(asset("mesh", tmp_path / "a"), "a b", "c d", tmp_path / "b.glb", **options).run(QUIET)
    assert report["method"] == "dds" and report["steps"] == 20
    assert report["share_untouched"] == 0.0 and report["psnr_untouched"] is None and report["psnr_to_source"] > 20.0


def test_the_change_mask_is_where_the_gradient_is():
    gradient = torch.zeros(1, 24, 24, 3)
    gradient[:, :, :8] = 0.3
    gradient[:, :, 16:] = 0.01  # a thirtieth: less than FULL_CHANGE
    asked = change_mask(gradient)[0]
    assert (asked[:, :8] == 1.0).all() and (asked[:, 11:] < 0.1).all()
    assert (change_mask(torch.zeros(1, 8, 8, 3)) == 0.0).all()


def test_what_is_held_stays():
    """Source-anchored from a red to a blue ball: the ground about it, which both share, is held and stays white."""
    trainee = student("mesh", METHODS["dds"](), seeded())
    trainee.objective.conditions = replace(trainee.objective.conditions, preserve=5.0)
    losses = trainee.losses(StepInfo(0, 0.0, 0.0)).values
    assert losses["preserve"] >= 0.0 and losses["preserve"].requires_grad
    TrainingLoop(trainee, Budget(steps=20)).run()
    cameras = AROUND.turntable(4, SIZE)
    corners = trainee.particles[0].draw(cameras, StepInfo(0, 0.0, 1.0)).over(torch.ones(4, 3))[:, :2, :2]
    assert torch.allclose(corners, torch.ones_like(corners), atol=1e-3)  # float32 sums of a few terms


def test_edits_need_both_words(prior, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match="the prompt is empty"):
        EditWithPromptJob(asset("mesh", tmp_path / "a"), " ", "c", tmp_path / "b.glb", prior=str(prior)).run(QUIET)


def test_only_meshes_are_painted(prior, tmp_path):  # noqa: F811
    with pytest.raises(ValueError, match="not a mesh"):
        RetextureJob(asset("voxels", tmp_path / "a"), "c", tmp_path / "b.glb", prior=str(prior)).run(QUIET)


def test_assets_of_any_size_are_brought_to_the_prior():
    small = sphere()
    assert place_of(small, 1.0).is_identity  # half of the cube: as large as things may be
    for change in (Similarity(scale=20.0, translation=(3.0, -4.0, 50.0)), Similarity(scale=0.01)):
        moved = sphere()
        moved = moved.view(placement=change)
        place = place_of(moved, 1.0)
        corners = place.inverse().points(change.points(moved.vertices))
        assert corners.abs().max() == pytest.approx(0.95, abs=0.01)  # FULL; the box is a little wider than the mesh


def test_meshes_without_uv_are_unfolded():
    plain = replace_colours(sphere())
    found = with_uv(plain, 64, QUIET)
    assert found.texture.shape == (64, 64, 4) and len(found.corner_uv) == len(plain.faces)
    assert torch.equal(found.vertices, plain.vertices)
    seen = found.texture[..., :3].flatten(0, 1).float().median(0).values
    assert torch.allclose(seen, torch.tensor([200.0, 100.0, 50.0]), atol=3.0)  # eight bits, drawn and baked


def replace_colours(mesh):
    colours = torch.tensor([200, 100, 50, 255], dtype=torch.uint8).expand(len(mesh.vertices), 4)
    return Mesh.of(mesh.vertices, mesh.faces, colours=colours)


def test_controls_are_normals_as_the_network_was_taught():
    """Red is left, green is top, blue is front (ControlNet 1.1); what nothing is, is grey."""
    picture = control_picture(sphere(), replace(AROUND, distance=(2.0, 2.0)).turntable(2, SIZE), 33)
    assert picture.shape == (2, 3, 33, 33)
    for seen in picture:  # a ball is the same from everywhere; it is made of flat faces, up to 10 degrees off
        front, left, top = seen[:, 16, 16], seen[:, 16, 6], seen[:, 6, 16]
        assert torch.allclose(front, torch.tensor([0.5, 0.5, 1.0]), atol=0.12)
        assert left[0] > 0.75 and abs(left[1] - 0.5) < 0.12 and top[1] > 0.75 and abs(top[0] - 0.5) < 0.12
        assert (seen[:, 0, 0] == 0.5).all()


def test_controls_are_depth_and_edges():
    """Near is white and far is black, over black; edges are where the grey ball ends, and nowhere else."""
    pytest.importorskip("skimage")
    cameras = replace(AROUND, distance=(2.0, 2.0)).turntable(2, SIZE)
    for seen in control_picture(sphere(), cameras, 33, "depth"):
        assert seen[0, 16, 16] == 1.0 and (seen == seen[:1]).all() and seen[0, 0, 0] == 0.0
        there = seen[0, 16][seen[0, 16] > 0]
        assert (there.diff()[: len(there) // 2 - 1] > 0).all()  # towards the middle, which is nearest
    made = sphere()
    made.texture[..., :3] = 255
    for seen in control_picture(made, cameras, 33, "canny"):
        y, x = (seen[0] == 1.0).nonzero().unbind(1)
        away = ((y - 16.0).square() + (x - 16.0).square()).sqrt()
        assert len(away) > 20 and away.std() < 1.0 and set(seen.unique().tolist()) == {0.0, 1.0}


def test_a_controlnet_is_told_the_normals_of_the_asset(tmp_path, monkeypatch):
    from diffusers import ControlNetModel

    from volkit.guidance.pipeline.denoiser import UnetDenoiser

    folder, heard, said = small_pipelines.latent(tmp_path / "latent"), [], UnetDenoiser._control_residuals
    network = small_pipelines.unet()
    control = ControlNetModel.from_unet(network, conditioning_embedding_out_channels=(16, 32))
    control.save_pretrained(tmp_path / "control")

    def listening(self, at, condition, told):
        heard.append(condition.control)
        return said(self, at, condition, told)

    monkeypatch.setattr(UnetDenoiser, "_control_residuals", listening)
    options = dict(prior=str(folder), control=tmp_path / "control", budget="1", size=SIZE, views=1)
    for name, job in (
        ("refined", RefineJob(asset("mesh", tmp_path / "a"), "a b", tmp_path / "b.glb", **options)),
        ("painted", RetextureJob(tmp_path / "a.glb", "a b", tmp_path / "c.glb", **options)),
        ("edited", EditWithPromptJob(tmp_path / "a.glb", "a b", "c d", tmp_path / "d.glb", **options)),
    ):
        heard.clear()
        job.run(QUIET)
        assert heard and all(told.shape[1:] == (3, 32, 32) and told[:, 2].max() > 0.9 for told in heard), name
    with pytest.raises(ValueError, match="--control conditions single views"):
        RefineJob(tmp_path / "a.glb", "a b", tmp_path / "e.glb", grid=True, **options).run(QUIET)
