"""Damaged files: seeded changes of a good one, and the promise that a reader names what is wrong or reads it."""

import numpy as np
import torch

from volkit.io import FormatError, load

COUNT = 300


def mutants(data: bytes, seed: int = 0, count: int = COUNT):
    """Copies with flipped bits, overwritten runs, lost or doubled pieces, and cut ends."""
    generator = np.random.default_rng(seed)
    for index in range(count):
        changed = bytearray(data)
        # Half of the damage goes to the first kilobyte, where formats say how the rest is to be read.
        reach = min(len(data), 1024) if index % 2 else len(data)
        at = int(generator.integers(0, reach))
        run = int(generator.integers(1, 64))
        match index % 6:
            case 0 | 1:
                changed[at] ^= 1 << int(generator.integers(0, 8))
            case 2:
                changed[at : at + run] = generator.bytes(run)
            case 3:
                del changed[at : at + run]
            case 4:
                changed[at:at] = changed[at : at + run]
            case 5:
                del changed[at:]
        yield bytes(changed)


def survive(path, data: bytes, count: int = COUNT) -> int:
    """Load every mutant under a path: a scene of finite numbers, or FormatError in one line. Counts what loaded."""
    read = 0
    for mutant in mutants(data, count=count):
        path.write_bytes(mutant)
        try:
            scene = load(path)
        except FormatError as error:
            assert path.name in str(error) and "\n" not in str(error) and len(str(error)) < 1000
        else:
            read += 1
            assert all(bool(torch.isfinite(tensor).all()) for tensor in scene.parameters())
    return read
