"""The public face: what `import volkit` offers, that it costs nothing before it is used, and verbs over objects."""

import inspect
import subprocess
import sys
from types import ModuleType

import pytest
import torch
from contracts.kinds import small_field

import volkit as vk

VERBS = (
    "compare", "convert", "distill", "edit", "edit_with_prompt", "extract_mesh", "fit", "generate", "load",
    "load_photos", "refine", "render", "retexture", "save",
)  # fmt: skip


def test_importing_and_help_do_not_wait_for_torch():
    code = (
        "import sys, volkit, volkit.cli; volkit.cli.main(['--help']); volkit.cli.main(['--version']); "
        "[volkit.cli.main([name, '--help']) for name in ('fit', 'convert', 'compare')]; "
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("name", vk.__all__)
def test_every_name_is_there_and_documented(name):
    found = getattr(vk, name)
    assert found.__doc__ if name != "__version__" else found
    assert name in dir(vk)


def test_a_name_that_is_not_there_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'frobnicate'"):
        vk.frobnicate  # noqa: B018


@pytest.mark.parametrize("name", VERBS)
def test_verbs_are_typed_functions(name):
    verb = getattr(vk, name)
    signature = inspect.signature(verb)
    assert inspect.isfunction(verb) and not isinstance(sys.modules.get(f"volkit.{name}"), ModuleType)
    assert signature.return_annotation is not inspect.Signature.empty
    assert all(p.annotation is not inspect.Parameter.empty for p in signature.parameters.values())


def test_load_and_save_are_those_of_the_formats(tmp_path):
    field = small_field("hash_grid")
    vk.save(field, tmp_path / "a.safetensors")
    found = vk.load(str(tmp_path / "a.safetensors"))
    assert torch.equal(found.table, field.table) and found.table.requires_grad
    with pytest.raises(ValueError, match="no such file"):
        vk.load(tmp_path / "absent.safetensors")


def splats(count: int = 200) -> "vk.Splats":
    made = vk.SplatsConfig(count, 0).build(vk.Domain.cube(1.0), torch.Generator().manual_seed(0))
    with torch.no_grad():
        made.logits.fill_(2.0)
        made.sh_dc.copy_(made.means[:, None])
    return made


def test_scenes_are_compared_by_cameras():
    camera = vk.Camera.look_at((0.0, -3.0, 1.0), size=(32, 32))
    scene = splats()
    same = vk.compare(scene, scene.with_(), camera)
    assert same.psnr is None and [view.name for view in same.views] == ["view_00"]
    half = vk.edit(scene, [vk.Decimate(0.25)])
    found = vk.compare(half, scene, camera)
    assert len(scene) == 200 and 5.0 < found.psnr < 40.0 and found.views[0].ssim < 1.0


def test_a_scene_in_memory_is_converted_into_a_file(tmp_path):
    scene, target = splats(), tmp_path / "b.spz"
    made = vk.convert(scene, target, actions=[vk.Crop(vk.Ball((0.0, 0.0, 0.0), 0.9))])
    report = made.report
    assert isinstance(report, vk.ConversionReport) and report.steps == 0 and report.source == ()
    assert report.source_splats == 200 > report.splats == len(vk.load(target)) == len(made.scene) > 0
    assert report.fidelity.measured["views"] == len(made.cameras) > 0 and report.bytes == target.stat().st_size
    with pytest.raises(FileExistsError, match="exists already"):
        vk.convert(scene, target)
    again = vk.convert(target, tmp_path / "c.ply").report
    assert again.source == (str(target),) and again.as_dict()["from"] == "splats"


def test_a_scene_in_memory_becomes_another(tmp_path, monkeypatch):
    """Nothing is written and nothing printed; the source stays as it is."""
    monkeypatch.chdir(tmp_path)
    scene, events = splats(), []
    size = vk.VoxelsConfig(resolution=8, start=8)
    options = vk.ConvertOptions(to="voxels", budget="3", config=size, size=24)
    made = vk.convert(scene, options=options, callback=events.append)
    assert (
        made.scene.config.kind == "voxels"
        and made.scene.config.resolution == 8
        and [e.step for e in events] == [1, 2, 3]
    )
    assert made.report.target is None and made.report.fidelity is None and made.report.steps == 3 and made.asset is None
    kept = vk.convert(scene)
    assert kept.scene is scene and kept.report.steps == 0
    back = vk.convert(made.scene.with_(), options=vk.ConvertOptions(to="splats", budget="2", max_splats=50, size=24))
    assert 0 < len(back.scene) <= 50 and not list(tmp_path.iterdir())


def test_exposure_is_refused_where_it_would_not_be_learnt():
    from volkit.distillation.fit import FitSettings, trainee_from_photographs

    camera, scene = vk.Camera.look_at((0.0, -3.0, 1.0), size=(8, 8)), splats()
    photos = vk.Photographs(camera, (torch.zeros(8, 8, 3, dtype=torch.uint8),), ("0",), ("train",), scene.domain)
    with pytest.raises(ValueError, match="exposure applies to fields only"):
        trainee_from_photographs(scene, photos, FitSettings(exposure=True), torch.Generator())


def test_splats_begin_at_given_points_and_fields_refuse_them():
    eyes = ((0.0, -3.0, 0.5), (3.0, 0.0, 0.5), (0.0, 3.0, 0.5))
    cameras = vk.Cameras.cat([vk.Camera.look_at(eye, size=(24, 24)) for eye in eyes])
    grey, domain = torch.full((24, 24, 3), 128, dtype=torch.uint8), vk.Domain((-1.0,) * 3, (1.0,) * 3)
    photos = vk.Photographs(cameras, (grey,) * 3, ("0", "1", "2"), ("train",) * 3, domain)
    points = torch.tensor([0.3, 0.2, -0.1]) + 0.1 * torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    made = vk.fit(photos, vk.SplatsConfig(count=40), budget="1", points=points)
    away = torch.cdist(made.scene.means.detach(), points).amin(1)
    assert len(made.scene) == 40 and float(away.max()) < 0.02  # one step of Adam moves each coordinate by its rate
    with pytest.raises(ValueError, match="points are where splats begin"):
        vk.fit(photos, vk.VoxelsConfig(resolution=4), budget="1", points=points)


@pytest.mark.parametrize(("options", "said"), [
    ({"to": "nonsense"}, "to nonsense: there is no such kind"),
    ({"to": "voxels", "surfels": True}, "about splats alone: surfels; give them with to splats"),
    ({"to": "mesh", "budget": "5s", "sh_degree": 0}, "leave out budget, sh_degree"),
    ({"sh_degree": 5}, "sh_degree 5: the harmonics of splats have degree 0 to 4"),
    ({"to": "voxels", "mesh": vk.MeshOptions()}, "about meshes alone: mesh"),
])  # fmt: skip
def test_options_that_contradict_each_other_are_told_by_the_names_of_parameters(options, said):
    with pytest.raises(ValueError, match=said):
        vk.ConvertOptions(**options)
