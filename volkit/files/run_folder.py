"""Folders that trainers leave: the newest of the files that they number."""

import re
from collections.abc import Sequence
from pathlib import Path

__all__ = ["newest_file"]

MAX_FILES = 1 << 14  # that are looked at in one folder


def newest_file(path: Path, patterns: Sequence[str]) -> Path:
    """The file with the highest number of those in a folder that match the first pattern that any does.

    The number is the last one that stands where the pattern has its star. A path that is no folder, or a folder without
    such a file, is returned as it is.

    >>> newest_file(Path("run"), ("checkpoints/step-*.ckpt",)).name
    'step-000029999.ckpt'
    """
    if not path.is_dir():
        return path
    for pattern in patterns:
        try:
            found = [file for file, _ in zip(path.glob(pattern), range(MAX_FILES), strict=False) if file.is_file()]
        except OSError:
            continue
        if found:
            return max(found, key=lambda file: (_number(file.relative_to(path), pattern), file.name))
    return path


def _number(file: Path, pattern: str) -> int:
    starred = re.escape(pattern).replace(r"\*", "(.*)")
    match = re.fullmatch(starred, file.as_posix())
    numbers = re.findall(r"\d{1,18}", "".join(match.groups()[:1])) if match else []
    return int(numbers[-1]) if numbers else -1
