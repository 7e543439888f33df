"""Meshes under light: glTF's material in closed form, its recovery from pictures, the option --pbr."""

import json
import math
import struct
from dataclasses import dataclass, replace

import pytest
import torch
from test_generate import AROUND, one_thread, seeded, sphere  # noqa: F401
from test_generate_job import prior  # noqa: F401

import volkit
from volkit.commands.generate import GenerateJob
from volkit.commands.refine import RefineJob
from volkit.commands.retexture import RetextureJob
from volkit.generation import ConditionBuilder, Penalties, ScoreObjective, ScoreTrainee
from volkit.generation.mesh_particle import MeshParticle
from volkit.guidance import Cfg, Conditions, Guidance, Method
from volkit.guidance.condition import Condition
from volkit.guidance.noise_schedule import NoiseSchedule
from volkit.guidance.weights import sigma_over_alpha
from volkit.progress import Progress
from volkit.rendering.shading import Lights, Reflectance, reflect, sky_reflectance
from volkit.representations import Look
from volkit.training.loop import Budget, StepInfo, TrainingLoop

QUIET = Progress()


def under(roughness, metalness, towards, eye, base=(0.8, 0.5, 0.2), sky=0.0):
    """Light that a flat surface with normal +Z sends to an eye, by one light of strength 1 and a sky."""
    double = lambda *values: torch.tensor([values], dtype=torch.float64)  # noqa: E731
    lights = Lights(double(*towards), double(1.0)[0], torch.tensor(sky, dtype=torch.float64))
    material = Reflectance(double(*base), double(roughness), double(metalness))
    return reflect(material, double(0.0, 0.0, 1.0), double(*eye), lights)[0]


@pytest.mark.parametrize("roughness", [0.3, 0.7, 1.0])
def test_head_on_it_is_what_the_formula_says(roughness):
    """n = l = v: F = f0, D = 1 / (π α²), V = 1/4; so s (1 - f0) c + s f0 / (4 α²)."""
    up, base, gloss = (0.0, 0.0, 1.0), torch.tensor([0.8, 0.5, 0.2]).double(), 0.25 / roughness**4
    torch.testing.assert_close(under(roughness, 0.0, up, up), 0.96 * base + 0.04 * gloss)
    torch.testing.assert_close(under(roughness, 1.0, up, up), base * gloss)


def test_it_reflects_alike_both_ways():
    """Helmholtz: f(l, v) = f(v, l), so that only the cosines differ."""
    a, b = (0.6, 0.0, 0.8), (0.0, -0.28, 0.96)
    there, back = under(0.4, 0.3, a, b) / 0.8, under(0.4, 0.3, b, a) / 0.96
    torch.testing.assert_close(there, back)
    assert (under(0.4, 0.3, (0.0, 0.6, -0.8), a) == 0.0).all()  # from below


@pytest.mark.parametrize("tilt", [0.0, 60.0])
@pytest.mark.parametrize("roughness", [0.5, 0.7, 1.0])
def test_an_even_sky_is_the_sum_of_its_lights(roughness, tilt):
    """Lights over the half-space, as many as make an integral, against the fit that stands for it."""
    height, turn = (torch.arange(1, 2 * n, 2, dtype=torch.float64) / (2 * n) for n in (64, 32))
    z, angle = height[:, None].expand(64, 32).flatten(), (2 * math.pi * turn).repeat(64)
    ring = (1 - z * z).sqrt()
    strength = torch.full_like(z, 2.0 / len(z))  # even over the sphere's half: 2π / n each, and π E of strength E
    lights = Lights(torch.stack([ring * angle.cos(), ring * angle.sin(), z], -1), strength, z.new_zeros(()))
    eye = torch.tensor([[math.sin(math.radians(tilt)), 0.0, math.cos(math.radians(tilt))]]).double()
    one = eye.new_ones(1, 1)
    metal = Reflectance(torch.tensor([[1.0, 0.5, 0.04]]).double(), roughness * one, one)
    summed = reflect(metal, torch.tensor([[0.0, 0.0, 1.0]]).double(), eye, lights)
    share = sky_reflectance(metal.base, roughness * one, one * eye[0, 2])
    # cells of the table, and 64 heights for a lobe of α = .25
    torch.testing.assert_close(share, summed, rtol=0.0, atol=0.02)


@dataclass(frozen=True)
class Told:
    """A prior that knows the picture that it is told: `p(x) = δ(x - m)`, so that `ε = (x_t - α m) / σ`."""

    schedule: NoiseSchedule = NoiseSchedule.stable_diffusion()  # noqa: RUF009
    views: int = 1

    def encode(self, pictures):
        return pictures.movedim(-1, 1)

    def decode(self, x):
        return x.movedim(1, -1)

    def eps(self, at, condition):
        alpha, sigma = self.schedule.at(at.t, at.x)
        return (at.x - alpha * condition.control) / sigma


def painted():
    """A ball of no metal, one half red and dull, the other blue and glossy."""
    mesh = sphere()
    left = (torch.arange(16) < 8)[None, :, None].expand(16, 16, 1)
    red, blue = torch.tensor([190, 60, 40]), torch.tensor([50, 90, 180])
    mesh.texture[..., :3] = torch.where(left, red, blue).to(torch.uint8)
    dull, glossy = torch.tensor([255, 204, 0]), torch.tensor([255, 102, 0])
    finish = torch.where(left, dull, glossy).to(torch.uint8)
    return mesh.with_look(Look.of_texture(mesh.corner_uv, mesh.texture, finish))


def test_known_material_is_recovered_from_pictures_under_other_lights(monkeypatch):
    """The prior knows each picture of the truth under the very lights of the step: SDS is then least squares."""
    rate, steps = 0.06, 240
    monkeypatch.setattr("volkit.generation.mesh_particle.TEXEL_LEARNING_RATE", rate)
    true = MeshParticle(painted(), Penalties(), 0.0, seeded(7))
    learner = MeshParticle(sphere(), Penalties(), 0.0, seeded(7))  # the same lights, step by step

    def words(cameras):
        with torch.no_grad():
            seen = true.draw(cameras, StepInfo(0, 0.0, 0.0)).over(torch.ones(len(cameras), 3)).movedim(-1, 1)
        return Conditions(Condition(control=seen), Condition(control=seen))

    around = replace(AROUND, size=16, elevation=(-60.0, 60.0), distance=(1.8, 1.8))
    guidance = Guidance(Told(), Method(combine=Cfg(1.0), weight=sigma_over_alpha))
    objective = ScoreObjective(guidance, ConditionBuilder(words, background=(1.0, 1.0, 1.0)), around, 2, seeded())
    TrainingLoop(ScoreTrainee([learner], objective), Budget(steps=steps)).run()
    own = learner.atlas.texels(16)[0]
    away, begun = (
        (texels - true.texels.detach())[own].abs().median(0).values
        for texels in (learner.texels.detach(), MeshParticle(sphere(), Penalties(), 0.0, seeded()).texels.detach())
    )
    # What Adam can move a texel by in the last tenth of a run, in which the cosine is .028 on average: what is farther
    # away has not come to rest. Half of the texels are seen often enough; those at the poles hardly ever.
    settled = 0.1 * steps * rate * 0.028
    assert (away < settled).all() and (begun[:4] > 3.0 * settled).all()


def test_the_command_writes_what_engines_read(prior, tmp_path):  # noqa: F811
    source, target = tmp_path / "a.glb", tmp_path / "b.glb"
    volkit.save(sphere(), source)
    RetextureJob(source, "a b", target, prior=str(prior), budget="20", pbr=True).run(QUIET)
    data = target.read_bytes()
    tree = json.loads(data[20 : 20 + struct.unpack("<I", data[12:16])[0]])
    assert "metallicRoughnessTexture" in tree["materials"][0]["pbrMetallicRoughness"]
    finish = volkit.load(target).metallic_roughness
    assert (finish[..., 0] == 255).all() and len(finish[..., 1].unique()) > 2
    RefineJob(target, "a b", tmp_path / "c.glb", prior=str(prior), budget="20", pbr=True).run(QUIET)
    assert not torch.equal(volkit.load(tmp_path / "c.glb").metallic_roughness, finish)


def test_what_cannot_be_kept_is_refused(prior, tmp_path):  # noqa: F811
    for target, says in (("a.safetensors", "hash_grid has no roughness"), ("a.obj", "cannot hold roughness")):
        with pytest.raises(ValueError, match=says):
            GenerateJob("a b", tmp_path / target, prior=str(prior), pbr=True).run(QUIET)
