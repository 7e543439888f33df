"""Parsing a command line into a frozen dataclass, whose fields are the options and whose docstrings are the help.

A field without a default is a positional argument, one with a default an option; a field that is itself a dataclass is
a group of options. Only the class and its source are read, so that help imports nothing else.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from volkit.choices import ParameterError

__all__ = [
    "FIRST_GROUP",
    "GROUPS",
    "Option",
    "OutputOptions",
    "Shown",
    "UsageError",
    "flag",
    "in_flags",
    "options_of",
    "parse",
    "taken",
]

# An option has the same meaning, and stands in the same group, in every command. Options that are not listed belong to
# the first group; a dataclass in a dataclass is a group of its own.
FIRST_GROUP = "Result"
GROUPS = {
    FIRST_GROUP: ("to", "size", "faces", "texture", "pbr", "compose"),
    "Editing": ("edit",),
    "Training": (
        "budget", "method", "photos", "densify", "start", "max_splats", "sh_degree", "surfels", "exposure", "domain",
        "scale", "weight", "negative", "sides", "grid", "views", "front", "particles", "opacity", "entropy",
        "distortion", "orientation", "smoothness", "preserve", "geometry", "denoise",
    ),
    "Prior": ("prior", "lora", "ip_adapter", "image_prompt", "control", "control_kind", "precision"),
    "Files": (
        "format", "frame", "spz_frame", "spz_version", "up", "unit_scale", "holdout", "drop_bad", "allow_outside",
    ),
    "Run": ("device", "threads", "seed", "jobs", "resume", "checkpoint_seconds", "dry_run", "quick", "all"),
    "Output": ("force", "report", "preview", "measure", "pictures", "save", "json", "debug"),
}  # fmt: skip
TYPED = "typed"  # the field of a group that gets the names of its options on the command line
MAX_VALUE_NAME = 56  # letters; where choices take more, the help lists them
Job = TypeVar("Job")


class UsageError(ParameterError):
    """A wrong command line, whatever the files hold; the command ends with status 2."""


@dataclass(frozen=True)
class OutputOptions:
    """Options of every command: output and threads."""

    json: bool = False
    """Print one JSON object on standard output, errors included, and no progress."""
    debug: bool = False
    """Show the traceback of an error."""
    threads: int | None = None
    """CPU threads; by default VOLKIT_THREADS, else one per available core."""


@dataclass(frozen=True)
class Shown:
    """How help shows a field, where name, type and docstring do not suffice: `Annotated[Path, Shown("FILE")]`."""

    name: str = ""  # of the value
    help: str = ""  # instead of the docstring


@dataclass(frozen=True)
class Option:
    """One field as an option or a positional argument; `owner` is its dataclass."""

    owner: type
    name: str
    kind: Any  # type of one value
    many: bool  # values are collected in a tuple
    default: Any  # MISSING: a positional argument
    group: str
    help: str
    shown: str

    @property
    def flag(self) -> str:
        """The flag."""
        return flag(self.name)

    @property
    def placed(self) -> bool:
        """Whether it is a positional argument."""
        return self.default is MISSING

    @property
    def switch(self) -> bool:
        """Whether it takes no value: `--name` and `--no-name`."""
        return self.kind is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed values, as words; empty where any value of the type is."""
        return tuple(map(str, _choices(self.kind)))

    def value(self, word: str) -> Any:
        """The value of a word; UsageError where it has none."""
        said = self.shown if self.placed else self.flag
        if self.choices:
            if word in self.choices:
                return _choices(self.kind)[self.choices.index(word)]
            raise UsageError(f"{said} {word}: there is no such choice{_nearest(word, self.choices)}")
        kind = next(kind for kind in (*get_args(self.kind), self.kind) if kind in CONVERTERS)
        try:
            return CONVERTERS[kind](word)
        except ValueError as error:
            raise UsageError(f"{said} {word}: give {KINDS[kind]}") from error


CONVERTERS: dict[Any, Any] = {int: int, float: float, str: str, Path: Path}
KINDS = {int: "a whole number", float: "a number"}
VALUES = {bool: "", int: "N", float: "NUMBER", str: "TEXT", Path: "PATH"}


def flag(name: str) -> str:
    """The flag of a parameter: `max_splats` is `--max-splats`."""
    return "--" + name.replace("_", "-")


@contextmanager
def in_flags() -> Iterator[None]:
    """Re-raise ParameterError as UsageError, with flags in place of the names of parameters."""
    try:
        yield
    except ParameterError as error:
        if not error.names:
            raise
        raise UsageError(error.spelled(flag)) from error


def taken(job: Any, choices: type[Any]) -> dict[str, Any]:
    """Values of the fields that a job inherits from a class of choices, by name."""
    return {each.name: getattr(job, each.name) for each in fields(choices)}


def options_of(job: type) -> list[Option]:
    """The options of a job and its groups, in the order of declaration."""
    return list(_options(job, "", None))


def _options(owner: type, group: str, defaults: Any) -> Iterator[Option]:
    """The options of a dataclass; a group of a job has the defaults that the job gives it."""
    helps = _docstrings(owner)
    for field, kind, shown in _typed_fields(owner):
        default = _default(field) if defaults is None else getattr(defaults, field.name)
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from _options(kind, field.name.replace("_", " ").capitalize(), default)
            continue
        many = get_origin(kind) is tuple
        one = get_args(kind)[0] if many else kind
        title = group or next((title for title, names in GROUPS.items() if field.name in names), FIRST_GROUP)
        told = shown.help or helps.get(field.name, "")
        name = shown.name or (field.name.upper() + "..." * many if default is MISSING else _value_name(one))
        yield Option(owner, field.name, one, many, default, title, told, name)


def _typed_fields(owner: type) -> Iterator[tuple["Field[Any]", Any, Shown]]:
    """Fields that are options, each with its resolved type."""
    for field in fields(owner):
        if field.init and not field.metadata.get("hidden"):
            home = next(each for each in owner.__mro__ if field.name in vars(each).get("__annotations__", {}))
            alone = type("One", (), {"__annotations__": {field.name: field.type}, "__module__": home.__module__})
            yield field, *_bare(get_type_hints(alone, include_extras=True)[field.name])


def _bare(hint: Any) -> tuple[Any, Shown]:
    """A type without None and annotations, and how it is shown."""
    shown = Shown()
    if get_origin(hint) is Annotated:
        shown = next((extra for extra in get_args(hint)[1:] if isinstance(extra, Shown)), shown)
        hint = get_args(hint)[0]
    if get_origin(hint) in (Union, UnionType):
        some = tuple(kind for kind in get_args(hint) if kind is not NoneType)
        hint = some[0] if len(some) == 1 else Union[some]  # noqa: UP007  # of a tuple
    return hint, shown


def _default(field: "Field[Any]") -> Any:
    return field.default_factory() if field.default_factory is not MISSING else field.default


def _choices(kind: Any) -> tuple[str | int, ...]:
    if get_origin(kind) is Literal:
        return get_args(kind)
    if get_origin(kind) in (Union, UnionType):
        parts = [_choices(part) for part in get_args(kind)]
        return tuple(word for part in parts for word in part) if all(parts) else ()
    return ()


def _value_name(kind: Any) -> str:
    if choices := _choices(kind):
        joined = "|".join(map(str, choices))
        return joined if len(joined) < MAX_VALUE_NAME else "WORD"
    return next(name for known, name in VALUES.items() if known is kind or known in get_args(kind))


def _docstrings(owner: type) -> dict[str, str]:
    """Docstrings of the fields of a class and its bases, by name."""
    found: dict[str, str] = {}
    for each in reversed(owner.__mro__):
        body = _bodies(each.__module__).get(each.__name__, []) if each.__module__ != "builtins" else []
        for above, below in pairwise(body):
            match above, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def _bodies(module: str) -> dict[str, list[ast.stmt]]:
    """The bodies of a module's classes by name, from its source."""
    path = getattr(sys.modules[module], "__file__", None)
    source = Path(path).read_text(encoding="utf-8") if path else ""
    return {node.name: node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def parse(jobs: Sequence[type[Any]], words: Sequence[str]) -> list[Any]:
    """One value of each class, from the words that follow a command's name. UsageError says what is wrong, and the fix.

    Options may stand before, between and after positional arguments; `--name=value` is `--name value`; after `--`
    nothing is an option. The last value of a repeated option counts, except that a tuple collects all in order.
    """
    options = [option for job in jobs for option in options_of(job)]
    placed, typed = _sorted(words, {option.flag: option for option in options if not option.placed})
    typed |= _by_place([option for option in options if option.placed], placed)
    return [_made(job, typed) for job in jobs]


Typed = dict[tuple[type, str], Any]


def _sorted(words: Sequence[str], known: dict[str, Option]) -> tuple[list[str], Typed]:
    """Positional words, and values of options."""
    placed: list[str] = []
    typed: Typed = {}
    left = iter(words)
    for word in left:
        if word == "--":
            placed += left
        elif not re.match("--|-[A-Za-z]", word):
            placed.append(word)
        else:
            flag, equals, value = word.partition("=")
            option, meant = _named(flag, known)
            key = (option.owner, option.name)
            if option.switch:
                if equals:
                    raise UsageError(f"{flag} takes no value; give it alone")
                typed[key] = meant
                continue
            if not equals:
                value = next(left, "--")
                if value.startswith("--"):
                    raise UsageError(f"{flag} needs a value: {flag} {option.shown}")
            one = option.value(value)
            typed[key] = (*typed.get(key, ()), one) if option.many else one
    return placed, typed


def _named(flag: str, known: dict[str, Option]) -> tuple[Option, bool]:
    """The option of a flag, and the value that it gives a switch."""
    if flag in known:
        return known[flag], True
    positive = "--" + flag.removeprefix("--no-")
    if flag.startswith("--no-") and positive in known and known[positive].switch:
        return known[positive], False
    raise UsageError(f"there is no option {flag}{_nearest(flag, tuple(known), listed=False)}")


def _by_place(options: list[Option], words: list[str]) -> Typed:
    """Values of positional arguments; the one that takes many gets all that the others leave."""
    places = " ".join(option.shown for option in options)
    spare = len(words) - sum(not option.many for option in options)
    many = any(option.many for option in options)
    if spare < 0 or (many and spare < 1):
        raise UsageError(f"missing arguments: give {places}")
    if spare > 0 and not many:
        raise UsageError(f"'{words[-spare]}' is one argument too many: give {places or 'options alone'}")
    typed: Typed = {}
    left = iter(words)
    for option in options:
        key = (option.owner, option.name)
        if option.many:
            typed[key] = tuple(option.value(next(left)) for _ in range(spare))
        else:
            typed[key] = option.value(next(left))
    return typed


def _made(job: type[Job], typed: Typed) -> Job:
    """The job with the typed values; its groups with theirs, and with the names of these if they have such a field."""
    values = _values(job, typed)
    for field, kind, _ in _typed_fields(job):
        if isinstance(kind, type) and is_dataclass(kind):
            own = _values(kind, typed)
            named = {TYPED: tuple(own)} if any(each.name == TYPED for each in fields(kind)) else {}
            values[field.name] = replace(_default(field), **own, **named)
    return job(**values)


def _values(owner: type, typed: Typed) -> dict[str, Any]:
    return {name: value for (each, name), value in typed.items() if each is owner}


def _nearest(word: str, choices: Sequence[str], listed: bool = True) -> str:
    from difflib import get_close_matches  # on a wrong word alone

    near = get_close_matches(word, choices, 1, 0.6)
    said = f"; did you mean {near[0]}?" if near else ""
    if listed:
        return f"{said} Choose one of {', '.join(choices)}" if near else f"; choose one of {', '.join(choices)}"
    return said or "; --help lists all"
