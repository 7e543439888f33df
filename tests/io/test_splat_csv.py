"""Splats as text: nine digits name every float32, and the columns are those that another converter writes."""

import numpy as np

from volkit.io import load, save
from volkit.io.formats import FORMATS


def test_every_value_is_there(shared_data, tmp_path):
    source = load(shared_data / "splats" / "loaders.gl" / "train-1000.ply")
    save(source, tmp_path / "a.csv")
    theirs = shared_data / "splats" / "converted-by-splat-transform" / "train-1000.csv"
    tables = [np.genfromtxt(path, delimiter=",", names=True, dtype=np.float32) for path in (tmp_path / "a.csv", theirs)]
    names = [name for name in tables[1].dtype.names if name not in ("nx", "ny", "nz")]
    assert set(tables[0].dtype.names) == set(names)
    for name in names:
        assert np.array_equal(tables[0][name], tables[1][name]), name


def test_it_is_not_read():
    assert FORMATS["csv"].read is None
