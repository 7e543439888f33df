"""Tensor factorisations of a teacher (TensoRF's VM and CP) by alternating least squares on a dense lattice."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.distillation.lattice import OPAQUE_ALPHA, LatticeSamples, sample_on_lattice, surface_colours
from volkit.representations.field import Field
from volkit.representations.tensor_cp import TensorCP
from volkit.representations.tensor_vm import TensorVM, grid_size
from volkit.typing import Float, Tensor

__all__ = [
    "CP_AXES",
    "VM_AXES",
    "Block",
    "apportion",
    "cp_factors",
    "initialise_tensor_cp",
    "initialise_tensor_vm",
    "vm_factors",
]

# Axes of each factor, in the order of TensoRF's tensors: a plane (v, u) and its line for VM (matMode, vecMode).
VM_AXES = ((1, 0), (2,), (2, 0), (1,), (2, 1), (0,))
CP_AXES = ((2,), (1,), (0,))
MODES = ((1, 0, 2), (2, 0, 1), (2, 1, 0))  # a plane's axes and its line's
RIDGE = 1e-4  # of the mean diagonal: texels without a weighted node stay near zero


@dataclass(frozen=True)
class Block:
    """Bounds of the values at the nodes of a dense lattice: `low <= f <= high`.

    `low = high` where one value is right; one side is infinite where more is as good as enough (empty space, the inside
    of a solid). The squared distance to the bounds is majorised by the squared distance to the projection of the
    present value on them, so that every half step is linear least squares and none increases the error.

    Attributes:
        low: lower bounds.
        high: upper bounds.
        weight: of the nodes, at most 1.
    """

    low: Float[Tensor, "x y z"]
    high: Float[Tensor, "x y z"]
    weight: Float[Tensor, "x y z"]

    def nearest(self, values: Float[Tensor, "x y z"]) -> Float[Tensor, "x y z"]:
        """The projection of values on the bounds."""
        return torch.minimum(torch.maximum(values, self.low), self.high)


def vm_factors(block: Block, rank: int, sweeps: int) -> list[Float[Tensor, "rank ..."]]:
    """`f(x) = sum_m sum_r plane_mr(x_u, x_v) line_mr(x_w)` over the three modes, `rank` terms each; by `VM_AXES`.

    Starts from the truncated singular value decomposition of every mode's residual, then solves for planes and lines
    alternately. Planes and lines of a term have equal mean squares.
    """
    value = torch.zeros_like(block.low)
    parts, terms = [], []
    for mode in MODES:
        residual = _unfold(block.nearest(value) - value, mode)
        lines = torch.linalg.eigh(residual.t() @ residual).eigenvectors[:, -rank:]
        lines = functional.pad(lines, (0, rank - lines.shape[1]))
        terms.append((residual @ lines, lines))
        parts.append(_fold(residual @ lines @ lines.t(), value.shape, mode))
        value = value + parts[-1]
    for _ in range(sweeps):
        for place, mode in enumerate(MODES):
            others = value - parts[place]
            planes, lines = terms[place]
            weight = _unfold(block.weight, mode)
            target = weight * _unfold(block.nearest(value) - others, mode)
            planes = _weighted_solve(weight, target, lines)
            value = others + _fold(planes @ lines.t(), value.shape, mode)
            target = weight * _unfold(block.nearest(value) - others, mode)
            lines = _weighted_solve(weight.t(), target.t(), planes)
            terms[place] = (planes, lines)
            parts[place] = _fold(planes @ lines.t(), value.shape, mode)
            value = others + parts[place]
    sizes, out = block.low.shape, []
    for (v, u, _), term in zip(MODES, terms, strict=True):
        planes, lines = _balance(list(term))
        out += [planes.t().reshape(-1, sizes[v], sizes[u]), lines.t()]
    return out


def cp_factors(block: Block, rank: int, sweeps: int, generator: torch.Generator) -> list[Float[Tensor, "rank size"]]:
    """`f(x) = sum_r z_r(x_2) y_r(x_1) x_r(x_0)`: by `CP_AXES`, equal mean squares within a term.

    Every node enters each solve with `value + weight (nearest - value)`, so that all lines of an axis share one
    normal matrix, the elementwise product of two Gram matrices.
    """
    sizes = block.low.shape
    lines = [torch.rand(size, rank, generator=generator, device=generator.device).to(block.low) for size in sizes]
    value = torch.zeros_like(block.low)
    for _ in range(sweeps):
        for axis in range(3):
            first, second = (lines[k] for k in range(3) if k != axis)
            target = value + block.weight * (block.nearest(value) - value)
            unfolded = target.movedim(axis, 0).reshape(sizes[axis], -1)
            pairs = (first[:, None] * second).reshape(-1, rank)
            gram = (first.t() @ first) * (second.t() @ second)
            lines[axis] = _solve(gram, unfolded @ pairs)
            folded = (lines[axis] @ pairs.t()).view(sizes[axis], len(first), len(second))
            value = folded.movedim(0, axis)
    balanced = _balance(lines)
    return [balanced[axis].t() for (axis,) in CP_AXES]


def _unfold(dense: Tensor, mode: tuple[int, int, int]) -> Tensor:
    """[v u, w]: one row for each texel of the plane."""
    return dense.permute(mode).reshape(-1, dense.shape[mode[2]])


def _fold(matrix: Tensor, shape: torch.Size, mode: tuple[int, int, int]) -> Tensor:
    dense = matrix.view([shape[axis] for axis in mode])
    return dense.permute([mode.index(axis) for axis in range(3)])


def _weighted_solve(weight: Tensor, target: Tensor, factor: Tensor) -> Tensor:
    """Rows x_n that minimise `sum_k weight_nk (wanted_nk / weight_nk - x_n . factor_k)^2`."""
    rank = factor.shape[1]
    row, column = torch.triu_indices(rank, rank, device=factor.device)
    half = weight @ (factor[:, row] * factor[:, column])
    gram = half.new_empty(len(half), rank, rank)
    gram[:, row, column] = half
    gram[:, column, row] = half
    return _solve(gram, target @ factor)


def _solve(gram: Tensor, right: Tensor) -> Tensor:
    """Rows x with `gram x = right`, one Gram matrix for all rows or one a row; with a small ridge."""
    diagonal = gram.diagonal(dim1=-2, dim2=-1)
    ridge = RIDGE * diagonal.mean() + 1e-12  # 1e-12: for a block without weights
    lower = torch.linalg.cholesky(gram + ridge * torch.eye(gram.shape[-1], device=gram.device, dtype=gram.dtype))
    if gram.dim() == 2:
        return torch.cholesky_solve(right.t(), lower).t()
    return torch.cholesky_solve(right[..., None], lower)[..., 0]


def _balance(factors: list[Tensor]) -> list[Tensor]:
    """The same products with equal mean squares of a term's factors, so that one learning rate suits them all."""
    sizes = torch.stack([factor.square().mean(0).sqrt() for factor in factors])
    mean = sizes.clamp_min(1e-12).log().mean(0).exp()
    return [factor * (mean / size.clamp_min(1e-12)) for factor, size in zip(factors, sizes, strict=True)]


LATTICE = 128  # nodes along an edge of a cube; the factors are interpolated to the student's final size
MAX_EMPTY_OPACITY = 0.02  # of empty space along the domain's diagonal
VM_SWEEPS, VM_COLOUR_SWEEPS = 8, 4
CP_SWEEPS, CP_COLOUR_SWEEPS = 40, 15
# Weights of nodes, relative to 1 at a surface where alpha changes fastest with the feature:
EMPTY_WEIGHT = 0.1
BURIED_WEIGHT = 0.02  # opaque neighbours: invisible, but not to become hollow
FAINT_WEIGHT = 0.05

Solver = Callable[[Block, int], list[Tensor]]


@dataclass(frozen=True)
class Factorisation:
    """A kind of factorisation.

    Attributes:
        axes: of each factor.
        names: of each factor's tensor; `{}` stands for `density` or `app`.
        density: solver of the density.
        colour: solver of a component of the colour.
    """

    axes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    density: Solver
    colour: Solver


@torch.no_grad()
def initialise_tensor_vm(teacher: Field, student: TensorVM, generator: torch.Generator) -> None:
    """Initialise planes and lines by weighted alternating least squares from the singular vectors of each mode."""
    names = tuple(f"{{}}_{'line' if len(axes) == 1 else 'plane'}.{place // 2}" for place, axes in enumerate(VM_AXES))
    form = Factorisation(
        VM_AXES,
        names,
        lambda block, rank: vm_factors(block, rank, VM_SWEEPS),
        lambda block, rank: vm_factors(block, rank, VM_COLOUR_SWEEPS),
    )
    _initialise(teacher, student, form, copies=3)


@torch.no_grad()
def initialise_tensor_cp(teacher: Field, student: TensorCP, generator: torch.Generator) -> None:
    """Initialise lines by alternating least squares from random ones."""
    form = Factorisation(
        CP_AXES,
        tuple(f"{{}}_line.{place}" for place in range(3)),
        lambda block, rank: cp_factors(block, rank, CP_SWEEPS, generator),
        lambda block, rank: cp_factors(block, rank, CP_COLOUR_SWEEPS, generator),
    )
    _initialise(teacher, student, form, copies=1)


def _initialise(teacher: Field, student: TensorVM | TensorCP, form: Factorisation, copies: int) -> None:
    """Density features, and appearance on a basis from principal components where shading is by harmonics.

    The product of factors that are interpolated linearly is the trilinear interpolation of their product at the
    nodes, so a fit at the nodes is a fit everywhere. With network shading appearance keeps its random initialisation.
    """
    config = student.config
    sizes = grid_size(student.domain, min(LATTICE, config.resolution))
    axes = tuple(torch.linspace(0.0, 1.0, size, device=teacher.device) for size in sizes)
    matter = sample_on_lattice(teacher, student, axes, 1.0 / (torch.tensor(sizes, device=teacher.device) - 1.0))
    window = _window(matter)
    final = grid_size(student.domain, config.resolution)
    terms = form.density(_density_block(student, matter, window), config.density_components)
    tensors = _named_tensors("density", terms, form, (window, sizes, final))
    if config.shading == "SH":
        colours = surface_colours(teacher, matter)
        terms, basis = _appearance(colours, matter, window, form, config.appearance_components)
        tensors |= _named_tensors("app", terms, form, (window, sizes, final))
        tensors["basis_mat.weight"] = basis.repeat(1, copies)
    student.load_state_dict({**student.state_dict(), **tensors})


def _window(matter: LatticeSamples) -> tuple[slice, ...]:
    """The box of nodes around all matter, outside of which all factors are zero."""
    _, ny, nz = matter.sizes
    nodes = matter.nodes
    if not len(nodes):
        return (slice(None),) * 3
    place = torch.stack([nodes // (ny * nz), nodes // nz % ny, nodes % nz])
    first, last = place.amin(1).tolist(), place.amax(1).tolist()
    return tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))


def _dense(
    matter: LatticeSamples, values: Tensor, window: tuple[slice, ...], elsewhere: float
) -> Float[Tensor, "x y z"]:
    nx, ny, nz = matter.sizes
    dense = values.new_full((nx * ny * nz,), elsewhere)
    dense[matter.nodes] = values
    return dense.view(nx, ny, nz)[window]


def _density_block(student: TensorVM | TensorCP, matter: LatticeSamples, window: tuple[slice, ...]) -> Block:
    """Bounds on the density feature f, `sigma = scale softplus(f + shift)`, and weights in alpha space.

    Near a surface f is known and its weight is `(d alpha / d f)^2`. In empty space f has an upper bound, inside a solid
    a lower one. Nodes that are not near matter are empty.
    """
    config = student.config
    scale = config.density_scale / student.domain.unit_edge
    feature = lambda density: _softplus_inverse(density / scale) - config.density_shift  # noqa: E731
    edge = (-torch.log1p(-matter.alpha) / matter.density.clamp_min(1e-9)).clamp_min(1e-9)
    clear = float(feature(torch.tensor(MAX_EMPTY_OPACITY / student.domain.diagonal)))
    known = feature(matter.density.clamp_min(1e-9))
    opaque = matter.alpha > OPAQUE_ALPHA
    enough = feature(-torch.log(torch.tensor(1.0 - OPAQUE_ALPHA)) / edge)
    low = torch.where(opaque, enough, torch.where(matter.solid, known, -torch.inf))
    high = torch.where(opaque, torch.inf, torch.where(matter.solid, known, clear))
    slope = edge * (1.0 - matter.alpha) * scale * torch.sigmoid(known + config.density_shift)
    steepness = slope.square() / slope.square().amax().clamp_min(1e-12) if len(slope) else slope
    weight = torch.where(opaque, 1.0, steepness.clamp(FAINT_WEIGHT, 1.0))
    weight = torch.where(matter.visible, weight, torch.where(matter.solid, BURIED_WEIGHT, EMPTY_WEIGHT))
    return Block(
        _dense(matter, low, window, -torch.inf),
        _dense(matter, high, window, clear),
        _dense(matter, weight, window, EMPTY_WEIGHT),
    )


def _softplus_inverse(values: Tensor) -> Tensor:
    """`x` with `log(1 + exp(x)) = value`, accurate for small and large values alike."""
    return values + torch.log(-torch.expm1(-values))


def _appearance(
    colours: Float[Tensor, "node 27"],
    matter: LatticeSamples,
    window: tuple[slice, ...],
    form: Factorisation,
    rank: int,
) -> tuple[list[Tensor], Float[Tensor, "27 rank"]]:
    """Factors and basis: principal components of the coefficients, with terms in proportion to their size.

    With fixed components each is a separate scalar fit; nodes that are not near a visible one have weight 0.
    """
    weighted = matter.dilate(matter.visible, 1)
    visible = colours[matter.visible]
    _, sizes, basis = torch.linalg.svd(visible.t() @ visible)
    shares = apportion(sizes.sqrt(), rank)
    weight = _dense(matter, weighted.to(colours), window, 0.0)
    parts, columns = [], []
    for component, share in zip(basis, shares, strict=True):
        if share:
            value = _dense(matter, colours @ component, window, 0.0)
            parts.append(form.colour(Block(value, value, weight), share))
            columns.append(component[:, None].expand(-1, share))
    return [torch.cat(pieces) for pieces in zip(*parts, strict=True)], torch.cat(columns, 1)


def apportion(sizes: Float[Tensor, " component"], rank: int) -> list[int]:
    """Apportion `rank` terms to components in proportion to their sizes (Webster's method of seats in parliaments)."""
    shares = torch.zeros(len(sizes), dtype=torch.long)
    for _ in range(rank):
        shares[(sizes.cpu() / (shares + 0.5)).argmax()] += 1
    return shares.tolist()


def _named_tensors(
    part: str,
    terms: list[Tensor],
    form: Factorisation,
    shapes: tuple[tuple[slice, ...], tuple[int, ...], tuple[int, ...]],
) -> dict[str, Tensor]:
    """Factors by name: zero outside the window, interpolated to the final size with aligned corners."""
    window, sizes, final = shapes
    tensors = {}
    for name, axes, term in zip(form.names, form.axes, terms, strict=True):
        whole = term.new_zeros(len(term), *(sizes[axis] for axis in axes))
        whole[(slice(None), *(window[axis] for axis in axes))] = term
        shape = [final[axis] for axis in axes]
        if len(axes) == 1:
            whole, shape = whole[..., None], [*shape, 1]
        tensors[name.format(part)] = functional.interpolate(whole[None], shape, mode="bilinear", align_corners=True)
    return tensors
