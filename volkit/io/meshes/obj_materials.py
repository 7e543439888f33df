"""An `.obj` as trimesh reads it right: polygons cut, libraries and pictures in its folder however they are spelt."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from volkit.files.errors import FormatError, read_start
from volkit.geometry.colour import array_linear_from_srgb
from volkit.io.meshes.beside import KEEP_FIX, find_beside, read_picture
from volkit.io.meshes.parts import ImageTable, MeshPart, part_from_trimesh
from volkit.io.meshes.polygons import concave_polygons, triangulate
from volkit.representations import Material, Texture
from volkit.representations.material import Wrap

__all__ = ["ObjMaterials"]

MAX_LIBRARY_BYTES = 1 << 24
# Options of a texture's statement, and how many words belong to each (-s, -o, -t have one to three numbers).
OPTION_WORDS = {"-blendu": 1, "-blendv": 1, "-bm": 1, "-boost": 1, "-cc": 1, "-clamp": 1, "-imfchan": 1, "-mm": 2,
                "-texres": 1, "-type": 1, "-s": 3, "-o": 3, "-t": 3}  # fmt: skip
VECTORS = ("-s", "-o", "-t")
PICTURES = ("map_kd", "map_ke", "norm")  # statements whose pictures are read
LOST = ("map_d", "map_bump", "bump", "disp", "map_pr", "map_pm", "map_ks", "map_ns", "refl")
UV_SETS = 2  # that a mesh of ours has


@dataclass(frozen=True)
class _Placing:
    """How a picture lies on the uv of a material: scaled, then moved; v runs up."""

    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)
    wrap: Wrap = "repeat"


@dataclass
class _Statements:
    """What a library says of one material, by keywords in small letters; pictures as rows of the images."""

    name: str
    values: dict[str, list[float]] = field(default_factory=dict)
    pictures: dict[str, tuple[int, _Placing]] = field(default_factory=dict)


@dataclass
class ObjMaterials:
    """What trimesh asks by name while it reads an `.obj`; nothing outside the file's folder is read.

    Attributes:
        path: the `.obj`.
        images: receives the pictures of its materials.
        notes: says which library of materials is missing, and what is left out.
    """

    path: Path
    images: ImageTable
    notes: list[str]
    _text: bytes = field(init=False)
    _materials: dict[str, _Statements] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        self._text, lost = self.path.read_bytes(), set()
        for words in _after(self._text, b"mtllib"):
            for name in self._library_names(words):
                library = find_beside(self.path, name)
                if library is None:
                    self.notes.append(f"names {name}, which is not there: its parts have no materials")
                else:
                    lost |= self._read(library)
        if lost:
            self.notes.append(f"left out: {', '.join(sorted(lost))}")

    def text(self) -> bytes:
        """The `.obj`, its only material used where it never says which, polygons that are not convex cut."""
        data = self._text
        if len(self._materials) == 1 and not _after(data, b"usemtl"):
            data = b"usemtl " + next(iter(self._materials)).encode() + b"\n" + data
        return _cut_concave(data)

    def __getitem__(self, name: str) -> bytes:
        return self.get(name)

    def get(self, name: str) -> bytes:
        """A library of the names alone: trimesh need not read what we read."""
        return "\n".join(f"newmtl {name}\nKd 1 1 1" for name in self._materials).encode()

    def part(self, mesh: Any) -> MeshPart:
        """The triangles of a `trimesh.Trimesh` with its material."""
        said = self._materials.get(getattr(getattr(mesh.visual, "material", None), "name", None) or "")
        if mesh.visual.kind != "texture" or said is None:
            return part_from_trimesh(mesh, self.images)
        sets = list(dict.fromkeys(placing for _, placing in said.pictures.values()))[:UV_SETS]
        material = _material(said, sets if mesh.visual.uv is not None else [])
        base = material.base_colour_texture
        if base is not None and (self.images.images[base.image][..., 3] < 255).any():
            material = replace(material, alpha_mode="blend")
        plain = part_from_trimesh(mesh, self.images, material)
        if not plain.uv:
            return plain
        up = plain.uv[0] * [1, -1] + [0, 1]  # v as the format has it
        return replace(plain, uv=tuple((up * own.scale + own.offset) * [1, -1] + [0, 1] for own in sets))

    def _library_names(self, words: str) -> list[str]:
        """One name, which may have spaces, or several."""
        if find_beside(self.path, words) is not None:
            return [words]
        return re.findall(r"\S.*?\.mtl(?=\s|$)", words, re.IGNORECASE) or [words]

    def _read(self, library: Path) -> set[str]:
        """Read a library; what is left out of its materials."""
        lost, own = set(), _Statements("")
        for line in read_start(library, MAX_LIBRARY_BYTES).decode(errors="replace").splitlines():
            key, _, rest = line.strip().replace("\t", " ").partition(" ")
            key, rest = key.lower(), rest.strip()
            if key == "newmtl":
                own = self._materials.setdefault(" ".join(rest.split()), _Statements(" ".join(rest.split())))
            elif key in PICTURES and rest:
                found, placing = self._picture(library, rest)
                pixels = np.zeros(0) if self.images.has(found) else read_picture(self.path, rest, found)
                own.pictures[key] = (self.images.row(found, pixels), placing)
            elif key in LOST:
                lost.add(key)
            elif rest and all(_is_number(word) for word in rest.split()):
                own.values[key] = [float(word) for word in rest.split()]
        return lost

    def _picture(self, library: Path, words: str) -> tuple[Path, _Placing]:
        """The file of a statement and how it is placed; FormatError where it is not there."""
        rest, options = words.split(), {}
        while rest and rest[0].lower() in OPTION_WORDS:
            option = rest.pop(0).lower()
            count = 0
            while count < OPTION_WORDS[option] and len(rest) > 1 and (option not in VECTORS or _is_number(rest[count])):
                count += 1
            options[option], rest = rest[:count], rest[count:]
        name = " ".join(rest)
        found = find_beside(self.path, name, library.parent)
        if found is None:
            raise FormatError(self.path, f"names {name}, which is not there", KEEP_FIX)
        scale, offset = ([float(word) for word in options.get(option, ())] for option in ("-s", "-o"))
        return found, _Placing(
            (scale[0] if scale else 1.0, scale[1] if len(scale) > 1 else 1.0),
            (offset[0] if offset else 0.0, offset[1] if len(offset) > 1 else 0.0),
            "clamp" if options.get("-clamp") == ["on"] else "repeat",
        )


def _material(said: _Statements, sets: list[_Placing]) -> Material:
    """A material by its statements; colours are display-referred, as viewers of the format show them."""

    def texture(key: str) -> Texture | None:
        row, placing = said.pictures.get(key, (0, _Placing()))
        if key not in said.pictures or placing not in sets:
            return None
        return Texture(row, 1 if sets.index(placing) else 0, (placing.wrap, placing.wrap))

    def light(key: str, default: float) -> list[float]:
        values = (said.values.get(key) or [default] * 3)[:3]
        return array_linear_from_srgb(np.array(values if len(values) == 3 else values[:1] * 3)).tolist()

    base, glow = texture("map_kd"), texture("map_ke")
    opacity = said.values.get("d", [1.0 - said.values.get("tr", [0.0])[0]])[0]
    red, green, blue = [1.0] * 3 if base else light("kd", 0.8)
    return Material(
        said.name,
        (red, green, blue, min(max(opacity, 0.0), 1.0)),
        base,
        said.values.get("pm", [0.0])[0],
        said.values.get("pr", [1.0])[0],
        normal_texture=texture("norm"),
        emission=tuple([1.0] * 3 if glow else light("ke", 0.0)),  # pyright: ignore[reportArgumentType]
        emission_texture=glow,
        alpha_mode="blend" if opacity < 1.0 else "opaque",
    )


def _cut_concave(data: bytes) -> bytes:
    """The lines of an `.obj`, faces that are not convex as triangles: trimesh makes fans of all."""
    lines = data.replace(b"\\\n", b" ").replace(b"\\\r\n", b" ").split(b"\n")
    polygons, places = {}, []
    for number, line in enumerate(lines):
        if line.startswith(b"v "):
            places.append(line.split()[1:4])
        elif line.startswith((b"f ", b"f\t")) and len(words := line.split()) > 4:
            own = [int(word.partition(b"/")[0]) for word in words[1:]]
            polygons[number] = [index - 1 if index > 0 else len(places) + index for index in own]
    if not polygons:
        return data
    counts = np.array([len(own) for own in polygons.values()])
    rows = np.concatenate(list(polygons.values()))
    if len(rows) and not 0 <= rows.min() <= rows.max() < len(places):
        raise ValueError(f"faces name vertices {rows.min() + 1} to {rows.max() + 1}, there are {len(places)}")
    corners = np.array(places, np.float64)[rows]
    numbers, ends = list(polygons), np.cumsum(counts)
    for which in np.flatnonzero(concave_polygons(counts, corners)):
        words, own = lines[numbers[which]].split()[1:], corners[ends[which] - counts[which] : ends[which]]
        cut = triangulate(counts[[which]], own)
        lines[numbers[which]] = b"\n".join(b"f " + b" ".join(words[k] for k in triangle) for triangle in cut)
    return b"\n".join(lines)


def _after(data: bytes, key: bytes) -> list[str]:
    """What follows a keyword on the lines that begin with it."""
    found = re.findall(rb"^[ \t]*" + key + rb"[ \t]+(.*?)[ \t\r]*$", data, re.MULTILINE)
    return [words.decode("utf-8", errors="replace") for words in found]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True
