"""The score rung: what a diffusion prior says about pictures of whatever learns."""

from volkit.generation.camera_sampler import CameraSampler
from volkit.generation.field_subject import UNKNOWN_OCCUPANCY, FieldSubject
from volkit.generation.learners import CriticLearner, Learner, PersonalLearner, RatioLearner
from volkit.generation.penalties import Penalties
from volkit.generation.rung import ConditionBuilder, ScoreRung, change_mask
from volkit.generation.splat_subject import SplatSubject
from volkit.generation.student import ScoreStudent
from volkit.generation.subject import Drawing, Subject

__all__ = [
    "UNKNOWN_OCCUPANCY",
    "CameraSampler",
    "ConditionBuilder",
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
    "change_mask",
]
