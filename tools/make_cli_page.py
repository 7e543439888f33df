"""docs/cli.md, the command line's manual, from the options of the commands themselves.

python tools/make_cli_page.py          writes docs/cli.md
python tools/make_cli_page.py --check  only says whether it is up to date
"""

import argparse
import contextlib
import io
import os
import re
import sys
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "cli.md"
COLUMNS = "100"  # of the help texts
HEAD = """# Command line

<!-- Made by tools/make_cli_page.py from the commands themselves: change their option classes, not this page. -->

```
volkit COMMAND SOURCE... TARGET [options]
```

- The last argument is the target. If it is a folder, all others are sources; otherwise the first is the source and the
  rest are targets.
- The suffix of a target names its **format**, `--to` names the **kind** of scene. Without `--to` the kind of the source
  is kept if the format can hold it.
- Existing files are not overwritten without `--force`. Unfinished work is `TARGET.part`; `--resume` continues it.
- `--budget 120s` is wall clock of the optimisation, `--budget 2000` is a number of steps.
- `--json` prints one JSON object on standard output and nothing else; progress goes to standard error.
- Exit status: 0 done, 1 failed, 2 the command line itself is wrong, 130 interrupted.

"""


def help_of(*arguments: str) -> str:
    """What `volkit ARGUMENTS --help` prints, without colours, at a fixed width."""
    from volkit.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = main([*arguments, "--help"])
    if status != 0:
        raise RuntimeError(f"volkit {' '.join(arguments)} --help ended with {status}")
    text = re.sub(r"\x1b\[[0-9;]*m", "", printed.getvalue())
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def page() -> str:
    """The whole page."""
    from volkit.cli import COMMANDS

    rows = "".join(f"| [`{name}`](#{name}) | {purpose} |\n" for name, purpose in COMMANDS.items())
    sections = "".join(f"\n## {name}\n\n```text\n{help_of(name)}\n```\n" for name in COMMANDS)
    return f"{HEAD}| command | what it is for |\n|---|---|\n{rows}{sections}"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 if the page is out of date")
    options = parser.parse_args(arguments)
    os.environ["COLUMNS"] = COLUMNS  # argparse, tyro and rich all ask for it
    os.environ["NO_COLOR"] = "1"
    made = page()
    if options.check:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
        print("up to date" if current else "docs/cli.md is out of date: run python tools/make_cli_page.py")
        return int(not current)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
