"""docs/api: one page of reference a room, of the names that the room exports; their text comes from the docstrings.

python tools/make_api_pages.py          writes docs/api/*.md, and their entries in mkdocs.yml
python tools/make_api_pages.py --check  only says whether they are up to date

`make docs` fills the pages by reading the source, without importing it.
"""

import argparse
import ast
import importlib
import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs" / "api"
NAVIGATION = ROOT / "mkdocs.yml"
FACE = "volkit"
# The package itself, then its rooms from the ground up, each with what it is for.
ROOMS = {
    FACE: "The public face: verbs, and the values they take and return.",
    "volkit.geometry": "Values without parameters: rays, cameras, domains, frames, spherical harmonics.",
    "volkit.ops": "Operations with native twins, functions of tensors with gradients.",
    "volkit.representations": "What scenes are made of: parameters and answers.",
    "volkit.sampling": "Which points of a ray to ask.",
    "volkit.rendering": "How answers become pictures.",
    "volkit.io": "Scene files.",
    "volkit.data": "Posed photographs.",
    "volkit.guidance": "What a diffusion prior says about a picture.",
    "volkit.guidance.methods": "The published rules of score distillation.",
    "volkit.training": "The one optimisation loop.",
    "volkit.evaluation": "How alike two things look.",
    "volkit.editing": "Actions on a scene.",
    "volkit.distillation": "How a student learns from a teacher.",
    "volkit.meshing": "From a scene to a mesh.",
    "volkit.generation": "How a scene learns from a prior.",
}
HEAD = "<!-- Made by tools/make_api_pages.py: change the docstrings, or what a room exports, not this page. -->\n"


def source_of(dotted: str) -> Path | None:
    """The file of a module or package of the project."""
    stem = ROOT / dotted.replace(".", "/")
    found = stem / "__init__.py" if stem.is_dir() else stem.with_suffix(".py")
    return found if found.is_file() else None


def exported(dotted: str) -> list[str]:
    """The names in a module's `__all__`, without private ones."""
    path = source_of(dotted)
    for node in ast.parse(path.read_text(encoding="utf-8")).body if path else ():
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return [name for name in ast.literal_eval(node.value) if not name.startswith("_")]
    return []


def defined_in(dotted: str, name: str) -> str | None:
    """The module that defines what `dotted` exports by a name: where its imports lead, else where it says it is from.

    None for modules, whose names stand on a page of their own.
    """
    while path := source_of(dotted):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        froms = [n for n in nodes if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith("volkit")]
        led = next((n.module for n in froms for a in n.names if (a.asname or a.name) == name), None)
        if led in (None, dotted):  # a package that imports a module of its own leads back to itself
            break
        dotted = led
    found = getattr(importlib.import_module(dotted), name)
    if isinstance(found, ModuleType):
        return None
    return getattr(found, "__module__", dotted) if isinstance(found, type | FunctionType) else dotted


def pages() -> dict[Path, str]:
    """Every page by its path; rooms that export nothing have none, and what several export stands on the first."""
    made, homes = {}, {}
    for dotted, purpose in (*((room, text) for room, text in ROOMS.items() if room != FACE), (FACE, ROOMS[FACE])):
        entries, links = [], []
        for name in exported(dotted):
            if (module := defined_in(dotted, name)) is None:
                continue
            place = f"{module}.{name}"
            if place in homes:
                links.append(f"[`{name}`]({homes[place]}.md#{place})")
            else:
                homes[place] = dotted
                entries.append(f"::: {place}\n")
        if entries or links:
            also = f"See also {', '.join(links)}.\n\n" if links else ""
            made[dotted] = f"# {dotted}\n\n{HEAD}\n{purpose}\n\n{also}" + "\n".join(entries)
    return {FOLDER / f"{dotted}.md": made[dotted] for dotted in ROOMS if dotted in made}


def navigation(text: str) -> str:
    """mkdocs.yml with the pages of reference as its last entry."""
    entries = "".join(f"    - {path.stem}: api/{path.name}\n" for path in pages())
    return re.sub(r"(?:  - Reference:\n(?:    - .*\n)*)?\Z", f"  - Reference:\n{entries}", text, count=1)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 if a page is out of date")
    options = parser.parse_args(arguments)
    made = pages()
    wanted = made | {NAVIGATION: navigation(NAVIGATION.read_text(encoding="utf-8"))}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    left = [path for path in sorted(FOLDER.glob("*.md")) if path not in made]
    if options.check:
        names = ", ".join(str(path.relative_to(ROOT)) for path in stale + left)
        print(f"{names}: out of date; run python tools/make_api_pages.py" if names else "up to date")
        return int(bool(names))
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path in left:
        path.unlink()
    for path in stale:
        path.write_text(wanted[path], encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
