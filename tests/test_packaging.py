"""What travels: the name, the extras and the advice that installs them, the wheels, what is found beside them."""

import json
import re
import subprocess
import sys
import tomllib
import zipfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

import volkit
from volkit import extras
from volkit.cli import COMMANDS
from volkit.commands.doctor import CAPABILITIES
from volkit.files import bundled
from volkit.files.errors import FormatError
from volkit.generation.mesh_particle import MeshParticle
from volkit.generation.penalties import Penalties
from volkit.geometry import Domain
from volkit.representations import Mesh, SplatsConfig
from volkit.version import __version__

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
ADVISED = sorted(set(EXTRAS) - {"test", "toys"})  # the first names others, the second is no package of the index yet


# Every command in an installation without extras: what it needs, or None where it works.
LINES: dict[str, str | None] = {
    "doctor": None,
    "formats": None,
    "render scene.json photos": None,
    "render scene.json view.png": None,
    "render scene.json orbit.mp4 --orbit 2 --size 16": None,
    "render cube.obj cube.png --size 16": "mesh",
    "inspect scene.json": None,
    "inspect photos": None,
    "inspect splats.ply": None,
    "inspect cube.obj": "mesh",
    "fit photos grid.safetensors --budget 20": None,
    "fit photos fitted.ply --to splats --budget 2 --max-splats 50": None,
    "convert grid.safetensors mlp.safetensors --to mlp --budget 1 --no-measure": None,
    "convert grid.safetensors grid.ply --to splats --budget 2 --max-splats 50 --no-measure": None,
    "convert grid.safetensors grid.ingp --no-measure": None,
    "convert grid.safetensors grid.nvdb": "nanovdb",
    "convert splats.ply splats.spz --size 16": None,
    "convert splats.ply splats.sog --size 16": None,
    "convert splats.ply splats.splat --size 16": None,
    "convert splats.ply splats.ksplat --size 16": None,
    "convert splats.ply splats.compressed.ply --size 16": None,
    "convert splats.ply splats.csv --size 16": None,
    "convert splats.ply splats.glb --size 16": None,
    "convert splats.ply splats.usdz": "usd",
    "convert splats.ply learnt.safetensors --to mlp --budget 1 --size 16 --no-measure": None,
    "convert splats.ply mesh.glb --to mesh": "mesh",
    "convert scene.json mesh.obj --faces 100": "mesh",
    "convert cube.obj cube.glb": "mesh",
    "edit splats.ply edited.ply --edit opacity:0.01 --edit fit:0.3 --edit ground --edit decimate:50": None,
    "edit splats.ply clean.ply --edit floaters": "mesh",
    "compare grid.safetensors photos": None,
    "compare splats.ply splats.spz --size 16": None,
    "asset splats.ply out": "mesh",
    "view splats.ply --save page.html": None,
    "generate ball ball.safetensors --budget 1": "generate",
    "refine grid.safetensors ball refined.safetensors --budget 1": "generate",
    "retexture cube.obj ball painted.glb --budget 1": "mesh",
    "edit-with-prompt grid.safetensors ball cube changed.safetensors --budget 1": "generate",
    "demo --quick --scene primitives": None,
}
WITHOUT_EXTRAS = """
import contextlib, io, json, sys
tests, modules, lines = json.load(sys.stdin)
sys.modules.update(dict.fromkeys(modules))  # neither found nor imported
from volkit import cli
from volkit.commands import demo
from volkit.files import bundled
demo.QUICK = demo.Effort(16, "2", ("1",) * 4, faces=100, texture=64, cells=16, words="1", small=True)
sys.path.insert(0, tests)
from small_kinds import small_defaults
for constructor, defaults in small_defaults():
    constructor.__defaults__ = defaults
bundled.viewer_page = lambda: b"<html><!-- scenes --></html>"  # built apart
found = []
for line in lines:
    with contextlib.redirect_stdout(io.StringIO()) as told:
        status = cli.main([*line.split(), "--json"])
    found.append((status, told.getvalue()))
json.dump(found, sys.stdout)
"""


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """No checkout, but an installation with the metadata that the project file leads to."""
    lines = [f"Requires-Dist: {one}" for one in PROJECT["dependencies"]]
    lines += [f'Requires-Dist: {one}; extra == "{extra}"' for extra, some in EXTRAS.items() for one in some]
    place = tmp_path / f"volkit3d-{__version__}.dist-info"
    place.mkdir()
    (place / "METADATA").write_text(f"Name: {extras.DISTRIBUTION}\nVersion: {__version__}\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(extras, "PROJECT", tmp_path / "pyproject.toml")


def test_the_distribution_has_one_name_and_one_version():
    toys = tomllib.loads((ROOT / "scenes" / "toy_prior" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert PROJECT["name"] == extras.DISTRIBUTION and toys["name"] == f"{extras.DISTRIBUTION}-toys"
    assert PROJECT["version"] == toys["version"] == __version__
    assert PROJECT["requires-python"] == toys["requires-python"]


@pytest.mark.parametrize("extra", ADVISED)
def test_advice_names_exactly_what_the_extra_requires(extra):
    assert re.findall(r"'([^']+)'", extras.advice(extra)) == EXTRAS[extra]


@pytest.mark.parametrize("extra", ADVISED)
def test_a_wheel_gives_the_same_advice_as_the_checkout(request, extra):
    beside = extras.advice(extra)
    request.getfixturevalue("installed")
    assert extras.advice(extra) == beside


def test_every_command_works_without_extras_or_says_which_it_needs(tmp_path):
    scene = json.loads(Path(bundled.scene_folders()[-1], "primitives.json").read_text(encoding="utf-8"))
    scene["views"] |= {"train": 9, "test": 3, "size": [16, 16]}
    (tmp_path / "scene.json").write_text(json.dumps(scene), encoding="utf-8")
    volkit.save(
        SplatsConfig(2100, 0).build(Domain.cube(1.0), torch.Generator().manual_seed(0)), tmp_path / "splats.ply"
    )
    corners = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    volkit.save(Mesh.of(corners, torch.tensor([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]])), tmp_path / "cube.obj")
    blocked = [module for row in CAPABILITIES.values() if row.extra for module in row.modules]
    question = json.dumps((str(Path(__file__).parent), blocked, list(LINES)))
    child = subprocess.run(
        [sys.executable, "-c", WITHOUT_EXTRAS],
        input=question,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not child.returncode, child.stderr
    wrong = {}
    for (line, extra), (status, told) in zip(LINES.items(), json.loads(child.stdout), strict=True):
        report = json.loads(told)
        advised = set(re.findall(r"'([^']+)'", report.get("error", "").partition("pip install")[2]))
        asked = status == 1 and report["kind"] != "unexpected" and advised and advised <= set(EXTRAS.get(extra, ()))
        if not (asked if extra else status == 0):
            wrong[line] = report.get("error", status)
    assert not wrong, wrong


def test_painting_a_mesh_says_what_it_needs(monkeypatch):
    monkeypatch.setattr("volkit.meshing.pipeline.LIBRARIES", ("no_such_module",))
    triangle = Mesh.of(torch.eye(3), torch.tensor([[0, 1, 2]]))
    with pytest.raises(RuntimeError, match="needs no_such_module; pip install 'DracoPy"):
        MeshParticle(triangle, Penalties())


def test_every_command_and_extra_is_tried_without_extras():
    assert {line.split()[0] for line in LINES} == set(COMMANDS)
    known = {extra: {re.match(r"[\w.-]+", one)[0] for one in EXTRAS[extra]} for extra in ADVISED}
    assert all(set(row.modules.values()) == known[row.extra] for row in CAPABILITIES.values() if row.extra)


def test_advice_may_name_some_of_an_extra():
    wanted = next(one for one in EXTRAS["mesh"] if one.startswith("scipy"))
    assert extras.advice("mesh", "scipy") == f"pip install '{wanted}'"
    with pytest.raises(ValueError, match="'mesh' has no warp-lang"):
        extras.advice("mesh", "warp-lang")
    with pytest.raises(ValueError, match=r"no extra 'meshes'; known are .*, mesh, "):
        extras.advice("meshes")


def test_what_tests_need_holds_all_that_the_extras_need():
    found = extras.requirements("test")
    needed = {one for extra in ADVISED if extra != "docs" for one in EXTRAS[extra]}  # pages are built apart
    assert needed < set(found) and "pytest>=8" in found
    assert not any(extras.DISTRIBUTION in one for one in found)


def test_a_copy_without_metadata_still_advises(installed, monkeypatch):
    def absent(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(extras, "requires", absent)
    assert extras.advice("mesh") == "in a checkout of volkit: pip install '.[mesh]'"


def test_no_text_sends_to_the_index_for_a_name_that_is_not_ours():
    pattern = re.compile(r"pip install[^\n`]*\bvolkit(\[|\b(?!3d))(?![\w./])")
    places = ("volkit/**/*.py", "tools/*.py", "docs/**/*.md", "*.md")
    for path in [path for place in places for path in ROOT.glob(place)]:
        assert not pattern.search(path.read_text(encoding="utf-8")), path
    assert pattern.search("pip install 'volkit[mesh]'") and pattern.search("pip install -U volkit")
    assert not pattern.search("pip install '.[mesh]'")


def test_toy_priors_are_found_in_a_package_of_their_own(monkeypatch, tmp_path):
    monkeypatch.setattr(bundled, "PACKAGE", tmp_path / "volkit")
    with pytest.raises(FormatError, match=r"is not installed.*dist/volkit3d_toys-\*\.whl"):
        bundled.bundled_folder("toy_prior/latent")
    folder = tmp_path / "volkit_toys" / "toy_prior" / "latent"
    folder.mkdir(parents=True)
    (tmp_path / "volkit_toys" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert bundled.bundled_folder("toy_prior/latent") == folder


def test_all_toy_priors_are_found_in_a_checkout():
    for name in ("pixels32", "pixels64", "latent", "views4"):
        assert (bundled.bundled_folder(f"toy_prior/{name}") / "model_index.json").is_file()


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("volkit3d-0.1.0.whl", {}, []),
        ("volkit3d-0.1.0.whl", {"volkit/viewer/viewer.html": None}, ["holds no viewer"]),
        ("volkit3d-0.1.0.whl", {"volkit/scenes/toy_prior/latent/model_index.json": 9}, ["'latent'", "pixels32 alone"]),
        ("volkit3d-0.1.0.whl", {"volkit/big.py": 13_000_000}, ["13.0 MB beyond"]),
        ("volkit3d_toys-0.1.0.whl", {}, ["holds the priors ['pixels32']"]),
    ],
)
def test_wheels_that_hold_the_wrong_things_are_told(monkeypatch, tmp_path, capsys, name, change, said):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import wheel_contents

    held = {
        "volkit/ops/_native.so": 10,
        "volkit/viewer/viewer.html": 10,
        "volkit/scenes/toy_prior/pixels32/model_index.json": 10,
    } | change
    with zipfile.ZipFile(tmp_path / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for member, size in held.items():
            if size is not None:
                wheel.writestr(member, bytes(size))
    status = wheel_contents.main([str(tmp_path)])
    told = capsys.readouterr().out
    assert status == bool(said) and all(words in told for words in said)


def test_a_folder_without_wheels_is_told(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import wheel_contents

    assert wheel_contents.main([str(tmp_path)]) == 1 and "no wheels" in capsys.readouterr().out


def test_toy_priors_are_asked_by_name(monkeypatch):
    from volkit.generation import build

    @dataclass
    class Opened:
        place: Path | str
        name: str = ""

    def ask(name):
        return build.open_guiding_prior(name).place

    monkeypatch.setattr(build, "open_prior", lambda place, *rest: Opened(place))
    assert ask(None) == ask("toy_prior/pixels32") == bundled.bundled_folder("toy_prior/pixels32")
    assert ask("toy_prior/views4") == bundled.bundled_folder("toy_prior/views4")
    assert ask("somebody/some-model") == "somebody/some-model"
