"""Progress on standard error where that is no terminal: plain lines, also from work that never says how far it is."""

import threading
import time

import pytest

from volkit.commands import progress as console
from volkit.commands.progress import ConsoleProgress


@pytest.fixture
def often(monkeypatch) -> None:
    """Lines at once instead of every ten seconds."""
    monkeypatch.setattr(console, "LINE_SECONDS", 0.02)


def heard(capsys, said: str, progress: ConsoleProgress) -> str:
    """What was printed until something was said; fails after ten seconds."""
    text, until = "", time.monotonic() + 10
    while said not in text and time.monotonic() < until:
        time.sleep(0.01)
        text += capsys.readouterr().err
    assert said in text
    return text


def test_a_phase_that_never_advances_says_how_long_it_takes(capsys, often) -> None:
    progress = ConsoleProgress()
    with progress.phase("simplify"):
        text = heard(capsys, "simplify: 0 s\n", progress)
    assert "\r" not in text and "\x1b" not in text


def test_a_phase_that_advances_says_how_far_it_is(capsys, often) -> None:
    progress = ConsoleProgress()
    with progress.phase("fit"):
        progress.advance(0.5, seconds_left=20, loss=0.25)
        heard(capsys, "fit:  50 % · loss 0.25000 · 20 s left\n", progress)


def test_nothing_is_said_after_a_phase_and_no_thread_is_left(capsys, often) -> None:
    progress, before = ConsoleProgress(), threading.active_count()
    with pytest.raises(KeyboardInterrupt), progress.phase("fit"):
        raise KeyboardInterrupt
    capsys.readouterr()
    time.sleep(0.1)  # five lines' time
    assert capsys.readouterr().err == "" and threading.active_count() == before
    progress.note("done")
    assert capsys.readouterr().err == "done\n" and progress.notes == ["done"]


def test_a_quick_phase_says_nothing(capsys) -> None:
    with ConsoleProgress().phase("read") as progress:
        progress.advance(1.0)
    assert capsys.readouterr().err == ""
