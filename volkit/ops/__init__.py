"""The verbs with native twins: each op has a plain torch reference, a CPU kernel and a CUDA kernel."""

from volkit.ops.adam import AdamRule, adam_

__all__ = ["AdamRule", "adam_"]
