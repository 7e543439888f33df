"""What is up in files: where formats demand it, where --frame overrules them, and what they say of it themselves."""

import os
import subprocess
import sys

import pytest
import torch
from engines.assets import coloured
from splat_scenes import random_splats

from volkit.files import sandbox
from volkit.files.sandbox import Sandbox
from volkit.geometry import Cameras, turn
from volkit.io import FORMATS, FormatError, load, save
from volkit.io.meshes import usd_reader
from volkit.rendering.orbits import orbit_path
from volkit.rendering.renderer import renderer_for
from volkit.representations import Placement

FRAMES = ("zup", "yup", "ydown")
UP = {"zup": (0.0, 0.0, 1.0), "yup": (0.0, 1.0, 0.0), "ydown": (0.0, -1.0, 0.0)}
TARGETS = {"ply": ".ply", "splat_gltf": ".glb", "usd": ".usdc", "volkit": ".safetensors"}
EYES = torch.tensor([[4.0, 1.0, 0.5], [-1.0, -3.5, 2.0]])


def scene(frame: str):
    splats = random_splats(60, 3)
    splats.log_scales.data.add_(1.5)
    splats = splats.view(placement=Placement(frame=frame))
    return splats.requires_grad_(False)


def cameras() -> Cameras:
    return Cameras.looking_at(EYES, torch.zeros(3), torch.tensor([0.0, 0.0, 1.0]), 60.0, (48, 48))


@pytest.mark.parametrize("frame", ["auto", *FRAMES])
@pytest.mark.parametrize("own", FRAMES)
@pytest.mark.parametrize("row", TARGETS)
def test_pictures_are_the_same_from_cameras_that_moved_along(tmp_path, row, own, frame):
    """Positions, rotations and harmonics of degree 3; a reader takes coordinates for what its format demands."""
    splats, path = scene(own), tmp_path / f"a{TARGETS[row]}"
    save(splats, path, frame=frame)
    again = load(path).requires_grad_(False)
    written = (FORMATS[row].frame or own) if frame == "auto" else frame
    demanded = FORMATS[row].frame or written
    if row == "usd" and written == "zup":
        demanded = "zup"  # the stage says so
    assert again.frame == (own if FORMATS[row].frame else written)
    change = turn(again.frame, demanded) @ turn(written, own)
    assert change.is_identity or frame != "auto"
    ours = renderer_for(splats)(splats, cameras()).rgb
    theirs = renderer_for(again)(again, cameras().transform(change)).rgb
    # float32: harmonics turned twice, exponentials and their logarithms; a splat's edge may move by a pixel
    assert ours.std() > 0.05 and (ours - theirs).abs().max() < 2e-3


@pytest.mark.parametrize("own", FRAMES)
@pytest.mark.parametrize("suffix", [".glb", ".obj", ".stl", ".ply", ".usdc"])
def test_meshes_stand_upright_in_every_format(tmp_path, suffix, own):
    mesh = coloured(1)
    mesh = mesh.view(placement=Placement(frame=own))
    save(mesh, tmp_path / f"a{suffix}")
    again = load(tmp_path / f"a{suffix}")
    assert again.frame == ("zup" if suffix == ".stl" else own)  # which has no room to say where it came from
    heights = mesh.world_from_local.points(mesh.vertices.double()) @ torch.tensor(UP[own]).double()
    found = again.world_from_local.points(again.vertices.double()) @ torch.tensor(UP[again.frame]).double()
    torch.testing.assert_close(found.aminmax(), heights.aminmax(), atol=1e-6, rtol=0)  # float32


@pytest.mark.parametrize("own", FRAMES)
def test_splats_and_mesh_of_a_scene_lie_alike_in_gltf(tmp_path, own):
    splats, mesh = scene(own), coloured(1)
    mesh = mesh.view(placement=Placement(frame=own))
    mesh = mesh.view(placement=splats.world_from_local)
    mesh.vertices = splats.means[: len(mesh.vertices)].clone()
    save(splats, tmp_path / "splats.glb")
    save(mesh, tmp_path / "mesh.glb")
    used = mesh.faces.unique().long()
    found = load(tmp_path / "splats.glb").means[used], load(tmp_path / "mesh.glb").vertices
    assert set(map(tuple, found[0].tolist())) == set(map(tuple, found[1].tolist()))


@pytest.mark.parametrize("comment", ["Vertical Axis: z", "Vertical Axis: -y", 'volkit {"frame": 7}', "volkit {", ""])
def test_comments_of_others(tmp_path, comment):
    save(scene("zup"), tmp_path / "a.ply")
    lines = (tmp_path / "a.ply").read_bytes().split(b"\n")
    kept = [line for line in lines if not line.startswith(b"comment ")]
    (tmp_path / "a.ply").write_bytes(b"\n".join([*kept[:2], b"comment " + comment.encode(), *kept[2:]]))
    assert load(tmp_path / "a.ply").frame == ("zup" if comment.endswith(": z") else "ydown")


def test_a_circle_is_level(tmp_path):
    for frame in FRAMES:
        up = torch.tensor(UP[frame])
        around = orbit_path(scene(frame), 5, 32)
        assert torch.allclose(around.centres @ up, (around.centres @ up)[:1], atol=1e-5)  # float32
        assert ((around.up * up).sum(-1) > 0.8).all()


@pytest.mark.parametrize(
    ("program", "seconds", "said"),
    [
        ("import os; os.abort()", 60.0, "crashes"),
        ("while input(): print('\"crashed\"', flush=True)", 60.0, ": crashed"),
        ("import time; time.sleep(60)", 0.2, "does not finish"),
    ],
)
def test_what_kills_usd_core_is_an_error(tmp_path, monkeypatch, program, seconds, said):
    """A splat's and a mesh's file go through the same door, which the next file finds open."""
    save(scene("zup"), tmp_path / "a.usdc")
    save(coloured(1), tmp_path / "b.usdc")
    (tmp_path / "child.py").write_text(program)
    with monkeypatch.context() as changed:
        changed.setattr(sandbox, "__file__", str(tmp_path / "child.py"))
        changed.setattr(usd_reader, "SANDBOX", Sandbox("usd-core", tmp_path / "probe.py", seconds))
        for name in ("a", "b"):
            with pytest.raises(FormatError, match=rf"{name}\.usdc: .*usd-core ?{said}"):
                load(tmp_path / f"{name}.usdc")
    load(tmp_path / "a.usdc")


PROBE = """
def probe(path):
    bytearray(512 << 20 if path.endswith("greedy") else 1)
"""


def test_one_child_tries_many_files_and_survives_bad_ones(tmp_path):
    for name in ("probe.py", "good", "greedy"):
        (tmp_path / name).write_text(PROBE)
    trial = Sandbox("a library", tmp_path / "probe.py", 60.0)
    trial.check(tmp_path / "good", 256 << 20)
    child = trial._child
    with pytest.raises(ValueError, match="a library: MemoryError"):
        trial.check(tmp_path / "greedy", 256 << 20)
    trial.check(tmp_path / "good", 256 << 20)
    assert trial._child is child


def test_no_child_is_left_behind(tmp_path):
    """Of a program that ends: it says nothing, and who it asked is gone."""
    (tmp_path / "probe.py").write_text("def probe(path):\n    pass\n")
    program = (
        "import sys; from pathlib import Path; from volkit.files.sandbox import Sandbox; probe = Path(sys.argv[1]); "
        "trial = Sandbox('a library', probe, 60.0); trial.check(probe); print(trial._child.pid)"
    )
    command = [sys.executable, "-W", "always", "-c", program, str(tmp_path / "probe.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)
