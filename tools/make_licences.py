"""docs/licences.md: what volkit is built on, and under which licence, from pyproject.toml and the installed packages.

python tools/make_licences.py          writes docs/licences.md
python tools/make_licences.py --check  only says whether it is up to date
"""

import argparse
import json
import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "licences.md"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
OWN = re.compile(r"volkit")  # the project's own distributions, which extras may name
LONGEST = 40  # of a licence's name: what is longer is its text
# How the texts begin that packages give in place of a name.
TEXTS = {
    "Permission is hereby granted, free of charge": "MIT",
    "Apache License": "Apache-2.0",
    "Redistribution and use in source and binary forms": "BSD",
}
HEAD = """# Licences

<!-- Made by tools/make_licences.py from pyproject.toml and the packages that are installed: not by hand. -->

volkit itself is under the MIT licence. It contains no code of others except what the viewer's page bundles. Licences
below are as each package states them; packages that are pulled in by these have licences of their own. Note that
plyfile, which every installation has, is under the GPL: whoever distributes volkit together with it has to follow that.

"""
TAIL = """
## The kernels

The native module is built by scikit-build-core (Apache-2.0) with nanobind
(BSD-3-Clause), which is compiled into it.

## Models

| model | licence | made by |
|---|---|---|
| toy priors (`pixels32`, `pixels64`, `latent`, `views4`) | MIT | `tools/train_toy_prior.py`, on its own pictures |

Diffusion models that you name with `--prior` have licences of their own; none is part of volkit.

## Scenes and pictures

| what | licence | from |
|---|---|---|
| `scenes/*.json`: still life, primitives, lantern | MIT, as volkit | written for volkit |
| pictures in this documentation | MIT | those scenes and the toy priors, by `tools/make_strip.py` and others |

Data sets that measurements name are not part of volkit. *chair* is NeRF-Synthetic's, its model CC0 by 1DInc; *fern* is
CC BY 3.0, published with LLFF and NeRF; *spot* is by Keenan Crane, public domain (CC0).
"""


def licence_of(package: str) -> str:
    """A package's licence as it states it: its SPDX expression, its field, its classifiers, or the text it brings."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        raise SystemExit(f"{package} is not installed: pip install -c constraints.txt '.[test,docs]' first") from None
    about = found.metadata
    text = (about.get("License") or "").strip()
    classes = [c.rpartition(" :: ")[2] for c in about.get_all("Classifier", []) if c.startswith("License ::")]
    stated = (about.get("License-Expression") or "").strip()
    if not stated and len(text) <= LONGEST and "\n" not in text:
        stated = text
    stated = stated or ", ".join(c for c in classes if c != "OSI Approved")
    if not stated:
        files = [file for file in found.files or [] if re.match(r"LICEN[CS]E|COPYING", file.name)]
        whole = text + "".join(file.read_text(encoding="utf-8") for file in files)
        stated = next((name for start, name in TEXTS.items() if start in whole), "")
    return (stated or "see the package").replace("|", "/")


def packages(requirements: list[str]) -> list[str]:
    """Names of the packages that requirements ask for, without the project's own."""
    names = [match[0] for line in requirements if (match := NAME.match(line))]
    return sorted((name for name in names if not OWN.match(name)), key=str.lower)


def page() -> str:
    """The whole page."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = {"Core": project["project"]["dependencies"]}
    groups |= {
        f"Extra `{name}`": wanted for name, wanted in sorted(project["project"]["optional-dependencies"].items())
    }
    sections = []
    for title, wanted in groups.items():
        if names := packages(wanted):
            rows = "".join(f"| {name} | {licence_of(name)} |\n" for name in names)
            sections.append(f"## {title}\n\n| package | licence |\n|---|---|\n{rows}")
    return HEAD + "\n".join([*sections, viewer()]) + TAIL


def viewer() -> str:
    """The npm packages from which `make viewer` builds its page."""
    lock = json.loads((ROOT / "tools" / "viewer" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    rows = ""
    for path, about in sorted(lock.items()):
        name = path.removeprefix("node_modules/")
        if path and not about.get("optional"):
            use = "builds the page" if about.get("dev") else "in the page"
            licence = about.get("license", "see the package")
            rows += f"| [{name}](https://www.npmjs.com/package/{name}) | {licence} | {use} |\n"
    return f"## The viewer's page\n\n| npm package | licence | use |\n|---|---|---|\n{rows}"


def main(arguments: list[str] | None = None) -> int:
    """Write or check the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 if the page is out of date")
    options = parser.parse_args(arguments)
    made = page()
    if options.check:
        current = PAGE.is_file() and PAGE.read_text(encoding="utf-8") == made
        print("up to date" if current else "docs/licences.md is out of date: run python tools/make_licences.py")
        return int(not current)
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
