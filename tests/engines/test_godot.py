"""Godot 3 imports the assets made for it: faces, place, texture, and solids that become static bodies."""

from pathlib import Path

import pytest
from engines.assets import asset
from engines.clients import seen_by_godot

from volkit.io.meshes.asset import Style
from volkit.io.meshes.writer import write_asset


def test_assets_are_imported(tmp_path: Path) -> None:
    whole = asset()
    write_asset(whole, tmp_path / "png.glb", Style("godot3"))
    write_asset(whole, tmp_path / "jpeg.glb", Style("godot3", "jpeg"))
    write_asset(whole, tmp_path / "beside.gltf", Style("godot3"))
    seen = seen_by_godot(tmp_path)
    assert set(seen) == {"png.glb", "jpeg.glb", "beside.gltf"}
    mesh = whole.levels[0]
    place = mesh.in_frame("yup").world_from_local.points(mesh.vertices)
    for name, parts in seen.items():
        assert parts, f"{name} was not imported"
        (shown,) = [part for part in parts if part["class"] == "MeshInstance"]
        assert shown["faces"] == 1280 and shown["texture"] == 192
        for side, wanted in (("low", place.amin(0)), ("high", place.amax(0))):
            assert shown[side] == pytest.approx(wanted.tolist(), abs=1e-3)  # Godot 3 packs positions
        assert len([part for part in parts if part["class"] == "StaticBody"]) == 2
        assert [p["shape"] for p in parts if p["class"] == "CollisionShape"] == ["ConvexPolygonShape"] * 2
