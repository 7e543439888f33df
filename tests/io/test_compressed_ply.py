"""PlayCanvas' compressed .ply: within its quantiser of the source, and of what another converter made of it."""

import numpy as np
import pytest
import torch
from mutants import survive
from plyfile import PlyData, PlyElement
from splat_scenes import C0, assert_agree, random_splats, smallest_three_error, widest

from volkit.io import FormatError, load, save
from volkit.io.splats.compressed_ply import BOUND_COLUMNS, CHUNK_SPLATS


def tolerances(splats):
    """Half a step: 10 bits (of y) between a chunk's bounds, which lie within the scene's."""
    columns = splats.columns_in()
    half = 0.5 / 1023 * 1.001 + 1e-6  # float32
    return {
        "means": widest(columns["means"]) * half,
        "log_scales": widest(columns["log_scales"]) * half,
        "quaternions": smallest_three_error(1023),
        "logits": 0.5 / 255 + 1e-6,
        "sh_dc": widest(columns["sh_dc"][:, 0]) * 0.5 / 255 * 1.001 + 1e-5,
        "sh_rest": 8 / 256 / 2 + 1e-6,
    }


@pytest.mark.parametrize("degree", [0, 1, 2, 3])
@pytest.mark.parametrize("count", [1, CHUNK_SPLATS, 600])
def test_written_and_read_again(tmp_path, degree, count):
    splats = random_splats(count, degree)
    save(splats, tmp_path / "a.compressed.ply")
    again = load(tmp_path / "a.compressed.ply")
    assert again.config.degree == degree
    assert_agree(splats, again, tolerances(splats))


def test_packed_once_is_packed_for_good(tmp_path):
    splats = random_splats()
    save(splats, tmp_path / "a.compressed.ply")
    once = load(tmp_path / "a.compressed.ply")
    save(once, tmp_path / "b.compressed.ply")
    tight = {"means": 1e-5, "log_scales": 1e-5, "quaternions": 2e-5, "logits": 1e-6, "sh_dc": 1e-5, "sh_rest": 0.0}
    # chunks may fall otherwise, but the ends of each are values of the first: all but those are on a new lattice
    found = tolerances(splats) | {"sh_rest": tight["sh_rest"], "logits": tight["logits"]}
    assert_agree(once, load(tmp_path / "b.compressed.ply"), found)


@pytest.mark.parametrize("scene", ["train-1000", "fruit_drops_minimal"])
def test_another_converters_files(shared_data, scene):
    source = load(shared_data / "splats" / "converted-by-splat-transform" / f"{scene}.ply") if scene != "train-1000" \
        else load(shared_data / "splats" / "loaders.gl" / "train-1000.ply")  # fmt: skip
    theirs = load(shared_data / "splats" / "converted-by-splat-transform" / f"{scene}.compressed.ply")
    assert_agree(source, theirs, tolerances(source))


def test_ours_is_no_worse_than_another_converters(shared_data, tmp_path):
    source = load(shared_data / "splats" / "loaders.gl" / "train-1000.ply")
    theirs = shared_data / "splats" / "converted-by-splat-transform" / "train-1000.compressed.ply"
    save(source, tmp_path / "a.compressed.ply")
    bodies = [path.read_bytes().partition(b"end_header\n")[2] for path in (tmp_path / "a.compressed.ply", theirs)]
    assert len(bodies[0]) == len(bodies[1])  # comments aside
    both = [load(path).means.amax(0) for path in (tmp_path / "a.compressed.ply", theirs)]
    torch.testing.assert_close(*both)  # the ends of a chunk are exact


def test_a_real_capture(shared_data):
    guitar = load(shared_data / "splats" / "playcanvas_engine" / "guitar.compressed.ply")
    assert len(guitar) == 90854 and guitar.config.degree == 0 and not guitar.invalid.any()


def test_old_files_without_bounds_of_colours(tmp_path):
    """Written here from the layout: one chunk, colours span [0, 1]."""
    chunk = np.zeros(1, [(name, "<f4") for name in BOUND_COLUMNS[:12]])
    chunk["max_x"], chunk["min_scale_y"], chunk["max_scale_y"] = 2.0, -3.0, -1.0
    words = ("packed_position", "packed_rotation", "packed_scale", "packed_color")
    vertex = np.zeros(2, [(word, "<u4") for word in words])
    vertex["packed_position"] = [0, 2047 << 21]
    vertex["packed_scale"] = [1023 << 11, 0]
    vertex["packed_rotation"] = [2 << 30 | 512 << 20 | 512 << 10 | 512, 0x3FFFFFFF]
    vertex["packed_color"] = [0xFF8000FF, 0x00000000]
    PlyData([PlyElement.describe(chunk, "chunk"), PlyElement.describe(vertex, "vertex")], byte_order="<").write(
        tmp_path / "a.compressed.ply"
    )
    splats = load(tmp_path / "a.compressed.ply")
    assert splats.means.tolist() == [[0, 0, 0], [2, 0, 0]] and splats.log_scales[:, 1].tolist() == [-1, -3]
    assert splats.quaternions[0].argmax() == 2 and splats.quaternions[0, 2] > 0.999
    half = 1 / 2**0.5
    assert splats.quaternions[1].tolist() == pytest.approx([0.0, half, half, half], abs=1e-6)  # float32
    colour = (0.5 + C0 * splats.sh_dc[0, 0]).tolist()
    assert colour == pytest.approx([1.0, 128 / 255, 0.0], abs=1e-6) and splats.opacities[0] > 0.999


@pytest.mark.parametrize("damage", ["chunks", "short", "columns"])
def test_a_damaged_file_is_refused_by_name(tmp_path, damage):
    path = tmp_path / "a.compressed.ply"
    save(random_splats(300, 1), path)
    data = path.read_bytes()
    changed = {
        "chunks": data.replace(b"element chunk 2", b"element chunk 1") + bytes(72),
        "short": data[:-1],
        "columns": data.replace(b"packed_scale", b"packed_scalp"),
    }[damage]
    path.write_bytes(changed)
    with pytest.raises(FormatError, match=r"a\.compressed\.ply"):
        load(path)


def test_mutants(tmp_path):
    path = tmp_path / "a.compressed.ply"
    save(random_splats(20, 1), path)
    assert survive(path, path.read_bytes()) > 1 / 3
