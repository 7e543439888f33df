"""The finest level as `.obj`, with `.mtl` and picture beside it: metres; vertices are not split at seams.

One level and no solids: importers of `.obj` show every group of the file. Vertex colours follow the positions, as
MeshLab, Blender and others read them.
"""

from pathlib import Path

import numpy as np
import torch

from volkit.files.atomic import write_together
from volkit.files.provenance import comments_of
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.pictures import PictureFile, picture_files
from volkit.typing import Tensor

__all__ = ["write_obj"]


def write_obj(asset: Asset, path: Path, style: Style) -> None:
    """Positions, normals, uv or colours; maps of base colour and normals."""
    mesh = asset.levels[0]
    place = mesh.world_from_local
    positions = place.points(mesh.vertices.double())
    textured = mesh.config.texture[0] > 0
    if not textured:
        positions = torch.cat([positions, mesh.colours[:, :3].double() / 255.0], 1)
    lines = [f"# {line}" for line in (f"{path.stem}, metres", *comments_of(asset.extras))] + [f"o {path.stem}"]
    lines += _rows("v", positions) + _rows("vn", place.vectors(mesh.triangles.normals.double()))
    corner, numbers = "{0}//{0}", [1 + mesh.faces.long().numpy()]
    if textured:
        uv, number = np.unique(mesh.corner_uv.reshape(-1, 2).numpy(), axis=0, return_inverse=True)
        lines += [f"mtllib {path.stem}.mtl", f"usemtl {path.stem}"]
        lines += _rows("vt", torch.from_numpy(uv * [1, -1] + [0, 1]))  # v runs up
        corner, numbers = "{0}/{1}/{0}", [*numbers, 1 + number.reshape(-1, 3)]
    lines += ["f " + " ".join(corner.format(*names) for names in face) for face in np.stack(numbers, -1).tolist()]
    pictures = picture_files(asset, style.texture_format) if textured else []
    beside = {p.named(path.stem): p.data for p in pictures}
    if textured:
        beside[f"{path.stem}.mtl"] = _material(path.stem, pictures)
    write_together(path, ("\n".join(lines) + "\n").encode(), beside)


def _rows(key: str, values: Tensor) -> list[str]:
    return [" ".join([key, *(f"{value:.9g}" for value in row)]) for row in values.tolist()]


def _material(stem: str, pictures: list[PictureFile]) -> bytes:
    """White, times the picture; without highlights."""
    slots = {"baseColor": "map_Kd", "normal": "norm"}
    maps = [f"{slots[p.slot]} {p.named(stem)}" for p in pictures if p.slot in slots]
    return "\n".join([f"newmtl {stem}", "Ka 0 0 0", "Kd 1 1 1", "Ks 0 0 0", "illum 1", *maps, ""]).encode()
