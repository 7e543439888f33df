"""Groups of parameters with one learning rate and one update rule."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

__all__ = ["ParamGroup"]


@dataclass(frozen=True)
class ParamGroup:
    """Parameters that share an update rule and a learning rate.

    Attributes:
        name: unique within a trainee.
        parameters: the tensors that learn.
        lr: learning rate.
        sparse: whether rows without gradient are skipped (`ops.adam`).
        weight_decay: before each step every value shrinks by `lr * weight_decay` of itself (AdamW, Loshchilov and
            Hutter 2019).
        rule: `adam`, or `muon` for the matrices of dense layers, which it trains several times faster (`ops.muon`).
    """

    name: str
    parameters: tuple[nn.Parameter, ...]
    lr: float
    sparse: bool = False
    weight_decay: float = 0.0
    rule: Literal["adam", "muon"] = "adam"
