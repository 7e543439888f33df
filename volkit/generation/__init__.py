"""The score rung: what a diffusion prior says about pictures of whatever learns."""

from volkit.generation.camera_sampler import Around
from volkit.generation.field_subject import OPEN, FieldSubject
from volkit.generation.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.generation.penalties import Penalties
from volkit.generation.rung import Asked, ScoreRung, wish
from volkit.generation.splat_subject import SplatSubject
from volkit.generation.student import ScoreStudent
from volkit.generation.subject import Drawing, Subject

__all__ = [
    "OPEN",
    "Around",
    "Asked",
    "CriticLearner",
    "Drawing",
    "FieldSubject",
    "Learner",
    "Penalties",
    "PersonalLearner",
    "RatioLearner",
    "ScoreRung",
    "ScoreStudent",
    "SplatSubject",
    "Subject",
    "wish",
]
