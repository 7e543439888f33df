"""Command lines as values: what is typed, what is meant, what is said of it; and what help costs."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import pytest

from volkit import cli
from volkit.choices import FROM_PYTHON
from volkit.commands.help import help_text
from volkit.commands.options import GROUPS, OutputOptions, Shown, UsageError, options_of, parse

if TYPE_CHECKING:
    import no_such_module  # pyright: ignore[reportMissingImports]


@dataclass(frozen=True)
class Frosting:
    """A group of options."""

    thickness: float = 0.5
    """How thick it is."""
    glossy: bool | None = None
    """Whether it shines."""


@dataclass(frozen=True, kw_only=True)
class Kitchen:
    """Options that a cake inherits."""

    seed: int = 0
    """Same seed, same cake."""


@dataclass(frozen=True)
class CakeJob(Kitchen):
    """Bake a cake. Some are round. Example: volkit cake flour.ply cake.glb --to round
    In layers: volkit cake flour.ply cake.glb --layer a --layer b
    """

    sources: Annotated[tuple[Path, ...], Shown("SOURCE...")]
    """What it is made of."""
    target: Path
    """Where it goes."""
    to: Literal["round", "square"] | None = None
    """Its shape."""
    layer: tuple[str, ...] = ()
    """One layer."""
    frosting: Frosting = field(default_factory=Frosting)
    """Not an option itself."""
    candles: bool = True
    """Leave the candles out."""
    up: str | None = None
    """What is up."""
    oven: "no_such_module.Oven | None" = field(default=None, metadata=FROM_PYTHON)
    """Never shown."""


def baked(*words: str) -> CakeJob:
    return parse([CakeJob, OutputOptions], words)[0]


def test_words_become_values_of_their_types() -> None:
    job = baked("a", "--to", "round", "b", "c.glb", "--layer=x", "--layer", "y", "--seed", "3", "--thickness", "2")
    assert job == CakeJob((Path("a"), Path("b")), Path("c.glb"), to="round", layer=("x", "y"),
                          frosting=Frosting(2.0), seed=3)  # fmt: skip
    assert baked("a", "b") == CakeJob((Path("a"),), Path("b"))
    assert baked("a", "b", "--seed", "1", "--seed", "2").seed == 2  # the last counts
    assert baked("--", "--a", "b").sources == (Path("--a"),)


def test_switches_can_be_taken_back_and_values_may_begin_with_a_minus() -> None:
    assert not baked("a", "b", "--no-candles").candles and baked("a", "b", "--no-candles", "--candles").candles
    assert baked("a", "b", "--no-glossy").frosting.glossy is False and baked("a", "b").frosting.glossy is None
    assert baked("a", "b", "--up", "-y").up == "-y" and baked("a", "b", "--seed", "-3").seed == -3


@pytest.mark.parametrize(("words", "said"), [
    ("a", "missing arguments: give SOURCE... TARGET"),
    ("a b --sed 3", "there is no option --sed; did you mean --seed?"),
    ("a b --wxyz", "there is no option --wxyz; --help lists all"),
    ("a b -s 3", "there is no option -s"),
    ("a b --no-seed", "there is no option --no-seed"),
    ("a b --seed", "--seed needs a value: --seed N"),
    ("a b --seed --json", "--seed needs a value"),
    ("a b --seed x", "--seed x: give a whole number"),
    ("a b --thickness x", "--thickness x: give a number"),
    ("a b --to roud", "--to roud: there is no such choice; did you mean round? Choose one of round, square"),
    ("a b --json=yes", "--json takes no value"),
])  # fmt: skip
def test_what_is_wrong_is_said_with_the_fix(words: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        baked(*words.split())
    assert str(caught.value).startswith(said)


def test_what_has_its_place_is_counted() -> None:
    with pytest.raises(UsageError, match="'b' is one argument too many: give options alone"):
        parse([OutputOptions], ["b"])


def test_help_is_in_groups_with_examples_defaults_and_choices(monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    text = help_text("cake", [CakeJob, OutputOptions])
    lines = text.splitlines()
    assert lines[0] == "usage: volkit cake SOURCE... TARGET [options]"
    examples = text[text.index("examples:") : text.index("Arguments")].splitlines()[1:-1]
    assert [line.strip() for line in examples] == [
        "volkit cake flour.ply cake.glb --to round", "# In layers",
        "volkit cake flour.ply cake.glb --layer a --layer b",
    ]  # fmt: skip
    titles = [line for line in lines if line and line[0].isupper() and " " not in line and line != "Arguments"]
    assert titles == ["Result", "Frosting", "Files", "Run", "Output"]
    for said in ("--to round|square", "--no-candles", "--glossy, --no-glossy", "[0.5]", "Give it again for more."):
        assert said in " ".join(text.split())
    assert "oven" not in text and "Same seed, same cake. [0]" in text
    assert max(len(line) for line in lines if "volkit cake" not in line) <= 60


def test_an_option_stands_in_one_group() -> None:
    named = [name for names in GROUPS.values() for name in names]
    assert len(named) == len(set(named))


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_every_option_of_every_command_is_explained(command: str) -> None:
    for option in options_of(cli.job_class(command)):
        assert option.help.endswith((".", ")", "]")), f"{command} {option.flag}: say what it does in its docstring"


def test_help_and_formats_import_nothing_heavy() -> None:
    """0.3 s of CPU are promised, of which torch alone would take two, and numpy a third."""
    program = f"""
import sys
from volkit import cli
from volkit.choices import FROM_PYTHON
for command in {list(cli.COMMANDS)}:
    assert cli.main([command, "--help"]) == 0
    assert not {{"torch", "numpy"}} & sys.modules.keys(), command
assert cli.main(["formats"]) == 0 and not {{"torch", "numpy"}} & sys.modules.keys()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
