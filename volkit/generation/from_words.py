"""Words become a scene, by what a diffusion prior says about its pictures."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from volkit.choices import ParameterError
from volkit.devices import on_device
from volkit.evaluation.evaluate import Preview
from volkit.generation.guided import MethodChoice, ScoreSettings, build_rung, open_guiding_prior, sample_cameras
from volkit.generation.options import GenerateChoices
from volkit.generation.result import GenerationResult, Request, prior_name, progress_of, training_run
from volkit.generation.run import GenerationRun, MeshTarget, generate_mesh
from volkit.generation.scenes import build_particle, coarse_first, pixels_across, scene_of
from volkit.geometry import Domain
from volkit.guidance.prompts import Prompts
from volkit.progress import Progress
from volkit.representations import RepresentationConfig, SplatsConfig
from volkit.training.loop import Budget
from volkit.training.run import Callback, TrainingRun, make_generator

__all__ = ["GenerateOptions", "generate"]

FIRST_KIND = "hash_grid"  # what a mesh is at first


@dataclass(frozen=True, kw_only=True)
class GenerateOptions(GenerateChoices):
    """How words become a scene, beside the rule."""

    score: ScoreSettings = field(default_factory=ScoreSettings)
    """How the prior is asked."""
    preview: Preview | None = None
    """Is given pictures of four sides, now and then."""


DEFAULTS = GenerateOptions()


def generate(
    prompt: str,
    method: MethodChoice = "sds",
    prior: str | Path | Any = None,
    *,
    to: str | RepresentationConfig | MeshTarget = FIRST_KIND,
    options: GenerateOptions = DEFAULTS,
    budget: str | int | Budget | TrainingRun = "2m",
    seed: int | torch.Generator = 0,
    callback: Callback | Progress | None = None,
) -> GenerationResult:
    """Make a scene of words by score distillation: the prior says how each picture of it should change.

    Args:
        prompt: what it shall be.
        method: a name of `volkit.methods`, one of its functions (the guidance scale is then at most what the prior
            advises), or a `Method`, a composition of one's own that is used as it is.
        prior: folder or hub name of a diffusers pipeline; one's own object with `eps`, `encode`, `decode` and
            `schedule` (`volkit.guidance.Prior`; its `embed`, `views`, `size` and `advice` count where it has them);
            None: the toy prior that comes along, which knows simple solids in eight colours.
        to: a kind (`hash_grid`, `voxels`, `splats`, ...) in sizes that suit the prior, a config of one's own, or `mesh`
            or a `MeshTarget`: a mesh is a field first.
        options: particles, splats, how the prior is asked.
        budget: `2m` of optimisation, `2000` steps, or a `TrainingRun` that also says where unfinished work is kept.
        seed: a number or a CPU generator; same seed and steps on one machine, same scene.
        callback: called with a `StepEvent` after every step; a `Progress` hears of phases and notes as well.

    Returns:
        Scenes in the prior's cube about the origin, +Z up, front -Y, on the prior's device.

    Raises:
        ValueError: no such kind or method, words that the prior never saw, a field that is still fog when it is to
            become a mesh.
        FloatingPointError: the prior's answers are not finite.

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
        asked = open_guiding_prior(prior)
    device, half = asked.schedule.alpha.device, asked.advice.half
    to = MeshTarget() if to == "mesh" else to
    mesh, kind = (to, FIRST_KIND) if isinstance(to, MeshTarget) else (None, to)
    around = sample_cameras(asked, settings)
    around = around if kind == "splats" or isinstance(kind, SplatsConfig) else coarse_first(around)
    most = options.max_splats
    scenes = [scene_of(kind, around, half, generator, most).to(device) for _ in range(options.particles)]
    generator = on_device(generator, device)
    rung = build_rung(prompt, method, asked, settings, around, generator)
    particles = [build_particle(scene, settings.penalties, generator, most) for scene in scenes]
    run, training = GenerationRun(rung, options.preview), training_run(budget)
    with progress.phase(f"generate {scenes[0].config.kind if mesh is None else 'mesh'}"):
        if mesh is None:
            return request.result(run.train(particles, training, progress), rung)
        across = pixels_across(around, Domain.cube(half))
        return request.result(generate_mesh(run, particles, training, mesh, across, progress), rung)
