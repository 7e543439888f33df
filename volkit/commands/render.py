"""`volkit render`: pictures, videos and posed datasets of a scene."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from volkit.choices import Channel, Device
from volkit.commands.edits import EDIT_HELP
from volkit.commands.options import Shown, UsageError
from volkit.progress import Progress

if TYPE_CHECKING:  # help does not wait for torch
    import numpy as np

    from volkit.rendering.orbits import ViewPath, Viewpoint
    from volkit.rendering.picture import Picture
    from volkit.representations import Representation

__all__ = ["RenderJob"]

SIZE = 400  # of views whose size nothing records
ORBIT_FRAMES = 120
SIDES = 4  # of a contact sheet, which has two in a row
PICTURES = (".png",)
VIDEOS = (".mp4", ".webm", ".mkv", ".gif")
PIXELS_AT_ONCE = 1 << 16  # small views are rendered together, which shares the cost of a call


@dataclass(frozen=True)
class RenderJob:
    """Render a scene: one picture, a video, or a folder of posed pictures.

    TARGET.png is one view, TARGET.mp4 an orbit, a folder every recorded view with a transforms.json that other tools
    train on. A scene without recorded views is framed whole, from its front: -Y if +Z is up, +Z if +Y is up. Examples:
      volkit render fox.safetensors fox.png --view images/0012.jpg
      volkit render guitar.ply side.png --azimuth 90 --elevation 10
      volkit render guitar.ply sides.png --sheet
      volkit render fox.safetensors depth.mp4 --channel depth --size 480
      volkit render scenes/still_life.json pictures/ --split train
    """

    source: Path
    """Scene file."""
    target: Path
    """Picture (.png), video (.mp4, .webm, .mkv, .gif) or folder to write."""
    view: str | None = None
    """One recorded view, by name or index."""
    split: Literal["train", "test", "all"] | None = None
    """Recorded views of one split; test: those held out."""
    orbit: int | None = None
    """Number of cameras on a circle around the scene."""
    sheet: bool = False
    """Contact sheet: front, right (+X), back and left in one .png."""
    cameras: Path | None = None
    """Cameras of a dataset or transforms.json; its pictures need not exist."""
    azimuth: float | None = None
    """Camera azimuth in degrees: 0 front, 90 right (+X), 180 back; of an orbit, that of its first camera."""
    elevation: float | None = None
    """Camera elevation in degrees, by default 15."""
    fov: float | None = None
    """Vertical field of view in degrees, by default 40."""
    distance: float | None = None
    """Camera distance from the object's centre, in longest edges of its box; by default the whole object is framed."""
    channel: Channel = "rgb"
    """rgb, depth (along the ray, 16 bits, 1/1000 unit), normal (world frame) or opacity."""
    size: int | None = None
    """Longest side in pixels; by default as recorded."""
    background: Literal["auto", "white", "black", "none"] = "auto"
    """Background; none: an alpha channel. auto: alpha in a folder, else that of the capture."""
    fps: int = 30
    """Frames per second of a video."""
    quality: float = 1.0
    """Step length of ray marching through fields, times 1/1024 of the cube: 2 is faster and coarser, 0.5 finer."""
    edit: Annotated[tuple[str, ...], Shown("ACTION", EDIT_HELP)] = ()
    drop_bad: bool = False
    """Drop splats with values that are not finite, and report how many."""
    force: bool = False
    """Overwrite an existing target."""
    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Render and write."""
        kind = self._kind()
        empty = kind == "folder" and self.target.is_dir() and not any(self.target.iterdir())
        if self.target.exists() and not self.force and not empty:
            raise FileExistsError(f"{self.target}: exists already; --force overwrites it")
        from volkit.commands.edits import apply_edits, parse_edits
        from volkit.files.atomic import check_writable
        from volkit.io.opening import note_reading, open_scene

        parse_edits(self.edit)
        viewpoint = self._viewpoint()
        if kind != "folder":
            check_writable(self.target)
        scene = open_scene(self.source, self.device, progress if self.drop_bad else None)
        note_reading(self.source, scene, progress)
        scene = apply_edits(scene, self.edit, progress=progress)
        views = self._views(scene, kind, viewpoint)
        with progress.phase("render"):
            if kind == "folder":
                self._folder(scene, views, progress)
            elif kind == "video":
                self._video(scene, views, progress)
            else:
                self._still(scene, views, progress)
        return {"command": "render", "source": str(self.source), "target": str(self.target), "channel": self.channel,
                "pictures": len(views.names), "size": views.cameras.size.amax(0).tolist()}  # fmt: skip

    def _kind(self) -> str:
        chosen = {"--view": self.view is not None, "--split": self.split is not None, "--orbit": self.orbit is not None,
                  "--sheet": self.sheet, "--cameras": self.cameras is not None}  # fmt: skip
        if sum(chosen.values()) > 1:
            raise UsageError(f"choose one of {', '.join(chosen)}")
        placed = [
            f"--{name}" for name in ("azimuth", "elevation", "fov", "distance") if getattr(self, name) is not None
        ]
        recorded = [name for name in ("--view", "--split", "--cameras") if chosen[name]]
        if placed and recorded:
            raise UsageError(
                f"{placed[0]} places a camera, {recorded[0]} takes one that is known: leave one of them out"
            )
        if self.orbit is not None and self.orbit < 1:
            raise UsageError("--orbit takes a number of cameras, at least 1")
        suffix = self.target.suffix.lower()
        if self.sheet and suffix not in PICTURES:
            raise UsageError(f"{self.target}: --sheet makes one picture; name it .png")
        if suffix in PICTURES:
            return "picture"
        if suffix in VIDEOS:
            return "video"
        if suffix:
            raise UsageError(f"{self.target}: '{suffix}' is neither a picture (.png), a video {VIDEOS} nor a folder")
        return "folder"

    def _viewpoint(self) -> "Viewpoint | None":
        """The viewpoint, if any option places the camera."""
        from volkit.rendering.orbits import Viewpoint

        names = ("azimuth", "elevation", "fov", "distance")
        given = {name: value for name in names if (value := getattr(self, name)) is not None}
        try:
            return Viewpoint(**given) if given or self.sheet else None
        except ValueError as error:
            raise UsageError(str(error).replace("viewpoint: ", "--")) from error

    def _views(self, scene: "Representation", kind: str, viewpoint: "Viewpoint | None") -> "ViewPath":
        views = self._unsized(scene, kind, viewpoint)
        return views if self.size is None else replace(views, cameras=views.cameras.resize(self.size))

    def _unsized(self, scene: "Representation", kind: str, viewpoint: "Viewpoint | None") -> "ViewPath":
        from volkit.data.export import read_cameras
        from volkit.io.opening import capture_size
        from volkit.rendering.orbits import ViewPath, orbit_path

        capture = scene.capture
        if self.cameras is not None:
            names, cameras = read_cameras(self.cameras)
            return ViewPath(names, cameras)
        chosen = self.view or self.split
        if chosen and capture is None:
            raise ValueError(f"{self.source}: records no views; use --orbit, --azimuth or --cameras")
        if capture is None or viewpoint or self.orbit is not None or (kind == "video" and not chosen):
            count = SIDES if self.sheet else self.orbit or (1 if kind == "picture" else ORBIT_FRAMES)
            size = self.size or capture_size(capture) or SIZE
            path = orbit_path(scene, count, size, viewpoint)
            return ViewPath(tuple(f"orbit_{i:04d}" for i in range(count)), path)
        recorded = ViewPath(capture.names, capture.cameras, capture.held_out)
        return recorded.select(self._kept(recorded, kind))

    def _kept(self, recorded: "ViewPath", kind: str) -> list[int]:
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

    def _behind(self, scene: "Representation", folder: bool = False) -> tuple[float, float, float] | None:
        fixed = {"white": (1.0, 1.0, 1.0), "black": (0.0, 0.0, 0.0), "none": None}
        if self.background in fixed:
            return fixed[self.background]
        captured = scene.capture.background if scene.capture else (1.0, 1.0, 1.0)
        return None if folder and captured else captured or (0.0, 0.0, 0.0)

    def _rendered(self, scene: "Representation", views: "ViewPath", progress: Progress) -> "Iterator[Picture]":
        """Pictures `[height, width]` one by one; cameras of one size are drawn together, as many as are small."""
        import torch

        from volkit.rendering import render

        sizes, start = views.cameras.size, 0
        while start < len(sizes):
            most = max(1, PIXELS_AT_ONCE // int(sizes[start].prod()))
            alike = (sizes[start : start + most] == sizes[start]).all(-1).tolist()
            together = alike.index(False) if False in alike else len(alike)
            some = views.cameras[slice(start, start + together)]
            with torch.no_grad():
                picture = render(scene, some, normals=self.channel == "normal", step_scale=self.quality)
            for index in range(together):
                yield picture.map(lambda t, index=index: t[index].cpu())
            start += together
            progress.advance(start / len(sizes))

    def _still(self, scene: "Representation", views: "ViewPath", progress: Progress) -> None:
        import numpy as np

        from volkit.reports.pixels import channel_pixels

        behind = self._behind(scene)
        shown = views if self.sheet else views.select([0])
        pixels = [channel_pixels(picture, self.channel, behind) for picture in self._rendered(scene, shown, progress)]
        rows = [np.concatenate(pixels[at : at + 2], 1) for at in range(0, len(pixels), 2)]
        self._picture(self.target, np.concatenate(rows))

    def _video(self, scene: "Representation", views: "ViewPath", progress: Progress) -> None:
        from volkit.reports.pixels import channel_pixels, write_video

        behind, pictures = self._behind(scene) or (0.0, 0.0, 0.0), self._rendered(scene, views, progress)
        write_video(self.target, (channel_pixels(p, self.channel, behind, video=True) for p in pictures), self.fps)

    def _picture(self, path: Path, pixels: "np.ndarray") -> None:
        import imageio.v3 as imageio

        from volkit.files.atomic import atomic_write

        with atomic_write(path) as place:
            imageio.imwrite(place, pixels, extension=".png")

    def _folder(self, scene: "Representation", views: "ViewPath", progress: Progress) -> None:
        from volkit.data.export import PosedFolder
        from volkit.reports.pixels import channel_pixels

        behind = self._behind(scene, folder=True)
        folder = PosedFolder(self.target, views.names, views.cameras, views.held_out)
        for name, picture in zip(folder.files, self._rendered(scene, views, progress), strict=True):
            name.parent.mkdir(parents=True, exist_ok=True)
            self._picture(name, channel_pixels(picture, self.channel, behind))
        folder.write_transforms()
