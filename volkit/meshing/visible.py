"""What can be seen stays: hollow insides and floaters go."""

import numpy as np
import torch

from volkit.geometry import Cameras, Similarity
from volkit.geometry.triangles import Triangles
from volkit.rendering.surface import first_hits
from volkit.typing import Bool, Tensor

__all__ = ["drop_hidden_faces", "drop_small_components", "visible_faces"]

SIDE = 320  # pixels of the pictures that say what is seen
RINGS = 2  # of neighbours that stay with what is seen: rays pass between small faces
CRUMB = 0.002  # of the whole area: smaller pieces by themselves are floaters


def visible_faces(surface: Triangles, place: Similarity, cameras: Cameras) -> Bool[Tensor, " face"]:
    """Faces that a ray of some world-frame camera meets first, on their front."""
    seen = torch.zeros(len(surface), dtype=torch.bool)
    small, spans = cameras.resized(SIDE), surface.spans
    for index in range(len(small)):
        rays = place.inverse().rays(small.picture_rays(index))
        face = first_hits(surface.vertices, surface.faces, rays)[0].long()
        hit = (face >= 0).nonzero()[:, 0]
        front = (spans[face[hit]] * rays.directions[hit]).sum(-1) < 0
        seen[face[hit[front]]] = True
    return seen


def drop_hidden_faces(surface: Triangles, seen: Bool[Tensor, " face"]) -> Triangles:
    """The faces that are seen, and their neighbours."""
    wanted = seen
    for _ in range(RINGS):
        touched = torch.zeros(len(surface.vertices), dtype=torch.bool)
        touched[surface.faces[wanted].flatten()] = True
        wanted = touched[surface.faces].any(-1)
    return surface.kept(wanted)


def drop_small_components(surface: Triangles) -> Triangles:
    """The pieces that are more than a crumb."""
    import trimesh

    pairs = trimesh.graph.face_adjacency(surface.faces.numpy())
    labels = trimesh.graph.connected_component_labels(pairs, node_count=len(surface))
    piece = torch.from_numpy(np.asarray(labels)).long()
    areas = torch.zeros(int(piece.max()) + 1).index_add_(0, piece, surface.areas)
    return surface.kept((areas > CRUMB * areas.sum())[piece])
