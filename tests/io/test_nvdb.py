"""NanoVDB as others write it: grids in one segment, deflated, of other names; and what is no fog of 32-bit floats.

What NanoVDB's own programs make of our files, and we of theirs, is in tests/engines/test_openvdb.py.
"""

import zlib
from copy import deepcopy

import numpy as np
import pytest
import torch

from volkit.geometry import Domain
from volkit.io import FormatError, load, save
from volkit.io.volumes import nvdb_probe as nvdb_look
from volkit.representations import Voxels, VoxelsConfig


@pytest.fixture(scope="module")
def field():
    made = Voxels(VoxelsConfig(resolution=6, start=6, sh_degree=0), Domain.cube(1.5))
    made.keep(torch.rand(made.links.shape, generator=torch.Generator().manual_seed(0)) < 0.5)
    with torch.no_grad():
        made.density_data.uniform_(0.1, 1.0, generator=torch.Generator().manual_seed(1))
        made.sh_data.normal_(generator=torch.Generator().manual_seed(2))
    return made.requires_grad_(False)


@pytest.fixture
def segments(field, tmp_path):
    """Header, what is said, the grid and its own header, of density and of colour; the last may be changed."""
    save(field, tmp_path / "a.nvdb")
    with (tmp_path / "a.nvdb").open("rb") as file:
        return [_segment(file) for _ in range(2)]


def _segment(file):
    header = np.frombuffer(file.read(16), nvdb_look.HEADER).copy()
    said = np.frombuffer(file.read(176), nvdb_look.META).copy()
    name, grid = file.read(int(said["name_size"][0])), bytearray(file.read(int(said["size"][0])))
    return header, said, name, grid, np.frombuffer(grid, nvdb_look.GRID, 1)


def stored(folder, *parts):
    (folder / "b.nvdb").write_bytes(b"".join(bytes(part) for part in parts))
    return folder / "b.nvdb"


def assert_same(again, field, colour=True):
    assert torch.equal(again.links, field.links) and torch.equal(again.density_data, field.density_data)
    moved = field.sh_data if colour else torch.zeros_like(field.sh_data)
    torch.testing.assert_close(again.sh_data, moved, rtol=0, atol=2.0**-22)  # by a half, times 3.5, in float32


def test_grids_share_a_segment(field, segments, tmp_path):
    (header, *density), (_, *colour) = segments
    header["grids"] = 2
    for index, parts in enumerate((density, colour)):
        parts[3]["index"], parts[3]["count"] = index, 2
    assert_same(load(stored(tmp_path, header, *density[:2], *colour[:2], density[2], colour[2])), field)


def test_grids_are_deflated(field, segments, tmp_path):
    parts = []
    for header, said, name, grid, _ in segments:
        header["codec"] = said["codec"] = 1
        packed = zlib.compress(bytes(grid))
        parts += [header, said, name, len(packed).to_bytes(8, "little"), packed]
    assert_same(load(stored(tmp_path, *parts)), field)


def test_a_lone_grid_may_have_any_name(field, segments, tmp_path):
    (header, said, _, grid, _), _ = segments
    said["name_size"] = 1
    assert_same(load(stored(tmp_path, header, said, b"\0", grid)), field, colour=False)


def test_newer_files_are_read(field, segments, tmp_path):
    """Their magic numbers tell files and grids apart."""
    parts = []
    for header, said, name, grid, own in segments:
        header["magic"], own["magic"] = b"NanoVDB2", b"NanoVDB1"
        parts += [header, said, name, grid]
    assert_same(load(stored(tmp_path, *parts)), field)


@pytest.mark.parametrize(
    ("changed", "fact"),
    [
        ({"class": nvdb_look.LEVEL_SET}, "a level set"),
        ({"type": 15}, "of type 15: write 32-bit floats"),
        ({"matrix": np.diag([1.0, 1.0, -1.0])}, "sheared or mirrored"),
        ({"size": 96}, "Warp: .*Invalid NanoVDB grid"),
    ],
)
def test_what_is_no_fog_is_named(segments, tmp_path, changed, fact):
    header, said, name, grid, own = segments[0]
    for key, value in changed.items():
        own[key] = value
    with pytest.raises(FormatError, match=rf"b\.nvdb: cannot be read as a NanoVDB file: .*{fact}"):
        load(stored(tmp_path, header, said, name, grid))


def test_a_box_beyond_the_file_is_refused(segments, tmp_path):
    header, said, name, grid, _ = segments[0]
    nvdb_look.active_box(grid)[1] = 1000
    with pytest.raises(FormatError, match="1001, 1001, 1001"):
        load(stored(tmp_path, header, said, name, grid))


def test_other_grids_alone_are_named(segments, tmp_path):
    parts = [part for header, said, _, grid, _ in segments for part in (header, said, b"other\0\0", grid)]
    for said in parts[1::4]:
        said["name_size"] = 7
    parts[2] = b"another"
    with pytest.raises(FormatError, match="holds the grids another, other, but no density"):
        load(stored(tmp_path, *parts))


def test_two_grids_without_a_name_are_not_one(segments, tmp_path):
    parts = [part for header, said, _, grid, _ in segments for part in (header, said, b"\0", grid)]
    for said in parts[1::4]:
        said["name_size"] = 1
    with pytest.raises(FormatError, match="but no density"):
        load(stored(tmp_path, *parts))


def test_a_field_without_matter_is_refused(field, tmp_path):
    empty = deepcopy(field)
    empty.keep(torch.zeros_like(empty.links, dtype=torch.bool))
    with pytest.raises(FormatError, match="empty everywhere"):
        save(empty, tmp_path / "a.nvdb")
    assert not (tmp_path / "a.nvdb").exists()
