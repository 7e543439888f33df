"""PlayCanvas' SOG, versions 1 and 2: an archive `.sog`, a folder with `meta.json`, or a streamed `lod-meta.json`.

Row-major images, one texel per splat: positions as 16 bits of `sign(x) ln(1 + |x|)` in two images; quaternions w x y z
by their three smallest components; scales and colours as indices into codebooks of 256 (version 1: steps between two
bounds); opacity in bytes (version 1: its logit); harmonics as rows of a palette. Source: playcanvas/splat-transform
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
from volkit.files.provenance import PROVENANCE_KEY, provenance_record
from volkit.io.splats.columns import SplatColumns, columns_from_file, columns_to_write, concatenate_columns
from volkit.io.splats.sog.decode import FIX, META, Parts, decode_columns, is_mip, is_surfels
from volkit.io.splats.sog.encode import encode
from volkit.typing import Int

__all__ = ["read", "read_streamed", "sniff", "write"]


MAX_TREE_DEPTH = 64

LEVELS_KEY = b'"lodLevels"'
STREAMED_NAME = "lod-meta.json"


def read_streamed(parts: Parts, meta: dict[str, Any]) -> tuple[dict[str, np.ndarray], list[dict[str, Any]]]:
    """Columns of the finest level of every leaf and of the environment; and the `meta.json` of the files read."""
    names = meta.get("filenames")
    if not isinstance(names, list):
        raise FormatError(parts.path, "names no files", FIX)
    runs: dict[int, list[tuple[int, int]]] = {}
    for leaf in _leaves(parts, meta.get("tree"), MAX_TREE_DEPTH):
        values = [leaf.get(key) for key in ("file", "offset", "count")]
        numbers = [value for value in values if isinstance(value, int) and value >= 0]
        if len(numbers) < len(values) or numbers[0] >= len(names):
            raise FormatError(parts.path, f"has a damaged leaf: {str(leaf)[:80]}", FIX)
        file, offset, count = numbers
        runs.setdefault(file, []).append((offset, count))
    tables, metas = [], []
    environment = [meta["environment"]] if meta.get("environment") else []
    wanted = [(names[file], sorted(run)) for file, run in sorted(runs.items())]
    for name, run in [*wanted, *((name, None) for name in environment)]:
        columns, page = _read_part(parts, name)
        count = len(columns["means"])
        if run is not None:
            if run[-1][0] + run[-1][1] > count or any(a + n > b for (a, n), (b, _) in pairwise(run)):
                raise FormatError(parts.path, f"uses splats twice, or more than the {count} of {name}", FIX)
            rows = np.concatenate([np.arange(offset, offset + length) for offset, length in run])
            columns = {key: column[rows] for key, column in columns.items()}
        tables.append(columns)
        metas.append(page)
    if not tables:
        raise FormatError(parts.path, "names no splats", FIX)
    return concatenate_columns(tables), metas


def _read_part(parts: Parts, name: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    place = parts.beside(name)
    if not place.is_file():
        raise FormatError(parts.path, f"names {name}, which is not there", "keep the files of a SOG together")
    with ExitStack() as stack:
        own = Parts.open(place, stack)
        page = own.meta()
        return decode_columns(own, page), page


def _leaves(parts: Parts, node: Any, depth: int) -> Iterator[dict[str, Any]]:
    """The finest level of each node that has any."""
    if not isinstance(node, dict) or not depth:
        raise FormatError(parts.path, f"has a damaged tree, or one deeper than {MAX_TREE_DEPTH}", FIX)
    levels, children = node.get("lods") or {}, node.get("children") or []
    if not isinstance(levels, dict) or not isinstance(children, list):
        raise FormatError(parts.path, "has a damaged node", FIX)
    numbered = {int(key): run for key, run in levels.items() if key.isdecimal()}
    if numbered:
        run = numbered[min(numbered)]
        if not isinstance(run, dict):
            raise FormatError(parts.path, "has a damaged node", FIX)
        yield run
    for child in children:
        yield from _leaves(parts, child, depth - 1)


def sniff(path: Path) -> bool:
    """Whether the file is an archive with a `meta.json`, or such a JSON."""
    try:
        with path.open("rb") as file:
            head = file.read(1 << 16)
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(path) as archive:
                return META in archive.namelist()
    except UNZIP_ERRORS:
        return False
    return head.lstrip()[:1] == b"{" and (LEVELS_KEY in head or all(key in head for key in (b'"means"', b'"mins"')))


def read(path: Path) -> SplatColumns:
    """All splats in the file's order; of a streamed scene those of the finest level."""
    with ExitStack() as stack:
        parts = Parts.open(path, stack)
        meta = parts.meta()
        if "lodLevels" in meta:
            columns, metas = read_streamed(parts, meta)
        else:
            columns, metas = decode_columns(parts, meta), [meta]
    if all(map(is_surfels, metas)):
        columns["log_scales"] = columns["log_scales"][:, :2]
    provenance = _provenance(metas[0]) | {"format": "sog", "version": metas[0].get("version", 1)}
    if "lodLevels" in meta:
        provenance |= {"levels": meta["lodLevels"], "level": 0}
    return columns_from_file(columns, mip=all(map(is_mip, metas)), provenance=provenance)


def _provenance(meta: dict[str, Any]) -> dict[str, Any]:
    asset = meta.get("asset")
    tables = asset.get(PROVENANCE_KEY) if isinstance(asset, dict) else None
    return tables if isinstance(tables, dict) else {}


def write(splats: SplatColumns, path: Path) -> Int[np.ndarray, " splat"]:
    """Write version 2, an archive or a `meta.json`, in the world frame; splats in Morton order, which is returned."""
    if path.name.lower() == STREAMED_NAME:
        raise FormatError(path, "streamed SOG can only be read", f"write {META} or .sog")
    columns = columns_to_write(splats, path, 3)
    model = "2dgs" if splats.surfels else "antialiased" if splats.mip else None
    meta, pictures, order = encode(path, columns, model)
    meta["asset"][PROVENANCE_KEY] = provenance_record(splats)
    text = json.dumps(meta, separators=(",", ":")).encode()
    if path.suffix.lower() == ".json":
        write_together(path, text, pictures)
        return order
    with atomic_write(path) as place, zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive:
        for name, data in {META: text, **pictures}.items():
            archive.writestr(zipfile.ZipInfo(name), data)  # without a time stamp: equal scenes give equal files
    return order
