"""Arrows only point down, and rooms on one floor do not know each other."""

import pytest
from architecture.source import PACKAGE, imported, name

# From the top of the house to its cellar.
FLOORS = (
    ("cli",),
    ("presets",),
    ("jobs",),
    ("distill", "meshing", "data"),
    ("guidance", "io", "fit", "metrics"),
    ("render",),
    ("sampling",),
    ("representations",),
    ("ops",),
    ("geometry",),
    ("typing",),
)
FLOOR = {room: depth for depth, rooms in enumerate(FLOORS) for room in rooms}


def room(dotted: str) -> str | None:
    parts = dotted.split(".")
    return parts[1] if parts[0] == "volkit" and len(parts) > 1 and parts[1] in FLOOR else None


def upward(own: str, dotted: str) -> bool:
    other = room(dotted)
    return other is not None and other != own and FLOOR[other] <= FLOOR[own]


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_arrows_point_down(path):
    own = path.relative_to(path.parents[len(path.parts) - path.parts.index("volkit") - 2]).with_suffix("").parts[0]
    if own == "__init__":
        return  # the public verbs open every door
    assert own in FLOOR, f"{name(path)} stands in no room of the plan"
    wrong = sorted({dotted for dotted in imported(path) if upward(own, dotted)})
    assert not wrong, f"{name(path)} ({own}) must not import {wrong}"


def test_the_rule_sees_an_arrow_that_points_up():
    assert upward("render", "volkit.distill.plan.plan")
    assert upward("data", "volkit.distill.views.orbit_cameras")  # the same floor
    assert not upward("jobs", "volkit.distill.views.orbit_cameras")
    assert not upward("render", "torch.nn")


def test_ops_never_see_a_module():
    for path in PACKAGE:
        if "ops" in path.parts:
            assert "nn.Module" not in path.read_text(encoding="utf-8"), f"{name(path)}: ops take tensors"
