"""Analytic scenes: exact distances, exact transmittance, converged pictures, readable and hostile files."""

import json
import math

import pytest
import torch

from volkit.files.errors import FormatError
from volkit.geometry import Domain, Points, Rays, Similarity, morton_codes
from volkit.io.fields import analytic_scene
from volkit.representations.analytic import AnalyticConfig, Finish, Light, Primitive, trace
from volkit.representations.analytic.shapes import SHAPES, signed_distance

SIZES = {
    "sphere": (0.4,),
    "ellipsoid": (0.5, 0.2, 0.35),
    "box": (0.4, 0.3, 0.2, 0.05),
    "cylinder": (0.3, 0.4, 0.05),
    "cone": (0.35, 0.4),
    "torus": (0.4, 0.15),
    "capsule": (0.2, 0.3),
}
FLAT = Light(sun=0.0, sky=1.0, shadow=0.0, occlusion=0.0)


def voxels_from_arrays(*primitives: Primitive, density: float = 5.0, softness: float = 1e-6):
    return AnalyticConfig(primitives, density, softness, FLAT).build(Domain.cube(1.0))


def optical_thickness(field, rays: Rays, steps: int) -> torch.Tensor:
    t = (torch.arange(steps, dtype=rays.origins.dtype) + 0.5) * (4.0 / steps)
    at = rays.origins[:, None] + t[:, None] * rays.directions[:, None]
    return field.density(at.reshape(-1, 3)).reshape(len(rays), steps).sum(-1) * (4.0 / steps)


def looking_down(count: int, generator: torch.Generator) -> Rays:
    origins = torch.cat([torch.rand(count, 2, generator=generator) - 0.5, torch.full((count, 1), 2.0)], -1).double()
    return Rays(origins, torch.tensor([0.0, 0.0, -1.0], dtype=torch.float64).expand(count, 3))


@pytest.mark.parametrize("shape", SHAPES)
def test_distances_are_distances(shape):
    generator = torch.Generator().manual_seed(1)
    at = (torch.rand(4000, 3, generator=generator, dtype=torch.float64) * 2 - 1).requires_grad_(True)
    distance = signed_distance(shape, SIZES[shape], at.unbind(-1))
    (gradient,) = torch.autograd.grad(distance.sum(), at)
    away = distance.detach().abs() > 1e-3
    slope = gradient.norm(dim=-1)[away]
    assert ((slope - 1).abs() < 1e-6).float().mean() > 0.999  # unit slope but on the medial axis, which has no volume
    surface = (at - distance[:, None] * gradient).detach()
    outside = distance > 0
    remaining = signed_distance(shape, SIZES[shape], surface[outside].unbind(-1)).abs()
    assert remaining.max() < 1e-9  # walking the distance along the gradient lands on the surface, to float64 rounding


@pytest.mark.parametrize("shape", SHAPES)
def test_gradients(shape):
    generator = torch.Generator().manual_seed(2)
    at = (torch.rand(20, 3, generator=generator, dtype=torch.float64) + 0.05).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: signed_distance(shape, SIZES[shape], x.unbind(-1)), (at,))


def test_distance_is_the_closest_point_of_a_dense_surface():
    field = voxels_from_arrays(Primitive("ellipsoid", SIZES["ellipsoid"]))
    u, v = torch.meshgrid(torch.linspace(0, math.pi, 800), torch.linspace(0, 2 * math.pi, 1600), indexing="ij")
    sphere = torch.stack([u.sin() * v.cos(), u.sin() * v.sin(), u.cos()], -1).reshape(-1, 3)
    surface = sphere * torch.tensor(SIZES["ellipsoid"])
    at = torch.rand(40, 3, generator=torch.Generator().manual_seed(3)) * 2 - 1
    nearest = torch.cdist(at, surface).amin(-1)
    # 4e-4: half the spacing of the surface samples against the distance of the closest points kept here (> 0.02)
    assert (field.signed_distance(at).abs() - nearest).abs()[nearest > 0.02].max() < 4e-4


def test_homogeneous_solids_have_their_closed_forms():
    generator = torch.Generator().manual_seed(4)
    rays = looking_down(64, generator)
    x, y = rays.origins[:, 0], rays.origins[:, 1]
    sphere = voxels_from_arrays(Primitive("sphere", (0.4,)))
    chord = 2 * (0.16 - x * x - y * y).clamp_min(0).sqrt()
    # 4e-3: a chord's ends are found to one step of 4 / 4000, at density 5
    assert (optical_thickness(sphere, rays, 4000) - 5.0 * chord).abs().max() < 5.5e-3
    slab = voxels_from_arrays(Primitive("box", (0.9, 0.9, 0.25, 0.0)))
    assert (optical_thickness(slab, rays, 4000) - 5.0 * 0.5).abs().max() < 5.5e-3  # the same one step


def test_quadrature_converges_on_a_soft_surface():
    generator = torch.Generator().manual_seed(5)
    rays = looking_down(64, generator)
    field = voxels_from_arrays(Primitive("torus", SIZES["torus"]), density=40.0, softness=0.05)
    thin, half, quarter = (optical_thickness(field, rays, n) for n in (200, 400, 800))
    # Second order: a smooth ramp two steps wide and wider; the factor 4 is blurred by its corners.
    assert (half - quarter).abs().mean() < 0.4 * (thin - half).abs().mean()


def test_sphere_tracing_finds_depth_and_normal():
    placed = Similarity(translation=(0.1, -0.2, 0.05))
    field = voxels_from_arrays(Primitive("sphere", (0.4,), placed))
    rays = looking_down(200, torch.Generator().manual_seed(6))
    hits = trace(field, rays)
    offset = rays.origins[:, :2] - torch.tensor(placed.translation[:2], dtype=torch.float64)
    inside = 0.16 - offset.square().sum(-1)
    clear = inside.abs() > 1e-3
    assert torch.equal(hits.hit[clear], inside[clear] > 0)
    depth = 2.0 - 0.05 - inside.clamp_min(0).sqrt()
    both = hits.hit & clear
    assert (hits.distance - depth)[both].abs().max() < 3e-4  # 1e-5 along the normal, stretched at grazing angles
    at = rays.origins + hits.distance[:, None] * rays.directions
    normal = torch.nn.functional.normalize(at - torch.tensor(placed.translation, dtype=torch.float64), dim=-1)
    assert (hits.normal - normal)[both].abs().max() < 1e-9  # float64 rounding


def test_colours_are_differentiable_and_depend_on_the_view():
    texture = Finish((0.8, 0.3, 0.2), (0.1, 0.2, 0.6), "noise", gloss=0.5)
    config = AnalyticConfig((Primitive("sphere", (0.4,), texture=texture),), 5.0, 0.2, Light(shadow=0.0))
    field = config.build(Domain.cube(1.0))
    generator = torch.Generator().manual_seed(7)
    direction = torch.nn.functional.normalize(torch.randn(30, 3, generator=generator, dtype=torch.float64), dim=-1)
    at = (0.38 * direction).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: field.query(Points(x, -direction)).rgb, (at,))
    with torch.no_grad():
        head_on = field.query(Points(at, -direction)).rgb
        aslant = field.query(Points(at, -direction.roll(1, -1))).rgb
    assert (head_on - aslant).abs().max() > 0.02  # the gloss lobe
    assert head_on.min() >= 0


def test_every_cell_with_matter_is_marked():
    field = analytic_scene.read(analytic_scene.bundled("lantern"))
    unit = torch.rand(200_000, 3, generator=torch.Generator().manual_seed(9))
    codes = morton_codes((unit * 128).long())
    marked = (field.occupancy[codes // 8] >> (codes % 8).to(torch.uint8)) & 1
    matter = field.density(field.domain.local_from_unit(unit)) > 0
    assert not (matter & (marked == 0)).any()
    assert marked.float().mean() < 2.5 * matter.float().mean() + 0.05  # and not much more than those


def test_nothing_outside_the_domain():
    field = AnalyticConfig((Primitive("sphere", (2.0,)),)).build(Domain.cube(1.0))
    at = torch.tensor([[0.0, 0.0, 0.99], [0.0, 0.0, 1.01]])
    assert (field.density(at) > 0).tolist() == [True, False]


@pytest.mark.parametrize("name", analytic_scene.bundled_names())
def test_bundled_scenes_lie_inside_their_domain_and_are_seen(name):
    field = analytic_scene.read(analytic_scene.bundled(name))
    assert analytic_scene.sniff(analytic_scene.bundled(name))
    face = torch.rand(6, 2000, 3, generator=torch.Generator().manual_seed(8))
    for side in range(6):
        face[side, :, side % 3] = side // 3
    walls = field.domain.local_from_unit(face.reshape(-1, 3))
    assert field.density(walls).max() == 0
    capture = field.capture
    assert len(capture.names) == len(capture.cameras) and set(capture.held_out) < set(capture.names)
    rays = capture.cameras.resize(24).picture_rays(0)
    assert 0.05 < trace(field, rays).hit.float().mean() < 0.9


BAD = {
    "shape": lambda s: s["primitives"][0].update(shape="teapot"),
    "size": lambda s: s["primitives"][0].update(size=[1, 2]),
    "nan": lambda s: s["primitives"][0].update(size=[float("nan")] * 3),
    "member": lambda s: s["primitives"][0].update(color=[1, 0, 0]),
    "missing": lambda s: s.pop("density"),
    "version": lambda s: s.update(version=7),
    "domain": lambda s: s.update(domain=[[0, 0, 0], [0, 1, 1]]),
    "empty": lambda s: s.update(primitives=[]),
    "list": lambda s: s.update(primitives=3),
}


@pytest.mark.parametrize("fault", BAD)
def test_bad_scenes_are_named_errors(tmp_path, fault):
    scene = json.loads(analytic_scene.bundled("primitives").read_text())
    BAD[fault](scene)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(scene))
    with pytest.raises(FormatError, match=r"bad\.json: not an analytic scene"):
        analytic_scene.read(path)


def test_truncated_scene_is_a_named_error(tmp_path):
    path = tmp_path / "cut.json"
    path.write_text(analytic_scene.bundled("primitives").read_text()[:200])
    with pytest.raises(FormatError, match="not readable as JSON"):
        analytic_scene.read(path)
