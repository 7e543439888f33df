"""The networks of diffusers under one call: from a noised batch with its times and a condition to a prediction."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch

from volkit.guidance.condition import Condition
from volkit.guidance.prior import Noised
from volkit.typing import Float, Tensor

__all__ = ["DENOISERS", "Denoiser", "FluxDenoiser", "PlainDenoiser", "Sd3Denoiser", "UnetDenoiser"]


class Denoiser(Protocol):
    """A network with the inputs that it takes."""

    @property
    def network(self) -> Any:
        """The module itself."""
        ...

    def __call__(self, at: Noised, condition: Condition) -> Tensor:
        """The prediction, in the network's own parametrisation and precision, which `at.x` must have."""
        ...


@dataclass(frozen=True)
class PlainDenoiser:
    """`UNet2DModel`: pictures and times, no words."""

    network: Any

    def __call__(self, at: Noised, condition: Condition) -> Tensor:
        """Predict."""
        del condition
        return self.network(at.x, at.t).sample


@dataclass(frozen=True)
class UnetDenoiser:
    """`UNet2DConditionModel`: SD 1 and 2, SDXL, IF, ControlNet, IP-Adapter, cameras as class embeddings.

    Inputs without a condition are zero, as in training with dropped conditions. SDXL is given its own size as the
    original size, without cropping. Of IF's two outputs the variance is dropped.
    """

    network: Any
    control: Any = None

    def __call__(self, at: Noised, condition: Condition) -> Tensor:
        """Predict."""
        added = self._added_conditions(at.x, condition)
        residuals = (
            {} if self.control is None or condition.control is None else self._control_residuals(at, condition, added)
        )
        camera = self._camera(at.x, condition)
        output = self.network(at.x, at.t, condition.text, class_labels=camera, added_cond_kwargs=added, **residuals)
        return output.sample[:, : at.x.shape[1]]

    def _added_conditions(self, x: Tensor, condition: Condition) -> dict[str, Any] | None:
        config, added = self.network.config, {}
        if config.addition_embed_type == "text_time":
            added["text_embeds"] = condition.pooled
            side = config.sample_size * 8  # of the picture: SDXL's autoencoder halves three times
            added["time_ids"] = x.new_tensor([side, side, 0, 0, side, side]).expand(len(x), 6)
        if config.encoder_hid_dim_type == "ip_image_proj":
            width = self.network.encoder_hid_proj.image_projection_layers[0].image_embeds.in_features
            added["image_embeds"] = [x.new_zeros(len(x), 1, width) if condition.image is None else condition.image]
        return added or None

    def _camera(self, x: Tensor, condition: Condition) -> Tensor | None:
        numbers = self.network.config.projection_class_embeddings_input_dim
        if self.network.config.class_embed_type is None or numbers is None:
            return None
        return x.new_zeros(len(x), numbers) if condition.camera is None else condition.camera

    def _control_residuals(self, at: Noised, condition: Condition, added: dict[str, Any] | None) -> dict[str, Any]:
        """Residuals of a ControlNet (Zhang et al. 2023)."""
        down, middle = self.control(
            at.x, at.t, condition.text, condition.control, added_cond_kwargs=added, return_dict=False
        )
        return {"down_block_additional_residuals": down, "mid_block_additional_residual": middle}


@dataclass(frozen=True)
class Sd3Denoiser:
    """`SD3Transformer2DModel`: takes τ in thousandths (Esser et al. 2024)."""

    network: Any

    def __call__(self, at: Noised, condition: Condition) -> Tensor:
        """Predict."""
        added = (at.t + 1).to(at.x)
        return self.network(at.x, condition.text, condition.pooled, added).sample


@dataclass(frozen=True)
class FluxDenoiser:
    """`FluxTransformer2DModel`: takes τ; 2x2 latents are one token. Distilled guidance is 1, that is, none."""

    network: Any

    def __call__(self, at: Noised, condition: Condition) -> Tensor:
        """Predict."""
        views, channels, height, width = at.x.shape
        rows, columns = height // 2, width // 2
        tokens = at.x.view(views, channels, rows, 2, columns, 2).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        axes = (torch.arange(length) for length in (1, rows, columns))
        coordinates = torch.cartesian_prod(*axes).to(at.x)
        assert condition.text is not None
        output = self.network(
            tokens,
            condition.text,
            condition.pooled,
            (at.t + 1).to(at.x) / 1000.0,
            img_ids=coordinates,
            txt_ids=at.x.new_zeros(condition.text.shape[1], 3),
            guidance=at.x.new_ones(views) if self.network.config.guidance_embeds else None,
        ).sample
        return _picture(output, rows, columns)


def _picture(tokens: Float[Tensor, "view token four_channel"], rows: int, columns: int) -> Tensor:
    blocks = tokens.view(len(tokens), rows, columns, -1, 2, 2).permute(0, 3, 1, 4, 2, 5)
    return blocks.reshape(len(tokens), -1, 2 * rows, 2 * columns)


# By the class that a pipeline's index names.
DENOISERS: dict[str, Callable[[Any], Denoiser]] = {
    "UNet2DModel": PlainDenoiser,
    "UNet2DConditionModel": UnetDenoiser,
    "SD3Transformer2DModel": Sd3Denoiser,
    "FluxTransformer2DModel": FluxDenoiser,
}
