"""Niantic's .spz: versions 1 to 4, both frames, within its quantiser of the source."""

import gzip
import json
import struct

import numpy as np
import pytest
import torch
import zstandard
from mutants import survive
from plyfile import PlyData
from splat_scenes import assert_agree, random_splats, smallest_three_error

from volkit.cli import main
from volkit.geometry import rotations_of
from volkit.io import FormatError, load, save
from volkit.io.splats import niantic_spz as spz
from volkit.io.splats.scene import columns_from_splats

# halves of steps: 2^-12, 1/16, 1/255, 1/255/0.15, and 8 or 16 of 1/128; rotations have sign and 9 bits: 1022 steps
TOLERANCES = {"means": 0.5 / 4096 + 1e-6, "log_scales": 0.5 / 16 + 1e-6, "quaternions": smallest_three_error(1022),
              "logits": 0.5 / 255 + 1e-6, "sh_dc": 0.5 / 255 / 0.15 + 1e-6, "sh_rest": 8 / 128 + 1e-6}  # fmt: skip
OLD = TOLERANCES | {"quaternions": 3**0.5 * 0.5 / 127.5 / 0.1}  # bytes of x, y, z; w > 0.1 is the root of the rest
# Bytes of x, y, z; w, the root of the rest, is the largest: off by at most their sum; 2 per cent for the second order.
OURS = TOLERANCES | {"quaternions": 3 * 0.5 / 127.5 * 1.02}


@pytest.mark.parametrize("version", [2, 3, 4])
@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4])
def test_written_and_read_again(tmp_path, version, degree):
    splats = random_splats(500, degree, mip=degree == 2)
    spz.write(columns_from_splats(splats), tmp_path / "a.spz", version=version)
    again = load(tmp_path / "a.spz")
    assert again.config.degree == degree and again.config.mip == splats.config.mip
    assert again.provenance["version"] == version and again.provenance["spz_frame"] == "rub"
    splats.sh_rest.data.clamp_(-1, 1 - 8 / 128)  # the last step of a byte ends below 1
    assert_agree(splats, again, OURS if version == 2 else TOLERANCES, ordered=True)


@pytest.mark.parametrize("frame", ["rub", "ply", "auto"])
def test_frames_come_back(tmp_path, frame):
    splats = random_splats(100, 1)
    spz.write(columns_from_splats(splats), tmp_path / "a.spz", frame)
    assert_agree(splats, load(tmp_path / "a.spz", frame), OURS, ordered=True)
    raw = load(tmp_path / "a.spz", "ply").means
    signs = torch.tensor([1.0, 1.0, 1.0] if frame == "ply" else [1.0, -1.0, -1.0])
    assert (raw - splats.means * signs).abs().max() <= TOLERANCES["means"]


def test_the_files_record_of_its_axes_is_followed(tmp_path):
    """Axes 7 are left, up, front: x and y of a .ply the other way; 2 is a mirror image."""
    for axes, signs in ((6, (1, 1, 1)), (4, (1, -1, -1)), (7, (-1, -1, 1)), (0, (1, -1, -1))):
        (tmp_path / "a.spz").write_bytes(_plain(axes))
        splats = load(tmp_path / "a.spz", "auto")
        assert splats.columns_in()["means"][0].tolist() == pytest.approx(
            [s * p for s, p in zip(signs, (1, 2, 3), strict=True)]
        )
    (tmp_path / "a.spz").write_bytes(_plain(12))  # right, front, up: a quarter turn
    x, y, z = load(tmp_path / "a.spz", "auto").columns_in()["means"][0].tolist()
    assert (x, y, z) == pytest.approx((1, -3, 2))
    (tmp_path / "a.spz").write_bytes(_plain(2))
    with pytest.raises(FormatError, match="mirror"):
        load(tmp_path / "a.spz", "auto")


def _plain(axes):
    """Version 4 from the layout: one grey splat at 1, 2, 3."""
    parts = [b"".join((k * 4096).to_bytes(3, "little") for k in (1, 2, 3)), b"\x80", b"\x80" * 3, b"\x60" * 3,
             struct.pack("<I", 3 << 30)]  # fmt: skip
    streams = [zstandard.compress(part) for part in parts]
    record = struct.pack("<III", 0xADBE0003, 4, axes)
    table = b"".join(struct.pack("<QQ", len(s), len(p)) for s, p in zip(streams, parts, strict=True))
    head = struct.pack("<4sIIBBBBI12x", b"NGSP", 4, 1, 0, 12, 2, 5, 32 + len(record))
    return head + record + table + b"".join(streams)


@pytest.mark.parametrize("version", [1, 2])
def test_old_versions(tmp_path, version):
    """Written here from the layout: float16 positions in version 1, rotations as bytes of x, y, z in both."""
    splats = random_splats(200, 1)
    splats.sh_rest.data.clamp_(-1, 1 - 1 / 128)
    count, means = len(splats), splats.means.detach().numpy()
    if version == 1:
        positions = means.astype("<f2").tobytes()
    else:
        positions = np.round(means * 4096).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    unit = torch.nn.functional.normalize(splats.quaternions.detach(), dim=-1)
    unit = (unit * torch.where(unit[:, :1] < 0, -1, 1))[:, 1:]
    byte = lambda values: values.detach().round().clamp(0, 255).byte().numpy().tobytes()  # noqa: E731
    parts = [positions, byte(255 * splats.opacities), byte(255 * (splats.sh_dc * 0.15 + 0.5)),
             byte((splats.log_scales + 10) * 16), byte(unit * 127.5 + 127.5),
             byte(splats.sh_rest * 128 + 128)]  # fmt: skip
    head = struct.pack("<4sIIBBBB", b"NGSP", version, count, 1, 12, 1, 0)
    (tmp_path / "a.spz").write_bytes(gzip.compress(head + b"".join(parts)))
    again = load(tmp_path / "a.spz", "ply")
    assert again.config.mip
    loose = OLD | {"means": 2e-3} if version == 1 else OLD  # eleven bits of numbers up to 4
    found = unit.square().sum(-1) < 0.99  # w > 0.1: as the root of almost nothing it has a large error
    again.keep(found)
    splats.keep(found)
    assert_agree(splats, again, loose, ordered=True)


@pytest.mark.parametrize("scene", ["train-1000", "fruit_drops_minimal"])
@pytest.mark.parametrize("version", [3, 4])
def test_another_converters_files(shared_data, scene, version):
    folder = shared_data / "splats"
    source = load(folder / {"train-1000": "loaders.gl", "fruit_drops_minimal": "supersplat_history"}[scene]
                  / f"{scene}.ply")  # fmt: skip
    theirs = load(folder / "converted-by-splat-transform" / f"{scene}.v{version}.spz")
    assert theirs.provenance["version"] == version
    source.sh_rest.data.clamp_(-1, 1)
    source.log_scales.data.clamp_(-10, 6)
    source.sh_dc.data.clamp_(-0.5 / 0.15, 0.5 / 0.15)
    # theirs may be cut off where ours are rounded: a whole step
    assert_agree(source, theirs, {name: 2 * value for name, value in TOLERANCES.items()}, ordered=True)


def test_files_of_other_authors(shared_data):
    folder = shared_data / "splats"
    ply, packed = (load(folder / "metalsplatter" / f"test-splat.3-points-from-train{s}") for s in (".ply", ".spz"))
    assert packed.provenance["version"] == 3
    ply.sh_rest.data = ply.sh_rest[:, : packed.sh_rest.shape[1]]
    assert_agree(ply, packed, {name: 2 * value for name, value in TOLERANCES.items()})
    raw, v2, v3, v4 = (
        load(folder / "splat-transform_fixtures" / f"minimal-{name}.spz") for name in ("raw", "v2", "v3", "v4")
    )  # two versions of one author's program: the older one stored other axes and colours
    assert_agree(raw, v2, dict.fromkeys(TOLERANCES, 0.0), ordered=True)
    assert_agree(v3, v4, TOLERANCES, ordered=True)
    assert len(load(folder / "loaders.gl" / "two-splats.spz")) == 2


def test_the_record_is_obeyed_unasked_and_its_lack_is_told(tmp_path, capsys):
    for axes, place in {6: (1, 2, 3), 4: (1, -2, -3), 12: (1, -3, 2), 0: (1, -2, -3)}.items():
        (tmp_path / "a.spz").write_bytes(_plain(axes))
        assert main(["convert", str(tmp_path / "a.spz"), str(tmp_path / "b.ply"), "--force", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        vertex = PlyData.read(tmp_path / "b.ply")["vertex"]
        assert [float(vertex[axis][0]) for axis in "xyz"] == pytest.approx(place)
        assert any("no record of its axes" in note for note in report["notes"]) is (axes == 0)
    (tmp_path / "a.spz").write_bytes(_plain(6))
    forced = load(tmp_path / "a.spz", "rub").columns_in()["means"][0]
    assert forced.tolist() == pytest.approx([1, -2, -3])


@pytest.mark.parametrize(
    ("version", "frame", "axes"), [(4, "rub", 4), (4, "ply", 6), (3, "rub", None), (2, "ply", None)]
)
def test_version_4_says_its_axes_and_older_ones_end_with_their_parts(tmp_path, version, frame, axes):
    spz.write(columns_from_splats(random_splats(30, 1)), tmp_path / "a.spz", frame, version)
    header, parts = spz.unpack(tmp_path / "a.spz")
    assert dict(header.extensions) == ({} if axes is None else {0xADBE0003: struct.pack("<I", axes)})
    if version < 4:  # GaussianSplats3D demands that nothing follows
        assert len(gzip.decompress((tmp_path / "a.spz").read_bytes())) == 16 + sum(map(len, parts))
    assert header.version == version


@pytest.mark.parametrize(("degree", "version"), [(0, 2), (3, 2), (4, 4)])
def test_the_version_is_the_one_that_most_viewers_open(tmp_path, degree, version):
    save(random_splats(30, degree), tmp_path / "a.spz")
    assert spz.unpack(tmp_path / "a.spz")[0].version == version
    for asked in (2, 3, 4):
        save(random_splats(30, degree), tmp_path / "a.spz", spz_version=asked)
        assert spz.unpack(tmp_path / "a.spz")[0].version == asked


def test_rotations_in_bytes_are_of_the_same_ellipsoids(tmp_path):
    """A reader takes w as the root of the rest, which is far off near 0: covariances are compared, in float64."""
    splats = random_splats(2000, 0)
    with torch.no_grad():
        splats.quaternions[:1000, 0] *= 1e-3
    save(splats, tmp_path / "a.spz", spz_version=2)
    again = load(tmp_path / "a.spz")
    ours, theirs = (
        torch.nn.functional.normalize(s.columns_in()["quaternions"].double(), dim=-1) for s in (splats, again)
    )
    stretch = torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=torch.float64))
    one, other = (rotations_of(q) @ stretch @ rotations_of(q).mT for q in (ours, theirs))
    # Half the angle t is at most sqrt(3 + 3^2) half steps; a turn by t changes eigenvalues 8 apart by at most 8 t.
    assert (one - other).abs().max() <= 8 * 2 * 12**0.5 * 0.5 / 127.5


def test_far_positions_have_fewer_bits_instead_of_wrapping(tmp_path):
    splats = random_splats(50, 0)
    splats.means.data.mul_(10000)
    with pytest.warns(RuntimeWarning, match="positions are rounded by up to 0.002"):
        save(splats, tmp_path / "a.spz")
    again = load(tmp_path / "a.spz")
    step = 2.0 ** -int(np.floor(np.log2((2**23 - 1) / float(splats.means.detach().abs().max()))))
    assert (again.columns_in()["means"] - splats.means).abs().max() <= 0.5 * step * 1.001


def test_the_command_line_names_the_frame(tmp_path, capsys):
    splats = random_splats(50, 1)
    save(splats, tmp_path / "a.ply")
    line = ["convert", str(tmp_path / "a.ply"), str(tmp_path / "b.spz"), "--spz-frame", "ply", "--json"]
    assert main(line) == 0 and json.loads(capsys.readouterr().out)["spz_frame"] == "ply"
    assert_agree(splats, load(tmp_path / "b.spz", "ply"), OURS, ordered=True)
    back = ["convert", str(tmp_path / "b.spz"), str(tmp_path / "c.ply"), "--spz-frame", "ply", "--json"]
    assert main(back) == 0 and json.loads(capsys.readouterr().out)["spz_frame"] == "ply"
    assert_agree(splats, load(tmp_path / "c.ply"), OURS, ordered=True)


def test_bombs_are_refused_before_they_unpack(tmp_path):
    head = struct.pack("<4sIIBBBB", b"NGSP", 3, 1 << 24, 0, 12, 0, 0)
    (tmp_path / "a.spz").write_bytes(gzip.compress(head + bytes(1 << 24)))
    with pytest.raises(FormatError, match="claims 16777216 splats"):
        load(tmp_path / "a.spz")
    data = bytearray(_plain(4))
    start = 32 + 12 + 5 * 16
    bomb = zstandard.compress(bytes(64 << 20))
    size = struct.unpack_from("<Q", data, 44)[0]
    struct.pack_into("<Q", data, 44, len(bomb))
    (tmp_path / "b.spz").write_bytes(bytes(data[:start]) + bomb + bytes(data[start + size :]))
    with pytest.raises(FormatError, match=r"b\.spz: holds a frame of 67108864 bytes where 9 belong"):
        load(tmp_path / "b.spz")


@pytest.mark.parametrize("version", [3, 4])
def test_mutants(tmp_path, version):
    path = tmp_path / "a.spz"
    spz.write(columns_from_splats(random_splats(20, 1)), path, version=version)
    data = path.read_bytes()
    assert survive(path, data) > 1 / 3
    if version == 3:
        assert survive(path, gzip.decompress(data), gzip.compress) > 0.1
