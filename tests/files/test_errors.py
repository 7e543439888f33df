"""Damage is told of the file, with its cause; a fault of ours is told as what it is."""

from pathlib import Path

import pytest

from volkit.files.errors import FormatError, format_errors

PATH = Path("scene.xyz")


@pytest.mark.parametrize("kind", [AttributeError, NameError, AssertionError, NotImplementedError, ZeroDivisionError])
def test_faults_of_ours_surface(kind):
    with pytest.raises(kind, match="ours"), format_errors(PATH, "a scene"):
        raise kind("ours")


@pytest.mark.parametrize("kind", [ValueError, KeyError, IndexError, TypeError, OSError, RuntimeError, OverflowError])
def test_damage_is_chained_to_its_cause(kind):
    with (
        pytest.raises(FormatError, match=r"scene\.xyz: cannot be read as a scene") as caught,
        format_errors(PATH, "a scene"),
    ):
        raise kind("damaged")
    assert type(caught.value.__cause__) is kind


def test_an_attribute_error_inside_a_reader_surfaces(tmp_path, monkeypatch):
    import torch

    from volkit.geometry import Domain
    from volkit.io import load, save
    from volkit.io.volumes import dense as npz
    from volkit.representations import VoxelsConfig

    path = tmp_path / "a.volume.npz"
    save(VoxelsConfig().build(Domain.cube(1.0), torch.Generator().manual_seed(0)), path)
    monkeypatch.setattr(npz, "voxels_from_arrays", lambda arrays, about: arrays.nowhere)
    with pytest.raises(AttributeError, match="nowhere"):
        load(path)


def test_no_error_hides_its_cause():
    hiding = [
        path
        for path in (Path(__file__).parents[2] / "volkit").rglob("*.py")
        if "from None" in path.read_text(encoding="utf-8")
    ]
    assert not hiding
