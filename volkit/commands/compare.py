"""`volkit compare`: how alike two scenes look, or a scene and its photographs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from volkit.choices import Device
from volkit.commands.usage import UsageError
from volkit.data import Photographs, load_photographs
from volkit.evaluation.evaluate import WHITE, composite_over, render_over, white_background
from volkit.evaluation.metrics import mean_scores, score
from volkit.geometry import Cameras
from volkit.io.opening import capture_size, is_scene, open_scene
from volkit.progress import Progress
from volkit.rendering.viewpoints import orbit_cameras
from volkit.representations import Capture, Representation
from volkit.typing import Float, Tensor

__all__ = ["CompareJob", "Side"]

ORBIT_VIEWS = 12  # cameras around a scene that does not know how it was captured
ORBIT_SIZE = 400
BLACK = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class CompareJob:
    """Compare two scenes, or a scene with its photographs: PSNR, SSIM and FLIP, per view and on average.

    A is judged against B. Examples:
      volkit compare out/fox.safetensors photos/fox --json
      volkit compare out/chair_vm.safetensors out/chair.safetensors --size 200
    """

    a: Path
    """Scene file or dataset that is judged."""
    b: Path
    """Scene file or dataset that it is held against."""
    split: str | None = None
    """train, test or val; by default the held-out views."""
    size: int | None = None
    """Longest side of the pictures in pixels; by default the size recorded in the scene file."""
    drop_bad: bool = False
    """Leave out splats whose values are not finite, and say how many."""
    device: Device = "auto"
    """auto: cuda where its kernels pass a test of themselves, else cpu."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Render or read both sides' views, score them, average."""
        if self.size is not None and self.size < 11:
            raise UsageError("--size: the SSIM window alone is 11 pixels wide")
        scenes = [
            open_scene(path, self.device, progress if self.drop_bad else None) if is_scene(path) else None
            for path in (self.a, self.b)
        ]
        size = self.size or next((s for f in scenes if f and (s := capture_size(f.capture))), None)
        capture = next((f.capture for f in scenes if f and f.capture), None)
        sides = []
        for path, scene in zip((self.a, self.b), scenes, strict=True):
            with progress.phase("read"):
                seen = None if scene else load_photographs(path, size, progress=progress.counted)
            sides.append(Side(path, scene, seen))
        views = self._views(sides, capture, size)
        background = self._background(sides)
        rows, scores = [], []
        with progress.phase("compare"):
            for done, (name, camera) in enumerate(views):
                a, b = (side.picture(name, camera, background) for side in sides)
                if a.shape != b.shape:
                    raise ValueError(f"view '{name}': {_size(a)} in {self.a}, {_size(b)} in {self.b}; give --size")
                scores.append(score(a, b))
                rows.append({"name": name, **asdict(scores[-1])})
                progress.values(psnr=mean_scores(scores).psnr)
                progress.advance((done + 1) / len(views))
        return {"command": "compare", "a": str(self.a), "b": str(self.b), "size": size, "split": self.split,
                **asdict(mean_scores(scores)), "views": rows}  # fmt: skip

    def _views(self, sides: "list[Side]", capture: Capture | None, size: int | None) -> list[tuple[str, Cameras]]:
        """Names and cameras: of the pictures that every dataset has, else of the capture, else of an orbit."""
        photographs = [side.photographs for side in sides if side.photographs]
        if photographs:
            common = set.intersection(*(set(p.names) for p in photographs))
            names = [
                name for name in photographs[0].names if name in common and self._wanted(name, capture, photographs)
            ]
            if not names:
                raise ValueError(
                    f"nothing to compare: no {self.split or 'held-out'} view is in both; try --split train"
                )
            return [(name, _camera(name, capture, photographs[0])) for name in names]
        if capture is None:
            scene = sides[0].scene
            assert scene is not None
            cameras = orbit_cameras(scene, ORBIT_VIEWS, size or ORBIT_SIZE)
            return [(f"orbit_{i:02d}", cameras[[i]]) for i in range(ORBIT_VIEWS)]
        chosen = [name for name in capture.names if self._wanted(name, capture, [])]
        if not chosen:
            raise ValueError(f"no {self.split or 'held-out'} view is recorded; give --split train")
        cameras = capture.cameras if size is None else capture.cameras.resized(size)
        return [(name, cameras[[capture.names.index(name)]]) for name in chosen]

    def _wanted(self, name: str, capture: Capture | None, photographs: list[Photographs]) -> bool:
        """What the scene file holds out goes before a dataset's own split, where both speak of the same pictures."""
        held_out = set() if capture is None else set(capture.held_out)
        if photographs and held_out.isdisjoint(photographs[0].names):
            split = photographs[0].split[photographs[0].names.index(name)]
            return split == (self.split or "test")
        return (name in held_out) == (self.split in (None, "test"))

    @staticmethod
    def _background(sides: "list[Side]") -> tuple[float, float, float]:
        """White where either side has transparency, black where both are opaque captures."""
        for side in sides:
            if side.photographs and (colour := white_background(side.photographs)):
                return colour
            if side.scene and (side.scene.capture is None or side.scene.capture.background):
                return WHITE
        return BLACK


@dataclass(frozen=True)
class Side:
    """One of the two things that are compared: a scene that is rendered, or photographs that are looked up."""

    path: Path
    scene: Representation | None
    photographs: Photographs | None

    def picture(self, name: str, camera: Cameras, background: tuple[float, ...]) -> Float[Tensor, "height width 3"]:
        """This side's view of that name, over the background."""
        if self.scene is not None:
            return render_over(self.scene, camera, background).clamp(0.0, 1.0)
        assert self.photographs is not None
        return composite_over(self.photographs.images[self.photographs.names.index(name)], background)


def _camera(name: str, capture: Capture | None, photographs: Photographs) -> Cameras:
    """The scene's own record of a view, at the picture's size: it holds even where a dataset was turned or scaled."""
    seen = photographs.cameras[[photographs.names.index(name)]]
    if capture is None or name not in capture.names:
        return seen
    own = capture.cameras[[capture.names.index(name)]].resized(int(seen.size.max()))
    return own if torch.equal(own.size, seen.size) else seen


def _size(picture: Tensor) -> str:
    return f"{picture.shape[1]}x{picture.shape[0]}"
