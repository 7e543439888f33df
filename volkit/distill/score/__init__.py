"""The score rung: what a diffusion prior says about pictures of whatever learns."""

from volkit.distill.score.around import Around
from volkit.distill.score.field_subject import OPEN, FieldSubject
from volkit.distill.score.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.distill.score.penalties import Penalties
from volkit.distill.score.rung import Asked, ScoreRung, wish
from volkit.distill.score.splat_subject import SplatSubject
from volkit.distill.score.student import ScoreStudent
from volkit.distill.score.subject import Drawing, Subject

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
