"""Assets written in the format that a path's suffix names; a mesh alone is an asset of one level."""

from collections.abc import Callable
from pathlib import Path

from volkit.io.asset import Asset, Style
from volkit.io.bare_writer import write_ply, write_stl
from volkit.io.format import FormatError
from volkit.io.gltf_writer import write_gltf
from volkit.io.obj_writer import write_obj
from volkit.io.usd_writer import write_usd
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Representation

__all__ = ["write_asset", "write_mesh"]

WRITERS: dict[str, Callable[[Asset, Path, Style], None]] = {
    ".glb": write_gltf, ".gltf": write_gltf, ".obj": write_obj, ".ply": write_ply, ".stl": write_stl,
    ".usdz": write_usd, ".usdc": write_usd, ".usda": write_usd, ".usd": write_usd,
}  # fmt: skip


def write_asset(asset: Asset, path: Path, style: Style) -> None:
    """An asset as its suffix says; glTF and USD hold all of it, the others the finest level."""
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        raise FormatError(path, f"meshes are not written as '{path.suffix}'", f"use one of {', '.join(WRITERS)}")
    write(asset, path, style)


def write_mesh(mesh: Representation, path: Path) -> None:
    """A mesh as it is, without asking for anything."""
    assert isinstance(mesh, Mesh)
    write_asset(Asset((mesh,)), path, Style())
