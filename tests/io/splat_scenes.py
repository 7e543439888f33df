"""Random splats, and how nearly two scenes are the same."""

import torch

from volkit.geometry import Domain
from volkit.representations import Splats, SplatsConfig
from volkit.typing import Tensor

C0 = 0.28209479177387814


def random_splats(count: int = 600, degree: int = 3, seed: int = 0, **settings) -> Splats:
    """A cloud as trained ones are: small, of any colour and opacity, harmonics smaller than the constant."""
    generator = torch.Generator().manual_seed(seed)
    splats = SplatsConfig(count, degree, **settings).build(Domain.cube(1.0), generator)
    spread = {"means": 1.0, "quaternions": 1.0, "log_scales": 0.5, "logits": 2.0, "sh_dc": 0.5, "sh_rest": 0.2}
    with torch.no_grad():
        for name, parameter in splats.named_parameters():
            parameter.copy_(spread[name] * torch.randn(parameter.shape, generator=generator))
        splats.log_scales.sub_(4.0)
    return splats


def differences(ours: Splats, theirs: Splats, ordered: bool = False) -> dict[str, float]:
    """The largest difference by column, world frame: opacity for its logit, unit quaternions but for their sign.

    Scenes in another order are matched by position.
    """
    assert len(ours) == len(theirs)
    a, b = ours.columns_in(), theirs.columns_in()
    if not ordered:
        nearest = torch.cdist(a["means"].double(), b["means"].double()).argmin(1)
        assert len(nearest.unique()) == len(nearest), "positions are too far off to tell splats apart"
        b = {name: column[nearest] for name, column in b.items()}
    for columns in (a, b):
        columns["logits"] = torch.sigmoid(columns["logits"])
        columns["quaternions"] = torch.nn.functional.normalize(columns["quaternions"], dim=-1)
    b["quaternions"] = b["quaternions"] * (a["quaternions"] * b["quaternions"]).sum(-1, keepdim=True).sign()
    return {name: _largest(a[name], b[name]) for name in a}


def _largest(a: Tensor, b: Tensor) -> float:
    assert a.shape == b.shape, (a.shape, b.shape)
    return float((a - b).abs().max()) if a.numel() else 0.0


def assert_agree(ours: Splats, theirs: Splats, tolerances: dict[str, float], ordered: bool = False) -> None:
    """Every column agrees within its tolerance."""
    found = differences(ours, theirs, ordered)
    wrong = {name: (found[name], tolerances[name]) for name in found if not found[name] <= tolerances[name]}
    assert not wrong, f"difference and tolerance: {wrong}"


def widest(values: Tensor) -> float:
    """The longest side of the box about values."""
    return float((values.amax(0) - values.amin(0)).max())


def smallest_three_error(steps: int) -> float:
    """Of a unit quaternion whose three smallest are rounded to `steps` in [-1, 1] / sqrt(2).

    Half a step e of each; the largest q is the root of the rest, off by at most sum |q_i / q| e <= 3 e, to first order.
    """
    return 3.0 * (1.0 / steps / 2**0.5) * 1.02  # 2 per cent for the second order
