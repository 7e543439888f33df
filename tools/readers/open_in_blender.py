"""Runs in Blender's own Python: opens one file and writes what it saw, as JSON; see open_in_python.py.

Arguments: the program's name, the file, where to put the picture that it found, and what it saw. Positions are turned
back from Blender's world, +Z up, to the file's own axes.
"""

import json
import sys
from pathlib import Path

import bpy
import numpy as np

OPENED_BY = {
    ".glb": bpy.ops.import_scene.gltf, ".gltf": bpy.ops.import_scene.gltf, ".obj": bpy.ops.wm.obj_import,
    ".ply": bpy.ops.wm.ply_import, ".stl": bpy.ops.wm.stl_import, ".usdz": bpy.ops.wm.usd_import,
    ".usdc": bpy.ops.wm.usd_import,
}  # fmt: skip
TURNED = (".glb", ".gltf", ".obj", ".usdz", ".usdc")  # from +Y up
LOG_SCALES = ("scale_0", "scale_1", "scale_2")


def main() -> None:
    """Open and tell."""
    path, picture, told = map(Path, sys.argv[2:5])
    bpy.ops.wm.read_factory_settings(use_empty=True)
    OPENED_BY[path.suffix](filepath=str(path))
    shown = [o for o in bpy.context.view_layer.objects if o.type in ("MESH", "POINTCLOUD") and o.visible_get()]
    if not shown:
        raise ValueError("no object, and no exception")
    seen: dict = {"positions": np.concatenate([places(thing) for thing in shown]), "faces": 0}
    seen["faces"] = sum(len(thing.data.polygons) for thing in shown if thing.type == "MESH")
    if path.suffix in TURNED:
        seen["positions"] = seen["positions"][:, [0, 2, 1]] * [1, 1, -1]
    first = shown[0].data
    if shown[0].type == "MESH" and seen["faces"]:
        seen |= look(first, seen["positions"], picture)
    elif "f_dc_0" in first.attributes:
        seen |= splats(first)
    plain = {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in seen.items()}
    told.write_text(json.dumps(plain))


def places(thing: bpy.types.Object) -> np.ndarray:
    """Of an object's points, in the world."""
    own = values(thing.data.attributes["position"].data, "vector", 3)
    matrix = np.array(thing.matrix_world)
    return own @ matrix[:3, :3].T + matrix[:3, 3]


def look(mesh: bpy.types.Mesh, positions: np.ndarray, picture: Path) -> dict:
    """Uv with their picture, or colours; a place for each corner."""
    corners = np.zeros(len(mesh.loops), np.int64)
    mesh.loops.foreach_get("vertex_index", corners)
    materials = [material for material in mesh.materials if material and material.node_tree]
    images = [node.image for material in materials for node in material.node_tree.nodes if base_colour(node)]
    if mesh.uv_layers and images:
        packed = images[0].packed_file
        data = packed.data if packed else Path(bpy.path.abspath(images[0].filepath)).read_bytes()
        picture.write_bytes(data)
        uv = values(mesh.uv_layers[0].uv, "vector", 2)
        return {"positions": positions[corners], "uv": uv * [1, -1] + [0, 1]}
    if not mesh.color_attributes:
        return {}
    layer = mesh.color_attributes[0]
    rgb = values(layer.data, "color_srgb", 4)[:, :3]
    return {"positions": positions if layer.domain == "POINT" else positions[corners], "rgb": rgb}


def base_colour(node: bpy.types.Node) -> bool:
    """Whether it is the picture of a material's colour."""
    if node.type != "TEX_IMAGE" or node.image is None:
        return False
    return any(link.to_socket.name in ("Base Color", "Color1", "A", "Color") for link in node.outputs["Color"].links)


def splats(cloud: bpy.types.Mesh) -> dict:
    """Columns that Blender keeps as attributes."""

    def columns(*names: str) -> np.ndarray:
        return np.stack([values(cloud.attributes[name].data, "value", 1)[:, 0] for name in names], 1)

    return {"log_scales": columns(*LOG_SCALES), "quaternions": columns("rot_0", "rot_1", "rot_2", "rot_3"),
            "dc": columns("f_dc_0", "f_dc_1", "f_dc_2"), "sh": columns(*(f"f_rest_{i}" for i in range(45))),
            "opacities": 1.0 / (1.0 + np.exp(-columns("opacity")[:, 0]))}  # fmt: skip


def values(data: bpy.types.bpy_prop_collection, name: str, width: int) -> np.ndarray:
    """All rows of one property."""
    flat = np.zeros(len(data) * width, np.float32)
    data.foreach_get(name, flat)
    return flat.reshape(-1, width).astype(np.float64)


main()
