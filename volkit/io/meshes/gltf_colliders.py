"""Colliders in glTF, as each engine finds them: by names of nodes, in a scene of their own, or by OMI's extensions."""

import itertools
from typing import Any

import numpy as np

from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.engines import collider_name, colliders_by_extension, level_names
from volkit.io.meshes.gltf_builder import GltfBuilder
from volkit.io.meshes.parts import far_origin

__all__ = ["add_colliders", "box_of", "origin_placement"]

BOX_ERROR = 1e-4  # of a box's diagonal: corners that are so near are those of a box


def origin_placement(asset: Asset) -> dict[str, Any]:
    """The translation of nodes whose meshes are about the far origin of an asset; empty where it is not far."""
    origin = far_origin(asset.mesh)
    return {"translation": origin.tolist()} if origin.any() else {}


def add_colliders(builder: GltfBuilder, asset: Asset, stem: str, style: Style) -> list[int]:
    """Nodes of all colliders, in no scene yet."""
    if colliders_by_extension(style.engine):
        return _add_bodies(builder, asset, stem)
    place, (finest, *_) = asset.mesh.world_from_local, level_names(stem, len(asset.levels))
    nodes = []
    for number, collider in enumerate(asset.colliders):
        points = place.points(collider.vertices.double()).numpy() - far_origin(asset.mesh)
        name = collider_name(style.engine, stem, finest, number, box=box_of(points) is not None)
        primitive = builder.add_collider(points.astype(np.float32), collider.faces.numpy())
        mesh = builder.add("meshes", {"name": name, "primitives": [primitive]})
        nodes.append(builder.add("nodes", {"name": name, "mesh": mesh} | origin_placement(asset)))
    return nodes


def _add_bodies(builder: GltfBuilder, asset: Asset, stem: str) -> list[int]:
    """One static body with a node for each shape, by OMI_physics_body and OMI_physics_shape; no node has a mesh."""
    shapes: list[dict[str, Any]] = []
    children = []
    for number, collider in enumerate(asset.colliders):
        points = asset.mesh.world_from_local.points(collider.vertices.double()).numpy()
        name, body = f"{stem}_shape_{number:02d}", {"OMI_physics_body": {"collider": {"shape": number}}}
        if (box := box_of(points)) is not None:
            centre, turn, size = box
            shapes.append({"type": "box", "box": {"size": size.tolist()}})
            placed = {"translation": centre.tolist(), "rotation": _quaternion(turn)}
        else:
            primitive = builder.add_collider(
                (points - far_origin(asset.mesh)).astype(np.float32), collider.faces.numpy()
            )
            shapes.append({"type": "convex", "convex": {"mesh": builder.add("meshes", {"name": name,
                           "primitives": [primitive]})}})  # fmt: skip
            placed = origin_placement(asset)
        children.append(builder.add("nodes", {"name": name, "extensions": body} | placed))
    if not children:
        return []
    builder.use_extension("OMI_physics_shape")
    builder.use_extension("OMI_physics_body")
    builder.tree.setdefault("extensions", {})["OMI_physics_shape"] = {"shapes": shapes}
    static = {"OMI_physics_body": {"motion": {"type": "static"}}}
    return [builder.add("nodes", {"name": f"{stem}_body", "extensions": static, "children": children})]


def box_of(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Centre, turn [3, 3] of its axes as columns, and edges, where points are the eight corners of a box."""
    if points.shape != (8, 3):
        return None
    centre, edges = points.mean(0), points[1:] - points[0]
    near = BOX_ERROR * np.linalg.norm(np.ptp(points, 0))
    for one in itertools.combinations(range(7), 3):
        axes = edges[list(one)]
        size = np.linalg.norm(axes, axis=1)
        right = np.abs(axes @ axes.T - np.diag(size**2)).max() < near * size.max()
        if right and np.abs(0.5 * axes.sum(0) + points[0] - centre).max() < near:
            order = np.argmax(np.abs(axes), axis=1)  # the axes that the box's own are nearest to
            if len(set(order.tolist())) == 3:
                axes, size = axes[np.argsort(order)], size[np.argsort(order)]
            turn = (axes / size[:, None] * np.sign(np.diag(axes) + (np.diag(axes) == 0))[:, None]).T
            turn[:, 2] *= np.sign(np.linalg.det(turn))
            return centre, turn, size
    return None


def _quaternion(turn: np.ndarray) -> list[float]:
    """The rotation of a node, x, y, z, w."""
    w = 0.5 * np.sqrt(max(0.0, 1.0 + np.trace(turn)))
    if w > 0.1:
        x, y, z = turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]
        return [float(part / (4.0 * w)) for part in (x, y, z)] + [float(w)]
    axis = np.linalg.eigh(turn + turn.T)[1][:, -1]  # half a turn, or nearly
    vector = np.array([turn[2, 1] - turn[1, 2], turn[0, 2] - turn[2, 0], turn[1, 0] - turn[0, 1]])
    axis = axis if axis @ vector >= 0 else -axis
    return [*(float(part) for part in np.sqrt(1.0 - w**2) * axis), float(w)]
