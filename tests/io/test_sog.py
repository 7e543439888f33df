"""SOG: versions 1 and 2, archives, folders and streamed scenes; within its tables of the source."""

import json
import math
import zipfile
from io import BytesIO

import numpy as np
import pytest
import torch
from mutants import survive
from PIL import Image
from splat_scenes import assert_agree, differences, random_splats, smallest_three_error

from volkit.io import FormatError, load, save
from volkit.io.splats.sog.encode import build_codebook, build_palette


def tolerances(splats):
    """Half a step of the logarithms in 16 bits, which stretch by 1 + |x|; of bytes for rotation and opacity."""
    means = splats.columns_in()["means"]
    logs = means.sign() * means.abs().log1p()
    step = float((logs.amax(0) - logs.amin(0)).max()) / 65535
    return {
        "means": 0.5 * step * (1 + float(means.abs().max())) * 1.01 + 1e-6,
        "quaternions": smallest_three_error(255),
        "logits": 0.5 / 255 + 1e-6,
        # tables of 256 over normal values: the tails have gaps of about their spread, the middle of 6 sigma / 256
        "log_scales": 0.35,
        "sh_dc": 0.35,
        "sh_rest": math.inf,  # a palette has no bound; its mean square is tested
    }


@pytest.mark.parametrize("name", ["a.sog", "meta.json"])
@pytest.mark.parametrize("degree", [0, 1, 3])
def test_written_and_read_again(tmp_path, name, degree):
    splats = random_splats(3000, degree)
    save(splats, tmp_path / name)
    again = load(tmp_path / name)
    assert again.config.degree == degree and again.provenance["version"] == 2
    assert_agree(splats, again, tolerances(splats))
    assert len(list(tmp_path.iterdir())) == (1 if name == "a.sog" else 6 + 2 * (degree > 0))


def test_models_are_kept(tmp_path):
    for settings in ({"mip": True}, {"surfels": True}):
        splats = random_splats(200, 0, **settings)
        save(splats, tmp_path / "a.sog")
        again = load(tmp_path / "a.sog")
        assert (again.config.mip, again.config.surfels) == (splats.config.mip, splats.config.surfels)
        assert again.log_scales.shape == splats.log_scales.shape


def test_equal_scenes_are_equal_files(tmp_path):
    for name in ("a.sog", "b.sog"):
        save(random_splats(500, 2), tmp_path / name)
    assert (tmp_path / "a.sog").read_bytes() == (tmp_path / "b.sog").read_bytes()


@pytest.mark.parametrize("scene", ["train-1000", "fruit_drops_minimal"])
def test_another_converters_files(shared_data, scene):
    folder = shared_data / "splats"
    source = load(folder / {"train-1000": "loaders.gl", "fruit_drops_minimal": "supersplat_history"}[scene]
                  / f"{scene}.ply")  # fmt: skip
    theirs = load(folder / "converted-by-splat-transform" / f"{scene}.sog")
    found = {name: 2 * value for name, value in tolerances(source).items()}  # cut off, not rounded: a whole step
    assert_agree(source, theirs, found | {"log_scales": 1.5, "sh_dc": 1.5})  # trained scenes have longer tails


@pytest.mark.parametrize("scene", ["train-1000", "fruit_drops_minimal"])
def test_ours_is_as_near_as_another_converters(shared_data, tmp_path, scene):
    folder = shared_data / "splats"
    source = load(folder / {"train-1000": "loaders.gl", "fruit_drops_minimal": "supersplat_history"}[scene]
                  / f"{scene}.ply")  # fmt: skip
    save(source, tmp_path / "a.sog")
    ours = differences(source, load(tmp_path / "a.sog"))
    theirs = differences(source, load(folder / "converted-by-splat-transform" / f"{scene}.sog"))
    assert ours["means"] <= theirs["means"] and ours["quaternions"] <= theirs["quaternions"] * 1.01


def test_a_streamed_capture_is_read_at_its_finest(shared_data):
    folder = shared_data / "splats" / "playcanvas_engine" / "playbot"
    whole, finest = load(folder / "lod-meta.json"), load(folder / "0_0" / "meta.json")
    assert len(whole) == 500_000 and whole.provenance["levels"] == 7
    assert torch.equal(whole.means, finest.means) and torch.equal(whole.sh_rest, finest.sh_rest)


def test_real_captures(shared_data):
    folder = shared_data / "splats" / "playcanvas_engine"
    logo = load(folder / "playcanvas-logo" / "meta.json")
    assert len(logo) == 307_128 and logo.provenance["version"] == 1 and not logo.invalid.any()
    # the page's own bounds, mapped back from their logarithms
    assert float(logo.means[:, 1].detach().min()) == pytest.approx(-math.expm1(1.3301652313761516), rel=1e-3)
    for path in sorted((folder / "flipbook").glob("*.sog")):
        assert not load(path).invalid.any()


def test_version_1(tmp_path):
    """Written here from the layout: four splats, bounds instead of tables, harmonics of degree 1."""
    random = np.random.default_rng(0)
    sizes = {"means_l": (4, 4), "means_u": (4, 4), "quats": (4, 4), "scales": (4, 4), "sh0": (4, 4),
             "centroids": (4, 192), "labels": (4, 4)}  # fmt: skip
    pixels = {name: random.integers(0, 256, (*size, 4), np.uint8) for name, size in sizes.items()}
    pixels["quats"][..., 3], pixels["labels"] = 253, np.uint8([5, 0, 0, 255]) * np.ones((4, 4, 1), np.uint8)
    for name, image in pixels.items():
        Image.fromarray(image).save(tmp_path / f"{name}.webp", lossless=True, exact=True)
    bounds = {"mins": [-1.0, -2.0, -3.0], "maxs": [1.0, 2.0, 3.0]}
    meta = {
        "means": {"shape": [4, 3], "files": ["means_l.webp", "means_u.webp"], **bounds},
        "scales": {"files": ["scales.webp"], **bounds},
        "quats": {"files": ["quats.webp"]},
        "sh0": {"files": ["sh0.webp"], "mins": [-1, -1, -1, -4], "maxs": [1, 1, 1, 4]},
        "shN": {"files": ["centroids.webp", "labels.webp"], "mins": -0.5, "maxs": 0.5},
    }
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    splats = load(tmp_path / "meta.json")
    flat = {name: image.reshape(-1, 4)[:4].astype(float) for name, image in pixels.items()}
    logs = (flat["means_l"] + 256 * flat["means_u"])[:, :3] / 65535 * [2, 4, 6] - [1, 2, 3]
    near = {"rtol": 1e-4, "atol": 1e-5}  # float32
    np.testing.assert_allclose(splats.means.detach(), np.sign(logs) * np.expm1(np.abs(logs)), **near)
    np.testing.assert_allclose(splats.log_scales.detach(), flat["scales"][:, :3] / 255 * [2, 4, 6] - [1, 2, 3], **near)
    np.testing.assert_allclose(splats.logits.detach(), flat["sh0"][:, 3] / 255 * 8 - 4, **near)
    np.testing.assert_allclose(splats.sh_dc[:, 0].detach(), flat["sh0"][:, :3] / 255 * 2 - 1, **near)
    np.testing.assert_allclose(
        splats.sh_rest[2].detach(), pixels["centroids"][0, 15:18, :3] / 255 - 0.5, **near
    )  # row 5: texels 15 to 17
    three = (flat["quats"][:, :3] / 255 * 2 - 1) / math.sqrt(2)
    np.testing.assert_allclose(splats.quaternions[:, [0, 2, 3]].detach(), three, **near)  # x is left out


def test_a_table_is_better_than_even_steps():
    values = np.random.default_rng(0).standard_normal(20000).astype(np.float32)
    centres, which = build_codebook(values)
    error = float(np.square(centres[which] - values).mean())
    # Panter and Dite (1951): sqrt(3) pi / (2 n^2) for normal values and a perfect table
    assert error < 1.3 * math.sqrt(3) * math.pi / 2 / 256**2 and (np.diff(centres) >= 0).all()


def test_a_palette_in_two_stages_is_nearly_as_good_as_in_one():
    generator = np.random.default_rng(0)
    rows = generator.standard_normal((4000, 9)).astype(np.float32) * np.linspace(1, 0.1, 9, dtype=np.float32)
    found, which = build_palette(rows, 256, generator)
    assert len(found) <= 256 and int(which.max()) < len(found)
    error = float(np.square(found[which] - rows).sum(1).mean())
    from scipy.cluster.vq import kmeans2

    centres, nearest = kmeans2(rows, 256, seed=0, minit="++", iter=20)
    best = float(((centres[nearest] - rows) ** 2).sum(1).mean())
    assert error < 1.12 * best  # rows do not cross the borders of groups: measured 1.05 to 1.1


def test_pictures_may_not_be_bombs(tmp_path):
    save(random_splats(50, 0), tmp_path / "a.sog")
    file = BytesIO()
    Image.new("RGBA", (8000, 8000)).save(file, "WEBP", lossless=True, quality=0, method=0)
    assert len(file.getvalue()) < 1 << 20
    _replaced(tmp_path / "a.sog", "quats.webp", file.getvalue())
    with pytest.raises(FormatError, match=r"a\.sog: holds quats\.webp"):
        load(tmp_path / "a.sog")


def test_archives_may_not_be_bombs(tmp_path):
    save(random_splats(50, 0), tmp_path / "a.sog")
    with zipfile.ZipFile(tmp_path / "b.sog", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("meta.json", b" " * (128 << 20))
    with pytest.raises(FormatError, match="of 134217728 bytes"):
        load(tmp_path / "b.sog")


@pytest.mark.parametrize("name", ["../secret.webp", "/etc/hostname", "", 7])
def test_names_do_not_lead_elsewhere(tmp_path, name):
    save(random_splats(50, 0), tmp_path / "meta.json")
    meta = json.loads((tmp_path / "meta.json").read_text())
    meta["quats"]["files"] = [name]
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    with pytest.raises(FormatError, match=r"which is not in its folder"):
        load(tmp_path / "meta.json")


def _replaced(path, name, data):
    with zipfile.ZipFile(path) as archive:
        parts = {n: archive.read(n) for n in archive.namelist()} | {name: data}
    with zipfile.ZipFile(path, "w") as archive:
        for n, part in parts.items():
            archive.writestr(n, part)


def test_mutants(tmp_path):
    path = tmp_path / "a.sog"
    save(random_splats(20, 1), path)
    assert survive(path, path.read_bytes()) > 1 / 3


def test_mutants_of_the_page(tmp_path):
    path = tmp_path / "meta.json"
    save(random_splats(20, 1), path)
    assert survive(path, path.read_bytes()) > 1 / 3


def test_mutants_of_a_tree(tmp_path):
    save(random_splats(20, 1), tmp_path / "a.sog")
    path = tmp_path / "lod-meta.json"
    leaves = [{"lods": {"0": {"file": 0, "offset": at, "count": 10}}} for at in (0, 10)]
    path.write_text(json.dumps({"lodLevels": 1, "filenames": ["a.sog"], "tree": {"children": leaves}}))
    assert len(load(path)) == 20
    assert survive(path, path.read_bytes()) > 1 / 6
