"""A command line into a frozen dataclass: its fields are the options, their docstrings the help.

A field without a default is an argument by place, one with a default an option; a field that is itself a dataclass is a
group of options. Nothing but the class and its source is looked at, so that help costs no more than they do.
"""

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from volkit.commands.usage import UsageError

__all__ = ["FIRST_GROUP", "FROM_PYTHON", "GROUPS", "Option", "OutputOptions", "Shown", "options_of", "parse"]

# Options mean the same in every command, so that they stand in the same group in every command. What is named nowhere
# here says what the result is to be; a dataclass in a dataclass is a group of its own.
FIRST_GROUP = "Result"
GROUPS = {
    FIRST_GROUP: ("to", "edit", "size", "faces", "texture", "pbr", "compose"),
    "Learning": (
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
MAX_VALUE_NAME = 56  # letters; where choices take more, the help lists them
FROM_PYTHON = {"hidden": True}  # metadata of a field that is no option; its type need not be there at run time
Job = TypeVar("Job")


@dataclass(frozen=True)
class OutputOptions:
    """How a command speaks, whatever it does."""

    json: bool = False
    """Print one JSON object on standard output and nothing else, errors too; no progress."""
    debug: bool = False
    """Show the traceback of an error."""
    threads: int | None = None
    """CPU threads; without it VOLKIT_THREADS, else every core that this process may use."""


@dataclass(frozen=True)
class Shown:
    """How a field is shown, where its name, type and docstring do not say it: `Annotated[Path, Shown("FILE")]`."""

    name: str = ""  # of the value
    help: str = ""  # instead of the docstring


@dataclass(frozen=True)
class Option:
    """One field as an option or an argument by place; `owner` is the dataclass that it belongs to."""

    owner: type
    name: str
    kind: Any  # of one value
    many: bool  # all that are given, as a tuple
    default: Any  # MISSING: an argument by place
    group: str
    help: str
    shown: str

    @property
    def flag(self) -> str:
        """How it is typed."""
        return "--" + self.name.replace("_", "-")

    @property
    def placed(self) -> bool:
        """Whether it is an argument by place."""
        return self.default is MISSING

    @property
    def switch(self) -> bool:
        """Whether it takes no value: `--name` and `--no-name`."""
        return self.kind is bool

    @property
    def choices(self) -> tuple[str, ...]:
        """All that a value may be, as words; empty where that has no end."""
        return tuple(map(str, _choices(self.kind)))

    def value(self, word: str) -> Any:
        """What a word means here; UsageError where it means nothing."""
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


def options_of(job: type) -> list[Option]:
    """The options of a job, those of its groups where they stand."""
    return list(_options(job, ""))


def _options(owner: type, group: str) -> Iterator[Option]:
    helps = _docstrings(owner)
    for field, kind, shown in _typed_fields(owner):
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from _options(kind, field.name.replace("_", " ").capitalize())
            continue
        many = get_origin(kind) is tuple
        one = get_args(kind)[0] if many else kind
        title = group or next((title for title, names in GROUPS.items() if field.name in names), FIRST_GROUP)
        told = shown.help or helps.get(field.name, "")
        name = shown.name or (field.name.upper() + "..." * many if _default(field) is MISSING else _value_name(one))
        yield Option(owner, field.name, one, many, _default(field), title, told, name)


def _typed_fields(owner: type) -> Iterator[tuple["Field[Any]", Any, Shown]]:
    """Fields that are options, each with its type: only theirs are looked up."""
    for field in fields(owner):
        if field.init and not field.metadata.get("hidden"):
            home = next(each for each in owner.__mro__ if field.name in vars(each).get("__annotations__", {}))
            alone = type("One", (), {"__annotations__": {field.name: field.type}, "__module__": home.__module__})
            yield field, *_bare(get_type_hints(alone, include_extras=True)[field.name])


def _bare(hint: Any) -> tuple[Any, Shown]:
    """A type without None and without what is annotated, and that."""
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
    """What stands below the fields of a class and of those that it inherits from."""
    found: dict[str, str] = {}
    for each in reversed(owner.__mro__):
        body = _bodies(each.__module__).get(each.__name__, []) if each.__module__ != "builtins" else []
        for above, below in pairwise(body):
            match above, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    found[name] = " ".join(text.split())
    return found


def _bodies(module: str) -> dict[str, list[ast.stmt]]:
    """The classes of a module by name, as they are written."""
    path = getattr(sys.modules[module], "__file__", None)
    source = Path(path).read_text(encoding="utf-8") if path else ""
    return {node.name: node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


def parse(jobs: Sequence[type[Any]], words: Sequence[str]) -> list[Any]:
    """One value of each class, from the words that follow a command's name. UsageError says what is wrong, and the fix.

    Options may stand before, between and after what has its place; `--name=value` is `--name value`; after `--`
    nothing is an option. Of an option given again the last counts, one that takes many keeps all in their order.
    """
    options = [option for job in jobs for option in options_of(job)]
    placed, typed = _sorted(words, {option.flag: option for option in options if not option.placed})
    typed |= _by_place([option for option in options if option.placed], placed)
    return [_made(job, typed) for job in jobs]


Typed = dict[tuple[type, str], Any]


def _sorted(words: Sequence[str], known: dict[str, Option]) -> tuple[list[str], Typed]:
    """Words that have their place, and values of options."""
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
    """The option, and what a switch of that name means."""
    if flag in known:
        return known[flag], True
    positive = "--" + flag.removeprefix("--no-")
    if flag.startswith("--no-") and positive in known and known[positive].switch:
        return known[positive], False
    raise UsageError(f"there is no option {flag}{_nearest(flag, tuple(known), listed=False)}")


def _by_place(options: list[Option], words: list[str]) -> Typed:
    """Each argument its word; the one that takes many gets what the others leave."""
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
    """The job with what was typed; groups of it with theirs."""
    values = {name: value for (owner, name), value in typed.items() if owner is job}
    groups = {
        field.name: kind for field, kind, _ in _typed_fields(job) if isinstance(kind, type) and is_dataclass(kind)
    }
    return job(**values, **{name: _made(kind, typed) for name, kind in groups.items()})


def _nearest(word: str, choices: Sequence[str], listed: bool = True) -> str:
    from difflib import get_close_matches  # on a wrong word alone

    near = get_close_matches(word, choices, 1, 0.6)
    said = f"; did you mean {near[0]}?" if near else ""
    if listed:
        return f"{said} Choose one of {', '.join(choices)}" if near else f"; choose one of {', '.join(choices)}"
    return said or "; --help lists all"
