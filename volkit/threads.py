"""Settings of a volkit process: number of threads, how idle ones wait, what happens to freed memory.

Nothing here acts on import: a command, its children, the tests and the tools call it first, before torch is loaded,
because GNU's OpenMP reads its policy then. A host program that imports volkit keeps its own settings.
"""

import ctypes
import math
import os
import sys
from pathlib import Path

__all__ = ["apply_threads", "available_cores", "keep_memory", "set_wait_policy", "thread_count"]

# The wait policy of OpenMP, and the spin count of GNU's: idle threads sleep after a thousand polls.
WAITING = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "1000"}
WAIT_SETTINGS = (*WAITING, "KMP_BLOCKTIME")
# mallopt's M_MMAP_THRESHOLD, M_TRIM_THRESHOLD and M_TOP_PAD, in bytes. 32 MiB is the most that the first accepts.
MALLOC_SETTINGS = {-3: 32 << 20, -1: 1 << 30, -2: 64 << 20}
CGROUP = Path("/sys/fs/cgroup")


def set_wait_policy() -> None:
    """Let OpenMP's idle threads sleep instead of spin, unless the user has set how they wait.

    A spinning thread takes the core from the one it waits for as soon as anything else runs on the machine: beside
    four busy loops on two cores the same work takes two to four times as long under OpenMP's default. Where nothing
    else runs, a thousand polls (some ten microseconds) are as fast as that default, and threads that sleep at once
    lose a twentieth (`tools/bench_threads.py`). Call it before torch is loaded.
    """
    if not any(name in os.environ for name in WAIT_SETTINGS):
        os.environ.update(WAITING)


def available_cores(root: Path = CGROUP, memberships: Path = Path("/proc/self/cgroup")) -> int:
    """Cores that this process may use: those of its CPU affinity, limited by the quota of its control groups."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quotas = [math.ceil(quota) for quota in _quotas(root, memberships)]
    return max(1, min([cpus, *quotas]))


def apply_threads(count: int | None = None) -> int | None:
    """Let kernels and torch use `count` threads; by default VOLKIT_THREADS, else the quota of the control groups.

    Returns the number that was set, or None where the default stays: OMP_NUM_THREADS, or one thread per core. Works
    before and after torch is loaded. Raises ValueError for fewer than one thread.
    """
    if count is None and (text := os.environ.get("VOLKIT_THREADS", "").strip()):
        if not text.isdecimal():
            raise ValueError(f"VOLKIT_THREADS={text}: give a number of threads, such as 4")
        count = int(text)
    if count is None and "OMP_NUM_THREADS" not in os.environ:
        cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        cores = available_cores()
        count = cores if cores < cpus else None
    if count is None:
        return None
    if count < 1:
        raise ValueError(f"{count} threads: give at least 1")
    os.environ["OMP_NUM_THREADS"] = str(count)
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(count)
    return count


def thread_count() -> int:
    """Threads for work outside of kernels: torch's number where it is loaded, else as set by `apply_threads`."""
    if torch := sys.modules.get("torch"):
        return torch.get_num_threads()
    text = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(text) if text.isdecimal() and int(text) else available_cores()


def keep_memory() -> None:
    """Let glibc, where it is the C library, keep freed memory for reuse, in this whole process.

    A training step frees and allocates the same tensors again and again. By default glibc maps each anew, and a fifth
    of the time goes into page faults (measured for 30 MB: 3300 faults and 5 ms, against 0.6 ms with kept memory).
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        for name, value in MALLOC_SETTINGS.items():
            library.mallopt(name, value)


def _quotas(root: Path, memberships: Path) -> list[float]:
    """CPU seconds per second that control groups (v1 or v2) grant, from this process's group up."""
    found = []
    for line in _text(memberships).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root if not controllers else root / "cpu"
        # In a container the path may be that of the host, of which only the root is mounted.
        folder = top / path.lstrip("/")
        for place in {folder, *(p for p in folder.parents if p.is_relative_to(top)), top}:
            words = _text(place / "cpu.max").split()
            if not words:
                words = [_text(place / "cpu.cfs_quota_us").strip(), _text(place / "cpu.cfs_period_us").strip()]
            if len(words) == 2 and words[0].isdecimal() and words[1].isdecimal() and int(words[0]) and int(words[1]):
                found.append(int(words[0]) / int(words[1]))
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
