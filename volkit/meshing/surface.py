"""The dense surface of a scene: what can be seen of it; hollow insides and floaters go."""

from functools import singledispatch

import numpy as np
import torch

from volkit.geometry import Cameras, Domain, Similarity
from volkit.geometry.triangles import Triangles
from volkit.meshing.fusion import fuse_depths
from volkit.meshing.isosurface import extract_isosurface, opaque_density
from volkit.meshing.simplify import smooth
from volkit.rendering.surface import first_hits
from volkit.representations import Field, Representation, Splats
from volkit.representations.splat_extent import core, whole_box
from volkit.typing import Bool, Tensor

__all__ = ["dense_surface", "drop_hidden_faces", "drop_small_components", "visible_faces"]

BOX_MARGIN = 0.2  # of the edges of a scene's box, on either side: what is seen little of, as feet, stands out of it
END_MARGIN = 0.05  # of the edges of the box that holds nearly all of some splats: the top of a guitar lies beyond it
VISIBILITY_SIZE = 320  # pixels of the pictures that say what is seen
RINGS = 2  # of neighbours that stay with what is seen: rays pass between small faces
SMALL_COMPONENT_SHARE = 0.002  # of the whole area: smaller pieces by themselves are floaters


def dense_surface(
    scene: Representation, cameras: Cameras, views: Cameras, cells: int, generator: torch.Generator
) -> Triangles:
    """The surface of a scene that world-frame `cameras` see, `cells` intervals fine, local frame; small components go.

    Fields are cut at a level of their density, other kinds fused from the depths of `views`. ValueError where nothing
    has an inside.
    """
    dense = smooth(_dense(scene, cameras, views, cells, generator))
    seen = drop_hidden_faces(dense, visible_faces(dense, scene.world_from_local, cameras))
    if not len(seen):
        raise ValueError("mesh: the scene shows no surface with an inside; a sheet without thickness has none: "
                         "give it some, or keep its triangles as they are")  # fmt: skip
    return drop_small_components(seen)


@singledispatch
def _dense(
    scene: Representation, cameras: Cameras, views: Cameras, cells: int, generator: torch.Generator
) -> Triangles:
    return fuse_depths(scene, _search_box(scene), views, cells)


@_dense.register
def _dense_field(scene: Field, cameras: Cameras, views: Cameras, cells: int, generator: torch.Generator) -> Triangles:
    return extract_isosurface(scene, opaque_density(scene, cameras, generator), cells)


def visible_faces(surface: Triangles, place: Similarity, cameras: Cameras) -> Bool[Tensor, " face"]:
    """Faces that a ray of some world-frame camera meets first, on their front."""
    seen = torch.zeros(len(surface), dtype=torch.bool)
    small, spans = cameras.resized(VISIBILITY_SIZE), surface.spans
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
    """The pieces that are larger than that."""
    import trimesh

    pairs = trimesh.graph.face_adjacency(surface.faces.numpy())
    labels = trimesh.graph.connected_component_labels(pairs, node_count=len(surface))
    piece = torch.from_numpy(np.asarray(labels)).long()
    areas = torch.zeros(int(piece.max()) + 1).index_add_(0, piece, surface.areas)
    return surface.kept((areas > SMALL_COMPONENT_SHARE * areas.sum())[piece])


@singledispatch
def _search_box(scene: Representation) -> Domain:
    """Where a surface is sought, local frame: of splats all of the object, thin ends too, and not what flies beyond."""
    return scene.bounds().grown(BOX_MARGIN)


@_search_box.register
def _box_of_splats(scene: Splats) -> Domain:
    near, whole = core(scene).grown(BOX_MARGIN), whole_box(scene).grown(END_MARGIN)
    lower = tuple(map(min, near.lower, whole.lower))
    upper = tuple(map(max, near.upper, whole.upper))
    return Domain(lower, upper)  # pyright: ignore[reportArgumentType]
