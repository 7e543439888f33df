"""Scenes trained by a diffusion prior: generated from prompts, refined, retextured, edited."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # command lines need the options alone, and torch takes a second to import
    from volkit.generation.build import ScoreSettings, build_objective, open_guiding_prior
    from volkit.generation.camera_sampler import CameraSampler
    from volkit.generation.field_particle import UNKNOWN_OCCUPANCY, FieldParticle
    from volkit.generation.from_words import GenerateOptions, generate
    from volkit.generation.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
    from volkit.generation.mesh_particle import MeshParticle
    from volkit.generation.objective import ConditionBuilder, ScoreObjective, ScoreTrainee, change_mask
    from volkit.generation.particle import Drawing, Particle
    from volkit.generation.penalties import Penalties
    from volkit.generation.result import GenerationReport, GenerationResult
    from volkit.generation.rework import (
        EditOptions,
        RefineOptions,
        RetextureOptions,
        edit_with_prompt,
        refine,
        retexture,
    )
    from volkit.generation.run import MeshTarget
    from volkit.generation.splat_particle import SplatParticle

# Where each name lives that is imported when it is first used.
PLACES = {
    "volkit.generation.camera_sampler": ("CameraSampler",),
    "volkit.generation.field_particle": ("UNKNOWN_OCCUPANCY", "FieldParticle"),
    "volkit.generation.from_words": ("GenerateOptions", "generate"),
    "volkit.generation.build": ("ScoreSettings", "build_objective", "open_guiding_prior"),
    "volkit.generation.learners": ("CriticLearner", "Learner", "PersonalLearner", "RatioLearner"),
    "volkit.generation.mesh_particle": ("MeshParticle",),
    "volkit.generation.particle": ("Drawing", "Particle"),
    "volkit.generation.penalties": ("Penalties",),
    "volkit.generation.result": ("GenerationReport", "GenerationResult"),
    "volkit.generation.rework": (
        "EditOptions", "RefineOptions", "RetextureOptions", "edit_with_prompt", "refine", "retexture",
    ),
    "volkit.generation.run": ("MeshTarget",),
    "volkit.generation.objective": ("ConditionBuilder", "ScoreObjective", "ScoreTrainee", "change_mask"),
    "volkit.generation.splat_particle": ("SplatParticle",),
}  # fmt: skip
PLACE_OF = {name: place for place, names in PLACES.items() for name in names}

__all__ = [
    "UNKNOWN_OCCUPANCY",
    "CameraSampler",
    "ConditionBuilder",
    "CriticLearner",
    "Drawing",
    "EditOptions",
    "FieldParticle",
    "GenerateOptions",
    "GenerationReport",
    "GenerationResult",
    "Learner",
    "MeshParticle",
    "MeshTarget",
    "Particle",
    "Penalties",
    "PersonalLearner",
    "RatioLearner",
    "RefineOptions",
    "RetextureOptions",
    "ScoreObjective",
    "ScoreSettings",
    "ScoreTrainee",
    "SplatParticle",
    "build_objective",
    "change_mask",
    "edit_with_prompt",
    "generate",
    "open_guiding_prior",
    "refine",
    "retexture",
]


def __getattr__(name: str) -> Any:
    if name not in PLACE_OF:
        raise AttributeError(f"module 'volkit.generation' has no attribute '{name}'")
    return getattr(import_module(PLACE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__
