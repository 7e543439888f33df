"""Random splats, and how nearly two scenes are the same."""

import torch

from volkit.geometry import Domain
from volkit.representations import Placement, Splats, SplatsConfig
from volkit.typing import Tensor

C0 = 0.28209479177387814


def random_splats(count: int = 600, degree: int = 3, seed: int = 0, **settings) -> Splats:
    """A cloud as trained ones are: small, of any colour and opacity, harmonics smaller than the constant."""
    generator = torch.Generator().manual_seed(seed)
    splats = SplatsConfig(count, degree, **settings).build(Domain.cube(1.0), generator)
    # As files of splats have it, so that most writers need not turn them.
    splats = splats.view(placement=Placement(frame="ydown"))
    spread = {"means": 1.0, "quaternions": 1.0, "log_scales": 0.5, "logits": 2.0, "sh_dc": 0.5, "sh_rest": 0.2}
    with torch.no_grad():
        for name, parameter in splats.named_parameters():
            parameter.copy_(spread[name] * torch.randn(parameter.shape, generator=generator))
        splats.log_scales.sub_(4.0)
    return splats


def differences(ours: Splats, theirs: Splats, ordered: bool = False) -> dict[str, float]:
    """The largest difference by column, world frame: opacity for its logit, unit quaternions of the same Gaussian.

    Scenes in another order are matched by position, and those in one place by size, opacity and colour.
    """
    assert len(ours) == len(theirs)
    a, b = dict(ours.columns_in()), dict(theirs.columns_in())
    for columns in (a, b):
        columns["logits"] = torch.sigmoid(columns["logits"])
        columns["quaternions"] = torch.nn.functional.normalize(columns["quaternions"], dim=-1)
    if not ordered:
        apart = torch.cdist(_marks(a), _marks(b))
        nearest, back = apart.argmin(1), apart.argmin(0)
        mutual = back[nearest] == torch.arange(len(nearest))
        assert mutual.float().mean() > 0.98, "too far off to tell splats apart"
        a = {name: column[mutual] for name, column in a.items()}
        b = {name: column[nearest[mutual]] for name, column in b.items()}
    b["quaternions"] = _same_way_round(a["quaternions"], b["quaternions"])
    return {name: _largest(a[name], b[name]) for name in a}


def _marks(columns: dict[str, Tensor]) -> Tensor:
    parts = [columns["means"], *(0.01 * columns[name].flatten(1) for name in ("log_scales", "sh_dc"))]
    return torch.cat([*parts, 0.01 * columns["logits"][:, None]], 1).double()


def _same_way_round(a: Tensor, b: Tensor) -> Tensor:
    """Quaternions of the same Gaussian next to others: half turns about its own axes, and all signs, change nothing."""
    w, x, y, z = b.unbind(-1)
    turns = [torch.stack(t, -1) for t in ((w, x, y, z), (-x, w, z, -y), (-y, -z, w, x), (-z, y, -x, w))]
    close = torch.stack([(a * turn).sum(-1) for turn in turns], -1)
    best = close.abs().argmax(-1, keepdim=True)
    chosen = torch.stack(turns, 1).gather(1, best[..., None].expand(-1, 1, 4))[:, 0]
    return chosen * close.gather(1, best).sign()


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
