"""The error that says: the command line itself is wrong; and what the engine says of parameters, in flags."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

from volkit.choices import ParameterError

__all__ = ["UsageError", "flag", "in_flags", "taken"]


class UsageError(ParameterError):
    """Options or arguments that cannot mean anything, whatever the files hold; the command ends with status 2."""


def flag(name: str) -> str:
    """How a parameter is typed."""
    return "--" + name.replace("_", "-")


@contextmanager
def in_flags() -> Iterator[None]:
    """What the engine says of parameters, it says of their flags."""
    try:
        yield
    except ParameterError as error:
        if not error.names:
            raise
        raise UsageError(error.spelled(flag)) from error


def taken(job: Any, choices: type[Any]) -> dict[str, Any]:
    """What a job says of the engine's choices that it inherits, by name."""
    return {each.name: getattr(job, each.name) for each in fields(choices)}
