"""A model of the density of splats and meshes: points that absorb light."""

from dataclasses import dataclass
from functools import singledispatch

import torch
from torch.nn import functional

from volkit.distillation.lattice import extrapolate_colours, neighbours
from volkit.geometry import Domain, morton_codes, rotations_of
from volkit.geometry.spherical_harmonics import C0
from volkit.representations.field import OCCUPANCY_RESOLUTION
from volkit.representations.mesh import Mesh
from volkit.representations.occupancy_bits import dilate
from volkit.representations.representation import Representation
from volkit.representations.splats import Splats
from volkit.representations.voxels import Voxels, VoxelsConfig
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["DensityCloud", "density_cloud", "occupied_cells", "voxelise"]

POINTS = 1 << 20  # of a cloud: scattered in a fraction of a second on two cores
MAX_POINTS = 512  # of one splat
HARMONICS = 9  # of degree 2, as of voxels
DILATION = 0.3  # squared pixels, added to the covariance of splats when they are rendered (3DGS)
DILOGARITHM_TERMS = 64  # of the series; at opacity 1 the rest is 1 %
MAX_MESH_ALPHA = 0.99  # of a surface, as of a splat
MIN_OPTICAL_THICKNESS = 1e-3  # of a cell; below, it is invisible


@dataclass(frozen=True)
class DensityCloud:
    """Absorbing points.

    Attributes:
        positions: local frame.
        depth: optical depth times area: `n` points over an area `a` have the optical depth `n depth / a`.
        harmonics: degree 2, of colour - 0.5, one channel after the other.
    """

    positions: Float[Tensor, "point 3"]
    depth: Float[Tensor, " point"]
    harmonics: Float[Tensor, "point 27"]


@singledispatch
def density_cloud(teacher: Representation, pixel: float, generator: torch.Generator) -> DensityCloud:
    """Scatter splats or a mesh into points.

    Args:
        teacher: splats or a mesh.
        pixel: width of a pixel at the scene, local units.
        generator: of the points.

    Raises:
        TypeError: the teacher is of another kind.
    """
    raise TypeError(f"there is no model of the density of a {type(teacher).__name__}")


@density_cloud.register
@torch.no_grad()
def _of_splats(splats: Splats, pixel: float, generator: torch.Generator) -> DensityCloud:
    """Each splat as equal points drawn from its Gaussian.

    In a projection along u it has alpha `o exp(-r^2 / 2)`, whose optical depth `-log(1 - alpha)` integrates to
    `2 pi Li2(o) A(u)` over the picture, A(u) the product of the two projected standard deviations. The mean of A over
    all directions is a quarter of an ellipsoid's surface, divided by pi (Cauchy; Thomsen's formula).
    """
    count = min(max(POINTS // max(len(splats), 1), 1), MAX_POINTS)
    scales = functional.pad(splats.scales, (0, 3 - splats.log_scales.shape[1]))  # a surfel's third is none
    scales = (scales.square() + (0.0 if splats.config.mip else DILATION) * pixel * pixel).sqrt()
    a, b, c = scales.pow(1.6075).unbind(-1)
    area = ((a * b + a * c + b * c) / 3.0).pow(1.0 / 1.6075)
    k = torch.arange(1, DILOGARITHM_TERMS + 1, device=scales.device)
    depth = 2.0 * torch.pi * (splats.opacities[:, None].pow(k) / k.square()).sum(-1) * area
    normal = torch.randn(len(splats), count, 3, generator=generator, device=scales.device)
    axes = rotations_of(splats.quaternions) * scales[:, None, :]
    positions = splats.means[:, None] + normal @ axes.transpose(1, 2)
    harmonics = scales.new_zeros(len(splats), HARMONICS, 3)
    known = torch.cat([splats.sh_dc, splats.sh_rest], 1)[:, :HARMONICS]
    harmonics[:, : known.shape[1]] = known
    return DensityCloud(
        positions.flatten(0, 1),
        (depth / count).repeat_interleave(count),
        harmonics.transpose(1, 2).flatten(1).repeat_interleave(count, 0),
    )


@density_cloud.register
def _of_mesh(mesh: Mesh, pixel: float, generator: torch.Generator) -> DensityCloud:
    """Points uniform over the surface, with its opacity there."""
    corners = mesh.vertices[mesh.faces.long()]
    area = 0.5 * torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]).norm(dim=-1)
    edges = area.double().cumsum(0)
    draw = torch.rand(POINTS, generator=generator, dtype=torch.float64, device=edges.device) * edges[-1]
    face = torch.searchsorted(edges, draw).clamp_max(len(area) - 1)
    u = torch.rand(POINTS, 2, generator=generator, device=area.device)
    u = torch.where((u.sum(-1) > 1.0)[:, None], 1.0 - u, u)
    barycentric = torch.cat([1.0 - u.sum(-1, keepdim=True), u], -1)
    rgba = mesh.colours_at(face, barycentric)
    depth = -torch.log1p(-rgba[:, 3].clamp_max(MAX_MESH_ALPHA)) * (float(edges[-1]) / POINTS)
    harmonics = rgba.new_zeros(POINTS, 3, HARMONICS)
    harmonics[:, :, 0] = (rgba[:, :3] - 0.5) / C0
    return DensityCloud((corners[face] * barycentric[..., None]).sum(1), depth, harmonics.flatten(1))


@torch.no_grad()
def occupied_cells(cloud: DensityCloud, domain: Domain) -> Bool[Tensor, " cell"]:
    """Visible cells of the occupancy lattice (Morton order), with a margin of one cell."""
    sizes = (OCCUPANCY_RESOLUTION,) * 3
    cells, depth = _accumulate(cloud, domain, sizes, cloud.depth[:, None])
    size = OCCUPANCY_RESOLUTION
    # Optical depth times area, divided by the projected area of a cell, is its optical thickness.
    visible = cells[depth[:, 0] > MIN_OPTICAL_THICKNESS * _volumes(domain, sizes, cells).pow(2.0 / 3.0)]
    marked = torch.zeros(size**3, dtype=torch.bool, device=cells.device)
    marked[morton_codes(torch.stack([visible // (size * size), visible // size % size, visible % size], -1))] = True
    return dilate(marked)


@torch.no_grad()
def voxelise(cloud: DensityCloud, domain: Domain, resolution: int) -> Voxels:
    """A cloud as voxels: density from the optical depth in each, colour its mean weighted by optical depth.

    Empty voxels around take the colours of their neighbours, so that interpolation keeps a surface's colour.
    """
    voxels = Voxels(VoxelsConfig(resolution, resolution), domain).to(cloud.depth.device).requires_grad_(False)
    sizes = tuple(voxels.links.shape)
    values = torch.cat([cloud.depth[:, None], cloud.depth[:, None] * cloud.harmonics], 1)
    cells, sums = _accumulate(cloud, domain, sizes, values)
    held = torch.zeros(1, 1, *sizes, device=cells.device)
    held.view(-1)[cells] = 1.0
    nodes = functional.max_pool3d(held, 3, 1, 1).flatten().nonzero()[:, 0]
    rows = torch.searchsorted(nodes, cells)
    density, harmonics = sums.new_zeros(len(nodes), 1), sums.new_zeros(len(nodes), sums.shape[1] - 1)
    density[rows] = sums[:, :1] / _volumes(domain, sizes, cells)[:, None]
    harmonics[rows] = sums[:, 1:] / sums[:, :1].clamp_min(torch.finfo(sums.dtype).tiny)
    known = torch.zeros(len(nodes), dtype=torch.bool, device=cells.device).index_fill_(0, rows, True)
    links = torch.full_like(voxels.links, -1).flatten()
    links[nodes] = torch.arange(len(nodes), dtype=torch.int32, device=cells.device)
    voxels.load_state_dict({
        **voxels.state_dict(),
        "links": links.view(sizes),
        "density_data": density,
        "sh_data": extrapolate_colours(harmonics, known, neighbours(nodes, sizes)),
    })  # fmt: skip
    return voxels


def _accumulate(
    cloud: DensityCloud, domain: Domain, sizes: tuple[int, ...], values: Float[Tensor, "point value"]
) -> tuple[Int[Tensor, " cell"], Float[Tensor, "cell value"]]:
    """Sums of the points' values in the cells that hold any (sorted linear indices)."""
    unit = domain.unit_from_local(cloud.positions)
    kept = ((unit >= 0) & (unit < 1)).all(-1).nonzero()[:, 0]
    place = (unit[kept] * unit.new_tensor(sizes)).long()
    linear = (place[:, 0] * sizes[1] + place[:, 1]) * sizes[2] + place[:, 2]
    held = torch.zeros(sizes[0] * sizes[1] * sizes[2], dtype=torch.bool, device=linear.device)
    held[linear] = True
    cells = held.nonzero()[:, 0]
    rows = torch.searchsorted(cells, linear)
    return cells, values.new_zeros(len(cells), values.shape[1]).index_add_(0, rows, values[kept])


def _volumes(domain: Domain, sizes: tuple[int, ...], cells: Int[Tensor, " cell"]) -> Float[Tensor, " cell"]:
    """Volumes of cells in local units: `|det|` of three edges through the centre, which contraction shears."""
    place = torch.stack([cells // (sizes[1] * sizes[2]), cells // sizes[2] % sizes[1], cells % sizes[2]], -1)
    size = torch.tensor(sizes, device=cells.device)
    edges = []
    for axis in torch.eye(3, device=cells.device):
        near, far = (domain.local_from_unit((place + 0.5 + side * axis) / size) for side in (-0.5, 0.5))
        edges.append(far - near)
    return torch.linalg.det(torch.stack(edges, -1).double()).abs().float().clamp_min(1e-30)
