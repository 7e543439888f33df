"""A trainable copy of a prior: low-rank weights by PEFT on the frozen network, and an embedding of the camera."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.pipeline.folder import library
from volkit.guidance.pipeline.prior import PipelinePrior
from volkit.guidance.prior import Noised
from volkit.typing import Float, Tensor

__all__ = ["LoraPrior"]

ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


class LoraPrior:
    """A prior whose attention weights learn `W + B A`, rank r (Hu et al. 2021), in the memory of one network.

    It starts as the prior itself, with B zero. A camera is an input of networks that take one; else its encoding is
    embedded by a small network and added to the embedding of time (ProlificDreamer), also from zero. It serves as
    critic and, trained on reference pictures, as personalised prior; two of them on one network need two names.
    """

    def __init__(
        self,
        prior: PipelinePrior,
        generator: torch.Generator,
        name: str = "critic",
        rank: int = 16,
        camera_numbers: int = 16,
    ) -> None:
        self.prior, self.name = prior, name
        network = prior.denoiser.network
        if not hasattr(network, "add_adapter"):
            kind = type(network).__name__
            raise ValueError(f"a {kind} takes no low-rank weights: a critic needs a prior with text conditions")
        config = library("peft").LoraConfig(r=rank, lora_alpha=rank, target_modules=ATTENTION)
        network.add_adapter(config, adapter_name=name)
        # Low-rank weights in single precision, whatever the network's: steps of 1e-4 vanish in half.
        own = {n: p for n, p in network.named_parameters() if "lora_" in n and f".{name}." in n}
        self._weights = [_initialise(parameter, n, generator) for n, parameter in own.items()]
        network.disable_adapters()
        self.camera = None
        if getattr(network, "class_embedding", None) is None:
            width = self._time_embedding.linear_2.out_features
            self.camera = _camera_network(camera_numbers, width, generator).to(network.device)

    @property
    def schedule(self) -> NoiseSchedule:
        return self.prior.schedule

    @property
    def views(self) -> int:
        return self.prior.views

    def encode(self, pictures: Float[Tensor, "view height width 3"]) -> Float[Tensor, "view channel row column"]:
        return self.prior.encode(pictures)

    def decode(self, x: Float[Tensor, "view channel row column"]) -> Float[Tensor, "view height width 3"]:
        return self.prior.decode(x)

    def embed(self, texts: Sequence[str]) -> Condition:
        return self.prior.embed(texts)

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters: low-rank weights, and the embedding of the camera."""
        return [*self._weights, *(self.camera.parameters() if self.camera is not None else ())]

    def eps(self, at: Noised, condition: Condition) -> Tensor:
        """The prediction with the low-rank weights; the prior itself is unchanged."""
        with self._enabled(condition.camera):
            return self.prior.eps(at, condition if self.camera is None else replace(condition, camera=None))

    @contextmanager
    def _enabled(self, camera: Tensor | None) -> Iterator[None]:
        network, hook = self.prior.denoiser.network, None
        network.enable_adapters()
        network.set_adapter(self.name)
        if self.camera is not None and camera is not None:
            embedded = self.camera(camera.to(next(self.camera.parameters())))
            hook = self._time_embedding.register_forward_hook(lambda module, arguments, out: out + embedded.to(out))
        try:
            yield
        finally:
            network.disable_adapters()
            # PEFT freezes the weights that it disables, even those of a loss whose backward pass is still to come.
            for name, parameter in network.named_parameters():
                if "lora_" in name:
                    parameter.requires_grad_()
            if hook is not None:
                hook.remove()

    @property
    def _time_embedding(self) -> Any:
        network = self.prior.denoiser.network
        return (
            network.time_embedding if hasattr(network, "time_embedding") else network.time_text_embed.timestep_embedder
        )


def _initialise(parameter: nn.Parameter, name: str, generator: torch.Generator) -> nn.Parameter:
    """A from the given generator, distributed as PEFT's (Kaiming, a = √5); B zero."""
    parameter.data = parameter.data.float()
    if "lora_A" in name:
        bound = parameter.shape[1] ** -0.5
        uniform = torch.rand(parameter.shape, generator=generator, device=generator.device)
        parameter.data.copy_((2.0 * uniform - 1.0) * bound)
    parameter.requires_grad_()
    return parameter


def _camera_network(numbers: int, width: int, generator: torch.Generator) -> nn.Sequential:
    first, last = nn.Linear(numbers, width), nn.Linear(width, width)
    uniform = torch.rand(width, numbers, generator=generator, device=generator.device)
    first.weight.data.copy_((2.0 * uniform - 1.0) * numbers**-0.5)
    for parameter in (first.bias, last.weight, last.bias):
        nn.init.zeros_(parameter)
    return nn.Sequential(first, nn.SiLU(), last)
