"""Frozen dataclasses to plain JSON values and back, with the type of every field checked."""

import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from math import isfinite
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

__all__ = ["dataclass_from_json", "dataclass_to_json"]

T = TypeVar("T")
MAX_NESTING = 32  # levels; our values have at most 3


def dataclass_to_json(value: Any) -> dict[str, Any]:
    """A dataclass as a dict of JSON values; tuples become lists when written."""
    return asdict(value)


def dataclass_from_json(kind: type[T], values: Any) -> T:
    """Rebuild a dataclass; ValueError names unknown keys, missing keys, and values of the wrong type."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{kind.__name__} is not a JSON object")
    assert is_dataclass(kind)
    known = {field.name: field for field in fields(kind) if field.init}
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"{kind.__name__} has no '{unknown[0]}'")
    for name, field in known.items():
        if name not in values and field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{kind.__name__} lacks '{name}'")
    hints = get_type_hints(kind)
    return kind(**{name: _parse_value(f"{kind.__name__}.{name}", hints[name], value) for name, value in values.items()})


def _parse_value(name: str, hint: Any, value: Any, depth: int = 0) -> Any:
    if depth > MAX_NESTING:
        raise ValueError(f"{name} is nested too deeply")
    origin = get_origin(hint)
    if hint is Any:
        return _lists_to_tuples(value)
    if origin is Literal:
        if value in get_args(hint):
            return value
    elif origin in (Union, types.UnionType):
        return _parse_union(name, get_args(hint), value, depth)
    elif origin is tuple:
        if isinstance(value, list | tuple):
            return _parse_tuple(name, get_args(hint), value, depth)
    elif is_dataclass(hint):
        return dataclass_from_json(hint, value)  # type: ignore[arg-type]
    elif hint is float:
        if isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value):
            return float(value)
    elif hint in (int, bool, str, type(None)) and type(value) is hint:
        return value
    raise ValueError(f"{name} cannot be {str(value)[:60]!r}")


def _parse_union(name: str, hints: tuple[Any, ...], value: Any, depth: int) -> Any:
    for hint in hints:
        try:
            return _parse_value(name, hint, value, depth + 1)
        except ValueError:
            continue
    raise ValueError(f"{name} cannot be {str(value)[:60]!r}")


def _parse_tuple(name: str, hints: tuple[Any, ...], value: list | tuple, depth: int) -> tuple:
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise ValueError(f"{name} needs {len(hints)} values, has {len(value)}")
    return tuple(_parse_value(name, hint, item, depth + 1) for hint, item in zip(hints, value, strict=True))


def _lists_to_tuples(value: Any) -> Any:
    return tuple(_lists_to_tuples(item) for item in value) if isinstance(value, list) else value
