"""The page of `volkit view`: the viewer as `make viewer` builds it, and in it the scenes, as files in base64.

Scenes lie in the page's frame: the world's axes, its origin where the first camera looks, that camera ten units away,
so that the viewer need not know how large a scene is. Splats are a `.ply`, or a smaller and coarser `.spz`, meshes a
`.glb`.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from volkit.files.atomic import atomic_write
from volkit.geometry import Cameras, Similarity, sh_count
from volkit.io import save
from volkit.io.splats import spz
from volkit.io.splats.columns import columns_for, splats_of
from volkit.rendering.orbits import orbit_path
from volkit.representations import Mesh, Placement, Representation, Splats

__all__ = ["Exhibit", "Start", "ViewSettings", "ply_bytes", "viewer_page", "write_page"]

SCENES_MARK = b"<!-- scenes -->"
AWAY = 10.0  # page units from the first camera to what it looks at
DEGREE = 3  # of harmonics that the viewer draws
NONE = -40.0  # log of a surfel's third scale: below -30 the viewer takes a splat for a surfel
SPZ = 3  # the version that the viewer reads


@dataclass(frozen=True)
class Start:
    """Where the page looks from first, world frame; `tangent` is that of half the vertical angle of view."""

    position: tuple[float, ...]
    target: tuple[float, ...]
    tangent: float
    aspect: float

    @classmethod
    def of(cls, scene: Representation) -> "Start":
        """The first held-out, else the first camera of a capture, at the depth of what all look at; else an orbit's."""
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
        """Moves the target to the origin and the camera ten units from it."""
        position, target = torch.tensor([self.position, self.target], dtype=torch.float64)
        scale = AWAY / float((position - target).norm())
        return Similarity(translation=tuple((-scale * target).tolist()), scale=scale)


@dataclass(frozen=True)
class Exhibit:
    """A scene as the page shows it."""

    name: str
    scene: Splats | Mesh
    note: str = ""  # what is not as in the source


def ply_bytes(scene: Representation) -> int:
    """How large the scene's splats are in the page, before base64."""
    return 4 * len(scene) * (14 + 3 * sh_count(min(DEGREE, scene.config.degree))) if isinstance(scene, Splats) else 0


def viewer_page() -> bytes:
    """The viewer without scenes; ValueError where it was not built."""
    built = Path(__file__).parents[1] / "viewer" / "viewer.html"
    if not built.is_file():
        raise ValueError(
            "this volkit was built without its viewer; in a checkout run 'make viewer' (with Node.js 18 or later and"
            " npm), and install volkit from there again unless it is used from there"
        )
    return built.read_bytes()


@dataclass(frozen=True)
class ViewSettings:
    """How the page looks at its scenes; with `compact` splats are rounded as `.spz` rounds them."""

    start: Start
    up: str = "z"
    background: tuple[float, ...] = (1.0, 1.0, 1.0)
    compact: bool = False

    @property
    def told(self) -> dict[str, Any]:
        """What the viewer must know besides the scenes; the matrix column by column, as three has it."""
        place = self.start.page_from_world
        position = place.points(torch.tensor(self.start.position, dtype=torch.float64)).tolist()
        return {
            "start": {"position": position, "tangent": self.start.tangent, "aspect": self.start.aspect},
            "page_from_world": place.matrix().T.flatten().tolist(),
            "up": self.up, "background": "#" + "".join(f"{round(255 * value):02x}" for value in self.background),
        }  # fmt: skip


def write_page(path: Path, viewer: bytes, exhibits: Sequence[Exhibit], look: ViewSettings) -> None:
    """Write one HTML file that needs no other: the viewer and the scenes, which are moved to the page's frame."""
    files = [_file(exhibit.scene, look.start.page_from_world, look.compact) for exhibit in exhibits]
    scenes = [
        {"name": e.name, "note": e.note, "kind": e.scene.config.kind, "file": name,
         "mip": isinstance(e.scene, Splats) and e.scene.config.mip}
        for e, (name, _) in zip(exhibits, files, strict=True)
    ]  # fmt: skip
    told = look.told | {"scenes": scenes}
    before, after = viewer.split(SCENES_MARK)
    with atomic_write(path) as place, place.open("wb") as page:
        page.write(before)
        page.write(_script("scenes", "application/json", json.dumps(told).replace("<", "\\u003c").encode()))
        for index, (_, data) in enumerate(files):
            page.write(_script(f"scene-{index}", "text/plain", base64.b64encode(data)))
        page.write(after)


def _script(name: str, kind: str, content: bytes) -> bytes:
    return f'<script id="{name}" type="{kind}">'.encode() + content + b"</script>\n"


def _file(scene: Splats | Mesh, page_from_world: Similarity, compact: bool) -> tuple[str, bytes]:
    """A scene in the page's frame as a file: its name and bytes."""
    if isinstance(scene, Mesh):
        name, write = "scene.glb", save
        scene = scene.view(placement=Placement(page_from_world @ scene.world_from_local, "zup"))  # as the page reads it
    else:
        name, write = ("scene.spz", partial(spz.write, version=SPZ)) if compact else ("scene.ply", save)
        columns = columns_for(scene, Path(name), DEGREE, page_from_world)
        if scene.config.surfels:
            columns["log_scales"][:, 2] = NONE
        scene = splats_of(columns, mip=scene.config.mip, provenance={})
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        write(scene, path)
        return name, path.read_bytes()
