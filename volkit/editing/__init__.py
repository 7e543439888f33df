"""Edits of scenes: actions, which are frozen values, and `edit`, which applies them to a copy."""

from volkit.editing.action import Action, edit
from volkit.editing.cut import Crop, Erase
from volkit.editing.decimate import Decimate
from volkit.editing.filter import DropFloaters, KeepOpacity, KeepSize, SetDegree
from volkit.editing.merge import Merge, merge
from volkit.editing.move import Fit, Ground, Move

__all__ = [
    "Action",
    "Crop",
    "Decimate",
    "DropFloaters",
    "Erase",
    "Fit",
    "Ground",
    "KeepOpacity",
    "KeepSize",
    "Merge",
    "Move",
    "SetDegree",
    "edit",
    "merge",
]
