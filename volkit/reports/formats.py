"""The table of formats as text."""

from typing import Any

from rich.console import Console
from rich.table import Table

from volkit.io.formats import EVERY_KIND

__all__ = ["UP", "kinds_in", "table"]

UP = {"zup": "+Z", "yup": "+Y", None: "as is"}


def table(rows: list[dict[str, Any]]) -> str:
    """The table as text, as wide as the terminal, in colours where it has some."""
    drawn = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name, style in (("format", "cyan"), ("files", ""), ("", "green"), ("kinds", ""), ("up", "")):
        drawn.add_column(name, style=style, overflow="fold")
    drawn.add_column("keeps; not what is lost", ratio=1)
    for row in rows:
        doors = ("r" if row["reads"] else " ") + ("w" if row["writes"] else " ")
        drawn.add_row(row["name"], " ".join(row["suffixes"]), doors, kinds_in(row), UP[row["frame"]], row["keeps"])
    console = Console()
    with console.capture() as captured:
        console.print(drawn)
    return captured.get().rstrip("\n")


def kinds_in(row: dict[str, Any]) -> str:
    """The kinds that a row may hold, in a few words."""
    return ", ".join(row["holds"]) if len(row["holds"]) < len(EVERY_KIND) else "any"
