"""volkit: hold a 3D scene in one form, have it in another.

Verbs over objects: each takes a scene, photographs or a path, and returns a value; none prints or changes the process.

>>> import volkit as vk
>>> photos = vk.load_photos("fox/", size=480, holdout=8)
>>> made = vk.fit(photos, vk.HashGridConfig(), budget="3m", callback=lambda event: print(event.step, event.loss))
>>> splats = vk.distill(made.scene, vk.SplatsConfig(), budget="60s").scene
>>> small = vk.edit(splats, [vk.Decimate(0.5)])
>>> vk.compare(small, photos).psnr
>>> vk.save(small, "fox.spz")
"""

from collections.abc import Sequence
from importlib import import_module
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.version import __version__

if TYPE_CHECKING:  # torch takes a second to import: nothing here needs it before a verb is called
    import torch

    from volkit import ops
    from volkit.conversion.convert import Conversion
    from volkit.conversion.options import ConvertOptions, FileOptions
    from volkit.conversion.report import ConversionReport
    from volkit.data import Photographs
    from volkit.distillation.result import DistillReport, FitReport, Result
    from volkit.distillation.strategies import DefaultStrategy, MCMCStrategy, Strategy, ViewRecord
    from volkit.editing import (
        Action,
        Crop,
        Decimate,
        DropFloaters,
        Erase,
        Fit,
        Ground,
        KeepOpacity,
        KeepSize,
        Merge,
        Move,
        SetDegree,
    )
    from volkit.evaluation.compare import Comparison
    from volkit.generation.build import ScoreSettings
    from volkit.generation.from_words import GenerateOptions, generate
    from volkit.generation.rework import (
        EditOptions,
        RefineOptions,
        RetextureOptions,
        edit_with_prompt,
        refine,
        retexture,
    )
    from volkit.generation.run import MeshTarget
    from volkit.geometry import Box, Camera, Cameras, Domain, Points, Similarity
    from volkit.guidance import methods
    from volkit.io.format import Format
    from volkit.io.formats import register_format
    from volkit.io.meshes.asset import Asset, Style
    from volkit.meshing.game_asset import AssetPlan, make_game_asset
    from volkit.meshing.options import MeshOptions
    from volkit.meshing.pipeline import extract_mesh
    from volkit.progress import Progress
    from volkit.rendering.picture import Picture
    from volkit.rendering.renderer import render
    from volkit.reports.view_page import ViewReport, view
    from volkit.representations import (
        Ball,
        Capture,
        Field,
        FieldSample,
        FunctionField,
        HashGridConfig,
        Mesh,
        MlpConfig,
        ParamGroup,
        Placement,
        PlanesConfig,
        Representation,
        RepresentationConfig,
        Splats,
        SplatsConfig,
        TensorCPConfig,
        TensorVMConfig,
        VoxelsConfig,
        register_representation,
    )
    from volkit.training.loop import ParameterChange, StepInfo
    from volkit.training.run import Callback, StepEvent

# Where each name lives that is imported when it is first used.
PLACES = {
    "volkit.conversion.convert": ("Conversion",),
    "volkit.conversion.options": ("ConvertOptions", "FileOptions"),
    "volkit.conversion.report": ("ConversionReport",),
    "volkit.data": ("Photographs",),
    "volkit.distillation.result": ("DistillReport", "FitReport", "Result"),
    "volkit.distillation.strategies": ("DefaultStrategy", "MCMCStrategy", "Strategy", "ViewRecord"),
    "volkit.editing": (
        "Action", "Crop", "Decimate", "DropFloaters", "Erase", "Fit", "Ground", "KeepOpacity", "KeepSize",
        "Merge", "Move", "SetDegree",
    ),
    "volkit.evaluation.compare": ("Comparison",),
    "volkit.generation.from_words": ("GenerateOptions", "generate"),
    "volkit.generation.build": ("ScoreSettings",),
    "volkit.generation.rework": (
        "EditOptions", "RefineOptions", "RetextureOptions", "edit_with_prompt", "refine", "retexture",
    ),
    "volkit.generation.run": ("MeshTarget",),
    "volkit.geometry": ("Box", "Camera", "Cameras", "Domain", "Points", "Similarity"),
    "volkit.io.format": ("Format",),
    "volkit.io.formats": ("register_format",),
    "volkit.io.meshes.asset": ("Asset", "Style"),
    "volkit.meshing.game_asset": ("AssetPlan", "make_game_asset"),
    "volkit.meshing.options": ("MeshOptions",),
    "volkit.meshing.pipeline": ("extract_mesh",),
    "volkit.progress": ("Progress",),
    "volkit.rendering.picture": ("Picture",),
    "volkit.rendering.renderer": ("render",),
    "volkit.reports.view_page": ("ViewReport", "view"),
    "volkit.representations": (
        "Ball", "Capture", "Field", "FieldSample", "FunctionField", "HashGridConfig", "Mesh", "MlpConfig", "ParamGroup",
        "Placement", "PlanesConfig", "Representation", "RepresentationConfig", "Splats", "SplatsConfig",
        "TensorCPConfig", "TensorVMConfig", "VoxelsConfig", "register_representation",
    ),
    "volkit.training.loop": ("ParameterChange", "StepInfo"),
    "volkit.training.run": ("StepEvent",),
}  # fmt: skip
MODULES = {"ops": "volkit.ops", "methods": "volkit.guidance.methods"}
PLACE_OF = {name: place for place, names in PLACES.items() for name in names}

__all__ = [
    "Action", "Asset", "AssetPlan", "Ball", "Box", "Camera", "Cameras", "Capture", "Comparison", "Conversion",
    "ConversionReport", "ConvertOptions", "Crop", "Decimate", "DefaultStrategy", "DistillReport", "Domain",
    "DropFloaters", "EditOptions", "Erase", "Field", "FieldSample", "FileOptions", "Fit", "FitReport", "Format",
    "FunctionField", "GenerateOptions", "Ground", "HashGridConfig", "KeepOpacity", "KeepSize", "MCMCStrategy",
    "Merge", "Mesh", "MeshOptions", "MeshTarget", "MlpConfig", "Move", "ParamGroup", "ParameterChange",
    "Photographs", "Picture", "Placement", "PlanesConfig", "Points", "Progress", "RefineOptions",
    "Representation", "RepresentationConfig", "Result", "RetextureOptions", "ScoreSettings", "SetDegree",
    "Similarity", "Splats", "SplatsConfig", "StepEvent", "StepInfo", "Strategy", "Style", "TensorCPConfig",
    "TensorVMConfig", "ViewRecord", "ViewReport", "VoxelsConfig", "__version__", "compare", "convert",
    "distill", "edit", "edit_with_prompt", "extract_mesh", "fit", "generate", "load", "load_photos",
    "make_game_asset", "methods", "ops", "refine", "register_format", "register_representation", "render",
    "retexture", "save", "view",
]  # fmt: skip

Name = str | PathLike[str]
Device = Literal["auto", "cpu", "cuda"]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return import_module(MODULES[name])
    if name not in PLACE_OF:
        raise AttributeError(f"module 'volkit' has no attribute '{name}'")
    return getattr(import_module(PLACE_OF[name]), name)


def __dir__() -> list[str]:
    return __all__


def load(path: Name, device: Device = "cpu") -> "Representation":
    """A scene of any format, checked, placed and ready to be drawn; its parameters take gradients.

    Raises FormatError, which names file, fact and fix.

    >>> scene = vk.load("chair.ply")
    """
    from volkit.io.opening import open_scene

    scene = open_scene(Path(path), device)
    for parameter in scene.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return scene


def save(scene: "Representation | Asset", path: Name, style: "Style | None" = None) -> None:
    """Write a scene in the format that the suffix names, whole or not at all; an asset with its levels and colliders.

    `style` is how an asset is written: names for an engine, texture format, compression. Raises FormatError, which
    names file, fact and fix: a format that cannot hold the kind, a place that cannot be written.

    >>> vk.save(made.scene, "fox.safetensors")
    """
    from volkit.io import save as write
    from volkit.io.meshes.asset import Asset, Style
    from volkit.io.meshes.writer import check_style, write_asset

    if not isinstance(scene, Asset):
        write(scene, Path(path))
        return
    style = style or Style()
    check_style(Path(path), style)
    write_asset(scene, Path(path), style)


def load_photos(path: Name, size: int | None = None, holdout: int | None = None) -> "Photographs":
    """Posed photographs of any convention: Blender, nerfstudio, COLMAP, LLFF, a video with poses.

    `size` is the longest side in pixels (never enlarged), `holdout` N marks pictures 0, N, 2N, ... by name as test.
    Raises FormatError, which names file, fact and fix.

    >>> photos = vk.load_photos("fox/", size=480, holdout=8)
    """
    from volkit.data import load_photographs

    return load_photographs(Path(path), size, holdout)


def fit(
    photos: "Photographs | Name",
    config: "RepresentationConfig | None" = None,
    budget: str = "5m",
    strategy: "Strategy | None" = None,
    seed: "int | torch.Generator" = 0,
    callback: "Callback | None" = None,
    exposure: bool = False,
    points: "torch.Tensor | None" = None,
) -> "Result[FitReport]":
    """Fit an untrained scene of this configuration to posed photographs; by default a hash grid sized for them.

    `budget` is wall clock of the optimisation (`120s`, `10m`) or, in steps, `2000`; the `strategy` adds and removes
    splats; `callback` is called with a StepEvent (step, seconds, fraction, loss, psnr) after every step; with
    `exposure` a field learns exposure and white balance of every photograph as well; splats start at `points`, world
    frame `[point, 3]`, by default those of the photographs' reconstruction. The same seed and a budget in steps give
    the same scene on one machine. Raises ValueError where there is nothing to learn from,
    FloatingPointError where a loss is not finite.

    >>> made = vk.fit(photos, vk.SplatsConfig(), budget="3m", strategy=vk.MCMCStrategy(max_splats=100_000))
    >>> made.scene, made.report.psnr, made.history[-1]
    """
    from volkit.distillation.fit import fit as apply

    return apply(_photos(photos), config, budget, strategy, seed, callback, exposure, points)


def distill(
    teacher: "Representation | Name",
    config: "RepresentationConfig",
    budget: str = "60s",
    photos: "Photographs | Name | None" = None,
    method: Literal["volkit", "pvd", "pvd-al"] = "volkit",
    seed: "int | torch.Generator" = 0,
    callback: "Callback | None" = None,
) -> "Result[DistillReport]":
    """Distil a teacher into a new scene of this configuration, with no photographs needed.

    The teacher is a scene of any kind, or a field of your own: a subclass of Field, or FunctionField of functions and
    modules. It does not change. `photos` are for a last stage, in which a field may surpass its teacher; `method` is
    `volkit`, or `pvd` or `pvd-al` as published, the two between fields only. Budget, seed and callback as in `fit`.
    Raises ValueError where a method or photographs do not go with these kinds.

    >>> ball = vk.FunctionField(lambda x: 30.0 * (x.norm(dim=-1) < 0.5), lambda x, d: x.abs(), vk.Domain.cube(1.0))
    >>> grid = vk.distill(ball, vk.HashGridConfig(), budget="30s").scene
    """
    from volkit.distillation.distill import distill as apply

    last = None if photos is None else _photos(photos)
    return apply(_scene(teacher), config, budget, last, method, seed, callback)


def edit(
    scene: "Representation | Name", actions: "Sequence[Action]", seed: "int | torch.Generator" = 0
) -> "Representation":
    """An edited copy of a scene, by actions in their order; the scene stays as it is and shares nothing with the copy.

    Positions and lengths are in the scene's world frame and unit at the time of each action. Raises ValueError for an
    action that does not apply to this scene, or that leaves nothing of it.

    >>> small = vk.edit(scene, [vk.Crop(vk.Box((-1, -1, 0), (1, 1, 2))), vk.Fit(0.3), vk.Ground()])
    """
    from volkit.editing import edit as apply

    return apply(_scene(scene), actions, seed=seed)


def convert(
    source: "Representation | Name",
    target: Name | None = None,
    options: "ConvertOptions | None" = None,
    files: "FileOptions | None" = None,
    actions: "Sequence[Action]" = (),
    seed: "int | torch.Generator" = 0,
    force: bool = False,
    callback: "Callback | None" = None,
) -> "Conversion":
    """Convert a scene, in memory or in a file, into another kind and, where a target is named, into a file.

    `options` select the kind, the budget of training and the mesh; by default the kind stays, if the target's format
    holds it. A scene of that kind is not trained unless a `budget` asks for it; other kinds are trained for 60s by
    default, and meshes are extracted. `actions` are applied to the source first. `files` are options of reading and
    writing; the target is read back and compared with the source, `report.fidelity`. Raises FormatError and ValueError
    with what is wrong, FileExistsError without `force`.

    >>> vk.convert("a.ply", "b.spz").report.psnr_to_source
    >>> grid = vk.convert(splats, options=vk.ConvertOptions(to="hash_grid", budget="30s")).scene
    """
    from volkit.conversion import convert as verbs
    from volkit.conversion.options import ConvertOptions, FileOptions
    from volkit.conversion.source import Source
    from volkit.training.run import CallbackProgress, make_generator

    files = files or FileOptions()
    place = None if target is None else Path(target)
    if place is not None and place.exists() and not force:
        raise FileExistsError(f"{place}: exists already; force=True overwrites it")
    work = verbs.Work(make_generator(seed), CallbackProgress(callback))
    if isinstance(source, str | PathLike):
        opened = Source.read([Path(source)], files, work.generator, work.progress)
    else:
        opened = Source.of(source)
    opened = opened.edited(actions, work.generator, work.progress)
    return verbs.convert(opened, options or ConvertOptions(), work, place, files)


def compare(
    a: "Representation | Photographs | Name",
    b: "Representation | Photographs | Name",
    cameras: "Cameras | None" = None,
    split: Literal["train", "test", "val"] | None = None,
    size: int | None = None,
) -> "Comparison":
    """PSNR in dB (None: identical), SSIM and FLIP of `a` against `b`, scenes or photographs, and of every view.

    Views are `cameras`, world frame, if both are scenes; else the photographs that both have; else the views recorded
    in a scene, of `split` (by default those held out); else an orbit. `size` is the longest side of the pictures in
    pixels. Raises ValueError where there is nothing to compare.

    >>> scores = vk.compare(made.scene, photos)
    >>> scores.psnr, [view.ssim for view in scores.views]
    """
    from volkit.evaluation.compare import compare as score

    return score(_side(a, size), _side(b, size), cameras, split=split, size=size)


def _scene(scene: "Representation | Name") -> "Representation":
    return load(scene) if isinstance(scene, str | PathLike) else scene


def _photos(photos: "Photographs | Name") -> "Photographs":
    return load_photos(photos) if isinstance(photos, str | PathLike) else photos


def _side(side: "Representation | Photographs | Name", size: int | None) -> "Representation | Photographs":
    from volkit.io import is_scene

    if not isinstance(side, str | PathLike):
        return side
    return load(side) if is_scene(Path(side)) else load_photos(side, size)
