"""The page of `volkit view` as text: its scenes and their frame, what it says of fields. Browsers are in `engines`."""

import base64
import json
import re
import webbrowser
from pathlib import Path
from typing import Any

import pytest
import torch
from engines.assets import ball
from engines.cloud import cloud

from volkit import cli
from volkit.geometry import Similarity
from volkit.io import load, save
from volkit.io.fields.analytic_scene import bundled
from volkit.io.opening import open_scene
from volkit.reports import view_page
from volkit.reports.view_page import quick_splats, view

PLACE = Similarity(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (40.0, 5.0, -3.0), 2.0)


@pytest.fixture(autouse=True)
def viewer(monkeypatch):
    """What `make viewer` builds need not be there."""
    monkeypatch.setattr(
        "volkit.files.bundled.viewer_page", lambda: b"<html><!-- scenes --><script>show()</script></html>"
    )


def seen(*words: str | Path) -> dict[str, Any]:
    """What the page of these sources and options tells its script, and the scenes' files beside it."""
    page = Path(words[0]).parent / "page.html"
    assert cli.main(["view", *map(str, words), "--save", str(page), "--force"]) == 0
    parts = dict(re.findall(r'<script id="([^"]+)" type="[^"]+">(.*?)</script>', page.read_text(), flags=re.DOTALL))
    told = json.loads(parts["scenes"])
    for index, scene in enumerate(told["scenes"]):
        scene["path"] = page.with_name(f"{index}-{scene['file']}")
        scene["path"].write_bytes(base64.b64decode(parts[f"scene-{index}"]))
    return told


def page_from_world(told: dict[str, Any]) -> Similarity:
    return Similarity.from_matrix(torch.tensor(told["page_from_world"], dtype=torch.float64).view(4, 4).T)


def test_splats_and_meshes_lie_in_the_frame_of_the_page(tmp_path):
    splats, mesh = cloud(mip=True), ball(2)
    splats = splats.view(placement=PLACE)
    save(splats, tmp_path / "cloud.safetensors")
    save(mesh, tmp_path / "ball.glb")
    told = seen(tmp_path / "cloud.safetensors", tmp_path / "ball.glb", "--up=-y")
    first, second = told["scenes"]
    assert (first["kind"], first["mip"], second["kind"], second["mip"]) == ("splats", True, "mesh", False)
    assert told["up"] == "-y" and told["background"] == "#ffffff"
    assert torch.tensor(told["start"]["position"]).norm() == pytest.approx(10.0)
    place, shown = page_from_world(told), load(first["path"])
    torch.testing.assert_close(shown.means, (place @ PLACE).points(splats.means.detach()), rtol=0, atol=1e-5)  # float32
    shown = load(second["path"])
    theirs, ours = (m.world_from_local.points(m.triangles.corners) for m in (shown, mesh))
    torch.testing.assert_close(theirs, place.points(ours), rtol=0, atol=1e-5)


def test_surfels_and_further_harmonics(tmp_path):
    save(cloud(surfels=True, degree=4), tmp_path / "flat.ply")
    told = seen(tmp_path / "flat.ply")
    shown = load(told["scenes"][0]["path"])
    assert bool((shown.log_scales[:, 2] < -30).all()) and shown.config.degree == 3  # what Spark takes for a surfel
    assert "degree 3" in told["scenes"][0]["note"]


def test_compact_pages(tmp_path, monkeypatch, capsys):
    save(cloud(), tmp_path / "cloud.ply")
    (exact,) = seen(tmp_path / "cloud.ply")["scenes"]
    (small,) = seen(tmp_path / "cloud.ply", "--compact")["scenes"]
    assert small["file"] == "scene.spz" and 3 * small["path"].stat().st_size < exact["path"].stat().st_size
    apart = load(small["path"]).world_from_local.points(load(small["path"]).means) - load(exact["path"]).means
    assert apart.abs().max() < 0.5 / 4096 + 1e-5  # half a step of the file
    monkeypatch.setattr(view_page, "MAX_PAGE_SPLAT_BYTES", 1)
    assert seen(tmp_path / "cloud.ply")["scenes"][0]["file"] == "scene.spz"
    assert "rounded as in .spz" in capsys.readouterr().err


def test_fields_are_shown_by_splats_and_say_so(tmp_path, capsys):
    document = json.loads(bundled("primitives").read_text())
    document["views"] |= {"train": 6, "test": 1, "size": [24, 24]}
    (tmp_path / "field.json").write_text(json.dumps(document))
    told = seen(tmp_path / "field.json", "--budget", "5")
    (scene,) = told["scenes"]
    assert scene["kind"] == "splats" and isinstance(load(scene["path"]).means, torch.Tensor)
    assert re.match(r"a quick conversion of a field \(analytic\): \d+ splats fitted for .* dB", scene["note"])
    assert scene["note"] in capsys.readouterr().err
    held_out = load(tmp_path / "field.json").capture.cameras[[6]]
    position = torch.tensor(told["start"]["position"])
    torch.testing.assert_close(position, page_from_world(told).points(held_out.centres)[0], rtol=0, atol=1e-4)
    # forward is from the first camera to the page's origin
    torch.testing.assert_close(-position / 10, held_out.forward[0], rtol=0, atol=1e-4)
    assert told["start"]["tangent"] == pytest.approx(12 / float(held_out.intrinsics[0, 1]))


def test_objects_are_shown_without_a_file(tmp_path, monkeypatch):
    """From Python: a field that has no file, beside splats, by names; nothing but the page is written."""
    monkeypatch.setattr(view_page, "QUICK_SIZE", 48)
    field = open_scene(bundled("primitives")).with_(capture=None)
    told = view({"own": field, "other": cloud(30)}, tmp_path / "page.html", budget="3")
    assert [exhibit.name for exhibit in told.exhibits] == ["own", "other"]
    assert told.page.stat().st_size == told.bytes and not told.opened
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    with pytest.raises(ValueError, match="at least one scene"):
        view([])


def test_quick_splats_look_like_their_field():
    splats, note = quick_splats(open_scene(bundled("primitives")), "30")
    found = re.search(r"([\d.]+) dB", note)
    assert found and float(found[1]) > 18.0 and len(splats) > 1000  # 30 steps; what is laid on its surface has 17


def test_the_page_is_opened_or_what_to_do_is_said(tmp_path, monkeypatch, capsys):
    save(cloud(), tmp_path / "cloud.ply")
    asked = []
    for found in (True, False):
        monkeypatch.setattr(webbrowser, "open", lambda address, found=found: asked.append(address) or found)
        assert cli.main(["view", str(tmp_path / "cloud.ply"), "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        page = Path(report["page"])
        assert asked[-1] == page.as_uri() and page.stat().st_size == report["bytes"]
        assert report["opened"] is found and any("open" in note for note in report["notes"]) is not found
        page.unlink()
        page.parent.rmdir()


def test_names_cannot_end_the_script(tmp_path):
    path = tmp_path / "<!--<script>.ply"
    save(cloud(20), path)
    assert [scene["name"] for scene in seen(path)["scenes"]] == [path.name]
    assert "<!--" not in (tmp_path / "page.html").read_text()


def test_what_cannot_be(tmp_path, monkeypatch, capsys):
    save(cloud(20), tmp_path / "cloud.ply")
    words = ["view", str(tmp_path / "cloud.ply"), "--save"]
    for target, fact in (("page.png", "name it .html"), ("cloud.ply/a.html", "cannot be written")):
        assert cli.main([*words, str(tmp_path / target)]) in (1, 2) and fact in capsys.readouterr().err
    (tmp_path / "there.html").touch()
    assert cli.main([*words, str(tmp_path / "there.html")]) == 1 and "--force" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setattr("volkit.files.bundled.PACKAGE", tmp_path)
    assert cli.main([*words, str(tmp_path / "page.html")]) == 1 and "'make viewer'" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cloud.ply", "there.html"]
