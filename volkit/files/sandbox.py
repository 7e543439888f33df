"""The process in which files for native libraries are tried, kept for the next one: it takes a while to start.

This file is its program as well, `python sandbox.py PROBE.py`, and imports nothing of volkit. PROBE.py has a function
`probe(path)`: None, or what is wrong, which it may raise as well. Asked by lines of JSON, `[path, bytes of memory,
seconds]`, the program answers each by another line. Each file is probed in a fork; where a system has none the program
answers once and ends. What matters is a crash, memory without end, or no end at all.
"""

import atexit
import json
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TextIO

__all__ = ["Sandbox"]

Probe = Callable[[str], str | None]
FORKS = hasattr(os, "fork")
RATE = 5e6  # bytes a second, beside the seconds of a trial: usd-core looks at no fewer than 1e8
MEMORY = 8 << 30  # bytes of addresses that a trial may have, and 16 for each of the file's


class Sandbox:
    """A child in which a library looks at one file after another; where one is too late it is ended, and another begun.

    `probe` is a file with a function of that name; `seconds` is what a small file may take.
    """

    def __init__(self, library: str, probe: Path, seconds: float) -> None:
        self.library, self.seconds, self._probe = library, seconds, probe
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        atexit.register(self._close)

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
            if not FORKS:  # it looks at one file and ends
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
            command = [sys.executable, "-P", __file__, str(self._probe)]
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

    def _close(self) -> None:
        """When this program ends, no child is left behind, and no pipe to it."""
        with self._lock:
            child = self._child
            self._end()
        if child is not None:
            assert child.stdin is not None and child.stdout is not None
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):
                    pipe.close()

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


def _answered(probe: Probe, answers: TextIO, path: str, memory: int, seconds: float) -> None:
    """In a fork, which answers unless it crashes; else in this process, which ends after that."""
    child = os.fork() if FORKS else 0
    if child:
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print(json.dumps(f"crashed with status {code}"), file=answers, flush=True)
        return
    if FORKS:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        alone = int(seconds) + 2  # should nobody be left to end it
        resource.setrlimit(resource.RLIMIT_CPU, (alone, alone))
    print(json.dumps(_said(probe, path)), file=answers, flush=True)
    os._exit(0)  # what a library takes down at its leisure is left to the system


def _said(probe: Probe, path: str) -> str | None:
    try:
        return probe(path)
    except ValueError as error:
        return f"{error}".partition("\n")[0]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # what volkit.threads does, without volkit
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not pass for an answer
    probe: Probe = runpy.run_path(sys.argv[1])["probe"]
    for line in sys.stdin:
        _answered(probe, answers, *json.loads(line))
