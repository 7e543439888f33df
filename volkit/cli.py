"""The command line: every command is a job dataclass, and its fields are the options."""

import importlib
import json
import os
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from volkit.commands.help import help_text
from volkit.commands.options import OutputOptions, parse
from volkit.threads import apply_threads, keep_memory, set_wait_policy
from volkit.version import __version__

__all__ = ["COMMANDS", "job_class", "main"]

# What each command is for. `volkit.commands.NAME` holds `NameJob`, imported when it is called.
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
  volkit fit photos/fox fox.safetensors --to hash_grid --size 480 --holdout 8 --budget 3m
  volkit convert fox.safetensors fox_vm.safetensors --to tensor_vm --budget 60s
  volkit convert fox.safetensors fox.glb --faces 20000
  volkit generate "a red ball on a blue box" ball.safetensors
  volkit render fox_vm.safetensors orbit.mp4
  volkit view fox.ply fox.glb
  volkit compare fox_vm.safetensors photos/fox --json

volkit COMMAND --help lists a command's options; volkit --version says which volkit this is.
--json prints one JSON object on standard output, errors included; progress goes to standard error.

environment:
  VOLKIT_BACKEND     auto, native, reference, cuda or gsplat: what computes; a choice that is not there is an error
  VOLKIT_ISA         instruction set of the CPU kernels; volkit doctor lists those of this processor
  VOLKIT_THREADS     threads of the CPU kernels and of torch, as --threads; by default one for each core we may use
  OMP_NUM_THREADS    the same, of all libraries that use OpenMP; VOLKIT_THREADS goes before it
  OMP_WAIT_POLICY    how idle threads wait: by default passive here, with GOMP_SPINCOUNT=1000: they soon sleep
  COLUMNS            width of help and tables

Exit status: 0 done, 1 failed, 2 the command line itself is wrong, 130 interrupted."""
FAILED, WRONG, INTERRUPTED = 1, 2, 130  # exit statuses


def job_class(command: str) -> type[Any]:
    """The dataclass of a command: `edit-with-prompt` is `EditWithPromptJob` of `volkit.commands.edit_with_prompt`."""
    module = importlib.import_module(f"volkit.commands.{command.replace('-', '_')}")
    return getattr(module, "".join(part.capitalize() for part in command.split("-")) + "Job")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status. Of the process's own arguments an interruption ends the process."""
    set_wait_policy()
    status = _answered(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None and status == INTERRUPTED:
        _leave(status)
    return status


def _answered(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        longest = max(map(len, COMMANDS))
        rows = "\n".join(f"  {name:{longest}} {purpose}" for name, purpose in COMMANDS.items())
        _say(MANUAL.format(commands=rows))
        return 0 if given else WRONG
    if given[0] in ("-V", "--version"):
        _say(f"volkit {__version__}")
        return 0
    speech = OutputOptions("--json" in given, "--debug" in given)
    if given[0] not in COMMANDS:
        from difflib import get_close_matches

        near = [f"did you mean {name}?" for name in get_close_matches(given[0], COMMANDS, 1)]
        fix = " ".join([*near, f"volkit --help lists them: {', '.join(COMMANDS)}"])
        return _failed(f"there is no command '{given[0]}'; {fix}", "usage", WRONG, given[0], speech)
    return _run(given[0], given[1:], speech)


def _run(name: str, arguments: list[str], speech: OutputOptions) -> int:
    job = None
    try:
        _settle(arguments)
        classes = (job_class(name), OutputOptions)
        if "--help" in arguments or "-h" in arguments:
            _say(help_text(name, classes))
            return 0
        job, speech = parse(classes, arguments)
        return _reported(job.run(_progress(speech)), speech)
    except KeyboardInterrupt:
        return _failed(_interrupted(job), "interrupted", INTERRUPTED, name, speech)
    except Exception as error:
        if speech.debug:
            raise
        kind = _kind(error)
        surprise = f"unexpected {type(error).__name__} (--debug shows where): " if kind == "unexpected" else ""
        status = WRONG if kind == "usage" else FAILED
        return _failed(surprise + " ".join(str(error).split()), kind, status, name, speech)


def _settle(arguments: list[str]) -> None:
    """How this process uses threads, memory and bars, before a command is imported: libraries ask when they load."""
    from volkit.commands.options import UsageError

    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers heeds it, too
    keep_memory()
    try:
        apply_threads(_typed_threads(arguments))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _typed_threads(arguments: list[str]) -> int | None:
    """The number behind `--threads`."""
    given = [f"{word}={following}" for word, following in pairwise([*arguments, ""])] + arguments
    numbers = [word.partition("=")[2] for word in given if word.startswith("--threads=")]
    return next((int(number) for number in reversed(numbers) if number.isdecimal()), None)


def _progress(speech: OutputOptions) -> Any:
    if speech.json:
        from volkit.progress import Progress

        return Progress()
    from volkit.commands.progress import ConsoleProgress

    return ConsoleProgress()


def _reported(report: dict[str, Any], speech: OutputOptions) -> int:
    if speech.json:
        _say(json.dumps(report, allow_nan=False, default=str))
    else:
        from volkit.reports.summary import summary

        _say(summary(report))
    if report.get("interrupted"):
        return INTERRUPTED
    return FAILED if report.get("failed") else 0


def _kind(error: Exception) -> str:
    from volkit.choices import ParameterError
    from volkit.files.errors import FormatError

    kinds = {ParameterError: "usage", FormatError: "format", OSError: "os"}
    found = next((kind for known, kind in kinds.items() if isinstance(error, known)), None)
    return found or ("failed" if isinstance(error, ValueError | RuntimeError | ArithmeticError) else "unexpected")


def _interrupted(job: Any) -> str:
    """Whether anything is left that can be taken up."""
    last = getattr(job, "target", None) or (getattr(job, "paths", None) or [None])[-1]
    if last is not None and (part := Path(f"{last}.part")).exists():
        return f"interrupted; {part} is kept: the same command with --resume goes on from it"
    return "interrupted; nothing is kept"


def _failed(message: str, kind: str, status: int, command: str, speech: OutputOptions) -> int:
    if speech.json:
        _say(json.dumps({"error": message, "kind": kind, "command": command}))
    else:
        print(f"volkit: error: {message}" if status != INTERRUPTED else f"volkit: {message}", file=sys.stderr)
    return status


def _leave(status: int) -> None:
    """End at once, for all is put away and said: to take torch apart takes longer than to stop what it did."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _say(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # who reads has seen enough, as in `volkit formats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the interpreter flushes at its end


if __name__ == "__main__":
    sys.exit(main())
