"""`volkit render`: where its cameras stand, contact sheets, edits, and words that contradict each other."""

import imageio.v3 as imageio
import pytest
from engines.assets import ball
from engines.cloud import cloud

from volkit import cli
from volkit.io import save


@pytest.fixture(scope="module")
def mesh(tmp_path_factory):
    path = tmp_path_factory.mktemp("mesh") / "ball.glb"
    save(ball(2), path)
    return path


def picture(path, target, *words):
    assert cli.main(["render", str(path), str(target), "--size", "32", "--force", *words]) == 0
    return imageio.imread(target).astype(float)


def test_a_sheet_shows_four_sides(mesh, tmp_path):
    sheet = picture(mesh, tmp_path / "sheet.png", "--sheet", "--distance", "3")
    assert sheet.shape == (64, 64, 3)
    left = picture(mesh, tmp_path / "left.png", "--azimuth", "270", "--distance", "3")
    assert abs(sheet[32:, 32:] - left).max() <= 1  # the last of four, to a rounding of float32 angles
    assert abs(sheet[:32, :32] - sheet[32:, :32]).mean() > 1.0  # front and back have other colours


def test_distance_and_angle_change_how_large_it_is(mesh, tmp_path):
    def covered(*words):
        return int((picture(mesh, tmp_path / "a.png", *words).min(-1) < 250).sum())

    near, far = covered("--distance", "2"), covered("--distance", "4")
    assert near > 2.5 * far > 0  # a quarter of the area, less what perspective hides of a ball
    assert covered("--distance", "4", "--fov", "20") > 2.5 * far  # half the angle is four times the area


def test_edits_come_before_the_picture(tmp_path, capsys):
    save(cloud(300), tmp_path / "cloud.ply")
    whole = picture(tmp_path / "cloud.ply", tmp_path / "a.png")
    part = picture(tmp_path / "cloud.ply", tmp_path / "b.png", "--edit", "crop:sphere:0.4,0,0,0.3")
    assert abs(whole - part).mean() > 1.0 and "splats are left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--azimuth", "10", "--view", "0"], "--azimuth places a camera, --view takes one that is known"),
        (["--sheet", "--orbit", "3"], "choose one of"),
        (["--fov", "190"], "--fov is an angle between 0 and 180"),
        (["--distance", "0"], "--distance is more than 0"),
        (["--edit", "nonsense"], "nonsense"),
    ],
)
def test_words_that_cannot_be(mesh, tmp_path, capsys, words, said):
    assert cli.main(["render", str(mesh), str(tmp_path / "a.png"), *words]) == 2
    assert said in capsys.readouterr().err and not list(tmp_path.iterdir())
