"""The score rung: what a diffusion prior says about pictures of whatever sits for them."""

from volkit.distill.score.around import Around
from volkit.distill.score.field_sitter import FieldSitter
from volkit.distill.score.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.distill.score.penalties import Penalties
from volkit.distill.score.rung import Asked, ScoreRung, wish
from volkit.distill.score.sitter import Sitter, Sitting
from volkit.distill.score.splat_sitter import SplatSitter
from volkit.distill.score.student import ScoreStudent

__all__ = [
    "Around",
    "Asked",
    "CriticLearner",
    "FieldSitter",
    "Learner",
    "Penalties",
    "PersonalLearner",
    "RatioLearner",
    "ScoreRung",
    "ScoreStudent",
    "Sitter",
    "Sitting",
    "SplatSitter",
    "wish",
]
