"""`generate`: a scene from a prompt, by score distillation."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from volkit.choices import ParameterError
from volkit.devices import on_device
from volkit.evaluation.evaluate import Preview
from volkit.generation.build import MethodChoice, ScoreSettings, build_objective, open_guiding_prior, sample_cameras
from volkit.generation.options import GenerateChoices
from volkit.generation.result import GenerationResult, Request, prior_name, progress_of, training_run
from volkit.generation.run import GenerationRun, MeshTarget, generate_mesh
from volkit.generation.scenes import build_particle, build_scene, coarse_first, pixels_across
from volkit.geometry import Domain
from volkit.guidance.prompts import Prompts
from volkit.progress import Progress
from volkit.representations import RepresentationConfig, SplatsConfig
from volkit.training.loop import Budget
from volkit.training.run import Callback, TrainingRun, make_generator

__all__ = ["GenerateOptions", "generate"]

DEFAULT_KIND = "hash_grid"  # and that of the field which a mesh is extracted from


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(GenerateChoices):
    """Options of `generate`.

    Example:
        >>> GenerateOptions(particles=2, score=ScoreSettings(views=2)).particles
        2
    """

    score: ScoreSettings = field(default_factory=ScoreSettings)
    """Options of score distillation."""
    preview: Preview | None = None
    """Function that receives pictures of four sides from time to time."""


DEFAULTS = GenerateOptions()


def generate(
    prompt: str,
    method: MethodChoice = "sds",
    prior: str | Path | Any = None,
    *,
    to: str | RepresentationConfig | MeshTarget = DEFAULT_KIND,
    options: GenerateOptions = DEFAULTS,
    budget: str | int | Budget | TrainingRun = "2m",
    seed: int | torch.Generator = 0,
    callback: Callback | Progress | None = None,
) -> GenerationResult:
    """Generate a scene from a prompt by score distillation.

    Args:
        prompt: a description of the scene.
        method: a name of `volkit.methods`, one of its functions (the guidance scale is then at most the one that the
            prior recommends), or a user's `Method`, which is used as it is.
        prior: folder or hub name of a diffusers pipeline; a user's object with `eps`, `encode`, `decode` and
            `schedule` (`volkit.guidance.Prior`; its `embed`, `views`, `size` and `defaults` are used if it has them);
            None: the bundled toy prior, which knows simple solids in eight colours.
        to: a kind (`hash_grid`, `voxels`, `splats`, ...) in sizes that suit the prior, a config, or `mesh` or a
            `MeshTarget`: meshes are extracted from a field, then refined.
        options: particles, splats, how the prior is used.
        budget: `2m` of optimisation, `2000` steps, or a `TrainingRun` that also names the file of unfinished work.
        seed: a number or a CPU generator; the same seed and steps on one machine give the same scene.
        callback: called with a `StepEvent` after every step; a `Progress` receives phases and notes as well.

    Returns:
        Scenes in the prior's cube about the origin, +Z up, front -Y, on the prior's device.

    Raises:
        ValueError: unknown kind or method, a prompt that the prior does not know, or a field that is still fog when its
            mesh is to be extracted.
        FloatingPointError: the prior's predictions are not finite.

    Example:
        >>> made = generate("a red ball", "sds", to="splats", budget=200)  # doctest: +SKIP
        >>> made.scene, made.report.steps  # doctest: +SKIP
    """
    Prompts(prompt)  # refuses an empty one
    if options.particles < 1:
        raise ParameterError(f"particles {options.particles}: give at least 1")
    progress, generator, settings = progress_of(callback), make_generator(seed), options.score
    request = Request(prompt, method, prior_name(prior), settings)
    with progress.phase("prior"):
        guiding = open_guiding_prior(prior)
    device, half = guiding.schedule.alpha.device, guiding.defaults.half
    to = MeshTarget() if to == "mesh" else to
    mesh, kind = (to, DEFAULT_KIND) if isinstance(to, MeshTarget) else (None, to)
    sampler = sample_cameras(guiding, settings)
    sampler = sampler if kind == "splats" or isinstance(kind, SplatsConfig) else coarse_first(sampler)
    max_splats = options.max_splats
    scenes = [build_scene(kind, sampler, half, generator, max_splats).to(device) for _ in range(options.particles)]
    generator = on_device(generator, device)
    objective = build_objective(prompt, method, guiding, settings, sampler, generator)
    particles = [build_particle(scene, settings.penalties, generator, max_splats) for scene in scenes]
    run, training = GenerationRun(objective, options.preview), training_run(budget)
    with progress.phase(f"generate {scenes[0].config.kind if mesh is None else 'mesh'}"):
        if mesh is None:
            return request.result(run.train(particles, training, progress), objective)
        across = pixels_across(sampler, Domain.cube(half))
        return request.result(generate_mesh(run, particles, training, mesh, across, progress), objective)
