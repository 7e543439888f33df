"""Snapshots of instant-ngp: an encoder from the layout's description, answers by hand in float64, round trips."""

import math
import zlib

import msgpack
import numpy as np
import pytest
import torch
from mutants import survive
from ngp_snapshots import by_hand, config, parts, rounded, snapshot, store

from volkit.geometry import Cameras, Domain, Points, Similarity
from volkit.io import FormatError, load, save
from volkit.io.fields.instant_ngp.layout import read_layout
from volkit.representations import Capture, HashGridConfig


def questions(aabb_scale=1, count=300):
    generator = np.random.default_rng(5)
    directions = generator.normal(size=(count, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    return 0.5 + (generator.random((count, 3)) - 0.5) * aabb_scale, directions


def agrees(field, expected, ngp, directions):
    points = Points(torch.from_numpy(ngp).float(), torch.from_numpy(directions).float())
    with torch.no_grad():
        answer = field.query(points)
    density, rgb = (torch.from_numpy(values).float() for values in expected)
    torch.testing.assert_close(answer.density, density, rtol=3e-3, atol=1e-4)  # float32 positions in cells of 1/20
    torch.testing.assert_close(answer.rgb, rgb, rtol=0.0, atol=1e-3)  # same


@pytest.mark.parametrize("suffix", [".ingp", ".msgpack"])
@pytest.mark.parametrize("aabb_scale", [1, 4])
@pytest.mark.parametrize("kind", ["FullyFusedMLP", "CutlassMLP"])
@pytest.mark.parametrize("dtype", ["<f2", "<f4"])
def test_answers(tmp_path, suffix, aabb_scale, kind, dtype):
    root = config(network={"otype": kind}, rgb_network={"otype": kind}, encoding={"n_levels": 3})
    held = parts(root)
    ngp, directions = questions(aabb_scale)
    field = load(store(tmp_path / f"scene{suffix}", snapshot(root, held, aabb_scale=aabb_scale, dtype=dtype)))
    expected = by_hand(root, rounded(held, dtype), ngp, directions, aabb_scale)
    agrees(field, expected, ngp, directions)
    assert field.provenance["steps"] == 35000


def test_latents_enter_by_their_mean(tmp_path):
    root, extra = config(), 5
    held, latents = parts(root, extra), np.random.default_rng(3).normal(size=(4, extra))
    content = snapshot(
        root,
        held,
        dataset={"n_extra_learnable_dims": extra},
        extra_dims_opt=[{"variable": v.tolist()} for v in latents],
    )
    ngp, directions = questions()
    expected = by_hand(root, rounded(held), ngp, directions, latent=latents.mean(0))
    agrees(load(store(tmp_path / "scene.ingp", content)), expected, ngp, directions)


@pytest.mark.parametrize(
    ("aabb_scale", "changes", "encoded", "networks"),
    [
        # The log of instant-ngp printed in its issue 992, and the count in its issue 845.
        (1, {"n_levels": 16, "n_features_per_level": 2}, 12196240, 10240),
        (4, {"n_levels": 16, "n_features_per_level": 2, "otype": "CutlassMLP"}, 13074912, 9728),
    ],
)
def test_published_parameter_counts(aabb_scale, changes, encoded, networks):
    kind = {"otype": changes.pop("otype", "FullyFusedMLP"), "n_neurons": 64}
    grid = {"log2_hashmap_size": 19, "base_resolution": 16, "per_level_scale": 0.0, **changes}
    layout = read_layout(config(encoding=grid, network=kind, rgb_network=kind), aabb_scale, 0)
    assert layout.levels.entries * layout.levels.features == encoded
    assert layout.density.parameters + layout.rgb.parameters == networks


@pytest.mark.parametrize("from_mitsuba", [False, True])
def test_frame_and_cameras(tmp_path, from_mitsuba):
    """ngp = scale world + offset, then x, y, z <- y, z, x; camera matrices with OpenCV axes."""
    world = np.array([[0.3, -0.2, 0.7]])
    ngp = world * 0.33 + [0.5, 0.4, 0.6]
    ngp = ngp if from_mitsuba else ngp[:, [1, 2, 0]]
    pose = np.concatenate([np.eye(3), ngp.T], 1).tolist()
    dataset = {
        "from_mitsuba": from_mitsuba,
        "metadata": [{"resolution": [64, 48], "focal_length": [50.0, 51.0], "principal_point": [0.5, 0.25],
                      "lens": {"k1": 0.1, "k2": 0.0, "p1": 0.0, "p2": 0.0, "is_fisheye": False}}],
        "xforms": [{"start": pose, "end": pose}],
        "paths": ["a.png"],
    }  # fmt: skip
    root = config()
    field = load(store(tmp_path / "scene.ingp", snapshot(root, parts(root), dataset=dataset)))
    place = field.world_from_local.points(torch.from_numpy(ngp))
    assert torch.allclose(place, torch.from_numpy(world), atol=1e-12)  # float64 both ways
    cameras = field.capture.cameras
    assert field.capture.names == ("a.png",) and cameras.lens.model == "opencv"
    assert torch.allclose(cameras.centres.double(), torch.from_numpy(world), atol=1e-6)  # float32
    assert cameras.intrinsics.tolist() == [[50.0, 51.0, 32.0, 12.0]] and cameras.size.tolist() == [[64, 48]]
    if not from_mitsuba:  # ngp's x axis is the world's y axis
        assert torch.allclose(cameras.world_from_camera[0, :, 0], torch.tensor([0.0, 1.0, 0.0]))


def test_occupancy_pools_cascades(tmp_path):
    def code(x, y, z):
        return sum((v >> b & 1) << 3 * b + axis for b in range(7) for axis, v in enumerate((x, y, z)))

    grid = np.zeros((2, 128**3))
    grid[0, code(10, 20, 30)] = 5.0  # of the inner cascade: in the outer one at 32 + half of it
    grid[1, code(100, 3, 7)] = 5.0
    root = config()
    content = snapshot(root, parts(root), aabb_scale=2, grid=grid.ravel())
    bits = load(store(tmp_path / "scene.ingp", content)).occupancy.numpy()
    marked = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
    assert sorted(marked) == sorted([code(37, 42, 47), code(100, 3, 7)])


def fitted(seed=0, **changes):
    """A field of ours, moved, with cameras and some occupancy."""
    generator = torch.Generator().manual_seed(seed)
    shape = {"levels": 4, "features": 4, "log2_table": 8, "base_resolution": 4, "width": 32, "products": "float32"}
    field = HashGridConfig(**{**shape, **changes}).build(Domain((-1.0, -1.0, -1.0), (2.0, 2.0, 2.0)), generator)
    with torch.no_grad():
        for parameter in field.parameters():
            parameter.copy_((parameter + 0.3 * torch.randn(parameter.shape, generator=generator)).half())
    field.occupancy = torch.randint(0, 256, field.occupancy.shape, generator=generator).to(torch.uint8)
    angle = math.sqrt(0.5)
    place = Similarity(((angle, -angle, 0.0), (angle, angle, 0.0), (0.0, 0.0, 1.0)), (1.0, 2.0, 3.0), 2.0)
    pose = torch.eye(4)[None, :3].clone()
    pose[0, :, 3] = torch.tensor([1.0, -4.0, 2.0])
    cameras = Cameras(pose, torch.tensor([[90.0, 90.0, 32.0, 24.0]]), torch.tensor([[64, 48]]))
    capture = Capture(cameras, ("a",), ("a",), 0.25, (1.0, 1.0, 0.5))
    return field.view(placement=place, capture=capture, provenance={"note": "of a test"})


@pytest.mark.parametrize("suffix", [".ingp", ".msgpack"])
@pytest.mark.parametrize("density_scale", [1.0, 8.0])
@pytest.mark.parametrize("turned", [False, True])
def test_round_trip(tmp_path, suffix, density_scale, turned):
    field = fitted(density_scale=density_scale)
    if not turned:
        field = field.view(placement=Similarity())
    path = tmp_path / f"scene{suffix}"
    save(field, path)
    again = load(path)
    for name, tensor in field.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name  # half precision all along
    world = field.world_from_local.points(field.domain.local_from_unit(torch.rand(200, 3, dtype=torch.float64)))
    directions = torch.nn.functional.normalize(torch.randn(200, 3, dtype=torch.float64), dim=-1)
    answers = []
    for one in (field.double(), again.double()):
        to_local = one.world_from_local.inverse()
        sample = one.query(Points(to_local.points(world), to_local.vectors(directions)))
        answers.append((sample.density / one.world_from_local.scale, sample.rgb))
    torch.testing.assert_close(answers[0][0], answers[1][0], rtol=1e-6, atol=0.0)  # float64, positions moved twice
    turned_colour = answers[0][1] if not turned else answers[1][1]
    assert torch.isfinite(turned_colour).all() and torch.allclose(answers[0][1], answers[1][1], atol=1e-7)  # same
    cameras = again.capture.cameras
    torch.testing.assert_close(cameras.world_from_camera, field.capture.cameras.world_from_camera, atol=1e-5, rtol=0)
    assert (
        again.capture.held_out == ("a",) and again.capture.near == 0.25 and again.capture.background == (1.0, 1.0, 0.5)
    )
    assert again.provenance["note"] == "of a test"


def test_what_instant_ngp_reads_of_ours(tmp_path):
    """The entries that its loader demands, and a world that its own formula maps into its box."""
    field = fitted()
    field = field.view(placement=Similarity())
    save(field, tmp_path / "scene.msgpack")
    root = msgpack.unpackb((tmp_path / "scene.msgpack").read_bytes())
    snap, dataset = root["snapshot"], root["snapshot"]["nerf"]["dataset"]
    assert {"loss", "optimizer", "encoding", "network", "dir_encoding", "rgb_network"} <= set(root)
    assert {"training_step", "loss", "n_params", "density_grid_size"} <= set(snap)
    assert {"n_images", "xforms", "render_aabb", "up", "offset", "envmap_resolution", "scale", "from_mitsuba"} <= set(
        dataset
    )
    corner = np.array([-1.0, 2.0, 0.5]) * dataset["scale"] + dataset["offset"]
    assert dataset["from_mitsuba"] and np.allclose(corner, [0.0, 1.0, 0.5])
    assert len(snap["density_grid_binary"]) == 2 * 128**3


@pytest.mark.parametrize(
    ("change", "fact"),
    [
        (lambda r: r["encoding"].update(otype="Frequency"), "encodes positions by 'frequency'"),
        (lambda r: r["encoding"].update(interpolation="Smoothstep"), "interpolation"),
        (lambda r: r["network"].update(activation="Squareplus"), "activation"),
        (lambda r: r["network"].update(otype="KAN"), "is a 'kan'"),
        (lambda r: r["network"].update(n_neurons=48), "48 and 32 wide"),
        (lambda r: r["dir_encoding"].update(otype="Frequency"), "directions"),
        (lambda r: r["snapshot"].update(version=0), "older than version 1"),
        (lambda r: r["snapshot"].update(mode="sdf"), "not a radiance field"),
        (lambda r: r["snapshot"].update(params_binary=b"12"), "parameters"),
        (lambda r: r["snapshot"].update(params_binary=[1, 2]), "is not an array"),
        (lambda r: r["snapshot"]["nerf"]["dataset"].update(is_hdr=True), "HDR"),
        (lambda r: r["snapshot"]["nerf"].update(aabb_scale=1 << 20), "aabb_scale"),
        (lambda r: r.pop("rgb_network"), "lacks 'rgb_network'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, change, fact):
    root = snapshot(config(), parts(config()))
    change(root)
    with pytest.raises(FormatError, match=rf"scene\.ingp: .*({fact})"):
        load(store(tmp_path / "scene.ingp", root))


def test_bombs_are_refused(tmp_path):
    path = tmp_path / "scene.ingp"
    path.write_bytes(zlib.compress(msgpack.packb({"snapshot": b"\0" * (80 << 20)}), 1))
    with pytest.raises(FormatError, match="unpacks to more than"):
        load(path)


def test_contracted_fields_are_refused(tmp_path):
    field = HashGridConfig(levels=4, features=4, log2_table=8).build(Domain.cube(1.0, True), torch.Generator())
    with pytest.raises(FormatError, match="in cubes only"):
        save(field, tmp_path / "scene.ingp")


def test_mutants(tmp_path):
    root = config()
    content = msgpack.packb(snapshot(root, parts(root), grid=np.zeros(0)))
    survive(tmp_path / "scene.msgpack", content)
    survive(tmp_path / "scene.ingp", zlib.compress(content), share=1 / 3)
    survive(tmp_path / "scene.ingp", content, zlib.compress, share=1 / 3)
