"""Splats to a picture plane: 3D Gaussians to ellipses (EWA splatting, Zwicker et al. 2001; 3DGS, Kerbl et al. 2023),
surfels to planes in perspective (2DGS, Huang et al. 2024)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch

from volkit.geometry.spherical_harmonics import sh_count
from volkit.ops import backend
from volkit.ops.library import torch_op
from volkit.ops.splat import reference
from volkit.typing import Float, Tensor

__all__ = ["Projected", "SplatView", "project"]

ELLIPSE, SURFEL = 3, 6  # columns of their shapes
CAMERA_SUMS = 15  # gradients of a camera: rotation 9, translation 3, centre 3
# The kernels' own names, in the order of `_project`.
PARAMETERS = ("means", "quaternions", "log_scales", "logits", "sh_dc", "sh_rest", "pose")
SETTINGS = ("fx", "fy", "cx", "cy", "width", "height", "near", "mip")
RESULTS = ("means2d", "shapes", "opacities", "depths", "colours", "extents")
SPLATS_PER_BLOCK = 4096  # splats whose camera gradients are added up together, in an order that no thread changes


class Projected(NamedTuple):
    """Splats on the picture plane; culled ones have extent 0."""

    means: Float[Tensor, "splat 2"]  # pixels
    shapes: Float[Tensor, "splat column"]  # of ellipses or of surfels: see `project`
    opacities: Float[Tensor, " splat"]
    depths: Float[Tensor, " splat"]  # along the viewing axis
    colours: Float[Tensor, "splat 3"]
    extents: Float[Tensor, "splat 2"]  # half width and half height, pixels, of where alpha reaches 1/255


@dataclass(frozen=True)
class SplatView:
    """A pinhole camera as splats need it; differentiable in the pose."""

    camera_from_world: Float[Tensor, "3 4"]
    intrinsics: tuple[float, float, float, float]  # fx, fy, cx, cy in pixels
    size: tuple[int, int]  # width, height
    near: float = 0.01  # nothing nearer is drawn, in the unit of the means; `splat_view` takes a share of the scene
    mip: bool = False  # keep the energy of splats below a pixel (Mip-Splatting, Yu et al. 2024) instead of thickening

    def __post_init__(self) -> None:
        if self.camera_from_world.shape != (3, 4):
            raise ValueError(f"camera_from_world is [3, 4], got {tuple(self.camera_from_world.shape)}")
        if min(self.size) < 1:
            raise ValueError(f"a picture has at least one pixel, got {self.size[0]} x {self.size[1]}")


def project(
    means: Float[Tensor, "splat 3"],
    quaternions: Float[Tensor, "splat 4"],
    log_scales: Float[Tensor, "splat axis"],
    logits: Float[Tensor, " splat"],
    sh_dc: Float[Tensor, "splat 1 3"],
    sh_rest: Float[Tensor, "splat basis 3"],
    view: SplatView,
) -> Projected:
    """Project splats, those with three scales as ellipses, those with two as surfels; the arguments are the columns of
    an INRIA `.ply`, before their activations.

    With R from the unit quaternion (w, x, y, z), S = diag(exp(log_scale)), camera p = W m + t, and J the
    Jacobian of perspective at p: mean = (fx p.x / p.z + cx, fy p.y / p.z + cy), colour = max(0, 0.5 + sh(unit(m -
    camera centre))), opacity = sigmoid(logit).

    An ellipse has covariance = J W R S^2 R^T W^T J^T + 0.3 I, with p.x / p.z in J held within 1.3 pictures as in 3DGS;
    its shape is covariance^-1 (xx, xy, yy) in 1 / pixel^2. For a `mip` view opacity is multiplied by
    sqrt(det(covariance - 0.3 I) / det(covariance)).

    A surfel lies in the plane of its first two axes, p + u a + v b with (a, b) = W R S; its shape is
    d(x, y, ln z) / d(u, v) at its centre, row by row: J (a, b), in pixels, and (a.z, b.z) / p.z. That is the transform
    of 2DGS (equation 8), divided by the centre's depth. `mip` does not apply to surfels, whose filter adds no opacity.

    The extent is where opacity times the Gaussian falls to 1/255 (gsplat's opacity-aware radius):
    sqrt(2 ln(255 opacity) covariance_ii). For a surfel covariance is g^2 J (a, b) (a, b)^T J^T + 0.5 I, which holds
    its filter as well, with g = 1 / (1 - |(a.z, b.z)| / p.z sqrt(2 ln(255 opacity))) for perspective; one that comes
    within a thousandth of the camera's plane may be anywhere. Culled: p.z below near, opacity below 1/255, extents
    off the picture, and what is not finite.

    Differentiable in all parameters and in the view's pose; extents are not. float64 takes the reference.
    """
    columns = (means, quaternions, log_scales, logits, sh_dc, sh_rest)
    _check(columns)
    if backend.choose("splat", *columns, view.camera_from_world) == "reference":
        return Projected(*reference.project(*columns, view))
    settings = [*map(float, view.intrinsics), *map(float, view.size), view.near, float(view.mip)]
    return Projected(*_project(*columns, view.camera_from_world, settings))


@torch_op("splat_project")
def _project(
    means: Tensor,
    quaternions: Tensor,
    log_scales: Tensor,
    logits: Tensor,
    sh_dc: Tensor,
    sh_rest: Tensor,
    pose: Tensor,
    settings: list[float],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    count = means.shape[0]
    results = _empty(means, log_scales)
    columns = [t.contiguous() for t in (means, quaternions, log_scales, logits, sh_dc, sh_rest, pose)]
    if count:
        _run("splat_project", columns, settings, **dict(zip(RESULTS, results, strict=True)))
    return results


def _empty(means: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    new, (count, axes) = means.new_empty, log_scales.shape
    return new(count, 2), new(count, _columns(axes)), new(count), new(count), new(count, 3), new(count, 2)


def _columns(axes: int) -> int:
    return ELLIPSE if axes == 3 else SURFEL


@_project.register_fake
def _(means, quaternions, log_scales, logits, sh_dc, sh_rest, pose, settings):
    return _empty(means, log_scales)


def _run(op: str, columns: list[Tensor], settings: list[float], **memory: Tensor | None) -> None:
    """Call a kernel with the fields of SplatProjectTask."""
    splats, axes = columns[2].shape
    backend.run(
        op,
        columns[0],
        **dict(zip(PARAMETERS, columns, strict=True)),
        splats=splats,
        axes=axes,
        rest=columns[5].shape[1],
        **dict(zip(SETTINGS, settings, strict=True)),
        **memory,
    )


@torch_op("splat_project_grad", gradient=False)
def _project_grad(
    grads: list[Tensor], columns: list[Tensor], settings: list[float], wants_pose: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    grads_in = [torch.empty_like(t) for t in columns[:6]]
    count = columns[0].shape[0]
    sums = columns[0].new_zeros(-(-count // SPLATS_PER_BLOCK) if wants_pose else 0, CAMERA_SUMS)
    if count:
        grads_out = {f"{name}_grad": grad.contiguous() for name, grad in zip(RESULTS[:5], grads, strict=True)}
        into = {f"{name}_grad": grad for name, grad in zip(PARAMETERS[:6], grads_in, strict=True)}
        _run("splat_project_grad", columns, settings, **grads_out, **into, camera_sums=sums if wants_pose else None)
    return (*grads_in, _pose_grad(sums, columns[6]))  # pyright: ignore[reportReturnType]


def _pose_grad(sums: Tensor, pose: Tensor) -> Tensor:
    """Gradient of [W | t]: what reached them, and what reached the camera centre -W^T t."""
    rotation, translation, centre = sums.double().sum(0).split([9, 3, 3])
    rotation = rotation.view(3, 3) - pose[:, 3].double()[:, None] * centre
    translation = translation - pose[:, :3].double() @ centre
    return torch.cat([rotation, translation[:, None]], 1).to(pose.dtype)


@_project_grad.register_fake
def _(grads, columns, settings, wants_pose):
    return tuple(torch.empty_like(t) for t in columns)


def _keep(ctx, inputs, output) -> None:
    ctx.save_for_backward(*(t.contiguous() for t in inputs[:7]))
    ctx.settings = inputs[7]
    ctx.set_materialize_grads(True)
    ctx.mark_non_differentiable(output[5])


def _backward(ctx, *grads):
    grads_in = _project_grad(list(grads[:5]), list(ctx.saved_tensors), ctx.settings, ctx.needs_input_grad[6])
    return (*(f if needed else None for f, needed in zip(grads_in, ctx.needs_input_grad, strict=False)), None)


_project.register_autograd(_backward, setup_context=_keep)


def _check(columns: tuple[Tensor, ...]) -> None:
    count = columns[0].shape[0]
    axes = 2 if columns[2].shape[-1] == 2 else 3
    needed = ((count, 3), (count, 4), (count, axes), (count,), (count, 1, 3), (count, columns[5].shape[1], 3))
    names = ("means", "quaternions", "log_scales", "logits", "sh_dc", "sh_rest")
    for name, tensor, shape in zip(names, columns, needed, strict=True):
        if tuple(tensor.shape) != shape:
            raise ValueError(f"splats: {name} must be {list(shape)}, got {list(tensor.shape)}")
    if columns[5].shape[1] not in [sh_count(degree) - 1 for degree in range(5)]:
        raise ValueError(f"splats: sh_rest has {columns[5].shape[1]} functions; 0, 3, 8, 15 or 24 make a degree")
