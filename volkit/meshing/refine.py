"""Refinement of a mesh: vertices and texels trained together on pictures of the source."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch

from volkit.evaluation.metrics import psnr
from volkit.geometry import Cameras
from volkit.geometry.lens import PINHOLE
from volkit.geometry.triangles import Triangles
from volkit.meshing.large_steps import LargeSteps, undo_flips
from volkit.meshing.paint import Paint
from volkit.meshing.textured import TexturedSurface, to_homogeneous
from volkit.meshing.unwrap import Atlas
from volkit.rendering.renderer import renderer_for
from volkit.representations.representation import Representation
from volkit.typing import Float, Tensor, UInt8

__all__ = ["Refined", "refine_mesh"]

RENDERING_SHARE = 0.35  # of the time, at most, for pictures of the source
HELD_OUT_STRIDE, MAX_HELD_OUT = 10, 8  # every tenth camera is held out, at most eight
WINDOW_MARGIN = 8  # pixels about the surface in training pictures
WARM_UP_STEPS, FINAL_RATE = 20, 0.02  # steps until vertices move at full rate; share of it at the end
EARLY_DECAY, LATE_DECAY = 0.8, 0.95  # of the past weights of texels while vertices move, and once they hardly do
LATE_SHARE = 0.6  # of the training, from which the late decay holds


@dataclass(frozen=True)
class Refined:
    """A refined mesh, and its mean PSNR over white to the source from held-out cameras.

    Attributes:
        atlas: the refined surface.
        texture: the refined texture.
        psnr_before: dB.
        psnr_after: dB.
        views: number of training pictures.
        steps: of training.
    """

    atlas: Atlas
    texture: UInt8[Tensor, "height width 4"]
    psnr_before: float
    psnr_after: float
    views: int
    steps: int


@dataclass(frozen=True)
class TrainingView:
    """A picture of the source from one camera of the surface's frame."""

    camera: Cameras
    rgba: UInt8[Tensor, "height width 4"]  # premultiplied


def refine_mesh(
    scene: Representation,
    atlas: Atlas,
    texture: UInt8[Tensor, "height width 4"],
    cameras: Cameras,
    seconds: float,
    generator: torch.Generator,
    advance: Callable[..., None] = lambda fraction, **values: None,
) -> Refined:
    """Train the vertices and texels of one atlas on pictures of the source, for `seconds`.

    The loss is the squared difference of pictures over black and over white, which compares the source's opacity with
    the surface's coverage, with antialiased outlines (Laine et al. 2020). Vertices take large steps (Nicolet et al.
    2021) without flipped faces, texels least-squares steps. uv, faces and the texels of other atlases stay.

    Args:
        scene: the source.
        atlas: the surface, in the scene's local frame.
        texture: the start.
        cameras: world frame; a tenth of them is held out for PSNR.
        seconds: of rendering and training; the last measurement is not counted.
        generator: on the CPU.
        advance: called with the fraction of the time that is spent, and `psnr`.

    Raises:
        ValueError: no camera sees the surface.
    """
    started = time.perf_counter()
    spent = lambda: (time.perf_counter() - started) / seconds  # noqa: E731
    surface = TexturedSurface.of(atlas, (texture.shape[1], texture.shape[0]))
    cameras = replace(cameras, lens=PINHOLE, coefficients=None)
    held_out = torch.arange(0, len(cameras), HELD_OUT_STRIDE)[:MAX_HELD_OUT]
    held_out_views = [_render_view(scene, cameras[[i]]) for i in held_out.tolist()]
    training_views: list[TrainingView] = []
    for i in torch.randperm(len(cameras), generator=generator).tolist():
        if i not in held_out and (spent() < RENDERING_SHARE or not training_views):
            window = _window(atlas.surface, scene, cameras[[i]])
            training_views += [_render_view(scene, window)] if window else []
            advance(min(spent(), 1.0))
    if not training_views:
        raise ValueError("mesh: no camera sees the surface; look at the scene with volkit render")
    shape, paint = LargeSteps(atlas.surface), Paint(texture)
    before, start, steps = _mean_psnr(surface, shape, paint, held_out_views), spent(), 0
    order: list[int] = []
    while (now := spent()) < 1.0 or not steps:
        order = order or torch.randperm(len(training_views), generator=generator).tolist()
        progress = min((now - start) / max(1.0 - start, 1e-9), 1.0)
        error = _train_step(surface, shape, paint, training_views[order.pop()], progress, steps)
        steps += 1
        advance(min(now, 1.0), psnr=-10.0 * math.log10(max(error, 1e-12)))
    shape.vertices = undo_flips(atlas.surface, shape.vertices).vertices
    after = _mean_psnr(surface, shape, paint, held_out_views)
    moved = Atlas(Triangles(shape.vertices, atlas.surface.faces), atlas.corner_uv)
    surface_texels = atlas.texels(texture.shape[0])[0]
    return Refined(moved, paint.texture(surface_texels), before, after, len(training_views), steps)


def _train_step(
    surface: TexturedSurface, shape: LargeSteps, paint: Paint, view: TrainingView, progress: float, steps: int
) -> float:
    """One training step on one picture; returns its squared error over white before the step."""
    vertices = shape.vertices.detach().requires_grad_()
    drawn = surface.draw(vertices, paint.texels, view.camera)
    residual = view.rgba.float() / 255.0 - drawn.picture
    on_black, on_white = residual[..., :3], residual[..., :3] - residual[..., 3:]
    (on_black.square().sum() + on_white.square().sum()).backward()
    assert vertices.grad is not None
    rate = FINAL_RATE + (1.0 - FINAL_RATE) * 0.5 * (1.0 + math.cos(math.pi * progress))
    shape.step(vertices.grad, rate * min(1.0, (steps + 1) / WARM_UP_STEPS))
    with torch.no_grad():
        paint.observe(drawn, 0.5 * (on_black + on_white), EARLY_DECAY if progress < LATE_SHARE else LATE_DECAY)
    return float(on_white.detach().square().mean())


@torch.no_grad()
def _render_view(scene: Representation, camera: Cameras) -> TrainingView:
    rendered = renderer_for(scene)(scene, camera)
    rgba = torch.cat([rendered.rgb[0], rendered.opacity[0, ..., None]], -1)
    rgba = (rgba.clamp(0.0, 1.0) * 255.0).round().to(torch.uint8).cpu()
    return TrainingView(camera.transform(scene.world_from_local.inverse()), rgba)


def _window(surface: Triangles, scene: Representation, camera: Cameras) -> Cameras | None:
    """The camera of the window that a surface may cover; None where it is out of view."""
    local = camera.transform(scene.world_from_local.inverse())
    points = to_homogeneous(surface.vertices, local)
    ahead = points[:, 2] > 0
    if not bool(ahead.any()):
        return None
    size = camera.size[0]
    low, high = torch.zeros_like(size), size
    if bool(ahead.all()):
        flat = points[:, :2] / points[:, 2:]
        low = (flat.amin(0) - WINDOW_MARGIN).floor().clamp_min(0).minimum(size).long()
        high = (flat.amax(0) + WINDOW_MARGIN).ceil().clamp_min(0).minimum(size).long()
    if bool((high <= low).any()):
        return None
    focal, centre = camera.intrinsics.split(2, -1)
    return replace(camera, intrinsics=torch.cat([focal, centre - low], -1), size=(high - low)[None])


@torch.no_grad()
def _mean_psnr(surface: TexturedSurface, shape: LargeSteps, paint: Paint, held_out_views: list[TrainingView]) -> float:
    """Mean PSNR over white, in dB."""
    found = []
    for view in held_out_views:
        mine = _over_white(surface.draw(shape.vertices, paint.texels, view.camera).picture)
        found.append(psnr(mine, _over_white(view.rgba.float() / 255.0)) or math.inf)
    return sum(found) / len(found)


def _over_white(rgba: Float[Tensor, "height width 4"]) -> Float[Tensor, "height width 3"]:
    return rgba[..., :3] + 1.0 - rgba[..., 3:]
