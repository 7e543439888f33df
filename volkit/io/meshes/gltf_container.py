"""What holds a glTF: one binary file of two chunks, or JSON with files beside it (glTF 2.0, sections 3.6 and 4.4)."""

import base64
import binascii
import json
import struct
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from volkit.files.errors import FormatError, read_start

__all__ = ["packed", "payload", "sniff_gltf", "tree_head", "unpacked"]

HEAD = 1 << 20
MAGIC, JSON, BINARY = 0x46546C67, 0x4E4F534A, 0x004E4942


def sniff_gltf(path: Path) -> bool:
    """Whether the file is glTF, and not of splats."""
    head = tree_head(path)
    return bool(head) and b'"KHR_gaussian_splatting"' not in head


def packed(tree: dict[str, Any], blob: bytes) -> bytes:
    """The binary form: header, JSON padded by spaces, buffer padded by zeros."""
    text = json.dumps(tree, separators=(",", ":")).encode()
    chunks = [(JSON, text + b" " * (-len(text) % 4)), (BINARY, blob + bytes(-len(blob) % 4))]
    body = b"".join(struct.pack("<II", len(data), kind) + data for kind, data in chunks)
    return struct.pack("<III", MAGIC, 2, 12 + len(body)) + body


def unpacked(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """The tree and its buffers, of either form; ValueError or KeyError where it is damaged."""
    data = path.read_bytes()
    text, blob = _chunks(data) if data[:4] == b"glTF" else (data, b"")
    tree = json.loads(text)
    if not isinstance(tree, dict) or not str(tree["asset"]["version"]).startswith("2."):
        raise ValueError("it is not glTF 2")
    return tree, [payload(path, buffer["uri"]) if "uri" in buffer else blob for buffer in tree.get("buffers", ())]


def tree_head(path: Path) -> bytes:
    """The first megabyte of the tree's text, of either form; nothing where the file is no glTF."""
    head = read_start(path, HEAD)
    if head[:4] == b"glTF":
        return head[20 : 20 + int.from_bytes(head[12:16], "little")]
    return head if head.lstrip()[:1] == b"{" and b'"asset"' in head and b'"version"' in head else b""


def payload(path: Path, uri: str) -> bytes:
    """What a URI of the glTF at `path` names: data in the URI itself, or a file beside it."""
    if uri.startswith("data:"):
        try:
            return base64.b64decode(uri.partition(",")[2], validate=True)
        except binascii.Error as error:
            raise ValueError("data in a URI is damaged") from error
    beside = path.parent / unquote(uri)
    if not beside.is_file():
        raise FormatError(path, f"names {uri}, which is not there", "keep the files of a glTF together")
    return beside.read_bytes()


def _chunks(data: bytes) -> tuple[bytes, bytes]:
    _, version, length = struct.unpack_from("<III", data)
    if version != 2 or length > len(data):
        raise ValueError(f"version {version}, {length} bytes promised and {len(data)} there")
    found, at = {}, 12
    while at + 8 <= length:
        size, kind = struct.unpack_from("<II", data, at)
        found.setdefault(kind, data[at + 8 : at + 8 + size])  # a second chunk of a kind has no meaning
        at += 8 + size
    return found.get(JSON, b""), found.get(BINARY, b"")
