"""The page of `volkit view`: the viewer that `make viewer` builds, with scenes embedded as base64 files.

Scenes are in the page's frame: the world's axes, the origin at the first camera's target, that camera ten units away,
so that the viewer is independent of scale. Splats are embedded as `.ply`, or as a smaller and coarser `.spz`, meshes as
`.glb`; a field is shown as splats that are quickly fitted to it, and the page says so.
"""

import base64
import json
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

import torch

from volkit.distillation.distill import DistillSettings, train_student
from volkit.distillation.strategies import MAX_SPLATS
from volkit.distillation.students import new_student
from volkit.evaluation.evaluate import Evaluator
from volkit.files import bundled
from volkit.files.atomic import atomic_write
from volkit.geometry import UP_AXIS, Cameras, Similarity, sh_count
from volkit.io import save
from volkit.io.splats import niantic_spz as spz
from volkit.io.splats import ply
from volkit.io.splats.columns import columns_from_file, columns_to_write
from volkit.io.splats.scene import columns_from_splats
from volkit.progress import Progress
from volkit.rendering.orbits import orbit_path
from volkit.representations import Field, Mesh, Placement, Representation, Splats, SplatsConfig
from volkit.sampling.occupancy_grid import occupancy_filled
from volkit.training.loop import Budget
from volkit.training.run import TrainingRun, make_generator

__all__ = ["Exhibit", "Start", "ViewReport", "ViewSettings", "quick_splats", "view", "write_view_page"]

SCENES_MARK = b"<!-- scenes -->"
CAMERA_DISTANCE = 10.0  # page units from the first camera to its target
MAX_SH_DEGREE = 3  # that the viewer draws
SURFEL_LOG_SCALE = -40.0  # third log scale: the viewer takes splats below -30 for surfels
SPZ_VERSION = 3  # version that the viewer reads
QUICK_SIZE = 400  # pixels of the pictures that splats are fitted to
MAX_PAGE_SPLAT_BYTES = 100_000_000  # in float32; browsers load larger pages slowly
WHITE = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Start:
    """The page's first camera, world frame; `tangent` is that of half the vertical field of view."""

    position: tuple[float, ...]
    target: tuple[float, ...]
    tangent: float
    aspect: float

    @classmethod
    def of(cls, scene: Representation) -> "Start":
        """The capture's first held-out camera, else its first, aimed at the focus; else one of an orbit."""
        capture = scene.capture
        if capture is None:
            return cls._by(orbit_path(scene, 1, 2), None)
        first = capture.names.index(capture.held_out[0]) if capture.held_out else 0
        return cls._by(capture.cameras[[first]], capture.cameras.focus()[0])

    @classmethod
    def _by(cls, camera: Cameras, focus: torch.Tensor | None) -> "Start":
        position, forward = camera.centres[0].double(), camera.forward[0].double()
        towards = (-position if focus is None else focus - position).double()
        ahead = float(towards @ forward)
        depth = ahead if ahead > 0.1 * float(towards.norm()) else float(towards.norm())
        half = camera.size[0] / (2.0 * camera.intrinsics[0, :2])
        target = position + max(depth, 1e-6) * forward
        return cls(tuple(position.tolist()), tuple(target.tolist()), float(half[1]), float(half[0] / half[1]))

    @property
    def page_from_world(self) -> Similarity:
        """Moves the target to the origin and the camera to ten units from it."""
        position, target = torch.tensor([self.position, self.target], dtype=torch.float64)
        scale = CAMERA_DISTANCE / float((position - target).norm())
        return Similarity(translation=tuple((-scale * target).tolist()), scale=scale)


@dataclass(frozen=True)
class Exhibit:
    """A scene as the page shows it."""

    name: str
    scene: Splats | Mesh
    note: str = ""  # how it differs from the source


@dataclass(frozen=True)
class ViewReport:
    """Result of `view`.

    Attributes:
        page: the file.
        bytes: its size.
        exhibits: the scenes as the page shows them.
        compact: whether splats are rounded as in .spz.
        opened: whether a browser opened the page.
        notes: what a user should know.
    """

    page: Path
    bytes: int
    exhibits: tuple[Exhibit, ...]
    compact: bool
    opened: bool
    notes: tuple[str, ...]


def view(
    scenes: Representation | Sequence[Representation] | Mapping[str, Representation],
    page: Path | str | None = None,
    *,
    budget: str = "20s",
    up: str = "auto",
    background: tuple[float, ...] | None = None,
    compact: bool = False,
    seed: int | torch.Generator = 0,
    progress: Progress | None = None,
) -> ViewReport:
    """Show scenes in a browser, in one page: two are compared under a slider, more are listed by name.

    Without `page` the page is written to a temporary folder and opened; else it is written there, replacing any file.
    Splats and meshes are shown as they are, fields as `quick_splats` fitted within `budget`. `up` is z, y, -y or -z, by
    default the first scene's up axis; `background` is by default that of its capture, else white. `compact` rounds
    splats as `.spz` does; beyond 100 MB that happens by itself, with a note. Raises ValueError where the viewer was not
    built, or there is no scene.

    >>> view({"source": field, "result": splats}, "compare.html")  # doctest: +SKIP
    """
    viewer, progress, generator = bundled.viewer_page(), progress or Progress(), make_generator(seed)
    shown = _named(scenes)
    first = next(iter(shown.values()))
    captured = first.capture.background if first.capture else WHITE
    start = Start.of(first)
    exhibits = tuple(_exhibit(name, scene, budget, generator, progress) for name, scene in shown.items())
    size = sum(_ply_bytes(exhibit.scene) for exhibit in exhibits)
    if size > MAX_PAGE_SPLAT_BYTES and not compact:
        progress.note(f"splats are rounded as in .spz: exact ones would take {size / 1e6:.0f} MB of the page")
    compact = compact or size > MAX_PAGE_SPLAT_BYTES
    # Not removed on return: the browser reads it later.
    path = Path(mkdtemp(prefix="volkit-"), "view.html") if page is None else Path(page)
    axis = UP_AXIS[first.frame] if up == "auto" else up
    write_view_page(
        path, viewer, exhibits, ViewSettings(start, axis, background or captured or (0.0, 0.0, 0.0), compact)
    )
    opened = page is None and webbrowser.open(path.resolve().as_uri())
    if page is None and not opened:
        progress.note(f"no browser was found: open {path} in one")
    return ViewReport(path, path.stat().st_size, exhibits, compact, opened, tuple(progress.notes))


def quick_splats(
    field: Field,
    budget: str = "20s",
    *,
    seed: int | torch.Generator = 0,
    progress: Progress | None = None,
) -> tuple[Splats, str]:
    """Splats fitted quickly to pictures of a field, 400 pixels wide; and a note on how well they match."""
    generator, progress = make_generator(seed), progress or Progress()
    with occupancy_filled(field):
        splats = new_student(field, SplatsConfig(), generator)
        evaluator = Evaluator.of_scene(field, QUICK_SIZE, generator)
        settings = DistillSettings(QUICK_SIZE, max_splats=MAX_SPLATS)
        training = TrainingRun(Budget.parse(budget))
        result = train_student(field, splats, settings, training, evaluator, generator, progress)
        psnr = evaluator.mean_psnr(splats, progress)
    assert isinstance(splats, Splats)
    quality = "" if psnr is None else f", {psnr:.1f} dB to the field's pictures"
    note = f"{len(splats)} splats fitted for {result.seconds:.0f} s{quality}"
    return splats.requires_grad_(False), note


def _named(
    scenes: Representation | Sequence[Representation] | Mapping[str, Representation],
) -> dict[str, Representation]:
    if isinstance(scenes, Mapping):
        named = dict(scenes)
    else:
        listed = [scenes] if isinstance(scenes, Representation) else list(scenes)
        named = {f"{number}: {scene.config.kind}": scene for number, scene in enumerate(listed, 1)}
    if not named:
        raise ValueError("view: give at least one scene")
    return named


def _exhibit(name: str, scene: Representation, budget: str, generator: torch.Generator, progress: Progress) -> Exhibit:
    if isinstance(scene, Field):
        splats, quality = quick_splats(scene, budget, seed=generator, progress=progress)
        note = (
            f"a quick conversion of a field ({scene.config.kind if scene.config else type(scene).__name__}): {quality}"
        )
        progress.note(f"{name} is shown as {note}")
        return Exhibit(name, splats, note)
    if not isinstance(scene, Splats | Mesh):
        raise TypeError(f"view: {name} is a {type(scene).__name__}: fields, splats and meshes can be shown")
    cut = isinstance(scene, Splats) and scene.config.degree > MAX_SH_DEGREE
    return Exhibit(name, scene, f"harmonics are shown up to degree {MAX_SH_DEGREE}" if cut else "")


def _ply_bytes(scene: Representation) -> int:
    """Bytes of the scene's splats in the page, before base64."""
    return (
        4 * len(scene) * (14 + 3 * sh_count(min(MAX_SH_DEGREE, scene.config.degree)))
        if isinstance(scene, Splats)
        else 0
    )


@dataclass(frozen=True)
class ViewSettings:
    """How the page shows its scenes; with `compact` splats are rounded as `.spz` rounds them."""

    start: Start
    up: str = "z"
    background: tuple[float, ...] = (1.0, 1.0, 1.0)
    compact: bool = False

    @property
    def description(self) -> dict[str, Any]:
        """What the viewer needs besides the scenes; matrices by columns, as in three.js."""
        place = self.start.page_from_world
        position = place.points(torch.tensor(self.start.position, dtype=torch.float64)).tolist()
        return {
            "start": {"position": position, "tangent": self.start.tangent, "aspect": self.start.aspect},
            "page_from_world": place.matrix().T.flatten().tolist(),
            "up": self.up,
            "background": "#" + "".join(f"{round(255 * value):02x}" for value in self.background),
        }


def write_view_page(path: Path, viewer: bytes, exhibits: Sequence[Exhibit], settings: ViewSettings) -> None:
    """Write one HTML file without external resources: the viewer, and the scenes in the page's frame."""
    files = [_file(exhibit.scene, settings.start.page_from_world, settings.compact) for exhibit in exhibits]
    scenes = [
        {
            "name": exhibit.name,
            "note": exhibit.note,
            "kind": exhibit.scene.config.kind,
            "file": name,
            "mip": isinstance(exhibit.scene, Splats) and exhibit.scene.config.mip,
        }
        for exhibit, (name, _) in zip(exhibits, files, strict=True)
    ]
    description = settings.description | {"scenes": scenes}
    before, after = viewer.split(SCENES_MARK)
    with atomic_write(path) as place, place.open("wb") as page:
        page.write(before)
        page.write(_script("scenes", "application/json", json.dumps(description).replace("<", "\\u003c").encode()))
        for index, (_, data) in enumerate(files):
            page.write(_script(f"scene-{index}", "text/plain", base64.b64encode(data)))
        page.write(after)


def _script(name: str, kind: str, content: bytes) -> bytes:
    return f'<script id="{name}" type="{kind}">'.encode() + content + b"</script>\n"


def _file(scene: Splats | Mesh, page_from_world: Similarity, compact: bool) -> tuple[str, bytes]:
    """A scene in the page's frame as a file: its name and bytes."""
    if isinstance(scene, Mesh):
        placement = Placement(page_from_world @ scene.world_from_local, "zup")  # the viewer's axes
        name, write = "scene.glb", partial(save, scene.view(placement=placement))
    else:
        name, writer = ("scene.spz", partial(spz.write, version=SPZ_VERSION)) if compact else ("scene.ply", ply.write)
        columns = columns_to_write(columns_from_splats(scene), Path(name), MAX_SH_DEGREE, page_from_world)
        if scene.config.surfels:
            columns["log_scales"][:, 2] = SURFEL_LOG_SCALE
        write = partial(writer, columns_from_file(columns, mip=scene.config.mip, provenance={}))
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        write(path)
        return name, path.read_bytes()
