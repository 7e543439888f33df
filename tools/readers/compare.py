"""What a program saw of a file against what the file was made from: one word, and a figure or a message."""

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import cKDTree
from truth import MeshTruth, SplatTruth, covariances, linear, looked_up, turned

__all__ = ["REFUSED", "Verdict", "judge_mesh", "judge_splats"]

SAME = 2e-5  # of the box's diagonal, and of colours: float32 along the way
BYTE = 0.006  # of colours: one and a half of 1/255
ALIKE = 0.02  # of the diagonal: positions that match so well under a turn tell the turn
SH_0 = 0.28209479177387814
# Axes in which the harmonics of degrees 1 to 3 are odd, in INRIA's order.
ODD_IN = ("y", "z", "x", "xy", "yz", "", "xz", "", "y", "xyz", "y", "z", "x", "z", "x")
REFUSED = "refused"


@dataclass(frozen=True)
class Verdict:
    """One cell.

    Attributes:
        word: `right`, `quantised`, `turned`, `wrong`, `refused`, `not installed`.
        detail: the largest error and of what, the turn, or the message.
    """

    word: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.word} ({self.detail})" if self.detail else self.word


def judge_splats(seen: dict[str, Any], truth: SplatTruth, frame: np.ndarray, limits: dict[str, float]) -> Verdict:
    """Splat by splat, each with the one nearest to it; `limits` are what the format's bits may cost."""
    positions = np.array(seen["positions"], np.float64).reshape(-1, 3)
    if len(positions) != len(truth.positions):
        return Verdict("wrong", f"{len(positions)} of {len(truth.positions)} splats")
    axes, turn = _axes(positions, truth.positions @ frame.T)
    if axes is None:
        return Verdict("wrong", "positions")
    matrix = axes @ frame
    wanted, shapes = turned(truth, matrix)
    size = float(np.linalg.norm(np.ptp(wanted, 0)))
    far, match = cKDTree(positions).query(wanted)
    errors = {"positions": float(far.max()) / size}
    get = {name: np.array(seen[name], np.float64)[match] for name in seen if name in ("quaternions", "log_scales", "dc",
           "opacities", "sh", "rgb") and seen[name] is not None}  # fmt: skip
    if "quaternions" in get:
        found = covariances(get["log_scales"], get["quaternions"])
        errors["shapes"] = float(
            (np.linalg.norm(found - shapes, axis=(1, 2)) / np.linalg.norm(shapes, axis=(1, 2))).max()
        )
    if "opacities" in get:
        errors["opacities"] = float(np.abs(get["opacities"] - truth.opacities).max())
    rgb = get.get("rgb", 0.5 + SH_0 * get["dc"] if "dc" in get else None)
    looks = "" if "quaternions" in get else "points alone"
    if rgb is not None:
        off = {name: float(np.abs(rgb - true).max()) for name, true in _looks(truth.rgb).items()}
        light = min(off, key=lambda name: off[name])
        errors["colours"], looks = off[light], "; ".join(part for part in (looks, light) if part)
    signs = np.diag(matrix)
    if "sh" in get and signs.all():
        known = get["sh"].shape[1] // 3  # coefficients of a channel that the format keeps
        mine = truth.sh.reshape(-1, 3, 15) * _parities(signs)
        errors["harmonics"] = float(np.abs(get["sh"].reshape(len(mine), 3, known) - mine[:, :, :known]).max())
    verdict = _verdict(errors, limits, looks)
    return verdict if verdict.word == "wrong" or not turn else Verdict("turned", turn)


def judge_mesh(seen: dict[str, Any], truth: MeshTruth, frame: np.ndarray, limits: dict[str, float]) -> Verdict:
    """Every place that was seen, by the nearest true vertex; colours by the picture that the program had, if any.

    `seen["image"]` is that picture as an array. A count of faces above the truth's says what else is shown.
    """
    positions = np.array(seen["positions"], np.float64).reshape(-1, 3)
    if not len(positions) or not np.isfinite(positions).all():
        return Verdict("wrong", "no positions" if not len(positions) else "positions that are not finite")
    wanted = truth.positions @ frame.T
    axes, turn = _axes(positions, wanted, limits.get("positions", ALIKE))
    if axes is None:
        return Verdict("wrong", _outside(positions, wanted))
    if turn:
        return Verdict("turned", turn)
    size = float(np.linalg.norm(np.ptp(wanted, 0)))
    far, match = cKDTree(wanted).query(positions)
    missed = cKDTree(positions).query(wanted)[0]
    errors = {"positions": float(max(far.max(), missed.max())) / size}
    faces = seen.get("faces")
    expected = limits.get("faces", len(truth.faces))
    if faces and faces > expected:
        return Verdict("wrong", f"shows {faces} faces instead of {expected:.0f}")
    rgb, looks = seen.get("rgb"), ""
    if seen.get("uv") is not None and seen.get("image") is not None:
        rgb = looked_up(seen["image"], np.array(seen["uv"], np.float64))
    if rgb is None:
        return _verdict(errors, limits, "shape alone")
    off = {name: _apart(np.array(rgb, np.float64), true[match]) for name, true in _looks(truth.rgb).items()}
    looks = min(off, key=lambda name: off[name])
    return _verdict(errors | {"colours": off[looks]}, limits, looks)


def _looks(rgb: np.ndarray) -> dict[str, np.ndarray]:
    """Colours as programs hold them: for the display, or linear as glTF does."""
    return {"": rgb, "linear colours": linear(rgb)}


def _apart(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest difference of colours, but for a few: a corner at a seam may look a texel up on the other side."""
    return float(np.quantile(np.abs(found - wanted).max(-1), 0.95))


def _verdict(errors: dict[str, float], limits: dict[str, float], looks: str) -> Verdict:
    """Right within float32, within the format's limits, or wrong by the error that exceeds them most."""
    name, error = max(errors.items(), key=lambda item: item[1] / limits.get(item[0], SAME))
    if not error <= limits.get(name, SAME):  # not a number is wrong as well
        return Verdict("wrong", f"{name} off by {error:.2g}")
    notable = {n: e for n, e in errors.items() if e > (BYTE if n == "colours" else 5.0 * SAME)}
    if notable:
        name, error = max(notable.items(), key=lambda item: item[1] / limits.get(item[0], SAME))
        return Verdict("quantised", f"{name} {error:.1g}" + (f"; {looks}" if looks else ""))
    return Verdict("right", looks)


def _parities(signs: np.ndarray) -> np.ndarray:
    """What becomes of each harmonic where axes change their signs."""
    return np.array([np.prod([signs["xyz".index(axis)] for axis in odd]) for odd in ODD_IN])


def _axes(positions: np.ndarray, wanted: np.ndarray, alike: float = ALIKE) -> tuple[np.ndarray | None, str]:
    """The turn of the axes, or mirroring, under which places match, the identity first, and its name."""
    size = float(np.linalg.norm(np.ptp(wanted, 0)))
    if not np.isfinite(positions).all():
        return None, ""
    tree = cKDTree(positions)
    for signs in itertools.product((1, -1), repeat=3):
        for order in itertools.permutations(range(3)):
            matrix = np.zeros((3, 3))
            matrix[range(3), order] = signs
            # the largest, but for a few: a sorted file may leave out a splat, a mesh a vertex at its seam
            if np.quantile(tree.query(wanted @ matrix.T)[0], 0.99) < max(alike, ALIKE) * size:
                name = ", ".join(
                    ("-" if sign < 0 else "") + "xyz"[axis] for sign, axis in zip(signs, order, strict=True)
                )
                return matrix, "" if np.array_equal(matrix, np.eye(3)) else f"({name})"
    return None, ""


def _outside(positions: np.ndarray, wanted: np.ndarray) -> str:
    """By how much the box is another."""
    found, true = np.ptp(positions, 0).max(), np.ptp(wanted, 0).max()
    return f"a box of {found:.2g} instead of {true:.2g}"
