"""Plenoxels: a sparse voxel grid of densities and spherical harmonics, no network (Fridovich-Keil et al. 2022)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional

from volkit.geometry import Domain, Points, sh_count
from volkit.ops.param_group import ParamGroup
from volkit.ops.voxel_sample import voxel_sample
from volkit.representations.field import Field, FieldSample
from volkit.representations.growth import adopt_shapes, gradients_in_place, replace_tensor
from volkit.representations.heads import sh_colour
from volkit.representations.kinds import RepresentationConfig
from volkit.typing import Bool, Float, Tensor

__all__ = ["Voxels", "VoxelsConfig"]

PRIOR_COLOUR_RATE = 3e-2  # from grey to any colour within a hundred steps; photographs give thousands


@dataclass(frozen=True)
class VoxelsConfig(RepresentationConfig):
    """Sizes of a sparse voxel grid, as in the Plenoxels paper.

    Attributes:
        resolution: cells along the longest edge at the end.
        start: the same at the start.
        doublings: fractions of the budget at which the resolution doubles.
        sh_degree: of colour; 0: it does not depend on the direction.
        tv_density: weight of the total variation of density.
        tv_sh: weight of the total variation of colour.
        tv_cells: random voxels of a step on which total variation is measured.
        lr_density: learning rate of density, times 1 / voxel edge.
        lr_sh: learning rate of colour.
    """

    kind: ClassVar[str] = "voxels"
    activation_bytes: ClassVar[int] = 900
    resolution: int = 256
    start: int = 64
    doublings: tuple[float, ...] = (0.1, 0.3)
    sh_degree: int = 2
    tv_density: float = 1e-5
    tv_sh: float = 1e-3
    tv_cells: int = 1 << 14
    lr_density: float = 0.05  # opaque densities grow with resolution
    lr_sh: float = 1e-2

    @classmethod
    def for_prior(cls, pixels: float) -> "VoxelsConfig":
        """Half as many voxels again as pixels, matte."""
        cells = 3 * max(16, round(pixels)) // 2
        return cls(resolution=cells, start=cells, sh_degree=0, tv_density=0.0, tv_sh=0.0, lr_sh=PRIOR_COLOUR_RATE)

    def build(self, domain: Domain, generator: torch.Generator) -> "Voxels":
        """A dense grid of thin grey fog."""
        return Voxels(self, domain)


class Voxels(Field):
    """Trilinear density `relu(s)` and colour `max(0, SH coefficients . Y(direction) + 0.5)`, missing voxels 0.

    `links` [X, Y, Z] holds the row of every voxel, -1 for none; `density_data` [row, 1] and `sh_data`
    [row, 3 (degree + 1)^2], one colour channel after the other. Voxel i of an axis with n cells is centred at
    `(i + 0.5) / n` of the edge. Layout and coordinates: sxyu/svox2 `svox2.py`.
    """

    links: Tensor

    def __init__(self, config: VoxelsConfig, domain: Domain) -> None:
        super().__init__(domain)
        self.config = config
        shape = _cells(domain, min(config.start, config.resolution))
        rows = math.prod(shape)
        self.register_buffer("links", torch.arange(rows, dtype=torch.int32).view(shape))
        # Fog of optical thickness 0.1 over half the box: svox2's start for boxes of half edge 1.
        self.density_data = nn.Parameter(torch.full((rows, 1), 0.2 / max(domain.extent)))
        self.sh_data = nn.Parameter(torch.zeros(rows, 3 * sh_count(config.sh_degree)))

    def density(self, positions: Float[Tensor, "point 3"]) -> Float[Tensor, " point"]:
        """Density in 1 / local unit."""
        grid, inside = self._grid_positions(positions)
        return self._read(grid, self.density_data)[:, 0].relu() * inside

    def query(self, points: Points) -> FieldSample:
        """Density and colour."""
        grid, inside = self._grid_positions(points.positions)
        density = self._read(grid, self.density_data)[:, 0].relu() * inside
        rgb = sh_colour(self._read(grid, self.sh_data), points.directions, self.config.sh_degree)
        return FieldSample(density, {"rgb": rgb})

    def param_groups(self) -> list[ParamGroup]:
        """Densities and coefficients; rows that no ray met are skipped."""
        edge = max(self.domain.extent) / max(self.links.shape)
        return [
            ParamGroup("density", (self.density_data,), self.config.lr_density / edge, sparse=True),
            ParamGroup("sh", (self.sh_data,), self.config.lr_sh, sparse=True),
        ]

    def penalties(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Total variation between random voxels and their next neighbours (equation 4 of the paper)."""
        if len(self.density_data) == 0 or not (self.config.tv_density or self.config.tv_sh):
            return {}
        rows = torch.randint(len(self.density_data), (self.config.tv_cells,), generator=generator, device=self.device)
        cell = self._voxels()[rows].float()
        corners = torch.cat([cell, *(cell + step for step in torch.eye(3, device=self.device))])
        # Sampling at voxel centres adds to gradients in place; indexing would allocate a dense one at every step.
        edge = max(self.domain.extent) / max(self.links.shape)
        losses = {}
        for name, data, weight in (
            ("tv_density", self.density_data, self.config.tv_density * edge),
            ("tv_sh", self.sh_data, self.config.tv_sh),
        ):
            centre, *neighbours = self._read(corners, data).view(4, len(rows), -1).unbind(0)
            squares = torch.stack([other - centre for other in neighbours]).square().sum(0)
            losses[name] = weight * squares.add(1e-9).sqrt().mean(0).sum()
        return losses

    def refine(self, fraction: float) -> bool:
        """Drop empty voxels and double the resolution when due."""
        due = sum(fraction >= time for time in self.config.doublings)
        target = min(self.config.start * 2**due, self.config.resolution)
        if max(self.links.shape) >= target:
            return False
        self.prune(0.01)
        self.upsample(target)
        return True

    @torch.no_grad()
    def prune(self, thickness: float) -> None:
        """Drop voxels of which no neighbour (26 and itself) has this optical thickness over its own edge."""
        edge = max(self.domain.extent) / max(self.links.shape)
        dense = torch.zeros(self.links.shape, device=self.device)
        dense[tuple(self._voxels().unbind(-1))] = self.density_data[:, 0] * edge
        neighbours = functional.max_pool3d(dense[None, None], 3, 1, 1)[0, 0]
        self.keep(neighbours > thickness)

    @torch.no_grad()
    def keep(self, mask: Bool[Tensor, "x y z"]) -> None:
        """Hold exactly the voxels of a mask of the grid's shape; new ones are 0."""
        old = self.links[mask].long()
        links = torch.full_like(self.links, -1)
        links[mask] = torch.arange(len(old), dtype=torch.int32, device=self.device)
        known = (old >= 0)[:, None]
        for name in ("density_data", "sh_data"):
            replace_tensor(self, name, torch.where(known, self.get_parameter(name)[old.clamp_min(0)], 0.0))
        self.links = links

    @torch.no_grad()
    def upsample(self, resolution: int) -> None:
        """Interpolate to another resolution; voxels whose whole surroundings were empty stay empty."""
        shape = _cells(self.domain, resolution)
        present = (self.links >= 0).float()[None, None]
        mask = functional.interpolate(present, shape, mode="trilinear", align_corners=False)[0, 0] > 0
        ratio = torch.tensor(self.links.shape, device=self.device) / torch.tensor(shape, device=self.device)
        grid = (mask.nonzero() + 0.5) * ratio - 0.5
        for name in ("density_data", "sh_data"):
            old = self.get_parameter(name)
            new = [voxel_sample(part, self.links, old) for part in grid.split(1 << 18)]
            replace_tensor(self, name, torch.cat([old[:0], *new]))
        links = torch.full(shape, -1, dtype=torch.int32, device=self.device)
        links[mask] = torch.arange(len(grid), dtype=torch.int32, device=self.device)
        self.links = links

    @property
    def centres(self) -> Float[Tensor, "row 3"]:
        """Where the voxel of each row is, local frame."""
        return self.domain.local_from_unit((self._voxels() + 0.5) / self._voxels().new_tensor(self.links.shape))

    def _sizes(self) -> list[str]:
        return [" x ".join(map(str, self.links.shape)) + " cells", f"{len(self.density_data)} held"]

    def check(self) -> None:
        """Raise ValueError unless every link is -1 or a row of its own."""
        rows = len(self.density_data)
        present = self.links[self.links >= 0].long()
        if (
            len(self.sh_data) != rows
            or len(present) != rows
            or int(self.links.min()) < -1
            or int(self.links.max()) >= rows
        ):
            raise ValueError(f"voxels: {len(present)} links for {rows} densities and {len(self.sh_data)} colours")
        if not bool((torch.bincount(present, minlength=rows) == 1).all()):
            raise ValueError("voxels: two links name the same row")

    def _voxels(self) -> Tensor:
        """Grid indices of every row, in row order."""
        cells = (self.links >= 0).nonzero()
        order = self.links[tuple(cells.unbind(-1))].long()
        return torch.empty_like(cells).index_copy_(0, order, cells)

    def _grid_positions(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        unit = self.domain.unit_from_local(positions)
        return unit * unit.new_tensor(self.links.shape) - 0.5, ((unit >= 0) & (unit <= 1)).all(-1)

    def _read(self, grid: Tensor, data: nn.Parameter) -> Tensor:
        kept = gradients_in_place([data])
        return voxel_sample(grid, self.links, data, data_grad=None if kept is None else kept[0])

    def _load_from_state_dict(self, state_dict, prefix, *rest) -> None:
        adopt_shapes(self, state_dict, ("links", "density_data", "sh_data"))
        super()._load_from_state_dict(state_dict, prefix, *rest)


def _cells(domain: Domain, longest: int) -> tuple[int, ...]:
    """Cells per axis, cubic as far as whole numbers allow."""
    return tuple(max(2, round(longest * edge / max(domain.extent))) for edge in domain.extent)
