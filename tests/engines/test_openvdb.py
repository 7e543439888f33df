"""Volumes for OpenVDB: what it finds in our file is what our field says there, and so is what we read again."""

from clients import by_openvdb


def test_a_field_goes_to_openvdb_and_back(tmp_path):
    found = by_openvdb(tmp_path)
    assert found["raw"] < 1e-6 and found["active"] == 1.0 and found["note"] == "of a test"
    # float32 positions within cells of 0.3, whose neighbours differ by up to 1 (3 in the colour's harmonics)
    assert found["density"] < 1e-5 and found["rgb"] < 1e-4
    assert all("b.vdb: cannot be read as an OpenVDB file" in said for said in found["said"]), found["said"]
