"""The process in which files for native libraries are tried, kept for the next one: it takes a while to start."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

from volkit.files import sandbox_child as trial_child

__all__ = ["Sandbox"]


RATE = 5e6  # bytes a second, beside the seconds of a trial: usd-core looks at no fewer than 1e8
MEMORY = 8 << 30  # bytes of addresses that a trial may have, and 16 for each of the file's


class Sandbox:
    """A child in which a library looks at one file after another; where one is too late it is ended, and another begun.

    `probe` is a file with a function of that name, see `trial_child.py`; `seconds` is what a small file may take.
    """

    def __init__(self, library: str, probe: Path, seconds: float) -> None:
        self.library, self.seconds, self._look = library, seconds, probe
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def ask(self, path: Path, memory: int = MEMORY) -> None:
        """ValueError where the library cannot open a file, crashes, or takes more bytes or more time than it may."""
        size = path.stat().st_size
        seconds, memory = self.seconds + size / RATE, memory + 16 * size
        with self._lock:
            late = threading.Timer(seconds, self._end)
            late.start()
            try:
                answer = self._answer([str(path.absolute()), memory, seconds])
            except BaseException:
                self._end()
                raise
            finally:
                late.cancel()
                late.join()
            ended = self._child is None
            if not trial_child.FORKS:  # it looks at one file and ends
                self._end()
        if ended:
            raise ValueError(f"{self.library} does not come to an end within {seconds:.0f} s")
        if not answer:
            raise ValueError(f"{self.library} crashes on it")
        if wrong := json.loads(answer):
            raise ValueError(f"{self.library}: {wrong}")

    def _answer(self, question: list[str | int | float]) -> str:
        """What the child says; nothing where it ended instead."""
        if self._child is None or self._child.poll() is not None:
            command = [sys.executable, "-P", trial_child.__file__, str(self._look)]
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        child = self._child
        assert child.stdin is not None and child.stdout is not None
        try:
            child.stdin.write(json.dumps(question) + "\n")
            child.stdin.flush()
            return child.stdout.readline().strip()
        except BrokenPipeError:
            return ""

    def _end(self) -> None:
        """The child and what it forked."""
        child, self._child = self._child, None
        if child is None:
            return
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        child.wait()
