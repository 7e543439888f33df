"""Small files, short functions, few arguments, honest lists of names: with no list of exceptions."""

import ast
import re

import pytest
from architecture.source import PACKAGE, PYTHON, ROOT, functions, imported, name, tree

LONGEST_FILE, LONGEST_FUNCTION, MOST_ARGUMENTS = 300, 50, 8
FORBIDDEN = {"utils", "util", "misc", "helpers", "helper", "common", "base", "manager", "managers"}


@pytest.mark.parametrize("path", PYTHON, ids=name)
def test_files_and_functions_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE, f"{name(path)}: split it"
    for function in functions(path):
        length = function.end_lineno - function.lineno + 1
        assert length < LONGEST_FUNCTION, f"{name(path)}: {function.name} has {length} lines"
        given = function.args
        count = len([a for a in (*given.posonlyargs, *given.args, *given.kwonlyargs) if a.arg not in ("self", "cls")])
        assert count <= MOST_ARGUMENTS, f"{name(path)}: {function.name} takes {count} arguments; a value is missing"


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
