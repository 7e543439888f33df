"""A scan the whole way: it stands upright on the origin, is as high as asked for, and lies where its splats do."""

import json

import pytest
import torch

import volkit
from volkit.cli import main
from volkit.geometry import Domain, Similarity
from volkit.meshing.game_asset import AssetPlan, make_game_asset
from volkit.meshing.options import MeshOptions
from volkit.representations import Mesh, Placement, SplatsConfig

pytest.importorskip("xatlas")
pytest.importorskip("coacd")

SMALL = MeshOptions(faces=400, texture=64, cells=32, collider="box", maps="colour")
AXES = (0.5, 1.0, 0.25)  # half axes of an ellipsoid of splats, y the longest


def ellipsoid(count: int = 1500, floaters: int = 0):
    """Opaque splats on an ellipsoid; floaters far above it, and as many that nobody can see."""
    generator = torch.Generator().manual_seed(0)
    scene = SplatsConfig(count=count + 2 * floaters, degree=0).build(Domain.cube(1.2), generator)
    with torch.no_grad():
        outward = torch.nn.functional.normalize(torch.randn(len(scene), 3, generator=generator), dim=-1)
        scene.means.copy_(outward * torch.tensor(AXES))
        scene.means[count : count + floaters] += torch.tensor([0.0, 6.0, 0.0])
        scene.log_scales.fill_(-3.4)
        scene.logits.fill_(6.0)
        scene.logits[count + floaters :] = -9.0
    return scene.requires_grad_(False).view(placement=Placement(Similarity(translation=(3.0, -2.0, 5.0)), "yup"))


def box(scene):
    world = scene.world_from_local.points(scene.vertices.double())
    return world.amin(0), world.amax(0)


def test_it_stands_on_the_origin_upright_and_as_high_as_asked():
    scan = ellipsoid(floaters=6)
    before = scan.means.clone()
    made = make_game_asset(scan, AssetPlan(height=0.3, mesh=SMALL, size=64, preview=32))
    lower, upper = box(made.asset.mesh)
    assert torch.equal(scan.means, before) and len(scan) == 1512  # what is given stays
    assert float(upper[2] - lower[2]) == pytest.approx(0.3, rel=1e-6)  # float32 vertices placed in double
    assert float(lower[2]) == pytest.approx(0.0, abs=1e-7) and (lower + upper)[:2].abs().max() < 1e-6  # the same
    # Y was up and the longest axis: width and depth are a half and a quarter of the height.
    width, depth, _ = (upper - lower).tolist()
    # A lattice interval is 1/32 of the longest side, and splats are as thick as one again.
    assert width == pytest.approx(0.15, abs=0.03) and depth == pytest.approx(0.075, abs=0.03)
    assert made.preview.shape == (64, 128, 3) and made.asset.colliders
    assert len(made.scene) == 1500 and "12 of 1512 splats removed" in made.steps[0]
    # Splats and mesh lie in one place.
    splats = made.scene.world_from_local.points(made.scene.means.double())
    assert splats[:, 2].min() == pytest.approx(0.0, abs=0.02) and splats[:, 2].max() == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("up", ["z", "-z", "y", "-y"])
def test_up_is_what_is_said(up):
    """A wedge with one corner far out along the axis that is up: it points up afterwards."""
    ends = {"z": (0, 0, 3), "-z": (0, 0, -3), "y": (0, 3, 0), "-y": (0, -3, 0)}
    corners = torch.tensor([[1.0, 0, 0], [-1, 0, 0], [0, 0.5, 0.5], [0, -0.5, -0.5], ends[up]])
    faces = torch.tensor([[0, 1, 2], [0, 1, 3], [0, 2, 4], [1, 2, 4], [0, 3, 4], [1, 3, 4]])
    made = make_game_asset(Mesh.of(corners, faces), AssetPlan(up=up, mesh=MeshOptions(rebuild=False), preview=8))
    placed = made.asset.mesh.world_from_local.points(made.asset.mesh.vertices.double())
    assert int(placed[:, 2].argmax()) == 4 and placed[:, 2].min().abs() < 1e-6  # float32 vertices placed in double
    assert made.size[2] == pytest.approx(3.5, abs=1e-5) and made.steps[0] == f"up is {up}, as requested"


def test_the_command_writes_all_it_names(tmp_path, capsys):
    scan = tmp_path / "scan.ply"
    volkit.save(ellipsoid(), scan)
    line = ["asset", str(scan), str(tmp_path / "out"), "--height", "0.5", "--engine", "godot", "--faces", "300"]
    line += ["--texture", "64", "--cells", "32", "--size", "64", "--collider", "convex", "--json"]
    assert main(line) == 0
    report = json.loads(capsys.readouterr().out)
    named = {path.split("/")[-1] for path in report["files"].values()}
    assert named == {path.name for path in (tmp_path / "out").iterdir()}
    assert {"scan.glb", "scan.spz", "scan.png", "scan.txt"} <= named
    assert report["size"][2] == pytest.approx(0.5, rel=1e-6) and len(report["levels"]) == 1 and report["colliders"] == 1
    assert "Godot makes levels" in (tmp_path / "out" / "scan.txt").read_text()
    mesh = volkit.load(tmp_path / "out" / "scan.glb")
    assert isinstance(mesh, Mesh)
    lower, upper = box(mesh)
    assert (upper - lower)[2] == pytest.approx(0.5, rel=1e-5) and lower[2] == pytest.approx(0.0, abs=1e-6)  # float32
    assert main(line) == 1 and "--force" in capsys.readouterr().out  # nothing is overwritten unasked
    for wrong in (["--height", "-1"], ["--pivot", "source"]):
        assert main([*line[:3], *wrong]) == 2 and wrong[0] in capsys.readouterr().err


def test_a_mesh_keeps_its_surface():
    trimesh = pytest.importorskip("trimesh")
    ball = trimesh.creation.icosphere(2, 0.5)
    mesh = Mesh.of(torch.from_numpy(ball.vertices).float(), torch.from_numpy(ball.faces))
    plan = AssetPlan(height=2.0, mesh=MeshOptions(rebuild=False, collider="box"), preview=16)
    made = make_game_asset(mesh, plan)
    assert torch.equal(made.asset.mesh.vertices, mesh.vertices) and made.size == pytest.approx(
        (2.0, 2.0, 2.0), rel=0.02
    )


def test_its_front_is_turned_to_where_engines_look():
    """What lay at +X lies at -Y, the front, after a turn by -90 degrees seen from above."""
    corners = torch.tensor([[3.0, 0, 0], [-1, 1, 0], [-1, -1, 0], [0, 0, 1.0]])
    mesh = Mesh.of(corners, torch.tensor([[0, 1, 2], [0, 1, 3], [1, 2, 3], [2, 0, 3]]))
    made = make_game_asset(mesh, AssetPlan(turn=-90.0, mesh=MeshOptions(rebuild=False), preview=8))
    placed = made.asset.mesh.world_from_local.points(made.asset.mesh.vertices.double())
    assert int(placed[:, 1].argmin()) == 0 and "turned by -90 degrees" in made.steps
