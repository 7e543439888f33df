"""A program of its own that lets a native library look at files, to see whether it survives them.

`python trial_child.py LOOK.py`, where that file has a function `look(path)`: null, or what is wrong, which it may raise
as well. Asked by lines of JSON, `[path, bytes of memory, seconds]`, it answers each by another line. Each file is
looked at in a fork; where a system has none the program answers once and ends. What matters is a crash, memory without
end, or no end at all.
"""

import json
import os
import runpy
import sys
from collections.abc import Callable
from typing import TextIO

__all__ = []

Look = Callable[[str], str | None]
FORKS = hasattr(os, "fork")


def _answered(look: Look, answers: TextIO, path: str, memory: int, seconds: float) -> None:
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
    print(json.dumps(_said(look, path)), file=answers, flush=True)
    os._exit(0)  # what a library takes down at its leisure is left to the system


def _said(look: Look, path: str) -> str | None:
    try:
        return look(path)
    except ValueError as error:
        return f"{error}".partition("\n")[0]
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # what volkit.threads does, without volkit
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what a library prints must not pass for an answer
    look: Look = runpy.run_path(sys.argv[1])["look"]
    for line in sys.stdin:
        _answered(look, answers, *json.loads(line))
