"""A field against pictures: a glance while it learns, the full measure when it is done."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from volkit.choices import ParameterError
from volkit.data import Photographs
from volkit.evaluation.metrics import WINDOW, psnr, round_to_8_bits
from volkit.files.atomic import atomic_write
from volkit.geometry import Cameras
from volkit.io.opening import capture_size
from volkit.progress import Progress
from volkit.rendering.renderer import Renderer, renderer_for
from volkit.rendering.viewpoints import distillation_cameras
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = [
    "EVALUATION_VIEWS",
    "Evaluator",
    "Preview",
    "composite_over",
    "render_over",
    "white_background",
    "write_picture",
]

QUICK_VIEWS = 2  # views judged on the way
EVALUATION_VIEWS = 8  # of a source, when a conversion is done
MODEST = 320  # pixels, the longest side of those: what eight views cost of a million splats is seconds
WHITE = (1.0, 1.0, 1.0)

Preview = Callable[[Float[Tensor, "height width 3"]], None]  # receives a picture from time to time


def white_background(photographs: Photographs) -> tuple[float, float, float] | None:
    """Background of the comparison: white where pictures are transparent, none where they are opaque."""
    return WHITE if photographs.has_alpha else None


def composite_over(image: Tensor, background: Sequence[float]) -> Float[Tensor, "height width 3"]:
    """An 8-bit picture as colours in [0, 1], transparent parts over the background."""
    value = image.float() / 255.0
    if value.shape[-1] == 3:
        return value
    return value[..., :3] * value[..., 3:] + (1.0 - value[..., 3:]) * value.new_tensor(background)


def render_over(
    scene: Representation, camera: Cameras, background: Sequence[float], renderer: Renderer | None = None
) -> Float[Tensor, "height width 3"]:
    """One view of a scene over a background, on the CPU as photographs are."""
    with torch.no_grad():
        picture = (renderer or renderer_for(scene))(scene, camera)
    return picture.over(picture.opacity.new_tensor(tuple(background)))[0].cpu()


@dataclass(frozen=True)
class Evaluator:
    """Held-out views (training views where none were held out) that a field is compared with."""

    cameras: Cameras
    truth: tuple[Float[Tensor, "height width 3"], ...]
    label: str
    background: tuple[float, float, float] = WHITE
    preview: Preview | None = None
    seconds: float = 0.0  # that the pictures took, where they were drawn

    @classmethod
    def of(cls, photographs: Photographs, preview: Preview | None = None) -> "Evaluator":
        """The test split, else the training views."""
        label = "test" if "test" in photographs.split else "train"
        views = photographs.subset(label)
        background = white_background(photographs) or (0.0, 0.0, 0.0)
        truth = tuple(composite_over(image, background) for image in views.images)
        return cls(views.cameras, truth, label, background, preview)

    @classmethod
    def of_scene(
        cls,
        scene: Representation,
        size: int | None,
        generator: torch.Generator,
        preview: Preview | None = None,
        seconds: float = math.inf,
    ) -> "Evaluator":
        """A scene's own pictures from held-out views of its capture, else from views made up.

        `size` is their longest side, by default the capture's and at most `MODEST`. After `seconds` no more of them are
        drawn: of views in a row those come first that lie far apart.
        """
        capture = scene.capture
        size = size or min(MODEST, capture_size(capture) or MODEST)
        if capture is not None and capture.held_out:
            held = [i for i, name in enumerate(capture.names) if name in set(capture.held_out)]
            cameras = capture.cameras[held[:: max(1, len(held) // EVALUATION_VIEWS)][:EVALUATION_VIEWS]]
            cameras = cameras.resize(size)
        else:
            cameras = distillation_cameras(scene, EVALUATION_VIEWS, size, generator)[slice(0, EVALUATION_VIEWS)]
        if int(cameras.size.min()) < WINDOW:
            raise ParameterError(f"size {size}: pictures less than {WINDOW} pixels wide or high cannot be measured")
        background = (capture.background if capture else None) or WHITE
        started = time.perf_counter()
        truth: dict[int, Tensor] = {}
        for index in _apart(len(cameras)):
            truth[index] = render_over(scene, cameras[[index]], background)
            if time.perf_counter() - started > seconds:
                break
        views, taken = sorted(truth), time.perf_counter() - started
        return cls(cameras[views], tuple(truth[i] for i in views), "source", background, preview, taken)

    def quick_psnr(self, scene: Representation) -> float | None:
        """Mean PSNR over a few views spread over the set; the first is shown as a preview."""
        count = len(self.truth)
        chosen = sorted({round(k * (count - 1) / max(QUICK_VIEWS - 1, 1)) for k in range(QUICK_VIEWS)})
        return self._mean(scene, chosen)

    def pictures(self, scene: Representation, progress: Progress) -> list[Float[Tensor, "height width 3"]]:
        """What another scene shows of every view."""
        rendered = []
        for index in range(len(self.truth)):
            rendered.append(render_over(scene, self.cameras[[index]], self.background))
            progress.advance((index + 1) / len(self.truth))
        return rendered

    def mean_psnr(self, scene: Representation, progress: Progress) -> float | None:
        """Mean PSNR over all views."""
        with progress.phase("measure"):
            return self._mean(scene, range(len(self.truth)), progress)

    def _mean(self, scene: Representation, chosen: Sequence[int], progress: Progress | None = None) -> float | None:
        found = []
        for done, index in enumerate(chosen):
            rendered = render_over(scene, self.cameras[[index]], self.background)
            if self.preview is not None and done == 0:
                self.preview(rendered)
            found.append(psnr(rendered, self.truth[index]))
            if progress is not None:
                progress.advance((done + 1) / len(chosen))
        known = [value for value in found if value is not None]
        return sum(known) / len(known) if known else None


def _apart(count: int) -> list[int]:
    """The numbers below `count`, each as far as can be from those before it: 0, 4, 2, 6, 1, 5, 3, 7."""
    bits = max(count - 1, 1).bit_length()
    turned = (int(format(k, f"0{bits}b")[::-1], 2) for k in range(1 << bits))
    return [k for k in turned if k < count]


def write_picture(path: Path, rgb: Float[Tensor, "height width 3"]) -> None:
    """Write an 8-bit picture; a reader never sees half of it."""
    import imageio.v3 as imageio

    with atomic_write(path) as place:
        imageio.imwrite(place, (round_to_8_bits(rgb) * 255.0).round().to(torch.uint8).numpy(), extension=".png")
