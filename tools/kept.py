"""Kept results, one line of JSON each in one file, and Markdown's tables of them."""

import json
import os
from pathlib import Path
from typing import Any

__all__ = ["SUMMARY", "Row", "keep", "number", "results", "table"]

SUMMARY = Path(__file__).parent / "results" / "summary.jsonl"
Row = dict[str, Any]


def results(folder: str = "") -> dict[str, Row]:
    """Reports by name, those of a folder such as `conversion` by their names in it."""
    prefix = f"{folder}/" if folder else ""
    found = {name.removeprefix(prefix): row for name, row in _all().items() if name.startswith(prefix)}
    return {name: row for name, row in found.items() if "/" not in name}


def keep(name: str, row: Row) -> None:
    """Put a report into the summary, in the place of an older one of that name; the file is whole at any moment."""
    rows = _all() | {name: row}
    SUMMARY.parent.mkdir(parents=True, exist_ok=True)
    part = SUMMARY.with_name(f"{SUMMARY.name}.{os.getpid()}.part")
    lines = [json.dumps({"name": known, **rows[known]}, ensure_ascii=False, default=str) for known in sorted(rows)]
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    part.replace(SUMMARY)


def _all() -> dict[str, Row]:
    if not SUMMARY.exists():
        return {}
    rows = map(json.loads, SUMMARY.read_text(encoding="utf-8").splitlines())
    return {row.pop("name"): row for row in rows}


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, or the plain statement that nothing was measured."""
    if not rows:
        return "Not measured yet.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
