"""Parameters that change shape: by refinement, by pruning, or by loading a file that was refined or pruned."""

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import nn
from torch.nn import functional

from volkit.geometry import Domain
from volkit.typing import Float, Tensor

__all__ = [
    "adopt_shapes",
    "factor",
    "gradients_in_place",
    "grid_size",
    "refined_resolution",
    "replace_tensor",
    "resample",
    "sum_terms",
    "total_variation",
]


def adopt_shapes(module: nn.Module, tensors: Mapping[str, Tensor], names: Iterable[str]) -> None:
    """Give the named parameters and buffers (by first part of the name) the shapes of the tensors to be loaded.

    The number of axes must agree; anything else is left for `load_state_dict` to refuse.
    """
    allowed = set(names)
    for name, own in [*module.named_parameters(), *module.named_buffers()]:
        new = tensors.get(name)
        if name.split(".")[0] in allowed and new is not None and new.shape != own.shape and new.dim() == own.dim():
            replace_tensor(module, name, torch.empty_like(new, dtype=own.dtype, device=own.device))


def replace_tensor(module: nn.Module, name: str, data: Tensor) -> None:
    """Replace a parameter or buffer by one of any shape.

    The parameter itself is replaced, since graphs that are still alive refer to the shape of the old one.
    """
    parent, _, leaf = name.rpartition(".")
    owner = module.get_submodule(parent)
    data = data.detach().contiguous(memory_format=torch.channels_last if data.dim() == 4 else torch.contiguous_format)
    setattr(owner, leaf, nn.Parameter(data) if leaf in owner._parameters else data)


def factor(shape: tuple[int, int, int, int], values: Tensor) -> nn.Parameter:
    """A plane `[1, C, height, width]` or line `[1, C, length, 1]`, channels last in memory as sampling reads it."""
    return nn.Parameter(values.view(shape).contiguous(memory_format=torch.channels_last))


def resample(module: nn.Module, name: str, size: tuple[int, int]) -> None:
    """Interpolate a plane or line `[1, C, height, width]` to another size; its ends stay (TensoRF's upsampling)."""
    old = module.get_parameter(name).detach()
    if old.shape[2:] != size:
        replace_tensor(module, name, functional.interpolate(old, size, mode="bilinear", align_corners=True))


def gradients_in_place(parameters: Sequence[Tensor]) -> list[Tensor] | None:
    """The gradient buffers of parameters, if all exist, to which sampling may add in place; else None.

    This saves allocating and clearing a tensor of the parameters' size in every call.
    """
    grads = [parameter.grad for parameter in parameters if parameter.requires_grad]
    if not torch.is_grad_enabled() or len(grads) < len(parameters):
        return None
    present = [grad for grad in grads if grad is not None]
    return present if len(present) == len(parameters) else None


def grid_size(domain: Domain, resolution: int) -> tuple[int, int, int]:
    """Cells per axis so that cubic voxels number about `resolution`^3 (TensoRF's N_to_reso)."""
    x, y, z = domain.extent
    edge = (x * y * z) ** (1 / 3) / resolution
    nx, ny, nz = (max(2, int(length / edge + 1e-6)) for length in domain.extent)
    return nx, ny, nz


def refined_resolution(start: int, end: int, times: tuple[float, ...], fraction: float) -> int:
    """Resolution due at a fraction of the budget: a geometric sequence from `start` to `end` over the given times."""
    done = sum(fraction >= time for time in times)
    return end if done == len(times) else round(start * (end / start) ** (done / max(1, len(times))))


def total_variation(part: Float[Tensor, "1 channel _ _"]) -> Tensor:
    """Mean squared difference of neighbouring texels (TensoRF's TVLoss)."""
    total = (part[:, :, 1:] - part[:, :, :-1]).square().mean()
    return total + (part[..., 1:] - part[..., :-1]).square().mean() if part.shape[3] > 1 else total


def sum_terms(terms: Iterable[Tensor]) -> Tensor:
    """Sum of scalar tensors."""
    return torch.stack(list(terms)).sum()
