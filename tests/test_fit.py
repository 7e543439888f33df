"""The loop: budgets, descent, resuming."""

import copy
import math

import pytest
import torch
from torch import nn

from volkit.distillation.pixels import PixelSampler
from volkit.geometry import Cameras
from volkit.ops.param_group import ParamGroup
from volkit.progress import Progress
from volkit.training.loop import Budget, ParameterChange, StepInfo, StepLosses, TrainingLoop


class Parabola:
    """A trainee with noise, so that a resumed run must also resume its randomness."""

    def __init__(self) -> None:
        self.x = nn.Parameter(torch.full((4,), 3.0))
        self.generator = torch.Generator().manual_seed(0)

    def losses(self, info: StepInfo):
        noise = torch.randn(4, generator=self.generator)
        return StepLosses({"pixels": (self.x - 1.0 + 0.1 * noise).square().sum()})

    def groups(self):
        return [ParamGroup("x", (self.x,), lr=0.1)]

    def after_step(self, info: StepInfo, record) -> list[ParameterChange]:
        return []

    def state(self):
        return {"x": self.x.detach().clone(), "generator": self.generator.get_state()}

    def load_state(self, state):
        self.x.data = state["x"].clone()
        self.generator.set_state(state["generator"])


def test_descends_to_the_minimum():
    trainee = Parabola()
    TrainingLoop(trainee, Budget(steps=300)).run()
    assert (trainee.x - 1.0).abs().max() < 0.05  # noise 0.1 a step, averaged by Adam over about 10 steps and decay


def test_weight_decay_is_that_of_adamw():
    trainee, twin = Parabola(), Parabola()
    trainee.groups = lambda: [ParamGroup("x", (trainee.x,), lr=0.1, weight_decay=0.5)]
    TrainingLoop(trainee, Budget(steps=20), schedule=lambda moment: 1.0).run()
    rule = torch.optim.AdamW([twin.x], lr=0.1, weight_decay=0.5, betas=(0.9, 0.99), eps=1e-15)
    for step in range(20):
        rule.zero_grad()
        sum(twin.losses(StepInfo(step, 0.0, step / 20)).values.values()).backward()
        rule.step()
    assert torch.allclose(trainee.x, twin.x, rtol=1e-5)  # float32, twenty steps


def test_a_resumed_run_ends_where_an_unbroken_one_does():
    whole = Parabola()
    TrainingLoop(whole, Budget(steps=60)).run()
    states = []

    def keep(info, values, fit):
        if info.step == 25:
            states.append(copy.deepcopy(fit.state()))

    TrainingLoop(Parabola(), Budget(steps=60)).run([keep])
    again = Parabola()
    resumed = TrainingLoop(again, Budget(steps=60))
    resumed.load_state(states[0])
    resumed.run()
    assert torch.equal(whole.x, again.x)


def test_a_loss_that_is_not_finite_is_named():
    trainee = Parabola()
    trainee.x.data[0] = math.inf
    with pytest.raises(FloatingPointError, match="pixels"):
        TrainingLoop(trainee, Budget(steps=3)).run()


@pytest.mark.parametrize(("text", "seconds", "steps"), [("120s", 120, None), ("10m", 600, None), ("2000", None, 2000)])
def test_budgets_read(text, seconds, steps):
    assert Budget.parse(text) == Budget(seconds, steps)


@pytest.mark.parametrize("text", ["", "0s", "-3", "fast", "10x", "nans"])
def test_budgets_that_mean_nothing_are_refused(text):
    with pytest.raises(ValueError, match="budget"):
        Budget.parse(text)


def test_error_driven_draws_are_unbiased():
    """The importance-weighted mean of any function of pixels is its plain mean, whatever errors were learnt."""
    size = 64
    cameras = Cameras.looking_at(torch.eye(3) * 3, torch.zeros(3), torch.tensor([0.1, 0.2, 1.0]), 50.0, (size, size))
    draw = PixelSampler(cameras)
    generator = torch.Generator().manual_seed(0)
    camera, pixels, importance = draw.draw(20_000, generator)
    assert torch.equal(importance, torch.ones(20_000))
    error = torch.where(camera == 1, 1.0, 0.01) * (1.0 + 3.0 * (pixels[:, 0] > 32))
    draw.update(camera, pixels, error)
    camera, pixels, importance = draw.draw(200_000, generator)
    value = (camera + 1) * pixels[:, 0] * pixels[:, 1]
    expected = 2.0 * 32.0 * 32.0
    assert (camera == 1).float().mean() > 0.45  # the hard camera is drawn more often than its third
    estimate, spread = (value * importance).mean(), (value * importance).std() / 200_000**0.5
    assert abs(estimate - expected) < 4 * spread  # four standard errors: one run in 16 000 would fail by chance


@pytest.mark.parametrize(("slow", "looks"), [(0.0, 8), (10.0, 1)])
def test_looking_takes_about_half_of_the_time_of_learning(tmp_path, monkeypatch, slow, looks):
    from volkit.training import run as training

    clock = [0.0]
    monkeypatch.setattr(training.time, "perf_counter", lambda: clock[0])

    def look(scene) -> float:
        clock[0] += slow  # learning itself takes no time by this clock
        return 30.0

    student = Parabola()
    student.scene = student
    run = training.TrainingRun(Budget(steps=16), training.Checkpoint(tmp_path / "a.part", "looks", seconds=1e9))
    history = run.run(student, Progress(), look).history.rows
    assert len(history) == 8 and all("loss" in row for row in history)
    assert sum("psnr" in row for row in history) == looks
