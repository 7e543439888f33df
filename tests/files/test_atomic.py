"""Files get the permissions that the user's umask leaves, whichever library writes them."""

import os
import stat

import pytest
import torch

from volkit.files.atomic import atomic_write
from volkit.files.tensor_file import write_state
from volkit.geometry import Domain
from volkit.io import save
from volkit.representations import SplatsConfig


@pytest.fixture(params=[0o022, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_files_have_the_permissions_of_the_umask(tmp_path, umask):
    scene = SplatsConfig(count=4).build(Domain.cube(1.0), torch.Generator().manual_seed(0))
    for name in ("a.safetensors", "a.ply", "a.spz", "a.sog", "a.glb"):
        save(scene, tmp_path / name)
        assert mode(tmp_path / name) == 0o666 & ~umask, name
    write_state(tmp_path / "state", {"a": torch.zeros(1)})
    assert mode(tmp_path / "state") == 0o666 & ~umask


def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path, umask):
    path = tmp_path / "a.txt"
    path.write_text("old")
    path.chmod(0o640)
    with atomic_write(path) as place:
        place.write_text("new")
    assert path.read_text() == "new" and mode(path) == 0o640
