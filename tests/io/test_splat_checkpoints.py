"""Splats that trainers left: each file as its program writes it, against the tensors that went into it."""

import json
import math

import numpy as np
import pytest
import torch
from mutants import mutants, survive
from plyfile import PlyData, PlyElement
from torch.nn import Parameter, ParameterDict

from volkit import cli
from volkit.geometry.spherical_harmonics import C0
from volkit.io import FormatError, is_scene, load

COUNT = 40
RATES = {"xyz": 1e-4, "f_dc": 2e-3, "f_rest": 1e-4, "opacity": 5e-2, "scaling": 5e-3, "rotation": 1e-3}


def tensors(count=COUNT, basis=15, axes=3, seed=0):
    """Parameters of splats before activation, a flat cloud: thin along the third axis."""
    generator = torch.Generator().manual_seed(seed)
    sizes = {"means": (3,), "quats": (4,), "scales": (axes,), "opacities": (), "sh0": (1, 3), "shN": (basis, 3)}
    made = {name: torch.randn(count, *size, generator=generator) for name, size in sizes.items()}
    made["means"] *= torch.tensor([1.0, 0.7, 0.2])
    made["scales"] -= 3.0
    return made


def check(scene, wanted, axes=3):
    """All six columns, bit for bit: they are copied."""
    names = {"means": "means", "quats": "quaternions", "scales": "log_scales", "opacities": "logits", "sh0": "sh_dc"}
    for theirs, ours in (names | {"shN": "sh_rest"}).items():
        assert torch.equal(getattr(scene, ours), wanted[theirs].view(getattr(scene, ours).shape)), ours
    assert scene.log_scales.shape[1] == axes


def up_of(scene):
    """The local +Z axis in a world whose +Z is up."""
    return torch.tensor(scene.view_in_frame("zup").world_from_local.rotation)[:, 2]


def gsplat(folder, splats, rank=0, settings=None):
    (folder / "ckpts").mkdir(exist_ok=True)
    path = folder / "ckpts" / f"ckpt_29999_rank{rank}.pt"
    torch.save({"step": 29999, "splats": ParameterDict(splats).state_dict()}, path)
    if settings is not None:
        (folder / "cfg.yml").write_text(settings)
    return path


@pytest.mark.parametrize("basis", [0, 3, 8, 15])
def test_gsplat(tmp_path, basis):
    splats = tensors(basis=basis)
    path = gsplat(tmp_path, splats)
    scene = load(path)
    check(scene, splats)
    assert scene.frame == "zup" and not scene.config.mip and scene.provenance["steps"] == 29999
    check(load(tmp_path), splats)  # the folder of results stands for it


SETTINGS = (
    "antialiased: true\ndata_dir: !!python/object/apply:pathlib.PosixPath\n- data\nnormalize_world_space: false\n"
)


def test_gsplat_as_its_settings_say(tmp_path):
    scene = load(gsplat(tmp_path, tensors(), settings=SETTINGS))
    assert scene.frame == "ydown" and scene.config.mip
    flat = load(gsplat(tmp_path, tensors(), settings="model_type: 2dgs\n"))
    assert flat.config.surfels and torch.equal(flat.log_scales, tensors()["scales"][:, :2])


def test_gsplat_of_several_processes(tmp_path):
    """Each of them writes its own splats."""
    parts = [tensors(seed=seed) for seed in range(3)]
    for rank, part in enumerate(parts):
        path = gsplat(tmp_path, part, rank)
    check(load(path), {name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    (tmp_path / "ckpts" / "ckpt_29999_rank0.pt").unlink()
    with pytest.raises(FormatError, match=r"rank2\.pt: .*others are missing"):
        load(path)


def splatfacto(folder, splats, transform=None, settings="pipeline:\n  model:\n    rasterize_mode: antialiased\n"):
    names = {"means": "means", "quats": "quats", "scales": "scales", "sh0": "features_dc", "shN": "features_rest"}
    stored = {f"_model.gauss_params.{theirs}": splats[ours] for ours, theirs in names.items()}
    stored["_model.gauss_params.features_dc"] = splats["sh0"][:, 0]
    stored["_model.gauss_params.opacities"] = splats["opacities"][:, None]
    path = folder / "nerfstudio_models" / "step-000029999.ckpt"
    path.parent.mkdir(exist_ok=True)
    torch.save({"step": 29999, "pipeline": stored, "optimizers": {}, "schedulers": {}, "scalers": {}}, path)
    (folder / "config.yml").write_text(
        f"!!python/object:nerfstudio.TrainerConfig\n{settings}viewer:\n  host: 0.0.0.0\n"
    )
    if transform is not None:
        (folder / "dataparser_transforms.json").write_text(json.dumps(transform))
    return path


def test_splatfacto(tmp_path):
    splats = tensors()
    scene = load(splatfacto(tmp_path, splats))
    check(scene, splats)
    assert scene.config.mip and scene.frame == "zup" and scene.world_from_local.is_identity
    older = tmp_path / "nerfstudio_models" / "step-000002000.ckpt"
    torch.save({"step": 2000, "pipeline": {"_model.means": 0, "_model.quats": 0}}, older)
    check(load(tmp_path), splats)  # the newest of the run


def test_splatfacto_without_directions_holds_logits_of_colours(tmp_path):
    splats = tensors(basis=0)
    wanted = (torch.sigmoid(splats["sh0"]) - 0.5) / C0
    assert torch.allclose(load(splatfacto(tmp_path, splats)).sh_dc, wanted, atol=1e-6)  # float32


# The run's +Z is the capture's -Y, as COLMAP's is up; the capture's own file has +Z up by an applied transform.
DATASET = {"applied_transform": [[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0]]}
TRANSFORM = {"transform": [[1.0, 0, 0, 0.5], [0, 0, 1.0, -1.0], [0, -1.0, 0, 2.0]], "scale": 0.25}


@pytest.mark.parametrize("dataset", [None, DATASET])
def test_runs_of_nerfstudio_stand_upright(tmp_path, dataset):
    """p = scale (R x + t) is undone; y = applied_transform x is done where the dataset's file is there."""
    if dataset is not None:
        (tmp_path / "transforms.json").write_text(json.dumps(dataset))
    scene = load(splatfacto(tmp_path, tensors(), TRANSFORM))
    x = np.array([[0.4, -1.0, 2.0]])
    matrix = np.array(TRANSFORM["transform"])
    p = 0.25 * (x @ matrix[:, :3].T + matrix[:, 3])
    world = x if dataset is None else x @ np.array(DATASET["applied_transform"])[:, :3].T
    assert np.allclose(scene.world_from_local.points(p), world, atol=1e-12)  # float64
    assert scene.frame == ("ydown" if dataset is None else "zup")
    assert torch.allclose(up_of(scene), torch.tensor([0.0, 0.0, 1.0]), atol=1e-12)  # quarter turns


def inria(splats, path, step=30000):
    """As `torch.save((gaussians.capture(), iteration), ...)` after a step of Adam."""
    order = {"xyz": "means", "f_dc": "sh0", "f_rest": "shN", "opacity": "opacities", "scaling": "scales"}
    parameters = {name: Parameter(splats[ours].clone()) for name, ours in (order | {"rotation": "quats"}).items()}
    parameters["opacity"] = Parameter(splats["opacities"][:, None].clone())
    adam = torch.optim.Adam([{"params": [p], "lr": RATES[n], "name": n} for n, p in parameters.items()], eps=1e-15)
    count = len(splats["means"])
    state = (
        3, *(parameters[name] for name in ("xyz", "f_dc", "f_rest", "scaling", "rotation", "opacity")),
        torch.zeros(count), torch.zeros(count, 1), torch.zeros(count, 1), adam.state_dict(), 1.7,
    )  # fmt: skip
    torch.save((state, step), path)
    return path


@pytest.mark.parametrize("axes", [2, 3])
def test_training_states_of_3dgs_and_2dgs(tmp_path, axes):
    splats = tensors(axes=axes)
    scene = load(inria(splats, tmp_path / "chkpnt30000.pth"))
    check(scene, splats, axes)
    assert scene.frame == "ydown" and scene.provenance["steps"] == 30000


def store_ply(path, splats, anchors=False):
    """INRIA's columns, channel by channel."""
    rest = splats["shN"].transpose(1, 2).flatten(1)
    columns = {name: splats["means"][:, k] for k, name in enumerate("xyz")}
    columns |= {f"f_dc_{k}": splats["sh0"][:, 0, k] for k in range(3)}
    columns |= {f"f_rest_{k}": rest[:, k] for k in range(rest.shape[1])}
    columns |= {"opacity": splats["opacities"]} | {f"scale_{k}": splats["scales"][:, k] for k in range(3)}
    columns |= {f"rot_{k}": splats["quats"][:, k] for k in range(4)}
    if anchors:
        columns = {name: c for name, c in columns.items() if "f_" not in name} | {"f_anchor_feat_0": columns["x"]}
    table = np.empty(len(splats["means"]), [(name, "f4") for name in columns])
    for name, column in columns.items():
        table[name] = column
    path.parent.mkdir(parents=True, exist_ok=True)
    PlyData([PlyElement.describe(table, "vertex")]).write(path)


CAMERA = {
    "id": 0, "img_name": "a", "width": 640, "height": 480, "position": [0.1, -0.2, 3.0],
    "rotation": [[-1.0, 0, 0], [0, 1.0, 0], [0, 0, -1.0]], "fy": 500.0, "fx": 510.0,
}  # fmt: skip


def inria_folder(folder, arguments="Namespace(sh_degree=3, source_path='/data/a', white_background=True)"):
    for step, count in ((7000, 10), (30000, COUNT)):
        store_ply(folder / "point_cloud" / f"iteration_{step}" / "point_cloud.ply", tensors(count))
    store_ply(folder / "input.ply", tensors(5), anchors=True)
    (folder / "cameras.json").write_text(json.dumps([CAMERA]))
    (folder / "cfg_args").write_text(arguments)
    return folder


def test_the_folder_of_3dgs(tmp_path):
    scene = load(inria_folder(tmp_path / "model"))
    check(scene, tensors())
    assert scene.frame == "ydown" and scene.provenance["steps"] == 30000
    assert scene.provenance["arguments"] == {"sh_degree": 3, "source_path": "/data/a", "white_background": True}
    cameras = scene.capture.cameras
    assert scene.capture.names == ("a",) and scene.capture.background == (1.0, 1.0, 1.0)
    assert cameras.size.tolist() == [[640, 480]] and cameras.intrinsics.tolist() == [[510, 500, 320, 240]]
    assert torch.allclose(cameras.centres, torch.tensor([[0.1, -0.2, 3.0]]))
    assert cameras.forward.tolist() == [[0, 0, -1]]


def test_an_iteration_is_chosen_by_its_folder(tmp_path):
    folder = inria_folder(tmp_path / "model")
    chosen = load(folder / "point_cloud" / "iteration_7000")
    assert len(chosen) == 10 and chosen.capture is not None
    assert len(load(folder / "point_cloud")) == COUNT


def test_arguments_are_literals_alone(tmp_path):
    """A call is left out, and does not run."""
    left = tmp_path / "left"
    text = f"Namespace(sh_degree=2, source_path=open({str(left)!r}, 'w'))"
    scene = load(inria_folder(tmp_path / "model", text))
    assert scene.provenance["arguments"] == {"sh_degree": 2, "source_path": None} and not left.exists()
    with pytest.raises(FormatError, match="cfg_args: is not the arguments"):
        load(inria_folder(tmp_path / "model", "print(1)"))


def test_cameras_that_are_none_are_named(tmp_path):
    folder = inria_folder(tmp_path / "model")
    (folder / "cameras.json").write_text(json.dumps([CAMERA | {"position": [0.0, math.nan, 1.0]}]))
    with pytest.raises(FormatError, match=r"cameras\.json: .*not finite"):
        load(folder)


def test_anchors_of_networks_are_refused_in_words(tmp_path):
    store_ply(tmp_path / "point_cloud" / "iteration_1" / "point_cloud.ply", tensors(), anchors=True)
    with pytest.raises(FormatError, match="Scaffold-GS or Octree-GS"):
        load(tmp_path)


SOURCES = {
    "gsplat": lambda folder: gsplat(folder, tensors()).parent.parent,
    "splatfacto": lambda folder: splatfacto(folder, tensors(), TRANSFORM).parent.parent,
    "inria": inria_folder,
}


@pytest.mark.parametrize("source", SOURCES)
def test_one_command_each(tmp_path, source):
    """The run's folder to `.spz` and `.glb`, upright: the thin axis of gsplat and nerfstudio is up in both."""
    folder = tmp_path / "run"
    folder.mkdir()
    SOURCES[source](folder)
    assert is_scene(folder)
    targets = [tmp_path / "a.spz", tmp_path / "a.glb"]
    assert cli.main(["convert", str(folder), *map(str, targets), "--no-measure"]) == 0
    for target in targets:
        scene = load(target)
        assert len(scene) == COUNT
        if source != "inria":  # whose captures are in COLMAP's axes
            assert scene.view_in_frame("zup").columns_in()["means"].std(0).argmin() == 2


@pytest.mark.parametrize("damage", ["shape", "count", "basis", "type"])
def test_what_does_not_fit_is_named(tmp_path, damage):
    splats = tensors()
    change = {
        "shape": ("quats", torch.zeros(COUNT, 3)), "count": ("scales", torch.zeros(7, 3)),
        "basis": ("shN", torch.zeros(COUNT, 7, 3)), "type": ("means", torch.zeros(COUNT, 3, dtype=torch.int32)),
    }[damage]  # fmt: skip
    path = gsplat(tmp_path, tensors())
    torch.save({"step": 1, "splats": splats | dict([change])}, path)
    with pytest.raises(FormatError, match=r"rank0\.pt: cannot be read as a gsplat checkpoint"):
        load(path)


@pytest.mark.parametrize("kind", ["gsplat", "splatfacto", "inria"])
def test_mutants(tmp_path, kind):
    path = {
        "gsplat": lambda: gsplat(tmp_path, tensors()), "splatfacto": lambda: splatfacto(tmp_path, tensors()),
        "inria": lambda: inria(tensors(), tmp_path / "chkpnt1.pth"),
    }[kind]()  # fmt: skip
    survive(path, path.read_bytes(), share=0.5)


@pytest.mark.parametrize("name", ["cameras.json", "cfg_args"])
def test_mutants_of_what_lies_around_splats(tmp_path, name):
    place = inria_folder(tmp_path / "model") / name
    for changed in mutants(place.read_bytes(), 60):
        place.write_bytes(changed)
        try:
            load(tmp_path / "model")
        except FormatError as error:
            assert name in str(error)
