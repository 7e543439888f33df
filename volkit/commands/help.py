"""What `volkit COMMAND --help` says: usage, purpose, examples, and the options in groups, the most used first."""

import os
import re
import sys
import textwrap
from collections.abc import Sequence
from typing import Any

from volkit.commands.options import FIRST_GROUP, GROUPS, Option, options_of

__all__ = ["help_text"]

INDENT, HELP_COLUMN, MAX_WIDTH = 2, 28, 110  # in letters


def help_text(command: str, jobs: Sequence[type[Any]]) -> str:
    """Usage, what it is for, examples, and the options in groups, as wide as the terminal."""
    width = min(_columns(), MAX_WIDTH)
    options = [option for job in jobs for option in options_of(job)]
    placed = [option for option in options if option.placed]
    about, examples = _description(jobs[0].__doc__ or "")
    lines = [" ".join(filter(None, (f"usage: volkit {command}", _places(placed), "[options]"))), ""]
    lines += textwrap.wrap(about, width)
    if examples:
        lines += ["", "examples:", *(" " * INDENT + example for example in examples)]
    if told := [option for option in placed if option.help]:
        lines += ["", "Arguments", *(line for option in told for line in _row(option.shown, option.help, width))]
    for title in sorted({option.group for option in options if not option.placed}, key=_rank):
        lines += ["", title]
        for option in _in_order(options, title):
            lines += _row(_usage(option), _told(option), width)
        if title == "Output":
            lines += _row("--help", "This text.", width)
    return "\n".join(lines)


def _columns() -> int:
    """Of the terminal; COLUMNS overrules it, 80 where there is none."""
    try:
        return int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        return os.get_terminal_size().columns if sys.stdout.isatty() else 80


def _rank(title: str) -> int:
    order = (FIRST_GROUP, "", *list(GROUPS)[1:])  # groups of their own come after the result
    return order.index(title) if title in order else 1


def _in_order(options: Sequence[Option], title: str) -> list[Option]:
    """Of one group, the most used first: as the table names them, else as the class does."""
    order = GROUPS.get(title, ())
    found = [option for option in options if option.group == title and not option.placed]
    return sorted(found, key=lambda option: order.index(option.name) if option.name in order else len(order))


def _places(placed: Sequence[Option]) -> str:
    return " ".join(option.shown for option in placed)


def _usage(option: Option) -> str:
    if not option.switch:
        return f"{option.flag} {option.shown}"
    no = f"--no-{option.flag.removeprefix('--')}"
    return no if option.default is True else f"{option.flag}, {no}" if option.default is None else option.flag


def _told(option: Option) -> str:
    """The help, what may be given, and what counts otherwise."""
    parts = [option.help]
    if option.choices and option.shown != "|".join(option.choices):
        parts.append(f"One of {', '.join(option.choices)}.")
    if option.many and "again" not in option.help:
        parts.append("Give it again for more.")
    if not option.switch and option.default not in (None, "", ()):
        parts.append(f"[{option.default}]")
    return " ".join(filter(None, parts))


def _row(left: str, right: str, width: int) -> list[str]:
    """An option and its help beside it, or below where it is long."""
    room = max(width - HELP_COLUMN, 20)
    wrapped = [line for said in right.split("\n") for line in textwrap.wrap(said, room)] or [""]
    start = " " * INDENT + left
    beside = len(start) + 2 <= HELP_COLUMN
    head = [start.ljust(HELP_COLUMN) + wrapped.pop(0)] if beside else [start]
    return [line.rstrip() for line in (*head, *(" " * HELP_COLUMN + line for line in wrapped))]


def _description(doc: str) -> tuple[str, list[str]]:
    """A docstring's sentences, and the command lines in it: from `volkit` to the line's end, after what they show."""
    sentences: list[str] = []
    examples: list[str] = []
    for line in map(str.strip, doc.splitlines()):
        call = re.search(r"(?:^|: )(volkit [a-z].*)$", line)
        if call is None:
            sentences.append(line)
            continue
        before, stop, label = line[: call.start()].rpartition(". ")
        sentences.append(before + stop.strip())
        if label not in ("", "Example"):
            examples.append(f"# {label}")
        examples.append(call[1])
    return re.sub(r" ?Examples?:$", "", " ".join(" ".join(sentences).split())), examples
