"""Which source becomes which target: words of a command line, with patterns and folders among them, as pairs."""

from collections.abc import Sequence
from glob import glob
from pathlib import Path

from volkit.commands.usage import UsageError
from volkit.io import FORMATS

__all__ = ["Pair", "expand_patterns", "pair_sources"]

Pair = tuple[tuple[Path, ...], Path]
PAGES = ("meta.json", "lod-meta.json")  # name the pictures of SOG beside them; the folder says which scene it is


def expand_patterns(words: Sequence[Path]) -> list[Path]:
    """Files for patterns (`*`, `**`, `?`, `[]`), in alphabetical order, and the scene files of folders.

    Shells that expand patterns by themselves leave nothing to do; where they do not, as on Windows, it is done here.
    ValueError for a pattern without a match and a folder without a scene.
    """
    found: list[Path] = []
    for word in words:
        if word.is_dir():
            inside = sorted(path for path in word.iterdir() if path.is_file() and _opens(path))
            if not inside:
                raise ValueError(f"{word}: the folder holds no scene file; name one, or another folder")
            found += inside
        elif any(sign in str(word) for sign in "*?[") and not word.exists():
            matching = sorted(Path(path) for path in glob(str(word), recursive=True))
            if not matching:
                raise ValueError(f"{word}: no file has such a name; check the pattern")
            found += [path for path in matching if path.is_file()]
        else:
            found.append(word)
    return found


def pair_sources(words: Sequence[Path], suffixes: Sequence[str] | None, usual: str, compose: bool) -> list[Pair]:
    """Sources and target of each conversion.

    The last word is a folder that gets a file of each suffix (by default the `usual` one) for each source, or the first
    word is the source and all others are targets. With `compose` all words but the last are one source.
    """
    *first, last = words
    if compose:
        return [(tuple(expand_patterns(first)), last)]
    several = len(first) > 1 or (bool(first) and expand_patterns(first) != first)
    if last.is_dir() or (not last.suffix and (suffixes or several)):
        sources = expand_patterns(first)
        return [pair for suffix in suffixes or (usual,) for pair in _in_folder(sources, last, suffix.removeprefix("."))]
    if suffixes is not None:
        raise UsageError(f"--format is for a folder; {last} says by its suffix what it is")
    sources = expand_patterns(words[:1])
    if len(sources) > 1:
        raise UsageError(f"{words[0]} stands for {len(sources)} files: name a folder as the target, or --compose them")
    return [((sources[0],), target) for target in words[1:]]


def _in_folder(sources: Sequence[Path], folder: Path, suffix: str) -> list[Pair]:
    """Targets named as their sources are; UsageError where two would be the same file."""
    targets = [folder / f"{_name(source)}.{suffix}" for source in sources]
    for target in targets:
        if targets.count(target) > 1:
            raise UsageError(f"{target}: two sources would be written there; rename one of them")
    return [((source,), target) for source, target in zip(sources, targets, strict=True)]


def _opens(path: Path) -> bool:
    """Whether a file is a scene, and of a format that is not for writing alone."""
    from volkit.io.opening import is_scene  # torch comes with it

    named = [row for row in FORMATS.values() if path.name.lower().endswith(row.suffixes)]
    return is_scene(path) and (not named or any(row.read is not None for row in named))


def _name(source: Path) -> str:
    """A file's name without what says its format."""
    if source.name in PAGES:
        return source.resolve().parent.name
    known = [s for row in FORMATS.values() for s in row.suffixes if source.name.lower().endswith(s)]
    return source.name[: -len(max(known, key=len))] if known else source.stem
