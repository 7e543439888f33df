"""Khronos' validator finds no error and nothing to warn of in any file, over engines, pictures and packings."""

from pathlib import Path

from engines.assets import STYLES, asset, coloured
from engines.clients import validated

from volkit.io.meshes.asset import Asset, Style
from volkit.io.meshes.writer import write_asset


def test_every_file_is_valid(tmp_path: Path) -> None:
    whole, unlit, plain = asset(), asset(lit=False), Asset((coloured(3),))
    paths = []
    for number, style in enumerate(STYLES):
        for suffix in (".glb", ".gltf"):
            paths.append(tmp_path / str(number) / f"ball{suffix}")
            paths[-1].parent.mkdir(exist_ok=True)
            write_asset(whole, paths[-1], style)
    for name, other, style in (
        ("unlit", unlit, Style()), ("colours", plain, Style()),
        ("packed", plain, Style(draco=True)), ("short", plain, Style(quantize=True)),
    ):  # fmt: skip
        paths.append(tmp_path / f"{name}.glb")
        write_asset(other, paths[-1], style)
    for path, report in zip(paths, validated(paths), strict=True):
        found = [m for m in report["issues"]["messages"] if m["severity"] < 2]  # errors 0, warnings 1, then remarks
        assert not found, f"{path}: {found[:3]}"
        assert report["info"]["totalTriangleCount"] > 0


def test_it_finds_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "a.glb"
    write_asset(asset(), path, Style())
    path.write_bytes(path.read_bytes().replace(b'"VEC3"', b'"VEC2"'))
    (report,) = validated([path])
    assert report["issues"]["numErrors"] > 0
