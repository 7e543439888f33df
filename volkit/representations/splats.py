"""Gaussian splats: in 3D (Kerbl et al. 2023), or flat ones, surfels (2DGS, Huang et al. 2024)."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import nn

from volkit.geometry import Domain, Similarity, rotations_of, sh_count
from volkit.geometry.gaussians import move_gaussians
from volkit.ops.param_group import ParamGroup
from volkit.representations.kinds import RepresentationConfig
from volkit.representations.representation import Representation
from volkit.typing import Bool, Float, Int, Tensor

__all__ = ["Splats", "SplatsConfig"]

PARAMETERS = ("means", "quaternions", "log_scales", "logits", "sh_dc", "sh_rest")
BOUND_DEVIATIONS = 3.0  # standard deviations that bounds reach: gsplat's largest radius is 3.33


@dataclass(frozen=True)
class SplatsConfig(RepresentationConfig):
    """Number and kind of splats, and their learning rates.

    Rates are about ten times those of 3DGS, for budgets of a thousand steps instead of thirty thousand.

    Attributes:
        count: number of splats.
        degree: of the spherical harmonics, 0 to 4.
        mip: rendered without dilation but with their energy (Mip-Splatting), not `classic`.
        surfels: flat, with two scales, along the first two axes (2DGS), instead of three.
        extras: names of further columns of the file that they come from, kept without interpretation.
        lr_means: learning rate of means, in diagonals of the domain.
        lr_scales: of logarithms of scales.
        lr_quaternions: of quaternions.
        lr_logits: of logits of opacity.
        lr_sh: of the constant harmonic; a twentieth of it for the others.
    """

    kind: ClassVar[str] = "splats"
    activation_bytes: ClassVar[int] = 200
    count: int = 20_000
    degree: int = 3
    mip: bool = False
    surfels: bool = False
    extras: tuple[str, ...] = ()
    lr_means: float = 4e-4  # half of it costs 0.7 dB in half a minute
    lr_scales: float = 4e-2
    lr_quaternions: float = 1e-2
    lr_logits: float = 1e-1
    lr_sh: float = 2e-2

    @classmethod
    def for_prior(cls, pixels: float) -> "SplatsConfig":
        """Few, which densify; matte."""
        return cls(count=1000, degree=0)

    def build(self, domain: Domain, generator: torch.Generator) -> "Splats":
        """Faint grey balls, or upright discs, uniformly in the box, each as wide as their mean spacing."""
        return Splats(self, domain, generator)


class Splats(Representation):
    """Gaussian splats, with the parameters of an INRIA `.ply`, before activation.

    Standard deviations are `exp(log_scales)` along the axes of the quaternion (w, x, y, z), three or, of surfels, the
    first two; opacity is `sigmoid(logits)`, colour `max(0, 0.5 + SH(direction))`.
    Layout: graphdeco-inria/gaussian-splatting `scene/gaussian_model.py`.

    Attributes:
        means: `[splat, 3]`, local frame.
        quaternions: `[splat, 4]`, of any length but 0.
        log_scales: `[splat, 3]`, of surfels `[splat, 2]`, logarithms of local units.
        logits: `[splat]`.
        sh_dc: `[splat, 1, 3]`, the constant harmonic.
        sh_rest: `[splat, (degree + 1)^2 - 1, 3]`.
    """

    def __init__(self, config: SplatsConfig, domain: Domain, generator: torch.Generator) -> None:
        super().__init__(domain)
        self.config = config
        count = config.count
        low, edge = torch.tensor(domain.lower), torch.tensor(domain.extent)
        spacing = float(edge.prod()) ** (1 / 3) / max(count, 1) ** (1 / 3)
        self.means = nn.Parameter(low + edge * torch.rand(count, 3, generator=generator))
        self.quaternions = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1))
        self.log_scales = nn.Parameter(torch.full((count, 2 if config.surfels else 3), math.log(0.5 * spacing)))
        self.logits = nn.Parameter(torch.full((count,), math.log(0.1 / 0.9)))
        self.sh_dc = nn.Parameter(torch.zeros(count, 1, 3))
        self.sh_rest = nn.Parameter(torch.zeros(count, sh_count(config.degree) - 1, 3))
        for name in config.extras:
            self.register_buffer(f"extra_{name}", torch.zeros(count, dtype=torch.float64))

    def __len__(self) -> int:
        return self.means.shape[0]

    @property
    def splat_count(self) -> int:
        """As many as there are."""
        return len(self)

    @property
    def columns(self) -> tuple[Tensor, ...]:
        """Means, quaternions, log scales, logits, constant and further harmonics: what `ops.splat.project` takes."""
        return tuple(getattr(self, name) for name in PARAMETERS)

    @property
    def opacities(self) -> Float[Tensor, " splat"]:
        """Opacity at the centre of each splat, 0 to 1."""
        return torch.sigmoid(self.logits)

    @property
    def scales(self) -> Float[Tensor, "splat axis"]:
        """Standard deviations along the splats' own axes, local units."""
        return self.log_scales.exp()

    @property
    def axes(self) -> Float[Tensor, "splat 3 axis"]:
        """The splats' own axes as long as their standard deviations, local frame: covariance = axes axes^T."""
        return rotations_of(self.quaternions)[..., : self.log_scales.shape[1]] * self.scales[:, None]

    def bounds(self) -> Domain:
        """The box of all valid splats, out to three standard deviations."""
        good = ~self.invalid
        if not bool(good.any()):
            return self.domain
        means, reach = self.means.detach()[good], BOUND_DEVIATIONS * self.scales.detach()[good].amax(-1, keepdim=True)
        lower, upper = (means - reach).amin(0), (means + reach).amax(0)
        return Domain(tuple(lower.tolist()), tuple(upper.tolist()))

    def param_groups(self) -> list[ParamGroup]:
        """Every parameter at its rate; rows of splats that were not in a picture are skipped."""
        c = self.config
        rates = (c.lr_means * self.domain.diagonal, c.lr_quaternions, c.lr_scales, c.lr_logits, c.lr_sh, c.lr_sh / 20)
        columns = zip(PARAMETERS, self.columns, rates, strict=True)
        return [ParamGroup(n, (p,), lr, sparse=True) for n, p, lr in columns if isinstance(p, nn.Parameter)]

    @property
    def invalid(self) -> Bool[Tensor, " splat"]:
        """Splats that cannot be rendered: a value that is not finite, or a quaternion that is zero."""
        finite = [torch.isfinite(t).reshape(len(self), math.prod(t.shape[1:])).all(1) for t in self.columns]
        return ~torch.stack(finite).all(0) | (self.quaternions.norm(dim=-1) == 0)

    def columns_in(self, frame_from_world: Similarity | None = None, rows: slice = slice(None)) -> dict[str, Tensor]:
        """The columns, or some rows, in the world's frame, or another: moved, turned and scaled, harmonics and all."""
        place = self.world_from_local if frame_from_world is None else frame_from_world @ self.world_from_local
        return move_gaussians({name: getattr(self, name).detach()[rows] for name in PARAMETERS}, place)

    def _sizes(self) -> list[str]:
        flat = ["flat"] if self.config.surfels else []
        return [f"{len(self)}", f"degree {self.config.degree}", *flat]

    def check(self) -> None:
        """Raise ValueError where columns are of different lengths."""
        lengths = {name: len(tensor) for name, tensor in self.state_dict().items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"splats: columns of different lengths: {lengths}")

    def replace_columns(self, columns: dict[str, Tensor], copied: bool = True) -> None:
        """Replace all columns, in place; the number of splats may change.

        Without `copied` the tensors themselves become parameters, for callers that do not use them again.
        """
        for name, values in columns.items():
            own = values.detach().contiguous()
            own = own.clone() if copied and own.data_ptr() == values.data_ptr() else own
            setattr(self, name, nn.Parameter(own, requires_grad=getattr(self, name).requires_grad))
        self.config = replace(self.config, count=len(self), surfels=self.log_scales.shape[1] == 2)

    def keep(self, rows: Bool[Tensor, " splat"] | Int[Tensor, " row"]) -> None:
        """Keep the splats of a mask or of row numbers, which may repeat, in place, with all their columns."""
        self.replace_columns({name: getattr(self, name)[rows] for name in PARAMETERS})
        for name in self.config.extras:
            self.register_buffer(f"extra_{name}", getattr(self, f"extra_{name}")[rows])
