"""Untrusted YAML: plain values alone. Nothing that a tag names is imported or called, and nothing is expanded.

Trainers write their settings with tags such as `!!python/object/apply:pathlib.PosixPath`, which YAML's full loaders
execute. Here each such node is what it is written as: a mapping, a list or a text.
"""

from pathlib import Path
from typing import Any

import yaml

from volkit.files.errors import FormatError

__all__ = ["read_plain_yaml"]

MAX_BYTES = 1 << 20
MAX_DEPTH = 64  # of nested nodes
MAX_NODES = 1 << 16  # each alias counted as all that it stands for
PYTHON_TAGS = "tag:yaml.org,2002:python/"


class _PlainLoader(yaml.SafeLoader):
    """The safe loader, to which tags of Python are no tags."""


def _plain(loader: _PlainLoader, suffix: str, node: yaml.Node) -> Any:
    """The node as it is written; a text where a scalar stands, whatever type its tag names."""
    if isinstance(node, yaml.MappingNode):
        return loader.construct_mapping(node, deep=True)
    if isinstance(node, yaml.SequenceNode):
        return loader.construct_sequence(node, deep=True)
    assert isinstance(node, yaml.ScalarNode)
    return loader.construct_scalar(node)


_PlainLoader.add_multi_constructor(PYTHON_TAGS, _plain)


def read_plain_yaml(path: Path) -> Any:
    """The file's one document as dicts, lists, texts, numbers, dates, truth values and None.

    Tags of Python are passed over. Raises FormatError where the file cannot be read, is longer than 1 MiB, is no YAML,
    has other tags, or is nested or repeated by aliases beyond what settings are.

    >>> read_plain_yaml(Path("config.yml"))["pipeline"]["model"]["average_init_density"]
    0.01
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise FormatError(path, f"cannot be read ({error.strerror or error})", "check the path") from error
    if len(text) > MAX_BYTES:
        raise FormatError(path, f"has more than {MAX_BYTES} bytes, which no settings have", "check where it is from")
    try:
        _check_size(text)
        return yaml.load(text, _PlainLoader)  # a safe loader, whatever it is called
    except (yaml.YAMLError, ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise FormatError(path, f"is no plain YAML ({reason})", "copy it again") from error


def _check_size(text: bytes) -> None:
    """Raise ValueError for what is nested too deep, or grows too large once aliases are what they stand for."""
    sizes: dict[str, int] = {}  # of what has an anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor, and nodes before it
    count = 0
    for event in yaml.parse(text, _PlainLoader):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise ValueError(f"the alias '{event.anchor[:40]}' stands for nothing, or for what it is part of")
            count += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            count += 1
            sizes |= {event.anchor: 1} if event.anchor else {}
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, count))
            count += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            sizes |= {anchor: count - before} if anchor else {}
        if len(open_nodes) > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
        if count > MAX_NODES:
            raise ValueError(f"it holds more than {MAX_NODES} values, aliases counted as what they stand for")
