"""A report as text for people; `--json` prints the whole of it."""

import io
import shutil
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from volkit.reports import formats

__all__ = ["summary"]

MAX_LIST = 12  # values on a line
# Long, or of interest to programs alone: they are in the JSON. Notes were told when they were made.
HIDDEN_KEYS = {"history", "command", "tensors", "config", "backend", "notes", "seed", "interrupted", "spz_frame"}
USUAL = {"method": "volkit", "steps": 0, "failed": 0, "kept": 0}  # what says nothing where it is so


def summary(report: dict[str, Any]) -> str:
    """One line per value; lists of rows as a table; what is long is left to `--json`."""
    if report.get("command") == "formats":
        return formats.table(report["formats"])
    if report.get("command") == "convert" and "results" in report:
        return _conversions(report["results"])
    lines: list[str] = []
    for key, value in report.items():
        if key in HIDDEN_KEYS or value is None or value in ([], {}) or USUAL.get(key, ...) == value:
            continue
        if isinstance(value, list) and isinstance(value[0], dict):
            lines += ["", *_table(value)]
        elif isinstance(value, dict):
            lines += [f"{_words(key)}:", *(f"  {_words(k)}: {_said(v)}" for k, v in value.items())]
        else:
            lines.append(f"{_words(key)}: {_said(value)}")
    return "\n".join(lines)


def _conversions(results: list[dict[str, Any]]) -> str:
    """One row for each conversion, then a line for each that failed."""
    from volkit.reports.convert_report import result_row  # torch comes with it

    rows = [result_row(result) for result in results]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in dict.fromkeys(name for row in rows for name in row):
        left = name in ("source", "target")
        table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for row in rows:
        table.add_row(*(row.get(str(column.header), "") for column in table.columns))
    stream = io.StringIO()
    Console(file=stream, width=shutil.get_terminal_size((120, 24)).columns).print(table)
    failed = [f"failed: {row['target']}: {row['error']}" for row in results if "error" in row]
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "\n".join([*filter(None, lines), *failed])


def _words(key: str) -> str:
    return key.replace("_", " ")


def _said(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"
    if isinstance(value, list | tuple):
        shown = ", ".join(_said(item) for item in value[:MAX_LIST])
        return shown + (f", ... ({len(value)} in all)" if len(value) > MAX_LIST else "")
    return str(value)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(n for row in rows for n, v in row.items() if not isinstance(v, dict | list)))
    cells = [[_words(n) for n in names], *([_said(row.get(n)) for n in names] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
