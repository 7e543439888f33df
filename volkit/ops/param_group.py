"""Parameters that an optimiser treats alike."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

__all__ = ["ParamGroup"]


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share a rule and a learning rate; `sparse` ones skip rows without gradient (`ops.adam`).

    `muon` is for the matrices of dense layers, which it trains several times faster than `adam` does (`ops.muon`).
    Before each step every value shrinks by `lr * weight_decay` of itself (AdamW, Loshchilov and Hutter 2019).
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr: float
    sparse: bool = False
    weight_decay: float = 0.0
    rule: Literal["adam", "muon"] = "adam"
