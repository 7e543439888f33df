"""mkkellogg's .ksplat: levels 0 to 2 within half their steps."""

import pytest
from mutants import survive
from splat_scenes import C0, assert_agree, random_splats

from volkit.io import FormatError, load
from volkit.io.splats import ksplat
from volkit.io.splats.scene import columns_from_splats

BYTES = {"logits": 0.5 / 255 + 1e-6, "sh_dc": 0.5 / 255 / C0 + 1e-6}
HALF = 2.0**-11  # float16: half a step of values below 2, relative
TOLERANCES = {
    0: BYTES | {"means": 0.0, "log_scales": 1e-5, "quaternions": 1e-6, "sh_rest": 0.0},
    # half a step of 5 units in 65534; of float16
    1: BYTES | {"means": 2.5 / 65534 + 1e-6, "log_scales": 1.01 * HALF, "quaternions": 2 * HALF, "sh_rest": HALF},
    2: BYTES | {"means": 2.5 / 65534 + 1e-6, "log_scales": 1.01 * HALF, "quaternions": 2 * HALF, "sh_rest": 1.2 / 255},
}  # level 2: half of 2 x 1.2, the largest of random ones, in 255 steps


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("degree", [0, 1, 2])
def test_written_and_read_again(tmp_path, level, degree):
    splats = random_splats(2000, degree)
    splats.means.data.mul_(4)  # many blocks, with full and with partial buckets
    splats.sh_rest.data.clamp_(-1.2, 1.2)
    splats.sh_dc.data.clamp_(-0.5 / C0, 0.5 / C0)  # bytes hold no colours beyond
    ksplat.write(columns_from_splats(splats), tmp_path / "a.ksplat", level)
    again = load(tmp_path / "a.ksplat")
    assert again.provenance["level"] == level and again.config.degree == degree
    size = {0: (44, 80, 140), 1: (24, 42, 72), 2: (24, 33, 48)}[level][degree]  # bytes, as published
    assert (tmp_path / "a.ksplat").stat().st_size > 4096 + 1024 + 2000 * size
    assert_agree(splats, again, TOLERANCES[level])


def test_many_in_one_place_fill_buckets(tmp_path):
    splats = random_splats(1000, 0)
    splats.means.data.mul_(0.2)
    ksplat.write(columns_from_splats(splats), tmp_path / "a.ksplat")
    section = ksplat.Section.at((tmp_path / "a.ksplat").read_bytes(), 4096)
    assert section.full == 3 and section.partial == 1
    splats.sh_dc.data.clamp_(-0.5 / C0, 0.5 / C0)
    assert_agree(splats, load(tmp_path / "a.ksplat"), TOLERANCES[1])


def test_sections_of_different_degrees(tmp_path):
    """Two files' sections in one: the lower degree is filled up by zeros."""
    for name, degree in (("a", 0), ("b", 2)):
        ksplat.write(columns_from_splats(random_splats(50, degree, seed=degree)), tmp_path / f"{name}.ksplat", 1)
    a, b = ((tmp_path / f"{name}.ksplat").read_bytes() for name in "ab")
    head = bytearray(a[:4096])
    head[4:8] = head[8:12] = (2).to_bytes(4, "little")
    head[12:16] = head[16:20] = (100).to_bytes(4, "little")
    (tmp_path / "c.ksplat").write_bytes(bytes(head) + a[4096:5120] + b[4096:5120] + a[5120:] + b[5120:])
    both = load(tmp_path / "c.ksplat")
    assert len(both) == 100 and both.config.degree == 2 and not both.sh_rest[:50].any()
    assert (both.sh_rest[50:] == load(tmp_path / "b.ksplat").sh_rest).all()


def test_the_same_splats_by_another_author(shared_data):
    folder = shared_data / "splats" / "splat-transform_fixtures"
    splat, packed = load(folder / "minimal.splat"), load(folder / "minimal.ksplat")
    assert_agree(splat, packed, TOLERANCES[0] | {"means": 1e-6, "quaternions": 2 / 128, "logits": 2 / 255,
                                                 "sh_dc": 2 / 255 / C0})  # fmt: skip


def test_damaged_files_are_refused_by_name(tmp_path):
    path = tmp_path / "a.ksplat"
    ksplat.write(columns_from_splats(random_splats(50, 1)), path)
    data = path.read_bytes()
    for changed in (data[:-100], data[:4000], data[:4096] + b"\xff" * 1024 + data[5120:]):
        path.write_bytes(changed)
        with pytest.raises(FormatError, match=r"a\.ksplat"):
            load(path)


@pytest.mark.parametrize("level", [0, 1])
def test_mutants(tmp_path, level):
    path = tmp_path / "a.ksplat"
    ksplat.write(columns_from_splats(random_splats(20, 1)), path, level)
    data = path.read_bytes()
    # headers are mostly empty: what is damaged is what holds something
    held = data[:48] + data[4096:4144] + data[5120:]
    spread = lambda part: part[:48].ljust(4096, b"\0") + part[48:96].ljust(1024, b"\0") + part[96:]  # noqa: E731
    assert survive(path, held, spread) > 0.1
