"""Assets that exist already learn from a prior: refined, painted anew, or edited by words."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from volkit.devices import on_device
from volkit.evaluation.evaluate import Evaluator, Preview
from volkit.evaluation.metrics import psnr
from volkit.generation.guided import MethodChoice, ScoreSettings, build_rung, open_guiding_prior, sample_cameras
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.options import EditChoices, RefineChoices, RetextureChoices
from volkit.generation.result import GenerationResult, Request, prior_name, progress_of, training_run
from volkit.generation.run import GenerationRun
from volkit.generation.rung import ScoreRung, change_mask
from volkit.generation.start_asset import StartAsset
from volkit.generation.started import asset_particle, denoise_if_noisy, ensure_uv, place_of, with_uv
from volkit.guidance.prior import GuidingPrior
from volkit.guidance.prompts import Prompts
from volkit.io.meshes.asset import Asset
from volkit.progress import Progress
from volkit.representations import Mesh, Representation
from volkit.training.loop import Budget
from volkit.training.run import Callback, TrainingRun, make_generator
from volkit.typing import Bool, Tensor

__all__ = ["EditOptions", "RefineOptions", "RetextureOptions", "edit_with_prompt", "refine", "retexture"]

FREE_SHARE = 0.6  # of the run in which the vertices of a mesh may move, where they may
EVALUATION_SIZE = 128  # pixels, the longest side of pictures by which what was made is compared with what there was
UNTOUCHED_VIEWS, UNTOUCHED_DRAWS = 8, 16  # pictures, and draws of noise, of the measure of what was not to be touched
UNTOUCHED_MARGIN = 3  # pixels about what is to change that may change with it
GREY = 128  # of 255, that a repainted texture begins with

PriorChoice = str | Path | Any
BudgetChoice = str | int | Budget | TrainingRun


@dataclass(frozen=True, kw_only=True)
class RefineOptions(RefineChoices):
    """How an asset is refined."""

    denoise: bool = True
    """Smooth vertices first that are mostly noise, as in a poor scan; those of locked meshes never are."""
    score: ScoreSettings = field(default_factory=ScoreSettings)
    """How the prior is asked."""
    preview: Preview | None = None
    """Is given pictures of four sides, now and then."""


@dataclass(frozen=True, kw_only=True)
class RetextureOptions(RetextureChoices):
    """How a mesh is painted."""

    score: ScoreSettings = field(default_factory=ScoreSettings)
    """How the prior is asked."""
    preview: Preview | None = None
    """Is given pictures of four sides, now and then."""


@dataclass(frozen=True, kw_only=True)
class EditOptions(EditChoices):
    """How an asset is edited."""

    method: MethodChoice = "dds"
    """Rule of score distillation that asks about the words of what there is, too."""
    score: ScoreSettings = field(default_factory=ScoreSettings)
    """How the prior is asked."""
    preview: Preview | None = None
    """Is given pictures of four sides, now and then."""


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
    """Make a better asset of one that is there: sharper colours, cleaner shape, the same thing under its words.

    The prior is asked at the late times of its diffusion alone, where it says how to finish what it sees. The asset
    stays in its own frame and is shown to the prior as large as that expects things. Arguments are those of `generate`.

    Returns:
        The refined copy; `report.measures["psnr_to_source"]` says how far it is from the asset, in dB.

    Example:
        >>> locked = RefineOptions(geometry="locked")
        >>> better = refine(volkit.load("scan.glb"), "a red ball", options=locked)  # doctest: +SKIP
    """
    Prompts(prompt)
    progress, generator, score = progress_of(callback), make_generator(seed), options.score
    asked = _opened(prior, progress)
    scene, before = _copies(asset, asked.schedule.alpha.device)
    place = place_of(before, asked.advice.half)
    free = FREE_SHARE if options.geometry == "free" else 0.0
    scene = denoise_if_noisy(scene, progress) if free and options.denoise else scene
    scene = ensure_uv(scene, options.texture)
    generator = on_device(generator, scene.device)
    particle = asset_particle(scene, score.penalties, generator, free, options.pbr)
    start = StartAsset(before, place=place, control=options.control_kind)
    around = sample_cameras(asked, score)
    rung = build_rung(prompt, method, asked, score, around, generator, start)
    run = GenerationRun(rung, options.preview).late()
    with progress.phase(f"refine {scene.config.kind}"):
        done = run.train([particle], training_run(budget), progress)
    evaluator = Evaluator.of_scene(before, EVALUATION_SIZE, make_generator(0))
    measures = {"psnr_to_source": evaluator.mean_psnr(done.scenes[0], progress)}
    return Request(prompt, method, prior_name(prior), score).result(done, run.rung, measures)


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
    """Paint a mesh by words: vertices, faces and uv stay, and a mesh without uv is unwrapped.

    Arguments are those of `generate`. TypeError for what is no mesh.

    Example:
        >>> painted = retexture(volkit.load("teapot.glb"), "a blue teapot", budget="5m")  # doctest: +SKIP
    """
    Prompts(prompt)
    progress, generator, score = progress_of(callback), make_generator(seed), options.score
    asked = _opened(prior, progress)
    scene, before = _copies(mesh, asked.schedule.alpha.device)
    if not isinstance(scene, Mesh):
        raise TypeError(f"a {scene.config.kind} is no mesh: only meshes are painted; extract one first")
    scene = with_uv(scene, options.texture)
    scene = scene if options.keep else _grey(scene)
    place = place_of(before, asked.advice.half)
    generator = on_device(generator, scene.device)
    start = StartAsset(before, place=place, control=options.control_kind)
    rung = build_rung(prompt, method, asked, score, sample_cameras(asked, score), generator, start)
    with progress.phase("retexture"):
        particle = MeshParticle(scene, score.penalties, 0.0, generator if options.pbr else None)
        done = GenerationRun(rung, options.preview).train([particle], training_run(budget), progress)
    return Request(prompt, method, prior_name(prior), score).result(done, rung)


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
    """Change what an asset is by words, and nothing else of it: `before` says what it is, `after` what it shall be.

    Delta denoising: what the prior says about the asset under the first words is taken off what it says about the
    edited one under the second, at the same noise. What it does not ask to change is held.

    Returns:
        The edited copy; `report.measures` tells `psnr_untouched` (dB between before and after of the pixels that were
        not to change, None where there are none), `share_untouched` of pixels, and `psnr_to_source`.

    Example:
        >>> made = edit_with_prompt(scene, "a red ball", "a green ball", budget="5m")  # doctest: +SKIP
    """
    for words in (before, after):
        Prompts(words)
    progress, generator, score = progress_of(callback), make_generator(seed), options.score
    asked = _opened(prior, progress)
    scene, old = _copies(asset, asked.schedule.alpha.device)
    start = StartAsset(old, before, place_of(old, asked.advice.half), options.preserve, options.control_kind)
    scene = ensure_uv(scene, options.texture)
    generator = on_device(generator, scene.device)
    particle = asset_particle(scene, score.penalties, generator, FREE_SHARE if options.free else 0.0)
    rung = build_rung(after, options.method, asked, score, sample_cameras(asked, score), generator, start)
    with progress.phase(f"edit {scene.config.kind}"):
        done = GenerationRun(rung, options.preview).train([particle], training_run(budget), progress)
    measures = measure_untouched(rung, start, done.scenes[0])
    return Request(after, options.method, prior_name(prior), score).result(done, rung, measures)


@torch.no_grad()
def measure_untouched(rung: ScoreRung, start: StartAsset, after: Representation) -> dict[str, float | None]:
    """PSNR between before and after, over eight views, of the pixels that the prior never asked to change, and of all.

    What it asks is the mean of its gradients about the asset as it was, over many draws of noise.
    """
    size = int(rung.around.draw(1, 1.0, make_generator(0)).size[0, 0])
    cameras = rung.around.turntable(UNTOUCHED_VIEWS, size)
    white = torch.ones(UNTOUCHED_VIEWS, 3, device=rung.generator.device)
    old, new = start.pictures(cameras, white), replace(start, scene=after).pictures(cameras, white)
    conditions, draws = rung.asked.build(cameras, white), make_generator(0)
    gradients = [rung.guidance.step(old, conditions, draws).gradient for _ in range(UNTOUCHED_DRAWS)]
    kept = ~_grown(change_mask(torch.stack(gradients).mean(0)) > 0.5)
    held = new.clone()
    held[~kept] = old[~kept]
    share = float(kept.double().mean())
    flat = [picture.flatten(0, 1).clamp(0.0, 1.0).cpu() for picture in (held, new, old)]
    of_kept, of_all = psnr(flat[0], flat[2]), psnr(flat[1], flat[2])
    # Pixels that count as equal would make the mean better than it is.
    corrected = None if of_kept is None or not share else of_kept + 10.0 * torch.tensor(share).log10().item()
    return {"psnr_untouched": corrected, "share_untouched": share, "psnr_to_source": of_all}


def _opened(prior: PriorChoice, progress: Progress) -> GuidingPrior:
    with progress.phase("prior"):
        return open_guiding_prior(prior)


def _copies(asset: Representation | Asset, device: torch.device) -> tuple[Representation, Representation]:
    """What learns and what there was, on a device; neither shares anything with what was given."""
    given = asset.mesh if isinstance(asset, Asset) else asset
    scene, before = (given.with_().to(device) for _ in range(2))
    return scene, before.requires_grad_(False)


def _grown(mask: Bool[Tensor, "view height width"]) -> Bool[Tensor, "view height width"]:
    width = 2 * UNTOUCHED_MARGIN + 1
    return functional.max_pool2d(mask[:, None].float(), width, 1, UNTOUCHED_MARGIN)[:, 0] > 0


def _grey(mesh: Mesh) -> Mesh:
    """The same without its colours; what is transparent stays so."""
    texture = torch.where(torch.arange(4, device=mesh.device) < 3, GREY, mesh.texture).to(torch.uint8)
    grey = Mesh.of(
        mesh.vertices, mesh.faces, corner_uv=mesh.corner_uv, texture=texture, metallic_roughness=mesh.metallic_roughness
    )
    return grey.placed_like(mesh)
