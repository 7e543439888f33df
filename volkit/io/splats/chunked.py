"""Splats a block at a time: so many as stay in the cache, the blocks in threads."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from volkit.threads import thread_count

__all__ = ["in_blocks", "read_columns_chunked"]

BLOCK = 1 << 14  # splats
WAITING_CHUNKS = 4  # blocks a thread that wait to be taken

Made = TypeVar("Made")


def in_blocks(count: int, make: Callable[[slice], Made]) -> Iterator[Made]:
    """What is made of each block of so many rows, in order."""
    if count <= BLOCK:
        yield make(slice(0, count))
        return
    threads = thread_count()
    waiting = deque()
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, count, BLOCK):
            waiting.append(pool.submit(make, slice(start, min(start + BLOCK, count))))
            if len(waiting) > WAITING_CHUNKS * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def read_columns_chunked(count: int, make: Callable[[slice], Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Columns of all rows, of what is made of a block of them."""
    few = make(slice(0, min(count, 1)))
    whole = {name: np.empty((count, *part.shape[1:]), part.dtype) for name, part in few.items()}

    def fill(rows: slice) -> None:
        for name, part in make(rows).items():
            whole[name][rows] = part

    deque(in_blocks(count, fill), maxlen=0)
    return whole
