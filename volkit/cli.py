"""The command line: every command is a job dataclass, and its fields are the options."""

import importlib
import inspect
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

from volkit.threads import apply_threads, keep_memory, set_wait_policy
from volkit.version import __version__

__all__ = ["COMMANDS", "main"]

# What each command is for. `volkit.commands.NAME` holds `NameJob`, imported when it is called: torch takes a second.
COMMANDS = {
    "demo": "the whole tour in minutes: pictures of a bundled scene, a fit, conversions, a mesh, a report",
    "fit": "posed photographs to a radiance field",
    "convert": "a scene to another representation, or to a mesh, with no photographs needed",
    "generate": "words to an asset, by what a diffusion model says about its pictures",
    "refine": "an asset and words to a better asset",
    "retexture": "new colours by words for a mesh whose shape and uv stay",
    "edit": "a scene cut, moved, sized, cleaned or thinned, in the order that is typed",
    "edit-with-prompt": "an asset, what it is and what it shall be in words, to that: the rest is held",
    "asset": "a scan to a game asset: cleaned, upright, sized, meshed, with levels, collider, preview and page",
    "render": "pictures or a video of a scene, or a dataset that other tools train on",
    "view": "scenes in a browser: one page that needs no other file and no network",
    "compare": "PSNR, SSIM and FLIP between scenes, or a scene and its photographs",
    "inspect": "what a scene file or a dataset holds",
    "formats": "which files are read and written, what is up in them, and what each keeps",
    "doctor": "which backends and extras were found, and why not the others",
}
MANUAL = """usage: volkit COMMAND SOURCE... TARGET [options]

{commands}

examples:
  volkit demo --all
  volkit fit photos/fox fox.safetensors --to hash_grid --size 480 --preserveout 8 --budget 3m
  volkit convert fox.safetensors fox_vm.safetensors --to tensor_vm --budget 60s
  volkit convert fox.safetensors fox.glb --faces 20000
  volkit generate "a red ball on a blue box" ball.safetensors
  volkit render fox_vm.safetensors orbit.mp4
  volkit view fox.ply fox.glb
  volkit compare fox_vm.safetensors photos/fox --json

volkit COMMAND --help lists a command's options; volkit --version says which volkit this is.
Exit status: 0 done, 1 failed, 2 the command line itself is wrong, 130 interrupted."""


@dataclass(frozen=True)
class OutputOptions:
    """How a command speaks, whatever it does."""

    json: bool = False
    """Print one JSON object on standard output and nothing else; no progress."""
    debug: bool = False
    """Show the traceback of an error."""
    threads: int | None = None
    """CPU threads; without it VOLKIT_THREADS, else every core that this process may use."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    set_wait_policy()
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help", "help"):
        rows = "\n".join(f"  {name:16} {purpose}" for name, purpose in COMMANDS.items())
        print(MANUAL.format(commands=rows))
        return 0 if given else 2
    if given[0] in ("-V", "--version"):
        print(f"volkit {__version__}")
        return 0
    if given[0] not in COMMANDS:
        return _failed(f"there is no command '{given[0]}': choose one of {', '.join(COMMANDS)}", 2)
    try:
        return _run(given[0], given[1:])
    except KeyboardInterrupt:
        return _failed("interrupted", 130)


def _run(name: str, arguments: list[str]) -> int:
    keep_memory()
    try:
        apply_threads(_typed_threads(arguments))
    except ValueError as error:
        return _failed(str(error), 2)
    try:
        job, speech = _parsed(name, arguments)
    except SystemExit as stop:  # tyro has printed help or what is wrong
        return int(stop.code or 0)
    from volkit.commands.progress import ConsoleProgress
    from volkit.commands.usage import UsageError
    from volkit.progress import Progress
    from volkit.reports.summary import summary

    try:
        report = job.run(Progress() if speech.json else ConsoleProgress())
        _say(json.dumps(report, allow_nan=False, default=str) if speech.json else summary(report))
        return 1 if report.get("failed") else 0
    except Exception as error:
        if speech.debug:
            raise
        expected = isinstance(error, ValueError | OSError | RuntimeError | ArithmeticError)
        kind = "" if expected else f"unexpected {type(error).__name__} (--debug shows where): "
        return _failed(kind + " ".join(str(error).split()), 2 if isinstance(error, UsageError) else 1)


def _parsed(name: str, arguments: list[str]) -> tuple[Any, OutputOptions]:
    import tyro

    module = importlib.import_module(f"volkit.commands.{name.replace('-', '_')}")
    job = getattr(module, f"{name.title().replace('-', '')}Job")
    flat = tyro.conf.arg(name="")
    config = (
        tyro.conf.PositionalRequiredArgs,
        tyro.conf.UseAppendAction,
        tyro.conf.FlagCreatePairsOff,
        tyro.conf.OmitArgPrefixes,
    )
    both = tuple[Annotated[job, flat], Annotated[OutputOptions, flat]]
    return tyro.cli(
        both, prog=f"volkit {name}", description=inspect.cleandoc(job.__doc__), args=arguments, config=config
    )


def _typed_threads(arguments: list[str]) -> int | None:
    """The number behind `--threads`, read before a command is imported, because torch comes with it."""
    given = [f"{word}={following}" for word, following in pairwise([*arguments, ""])] + arguments
    numbers = [word.partition("=")[2] for word in given if word.startswith("--threads=")]
    return next((int(number) for number in reversed(numbers) if number.isdecimal()), None)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # who reads has seen enough, as in `volkit formats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the interpreter flushes at its end


def _failed(message: str, status: int) -> int:
    print(f"volkit: error: {message}" if status != 130 else f"volkit: {message}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
