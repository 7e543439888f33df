"""Attention over several views at once (MVDream, arXiv 2308.16512)."""

from dataclasses import dataclass
from typing import Any

from volkit.typing import Tensor

__all__ = ["JointAttention", "attend_jointly"]


@dataclass
class JointAttention:
    """Self-attention whose tokens are those of `views` neighbouring rows of the batch, with the weights of one."""

    views: int
    within: Any  # the processor for a single picture

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Lay the views end to end, attend, cut them apart."""
        rows, tokens, width = hidden_states.shape
        joined = hidden_states.reshape(rows // self.views, self.views * tokens, width)
        return self.within(attn, joined, encoder_hidden_states, attention_mask).reshape(rows, tokens, width)


def attend_jointly(network: Any, views: int) -> None:
    """Make every self-attention of a UNet see `views` views."""
    processors = {
        name: JointAttention(views, processor) if ".attn1." in name else processor
        for name, processor in network.attn_processors.items()
    }
    network.set_attn_processor(processors)
