"""`refine`, `retexture` and `edit_with_prompt`: existing assets trained by a prior."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from volkit.devices import on_device
from volkit.evaluation.evaluate import Evaluator, Preview
from volkit.evaluation.metrics import psnr
from volkit.generation.build import MethodChoice, ScoreSettings, build_objective, open_guiding_prior, sample_cameras
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.objective import ScoreObjective, change_mask
from volkit.generation.options import EditChoices, RefineChoices, RetextureChoices
from volkit.generation.result import GenerationResult, Request, prior_name, progress_of, training_run
from volkit.generation.run import GenerationRun
from volkit.generation.start_asset import (
    StartAsset,
    asset_particle,
    denoise_if_noisy,
    place_of,
    with_uv,
)
from volkit.guidance.prior import GuidingPrior
from volkit.guidance.prompts import Prompts
from volkit.io.meshes.asset import Asset
from volkit.progress import Progress
from volkit.representations import Mesh, Representation
from volkit.training.loop import Budget
from volkit.training.run import Callback, TrainingRun, make_generator
from volkit.typing import Bool, Tensor

__all__ = ["EditOptions", "RefineOptions", "RetextureOptions", "edit_with_prompt", "refine", "retexture"]

FREE_SHARE = 0.6  # of the run in which the vertices of a mesh move, if they may
EVALUATION_SIZE = 128  # pixels, the longest side of pictures by which the result is compared with the source
UNTOUCHED_VIEWS, UNTOUCHED_DRAWS = 8, 16  # pictures, and draws of noise, by which untouched pixels are found
UNTOUCHED_MARGIN = 3  # pixels about a change that do not count as untouched
GREY_LEVEL = 128  # of 255, with which retexturing starts

PriorChoice = str | Path | Any
BudgetChoice = str | int | Budget | TrainingRun


@dataclass(frozen=True, kw_only=True)
class RefineOptions(RefineChoices):
    """Options of `refine`.

    Example:
        >>> RefineOptions(geometry="locked").denoise
        True
    """

    denoise: bool = True
    """Whether noisy vertices of a mesh, as in a poor scan, are smoothed first, unless its geometry is locked."""
    score: ScoreSettings = field(default_factory=ScoreSettings)
    """Options of score distillation."""
    preview: Preview | None = None
    """Function that receives pictures of four sides from time to time."""


@dataclass(frozen=True, kw_only=True)
class RetextureOptions(RetextureChoices):
    """Options of `retexture`.

    Example:
        >>> RetextureOptions(texture=2048, keep=True).texture
        2048
    """

    score: ScoreSettings = field(default_factory=ScoreSettings)
    """Options of score distillation."""
    preview: Preview | None = None
    """Function that receives pictures of four sides from time to time."""


@dataclass(frozen=True, kw_only=True)
class EditOptions(EditChoices):
    """Options of `edit_with_prompt`.

    Example:
        >>> EditOptions(preserve=10.0).method
        'dds'
    """

    method: MethodChoice = "dds"
    """Score distillation method that uses the source's prompt."""
    score: ScoreSettings = field(default_factory=ScoreSettings)
    """Options of score distillation."""
    preview: Preview | None = None
    """Function that receives pictures of four sides from time to time."""


REFINE, RETEXTURE, EDIT = RefineOptions(), RetextureOptions(), EditOptions()


def refine(
    asset: Representation | Asset,
    prompt: str,
    method: MethodChoice = "sds",
    prior: PriorChoice = None,
    *,
    options: RefineOptions = REFINE,
    budget: BudgetChoice = "2m",
    seed: int | torch.Generator = 0,
    callback: Callback | Progress | None = None,
) -> GenerationResult:
    """Refine an asset under a description of it: sharper colours, a cleaner shape, the same object.

    Only the low-noise times of the diffusion are used, which add detail and keep the shape. The asset stays in its own
    frame and is scaled to the prior's cube for its pictures. Further arguments and errors are those of `generate`.

    Args:
        asset: field, splats, mesh or `Asset`; it stays as it is.
        prompt: a description of it.
        options: whether vertices may move, denoising, texture size, control pictures.

    Returns:
        The refined copy; `report.measures["psnr_to_source"]` is its PSNR to the asset, in dB.

    Example:
        >>> locked = RefineOptions(geometry="locked")
        >>> better = refine(volkit.load("scan.glb"), "a red ball", options=locked)  # doctest: +SKIP
    """
    Prompts(prompt)
    progress, generator, score = progress_of(callback), make_generator(seed), options.score
    guiding = _open_prior(prior, progress)
    scene, before = _copy_twice(asset, guiding.schedule.alpha.device)
    place = place_of(before, guiding.defaults.half)
    free = FREE_SHARE if options.geometry == "free" else 0.0
    if isinstance(scene, Mesh):
        scene = denoise_if_noisy(scene, progress) if free and options.denoise else scene
        scene = with_uv(scene, options.texture, progress)
    generator = on_device(generator, scene.device)
    particle = asset_particle(scene, score.penalties, generator, free, options.pbr)
    start = StartAsset(before, place=place, control=options.control_kind)
    sampler = sample_cameras(guiding, score)
    objective = build_objective(prompt, method, guiding, score, sampler, generator, start)
    run = GenerationRun(objective, options.preview).late()
    with progress.phase(f"refine {scene.config.kind}"):
        done = run.train([particle], training_run(budget), progress)
    evaluator = Evaluator.of_scene(before, EVALUATION_SIZE, make_generator(0))
    measures = {"psnr_to_source": evaluator.mean_psnr(done.scenes[0], progress)}
    return Request(prompt, method, prior_name(prior), score).result(done, run.objective, measures)


def retexture(
    mesh: Mesh | Asset,
    prompt: str,
    method: MethodChoice = "sds",
    prior: PriorChoice = None,
    *,
    options: RetextureOptions = RETEXTURE,
    budget: BudgetChoice = "2m",
    seed: int | torch.Generator = 0,
    callback: Callback | Progress | None = None,
) -> GenerationResult:
    """Generate a new texture of a mesh from words: vertices, faces and uv stay; a mesh without uv is unwrapped.

    Further arguments and errors are those of `generate`; TypeError for a scene that is no mesh.

    Args:
        mesh: a mesh or an `Asset`; it stays as it is.
        prompt: a description of the textured object.
        options: whether to start from its colours, texture size, control pictures.

    Returns:
        The retextured copy.

    Example:
        >>> painted = retexture(volkit.load("teapot.glb"), "a blue teapot", budget="5m")  # doctest: +SKIP
    """
    Prompts(prompt)
    progress, generator, score = progress_of(callback), make_generator(seed), options.score
    guiding = _open_prior(prior, progress)
    scene, before = _copy_twice(mesh, guiding.schedule.alpha.device)
    if not isinstance(scene, Mesh):
        raise TypeError(f"a {scene.config.kind} is no mesh: only meshes are painted; extract one first")
    scene = with_uv(scene, options.texture, progress)
    scene = scene if options.keep else _paint_grey(scene)
    place = place_of(before, guiding.defaults.half)
    generator = on_device(generator, scene.device)
    start = StartAsset(before, place=place, control=options.control_kind)
    objective = build_objective(prompt, method, guiding, score, sample_cameras(guiding, score), generator, start)
    with progress.phase("retexture"):
        particle = MeshParticle(scene, score.penalties, 0.0, generator if options.pbr else None)
        done = GenerationRun(objective, options.preview).train([particle], training_run(budget), progress)
    return Request(prompt, method, prior_name(prior), score).result(done, objective)


def edit_with_prompt(
    asset: Representation | Asset,
    before: str,
    after: str,
    prior: PriorChoice = None,
    *,
    options: EditOptions = EDIT,
    budget: BudgetChoice = "2m",
    seed: int | torch.Generator = 0,
    callback: Callback | Progress | None = None,
) -> GenerationResult:
    """Edit an asset by words: change it from one description to another, and preserve the rest.

    Delta denoising: the gradient under `before` for the source is subtracted from that under `after` for the edited
    asset, at the same noise. Pixels for which the prior calls for no change are held at the source. Further arguments
    and errors are those of `generate`.

    Args:
        asset: field, splats, mesh or `Asset`; it stays as it is.
        before: a description of the asset.
        after: a description of the edited asset.
        options: method, weight of preservation, whether vertices may move.

    Returns:
        The edited copy; `report.measures` has `psnr_untouched` (dB between before and after, of the pixels that should
        not change, None where there are none), `share_untouched` of pixels, and `psnr_to_source`.

    Example:
        >>> made = edit_with_prompt(scene, "a red ball", "a green ball", budget="5m")  # doctest: +SKIP
    """
    for words in (before, after):
        Prompts(words)
    progress, generator, score = progress_of(callback), make_generator(seed), options.score
    guiding = _open_prior(prior, progress)
    scene, source = _copy_twice(asset, guiding.schedule.alpha.device)
    start = StartAsset(source, before, place_of(source, guiding.defaults.half), options.preserve, options.control_kind)
    scene = with_uv(scene, options.texture, progress) if isinstance(scene, Mesh) else scene
    generator = on_device(generator, scene.device)
    particle = asset_particle(scene, score.penalties, generator, FREE_SHARE if options.free else 0.0)
    objective = build_objective(after, options.method, guiding, score, sample_cameras(guiding, score), generator, start)
    with progress.phase(f"edit {scene.config.kind}"):
        done = GenerationRun(objective, options.preview).train([particle], training_run(budget), progress)
    measures = measure_untouched(objective, start, done.scenes[0])
    return Request(after, options.method, prior_name(prior), score).result(done, objective, measures)


@torch.no_grad()
def measure_untouched(objective: ScoreObjective, start: StartAsset, after: Representation) -> dict[str, float | None]:
    """PSNR between before and after over eight views, of pixels for which the prior calls for no change, and of all.

    The change is the mean of the prior's gradients at the source over many draws of noise.
    """
    size = int(objective.sampler.draw(1, 1.0, make_generator(0)).size[0, 0])
    cameras = objective.sampler.turntable(UNTOUCHED_VIEWS, size)
    white = torch.ones(UNTOUCHED_VIEWS, 3, device=objective.generator.device)
    before_pictures = start.pictures(cameras, white)
    after_pictures = replace(start, scene=after).pictures(cameras, white)
    conditions, draws = objective.conditions.build(cameras, white), make_generator(0)
    gradients = [objective.guidance.step(before_pictures, conditions, draws).gradient for _ in range(UNTOUCHED_DRAWS)]
    untouched = ~_dilate(change_mask(torch.stack(gradients).mean(0)) > 0.5)
    restored = after_pictures.clone()
    restored[~untouched] = before_pictures[~untouched]
    share = float(untouched.double().mean())
    flat = [picture.flatten(0, 1).clamp(0.0, 1.0).cpu() for picture in (restored, after_pictures, before_pictures)]
    of_untouched, of_all = psnr(flat[0], flat[2]), psnr(flat[1], flat[2])
    # The restored pixels are equal and would raise the PSNR of the others.
    corrected = None if of_untouched is None or not share else of_untouched + 10.0 * torch.tensor(share).log10().item()
    return {"psnr_untouched": corrected, "share_untouched": share, "psnr_to_source": of_all}


def _open_prior(prior: PriorChoice, progress: Progress) -> GuidingPrior:
    with progress.phase("prior"):
        return open_guiding_prior(prior)


def _copy_twice(asset: Representation | Asset, device: torch.device) -> tuple[Representation, Representation]:
    """Two copies on a device, one to train and a frozen one as the source; neither shares anything with the asset."""
    source = asset.mesh if isinstance(asset, Asset) else asset
    scene, before = (source.with_().to(device) for _ in range(2))
    return scene, before.requires_grad_(False)


def _dilate(mask: Bool[Tensor, "view height width"]) -> Bool[Tensor, "view height width"]:
    width = 2 * UNTOUCHED_MARGIN + 1
    return functional.max_pool2d(mask[:, None].float(), width, 1, UNTOUCHED_MARGIN)[:, 0] > 0


def _paint_grey(mesh: Mesh) -> Mesh:
    """The mesh with a grey texture of the same transparency."""
    texture = torch.where(torch.arange(4, device=mesh.device) < 3, GREY_LEVEL, mesh.texture).to(torch.uint8)
    grey = Mesh.of(
        mesh.vertices, mesh.faces, corner_uv=mesh.corner_uv, texture=texture, metallic_roughness=mesh.metallic_roughness
    )
    return grey.placed_like(mesh)
