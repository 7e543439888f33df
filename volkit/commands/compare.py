"""`volkit compare`: how alike two scenes look, or a scene and its photographs."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import Device
from volkit.commands.options import UsageError

if TYPE_CHECKING:  # help does not wait for torch
    from volkit.data import Photographs
    from volkit.progress import Progress
    from volkit.representations import Representation

__all__ = ["CompareJob"]

LEAST_SIZE = 11  # pixels: the SSIM window


@dataclass(frozen=True)
class CompareJob:
    """Compare two scenes, or a scene with its photographs: PSNR, SSIM and FLIP, per view and on average.

    A is compared with the reference B. Examples:
      volkit compare out/fox.safetensors photos/fox --json
      volkit compare out/chair_vm.safetensors out/chair.safetensors --size 200
    """

    a: Path
    """Scene file or dataset to measure."""
    b: Path
    """Scene file or dataset that is the reference."""
    split: Literal["train", "test", "val"] | None = None
    """Views to compare by; by default the held-out ones."""
    size: int | None = None
    """Longest side of the pictures in pixels; by default as recorded in the scene file."""
    drop_bad: bool = False
    """Drop splats with values that are not finite, and report how many."""
    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Open both sides, compare them, report."""
        if self.size is not None and self.size < LEAST_SIZE:
            raise UsageError(f"--size: the SSIM window alone is {LEAST_SIZE} pixels wide")
        from volkit.evaluation.compare import compare

        a, b = self._sides(progress)
        try:
            found = compare(a, b, split=self.split, size=self.size, progress=progress)
        except ValueError as error:
            raise ValueError(f"{self.a} and {self.b}: {error}") from error
        scores = asdict(found)
        return {"command": "compare", "a": str(self.a), "b": str(self.b), "size": scores.pop("size"),
                "split": self.split, **scores}  # fmt: skip

    def _sides(self, progress: "Progress") -> "list[Representation | Photographs]":
        """Scenes first: they know how large the photographs of the other side should be."""
        from volkit.data import load_photographs
        from volkit.io import is_scene
        from volkit.io.opening import capture_size, note_reading, open_scene

        dropping = progress if self.drop_bad else None
        paths = (self.a, self.b)
        scenes = [open_scene(path, self.device, dropping) if is_scene(path) else None for path in paths]
        size = self.size or next(
            (s for scene in scenes if scene is not None and (s := capture_size(scene.capture))), None
        )
        sides = []
        for path, scene in zip(paths, scenes, strict=True):
            if scene is not None:
                note_reading(path, scene, progress)
                sides.append(scene)
                continue
            with progress.phase("read"):
                sides.append(load_photographs(path, size, progress=progress.counted))
        return sides
