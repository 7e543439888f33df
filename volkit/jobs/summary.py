"""A report as text for people; `--json` prints the whole of it."""

from typing import Any

__all__ = ["summary"]

LONGEST_LIST = 12
HIDDEN = {"history", "command", "tensors", "config", "backend"}  # long, and in the JSON


def summary(report: dict[str, Any]) -> str:
    """One line per value; lists of rows as a table; what is long is left to `--json`."""
    lines: list[str] = []
    for key, value in report.items():
        if key in HIDDEN or value is None or value == []:
            continue
        if isinstance(value, list) and isinstance(value[0], dict):
            lines += ["", *_table(value)]
        elif isinstance(value, dict):
            lines += [f"{_words(key)}:", *(f"  {_words(k)}: {_said(v)}" for k, v in value.items())]
        else:
            lines.append(f"{_words(key)}: {_said(value)}")
    return "\n".join(lines)


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
        shown = ", ".join(_said(item) for item in value[:LONGEST_LIST])
        return shown + (f", ... ({len(value)} in all)" if len(value) > LONGEST_LIST else "")
    return str(value)


def _table(rows: list[dict[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(n for row in rows for n, v in row.items() if not isinstance(v, dict | list)))
    cells = [[_words(n) for n in names], *([_said(row.get(n)) for n in names] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
