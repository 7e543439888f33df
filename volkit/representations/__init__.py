"""Parameters and answers: what a scene can be made of. The union below is the whole plug-in mechanism."""

from typing import get_args

from volkit.representations.field import Field, FieldSample
from volkit.representations.hash_grid import HashGrid, HashGridConfig
from volkit.representations.representation import Capture, ParamGroup, Representation

__all__ = [
    "REPRESENTATIONS",
    "Capture",
    "Field",
    "FieldSample",
    "HashGrid",
    "HashGridConfig",
    "ParamGroup",
    "Representation",
    "RepresentationConfig",
]

RepresentationConfig = HashGridConfig
REPRESENTATIONS: dict[str, type[RepresentationConfig]] = {
    config.kind: config for config in get_args(RepresentationConfig) or (RepresentationConfig,)
}
