"""Morton order of lattice cells, in which neighbours have close numbers."""

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from volkit.typing import Int

if TYPE_CHECKING:  # files of splats are put in order without torch
    from volkit.typing import Tensor

__all__ = ["morton_cells", "morton_codes"]

# (shift, mask): runs of 32, 16, 8, 4 and 2 bits are moved apart by twice their length; and the reverse.
MASKS = (0x1F00000000FFFF, 0x1F0000FF0000FF, 0x100F00F00F00F00F, 0x10C30C30C30C30C3, 0x1249249249249249)
SPREAD = tuple(zip((32, 16, 8, 4, 2), MASKS, strict=True))
GATHER = tuple(zip((2, 4, 8, 16, 32), (*MASKS[-2::-1], 0x1FFFFF), strict=True))

Cells = TypeVar("Cells", "Tensor", np.ndarray)


def morton_codes(cells: Cells) -> Cells:
    """Interleave the bits of x, y, z (21 bits each): `x | y << 1 | z << 2`, instant-ngp's order.

    Cells are `[cell, 3]`, a tensor or an array of whole numbers; so are their codes, `[cell]`, in 64 bits.

    Example:
        >>> import torch
        >>> morton_codes(torch.tensor([[1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 0, 0]]))
        tensor([1, 2, 4, 8])
    """
    cells = cells.astype(np.int64) if isinstance(cells, np.ndarray) else cells.long()
    for shift, mask in SPREAD:
        cells = (cells | cells << shift) & mask
    x, y, z = (cells[..., k] for k in range(3))
    return x | y << 1 | z << 2


def morton_cells(codes: "Int[Tensor, ' cell']") -> "Int[Tensor, 'cell 3']":
    """The cells (x, y, z) of Morton codes, tensors: the inverse of `morton_codes`.

    Example:
        >>> import torch
        >>> morton_cells(torch.tensor([3, 8]))
        tensor([[1, 1, 0],
                [2, 0, 0]])
    """
    import torch

    codes = codes.long()
    cells = torch.stack([codes, codes >> 1, codes >> 2], -1) & SPREAD[-1][1]
    for shift, mask in GATHER:
        cells = (cells | cells >> shift) & mask
    return cells
