"""The dense surface of a scene: its visible part, without hollow insides and floaters."""

import numpy as np
import torch

from volkit.geometry import Cameras, Domain, Similarity
from volkit.geometry.triangles import Triangles
from volkit.meshing.fusion import fuse_depths
from volkit.meshing.isosurface import extract_isosurface, opaque_density
from volkit.meshing.simplify import smooth
from volkit.rendering.surface import first_hits
from volkit.representations import Field, Representation, Splats
from volkit.representations.splat_extent import core_box, whole_box
from volkit.typing import Bool, Tensor

__all__ = ["dense_surface", "drop_hidden_faces", "drop_small_components", "visible_faces"]

BOX_MARGIN = 0.2  # of the edges of a scene's box, on either side: thin parts, such as feet, lie beyond it
WHOLE_BOX_MARGIN = 0.05  # of the edges of `whole_box`: the head of a guitar lies beyond it
VISIBILITY_SIZE = 320  # pixels of the pictures by which visible faces are found
NEIGHBOUR_RINGS = 2  # of neighbours that are kept with visible faces: rays pass between small faces
SMALL_COMPONENT_SHARE = 0.002  # of the whole area: smaller components are floaters


def dense_surface(
    scene: Representation, cameras: Cameras, views: Cameras, cells: int, generator: torch.Generator
) -> Triangles:
    """The surface of a scene, local frame, that world-frame `cameras` see, without small components.

    That of a field is an isosurface of its density, that of other kinds is fused from depth pictures of `views`;
    `cells` counts lattice intervals along the longest side. ValueError where no surface has an inside.
    """
    if isinstance(scene, Field):
        dense = extract_isosurface(scene, opaque_density(scene, cameras, generator), cells)
    else:
        dense = fuse_depths(scene, _search_box(scene), views, cells)
    dense = smooth(dense)
    visible = drop_hidden_faces(dense, visible_faces(dense, scene.world_from_local, cameras))
    if not len(visible):
        fact = "mesh: the scene shows no surface with an inside; a sheet without thickness has none"
        raise ValueError(f"{fact}: give it some, or keep its triangles as they are")
    return drop_small_components(visible)


def visible_faces(surface: Triangles, place: Similarity, cameras: Cameras) -> Bool[Tensor, " face"]:
    """Faces whose front a ray of some world-frame camera meets first."""
    visible = torch.zeros(len(surface), dtype=torch.bool)
    small, spans = cameras.resize(VISIBILITY_SIZE), surface.spans
    for index in range(len(small)):
        rays = place.inverse().rays(small.picture_rays(index))
        face = first_hits(surface.vertices, surface.faces, rays)[0].long()
        hit = (face >= 0).nonzero()[:, 0]
        front = (spans[face[hit]] * rays.directions[hit]).sum(-1) < 0
        visible[face[hit[front]]] = True
    return visible


def drop_hidden_faces(surface: Triangles, visible: Bool[Tensor, " face"]) -> Triangles:
    """The visible faces, and `NEIGHBOUR_RINGS` of neighbours."""
    mask = visible
    for _ in range(NEIGHBOUR_RINGS):
        touched = torch.zeros(len(surface.vertices), dtype=torch.bool)
        touched[surface.faces[mask].flatten()] = True
        mask = touched[surface.faces].any(-1)
    return surface.keep(mask)


def drop_small_components(surface: Triangles) -> Triangles:
    """The connected components of more than `SMALL_COMPONENT_SHARE` of the area."""
    import trimesh

    pairs = trimesh.graph.face_adjacency(surface.faces.numpy())
    labels = trimesh.graph.connected_component_labels(pairs, node_count=len(surface))
    component = torch.from_numpy(np.asarray(labels)).long()
    areas = torch.zeros(int(component.max()) + 1).index_add_(0, component, surface.areas)
    return surface.keep((areas > SMALL_COMPONENT_SHARE * areas.sum())[component])


def _search_box(scene: Representation) -> Domain:
    """The box in which the surface is extracted, local frame: of splats the whole object, without splats far away."""
    if not isinstance(scene, Splats):
        return scene.bounds().grow(BOX_MARGIN)
    near, whole = core_box(scene).grow(BOX_MARGIN), whole_box(scene).grow(WHOLE_BOX_MARGIN)
    box = near.union(whole)
    return Domain(box.lower, box.upper)
