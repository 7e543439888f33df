"""Kept results, and Markdown's tables of them."""

import json
from pathlib import Path
from typing import Any

__all__ = ["RESULTS", "Row", "number", "results", "table"]

RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


def results(folder: str) -> dict[str, Row]:
    """Reports of a folder by name."""
    return {
        path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / folder).glob("*.json"))
    }


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table, or the plain statement that nothing was measured."""
    if not rows:
        return "Not measured yet.\n"
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
