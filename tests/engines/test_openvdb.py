"""Volumes for OpenVDB and NanoVDB: what they find in our files is what our field says there, and so is what we read."""

import pytest
from clients import by_openvdb


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return by_openvdb(tmp_path_factory.mktemp("volumes"))


def test_a_field_goes_to_openvdb_and_nanovdb_and_back(found):
    assert all(difference < 1e-6 for difference, _ in found["raw"]), found["raw"]
    assert found["raw"][0][1] == 1.0 and found["note"] == "of a test"
    # float32 positions within cells of 0.3, whose neighbours differ by up to 1 (3 in the colour's harmonics)
    assert all(density < 1e-5 and rgb < 1e-4 for density, rgb in found["read"]), found["read"]
    assert found["valid"].count("passed") == 10 and "failed" not in found["valid"], found["valid"]  # grids of degree 2
    assert all("b.vdb: cannot be read as an OpenVDB file" in said for said in found["said"]), found["said"]
    assert "compressed by Blosc" in found["blosc"]


def test_blocks_of_one_value_are_read(found):
    """As NanoVDB stores them, in nodes above its leaves."""
    assert found["smoke"] == [[48, 32, 32], 0.0]
