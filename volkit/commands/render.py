"""`volkit render`: pictures, videos and posed datasets of a scene."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from volkit.choices import Device
from volkit.commands.usage import UsageError
from volkit.data.export import PosedFolder, listed_cameras
from volkit.files.atomic import atomic_write, check_writable
from volkit.io.opening import capture_size, open_scene
from volkit.progress import Progress
from volkit.rendering.orbits import ViewPath, orbit_path
from volkit.rendering.renderer import renderer_for
from volkit.reports.channels import Channel, drawn
from volkit.reports.video import write_video
from volkit.representations import Representation

__all__ = ["RenderJob"]

SIZE = 400  # of views whose size nothing records
ORBIT_FRAMES = 120
PICTURES = (".png",)
VIDEOS = (".mp4", ".webm", ".mkv", ".gif")


@dataclass(frozen=True)
class RenderJob:
    """Render a scene: one picture, a video, or a folder of posed pictures.

    TARGET.png is one view, TARGET.mp4 an orbit, a folder every recorded view with a transforms.json that other tools
    train on. Examples:
      volkit render fox.safetensors fox.png --view images/0012.jpg
      volkit render fox.safetensors depth.mp4 --channel depth --size 480
      volkit render scenes/still_life.json pictures/ --split train
    """

    source: Path
    """Scene file."""
    target: Path
    """A .png, a video (.mp4, .webm, .mkv, .gif) or a folder."""
    view: str | None = None
    """Name or index of one recorded view."""
    split: Literal["train", "test", "all"] | None = None
    """Recorded views of a split; test is what was held out."""
    orbit: int | None = None
    """This many cameras on a circle around the scene."""
    cameras: Path | None = None
    """Dataset or transforms.json whose cameras are used; its pictures need not exist."""
    channel: Channel = "rgb"
    """rgb, depth (16-bit thousandths of a unit along the ray), normal (world frame) or opacity."""
    size: int | None = None
    """Longest side in pixels; by default as recorded."""
    background: Literal["auto", "white", "black", "none"] = "auto"
    """What lies behind; none keeps an alpha channel. auto: alpha in a folder, else as the scene was captured."""
    fps: int = 30
    """Frames a second of a video."""
    quality: float = 1.0
    """Step length, relative to a 1024th of the cube: 2 is faster and coarser, 0.5 finer."""
    drop_bad: bool = False
    """Leave out splats whose values are not finite, and say how many."""
    force: bool = False
    """Overwrite an existing target."""
    device: Device = "auto"
    """auto: cuda where its kernels pass a test of themselves, else cpu."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Render and write; nothing is left behind that is not whole."""
        kind = self._kind()
        empty = kind == "folder" and self.target.is_dir() and not any(self.target.iterdir())
        if self.target.exists() and not self.force and not empty:
            raise FileExistsError(f"{self.target}: exists already; --force overwrites it")
        if kind != "folder":
            check_writable(self.target)
        scene = open_scene(self.source, self.device, progress if self.drop_bad else None)
        views = self._views(scene, kind)
        with progress.phase("render"):
            if kind == "folder":
                self._folder(scene, views, progress)
            elif kind == "video":
                behind, rendered = self._behind(scene) or (0.0, 0.0, 0.0), self._rendered(scene, views, progress)
                write_video(self.target, (drawn(p, self.channel, behind, video=True) for p in rendered), self.fps)
            else:
                views = views.chosen([0])
                rendered = next(self._rendered(scene, views, progress))
                self._picture(self.target, drawn(rendered, self.channel, self._behind(scene)))
        return {"command": "render", "source": str(self.source), "target": str(self.target), "channel": self.channel,
                "pictures": len(views.names), "size": views.cameras.size.amax(0).tolist()}  # fmt: skip

    def _kind(self) -> str:
        if sum(x is not None for x in (self.view, self.split, self.orbit, self.cameras)) > 1:
            raise UsageError("choose one of --view, --split, --orbit and --cameras")
        if self.orbit is not None and self.orbit < 1:
            raise UsageError("--orbit takes a number of cameras, at least 1")
        suffix = self.target.suffix.lower()
        if suffix in PICTURES:
            return "picture"
        if suffix in VIDEOS:
            return "video"
        if suffix:
            raise UsageError(f"{self.target}: '{suffix}' is neither a picture (.png), a video {VIDEOS} nor a folder")
        return "folder"

    def _views(self, scene: Representation, kind: str) -> ViewPath:
        views = self._unsized(scene, kind)
        return views if self.size is None else replace(views, cameras=views.cameras.resized(self.size))

    def _unsized(self, scene: Representation, kind: str) -> ViewPath:
        capture = scene.capture
        if self.cameras is not None:
            names, cameras = listed_cameras(self.cameras)
            return ViewPath(names, cameras)
        chosen = self.view or self.split
        if chosen and capture is None:
            raise ValueError(f"{self.source}: records no views; use --orbit or --cameras")
        if capture is None or self.orbit is not None or (kind == "video" and not chosen):
            count = self.orbit or (1 if kind == "picture" else ORBIT_FRAMES)
            size = self.size or capture_size(capture) or SIZE
            return ViewPath(tuple(f"orbit_{i:04d}" for i in range(count)), orbit_path(scene, count, size))
        recorded = ViewPath(capture.names, capture.cameras, capture.held_out)
        return recorded.chosen(self._kept(recorded, kind))

    def _kept(self, recorded: ViewPath, kind: str) -> list[int]:
        held, total = set(recorded.held_out), range(len(recorded.names))
        if self.view is not None:
            if self.view in recorded.names:
                return [recorded.names.index(self.view)]
            if self.view.isdecimal() and int(self.view) < len(recorded.names):
                return [int(self.view)]
            raise ValueError(f"--view {self.view}: there is none; views are 0 to {len(recorded.names) - 1}, or by name")
        tested = [i for i in total if recorded.names[i] in held]
        split = self.split or ("test" if kind == "picture" and tested else "all")
        kept = {"all": list(total), "test": tested, "train": [i for i in total if recorded.names[i] not in held]}[split]
        if not kept:
            raise ValueError(f"--split {split}: no such views are recorded in {self.source}")
        return kept

    def _behind(self, scene: Representation, folder: bool = False) -> tuple[float, float, float] | None:
        fixed = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "none": None}
        if self.background in fixed:
            return fixed[self.background]
        captured = scene.capture.background if scene.capture else (1.0, 1.0, 1.0)
        return None if folder and captured else captured or (0.0, 0.0, 0.0)

    def _rendered(self, scene: Representation, views: ViewPath, progress: Progress) -> Iterator[Any]:
        renderer = renderer_for(scene, step_scale=self.quality, normals=self.channel == "normal")
        for index in range(len(views.names)):
            yield renderer(scene, views.cameras[[index]]).mapped(lambda t: t[0].cpu())
            progress.advance((index + 1) / len(views.names))

    def _picture(self, path: Path, pixels: Any) -> None:
        import imageio.v3 as imageio

        with atomic_write(path) as place:
            imageio.imwrite(place, pixels, extension=".png")

    def _folder(self, scene: Representation, views: ViewPath, progress: Progress) -> None:
        folder = PosedFolder(self.target, views.names, views.cameras, views.held_out)
        for name, picture in zip(folder.files, self._rendered(scene, views, progress), strict=True):
            name.parent.mkdir(parents=True, exist_ok=True)
            self._picture(name, drawn(picture, self.channel, self._behind(scene, folder=True)))
        folder.write_transforms()
