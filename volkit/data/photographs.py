"""`Photographs`: posed pictures with cameras, whatever convention they were read from."""

from dataclasses import dataclass, field, replace
from typing import Self

import torch

from volkit.geometry import Cameras, Domain, Similarity
from volkit.typing import Float, Tensor, UInt8

__all__ = ["Photographs"]


@dataclass(frozen=True)
class Photographs:
    """Pictures with cameras, world frame (+Z up); sizes may differ from picture to picture.

    Colours are 8-bit and display-referred; with an alpha channel they are straight, not premultiplied. Pixels whose
    mask is 0 are ignored. `domain` bounds the scene; nothing is nearer to a camera than `near`, in world units.

    >>> photos = load_photographs("room/")
    >>> photos.subset("test").cameras
    """

    cameras: Cameras
    images: tuple[UInt8[Tensor, "height width channel"], ...]  # 3 channels, or 4 with alpha
    names: tuple[str, ...]
    split: tuple[str, ...]  # train, test or val, for each picture
    domain: Domain
    near: float = 0.0
    masks: tuple[UInt8[Tensor, "height width"] | None, ...] = ()  # 0: ignored; empty: all pixels count
    points: Float[Tensor, "point 3"] | None = None  # sparse points of the reconstruction, world frame
    notes: tuple[str, ...] = ()  # what was skipped or assumed
    world_from_file: Similarity = field(default_factory=Similarity)  # its inverse leads back to the dataset's frame

    def __len__(self) -> int:
        return len(self.images)

    @property
    def has_alpha(self) -> bool:
        """Whether the pictures have an alpha channel."""
        return self.images[0].shape[-1] == 4

    def subset(self, split: str) -> Self:
        """The pictures of one split; ValueError, which names the splits, where it is empty."""
        index = [i for i, name in enumerate(self.split) if name == split]
        if not index:
            raise ValueError(f"no pictures in split '{split}': there are {sorted(set(self.split))}")
        return self.select(index)

    def select(self, index: list[int]) -> Self:
        """The pictures at these indices, in this order."""

        def pick(items: tuple) -> tuple:
            return tuple(items[i] for i in index)

        return replace(
            self,
            cameras=self.cameras[torch.tensor(index)],
            images=pick(self.images),
            names=pick(self.names),
            split=pick(self.split),
            masks=pick(self.masks) if self.masks else (),
        )

    def hold_out(self, every: int) -> Self:
        """The same pictures with every N-th by name, from the first, in the test split and all others in train."""
        if every < 1:
            raise ValueError(f"holdout {every}: give N of at least 1, to hold out every N-th picture")
        order = sorted(range(len(self)), key=lambda i: self.names[i])
        split = ["train"] * len(self)
        for position in order[::every]:
            split[position] = "test"
        return replace(self, split=tuple(split))
