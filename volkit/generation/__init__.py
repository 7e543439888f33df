"""Scenes trained by a diffusion prior: generated from words, refined, retextured, edited."""

from volkit.generation.build import ScoreSettings, build_rung, open_guiding_prior
from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.field_particle import UNKNOWN_OCCUPANCY, FieldParticle
from volkit.generation.from_words import GenerateOptions, generate
from volkit.generation.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.generation.mesh_particle import MeshParticle
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
from volkit.generation.rung import ConditionBuilder, ScoreRung, ScoreTrainee, change_mask
from volkit.generation.splat_particle import SplatParticle

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
    "ScoreRung",
    "ScoreSettings",
    "ScoreTrainee",
    "SplatParticle",
    "build_rung",
    "change_mask",
    "edit_with_prompt",
    "generate",
    "open_guiding_prior",
    "refine",
    "retexture",
]
