"""Targets that cannot be written: one line with file, fact and fix, before the work begins, and nothing left behind."""

import errno
import os
from pathlib import Path

import pytest
import torch

from volkit import cli
from volkit.commands.convert import ConvertJob
from volkit.evaluation.evaluate import write_picture
from volkit.files.atomic import atomic_write, check_writable
from volkit.geometry import Domain
from volkit.io import FormatError, check_target, load, save
from volkit.representations.hash_grid import HashGridConfig

SCENE = Path(__file__).parent.parent / "scenes" / "primitives.json"
PLACE = ".a.safetensors.writing.part"


@pytest.fixture
def field():
    return HashGridConfig(levels=2, log2_table=6, width=16).build(Domain.cube(1.0), torch.Generator().manual_seed(0))


def refuse(number: int):
    def raising(*arguments, **options):
        raise OSError(number, os.strerror(number))

    return raising


def test_a_folder_that_is_absent_is_made(tmp_path):
    target = tmp_path / "absent" / "too" / "a.txt"
    check_writable(target)
    with atomic_write(target) as place:
        place.write_text("whole")
    assert target.read_text() == "whole" and [path.name for path in target.parent.iterdir()] == ["a.txt"]


def test_a_folder_and_a_file_in_between(tmp_path):
    (tmp_path / "file").touch()
    for path, fact, fix in (
        (tmp_path, "is a folder", "name a file"),
        (tmp_path / "file" / "a.safetensors", "Not a directory", "check the path"),
    ):
        with pytest.raises(FormatError, match=fact) as caught:
            check_writable(path)
        assert str(caught.value).startswith(str(path)) and fix in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_read_only_file_stays(tmp_path, field, monkeypatch):
    target = tmp_path / "a.safetensors"
    save(field, target)
    before = target.read_bytes()
    # Whoever runs the tests may be allowed everything: the system's answer is what counts.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(FormatError, match=r"a\.safetensors: cannot be written \(is read-only\); choose a place"):
        save(field, target)
    assert target.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [target.name]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_read_only_folder(tmp_path, monkeypatch, number):
    monkeypatch.setattr(Path, "touch", refuse(number))
    with pytest.raises(FormatError, match=r"cannot be written .*; choose a place that can be written"):
        check_writable(tmp_path / "a.safetensors")


@pytest.mark.parametrize("said_by", ["system", "library"])
def test_a_full_disk_leaves_the_old_file(tmp_path, field, monkeypatch, said_by):
    from safetensors import SafetensorError

    target = tmp_path / "a.safetensors"
    save(field, target)
    before = target.read_bytes()

    def half(tensors, place, metadata):
        Path(place).write_bytes(before[:100])
        if said_by == "library":
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("volkit.files.tensor_file.save_file", half)
    with pytest.raises(FormatError, match=r"\(No space left on device\); free some space"):
        save(field, target)
    assert target.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [target.name]


def test_a_full_disk_at_the_preview(tmp_path, monkeypatch):
    import imageio.v3 as imageio

    monkeypatch.setattr(imageio, "imwrite", refuse(errno.ENOSPC))
    with pytest.raises(FormatError, match="free some space"):
        write_picture(tmp_path / "a.png", torch.zeros(2, 2, 3))
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path, field):
    def killed() -> None:
        (tmp_path / PLACE).mkdir()
        for name in ("a.safetensors", ".tmpOfALibrary"):
            (tmp_path / PLACE / name).write_bytes(b"half")

    killed()
    with atomic_write(tmp_path / "a.safetensors") as place:
        assert place == tmp_path / PLACE / "a.safetensors" and place.read_bytes() == b""
        place.write_bytes(b"whole")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]
    killed()
    save(field, tmp_path / "a.safetensors")
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"] and load(tmp_path / "a.safetensors")


def test_formats_that_cannot_hold_it_are_refused_as_save_does(tmp_path, field):
    for name in ("a.json", "a.ckpt", "a.what"):
        with pytest.raises(FormatError) as early:
            check_target(tmp_path / name, "hash_grid")
        with pytest.raises(FormatError) as late:
            save(field, tmp_path / name)
        assert str(early.value) == str(late.value)


@pytest.mark.parametrize("command", [("fit",), ("convert",), ("render",)], ids=lambda c: c[0])
def test_commands_say_so_before_the_work_begins(capsys, tmp_path, monkeypatch, command):
    monkeypatch.setattr("volkit.training.run.TrainingRun.run", refuse(errno.EIO))
    name = "x.png" if command == ("render",) else "x.safetensors"
    (tmp_path / "file").touch()
    target = tmp_path / "file" / name
    arguments = [*command, str(SCENE), str(target)] + (["--to", "hash_grid"] if command == ("convert",) else [])
    assert cli.main(arguments) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and str(target) in err and "check the path" in err
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_a_conversion_shows_itself(tmp_path):
    from volkit.progress import Progress

    target = tmp_path / "a.safetensors"
    config = HashGridConfig(levels=2, log2_table=6, width=16)
    job = ConvertJob((SCENE, target), to="hash_grid", budget="2", config=config, size=12, preview=True)
    job.run(Progress())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "a.safetensors"]
