"""Arrows only point down, and rooms on one floor do not know each other."""

import pytest
from architecture.source import PACKAGE, imported, name

# From the top of the house to its cellar.
FLOORS = (
    ("__init__", "cli"),
    ("commands",),
    ("reports",),
    ("conversion", "generation"),
    ("meshing",),
    ("distillation",),
    ("editing",),
    ("evaluation",),
    ("data", "guidance", "io", "training"),
    ("files",),
    ("rendering",),
    ("sampling",),
    ("representations",),
    ("devices",),
    ("ops",),
    ("geometry",),
    ("typing", "version", "progress", "choices", "plug_ins", "threads", "extras"),
)
FLOOR = {room: depth for depth, rooms in enumerate(FLOORS) for room in rooms}


def room(dotted: str) -> str | None:
    parts = dotted.split(".")
    if parts[0] != "volkit":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR else "__init__"  # a bare name is the roof's


def upward(own: str, dotted: str) -> bool:
    other = room(dotted)
    return other is not None and other != own and FLOOR[other] <= FLOOR[own]


@pytest.mark.parametrize("path", PACKAGE, ids=name)
def test_arrows_point_down(path):
    own = path.relative_to(path.parents[len(path.parts) - path.parts.index("volkit") - 2]).with_suffix("").parts[0]
    assert own in FLOOR, f"{name(path)} stands in no room of the plan"
    wrong = sorted({dotted for dotted in imported(path) if upward(own, dotted)})
    assert not wrong, f"{name(path)} ({own}) must not import {wrong}"


def test_the_rule_sees_an_arrow_that_points_up():
    assert upward("rendering", "volkit.distillation.stages.plan_stages")
    assert upward("data", "volkit.io.load")  # the same floor
    assert upward("io", "volkit.__version__")  # the roof
    assert not upward("commands", "volkit.rendering.viewpoints.orbit_cameras")
    assert not upward("rendering", "torch.nn")


def test_ops_never_see_a_module():
    for path in PACKAGE:
        if "ops" in path.parts:
            assert "nn.Module" not in path.read_text(encoding="utf-8"), f"{name(path)}: ops take tensors"
