"""Teachers and strategies of a user's own in the place of ours."""

import math
from dataclasses import dataclass

import pytest
import torch

import volkit as vk
from volkit.distillation.closed_form import initialise_from_teacher

SMALL = vk.HashGridConfig(levels=5, log2_table=12, base_resolution=8, per_level_scale=1.6, width=16, sh_degree=0)
SIZE = 24


def ring(count: int = 8) -> "vk.Cameras":
    eyes = [
        (3.0 * math.cos(2 * math.pi * k / count), 3.0 * math.sin(2 * math.pi * k / count), 1.0) for k in range(count)
    ]
    return vk.Cameras.cat([vk.Camera.look_at(eye, size=(SIZE, SIZE)) for eye in eyes])


CAPTURE = ring(), tuple(f"view{i}" for i in range(8)), ("view0", "view3", "view6")


class Striped(vk.Field):
    """A user's own ball, striped on each axis."""

    def __init__(self):
        super().__init__(vk.Box((-1, -1, -1), (1, 1, 1)), capture=vk.Capture(*CAPTURE))
        self.radius = torch.nn.Parameter(torch.tensor(0.6))

    def density(self, positions):
        return 40.0 * torch.sigmoid(20.0 * (self.radius - positions.norm(dim=-1)))

    def query(self, points):
        colour = 0.5 + 0.4 * torch.sin(6.0 * points.positions)
        return vk.FieldSample(self.density(points.positions), {"rgb": colour})


class Colour(torch.nn.Module):
    """The same stripes by a network whose last layer is linear."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(6.0))
        self.mix = torch.nn.Linear(3, 3)
        with torch.no_grad():
            self.mix.weight.copy_(0.4 * torch.eye(3))
            self.mix.bias.fill_(0.5)

    def forward(self, positions, directions):
        return self.mix(torch.sin(self.scale * positions))


def builtin(teacher: "vk.Field") -> "vk.Field":
    """Voxels that hold the same shape and colours."""
    config = vk.VoxelsConfig(resolution=64, start=64, doublings=(), sh_degree=0)
    voxels = config.build(teacher.domain, torch.Generator().manual_seed(0)).view(capture=teacher.capture)
    initialise_from_teacher(teacher, voxels, torch.Generator().manual_seed(0))
    return voxels.requires_grad_(False)


def test_own_teachers_are_learnt_as_well_as_ours(monkeypatch):
    monkeypatch.setattr(vk.HashGridConfig, "batch_samples", 1 << 12)
    own = Striped()
    module = vk.FunctionField(own.density, Colour(), vk.Domain.cube(1.0)).view(capture=own.capture)
    before, events = own.occupancy.clone(), []
    found = {
        name: vk.distill(teacher, SMALL, budget="40", callback=events.append)
        for name, teacher in (("ours", builtin(own)), ("own", own), ("module", module))
    }
    psnr = {name: made.report.psnr for name, made in found.items()}
    assert min(psnr.values()) > 15.0  # an untrained grid has less than 10
    assert psnr["own"] > psnr["ours"] - 1.0 and psnr["module"] > psnr["ours"] - 1.0, psnr  # dB, as promised
    assert torch.equal(own.occupancy, before) and own.radius.grad is None and own.radius.requires_grad
    assert [event.step for event in events] == 3 * list(range(1, 41)) and events[-1].fraction == 1.0
    assert found["own"].report.teacher == "field" and found["own"].scene.config == SMALL


def test_what_does_not_go_together_is_said_before_the_work():
    with pytest.raises(ValueError, match="apply to fields distilled from fields only"):
        vk.distill(Striped(), vk.SplatsConfig(10), budget="1", method="pvd")


@dataclass(frozen=True)
class PruneFaint(vk.Strategy):
    """A user's own strategy: every tenth step it leaves out the fainter half, and counts how often it did."""

    def initialize_state(self, splats):
        return {"rounds": 0}

    def post_backward(self, splats, state, record, info, generator):
        assert record.errors.grad.shape == (len(splats), 1)
        if info.step % 10:
            return state, None
        rows = splats.opacities.topk(len(splats) // 2).indices
        splats.keep(rows)
        return {"rounds": state["rounds"] + 1}, vk.ParameterChange(rows)


def test_a_strategy_of_ones_own_decides_how_many_splats_there_are():
    cameras = ring()
    rays = [cameras.picture_rays(index) for index in range(len(cameras))]
    images = []
    for each in rays:
        nearest = each.origins - (each.origins * each.directions).sum(-1, keepdim=True) * each.directions
        hit = (nearest.norm(dim=-1) < 0.6).view(SIZE, SIZE, 1)
        images.append(torch.where(hit, torch.tensor([200, 30, 30, 255]), 0).to(torch.uint8))
    split = ("test", *["train"] * 7)
    photos = vk.Photographs(cameras, tuple(images), CAPTURE[1], split, vk.Domain.cube(1.0), near=0.1)
    made = vk.fit(photos, vk.SplatsConfig(400, 0), budget="25", strategy=PruneFaint())
    assert len(made.scene) <= 100  # of at most 400, halved after steps 10 and 20
    assert made.report.kind == "splats" and made.report.views == "test" and made.report.steps == 25
    assert made.scene.capture.held_out == ("view0",)
