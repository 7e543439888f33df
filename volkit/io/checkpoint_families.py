"""Checkpoints and archives that no reader knows, told as what they seem to be by the names they hold.

Names were taken from the saving code of the projects; stars and versions change, names seldom do.
"""

import pickletools
from dataclasses import dataclass
from pathlib import Path

from volkit.files.errors import FormatError
from volkit.files.npz import array_names
from volkit.files.restricted_pickle import LEGACY_MAGIC, pickle_start

__all__ = ["explain_unknown"]

MAX_NAMES = 5  # that a message lists
EXPORT_PLY = "export a .ply there"
EXPORT_MESH = "extract its mesh there"
TO_SHARED_KIND = "convert it there to one of the formats that `volkit formats` lists"


@dataclass(frozen=True)
class _Family:
    """A program, names of which one set is in each of its checkpoints, and what a user can do instead."""

    name: str
    marks: tuple[tuple[bytes, ...], ...]
    fix: str


# The first that fits is told: special ones stand before general ones.
FAMILIES = (
    _Family("NeuS, a signed distance", ((b"sdf_network_fine",), (b"sdf_network.lin0",)), EXPORT_MESH),
    _Family("instant-nsr-pl, a signed distance", ((b"model.geometry.", b"model.variance"),), EXPORT_MESH),
    _Family("instant-nsr-pl", ((b"model.geometry.", b"model.texture."),), EXPORT_MESH),
    _Family("threestudio, a scene under a prior",
            ((b"geometry.encoding.", b"state_dict"), (b"geometry.sdf", b"state_dict")),
            "export a mesh there, by its mesh exporter"),
    _Family("SVRaster, sparse voxels of several levels", ((b"_geo_grid_pts",), (b"octpath", b"octlevel")), EXPORT_MESH),
    _Family("BARF", ((b"nerf.mlp_feat.",), (b"mlp_feat.0.weight",)), "train the same poses with nerf-pytorch"),
    _Family("NeRF--", ((b"model_state_dict", b"layers0.0.weight"),), "train the same poses with nerf-pytorch"),
    _Family("3DGRUT", ((b"features_albedo", b"features_specular"), (b"positions", b"features_albedo")), EXPORT_PLY),
    _Family("Scaffold-GS or Octree-GS, splats that networks make", ((b"mlp_opacity", b"mlp_cov"), (b"_anchor_feat",)),
            "render views there and fit them, or train 3DGS on the same capture"),
    _Family("nerfstudio's neus or neus-facto, a signed distance", ((b"_model.field.glin", b"pipeline"),), EXPORT_MESH),
    _Family("nerfstudio's vanilla-nerf or mipnerf", ((b"_model.field_coarse.",), (b"_model.field.mlp_base.layers.",)),
            "export a mesh or points there, or train nerfacto or splatfacto"),
    _Family("nerfstudio's tensorf", ((b"_model.field.density_encoding.",),),
            "export a mesh or points there, or train nerfacto or splatfacto"),
    _Family("nerfstudio, of a model that is not read", ((b"pipeline", b"_model."),),
            "export a .ply or a mesh there; nerfacto and splatfacto are read"),
    _Family("DVGO's other models", ((b"model_kwargs", b"model_state_dict"),), TO_SHARED_KIND),
    _Family("a model of PyTorch Lightning", ((b"pytorch-lightning_version",),), "say which program trained it"),
)  # fmt: skip
ARCHIVES = (("Compact-3DGS, splats whose colours a hash grid and a network make", {"xyz", "hash", "mlp"}),)


def explain_unknown(path: Path) -> None:
    """Raise FormatError with what a checkpoint, an archive of arrays or a folder seems to be; else return."""
    if path.is_dir():
        fact = "is a folder, not a scene file, and of no trainer that is known"
        raise FormatError(path, fact, "name a file; datasets are for fit and compare")
    if names := array_names(path):
        family = next((f"seems to be of {name}" for name, marks in ARCHIVES if marks <= names), "is of no known format")
        fact = f"holds the arrays {_listed(sorted(names))}: it {family}"
        raise FormatError(path, fact, "svox2 and volkit's volumes are the .npz that are read")
    start = pickle_start(path)
    if not start:
        return
    told = _texts(start)
    holds = f"holds {_listed(told)}" if told else "holds no names"
    for family in FAMILIES:
        if any(all(mark in start for mark in marks) for marks in family.marks):
            raise FormatError(
                path, f"seems to be a checkpoint of {family.name}, which is not read ({holds})", family.fix
            )
    raise FormatError(path, f"is a checkpoint of no known program: it {holds}", "check which program wrote it")


def _texts(start: bytes) -> list[str]:
    """Names in the beginning of a pickle, in their order; nothing is executed."""
    found: list[str] = []
    try:
        for code, value, _ in pickletools.genops(start.removeprefix(LEGACY_MAGIC)):
            if code.name in ("BINUNICODE", "SHORT_BINUNICODE", "UNICODE") and isinstance(value, str):
                found += [value] if value.isprintable() and not value.isdecimal() else []
    except Exception:  # the beginning breaks off somewhere, and may be damaged: whatever the library raises then
        pass
    return [name for name in dict.fromkeys(found) if name not in ("storage", "cpu", "cuda:0")]


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(f"'{name[:40]}'" for name in names[:MAX_NAMES]) + more
