"""What a conversion says it lost is what the written file lost."""

import json
from pathlib import Path

import pytest
import torch
from contracts.kinds import small_field

from volkit.cli import main
from volkit.conversion import convert as conversion
from volkit.evaluation.evaluate import Evaluator, _apart
from volkit.evaluation.roundtrip import parameter_differences
from volkit.files.file_size import stored_bytes
from volkit.geometry import Domain, Similarity
from volkit.io import FileAxes, PlaceError, load, save
from volkit.representations import Field, Mesh, Splats, SplatsConfig


def cloud(count: int = 300, degree: int = 2) -> Splats:
    """Splats as wide as they are far apart, of any colour and opacity."""
    generator = torch.Generator().manual_seed(0)
    splats = SplatsConfig(count, degree).build(Domain.cube(1.0), generator).requires_grad_(False)
    for column, spread in ((splats.quaternions, 1.0), (splats.logits, 2.0), (splats.sh_dc, 0.5), (splats.sh_rest, 0.1)):
        column.copy_(spread * torch.randn(column.shape, generator=generator))
    return splats


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """All views are measured, however slow the machine is."""
    monkeypatch.setattr("volkit.conversion.convert.MEASURE_SECONDS", 1e9)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    save(cloud(), tmp_path / "a.ply")
    return tmp_path / "a.ply"


def converted(capsys, *words, size: int = 48) -> dict:
    """What is told of a conversion; fields are dense here, and their pictures of 12 pixels as slow as of splats 48."""
    capsys.readouterr()
    assert main(["convert", *map(str, words), "--size", str(size), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def known_field(kind: str) -> Field:
    """A field that says where it is empty, which is not looked for each time that it is opened."""
    field = small_field(kind)
    field.occupancy[0] = 0
    return field


@pytest.mark.parametrize("name", ["b.ply", "b.safetensors"])
def test_what_is_lossless_says_so(source, capsys, name):
    report = converted(capsys, source, source.with_name(name))
    assert report["max_difference"] == 0.0 and set(report["differences"].values()) == {0.0}
    assert report["psnr_to_source"] is None and report["ssim_to_source"] == pytest.approx(1.0)
    assert report["measured"]["identical_views"] == report["measured"]["views"] == 8
    assert report["measured"]["size"] == 48 and report["source_bytes"] == source.stat().st_size


@pytest.mark.parametrize(("kind", "names"), [
    ("voxels", ("a.volume.npz", "b.safetensors")), ("tensor_vm", ("a.safetensors", "b.th")),
    ("tensor_cp", ("a.th", "b.safetensors")),
])  # fmt: skip
def test_a_field_whose_kind_a_format_holds_is_written_as_it_is(tmp_path, capsys, kind, names):
    source, target = (tmp_path / name for name in names)
    save(known_field(kind), source)
    report = converted(capsys, source, target, size=12)
    assert report["steps"] == 0 and report["max_difference"] == 0.0, report["notes"]
    assert report["measured"]["identical_views"] == 8


def test_densities_of_another_unit_are_not_compared(tmp_path, capsys):
    """NanoVDB's are per world unit, whatever the field's own is."""
    field = known_field("voxels").view(placement=Similarity(scale=2.0))
    save(field, tmp_path / "a.safetensors")
    report = converted(capsys, tmp_path / "a.safetensors", tmp_path / "b.nvdb", size=12)
    assert report["steps"] == 0 and not report["differences"] and (report["psnr_to_source"] or 99.0) > 60.0, report


def test_a_field_of_the_kind_is_learnt_anew_where_it_must_be(tmp_path, capsys, monkeypatch):
    """Asked for by an option; cut; too narrow for instant-ngp."""
    monkeypatch.setattr(conversion, "BUDGET", "3")
    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save(known_field("hash_grid"), source)
    assert converted(capsys, source, target, "--budget", "2", size=12)["steps"] == 2
    assert converted(capsys, source, target, "--force", "--edit", "crop:sphere:0,0,0,0.5", size=12)["steps"] == 3
    assert converted(capsys, source, target, "--force", "--edit", "scale:2", size=12)["steps"] == 0
    report = converted(capsys, source, tmp_path / "b.ingp", size=12)
    assert report["steps"] == 3 and "distilled again" in report["notes"][0]


def test_a_full_disk_is_no_reason_to_learn(tmp_path, capsys, monkeypatch):
    save(known_field("voxels"), tmp_path / "a.safetensors")

    def full(*_, **__):
        raise PlaceError("b.safetensors", "cannot be written (No space left on device)", "free some space")

    monkeypatch.setattr(conversion, "save", full)
    assert main(["convert", str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors")]) == 1
    said = capsys.readouterr().err
    assert "free some space" in said and "distilled again" not in said


def test_quantisation_is_measured_on_the_file(source, capsys):
    """The file is what is read: bytes and steps as the format's documents say bound the differences."""
    found = converted(capsys, source, source.with_name("b.spz"))["differences"]
    assert 0.0 < found["means"] <= 0.5 / 4096 + 1e-6  # half a step; float32
    assert 0.0 < found["log_scales"] <= 1 / 32 + 1e-6 and 0.0 < found["opacities"] <= 0.5 / 255 + 1e-6
    assert 0.0 < found["sh_dc"] <= 0.5 / 255 / 0.15 + 1e-6 or found["sh_dc"] > 1.0  # bytes end at 3.3
    finer, coarser = (
        converted(capsys, source, source.with_name(name))["psnr_to_source"] for name in ("b.compressed.ply", "b.splat")
    )
    assert finer > coarser > 15.0  # .splat has no harmonics


@pytest.mark.parametrize("name", ["b.ply", "b.safetensors", "b.spz", "b.glb", "b.usdz"])
def test_formats_that_keep_the_order_are_compared(source, tmp_path, name):
    if name.endswith("usdz"):
        pytest.importorskip("pxr")
    made, target = load(source), tmp_path / name
    save(made, target)
    written = load(target)
    written = written.view(
        placement=FileAxes().source_from_read("splats", made.frame, written.frame, target) @ written.world_from_local
    )
    found = parameter_differences(made, written, target)
    assert len(found) == 6 and found["means"] < 1e-3, "the order was changed"


@pytest.mark.parametrize("name", ["b.sog", "b.compressed.ply", "b.splat"])
def test_formats_that_sort_are_not(source, tmp_path, name):
    made, target = load(source).requires_grad_(False), tmp_path / name
    save(made, target)
    written = load(target)
    assert isinstance(made, Splats) and isinstance(written, Splats)
    assert not parameter_differences(made, written, target) and len(written) == len(made)
    assert float((written.columns_in()["means"] - made.means).abs().max()) > 0.1  # so that rows are no pairs


def test_a_damaged_writer_is_seen(source, capsys, monkeypatch):
    """Nothing of what was in memory is trusted: a writer that drops half is found out."""

    def worse(scene: Splats, path: Path, **options) -> None:
        half = cloud()
        half.keep(torch.arange(0, 300, 2))
        save(half, path, **options)

    monkeypatch.setattr(conversion, "save", worse)
    report = converted(capsys, source, source.with_name("b.ply"))
    assert report["psnr_to_source"] < 30.0 and report["max_difference"] is None


def test_cuts_and_moves_are_no_loss_and_thinning_is(source, capsys):
    target = source.with_name("b.safetensors")
    moved = ["--edit", "crop:box:-1,-1,-1,0.2,1,1", "--edit", "rotate:z:30", "--edit", "scale:3"]
    report = converted(capsys, source, target, *moved)
    assert report["psnr_to_source"] is None and report["max_difference"] == 0.0
    assert report["source_splats"] == 300 > report["splats"]
    report = converted(capsys, source, target, *moved, "--edit", "decimate:0.5", "--force")
    assert 10.0 < report["psnr_to_source"] < 40.0 and report["max_difference"] == 0.0


def test_no_measure_reads_nothing_back(source, capsys, monkeypatch):
    monkeypatch.setattr("volkit.evaluation.roundtrip.open_scene", None)
    report = converted(capsys, source, source.with_name("b.spz"), "--no-measure")
    assert "psnr_to_source" not in report and report["bytes"] > 0


def test_what_is_only_written_is_not_measured(source, capsys):
    report = converted(capsys, source, source.with_name("b.csv"))
    assert "measured" not in report and "is not measured" in report["notes"][0]


def test_a_missing_flip_is_told(source, capsys, monkeypatch):
    monkeypatch.setattr("volkit.evaluation.metrics.find_spec", lambda name: None)
    report = converted(capsys, source, source.with_name("b.spz"))
    assert report["flip_to_source"] is None and "flip-evaluator" in report["measured"]["note"]
    assert report["ssim_to_source"] < 1.0


def test_a_mesh_that_was_moved_is_measured_where_it_was(tmp_path, capsys):
    pytest.importorskip("trimesh")
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    mesh = Mesh.of(corners, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
                   colours=torch.tensor([[200, 40, 40, 255]] * 4, dtype=torch.uint8))  # fmt: skip
    mesh = mesh.view(placement=Similarity(translation=(3.0, 4.0, 5.0)))
    save(mesh, tmp_path / "a.glb")
    report = converted(capsys, tmp_path / "a.glb", tmp_path / "b.glb", "--pivot", "ground")
    placed = load(tmp_path / "b.glb")
    assert isinstance(placed, Mesh)
    low = placed.world_from_local.points(placed.vertices).amin(0)
    assert float(low[2]) == pytest.approx(0.0, abs=1e-5)  # float32 of 5 units
    # places to 1e-7 of 5 units may change a pixel at an edge
    assert report["psnr_to_source"] is None or report["psnr_to_source"] > 40.0


def test_pictures_too_small_to_be_measured_are_refused(source, capsys):
    assert main(["convert", str(source), str(source.with_name("b.ply.ply")), "--size", "8"]) == 2
    assert "size 8: pictures less than 11 pixels" in capsys.readouterr().err


def test_a_page_shows_the_worst_views(source, capsys):
    page = source.with_name("report.html")
    report = converted(capsys, source, source.with_name("b.splat"), "--report", page)
    text = page.read_text(encoding="utf-8")
    assert text.count("data:image/png") == 9 and "result: error" in text  # three views: source, result, difference
    assert f"{report['psnr_to_source']:.2f} dB" in text and "shown" not in report


def test_a_scene_of_many_files_is_as_large_as_all_of_them(tmp_path):
    (tmp_path / "meta.json").write_text('{"files": ["means_l.webp", "gone.webp"]}')
    (tmp_path / "means_l.webp").write_bytes(b"x" * 100)
    (tmp_path / "other.webp").write_bytes(b"x" * 1000)
    (tmp_path / "a.obj").write_text("mtllib a.mtl\nv 0 0 0\n")
    (tmp_path / "a.mtl").write_text("map_Kd a.png\n")
    (tmp_path / "a.png").write_bytes(b"x" * 10)
    size = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert stored_bytes(tmp_path / "meta.json") == size["meta.json"] + 100
    assert stored_bytes(tmp_path / "a.obj") == size["a.obj"] + size["a.mtl"] + 10


def test_measuring_ends_in_time(source):
    generator = torch.Generator().manual_seed(0)
    hasty, whole = (Evaluator.of_scene(load(source), 48, generator, None, seconds) for seconds in (0.0, 1e9))
    assert len(hasty.truth) == len(hasty.cameras) == 1 and len(whole.truth) == len(whole.cameras) == 8


def test_views_that_are_drawn_first_lie_far_apart():
    assert _apart(8) == [0, 4, 2, 6, 1, 5, 3, 7] and _apart(1) == [0] and sorted(_apart(5)) == list(range(5))
