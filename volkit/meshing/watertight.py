"""Watertight surfaces: degenerate faces are removed, holes filled, and the rest remeshed if necessary."""

from dataclasses import dataclass

import numpy as np
import torch

from volkit.geometry.triangles import Triangles
from volkit.meshing.lattice import extract_zero, label_components, lattice_over
from volkit.typing import Int, Tensor

__all__ = ["Repairs", "clean_faces", "make_watertight"]

FLAT_AREA_SHARE = 1e-14  # of the squared diagonal: the accuracy of areas in float32
MIN_VOLUME_SHARE = 1e-9  # of the cubed diagonal, smallest volume of a solid
GAP_SHARE = 1e-5  # of the diagonal, between vertices of parts that touch: readers merge coincident vertices
SKIN_SPACINGS = 1.0  # lattice spacings from a surface that count as its wall
SAMPLES_PER_SQUARE = 16  # points for a square of the lattice's spacing, at most half of it from each other


@dataclass(frozen=True)
class Repairs:
    """The numbers of removed faces, by reason."""

    not_finite: int = 0
    without_area: int = 0
    twice: int = 0


def clean_faces(surface: Triangles) -> tuple[Triangles, Repairs]:
    """A surface without degenerate and repeated faces, and with coincident vertices merged.

    The two sides of a sheet are different faces. ValueError where no face is left.
    """
    finite = surface.vertices.isfinite().all(-1)[surface.faces].all(-1)
    remaining = surface.keep(finite)
    if not len(remaining):
        raise ValueError(f"mesh: no face is left: of {len(surface)} none has finite corners")
    places, joined = remaining.vertices.unique(dim=0, return_inverse=True)
    remaining = Triangles(places, joined[remaining.faces])
    size = _diagonal(remaining)
    solid = remaining.areas > FLAT_AREA_SHARE * size * size
    if not bool(solid.any()):
        raise ValueError(f"mesh: no face is left: {len(surface)} faces have no area or no finite corners")
    # the smallest corner first: rotations of one face become the same row, its reverse does not
    faces = remaining.faces[solid]
    turn = (faces.argmin(1, keepdim=True) + torch.arange(3)) % 3
    first = np.unique(faces.gather(1, turn).numpy(), axis=0, return_index=True)[1]
    kept = solid.nonzero()[:, 0][torch.from_numpy(np.sort(first))]
    wanted = torch.zeros(len(remaining), dtype=torch.bool)
    wanted[kept] = True
    repairs = Repairs(int((~finite).sum()), int((~solid).sum()), int(solid.sum()) - len(kept))
    return remaining.keep(wanted), repairs


def make_watertight(surface: Triangles, cells: int = 160) -> Triangles:
    """A watertight surface: each edge has two faces, and manifold3d accepts it as a solid.

    Holes are filled with fans about their centres. A surface that is no solid even so (inconsistent faces, sheets) is
    remeshed: marching cubes of the distance, on a lattice of `cells` along the longest side, around all that a flood
    from outside does not reach. ValueError where that fails, too.
    """
    clean, _ = clean_faces(surface)
    filled = _fill_holes(clean)
    found = _as_solid(filled) or _as_solid(_remesh(filled, cells))
    if found is None:
        raise ValueError("mesh: the surface cannot be made watertight; set watertight to False")
    return found


def _as_solid(surface: Triangles) -> Triangles | None:
    """A surface as manifold3d's solid, faces outward; None where it is no solid."""
    from manifold3d import Error, Manifold, Mesh

    faces = surface.faces.numpy().astype(np.uint32)
    body = Manifold(Mesh(surface.vertices.float().numpy(), faces))
    size = _diagonal(surface)
    if body.status() != Error.NoError or not abs(body.volume()) > MIN_VOLUME_SHARE * size**3:
        return None
    mesh = body.to_mesh()
    vertices = torch.from_numpy(np.array(mesh.vert_properties[:, :3]))
    faces = torch.from_numpy(mesh.tri_verts.astype(np.int64))
    found = Triangles(vertices, faces if body.volume() > 0 else faces.flip(1))
    return _separate(found, GAP_SHARE * size)


def _separate(surface: Triangles, gap: float) -> Triangles:
    """The surface with coincident vertices of touching parts moved a little into their own part."""
    _, place, count = surface.vertices.unique(dim=0, return_inverse=True, return_counts=True)
    shared = (count[place] > 1)[:, None]
    return Triangles(torch.where(shared, surface.vertices - gap * surface.normals, surface.vertices), surface.faces)


def _fill_holes(surface: Triangles) -> Triangles:
    """The surface with every loop of open edges closed by a fan about its centre."""
    loops = _open_loops(surface.faces)
    centres, fans = [], []
    for loop in loops:
        if len(loop) == 3:
            fans.append(loop.flip(0)[None])
            continue
        centre = torch.full_like(loop, len(surface.vertices) + len(centres))
        centres.append(surface.vertices[loop].mean(0))
        fans.append(torch.stack([loop.roll(-1), loop, centre], 1))
    if not loops:
        return surface
    return Triangles(torch.cat([surface.vertices, *(m[None] for m in centres)]), torch.cat([surface.faces, *fans]))


def _open_loops(faces: Int[Tensor, "face 3"]) -> list[Int[Tensor, " vertex"]]:
    """Loops of vertices along the open edges of faces, in the orientation of their faces.

    At each vertex as many open edges end as begin, so that a walk along them returns to its start.
    """
    edges = torch.cat([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    low, high = edges.amin(1), edges.amax(1)
    number = low * (int(faces.max()) + 1) + high
    _, edge = number.unique(return_inverse=True)
    way = torch.where(edges[:, 0] < edges[:, 1], 1, -1)
    balance = torch.zeros(int(edge.max()) + 1, dtype=torch.long).index_add_(0, edge, way)
    onward: dict[int, list[int]] = {}
    for start, end in edges[way * balance[edge] > 0].unique(dim=0).tolist():
        onward.setdefault(start, []).append(end)
    rings = []
    while onward:
        walk = [next(iter(onward))]
        visited = {walk[0]: 0}
        while walk[-1] in onward:
            ends = onward[walk[-1]]
            step = ends.pop()
            if not ends:
                del onward[walk[-1]]
            if step in visited:
                at = visited[step]
                rings.append(torch.tensor(walk[at:]))
                for left in walk[at + 1 :]:
                    del visited[left]
                del walk[at + 1 :]
            else:
                visited[step] = len(walk)
                walk.append(step)
    return [ring for ring in rings if len(ring) >= 3]


def _remesh(surface: Triangles, cells: int) -> Triangles:
    """The outer boundary of a surface's wall: marching cubes of the distance to it, on the outside alone."""
    from scipy.spatial import KDTree

    low, high = surface.vertices.amin(0), surface.vertices.amax(0)
    spacing = float((high - low).max()) / cells
    lattice = lattice_over(low - 4 * spacing, high + 4 * spacing, cells + 8)
    count = int(SAMPLES_PER_SQUARE * float(surface.areas.sum()) / lattice.spacing**2) + 1
    points, _ = surface.sample(count, torch.Generator().manual_seed(0))
    index, positions = lattice.points(lattice.blocks_near(points, 2.0 * lattice.spacing).nonzero())
    found, _ = KDTree(points.numpy()).query(
        positions.numpy(), distance_upper_bound=3.0 * SKIN_SPACINGS * lattice.spacing
    )
    distance = lattice.fill(index, torch.from_numpy(found).float(), torch.inf)
    skin = SKIN_SPACINGS * lattice.spacing
    components = label_components(distance > skin)
    outside = components == components[0, 0, 0]  # the box is wider than the surface: its corner is outside
    depth = torch.where(outside | (distance <= skin), (skin - distance).clamp_min(-skin), skin)
    shell = extract_zero(lattice, depth)
    return Triangles(shell.vertices - 0.5 * skin * shell.normals, shell.faces)


def _diagonal(surface: Triangles) -> float:
    return float((surface.vertices.amax(0) - surface.vertices.amin(0)).norm())
