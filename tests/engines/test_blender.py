"""Blender opens every file, finds its parts under their names, and draws it as we do."""

from pathlib import Path

import numpy as np
import pytest
import torch
from engines.assets import PLACE, STYLES, asset, ball
from engines.clients import seen_by_blender
from PIL import Image

from volkit.evaluation.metrics import psnr
from volkit.geometry import Cameras
from volkit.geometry.triangles import corner_tangents
from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.writer import write_asset
from volkit.rendering import renderer_for

WHOLE = asset()
FINEST = WHOLE.levels[0]
SIZE, FOCAL = 160, 260.0
OTHERS = (".obj", ".ply", ".stl", ".usdz", ".usdc")


def _camera() -> Cameras:
    place = torch.tensor([[4.0, -5.0, 3.5]])
    middle = torch.tensor(PLACE.translation)
    return Cameras.looking_at(place + middle, middle, torch.tensor([0.0, 0.0, 1.0]), FOCAL, (SIZE, SIZE))


@pytest.fixture(scope="module")
def seen(tmp_path_factory) -> dict:
    """All files, opened in one process; each engine's plain one and each packing drawn."""
    folder, whole, camera = tmp_path_factory.mktemp("blender"), WHOLE, _camera()
    jobs = []
    for number, style in enumerate(STYLES):
        path = folder / f"{number}.glb"
        write_asset(whole, path, style)
        jobs.append({"path": str(path)})
        if style.engine == "blender" or style == Style(style.engine):
            jobs[-1] |= {
                "picture": str(path.with_suffix(".png")), "focal": FOCAL, "size": SIZE,
                "world_from_camera": [*camera.world_from_camera[0].tolist(), [0, 0, 0, 1]],
            }  # fmt: skip
    for suffix in OTHERS:
        write_asset(whole, folder / f"ball{suffix}", Style())
        jobs.append({"path": str(folder / f"ball{suffix}")})
    found = seen_by_blender(jobs, folder)
    return {job["path"]: (job, told) for job, told in zip(jobs, found, strict=True)}


@pytest.mark.parametrize("number", range(len(STYLES)), ids=lambda number: str(STYLES[number]))
def test_parts_have_their_names(seen: dict, number: int) -> None:
    engine, told = STYLES[number].engine, next(t for p, (_, t) in seen.items() if p.endswith(f"/{number}.glb"))
    shown = {name for name, mesh in told["meshes"].items() if mesh["shown"]}
    solids = {"unreal": {f"UBX_{number}_LOD0_{k:02d}" for k in (0, 1)},
              "godot3": {f"{number}_{k:02d}-convcolonly" for k in (0, 1)}}.get(engine, set())  # fmt: skip
    name = str(number) if engine in ("godot", "godot3") else f"{number}_LOD0"
    assert shown == {name} | solids
    finest = told["meshes"][name]
    assert finest["faces"] == 1280 and finest["materials"] == [str(number)] and finest["uv"] == 2
    assert sorted(told["images"].values()) == [[32, 32], [64, 64], [64, 64], [192, 192]]
    _same_box(finest)


@pytest.mark.parametrize("suffix", OTHERS)
def test_other_formats(seen: dict, suffix: str) -> None:
    told = next(t for p, (_, t) in seen.items() if p.endswith(f"ball{suffix}"))
    (finest,) = [m for m in told["meshes"].values() if m["faces"] == 1280]
    assert finest["materials"] or suffix in (".ply", ".stl")
    assert finest["uv"] or finest["colours"] or suffix == ".stl"
    _same_box(finest)


def _same_box(told: dict) -> None:
    """Blender's world is ours: +Z up, metres."""
    mesh = FINEST
    world = mesh.world_from_local.points(mesh.vertices)
    for side, wanted in (("low", world.amin(0)), ("high", world.amax(0))):
        assert told[side] == pytest.approx(wanted.tolist(), abs=1e-3)  # a step of Draco's 14 bits over 3 metres


def test_tangents_are_mikktspace(tmp_path: Path) -> None:
    """Blender computes them anew, by the code of their inventor, from the positions, normals and uv of the file."""
    mesh = ball(2)
    write_asset(Asset((mesh,)), tmp_path / "ball.glb", Style())
    (told,) = seen_by_blender([{"path": str(tmp_path / "ball.glb"), "tangents": True}], tmp_path)
    place, uv, theirs, sign = torch.tensor(told["tangents"]).split([3, 2, 3, 1], -1)
    corners = mesh.world_from_local.points(mesh.triangles.corners)
    flipped = mesh.corner_uv * torch.tensor([1.0, -1.0]) + torch.tensor([0.0, 1.0])
    ours = corner_tangents(mesh.triangles, mesh.corner_uv).view(-1, 4)
    match = torch.cdist(torch.cat([place, uv], 1), torch.cat([corners, flipped], -1).view(-1, 5)).argmin(1)
    assert torch.equal(ours[match, 3:], sign)
    # Blender's normals are kept in 16 bits; where charts meet at one uv the corner of another face may be matched
    assert (ours[match, :3] * theirs).sum(-1).quantile(0.02) > 0.999


def test_pictures_are_ours(seen: dict) -> None:
    mesh, camera = FINEST, _camera()
    ours = renderer_for(mesh)(mesh, camera)
    wanted = ours.rgb[0] + (1.0 - ours.opacity[0, ..., None])
    drawn = {path: job["picture"] for path, (job, _) in seen.items() if "picture" in job}
    assert len(drawn) == 14
    for number, picture in drawn.items():
        theirs = torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).float() / 255.0
        assert psnr(theirs, wanted) > 28.0, number
