"""What the README says in Python runs, and what it names exists."""

import re

from architecture.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
SMALLER = {"size=200": "size=16", '"120s"': '"20"', '"60s"': '"4"'}


def test_python_examples_run(tmp_path, monkeypatch):
    """In their order and in one folder, as printed but for sizes and budgets: each goes on from the ones before."""
    monkeypatch.chdir(tmp_path)
    assert all(large in "".join(EXAMPLES) for large in SMALLER)
    for index, example in enumerate(EXAMPLES):
        for large, small in SMALLER.items():
            example = example.replace(large, small)
        exec(compile(example, f"README.md, example {index + 1}", "exec"), {"__name__": "readme"})


def test_there_are_examples():
    assert len(EXAMPLES) >= 3


def test_the_two_commands_stand_first():
    assert README.index("make demo") < README.index("make test") < README.index("## ")


def test_files_that_it_links_to_exist():
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", README) if not link.startswith("http")]
    missing = [link for link in links if not (ROOT / link).exists()]
    assert not missing


def test_nothing_of_the_place_it_was_made_in():
    for path in ("README.md", "CHANGELOG.md", "Makefile", "constraints.txt", ".ci/run"):
        text = (ROOT / path).read_text(encoding="utf-8")
        assert not re.search(r"/(work|tmp|opt|root|home)/", text), path
