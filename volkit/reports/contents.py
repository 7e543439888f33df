"""The contents of a scene file or a dataset, as values."""

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from volkit.data import Photographs, load_photographs
from volkit.editing import DropFloaters
from volkit.files.file_size import stored_bytes
from volkit.geometry import Frame, Similarity
from volkit.io import is_scene, load
from volkit.io.opening import capture_size
from volkit.progress import Progress
from volkit.rendering.viewpoints import visible_box
from volkit.representations import Capture, Mesh, Representation, Splats
from volkit.representations.material import AlphaMode
from volkit.sampling.occupancy_grid import unpack_bits
from volkit.training.run import count_parameters, make_generator

__all__ = [
    "HUGE_SIZE",
    "INVISIBLE_OPACITY",
    "CaptureFigures",
    "DatasetContents",
    "MaterialFigures",
    "MeshFigures",
    "SceneContents",
    "SplatFigures",
    "read_contents",
    "scene_contents",
]

HISTOGRAM_BINS = 10
HUGE_SIZE = 0.1  # of the domain's diagonal
INVISIBLE_OPACITY = 1.0 / 255.0  # below it a splat changes no 8-bit pixel
MAX_FLOATER_SEARCH = 200_000  # splats; counting floaters takes a second for each 50 000

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class SplatFigures:
    """Number, degree, opacities and sizes of splats; sizes are log10 of the longest axis."""

    count: int
    surfels: bool
    degree: int
    mode: str  # mip or classic
    opacity_histogram: list[int]
    size_histogram: dict[str, Any]
    odd: dict[str, int | None]  # not finite, huge, invisible, floaters (None: not counted)


@dataclass(frozen=True)
class MaterialFigures:
    """One material: its triangles, its maps by what they hold, and how alpha counts."""

    name: str
    triangles: int
    maps: list[str]
    alpha: AlphaMode


@dataclass(frozen=True)
class MeshFigures:
    """Triangles, vertices and materials of a mesh, the sizes of its images, and whether its vertices have colours."""

    faces: int
    vertices: int
    materials: list[MaterialFigures]
    images: list[list[int]]
    coloured: bool


@dataclass(frozen=True)
class CaptureFigures:
    """The recorded views of a scene, the held-out ones, and the longest side of the pictures in pixels."""

    views: int
    held_out: list[str]
    size: int | None
    lens: str
    near: float
    background: Triple | None


@dataclass(frozen=True)
class SceneContents:
    """The contents of a scene file; boxes are in the local frame, `box` leaves outliers out."""

    path: str
    kind: str
    bytes: int
    parameters: int
    box: tuple[Triple, Triple]
    lower: Triple
    upper: Triple
    contracted: bool
    frame: Frame
    world_from_local: Similarity
    config: dict[str, Any]
    tensors: dict[str, str]  # shape and type by name
    occupied: float | None = None  # share of the domain of a field
    splats: SplatFigures | None = None
    mesh: MeshFigures | None = None
    capture: CaptureFigures | None = None
    provenance: Mapping[str, Any] = field(default_factory=dict)
    diagonal: float = 0.0  # of the domain, world unit

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, figures of splats, mesh and capture at the same level; without what does not apply."""
        own = asdict(self) | {"box": {"lower": list(self.box[0]), "upper": list(self.box[1])}}
        groups = [own.pop(name) or {} for name in ("splats", "mesh", "capture")]
        last = {"provenance": own.pop("provenance")}
        del own["diagonal"]
        known = {name: value for name, value in own.items() if value is not None}
        return {"holds": "scene"} | known | dict(ChainMap(*groups)) | {n: v for n, v in last.items() if v}


@dataclass(frozen=True)
class DatasetContents:
    """The contents of a dataset of posed photographs; the box is in the world frame."""

    path: str
    pictures: int
    splits: dict[str, int]
    sizes: list[list[int]]
    alpha: bool
    masks: bool
    lens: str
    near: float
    lower: Triple
    upper: Triple
    contracted: bool
    notes: list[str]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"holds": "dataset"} | asdict(self)


def read_contents(path: Path, progress: Progress) -> SceneContents | DatasetContents:
    """The contents of a path, a scene file or a dataset; FormatError where it is neither."""
    if is_scene(path):
        return scene_contents(load(path), path)
    return dataset_contents(load_photographs(path, progress=progress.counted), path)


def scene_contents(scene: Representation, path: Path) -> SceneContents:
    """The contents of a scene that was read from `path`."""
    box, whole = visible_box(scene), scene.bounds()
    tensors = {n: f"{list(t.shape)} {str(t.dtype).removeprefix('torch.')}" for n, t in scene.stored_tensors().items()}
    bits = getattr(scene, "occupancy", None)
    return SceneContents(
        path=str(path),
        kind=scene.config.kind,
        bytes=stored_bytes(path),
        parameters=count_parameters(scene),
        box=(box.lower, box.upper),
        lower=whole.lower,
        upper=whole.upper,
        contracted=scene.domain.contracted,
        frame=scene.frame,
        world_from_local=scene.world_from_local,
        config=asdict(scene.config),
        tensors=tensors,
        occupied=None if bits is None else float(unpack_bits(bits).float().mean()),
        splats=_splats(scene) if isinstance(scene, Splats) else None,
        mesh=_mesh(scene) if isinstance(scene, Mesh) else None,
        capture=None if scene.capture is None else _capture(scene.capture),
        provenance=dict(scene.provenance),
        diagonal=scene.domain.diagonal * scene.world_from_local.scale,
    )


def dataset_contents(photographs: Photographs, path: Path) -> DatasetContents:
    """The contents of photographs that were read from `path`."""
    return DatasetContents(
        path=str(path),
        pictures=len(photographs),
        splits={name: photographs.split.count(name) for name in sorted(set(photographs.split))},
        sizes=[list(size) for size in sorted({tuple(size) for size in photographs.cameras.size.tolist()})],
        alpha=photographs.has_alpha,
        masks=any(mask is not None for mask in photographs.masks),
        lens=photographs.cameras.lens.model,
        near=photographs.near,
        lower=photographs.domain.lower,
        upper=photographs.domain.upper,
        contracted=photographs.domain.contracted,
        notes=list(photographs.notes),
    )


def _capture(capture: Capture) -> CaptureFigures:
    lens, size = capture.cameras.lens.model, capture_size(capture)
    return CaptureFigures(len(capture.names), list(capture.held_out), size, lens, capture.near, capture.background)


def _mesh(mesh: Mesh) -> MeshFigures:
    rows = torch.bincount(mesh.face_material.long().cpu(), minlength=len(mesh.config.materials)).tolist()
    materials = [
        MaterialFigures(
            material.name, rows[number], [slot.replace("_", " ") for slot in material.textures], material.alpha_mode
        )
        for number, material in enumerate(mesh.config.materials)
    ]
    images = [[width, height] for height, width, _ in mesh.config.images]
    return MeshFigures(len(mesh.faces), len(mesh.vertices), materials, images, mesh.config.coloured)


def _splats(splats: Splats) -> SplatFigures:
    good = ~splats.invalid
    opacity, size = splats.opacities.detach()[good], splats.scales.detach()[good].amax(-1)
    logarithm = size.clamp_min(1e-12).log10()
    low, high = (float(logarithm.min()), float(logarithm.max())) if len(size) else (0.0, 1.0)
    counts = torch.histc(logarithm, HISTOGRAM_BINS, low, high).long().tolist()
    odd = {"not finite": int((~good).sum()), "huge": int((size > HUGE_SIZE * splats.domain.diagonal).sum()),
           "invisible": int((opacity < INVISIBLE_OPACITY).sum()), "floaters": _floaters(splats)}  # fmt: skip
    return SplatFigures(
        count=len(splats),
        surfels=splats.config.surfels,
        degree=splats.config.degree,
        mode="mip" if splats.config.mip else "classic",
        opacity_histogram=torch.histc(opacity, HISTOGRAM_BINS, 0.0, 1.0).long().tolist(),
        size_histogram={"log10_from": low, "log10_to": high, "counts": counts},
        odd=odd,
    )


def _floaters(splats: Splats) -> int | None:
    """How many splats would be dropped as floaters; None where there are too many to look, or what counts is absent."""
    if len(splats) > MAX_FLOATER_SEARCH or bool(splats.invalid.any()):
        return None
    try:
        return len(splats) - (DropFloaters().change(splats, make_generator(0)).splat_count or 0)
    except RuntimeError:  # scipy comes with an extra
        return None
