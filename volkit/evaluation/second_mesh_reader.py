"""What trimesh reads from a mesh file that was just written: our own readers would share our writers' mistakes."""

import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.choices import Frame
from volkit.evaluation.second_reader import MAX_SHARE
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.engines import colliders_by_extension, colliders_in_scene
from volkit.io.splats.columns import rounding_of
from volkit.progress import Progress

__all__ = ["MeshReading", "read_mesh_again"]

# Of the files that it reads, where our own reader is another.
FRAMES: dict[str, Frame] = {".glb": "yup", ".gltf": "yup", ".ply": "zup"}
BYTES_A_SECOND = 3e7  # that it reads
PACKED = 2.0**-13  # of the longest edge: what Draco's and quantised positions may be off
EXACT, LOSSY = 2e-3, 0.05  # of a mean colour


@dataclass(frozen=True)
class MeshReading:
    """Triangles, bounds, materials and mean colour as `library` reads them, in the file's coordinates."""

    library: str
    triangles: int
    lower: list[float]
    upper: list[float]
    materials: list[str]  # with textures
    colour: list[float] | None  # mean of their textures of base colours; None: there are none
    agrees: bool  # with what was written

    def as_dict(self) -> dict[str, Any]:
        """The same as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def read_mesh_again(asset: Asset, path: Path, style: Style, progress: Progress) -> MeshReading | None:
    """What trimesh reads from a file that this asset was written to; noted where it is not that.

    None where it cannot read the format, or is not a second library beside ours, or would take more than a tenth of the
    CPU time that the process has taken so far.
    """
    suffix = path.suffix.lower()
    if suffix not in FRAMES or path.stat().st_size / BYTES_A_SECOND > MAX_SHARE * time.process_time():
        return None
    try:
        import trimesh
    except ImportError:
        return None
    try:
        scene = trimesh.load_scene(path, process=False)
    except Exception as error:  # its readers raise errors of many kinds; the file is written, and was read by ours
        progress.note(f"{path}: trimesh {version('trimesh')} cannot read it ({type(error).__name__}: {error})")
        return None
    parts = [part for part in scene.dump() if isinstance(part, trimesh.Trimesh)]
    if not parts:
        return None
    lower, upper = np.min([part.bounds[0] for part in parts], 0), np.max([part.bounds[1] for part in parts], 0)
    mesh, frame = asset.mesh, style.frame or FRAMES[suffix]
    place = mesh.view_in_frame(frame).world_from_local
    used = mesh.faces.unique().long()
    points = place.points(mesh.vertices[used].double()).numpy()
    triangles, low, high = len(mesh.faces), points.min(0), points.max(0)
    if colliders_in_scene(style.engine) and not colliders_by_extension(style.engine):
        triangles += sum(len(collider.faces) for collider in asset.colliders)
        hulls = [place.points(collider.vertices.double()).numpy() for collider in asset.colliders]
        low, high = np.min([low, *(h.min(0) for h in hulls)], 0), np.max([high, *(h.max(0) for h in hulls)], 0)
    allowed = 4 * rounding_of(float(np.abs([low, high]).max()))
    allowed = max(allowed, PACKED * float((high - low).max())) if style.draco or style.quantize else allowed
    count = sum(len(part.faces) for part in parts)
    apart = max(float(np.abs(lower - low).max()), float(np.abs(upper - high).max()))
    theirs, ours = _pictures(parts), _pictures_of_ours(asset)
    names, colour = sorted(theirs), np.mean(list(theirs.values()), 0) if theirs else None
    agrees = count == triangles and apart <= allowed
    if suffix != ".ply":
        limit = EXACT if style.texture_format == "png" else LOSSY
        agrees = agrees and ours.keys() <= theirs.keys()
        agrees = agrees and all(float(np.abs(theirs[name] - ours[name]).max()) <= limit for name in ours)
    library = f"trimesh {version('trimesh')}"
    if not agrees:
        progress.note(f"{path}: {library} reads another mesh from it than was written; please report this")
    shown = None if colour is None else colour.round(4).tolist()
    return MeshReading(library, count, lower.tolist(), upper.tolist(), names, shown, bool(agrees))


def _pictures(parts: list[Any]) -> dict[str, np.ndarray]:
    """The mean colour of each material's texture of base colours, in [0, 1]."""
    materials = {part.visual.material.name: part.visual.material for part in parts if part.visual.kind == "texture"}
    images = {name: getattr(material, "baseColorTexture", None) for name, material in materials.items() if name}
    return {name: np.asarray(image.convert("RGB"), np.float64).mean((0, 1)) / 255.0
            for name, image in images.items() if image is not None}  # fmt: skip


def _pictures_of_ours(asset: Asset) -> dict[str, np.ndarray]:
    """The same of the materials that have names of their own."""
    used = [asset.materials[row] for row in np.unique(asset.mesh.face_material.cpu().numpy())]
    names = [material.name for material in used]
    images = {
        material.name: asset.mesh.images[material.base_colour_texture.image].cpu()
        for material in used
        if material.base_colour_texture is not None and material.name and names.count(material.name) == 1
    }
    return {
        name: image[..., :3].double().mean((0, 1)).numpy() / (255.0 if image.dtype == torch.uint8 else 1.0)
        for name, image in images.items()
    }
