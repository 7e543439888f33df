"""Tensor factorisations of a teacher: TensoRF's VM and CP, density and appearance, from one dense lattice."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn import functional

from volkit.distillation.exact.factor import CP_AXES, VM_AXES, Block, cp_factors, vm_factors
from volkit.distillation.exact.matter import OPAQUE_ALPHA, LatticeMatter, matter_on, shown_colours
from volkit.representations.field import Field
from volkit.representations.tensor_cp import TensorCP
from volkit.representations.tensor_vm import TensorVM, grid_size
from volkit.typing import Float, Tensor

__all__ = ["divided", "start_tensor_cp", "start_tensor_vm"]

LATTICE = 128  # nodes along an edge of a cube; the factors are interpolated to the student's final size
CLEAR = 0.02  # opacity that empty space may add up to along the domain's diagonal
VM_SWEEPS, VM_COLOUR_SWEEPS = 8, 4
CP_SWEEPS, CP_COLOUR_SWEEPS = 40, 15
# How much a node counts, against 1 for one at a surface where alpha changes fastest with the feature:
EMPTY_WEIGHT = 0.1
BURIED_WEIGHT = 0.02  # opaque all around: never seen, but not to be hollow
FAINT_WEIGHT = 0.05

Solver = Callable[[Block, int], list[Tensor]]


@dataclass(frozen=True)
class Scheme:
    """How a kind of factorisation is solved and stored: axes and names of its factors, `{}` stands for the part."""

    axes: tuple[tuple[int, ...], ...]
    names: tuple[str, ...]
    density: Solver
    colour: Solver


@torch.no_grad()
def start_tensor_vm(teacher: Field, student: TensorVM, generator: torch.Generator) -> None:
    """Planes and lines by weighted alternating least squares from the singular vectors of each mode."""
    names = tuple(f"{{}}_{'line' if len(axes) == 1 else 'plane'}.{place // 2}" for place, axes in enumerate(VM_AXES))
    scheme = Scheme(
        VM_AXES,
        names,
        lambda block, rank: vm_factors(block, rank, VM_SWEEPS),
        lambda block, rank: vm_factors(block, rank, VM_COLOUR_SWEEPS),
    )
    _start(teacher, student, scheme, copies=3)


@torch.no_grad()
def start_tensor_cp(teacher: Field, student: TensorCP, generator: torch.Generator) -> None:
    """Lines by alternating least squares from random ones."""
    scheme = Scheme(
        CP_AXES,
        tuple(f"{{}}_line.{place}" for place in range(3)),
        lambda block, rank: cp_factors(block, rank, CP_SWEEPS, generator),
        lambda block, rank: cp_factors(block, rank, CP_COLOUR_SWEEPS, generator),
    )
    _start(teacher, student, scheme, copies=1)


def _start(teacher: Field, student: TensorVM | TensorCP, scheme: Scheme, copies: int) -> None:
    """Density features, and appearance on a basis from principal components where shading is by harmonics.

    The product of factors that are interpolated linearly is the trilinear interpolation of their product at the
    nodes, so a fit at the nodes is a fit everywhere. With network shading appearance keeps its own start.
    """
    config = student.config
    sizes = grid_size(student.domain, min(LATTICE, config.resolution))
    axes = tuple(torch.linspace(0.0, 1.0, size, device=teacher.device) for size in sizes)
    matter = matter_on(teacher, student, axes, 1.0 / (torch.tensor(sizes, device=teacher.device) - 1.0))
    window = _window(matter)
    final = grid_size(student.domain, config.resolution)
    terms = scheme.density(_density_block(student, matter, window), config.density_components)
    tensors = _stored("density", terms, scheme, (window, sizes, final))
    if config.shading == "SH":
        colours = shown_colours(teacher, matter)
        terms, basis = _appearance(colours, matter, window, scheme, config.appearance_components)
        tensors |= _stored("app", terms, scheme, (window, sizes, final))
        tensors["basis_mat.weight"] = basis.repeat(1, copies)
    student.load_state_dict({**student.state_dict(), **tensors})


def _window(matter: LatticeMatter) -> tuple[slice, ...]:
    """The box of nodes around all matter: outside it all factors are zero."""
    _, ny, nz = matter.sizes
    nodes = matter.nodes
    if not len(nodes):
        return (slice(None),) * 3
    place = torch.stack([nodes // (ny * nz), nodes // nz % ny, nodes % nz])
    first, last = place.amin(1).tolist(), place.amax(1).tolist()
    return tuple(slice(low, high + 1) for low, high in zip(first, last, strict=True))


def _dense(
    matter: LatticeMatter, values: Tensor, window: tuple[slice, ...], elsewhere: float
) -> Float[Tensor, "x y z"]:
    nx, ny, nz = matter.sizes
    dense = values.new_full((nx * ny * nz,), elsewhere)
    dense[matter.nodes] = values
    return dense.view(nx, ny, nz)[window]


def _density_block(student: TensorVM | TensorCP, matter: LatticeMatter, window: tuple[slice, ...]) -> Block:
    """Bounds on the density feature f, `sigma = scale softplus(f + shift)`, and weights in alpha space.

    Near a surface f is known and counts as `(d alpha / d f)^2`. In empty space it must stay below a bound, inside a
    solid above one. A node in space that was never near matter counts as empty.
    """
    config = student.config
    scale = config.density_scale / student.domain.unit_edge
    feature = lambda density: _softplus_inverse(density / scale) - config.density_shift  # noqa: E731
    edge = (-torch.log1p(-matter.alpha) / matter.density.clamp_min(1e-9)).clamp_min(1e-9)
    clear = float(feature(torch.tensor(CLEAR / student.domain.diagonal)))
    known = feature(matter.density.clamp_min(1e-9))
    opaque = matter.alpha > OPAQUE_ALPHA
    enough = feature(-torch.log(torch.tensor(1.0 - OPAQUE_ALPHA)) / edge)
    low = torch.where(opaque, enough, torch.where(matter.solid, known, -torch.inf))
    high = torch.where(opaque, torch.inf, torch.where(matter.solid, known, clear))
    slope = edge * (1.0 - matter.alpha) * scale * torch.sigmoid(known + config.density_shift)
    steepness = slope.square() / slope.square().amax().clamp_min(1e-12) if len(slope) else slope
    weight = torch.where(opaque, 1.0, steepness.clamp(FAINT_WEIGHT, 1.0))
    weight = torch.where(matter.shown, weight, torch.where(matter.solid, BURIED_WEIGHT, EMPTY_WEIGHT))
    return Block(
        _dense(matter, low, window, -torch.inf),
        _dense(matter, high, window, clear),
        _dense(matter, weight, window, EMPTY_WEIGHT),
    )


def _softplus_inverse(values: Tensor) -> Tensor:
    """`x` with `log(1 + exp(x)) = value`, accurate for small and large values alike."""
    return values + torch.log(-torch.expm1(-values))


def _appearance(
    colours: Float[Tensor, "node 27"], matter: LatticeMatter, window: tuple[slice, ...], scheme: Scheme, rank: int
) -> tuple[list[Tensor], Float[Tensor, "27 rank"]]:
    """Factors and basis: each principal component of the coefficients gets terms in proportion to its size.

    With components fixed, every one of them is a scalar fit of its own; nodes far from what is shown weigh nothing.
    """
    told = matter.grown(matter.shown, 1)
    shown = colours[matter.shown]
    _, sizes, basis = torch.linalg.svd(shown.t() @ shown)
    shares = divided(sizes.sqrt(), rank)
    weight = _dense(matter, told.to(colours), window, 0.0)
    parts, columns = [], []
    for component, share in zip(basis, shares, strict=True):
        if share:
            value = _dense(matter, colours @ component, window, 0.0)
            parts.append(scheme.colour(Block(value, value, weight), share))
            columns.append(component[:, None].expand(-1, share))
    return [torch.cat(pieces) for pieces in zip(*parts, strict=True)], torch.cat(columns, 1)


def divided(sizes: Float[Tensor, " component"], rank: int) -> list[int]:
    """Divide `rank` terms among components as seats are divided among parties (Webster's method)."""
    shares = torch.zeros(len(sizes), dtype=torch.long)
    for _ in range(rank):
        shares[(sizes.cpu() / (shares + 0.5)).argmax()] += 1
    return shares.tolist()


def _stored(
    part: str, terms: list[Tensor], scheme: Scheme, shapes: tuple[tuple[slice, ...], tuple[int, ...], tuple[int, ...]]
) -> dict[str, Tensor]:
    """Factors by name: zero outside the window, interpolated to the final size with the ends where they are."""
    window, sizes, final = shapes
    tensors = {}
    for name, axes, term in zip(scheme.names, scheme.axes, terms, strict=True):
        whole = term.new_zeros(len(term), *(sizes[axis] for axis in axes))
        whole[(slice(None), *(window[axis] for axis in axes))] = term
        shape = [final[axis] for axis in axes]
        if len(axes) == 1:
            whole, shape = whole[..., None], [*shape, 1]
        tensors[name.format(part)] = functional.interpolate(whole[None], shape, mode="bilinear", align_corners=True)
    return tensors
