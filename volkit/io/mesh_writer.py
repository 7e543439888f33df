"""Textured meshes written: `.glb` and `.gltf` by trimesh, `.obj` with its material, +Y up as both expect."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit import __version__
from volkit.geometry import Similarity
from volkit.io.asset import Asset, Style
from volkit.io.atomic import written_whole
from volkit.io.format import FormatError
from volkit.representations.mesh import Mesh
from volkit.representations.representation import Representation
from volkit.typing import Int, Tensor

__all__ = ["UP", "write_asset", "write_gltf", "write_obj"]

UP = Similarity(((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))  # glTF's +Y up to +Z up
ARRAY, ELEMENTS = 34962, 34963  # glTF: what a buffer view is for


def write_asset(asset: Asset, path: Path, style: Style) -> None:
    """An asset in the format that the path's suffix names."""
    write = write_obj if path.suffix.lower() == ".obj" else write_gltf
    write(asset.levels[0], path)


def write_gltf(mesh: Representation, path: Path) -> None:
    """One binary glTF: positions, normals, uv and base colour, smooth and not metallic; metres as the world has."""
    if path.suffix.lower() != ".glb":
        raise FormatError(path, "only the binary form of glTF is written", "name the target .glb")
    from trimesh.exchange.gltf import export_glb

    scene = _part(mesh, path.stem).scene()
    data = export_glb(scene, include_normals=True, tree_postprocessor=_finished)
    with written_whole(path) as place:
        place.write_bytes(data)


def write_obj(mesh: Representation, path: Path) -> None:
    """Positions, normals, uv; material and texture lie beside it under its name."""
    from trimesh.exchange.obj import export_obj

    text, beside = export_obj(
        _part(mesh, path.stem), include_normals=True, return_texture=True, mtl_name=f"{path.stem}.mtl"
    )
    for name, data in beside.items():
        with written_whole(path.with_name(name)) as place:
            place.write_bytes(data)
    with written_whole(path) as place:
        place.write_text(text, encoding="utf-8")


def _part(mesh: Representation, name: str) -> Any:
    """One of trimesh's meshes, every corner of a seam a vertex of its own, in the frame of glTF."""
    import trimesh
    from PIL import Image
    from trimesh.visual import TextureVisuals
    from trimesh.visual.material import PBRMaterial

    assert isinstance(mesh, Mesh)
    place = UP.inverse() @ mesh.world_from_local
    vertices = place.points(mesh.vertices.double())
    normals = place.vectors(mesh.triangles.normals.double())
    if not mesh.config.texture[0]:
        return trimesh.Trimesh(
            vertices.numpy(), mesh.faces.numpy(), vertex_normals=normals.numpy(), vertex_colors=mesh.colours.numpy(),
            process=False, metadata={"name": name},
        )  # fmt: skip
    rows, faces, uv = _split(mesh)
    picture = Image.fromarray(mesh.texture[..., :3].numpy())
    material = PBRMaterial(name=name, baseColorTexture=picture, metallicFactor=0.0, roughnessFactor=1.0)
    uv = torch.stack([uv[:, 0], 1.0 - uv[:, 1]], -1)  # trimesh's v runs up
    visual = TextureVisuals(uv=uv.numpy(), material=material)
    return trimesh.Trimesh(
        vertices[rows].numpy(), faces.numpy(), vertex_normals=normals[rows].numpy(), visual=visual, process=False,
        metadata={"name": name},
    )  # fmt: skip


def _split(mesh: Mesh) -> tuple[Int[Tensor, " row"], Int[Tensor, "face 3"], Tensor]:
    """Rows of vertices, faces that name those rows, and their uv: a vertex comes once for each uv that it has."""
    corners = np.concatenate(
        [mesh.faces.reshape(-1, 1).numpy().astype(np.float64), mesh.corner_uv.reshape(-1, 2).numpy()], 1
    )
    rows, faces = np.unique(corners, axis=0, return_inverse=True)
    return torch.from_numpy(rows[:, 0]).long(), torch.from_numpy(faces).view(-1, 3), torch.from_numpy(rows[:, 1:])


def _finished(tree: dict[str, Any]) -> None:
    """Say who wrote it, and what each buffer view is for."""
    tree["asset"]["generator"] = f"volkit {__version__}"
    for part in tree["meshes"]:
        for primitive in part["primitives"]:
            for accessor in primitive["attributes"].values():
                tree["bufferViews"][tree["accessors"][accessor]["bufferView"]]["target"] = ARRAY
            tree["bufferViews"][tree["accessors"][primitive["indices"]]["bufferView"]]["target"] = ELEMENTS
