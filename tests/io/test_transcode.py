"""Files of splats become one another by arrays alone: torch cannot even be imported, and nothing is lost by that."""

import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zstandard
from splat_scenes import random_splats

from volkit.cli import main
from volkit.io import load, save
from volkit.io.splats.columns import COLUMNS, SplatColumns
from volkit.io.splats.scene import columns_from_splats
from volkit.io.splats.transcode import read_back, transcode

READ = ("ply", "compressed.ply", "spz", "sog", "splat", "ksplat", "glb")
WRITTEN = (*READ, "csv")
SORTED = ("compressed.ply", "sog", "splat", "ksplat")
# A child in which torch is not to be had: one command line after another, and what each of them said.
CHILD = """
import contextlib, io, json, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is blocked here")

sys.meta_path.insert(0, NoTorch())
from volkit.cli import main

answers = []
for line in json.load(sys.stdin):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        status = main([*line, "--json"])
    answers.append([status, json.loads(said.getvalue())])
assert not any(name.partition(".")[0] == "torch" for name in sys.modules)
json.dump(answers, sys.stdout)
"""


def without_torch(lines: list[list[str]], **environment: str) -> list[tuple[int, dict]]:
    """Exit status and report of each command line."""
    done = subprocess.run([sys.executable, "-c", CHILD], input=json.dumps(lines), capture_output=True, text=True,
                          env={**os.environ, **environment}, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [(status, report) for status, report in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """`a.SUFFIX`: a thousand splats in each format."""
    folder = tmp_path_factory.mktemp("scenes")
    splats = random_splats(1000, 2, seed=5)
    for suffix in READ:
        save(splats, folder / f"a.{suffix}")
    return folder


def test_every_pair_of_formats_without_torch(scenes, tmp_path):
    """Byte for byte what the same scene, loaded and saved in this process, is written as."""
    pairs = [(a, b) for a in READ for b in WRITTEN]
    lines = [["convert", str(scenes / f"a.{a}"), str(tmp_path / f"{a}.to.{b}")] for a, b in pairs]
    for (a, b), (status, report) in zip(pairs, without_torch(lines), strict=True):
        assert status == 0, (a, b, report)
        assert report["splats"] == 1000 and report["backend"]["choice"] == "numpy"
        written = tmp_path / f"{a}.to.{b}"
        assert report["bytes"] == written.stat().st_size and report["source_bytes"] > 0
        (tmp_path / "scene").mkdir(exist_ok=True)
        other = tmp_path / "scene" / written.name  # of the same name, which a .glb holds
        save(load(scenes / f"a.{a}"), other)
        assert written.read_bytes() == other.read_bytes(), (a, b)


def test_bytes_are_those_of_the_formulas(tmp_path):
    """From the columns to the bytes of `.splat`, `.spz` and `.csv`, in float64 and as their documents have it."""
    splats = columns_from_splats(random_splats(1000, 1, seed=7))
    save(random_splats(1000, 1, seed=7), tmp_path / "a.ply")
    lines = [["convert", str(tmp_path / "a.ply"), str(tmp_path / f"b.{suffix}")] for suffix in ("splat", "spz", "csv")]
    lines[1] += ["--spz-version", "4"]
    assert all(status == 0 for status, _ in without_torch(lines))
    c = {name: getattr(splats, name).astype(np.float64) for name in COLUMNS}
    opacity, scale = 1 / (1 + np.exp(-c["logits"])), np.exp(c["log_scales"])
    turn = c["quaternions"] / np.linalg.norm(c["quaternions"], axis=1, keepdims=True)
    order = np.argsort(-scale.prod(1) * opacity, kind="stable")
    rows = np.frombuffer(
        (tmp_path / "b.splat").read_bytes(), [("p", "<f4", 3), ("s", "<f4", 3), ("c", "u1", 4), ("r", "u1", 4)]
    )
    np.testing.assert_array_equal(rows["p"], splats.means[order])
    np.testing.assert_array_equal(rows["s"], scale[order].astype(np.float32))
    assert_bytes(rows["c"][:, 3], 255 * opacity[order])
    assert_bytes(rows["c"][:, :3], 255 * (0.5 + 0.28209479177387814 * c["sh_dc"][order, 0]).clip(0, 1))
    assert_bytes(rows["r"], (128 + 128 * turn[order]).clip(0, 255))
    positions, alphas, colours, scales, words, harmonics = spz_parts((tmp_path / "b.spz").read_bytes())
    signs = np.array([1, -1, -1])  # right, down, front to right, up, back
    steps = np.frombuffer(b"".join(p + (b"\xff" if p[2] & 128 else b"\0") for p in chunks(positions, 3)), "<i4")
    np.testing.assert_array_equal(steps.reshape(-1, 3), np.rint(4096 * splats.means * signs))
    assert_bytes(np.frombuffer(alphas, np.uint8), 255 * opacity)
    assert_bytes(np.frombuffer(colours, np.uint8).reshape(-1, 3), (255 * (0.15 * c["sh_dc"][:, 0] + 0.5)).clip(0, 255))
    assert_bytes(np.frombuffer(scales, np.uint8).reshape(-1, 3), (16 * (c["log_scales"] + 10)).clip(0, 255))
    assert len(words) == 4000
    # y and z of degree 1 (rows 0 and 1) change sign with the axes; steps of 8 over [-1, 1]
    turned = c["sh_rest"] * np.array([-1, -1, 1])[None, :, None]
    expected = (8 * np.rint(turned * 16) + 128).clip(0, 255)
    np.testing.assert_array_equal(np.frombuffer(harmonics, np.uint8).reshape(-1, 3, 3), expected)
    table = np.loadtxt(tmp_path / "b.csv", np.float32, delimiter=",", skiprows=1)
    np.testing.assert_array_equal(table[:, :3], splats.means)
    np.testing.assert_array_equal(table[:, 6:15], splats.sh_rest.transpose(0, 2, 1).reshape(1000, 9))


def assert_bytes(found: np.ndarray, exact: np.ndarray) -> None:
    # Nearest whole numbers; the formulas run in float32, so that a value within 1e-4 of a half may go either way.
    assert np.abs(found - exact).max() <= 0.5 + 1e-4


def spz_parts(data: bytes) -> list[bytes]:
    """The six streams of version 4, by its layout: 32 bytes of header, a table of two lengths each, zstd frames."""
    magic, version, count, degree, bits, _, streams, table = struct.unpack_from("<4sIIBBBBI", data)
    assert (magic, version, count, degree, bits, streams) == (b"NGSP", 4, 1000, 1, 12, 6)
    sizes = [struct.unpack_from("<QQ", data, table + 16 * k) for k in range(streams)]
    starts = np.cumsum([table + 16 * streams, *(packed for packed, _ in sizes)])
    frames = [data[start : start + packed] for start, (packed, _) in zip(starts, sizes, strict=False)]
    return [zstandard.decompress(f, max_output_size=whole) for f, (_, whole) in zip(frames, sizes, strict=True)]


def chunks(data: bytes, size: int) -> list[bytes]:
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("suffix", [suffix for suffix in READ if suffix != "sog"])
def test_what_is_lost_is_measured_splat_by_splat(scenes, tmp_path, suffix):
    """Formats that sort, too: a splat is held against itself, or positions would be units apart."""
    made = transcode(scenes / "a.ply", tmp_path / f"b.{suffix}")
    assert (made.order is not None) == (suffix in SORTED)
    status, report = without_torch([["convert", str(scenes / "a.ply"), str(tmp_path / f"c.{suffix}")]])[0]
    assert status == 0 and report["measured"]["by"] == "parameters" and report["measured"]["splats"] == 1000
    assert "psnr_to_source" not in report and report["max_difference"] == max(report["differences"].values())
    written = read_back(made)
    assert isinstance(written, SplatColumns)
    rows = slice(None) if made.order is None else made.order
    apart = np.abs(made.splats.columns_in()["means"][rows] - written.columns_in()["means"]).max()
    # of 8 units: 11 bits of a chunk, 1/4096, 1/13000 of buckets; float32
    assert report["differences"]["means"] == pytest.approx(apart, abs=1e-6) and apart < 8 / 2047
    opacities = [1 / (1 + np.exp(-logits.astype(np.float64))) for logits in (made.splats.logits[rows], written.logits)]
    apart = np.abs(opacities[0] - opacities[1]).max()
    assert report["differences"]["opacities"] == pytest.approx(apart, abs=1e-6)  # float32
    assert apart <= 0.5 / 255 + 1e-6  # half a byte; float32


def test_axes_are_those_of_the_scenes_road(scenes, tmp_path):
    asked = [("spz", ("--spz-frame", "ply")), ("spz", ("--spz-version", "3")), ("spz", ("--frame", "zup")),
             ("ply", ("--frame", "zup")), ("glb", ("--frame", "ydown")), ("splat", ("--frame", "yup"))]  # fmt: skip
    lines = [["convert", str(scenes / "a.spz"), str(tmp_path / f"{number}.{suffix}"), *options]
             for number, (suffix, options) in enumerate(asked)]  # fmt: skip
    (tmp_path / "scene").mkdir()
    for number, ((suffix, options), (status, report)) in enumerate(zip(asked, without_torch(lines), strict=True)):
        assert status == 0 and report["differences"]["means"] <= 0.5 / 4096 + 1e-6, report  # half a step; float32
        settings = {options[0].strip("-").replace("-", "_"): int(options[1]) if options[1] == "3" else options[1]}
        scene, other = (
            load(scenes / "a.spz", settings.get("spz_frame", "auto")),
            tmp_path / "scene" / f"{number}.{suffix}",
        )
        save(scene, other, **settings)
        assert other.read_bytes() == (tmp_path / other.name).read_bytes(), (suffix, options)


def test_faults_are_told_as_ever(scenes, tmp_path):
    bad = random_splats(50, 0)
    bad.means.data[3, 1] = float("nan")
    bad.quaternions.data[7] = 0.0
    columns = columns_from_splats(bad)
    names = ["x", "y", "z", "f_dc_0", "f_dc_1", "f_dc_2", "opacity", *(f"scale_{k}" for k in range(3))]
    rows = np.zeros(50, [(name, "<f4") for name in (*names, *(f"rot_{k}" for k in range(4)))])
    for name, values in zip(rows.dtype.names, np.concatenate(
        [columns.means, columns.sh_dc[:, 0], columns.logits[:, None], columns.log_scales, columns.quaternions], 1
    ).T, strict=True):  # fmt: skip
        rows[name] = values
    head = "".join(f"property float {name}\n" for name in rows.dtype.names)
    text = f"ply\nformat binary_little_endian 1.0\nelement vertex 50\n{head}end_header\n"
    (tmp_path / "bad.ply").write_bytes(text.encode() + rows.tobytes())
    (tmp_path / "old.spz").write_bytes(b"mine")
    source, target = str(scenes / "a.ply"), str(tmp_path / "b.spz")
    lines = [
        ["convert", str(tmp_path / "bad.ply"), target],
        ["convert", str(tmp_path / "bad.ply"), target, "--drop-bad"],
        ["convert", source, str(tmp_path / "old.spz")],
        ["convert", str(tmp_path / "none.ply"), target, "--force"],
        ["convert", source, str(tmp_path / "b.xyz")],
        ["convert", source, target, "--no-measure", "--pictures"],
        ["convert", source, str(tmp_path / "new" / "b.csv")],
    ]
    found = without_torch(lines)
    assert [status for status, _ in found] == [1, 0, 1, 1, 2, 2, 0]
    reports = [report for _, report in found]
    assert "holds 2 splats with values that are not finite" in reports[0]["error"]
    assert reports[1]["splats"] == 48 and "2 splats that are not finite were dropped" in reports[1]["notes"][0]
    assert "exists already" in reports[2]["error"] and (tmp_path / "old.spz").read_bytes() == b"mine"
    assert "no such file" in reports[3]["error"] and "names no format" in reports[4]["error"]
    assert "is not measured" in reports[6]["notes"][0] and "differences" not in reports[6]
    assert not list(tmp_path.glob(".*.part"))


def test_pictures_are_drawn_where_they_are_asked_for(scenes, tmp_path, capsys):
    assert (
        main(["convert", str(scenes / "a.ply"), str(tmp_path / "b.spz"), "--pictures", "--size", "32", "--json"]) == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert report["psnr_to_source"] > 20.0 and report["measured"]["views"] > 0  # bytes of colours: far above
    assert report["differences"]["means"] <= 0.5 / 4096 + 1e-6  # half a step; float32
