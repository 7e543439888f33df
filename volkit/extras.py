"""What is installed beside volkit, and how to come by what is not."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

__all__ = ["DISTRIBUTION", "TOYS", "advice", "requirements"]

DISTRIBUTION = "volkit3d"  # the import name belongs to another project on the public index
TOYS = "toys"  # the extra of what `make wheel` builds beside volkit itself
PROJECT = Path(__file__).parents[1] / "pyproject.toml"  # of a checkout, which is never older than its installation
MARKED = re.compile(r"""(?P<requirement>[^;]+);.*\bextra\s*==\s*['"](?P<extra>[^'"]+)['"]""")
NAME = re.compile(r"[\w.-]+")


def advice(extra: str, *names: str) -> str:
    """The line that installs an extra, or of its packages only `names`, by the packages' own names.

    It works beside a checkout as beside a wheel, since it needs no index that knows volkit. ValueError where there is
    no such extra, or a name is not in it.

    >>> advice("mesh", "scipy")
    "pip install 'scipy>=1.11'"
    """
    if extra == TOYS:
        return "run 'make wheel' in a checkout and pip install dist/volkit3d_toys-*.whl"
    try:
        found = requirements(extra)
    except LookupError:
        return f"in a checkout of volkit: pip install '.[{extra}]'"
    if unknown := set(names) - {_name(one) for one in found}:
        raise ValueError(f"the extra '{extra}' has no {', '.join(sorted(unknown))}")
    chosen = [one for one in found if not names or _name(one) in names]
    return "pip install " + " ".join(f"'{one}'" for one in chosen)


def requirements(extra: str) -> list[str]:
    """The requirements of an extra, such as `scipy>=1.11`, those of extras that it names among them."""
    known = _extras()
    if extra not in known:
        raise ValueError(f"volkit has no extra '{extra}'; known are {', '.join(sorted(known))}")
    found = []
    for one in known[extra]:
        own = re.fullmatch(rf"{DISTRIBUTION}\[([\w,-]+)\]", one.replace(" ", ""))
        found += [one] if own is None else [each for name in own[1].split(",") for each in requirements(name)]
    return found


def _extras() -> dict[str, list[str]]:
    """Requirements by extra, from the checkout's project file or else the installation's metadata."""
    if PROJECT.is_file():
        project = tomllib.loads(PROJECT.read_text(encoding="utf-8")).get("project", {})
        if project.get("name") == DISTRIBUTION:
            return project["optional-dependencies"]
    try:
        lines = requires(DISTRIBUTION) or []
    except PackageNotFoundError as error:
        raise LookupError(f"volkit was copied, not installed: its extras are not known here ({error})") from error
    found: dict[str, list[str]] = {}
    for line in lines:
        if marked := MARKED.fullmatch(line):
            found.setdefault(marked["extra"], []).append(marked["requirement"].strip())
    return found


def _name(requirement: str) -> str:
    return NAME.match(requirement)[0]  # pyright: ignore[reportOptionalSubscript]
