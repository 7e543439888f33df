"""Damaged copies of a file, seeded, and what every reader owes them: a named error, soon, without much memory."""

import json
import os
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from volkit.io import FormatError, load

COUNT, SEED = (int(os.environ.get(f"VOLKIT_FUZZ_{name}", usual)) for name, usual in (("COUNT", 120), ("SEED", 0)))
SECONDS = 5.0  # a file
GROWTH = 512 << 20  # bytes of memory by all of them; the files are a few kilobytes
EXTREMES = (0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
HEAD = 256  # bytes in which most of a header stands


def mutants(data: bytes, count: int = COUNT) -> Iterator[bytes]:
    """Truncated, flipped, overwritten, with lying numbers, with holes and with doubled parts."""
    random = np.random.default_rng(SEED)
    for _ in range(count):
        changed = bytearray(data)
        for _ in range(random.integers(1, 4)):
            if not changed:
                break
            at = int(random.integers(0, min(len(changed), HEAD) if random.random() < 0.5 else len(changed)))
            match random.integers(0, 6):
                case 0:
                    del changed[at:]
                case 1:
                    changed[at] ^= 1 << random.integers(0, 8)
                case 2:
                    changed[at : at + 8] = random.integers(0, 256, 8, np.uint8).tobytes()
                case 3:
                    number = EXTREMES[random.integers(0, len(EXTREMES))]
                    changed[at - at % 4 : at - at % 4 + 4] = number.to_bytes(4, "little")
                case 4:
                    del changed[at : at + int(random.integers(1, 64))]
                case 5:
                    changed[at:at] = changed[at : at + int(random.integers(1, 64))]
        yield bytes(changed)


def survive(path: Path, data: bytes, wrapped: Callable[[bytes], bytes] = bytes, share: float = 1.0) -> float:
    """Which part of damaged copies was refused; each either is, by a FormatError that names the file, or is read."""
    before, refused, slowest, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, 0, 0.0, time.perf_counter()
    for changed in mutants(data, count := round(share * COUNT)):
        path.write_bytes(wrapped(changed))
        started = time.perf_counter()
        try:
            load(path)
        except FormatError as error:
            assert path.name in str(error) and "\n" not in str(error), str(error)
            refused += 1
        slowest = max(slowest, time.perf_counter() - started)
        assert slowest < SECONDS
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) << 10
    assert grown < GROWTH, f"{grown >> 20} MB for files of {len(data)} bytes"
    _log(path, mutants=count, refused=refused, seconds=time.perf_counter() - begun, slowest=slowest, mb=grown / 2**20)
    return refused / count


def _log(path: Path, **figures: float) -> None:
    """A line of the log that `make fuzz` keeps."""
    if name := os.environ.get("VOLKIT_FUZZ_LOG"):
        test = os.environ.get("PYTEST_CURRENT_TEST", "").removesuffix(" (call)")
        line = {"test": test, "file": path.name, "seed": SEED} | {key: round(n, 3) for key, n in figures.items()}
        with Path(name).open("a") as log:
            log.write(json.dumps(line) + "\n")
