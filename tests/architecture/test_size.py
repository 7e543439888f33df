"""Files, functions and folders of a size that can be read, no splinters, honest lists of names: with no exceptions."""

import ast
import re
from pathlib import Path

import pytest
from architecture.source import PACKAGE, PYTHON, ROOT, functions, imported, module, name, tree

MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_ARGUMENTS, MAX_FOLDER_FILES = 400, 80, 8, 25
SPLINTER_LINES = 60  # a module below, which one sibling alone imports, is a part of that sibling
FORBIDDEN = {"utils", "util", "misc", "helpers", "helper", "common", "base", "manager", "managers"}


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES, f"{name(path)}: split it"
    for function in functions(path):
        length = function.end_lineno - function.lineno + 1
        assert length <= MAX_FUNCTION_LINES, f"{name(path)}: {function.name} has {length} lines"
        given = function.args
        count = len([a for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")])
        assert count <= MAX_ARGUMENTS, f"{name(path)}: {function.name} takes {count} arguments; a value is missing"


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_names_say_something(path):
    assert not FORBIDDEN & set(re.split(r"[/_.]", name(path))), f"{name(path)}: name it for what it is about"


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_no_double_star_and_no_future_annotations(path):
    loose = [f.name for f in functions(path) if f.args.kwarg and (f.args.kwarg.arg == "kwargs" or not _typed(f))]
    assert not loose, f"{name(path)}: say what {loose} takes instead of **kwargs"
    assert "from __future__ import annotations" not in path.read_text(encoding="utf-8"), name(path)


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_all_is_true(path):
    """Every listed name exists; in a module that is not empty the list is there and sorted by ruff."""
    body = tree(path).body
    lists = [n for n in body if isinstance(n, ast.Assign) and getattr(n.targets[0], "id", "") == "__all__"]
    defined = {n.name for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef)}
    if not lists:
        assert not defined, f"{name(path)} defines {sorted(defined)} and lists nothing in __all__"
        return
    listed = ast.literal_eval(lists[0].value)
    if "__getattr__" in defined:  # what it imports on first use, type checkers are told
        body = body + [inner for node in body if isinstance(node, ast.If) for inner in node.body]
    known = defined | _assigned(body) | _imported(body)
    assert set(listed) <= known, f"{name(path)}: __all__ names what is not there: {sorted(set(listed) - known)}"


def _typed(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    annotation = function.args.kwarg.annotation
    return annotation is not None and ast.unparse(annotation) != "Any"


def _assigned(body: list[ast.stmt]) -> set[str]:
    found = set()
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        for target in targets:
            found |= {n.id for n in ast.walk(target) if isinstance(n, ast.Name)} if target is not None else set()
    return found


def _imported(body: list[ast.stmt]) -> set[str]:
    nodes = [n for n in body if isinstance(n, ast.Import | ast.ImportFrom)]
    return {alias.asname or alias.name for node in nodes for alias in node.names}


def test_every_script_is_run_by_a_test():
    scripts = {path.stem: path for path in sorted((ROOT / "tools").glob("*.py"))}
    text = "".join(p.read_text(encoding="utf-8") for p in sorted((ROOT / "tests").rglob("*.py")))
    reached = {stem for stem in scripts if re.search(rf"\b{stem}\b", text)}
    for _ in scripts:  # what a reached script imports is reached
        reached |= {dotted.split(".")[0] for known in set(reached) for dotted in imported(scripts[known])} & set(
            scripts
        )
    assert reached == set(scripts), f"run or import in a test, or delete: {sorted(set(scripts) - reached)}"


def test_public_names_have_a_docstring():
    silent = [
        f"{name(path)}: {node.name}"
        for path in PACKAGE
        for node in tree(path).body
        if isinstance(node, ast.FunctionDef | ast.ClassDef)
        and not node.name.startswith("_")
        and not ast.get_docstring(node)
    ]
    assert not silent, silent


def test_folders_hold_what_can_be_read_at_a_glance():
    folders = {path.parent for path in PACKAGE}
    full = {name(f): n for f in folders if (n := len(list(f.glob("*.py")))) > MAX_FOLDER_FILES}
    assert not full, full


def test_no_class_name_stands_twice():
    places: dict[str, list[str]] = {}
    for path in PACKAGE:
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(name(path))
    twice = {word: found for word, found in places.items() if len(found) > 1}
    assert not twice, twice


def splinters() -> list[str]:
    """Short modules that a single sibling imports; probes are programs by themselves, which the sandbox runs."""
    known = {module(path): path for path in PACKAGE}
    importers: dict[Path, set[Path]] = {path: set() for path in PACKAGE}
    for path in PACKAGE:
        for dotted in imported(path):
            target = known.get(dotted) or known.get(dotted.rpartition(".")[0])
            if target is not None and target != path:
                importers[target].add(path)
    return [
        f"{name(path)} belongs to {name(next(iter(users)))}"
        for path, users in importers.items()
        if path.stem != "__init__"
        and not path.stem.endswith("_probe")
        and len(users) == 1
        and next(iter(users)).parent == path.parent
        and len(path.read_text(encoding="utf-8").splitlines()) < SPLINTER_LINES
    ]


def test_no_splinters():
    assert not splinters(), splinters()


def test_flags_are_named_in_commands_alone():
    """Errors below the commands speak of parameters, so that they are right for those who call the engine."""
    flag = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
    inside = ("commands", "cli.py")
    loud = [
        f"{name(path)}:{node.lineno}: {found.group()}"
        for path in PACKAGE
        if path.relative_to(ROOT / "volkit").parts[0] not in inside
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and (found := flag.search(node.value))
    ]
    assert not loud, loud
