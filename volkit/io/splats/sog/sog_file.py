"""PlayCanvas' SOG, versions 1 and 2, as an archive `.sog`, a folder with `meta.json`, or a streamed `lod-meta.json`.

Row-major pictures, a texel a splat: positions as 16 bits of `sign(x) ln(1 + |x|)` in two pictures; three smallest of
w x y z; scales and colours as numbers in tables of 256 (version 1: in steps between two bounds); opacity in bytes
(version 1: its logit); harmonics as the number of a row in a palette. Source: playcanvas/splat-transform
`read-sog.ts`, `read-sog-v1.ts`, `read-lod.ts`.
"""

import json
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.atomic import atomic_write, write_together
from volkit.files.errors import UNZIP_ERRORS, FormatError
from volkit.files.provenance import PROVENANCE_KEY, provenance_of
from volkit.io.splats.columns import SplatColumns, columns_for, columns_of_file, joined
from volkit.io.splats.sog.container import FIX, META, Parts
from volkit.io.splats.sog.decode import columns_of, is_flat, is_mip
from volkit.io.splats.sog.encode import encoded
from volkit.typing import Int

__all__ = ["finest", "read", "sniff", "write"]


MAX_TREE_DEPTH = 64

LEVELS = b'"lodLevels"'
STREAMED = "lod-meta.json"


def finest(parts: Parts, meta: dict[str, Any]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
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
            rows = np.concatenate([np.arange(offset, offset + length) for offset, length in run])
            columns = {key: column[rows] for key, column in columns.items()}
        found.append(columns)
        metas.append(page)
    if not found:
        raise FormatError(parts.path, "names no splats", FIX)
    return joined(found), metas


def _file(parts: Parts, name: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
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


def sniff(path: Path) -> bool:
    """Whether the file is an archive with a page of ours, or such a page."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                return META in archive.namelist()
    except UNZIP_ERRORS:
        return False
    return head.lstrip()[:1] == b"{" and (LEVELS in head or all(key in head for key in (b'"means"', b'"mins"')))


def read(path: Path) -> SplatColumns:
    """All splats in their order; of a streamed scene the finest level."""
    with ExitStack() as stack:
        parts = Parts.opened(path, stack)
        meta = parts.meta()
        if "lodLevels" in meta:
            columns, metas = finest(parts, meta)
        else:
            columns, metas = columns_of(parts, meta), [meta]
    if all(map(is_flat, metas)):
        columns["log_scales"] = columns["log_scales"][:, :2]
    told = _told(metas[0]) | {"format": "sog", "version": metas[0].get("version", 1)}
    if "lodLevels" in meta:
        told |= {"levels": meta["lodLevels"], "level": 0}
    return columns_of_file(columns, mip=all(map(is_mip, metas)), provenance=told)


def _told(meta: dict[str, Any]) -> dict[str, Any]:
    asset = meta.get("asset")
    found = asset.get(PROVENANCE_KEY) if isinstance(asset, dict) else None
    return found if isinstance(found, dict) else {}


def write(splats: SplatColumns, path: Path) -> Int[np.ndarray, " splat"]:
    """Version 2: an archive, or beside a `meta.json`; splats in Morton order, which is answered, in the world frame."""
    if path.name.lower() == STREAMED:
        raise FormatError(path, "streamed SOG is only read", f"write {META} or .sog")
    columns = columns_for(splats, path, 3)
    model = "2dgs" if splats.surfels else "antialiased" if splats.mip else None
    meta, pictures, order = encoded(path, columns, model)
    meta["asset"][PROVENANCE_KEY] = provenance_of(splats)
    text = json.dumps(meta, separators=(",", ":")).encode()
    if path.suffix.lower() == ".json":
        write_together(path, text, pictures)
        return order
    with atomic_write(path) as place, zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {META: text, **pictures}.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # without the time: equal scenes are equal files
    return order
