"""antimatter15's .splat: positions and scales exact, the rest within half a byte's step."""

import pytest
from mutants import survive
from splat_scenes import C0, assert_agree, random_splats

from volkit.io import FormatError, load, save

# q = (u - 128) / 128: half a step of each of four, and 127 / 128 is the largest; then the length is divided out
TOLERANCES = {"means": 0.0, "log_scales": 1e-5, "quaternions": 2 / 128, "logits": 0.5 / 255 + 1e-6,
              "sh_dc": 0.5 / 255 / C0 + 1e-6}  # fmt: skip


def test_written_and_read_again(tmp_path):
    splats = random_splats(600, 0)
    save(splats, tmp_path / "a.splat")
    assert (tmp_path / "a.splat").stat().st_size == 600 * 32
    clipped = (0.5 + C0 * splats.sh_dc[:, 0]).clamp(0, 1)  # bytes hold no colours beyond
    splats.sh_dc.data[:, 0] = (clipped - 0.5) / C0
    assert_agree(splats, load(tmp_path / "a.splat"), TOLERANCES | {"sh_rest": 0.0})


def test_large_and_opaque_ones_come_first(tmp_path):
    save(random_splats(100, 0), tmp_path / "a.splat")
    again = load(tmp_path / "a.splat")
    volume = again.scales.prod(-1)
    rounding = volume * (0.5 / 255)  # sorted before opacities became bytes
    assert ((volume * again.opacities).diff() <= rounding[1:] + rounding[:-1]).all()


def test_the_same_splats_by_another_author(shared_data):
    folder = shared_data / "splats" / "metalsplatter"
    ply, splat = (load(folder / f"test-splat.3-points-from-train{suffix}") for suffix in (".ply", ".splat"))
    ply.sh_rest.data = ply.sh_rest[:, :0]
    # theirs are cut off, not rounded: a whole step
    assert_agree(ply, splat, {name: 2 * value for name, value in TOLERANCES.items()} | {"means": 1e-6, "sh_rest": 0.0})


def test_a_file_of_half_a_splat_is_refused_by_name(tmp_path):
    (tmp_path / "a.splat").write_bytes(bytes(48))
    with pytest.raises(FormatError, match=r"a\.splat: has 48 bytes"):
        load(tmp_path / "a.splat")


def test_mutants(tmp_path):
    path = tmp_path / "a.splat"
    save(random_splats(20), path)
    assert survive(path, path.read_bytes()) > 1 / 3
