"""Operations on tensors, each with a plain torch reference, a CPU kernel and a CUDA kernel.

`muon_` has no kernel: it consists of dense products, which torch's own libraries do best.
"""

from volkit.ops.adam import AdamRule, adam_
from volkit.ops.fused_mlp import MlpShape, fused_mlp
from volkit.ops.hash_encode import HashLevels, hash_encode
from volkit.ops.muon import MuonRule, muon_

__all__ = ["AdamRule", "HashLevels", "MlpShape", "MuonRule", "adam_", "fused_mlp", "hash_encode", "muon_"]
