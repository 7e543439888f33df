"""The command line: every command is a dataclass, a job, whose fields are the options."""

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

# Purpose of each command. `volkit.commands.NAME` holds `NameJob`, which is imported when it is called.
COMMANDS = {
    "demo": "a tour in minutes: render a bundled scene, fit it, convert it, extract a mesh, write a report",
    "fit": "fit a radiance field or splats to posed photographs",
    "convert": "convert a scene to another representation, to a mesh or to another format, without photographs",
    "generate": "text to 3D by score distillation from a diffusion model",
    "refine": "refine an asset under a prompt: sharper colours, cleaner shape",
    "retexture": "paint a mesh from a prompt; its shape and uv stay",
    "edit": "crop, move, scale, clean or decimate a scene",
    "edit-with-prompt": "edit an asset by prompts: what it is, and what it should become",
    "asset": "a game asset from a scan: clean, upright, to scale; mesh with LODs and collider, preview, page",
    "render": "render pictures or a video of a scene, or a posed dataset that other tools train on",
    "view": "show scenes in a browser, in one page that works offline",
    "compare": "PSNR, SSIM and FLIP between two scenes, or a scene and its photographs",
    "inspect": "print what a scene file or a dataset contains, and which commands come next",
    "formats": "list the file formats: read or written, kinds, up axis, what each keeps",
    "doctor": "test backends and extras, and say how to install what is missing",
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

volkit COMMAND --help lists the options of a command; volkit --version prints the version.
--json prints one JSON object on standard output, errors included; progress goes to standard error.

environment:
  VOLKIT_BACKEND     compute backend: auto (default), native, reference, cuda or gsplat; one that is missing is an error
  VOLKIT_ISA         instruction set of the CPU kernels; volkit doctor lists those of this processor
  VOLKIT_THREADS     threads of the CPU kernels and of torch, as --threads; by default one per available core
  OMP_NUM_THREADS    the same for all libraries that use OpenMP; VOLKIT_THREADS takes precedence
  OMP_WAIT_POLICY    how idle threads wait; volkit sets passive and GOMP_SPINCOUNT=1000, so that they soon sleep
  COLUMNS            width of help and tables

Exit status: 0 done, 1 failed, 2 the command line itself is wrong, 130 interrupted."""
FAILED, WRONG, INTERRUPTED = 1, 2, 130  # exit statuses


def job_class(command: str) -> type[Any]:
    """The dataclass of a command: `edit-with-prompt` is `EditWithPromptJob` of `volkit.commands.edit_with_prompt`."""
    module = importlib.import_module(f"volkit.commands.{command.replace('-', '_')}")
    return getattr(module, "".join(part.capitalize() for part in command.split("-")) + "Job")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; called without arguments, an interruption ends the process."""
    set_wait_policy()
    status = _dispatch(list(sys.argv[1:] if arguments is None else arguments))
    if arguments is None and status == INTERRUPTED:
        _exit(status)
    return status


def _dispatch(given: list[str]) -> int:
    if not given or given[0] in ("-h", "--help", "help"):
        longest = max(map(len, COMMANDS))
        rows = "\n".join(f"  {name:{longest}} {purpose}" for name, purpose in COMMANDS.items())
        _print(MANUAL.format(commands=rows))
        return 0 if given else WRONG
    if given[0] in ("-V", "--version"):
        _print(f"volkit {__version__}")
        return 0
    output = OutputOptions("--json" in given, "--debug" in given)
    if given[0] not in COMMANDS:
        from difflib import get_close_matches

        near = [f"did you mean {name}?" for name in get_close_matches(given[0], COMMANDS, 1)]
        fix = " ".join([*near, f"volkit --help lists them: {', '.join(COMMANDS)}"])
        return _print_error(f"there is no command '{given[0]}'; {fix}", "usage", WRONG, given[0], output)
    return _run(given[0], given[1:], output)


def _run(name: str, arguments: list[str], output: OutputOptions) -> int:
    job = None
    try:
        _set_up_process(arguments)
        classes = (job_class(name), OutputOptions)
        if "--help" in arguments or "-h" in arguments:
            _print(help_text(name, classes))
            return 0
        job, output = parse(classes, arguments)
        return _print_report(job.run(_make_progress(output)), output)
    except KeyboardInterrupt:
        return _print_error(_interruption_message(job), "interrupted", INTERRUPTED, name, output)
    except Exception as error:
        if output.debug:
            raise
        kind = _kind(error)
        surprise = f"unexpected {type(error).__name__} (--debug shows where): " if kind == "unexpected" else ""
        status = WRONG if kind == "usage" else FAILED
        return _print_error(surprise + " ".join(str(error).split()), kind, status, name, output)


def _set_up_process(arguments: list[str]) -> None:
    """Set up threads, memory and progress bars before a command is imported, for libraries read them as they load."""
    from volkit.commands.options import UsageError

    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # transformers reads it, too
    keep_memory()
    try:
        apply_threads(_threads_option(arguments))
    except ValueError as error:
        raise UsageError(str(error)) from error


def _threads_option(arguments: list[str]) -> int | None:
    """The value of `--threads`."""
    given = [f"{word}={following}" for word, following in pairwise([*arguments, ""])] + arguments
    numbers = [word.partition("=")[2] for word in given if word.startswith("--threads=")]
    return next((int(number) for number in reversed(numbers) if number.isdecimal()), None)


def _make_progress(output: OutputOptions) -> Any:
    if output.json:
        from volkit.progress import Progress

        return Progress()
    from volkit.commands.progress import ConsoleProgress

    return ConsoleProgress()


def _print_report(report: dict[str, Any], output: OutputOptions) -> int:
    if output.json:
        _print(json.dumps(report, allow_nan=False, default=str))
    else:
        from volkit.reports.summary import summary

        _print(summary(report))
    if report.get("interrupted"):
        return INTERRUPTED
    return FAILED if report.get("failed") else 0


def _kind(error: Exception) -> str:
    from volkit.choices import ParameterError
    from volkit.files.errors import FormatError

    kinds = {ParameterError: "usage", FormatError: "format", OSError: "os"}
    found = next((kind for known, kind in kinds.items() if isinstance(error, known)), None)
    return found or ("failed" if isinstance(error, ValueError | RuntimeError | ArithmeticError) else "unexpected")


def _interruption_message(job: Any) -> str:
    """The message of an interruption, with the checkpoint that can be resumed."""
    last = getattr(job, "target", None) or (getattr(job, "paths", None) or [None])[-1]
    if last is not None and (part := Path(f"{last}.part")).exists():
        return f"interrupted; the same command with --resume continues from {part}"
    return "interrupted; there is no checkpoint to continue from"


def _print_error(message: str, kind: str, status: int, command: str, output: OutputOptions) -> int:
    if output.json:
        _print(json.dumps({"error": message, "kind": kind, "command": command}))
    else:
        print(f"volkit: error: {message}" if status != INTERRUPTED else f"volkit: {message}", file=sys.stderr)
    return status


def _exit(status: int) -> None:
    """End at once: all files are closed, and unloading torch takes longer than an interrupted user waits."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:  # the reader has closed, as in `volkit formats | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # where the interpreter flushes at its end


if __name__ == "__main__":
    sys.exit(main())
