"""Generation on objects: one's own prior, rule and config; nothing printed, nothing written, what is given stays."""

from dataclasses import replace

import pytest
import torch
from test_generate import mixture, one_thread, sphere  # noqa: F401

from volkit.generation import (
    EditOptions,
    GenerateOptions,
    MeshTarget,
    RefineOptions,
    RetextureOptions,
    ScoreSettings,
    edit_with_prompt,
    generate,
    refine,
    retexture,
)
from volkit.guidance import METHODS, Cfg, Method, NoiseSchedule
from volkit.guidance.prior import PriorDefaults, as_guiding_prior
from volkit.guidance.weights import sigma_over_alpha
from volkit.io.meshes.asset import Asset
from volkit.progress import Progress
from volkit.representations import Mesh, SplatsConfig, VoxelsConfig

LEAST_SQUARES = Method(combine=Cfg(1.0), weight=sigma_over_alpha)
QUICK = ScoreSettings(views=2, size=12)
SMALL = VoxelsConfig(resolution=12, start=12, sh_degree=0)


class OneColour:
    """All that a prior must have: it knows pictures of one colour, `p(x) = δ(x - m)`, so that `ε = (x_t - α m) / σ`."""

    schedule = NoiseSchedule.stable_diffusion()

    def __init__(self, colour=(0.1, 0.8, 0.2)):
        self.colour = torch.tensor(colour).view(1, 3, 1, 1)

    def encode(self, pictures):
        return pictures.movedim(-1, 1)

    def decode(self, x):
        return x.movedim(1, -1)

    def eps(self, at, condition):
        alpha, sigma = self.schedule.at(at.t, at.x)
        return (at.x - alpha * self.colour) / sigma


def test_an_own_prior_an_own_rule_and_an_own_config_make_a_scene(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    heard = []

    class Listening(Progress):
        def began(self, title):
            heard.append(title)

    made = generate(
        "anything", LEAST_SQUARES, OneColour(), to=SMALL, options=GenerateOptions(score=QUICK), budget=250,
        callback=Listening(),
    )  # fmt: skip
    from volkit.rendering.renderer import renderer_for

    cameras = made.turntable(2, 12)
    seen = renderer_for(made.scene)(made.scene, cameras)
    middle = seen.rgb[:, 5:7, 5:7].mean((0, 1, 2)) / seen.opacity[:, 5:7, 5:7].mean()
    # It began grey, .5 each; the run brings the middle most of the way to the colour that the prior knows.
    assert middle[1] > 0.65 and middle[0] < 0.35 and middle[2] < 0.4
    assert made.scene.config == SMALL and made.report.method == "own" and made.report.prior == "OneColour"
    assert made.report.steps == 250 and made.history and heard == ["prior", "generate voxels"]
    assert capsys.readouterr() == ("", "") and not list(tmp_path.iterdir())


@pytest.mark.parametrize("method", ["sds", METHODS["sds"], METHODS["sds"](5.0)])
def test_rules_are_names_functions_and_values(method):
    """One rule in three ways; the name and the function are no stronger than the prior advises."""
    prior = replace(as_guiding_prior(OneColour()), defaults=PriorDefaults(scale=5.0))
    steps = []
    made = generate(
        "a ball", method, prior, to=SMALL, options=GenerateOptions(score=QUICK), budget=2,
        callback=lambda event: steps.append(event.step),
    )  # fmt: skip
    assert steps == [1, 2]
    assert made.report.scale == 5.0 and made.report.steps == 2
    again = generate("a ball", method, prior, to=SMALL, options=GenerateOptions(score=QUICK), budget=2)
    ours, theirs = (one.scene.state_dict() for one in (made, again))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)  # the same seed on one machine


def test_splats_have_particles_and_a_limit():
    options = GenerateOptions(particles=2, max_splats=80, score=QUICK)
    made = generate("a ball", "sds", OneColour(), to=SplatsConfig(count=60, degree=0), options=options, budget=12)
    assert len(made.scenes) == 2 and all(60 <= len(scene) <= 80 for scene in made.scenes)
    assert not torch.equal(made.scenes[0].means[:10], made.scenes[1].means[:10])


def test_what_a_prior_lacks_is_named():
    with pytest.raises(TypeError, match="a int is no prior: it has no eps, encode, decode, schedule"):
        generate("a ball", "sds", 3, budget=1)
    with pytest.raises(ValueError, match="weights of a diffusers network, and this prior is a OneColour"):
        generate("a ball", "vsd", OneColour(), to=SMALL, budget=1)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"prompt": " "}, "the prompt is empty"),
        ({"to": "nothing"}, "no such kind to generate"),
        ({"method": "nothing"}, "no such method"),
        ({"method": "csd", "options": GenerateOptions(score=ScoreSettings(scale=3.0))}, "csd has no guidance scale"),
        (
            {"method": METHODS["sds"](), "options": GenerateOptions(score=ScoreSettings(scale=3.0))},
            "includes its guidance",
        ),
        ({"budget": "long"}, "write 120s"),
        ({"options": GenerateOptions(particles=0)}, "give at least 1"),
    ],
)
def test_what_cannot_be_is_said_in_parameters(change, says):
    given = {"prompt": "a ball", "method": "sds", "to": SMALL, "budget": 1, "options": GenerateOptions()} | change
    with pytest.raises(ValueError, match=says) as caught:
        generate(given["prompt"], given["method"], OneColour(), to=given["to"], budget=given["budget"],
                 options=given["options"])  # fmt: skip
    assert "--" not in str(caught.value)
    with pytest.raises(ValueError, match="no such weight"):
        ScoreSettings(weight="nothing")


def test_a_mesh_comes_of_a_field(monkeypatch):
    monkeypatch.setattr("volkit.generation.run._extract", lambda *_: sphere())  # a few steps leave no surface
    options = GenerateOptions(score=QUICK)
    made = generate("a ball", LEAST_SQUARES, OneColour(), to=MeshTarget(faces=200), options=options, budget=100)
    assert isinstance(made.scene, Mesh) and made.report.steps == 100
    assert made.scene.texture[..., 1].float().mean() > 128.0  # painted towards green, from grey


def test_what_is_reworked_is_a_copy():
    """Refined, painted, edited: the result differs, the mesh that was given is bit for bit as it was."""
    given, score = sphere(), QUICK
    two_words = replace(as_guiding_prior(replace(mixture(), directions=None)), defaults=PriorDefaults(sides=False))
    before = {name: tensor.clone() for name, tensor in given.state_dict().items()}
    locked = RefineOptions(geometry="locked", score=score)
    keeping = RetextureOptions(keep=True, score=score)
    results = (
        refine(given, "a b", LEAST_SQUARES, OneColour(), options=RefineOptions(score=score), budget=30),
        refine(Asset((given,)), "a b", LEAST_SQUARES, OneColour(), options=locked, budget=30),
        retexture(given, "a b", LEAST_SQUARES, OneColour(), options=keeping, budget=30),
        edit_with_prompt(given, "red", "blue", two_words, options=EditOptions(score=score), budget=30),
    )
    for made in results:
        assert not torch.equal(made.scene.texture, given.texture)
        assert all(torch.equal(given.state_dict()[name], before[name]) for name in before)
    assert torch.equal(results[1].scene.vertices, before["vertices"])
    assert results[0].report.measures["psnr_to_source"] > 15.0  # thirty steps of Adam's rate change little
    assert set(results[3].report.measures) == {"psnr_untouched", "share_untouched", "psnr_to_source"}
    assert results[3].report.method == "dds"


def test_only_meshes_are_painted():
    made = generate("a ball", "sds", OneColour(), to=SMALL, options=GenerateOptions(score=QUICK), budget=1)
    with pytest.raises(TypeError, match="a voxels is no mesh"):
        retexture(made.scene, "a b", "sds", OneColour(), budget=1)
