"""`Sandbox`: a child process in which native libraries open untrusted files before we do.

A library may crash, take memory without bound, or never return; then the child dies, and the file is refused. Starting
it takes a while, so it is kept for the next file.

This file is also the child's program, `python sandbox.py PROBE.py`, and imports nothing from volkit. PROBE.py defines
`probe(path)`, which returns or raises what is wrong, or returns None. Requests are lines of JSON, `[path, bytes of
memory, seconds]`; each gets one line in reply. Each file is probed in a fork; where the system cannot fork, the program
replies once and exits.
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
BYTES_PER_SECOND = 5e6  # added to the seconds that a small file may take; usd-core reads at least 1e8
MAX_MEMORY = 8 << 30  # bytes of address space for a small file; each byte of the file adds 16


class Sandbox:
    """A child process in which `library` opens one file after another; it is killed and replaced where one hangs.

    `probe` is the path of a Python file with a function `probe(path)`; `seconds` is what a small file may take.
    """

    def __init__(self, library: str, probe: Path, seconds: float) -> None:
        self.library, self.seconds, self._probe = library, seconds, probe
        self._child: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        atexit.register(self._close)

    def check(self, path: Path, memory: int = MAX_MEMORY) -> None:
        """Raise ValueError where the library rejects the file, crashes, or exceeds its memory or its time."""
        size = path.stat().st_size
        seconds, memory = self.seconds + size / BYTES_PER_SECOND, memory + 16 * size
        with self._lock:
            timeout = threading.Timer(seconds, self._stop)
            timeout.start()
            try:
                answer = self._request([str(path.absolute()), memory, seconds])
            except BaseException:
                self._stop()
                raise
            finally:
                timeout.cancel()
                timeout.join()
            ended = self._child is None
            if not FORKS:  # it serves one request and exits
                self._stop()
        if ended:
            raise ValueError(f"{self.library} does not finish within {seconds:.0f} s")
        if not answer:
            raise ValueError(f"{self.library} crashes on it")
        if wrong := json.loads(answer):
            raise ValueError(f"{self.library}: {wrong}")

    def _request(self, question: list[str | int | float]) -> str:
        """The child's reply; empty where it died instead."""
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
        """Kill the child when this program ends, and close the pipes to it."""
        with self._lock:
            child = self._child
            self._stop()
        if child is not None:
            assert child.stdin is not None and child.stdout is not None
            for pipe in (child.stdin, child.stdout):
                with suppress(OSError):
                    pipe.close()

    def _stop(self) -> None:
        """Kill the child and its forks."""
        child, self._child = self._child, None
        if child is None:
            return
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
        child.wait()


def _serve(probe: Probe, answers: TextIO, path: str, memory: int, seconds: float) -> None:
    """Probe one file in a fork, which replies unless it crashes; without forks in this process, which then exits."""
    child = os.fork() if FORKS else 0
    if child:
        if code := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
            print(json.dumps(f"crashed with status {code}"), file=answers, flush=True)
        return
    if FORKS:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        cpu_seconds = int(seconds) + 2  # in case nobody is left to kill it
        resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    print(json.dumps(_run_probe(probe, path)), file=answers, flush=True)
    os._exit(0)  # skip the library's own shutdown, which may hang


def _run_probe(probe: Probe, path: str) -> str | None:
    try:
        return probe(path)
    except ValueError as error:
        return f"{error}".partition("\n")[0]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as volkit.threads does
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not be taken for a reply
    probe: Probe = runpy.run_path(sys.argv[1])["probe"]
    for line in sys.stdin:
        _serve(probe, answers, *json.loads(line))
