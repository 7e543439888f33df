"""What the README and the pages say in Python runs, what they name exists, and what is generated is up to date."""

import doctest
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from architecture.source import PACKAGE, ROOT, module

from volkit.geometry import Cameras
from volkit.rendering.viewpoints import orbit_cameras
from volkit.representations import Representation

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_PYTHON = ("README.md", "docs/python.md", "docs/tutorial.md")
MAX_README_BYTES = 9_000
# Sizes and budgets of an example, and those with which a test runs it.
SMALLER = (
    (r'budget="2m"', 'budget="60"'),  # of which a mesh is made: so many steps clear the fog
    (r'budget="\d+[sm]"', 'budget="3"'),
    (r"HashGridConfig\(\)", "HashGridConfig(levels=4, log2_table=12)"),
    (r"SplatsConfig\(\)", "SplatsConfig(count=100)"),
    (r"TensorVMConfig\(\)", "TensorVMConfig(resolution=24, start=16)"),
    (r"faces=20_000", "faces=300, cells=24, texture=128"),
    (r"size=\((\d+), (\d+)\)", "size=(16, 16)"),
    (r"size=200", "size=16"),
    (r"range\(100\)", "range(8)"),
)
# Rooms whose examples in docstrings need no file and no training: they are run as they stand.
SMALL_ROOMS = ("editing", "geometry", "guidance", "meshing", "ops", "rendering", "representations", "sampling")


def _text(page: str | Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _examples(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", _text(page), flags=re.DOTALL | re.MULTILINE)


def _smaller(example: str) -> str:
    for large, small in SMALLER:
        example = re.sub(large, small, example)
    return example


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder as the examples expect it: the project's scenes, seen in few pixels, and `photos` of one of them."""
    from volkit.commands.render import RenderJob
    from volkit.progress import Progress

    folder = tmp_path_factory.mktemp("pages")
    _write_small_scenes(folder)
    RenderJob(folder / "scenes" / "primitives.json", folder / "photos").run(Progress())
    return folder


def _write_small_scenes(folder: Path) -> None:
    """The project's scenes with few small views."""
    (folder / "scenes").mkdir()
    for source in sorted((ROOT / "scenes").glob("*.json")):
        scene = json.loads(source.read_text(encoding="utf-8"))
        scene["views"] |= {"train": 9, "test": 3, "size": [16, 16]}
        (folder / "scenes" / source.name).write_text(json.dumps(scene), encoding="utf-8")


def _few_cameras(scene: Representation, count: int, size: int, generator: torch.Generator | None = None) -> Cameras:
    """Around a scene that was never photographed, where nobody says how many and how large."""
    return orbit_cameras(scene, min(count, 8), min(size, 32), generator)


@pytest.mark.parametrize("page", WITH_PYTHON)
def test_python_examples_run(page, place, few_views, monkeypatch):
    """In their order, in one folder and one namespace, as printed but for sizes and budgets."""
    monkeypatch.chdir(place)
    page_without_scenes = b"<html><!-- scenes --><script>show()</script></html>"  # the viewer is not built everywhere
    monkeypatch.setattr("volkit.files.bundled.viewer_page", lambda: page_without_scenes)
    monkeypatch.setattr("volkit.reports.view_page.QUICK_SIZE", 16)  # pixels of the pictures by which a field is shown
    for room in ("volkit.rendering.viewpoints", "volkit.evaluation.compare"):
        monkeypatch.setattr(f"{room}.orbit_cameras", _few_cameras)
    names: dict[str, object] = {"__name__": "page"}
    broken = {}
    for number, example in enumerate(_examples(page), 1):
        try:
            exec(compile(_smaller(example), f"{page}, example {number}", "exec"), names)
        except Exception as error:
            broken[number] = f"{type(error).__name__}: {error}"
    assert not broken, broken


def _with_examples() -> list[str]:
    small = [path for path in PACKAGE if path.relative_to(ROOT / "volkit").parts[0] in SMALL_ROOMS]
    return [module(path) for path in small if ">>> " in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("name", _with_examples())
def test_examples_in_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert not result.failed


def test_every_page_with_python_is_run():
    named = {str(page.relative_to(ROOT)) for page in PAGES if "```python" in _text(page)}
    assert named == set(WITH_PYTHON)


def test_the_readme_is_short():
    assert len(_text("README.md").encode()) <= MAX_README_BYTES


def test_the_two_commands_stand_first():
    """Of all that a reader may type, in the README's fenced blocks."""
    commands = "".join(re.findall(r"^```\w*\n(.*?)^```", _text("README.md"), flags=re.DOTALL | re.MULTILINE))
    assert [line.split("#")[0].strip() for line in commands.splitlines()][:2] == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_links_to_exists(page):
    for link, anchor in _links(page):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), f"{page.name}: {link}"
        if anchor and target.suffix == ".md" and target.parent.name != "api":  # mkdocs checks those that it makes
            assert anchor in _anchors(target), f"{page.name}: {link}#{anchor}"


def _links(page: Path) -> Iterator[tuple[str, str]]:
    plain = re.sub(r"^```.*?^```", "", _text(page), flags=re.DOTALL | re.MULTILINE)
    for link in re.findall(r"\]\(([^)\s]+)\)", plain):
        if not re.match(r"https?:", link):
            path, _, anchor = link.partition("#")
            yield path, anchor


def _anchors(page: Path) -> set[str]:
    titles = re.findall(r"^#+ (.+)$", _text(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


def test_commands_in_pages_exist():
    """Every `volkit COMMAND` of a block is a command, and its options are in the manual's section of that command."""
    manual = _text("docs/cli.md")
    sections = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", manual, flags=re.DOTALL | re.MULTILINE))
    missing = set()
    for page in PAGES:
        for command, flags in _commands(page):
            known = set(re.findall(r"--[a-z][a-z-]*", sections.get(command, "")))
            if command not in sections or not flags <= known:
                missing.add((str(page.relative_to(ROOT)), command))
    assert not missing, missing


def _commands(page: Path) -> Iterator[tuple[str, set[str]]]:
    for block in re.findall(r"^```\n(.*?)^```", _text(page), flags=re.DOTALL | re.MULTILINE):
        for line in re.findall(r"^volkit ([a-z].+)$", block, flags=re.MULTILINE):
            words = line.split("  #")[0].split()
            yield words[0], {word.partition("=")[0] for word in words if word.startswith("--")}


def test_pages_are_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    missing = [
        p.name
        for p in sorted((ROOT / "docs").rglob("*.md"))
        if p.relative_to(ROOT / "docs").as_posix() not in navigation
    ]
    assert not missing


@pytest.mark.parametrize("tool", ["make_cli_page", "make_api_pages", "make_licences"])
def test_generated_pages_are_current(tool, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    assert importlib.import_module(tool).main(["--check"]) == 0, capsys.readouterr().out


def test_nothing_of_the_place_it_was_made_in():
    made = [ROOT / path for path in ("CHANGELOG.md", "Makefile", "constraints.txt", "mkdocs.yml", ".ci/run")]
    for path in (*PAGES, *made):
        assert not re.search(r"/(work|tmp|opt|root|home)/", path.read_text(encoding="utf-8")), path


def test_pictures_are_small():
    """A clone should not grow by them."""
    pictures = sorted((ROOT / "docs" / "images").iterdir())
    assert pictures
    assert sum(path.stat().st_size for path in pictures) < 600_000
