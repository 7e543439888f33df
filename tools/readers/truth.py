"""What the matrix's files are made from: arrays of known splats and a known shape, and plain files of them.

Nothing here is volkit's, so that what other programs find in volkit's files is compared with the arrays themselves.
"""

import io
import json
import struct
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["MeshTruth", "SplatTruth", "coloured", "covariances", "linear", "looked_up", "splats", "textured", "turned"]

SPLATS = 1000
COLUMNS, ROWS = 48, 24  # of the globe's quadrangles
TEXTURE = (256, 128)
RADII, CENTRE = np.array([1.0, 0.7, 0.5]), np.array([0.2, 0.5, -0.3])
LEVEL = {"yup": np.eye(3), "zup": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])}  # from +Y up


@dataclass(frozen=True)
class SplatTruth:
    """Splats with the columns of INRIA's `.ply`.

    Attributes:
        positions: `[splat, 3]`.
        log_scales: `[splat, 3]`.
        quaternions: `[splat, 4]`, w first, unit.
        opacities: `[splat]`, in [0, 1].
        rgb: `[splat, 3]`, the colour of degree 0.
        sh: `[splat, 45]`, degrees 1 to 3, all of red first.
    """

    positions: np.ndarray
    log_scales: np.ndarray
    quaternions: np.ndarray
    opacities: np.ndarray
    rgb: np.ndarray
    sh: np.ndarray

    def write_ply(self, path: Path) -> None:
        """As INRIA's trainer writes it."""
        names = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", *(f"f_rest_{i}" for i in range(45)),
                 "opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"]  # fmt: skip
        logits = np.log(self.opacities / (1.0 - self.opacities))
        rows = np.concatenate([
            self.positions, np.zeros_like(self.positions), (self.rgb - 0.5) / 0.28209479177387814, self.sh,
            logits[:, None], self.log_scales, self.quaternions,
        ], 1)  # fmt: skip
        head = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}",
                *(f"property float {name}" for name in names), "end_header", ""]  # fmt: skip
        path.write_bytes("\n".join(head).encode() + rows.astype("<f4").tobytes())


@dataclass(frozen=True)
class MeshTruth:
    """A lopsided globe, its colours a smooth function of the place on it; +Y up.

    Attributes:
        positions: `[vertex, 3]`.
        faces: `[face, 3]`.
        uv: `[vertex, 2]`, v down, as glTF has it.
        rgb: `[vertex, 3]`, display-referred, in [0, 1].
        texture: `[height, width, 3]` bytes; None: colours of the vertices alone.
    """

    positions: np.ndarray
    faces: np.ndarray
    uv: np.ndarray
    rgb: np.ndarray
    texture: np.ndarray | None

    def write_glb(self, path: Path) -> None:
        """One primitive, with texture or colours."""
        indices = self.faces.astype("<u4").ravel()
        arrays = [("SCALAR", 5125, indices), ("VEC3", 5126, self.positions.astype("<f4"))]
        primitive = {"indices": 0, "attributes": {"POSITION": 1}}
        material = {"name": "globe", "pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}
        tree = {"asset": {"version": "2.0"}, "scene": 0, "scenes": [{"nodes": [0]}], "materials": [material],
                "nodes": [{"mesh": 0, "name": "globe"}]}  # fmt: skip
        if self.texture is None:
            arrays.append(("VEC3", 5126, linear(self.rgb).astype("<f4")))
            primitive["attributes"]["COLOR_0"] = 2
        else:
            arrays.append(("VEC2", 5126, self.uv.astype("<f4")))
            primitive["attributes"]["TEXCOORD_0"] = 2
            material["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
            tree |= {"textures": [{"source": 0}], "images": [{"bufferView": 3, "mimeType": "image/png"}]}
        blocks = [array.tobytes() for _, _, array in arrays]
        tree["accessors"] = [
            {"bufferView": i, "componentType": kind, "type": shape, "count": len(array)}
            for i, (shape, kind, array) in enumerate(arrays)
        ]
        tree["accessors"][1] |= {"min": self.positions.min(0).tolist(), "max": self.positions.max(0).tolist()}
        if self.texture is not None:
            picture = io.BytesIO()
            Image.fromarray(self.texture).save(picture, "PNG")
            blocks.append(picture.getvalue())
        tree["meshes"] = [{"name": "globe", "primitives": [primitive | {"material": 0}]}]
        path.write_bytes(_glb(tree, blocks))


def splats(seed: int = 0) -> SplatTruth:
    """Splats of all turns, sizes, opacities and colours, with harmonics of degree 3."""
    random = np.random.default_rng(seed)
    quaternions = random.normal(size=(SPLATS, 4))
    return SplatTruth(
        positions=random.normal(size=(SPLATS, 3)) * [1.5, 1.0, 0.6] + [0.3, 0.8, -0.4],
        log_scales=random.normal(size=(SPLATS, 3)) * 0.6 - 3.0,
        quaternions=quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True),
        opacities=random.uniform(0.05, 0.95, SPLATS),
        rgb=random.uniform(0.05, 0.95, (SPLATS, 3)),
        # of few kinds with a little of their own, as those of captures are: a palette holds them
        sh=(random.normal(size=(64, 45)) * 0.15).clip(-0.4, 0.4)[random.integers(0, 64, SPLATS)]
        + random.normal(size=(SPLATS, 45)) * 0.005,
    )


def textured() -> MeshTruth:
    """The globe under a map of its colours."""
    globe = coloured()
    width, height = TEXTURE
    u, v = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return replace(globe, texture=(255.0 * _colour(_direction(u, v))).round().astype(np.uint8))


def coloured() -> MeshTruth:
    """The globe with colours at its vertices."""
    u, v = (part.ravel() for part in np.meshgrid(np.linspace(0, 1, COLUMNS + 1), np.linspace(0, 1, ROWS + 1)))
    direction = _direction(u, v)
    corner = np.arange((COLUMNS + 1) * (ROWS + 1)).reshape(ROWS + 1, COLUMNS + 1)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, 1:], corner[1:, :-1]))
    first, last = COLUMNS, COLUMNS * (ROWS - 1)  # at the poles one half of each quadrangle is empty
    faces = np.concatenate([np.stack([a, b, c], 1)[first:], np.stack([a, c, d], 1)[:last]])
    return MeshTruth(RADII * direction + CENTRE, faces, np.stack([u, v], 1), _colour(direction), None)


def covariances(log_scales: np.ndarray, quaternions: np.ndarray) -> np.ndarray:
    """`R diag(exp(2 s)) R^T`, which has no signs to choose; quaternions w first, of any length."""
    w, x, y, z = (quaternions / np.linalg.norm(quaternions, axis=1, keepdims=True)).T
    turn = np.stack([
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ], 1).reshape(-1, 3, 3)  # fmt: skip
    axes = turn * np.exp(log_scales)[:, None, :]
    return axes @ axes.transpose(0, 2, 1)


def turned(truth: SplatTruth, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions and covariances after a turn."""
    return truth.positions @ matrix.T, matrix @ covariances(truth.log_scales, truth.quaternions) @ matrix.T


def linear(rgb: np.ndarray) -> np.ndarray:
    """Display-referred colours as linear light."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def looked_up(picture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Colours between the four nearest texels, in [0, 1]; textures repeat, but for the poles' own row."""
    height, width = picture.shape[:2]
    x, y = (np.where((uv > 1.0) | (uv < 0.0), uv % 1.0, uv) * [width, height] - 0.5).T
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    across, down = (x - left)[:, None], (y - top)[:, None]
    rows = [(top + k).clip(0, height - 1) for k in (0, 1)]
    columns = [(left + k) % width for k in (0, 1)]
    upper, lower = (picture[row, columns[0], :3] * (1 - across) + picture[row, columns[1], :3] * across for row in rows)
    return (upper * (1 - down) + lower * down) / 255.0


def _direction(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Of a place on the map: north is +Y, faces of rows and columns look outwards."""
    turn, down = 2.0 * np.pi * u, np.pi * v
    return np.stack([np.sin(down) * np.cos(turn), np.cos(down), -np.sin(down) * np.sin(turn)], -1)


def _colour(direction: np.ndarray) -> np.ndarray:
    """Smooth, different on every side, from dark to bright."""
    return 0.5 + 0.45 * np.sin(2.5 * direction + 1.3 * direction[..., [1, 2, 0]] + [0.0, 2.0, 4.0])


def _glb(tree: dict, blocks: list[bytes]) -> bytes:
    views, place = [], 0
    for block in blocks:
        views.append({"buffer": 0, "byteOffset": place, "byteLength": len(block)})
        place += len(block) + -len(block) % 4
    body = b"".join(block + bytes(-len(block) % 4) for block in blocks)
    head = json.dumps(tree | {"bufferViews": views, "buffers": [{"byteLength": len(body)}]}).encode()
    head += b" " * (-len(head) % 4)
    chunks = struct.pack("<I4s", len(head), b"JSON") + head + struct.pack("<I4s", len(body), b"BIN\0") + body
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks
