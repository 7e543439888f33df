"""The verbs with native twins: each op has a plain torch reference, a CPU kernel and a CUDA kernel."""

from volkit.ops.adam import AdamRule, adam_
from volkit.ops.fused_mlp import MlpShape, fused_mlp
from volkit.ops.hash_encode import HashLevels, hash_encode

__all__ = ["AdamRule", "HashLevels", "MlpShape", "adam_", "fused_mlp", "hash_encode"]
