"""A lattice over a box, evaluated in some of its blocks, and the surface where its values change sign."""

from dataclasses import dataclass

import torch

from volkit.geometry.triangles import Triangles
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["Lattice", "extract_known_zero", "extract_zero", "label_components", "lattice_over"]

BLOCK_POINTS = 8  # points a side
MAX_LATTICE_POINTS = 1 << 29  # points: 2 GiB of values


@dataclass(frozen=True)
class Lattice:
    """Points `lower + spacing (i, j, k)`, `shape` of them, in blocks of 8 a side."""

    lower: tuple[float, float, float]
    spacing: float
    shape: tuple[int, int, int]

    @property
    def blocks(self) -> tuple[int, int, int]:
        """Blocks along each axis."""
        x, y, z = (-(-n // BLOCK_POINTS) for n in self.shape)
        return x, y, z

    def blocks_near(self, positions: Float[Tensor, "point 3"], reach: float) -> Bool[Tensor, "x y z"]:
        """Blocks that hold a point, or come within `reach` of one along the axes."""
        marked = torch.zeros(self.blocks, dtype=torch.bool)
        last = torch.tensor(self.blocks) - 1
        for corner in range(27):
            shift = torch.tensor([corner % 3, corner // 3 % 3, corner // 9]) - 1.0
            cell = (positions + reach * shift - positions.new_tensor(self.lower)) / (self.spacing * BLOCK_POINTS)
            inside = ((cell >= 0) & (cell < last + 1)).all(-1)
            marked[tuple(cell[inside].long().minimum(last).unbind(-1))] = True
        return marked

    def points(self, blocks: Int[Tensor, "block 3"]) -> tuple[Int[Tensor, "point 3"], Float[Tensor, "point 3"]]:
        """Indices and positions of all points of some blocks."""
        step = torch.arange(BLOCK_POINTS)
        inner = torch.stack(torch.meshgrid(step, step, step, indexing="ij"), -1).reshape(-1, 3)
        index = (blocks[:, None] * BLOCK_POINTS + inner).reshape(-1, 3)
        index = index[(index < torch.tensor(self.shape)).all(-1)]
        return index, torch.tensor(self.lower) + self.spacing * index

    def fill(
        self, index: Int[Tensor, "point 3"], values: Float[Tensor, " point"], empty: float
    ) -> Float[Tensor, "x y z"]:
        """Values of all points: the given ones, and `empty` elsewhere."""
        volume = torch.full(self.shape, empty)
        volume[tuple(index.unbind(-1))] = values
        return volume


def lattice_over(lower: Tensor, upper: Tensor, cells: int) -> Lattice:
    """A lattice with `cells` intervals along the longest side of a box; ValueError where memory would not hold it."""
    spacing = float((upper - lower).max()) / cells
    if not spacing > 0:
        raise ValueError("mesh: the scene has no extent; look at it with volkit inspect")
    x, y, z = (int(n) + 2 for n in ((upper - lower) / spacing).ceil().tolist())
    if x * y * z > MAX_LATTICE_POINTS:
        raise ValueError(f"mesh: {cells} cells a side make {x * y * z:,} lattice points; give fewer")
    return Lattice(tuple(lower.tolist()), spacing, (x, y, z))


def extract_known_zero(lattice: Lattice, index: Int[Tensor, "point 3"], values: Float[Tensor, " point"]) -> Triangles:
    """As `extract_zero`, with values at some points only; there is no surface next to the others."""
    known = lattice.fill(index, torch.ones(len(index)), 0.0)
    return extract_zero(lattice, lattice.fill(index, values, -1.0), known > 0)


def extract_zero(
    lattice: Lattice, values: Float[Tensor, "x y z"], known: Bool[Tensor, "x y z"] | None = None
) -> Triangles:
    """Marching cubes (Lewiner et al. 2003, scikit-image) of the zero set of values, positive inside.

    ValueError where there is no surface.
    """
    from skimage.measure import marching_cubes

    if known is not None:
        # so that all corners of a cube are known, at whichever of them the mask is read
        known = torch.nn.functional.max_pool3d((~known)[None, None].float(), 3, 1, 1)[0, 0] == 0
    evaluated = values if known is None else values[known]
    if not bool((evaluated > 0).any()) or not bool((evaluated < 0).any()):
        raise ValueError("mesh: the scene has no surface; look at it with volkit render")
    found = marching_cubes(
        values.numpy(), 0.0, mask=None if known is None else known.numpy(), gradient_direction="ascent"
    )
    vertices, faces = torch.from_numpy(found[0].copy()), torch.from_numpy(found[1].astype("int64"))
    return Triangles(torch.tensor(lattice.lower) + lattice.spacing * vertices, faces)


def label_components(mask: Bool[Tensor, "x y z"]) -> Int[Tensor, "x y z"]:
    """Labels, from 1, of the connected components of a mask (6-neighbourhood); 0 outside it."""
    from scipy.ndimage import label

    numbers = torch.zeros(mask.shape, dtype=torch.int32)
    label(mask.numpy(), output=numbers.numpy())
    return numbers
