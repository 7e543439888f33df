"""The page of `volkit view` in headless Chromium: the pictures are ours, no network is asked, slider and drop work."""

from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import torch
from engines.assets import ball
from engines.clients import seen_by_chromium
from engines.cloud import cloud

import volkit
from volkit import cli
from volkit.evaluation.evaluate import WHITE, render_over
from volkit.evaluation.metrics import psnr
from volkit.io import save
from volkit.io.opening import open_scene
from volkit.rendering.orbits import orbit_path
from volkit.typing import Float, Tensor

SIZE = 300
ALIKE = 25.0  # dB; measured 32 to 60: another rasteriser, splats in 16 bits, texels between which it is linear in light


@pytest.fixture(autouse=True)
def viewer() -> Path:
    built = Path(volkit.__file__).parent / "viewer" / "viewer.html"
    if not built.is_file():
        pytest.skip("no viewer here: make viewer")
    return built


def paged(*words: str | Path) -> Path:
    page = Path(words[-1])
    assert cli.main(["view", *map(str, words[:-1]), "--save", str(page)]) == 0
    return page


def looked(page: Path, *steps: list[Any]) -> list[Any]:
    """What the page answers; it must say nothing else, and ask for nothing that is not in it."""
    told = seen_by_chromium(page, [["still"], *steps], SIZE)
    assert told["said"] == []
    assert told["requests"][0] == page.as_uri()
    assert all(address.startswith(("blob:", "data:")) for address in told["requests"][1:]), told["requests"]
    return told["answers"]


def shot(path: Path) -> Float[Tensor, "height width 3"]:
    return torch.from_numpy(np.array(imageio.imread(path))[..., :3]).float() / 255.0


def same(a: Float[Tensor, "height width 3"], b: Float[Tensor, "height width 3"]) -> bool:
    """Whether pictures are equal but for a few pixels that rounding decides: 50 dB are a step of 8 bits everywhere."""
    return (psnr(a, b) or 99.0) > 50.0


def alike(path: Path, picture: Path, first: Path) -> float:
    """PSNR of a picture of a scene, as the page of `first` shows it at the start, to our own."""
    ours = render_over(open_scene(path), orbit_path(open_scene(first), 1, SIZE), WHITE)
    assert psnr(ours, torch.ones_like(ours)) < 22.0  # there is something to see
    return psnr(shot(picture), ours) or 99.0


def test_pictures_are_ours(tmp_path):
    """Splats of both modes, surfels, a mesh; each alone, with the words and buttons hidden."""
    scenes = {"classic.ply": cloud(), "mip.ply": cloud(mip=True), "flat.ply": cloud(surfels=True), "ball.glb": ball(4)}
    for name, scene in scenes.items():
        save(scene, tmp_path / name)
    paths = [tmp_path / name for name in scenes]
    steps = [["press", "h"]]
    for number, path in enumerate(paths, 1):
        steps += [["press", str(number)], ["still"], ["shot", f"{path}.png"]]
    looked(paged(*paths, tmp_path / "page.html"), *steps)
    found = {path.name: alike(path, Path(f"{path}.png"), paths[0]) for path in paths}
    assert min(found.values()) > ALIKE, found


@pytest.mark.parametrize("name", ["splats/supersplat_history/fruit_drops_minimal.ply", "meshes/spot/spot.obj"])
def test_pictures_of_real_files_are_ours(shared_data, tmp_path, name):
    page = paged(shared_data / name, tmp_path / "page.html")
    looked(page, ["press", "h"], ["still"], ["shot", str(tmp_path / "page.png")])
    assert alike(shared_data / name, tmp_path / "page.png", shared_data / name) > ALIKE


def test_slider_drop_and_keys(tmp_path):
    """Two scenes share the picture where the slider is; a dropped one is compared with the first; the camera moves."""
    splats, mesh, page = tmp_path / "cloud.ply", tmp_path / "ball.glb", tmp_path / "page.html"
    save(cloud(), splats)
    save(ball(3), mesh)
    names = ["both", "left", "right", "drop", "fly", "back"]
    pictures = {name: tmp_path / f"{name}.png" for name in names}
    take = {name: [["still"], ["shot", str(path)]] for name, path in pictures.items()}
    sides = "[left, right].map((side) => side.selectedOptions[0].text)"
    answers = looked(
        paged(splats, mesh, page),
        ["drag", [150, SIZE - 82], [75, SIZE - 82]], ["ask", "Number(slider.value)"], ["press", "h"], *take["both"],
        ["press", "1"], *take["left"], ["press", "2"], *take["right"],
        ["press", "1"], ["drop", str(mesh)], ["ask", "message.textContent"], ["ask", sides], *take["drop"],
        ["press", "1"], ["hold", "w"], *take["fly"], ["press", "r"], *take["back"],
    )  # fmt: skip
    assert answers == [pytest.approx(0.25, abs=0.01), "", ["cloud.ply", "ball.glb"]]
    both, left, right, drop, fly, back = (shot(path) for path in pictures.values())
    cut = round(answers[0] * SIZE)
    for picture in (both, drop):  # the mesh is where it was, though it came in the world's frame this time
        assert same(picture[:, : cut - 2], left[:, : cut - 2])
        assert same(picture[:, cut + 2 :], right[:, cut + 2 :])
    assert not same(fly, left) and same(back, left)


def test_a_viewer_without_scenes_takes_what_is_dropped(viewer, tmp_path):
    save(cloud(), tmp_path / "cloud.ply")
    (tmp_path / "page.html").write_bytes(viewer.read_bytes())
    (tmp_path / "broken.ply").write_bytes(b"ply of nothing")
    steps = [["drop", str(tmp_path / name)] for name in ("cloud.ply", "broken.ply")]
    asked = ["ask", "[message.textContent, left.selectedOptions[0].text]"]
    told = seen_by_chromium(tmp_path / "page.html", [["still"], steps[0], ["still"], asked, steps[1], asked], SIZE)
    assert told["answers"][0] == ["", "cloud.ply"]
    assert told["answers"][1][0].startswith("broken.ply cannot be read here")
