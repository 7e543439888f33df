"""volkit: hold a 3D scene in one form, have it in another.

The verbs below are the commands of the command line with their usual options; every option is a field of the job behind
them (`volkit.commands.NAME`, class `NameJob`). They take paths and return the report that `--json` prints.
"""

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.version import __version__

if TYPE_CHECKING:  # torch takes a second to import: nothing here needs it before a verb is called
    from volkit.representations.representation import Representation

__all__ = ["__version__", "compare", "convert", "extract_mesh", "fit", "generate", "load", "render", "save"]

Name = str | PathLike[str]
Device = Literal["auto", "cpu", "cuda"]
Report = dict[str, Any]


def load(path: Name, device: Device = "cpu") -> "Representation":
    """Read a scene file of any format; FormatError names file, fact and fix."""
    from volkit.devices import chosen_device
    from volkit.io import load as read

    return read(Path(path)).to(chosen_device(device))


def save(scene: "Representation", path: Name) -> None:
    """Write a scene in the format that the suffix names, whole or not at all; FormatError names file, fact and fix."""
    from volkit.io import save as write

    write(scene, Path(path))


def fit(
    data: Name,
    target: Name,
    to: str = "hash_grid",
    size: int | None = None,
    holdout: int | None = None,
    budget: str = "5m",
    device: Device = "cpu",
    force: bool = False,
) -> Report:
    """Fit a field of kind `to` to posed photographs and write it; reports `psnr`, `seconds`, `bytes` and more.

    `size` is the longest side in pixels, `holdout` N keeps pictures 0, N, 2N, ... for testing, `budget` is `120s`,
    `10m` or, in steps, `2000`. Raises ValueError and OSError with what is wrong and how to mend it.
    """
    from volkit.commands.fit import FitJob
    from volkit.progress import Progress

    job = FitJob(Path(data), Path(target), to=to, size=size, holdout=holdout, budget=budget, device=device, force=force)
    return job.run(Progress())


def convert(
    source: Name,
    target: Name,
    to: str | None = None,
    budget: str | None = None,
    photos: Name | None = None,
    edit: tuple[str, ...] = (),
    device: Device = "cpu",
    force: bool = False,
) -> Report:
    """Convert a scene to the kind `to` (its own by default); reports `psnr_to_source`, `seconds`, `bytes` and more.

    A scene of that kind is written as it is unless there is a `budget`, 60s for others, or `photos`.
    `photos` is a dataset for a last stage on photographs; `edit` takes the words of `--edit`, in their order.
    """
    from volkit.commands.convert import ConvertJob
    from volkit.progress import Progress

    last = None if photos is None else Path(photos)
    paths = (Path(source), Path(target))
    return ConvertJob(paths, to=to, budget=budget, photos=last, edit=edit, device=device, force=force).run(Progress())


def extract_mesh(
    source: Name,
    target: Name,
    faces: int = 50_000,
    lods: int = 1,
    refine: float = 0.0,
    collider: Literal["none", "box", "convex", "hulls"] = "none",
    engine: Literal["gltf", "unity", "unreal", "godot", "blender"] = "gltf",
    force: bool = False,
) -> Report:
    """Make a textured mesh of a scene and write it; reports `triangles`, `psnr_to_source`, `seconds`, `levels`, ...

    `faces` is the most triangles, `lods` levels of detail share the texture, `refine` is seconds of learning from the
    source's pictures, `collider` solids are named as `engine` expects.
    """
    from volkit.commands.convert import ConvertJob
    from volkit.commands.mesh_flags import MeshFlags
    from volkit.progress import Progress

    mesh = MeshFlags(faces=faces, lods=lods, refine=refine, collider=collider, engine=engine)
    return ConvertJob((Path(source), Path(target)), to="mesh", mesh=mesh, force=force).run(Progress())


def generate(
    prompt: str,
    target: Name,
    to: str | None = None,
    prior: str | None = None,
    method: str = "sds",
    budget: str = "2m",
    device: Device = "cpu",
    force: bool = False,
) -> Report:
    """Make an asset of words, by what a diffusion model says about its pictures; reports `steps`, `seconds`, ...

    `prior` is a folder of diffusers' format or a name of the hub, by default the toy prior that comes with volkit;
    `to` is a kind, by default that of the target's format; `method` is a rule of score distillation.
    """
    from volkit.commands.generate import GenerateJob
    from volkit.progress import Progress

    job = GenerateJob(
        prompt, Path(target), to=to, prior=prior, method=method, budget=budget, device=device, force=force
    )
    return job.run(Progress())


def render(
    source: Name,
    target: Name,
    view: str | None = None,
    orbit: int | None = None,
    channel: Literal["rgb", "depth", "normal", "opacity"] = "rgb",
    size: int | None = None,
    device: Device = "cpu",
    force: bool = False,
) -> Report:
    """Draw a scene: `target` is a .png, a video, or a folder of posed pictures that other tools train on.

    `view` names one recorded view, `orbit` is a number of cameras on a circle; by default a folder gets every
    recorded view, a video an orbit.
    """
    from volkit.commands.render import RenderJob
    from volkit.progress import Progress

    job = RenderJob(
        Path(source), Path(target), view=view, orbit=orbit, channel=channel, size=size, device=device, force=force
    )
    return job.run(Progress())


def compare(a: Name, b: Name, split: str | None = None, size: int | None = None, device: Device = "cpu") -> Report:
    """PSNR in dB (None: identical), SSIM and FLIP of `a` against `b`, each a scene file or a dataset; and per view."""
    from volkit.commands.compare import CompareJob
    from volkit.progress import Progress

    return CompareJob(Path(a), Path(b), split=split, size=size, device=device).run(Progress())
