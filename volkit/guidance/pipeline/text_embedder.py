"""Text conditions of a pipeline: each text is embedded once, and the encoders are dropped afterwards."""

import gc
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from volkit.guidance.condition import Condition
from volkit.guidance.pipeline.folder import Folder, library
from volkit.typing import Tensor

__all__ = ["TextEmbedder"]


@dataclass(frozen=True)
class TextEmbedder:
    """The text encoders of a pipeline, which are in memory only while new texts are embedded."""

    folder: Folder
    device: torch.device
    dtype: torch.dtype
    cache: dict[str, Condition] = field(default_factory=dict)

    def __call__(self, texts: Sequence[str]) -> Condition:
        """The condition of these texts, a row for each."""
        new = [text for text in dict.fromkeys(texts) if text not in self.cache]
        if new and "text_encoder" in self.folder.index:
            several = "text_encoder_2" in self.folder.index
            for text, embedded in zip(new, (self._by_pipeline if several else self._by_encoder)(new), strict=True):
                self.cache[text] = embedded
            gc.collect()
        return Condition.cat([self.cache.get(text, Condition()) for text in texts])

    @torch.no_grad()
    def _by_encoder(self, texts: list[str]) -> list[Condition]:
        """One tokenizer and one encoder: the last hidden states (SD 1 and 2: CLIP, IF: T5)."""
        tokenizer = self.folder.load("tokenizer")
        encoder = self.folder.load("text_encoder", dtype=self.dtype).to(self.device).eval()
        length = min(tokenizer.model_max_length, 77)  # what both kinds were trained with; T5 itself knows no limit
        for text in texts:
            _check_prompt(tokenizer, text, length)
        tokens = tokenizer(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
        masked = {"attention_mask": tokens.attention_mask.to(self.device)} if _wants_mask(encoder) else {}
        hidden = encoder(tokens.input_ids.to(self.device), **masked).last_hidden_state
        return [Condition(text=row[None]) for row in hidden]

    @torch.no_grad()
    def _by_pipeline(self, texts: list[str]) -> list[Condition]:
        """Several encoders, combined by the pipeline itself (SDXL, SD3, Flux)."""
        kind = getattr(library("diffusers"), self.folder.index["pipeline"][1])
        absent: dict[str, Any] = {part: None for part in (self.folder.denoiser, "vae")}
        pipeline = kind.from_pretrained(self.folder.path, dtype=self.dtype, **absent).to(self.device)
        more: dict[str, Any] = {"prompt_2": None, "device": self.device}
        if self.folder.index["pipeline"][1].startswith("StableDiffusion"):
            more["do_classifier_free_guidance"] = False
        if "text_encoder_3" in self.folder.index or "StableDiffusion3" in kind.__name__:
            more["prompt_3"] = None
        embedded = [pipeline.encode_prompt(text, **more) for text in texts]
        # SDXL and SD3 return (words, negative words, pooled, negative pooled), Flux (words, pooled, places of words).
        return [Condition(text=e[0], pooled=e[1 if isinstance(e[1], Tensor) else 2]) for e in embedded]


def _check_prompt(tokenizer: Any, text: str, length: int) -> None:
    """Refuse words that the tokenizer does not know; warn where a prompt is truncated."""
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown not in (tokenizer.eos_token_id, tokenizer.pad_token_id):  # CLIP's are one
        unknown_words = [
            word for word in text.split() if unknown in tokenizer(word, add_special_tokens=False).input_ids
        ]
        if unknown_words:
            raise ValueError(f"the prompt '{text}' has words unknown to this prior: {', '.join(unknown_words)}")
    count = len(tokenizer(text).input_ids)
    if count > length:
        warnings.warn(
            f"the prompt '{text[:40]}...' has {count} tokens; this prior reads the first {length}", stacklevel=2
        )


def _wants_mask(encoder: Any) -> bool:
    """Whether padding is masked: CLIP attends to it, T5 does not."""
    return bool(getattr(encoder.config, "use_attention_mask", None)) or encoder.config.model_type == "t5"
