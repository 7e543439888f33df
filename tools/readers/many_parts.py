"""A glTF of many parts and materials, made by hand of arrays and JSON: python tools/readers/many_parts.py parts.glb

Boxes on a board, each another look: plain factors, textures with every wrap and filter, moved and turned uv, second
sets of uv, colours at vertices alone, over factors and over textures, cutoffs of alpha, mirrored and nested nodes, a
strip without indices. Nothing of volkit writes it.
"""

import json
import struct
import sys
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

ACROSS = 5
REPEAT, CLAMP, MIRROR = 10497, 33071, 33648
LINEAR, NEAREST = 9729, 9728
QUAD = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], np.float32)


class Parts:
    """The tree and its buffer, growing."""

    def __init__(self) -> None:
        self.blob = bytearray()
        self.tree: dict[str, Any] = {"asset": {"version": "2.0"}}

    def add(self, kind: str, item: dict[str, Any]) -> int:
        self.tree.setdefault(kind, []).append(item)
        return len(self.tree[kind]) - 1

    def view(self, data: bytes) -> int:
        self.blob += bytes(-len(self.blob) % 4)
        start = len(self.blob)
        self.blob += data
        return self.add("bufferViews", {"buffer": 0, "byteOffset": start, "byteLength": len(data)})

    def array(self, values: np.ndarray) -> int:
        kind = {"float32": 5126, "uint16": 5123}[values.dtype.name]
        flat = values.reshape(len(values), -1)
        about: dict[str, Any] = {"componentType": kind, "count": len(flat)}
        about["type"] = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}[flat.shape[1]]
        about |= {"min": flat.min(0).tolist(), "max": flat.max(0).tolist()} if flat.shape[1] == 3 else {}
        return self.add("accessors", about | {"bufferView": self.view(flat.tobytes())})

    def texture(self, pixels: np.ndarray, wraps: tuple[int, int] = (REPEAT, REPEAT), magnified: int = LINEAR) -> int:
        file = BytesIO()
        Image.fromarray(pixels).save(file, "PNG")
        image = self.add("images", {"bufferView": self.view(file.getvalue()), "mimeType": "image/png"})
        sampler = self.add("samplers", {"wrapS": wraps[0], "wrapT": wraps[1], "magFilter": magnified})
        return self.add("textures", {"source": image, "sampler": sampler})

    def material(self, surface: dict[str, Any], **more: Any) -> int:
        surface = {"metallicFactor": 0.0, "roughnessFactor": 1.0} | surface
        return self.add("materials", {"name": f"look{len(self.tree.get('materials', ()))}"} | more
                        | {"pbrMetallicRoughness": surface})  # fmt: skip

    def box(self, material: int, uv: np.ndarray = QUAD, **arrays: np.ndarray) -> dict[str, Any]:
        """A primitive: six faces of four vertices; `arrays` repeat for each face."""
        corners, faces, placed = [], [], []
        for number, (axis, sign) in enumerate(product(range(3), (-1.0, 1.0))):
            side = np.full((4, 3), 0.4 * sign, np.float32)
            side[:, (axis + 1) % 3], side[:, (axis + 2) % 3] = (0.8 * QUAD - 0.4).T
            corners.append(side)
            placed.append(uv)
            order = np.array([[0, 1, 2], [0, 2, 3]]) + 4 * number
            faces.append(order if sign > 0 else order[:, ::-1])
        rows = {"POSITION": np.concatenate(corners), "TEXCOORD_0": np.concatenate(placed)}
        rows |= {name: np.concatenate([values] * 6) for name, values in arrays.items()}
        attributes = {name: self.array(np.asarray(values, np.float32)) for name, values in rows.items()}
        return {"attributes": attributes, "material": material,
                "indices": self.array(np.concatenate(faces).reshape(-1).astype(np.uint16))}  # fmt: skip


def picture(seed: int) -> np.ndarray:
    """16 x 16 texels: four tiles of noise about a colour, so that every turn and mirror image shows."""
    luck = np.random.default_rng(seed)
    pixels = np.full((16, 16, 4), 255, np.uint8)
    for row, column in product(range(2), range(2)):
        tile = luck.integers(30, 226, 3) + luck.integers(-25, 26, (8, 8, 1))
        pixels[8 * row : 8 * row + 8, 8 * column : 8 * column + 8, :3] = tile.clip(0, 255)
    return pixels


def looks(parts: Parts) -> list[dict[str, Any]]:
    """A primitive for each look."""
    found = []
    for colour in ([0.8, 0.05, 0.05, 1], [0.2, 0.2, 0.2, 1], [0.03, 0.2, 0.6, 1]):
        found.append(parts.box(parts.material({"baseColorFactor": colour})))
    for number, wraps in enumerate(product((REPEAT, CLAMP, MIRROR), repeat=2)):
        texture = {"index": parts.texture(picture(number), wraps, NEAREST if number % 2 else LINEAR)}
        found.append(parts.box(parts.material({"baseColorTexture": texture}), 3.0 * QUAD - 1.25))
    for number, moved in enumerate(({"offset": [0.25, 0.5]}, {"scale": [0.5, 2.0]}, {"rotation": 0.7},
                                    {"offset": [0.1, 0.2], "rotation": -0.4, "scale": [2.0, 0.75]})):  # fmt: skip
        texture = {"index": parts.texture(picture(20 + number)), "extensions": {"KHR_texture_transform": moved}}
        found.append(parts.box(parts.material({"baseColorTexture": texture})))
    second = {"index": parts.texture(picture(30)), "texCoord": 1}
    found.append(parts.box(parts.material({"baseColorTexture": second}), TEXCOORD_1=QUAD[::-1] * 0.5))
    rainbow = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    found.append(parts.box(parts.material({}), COLOR_0=rainbow))
    found.append(parts.box(parts.material({"baseColorFactor": [0.5, 0.5, 0.5, 1]}), COLOR_0=rainbow))
    texture = {"index": parts.texture(picture(40))}
    found.append(parts.box(parts.material({"baseColorTexture": texture}), COLOR_0=0.25 + 0.75 * rainbow))
    factor = {"baseColorTexture": {"index": parts.texture(picture(41))}, "baseColorFactor": [1, 0.3, 0.3, 1]}
    found.append(parts.box(parts.material(factor)))
    holes = picture(42)
    holes[4:12, 4:12, 3] = 60
    masked = {"baseColorTexture": {"index": parts.texture(holes, magnified=NEAREST)}}
    found.append(parts.box(parts.material(masked, alphaMode="MASK", alphaCutoff=0.5, doubleSided=True)))
    found.append(parts.box(parts.material(masked)))  # the same image, whose alpha stands for nothing
    return found


def write(path: Path) -> int:
    """Write the file; how many materials it has."""
    parts, nodes = Parts(), []
    for number, primitive in enumerate(looks(parts)):
        at = [1.2 * (number % ACROSS), 0.0, 1.2 * (number // ACROSS)]
        mesh = parts.add("meshes", {"primitives": [primitive]})
        turned = {"rotation": [0.0, 0.38268343, 0.0, 0.92387953]} if number % 3 == 1 else {}
        mirrored = {"scale": [-1.0, 1.25, 1.0]} if number % 4 == 2 else {}
        inner = parts.add("nodes", {"mesh": mesh} | turned | mirrored)
        nodes.append(parts.add("nodes", {"children": [inner], "translation": at}))
    parts.tree |= {"scene": 0, "scenes": [{"nodes": nodes}], "extensionsUsed": ["KHR_texture_transform"]}
    parts.tree["buffers"] = [{"byteLength": len(parts.blob)}]
    text = json.dumps(parts.tree).encode()
    text += b" " * (-len(text) % 4)
    blob = bytes(parts.blob) + bytes(-len(parts.blob) % 4)
    body = struct.pack("<II", len(text), 0x4E4F534A) + text + struct.pack("<II", len(blob), 0x004E4942) + blob
    path.write_bytes(struct.pack("<III", 0x46546C67, 2, 12 + len(body)) + body)
    return len(parts.tree["materials"])


if __name__ == "__main__":
    print(write(Path(sys.argv[1])), "materials")
