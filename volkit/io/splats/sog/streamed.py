"""Streamed SOG: a tree of boxes whose leaves name a run of splats in a file for each level of detail."""

from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from typing import Any

import torch

from volkit.files.errors import FormatError
from volkit.io.splats.columns import joined
from volkit.io.splats.sog.container import FIX, Parts
from volkit.io.splats.sog.decode import columns_of
from volkit.typing import Tensor

__all__ = ["finest"]

MAX_TREE_DEPTH = 64


def finest(parts: Parts, meta: dict[str, Any]) -> tuple[dict[str, Tensor], list[dict[str, Any]]]:
    """The columns of every leaf's finest level, and of the surroundings; the pages of the files that they are in."""
    names = meta.get("filenames")
    if not isinstance(names, list):
        raise FormatError(parts.path, "names no files", FIX)
    runs: dict[int, list[tuple[int, int]]] = {}
    for leaf in _leaves(parts, meta.get("tree"), MAX_TREE_DEPTH):
        file, offset, count = (leaf.get(key) for key in ("file", "offset", "count"))
        if not all(isinstance(v, int) and v >= 0 for v in (file, offset, count)) or file >= len(names):  # type: ignore[operator]
            raise FormatError(parts.path, f"has a leaf of {leaf}", FIX)
        runs.setdefault(file, []).append((offset, count))  # type: ignore[arg-type]
    found, metas = [], []
    environment = [meta["environment"]] if meta.get("environment") else []
    wanted = [(names[file], sorted(run)) for file, run in sorted(runs.items())]
    for name, run in [*wanted, *((name, None) for name in environment)]:
        columns, page = _file(parts, name)
        count = len(columns["means"])
        if run is not None:
            if run[-1][0] + run[-1][1] > count or any(a + n > b for (a, n), (b, _) in pairwise(run)):
                raise FormatError(parts.path, f"names splats twice, or more than the {count} of {name}", FIX)
            rows = torch.cat([torch.arange(offset, offset + length) for offset, length in run])
            columns = {key: column[rows] for key, column in columns.items()}
        found.append(columns)
        metas.append(page)
    if not found:
        raise FormatError(parts.path, "names no splats", FIX)
    return joined(found), metas


def _file(parts: Parts, name: Any) -> tuple[dict[str, Tensor], dict[str, Any]]:
    place = parts.beside(name)
    if not place.is_file():
        raise FormatError(parts.path, f"names {name}, which is not there", "keep the files of a SOG together")
    with ExitStack() as stack:
        own = Parts.opened(place, stack)
        page = own.meta()
        return columns_of(own, page), page


def _leaves(parts: Parts, node: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The finest run of each node that has some."""
    if not isinstance(node, dict) or not depth:
        raise FormatError(parts.path, f"has a tree that is no tree, or deeper than {MAX_TREE_DEPTH}", FIX)
    levels, children = node.get("lods") or {}, node.get("children") or []
    if not isinstance(levels, dict) or not isinstance(children, list):
        raise FormatError(parts.path, "has a node that is none", FIX)
    numbered = {int(key): run for key, run in levels.items() if key.isdecimal()}
    if numbered:
        run = numbered[min(numbered)]
        if not isinstance(run, dict):
            raise FormatError(parts.path, "has a node that is none", FIX)
        yield run
    for child in children:
        yield from _leaves(parts, child, depth - 1)
