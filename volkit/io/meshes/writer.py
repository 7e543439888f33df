"""Assets written in the format that a path's suffix names; a mesh alone is an asset of one level."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from volkit.files.errors import FormatError
from volkit.files.provenance import provenance_of
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.bare_writer import write_obj, write_ply, write_stl
from volkit.io.meshes.gltf_writer import check_gltf, write_gltf
from volkit.io.meshes.usd_writer import check_usd, write_usd
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Representation

__all__ = ["check_style", "write_asset", "write_mesh"]


def _check_bare(path: Path, style: Style) -> None:
    if style.draco or style.quantize:
        raise FormatError(path, "Draco and quantized arrays are glTF's", "leave them out, or write .glb")


GLTF, OBJ, PLY, STL, USD = (
    (write_gltf, check_gltf), (write_obj, _check_bare), (write_ply, _check_bare), (write_stl, _check_bare),
    (write_usd, check_usd),
)  # fmt: skip
WRITERS: dict[str, tuple[Callable[[Asset, Path, Style], None], Callable[[Path, Style], None]]] = {
    ".glb": GLTF, ".gltf": GLTF, ".obj": OBJ, ".ply": PLY, ".stl": STL,
    ".usdz": USD, ".usdc": USD, ".usda": USD, ".usd": USD,
}  # fmt: skip
UPRIGHT = (".ply", ".stl")  # +Z up, as scanners and printers have it; the others +Y


def check_style(path: Path, style: Style) -> None:
    """Raise the FormatError with which `write_asset` would fail whatever the asset, before the work is done."""
    if path.suffix.lower() not in WRITERS:
        raise FormatError(path, f"meshes are not written as '{path.suffix}'", f"use one of {', '.join(WRITERS)}")
    WRITERS[path.suffix.lower()][1](path, style)


def write_asset(asset: Asset, path: Path, style: Style) -> None:
    """An asset as its suffix says, turned to its axes; glTF and USD hold all of it, the others the finest level."""
    check_style(path, style)
    suffix = path.suffix.lower()
    finest = asset.levels[0].turned_view(style.frame or ("zup" if suffix in UPRIGHT else "yup"))
    told = provenance_of(finest) | asset.extras
    WRITERS[suffix][0](replace(asset, levels=(finest, *asset.levels[1:]), extras=told), path, style)


def write_mesh(mesh: Representation, path: Path) -> None:
    """A mesh as it is and lies, without asking for anything."""
    assert isinstance(mesh, Mesh)
    write_asset(Asset((mesh,), metallic_roughness=mesh.metallic_roughness), path, Style(frame=mesh.frame))
