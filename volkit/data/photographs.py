"""Posed photographs: the value that every dataset reader returns."""

from dataclasses import dataclass, field, replace
from typing import Self

import torch

from volkit.geometry import Cameras, Domain, Similarity
from volkit.typing import Float, Tensor, UInt8

__all__ = ["Photographs"]


@dataclass(frozen=True)
class Photographs:
    """Pictures with cameras, world frame; sizes may differ from picture to picture.

    Colours are 8-bit display-referred, straight (not premultiplied) where there is an alpha channel; a mask says
    which pixels count. `domain` is where the scene is, worked out from cameras and points where there are any.
    """

    cameras: Cameras
    images: tuple[UInt8[Tensor, "height width channel"], ...]  # 3 channels, or 4 with alpha
    names: tuple[str, ...]
    split: tuple[str, ...]  # train, test or val, one per picture
    domain: Domain
    near: float = 0.0
    masks: tuple[UInt8[Tensor, "height width"] | None, ...] = ()  # 0: ignore the pixel; empty: all count
    points: Float[Tensor, "point 3"] | None = None  # sparse points of a reconstruction
    notes: tuple[str, ...] = ()  # what was skipped or assumed, for the user
    world_from_file: Similarity = field(default_factory=Similarity)  # its inverse leads back to the dataset

    def __len__(self) -> int:
        return len(self.images)

    @property
    def has_alpha(self) -> bool:
        """Whether the pictures say where nothing is."""
        return self.images[0].shape[-1] == 4

    def subset(self, split: str) -> Self:
        """The pictures of one split; an empty one raises ValueError with the splits there are."""
        index = [i for i, name in enumerate(self.split) if name == split]
        if not index:
            raise ValueError(f"no pictures in split '{split}': there are {sorted(set(self.split))}")
        return self.select(index)

    def select(self, index: list[int]) -> Self:
        """The pictures at these positions, in this order."""

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

    def held_out(self, every: int) -> Self:
        """Mark indices 0, N, 2N, ... of the pictures sorted by name as the test split, the others as train."""
        if every < 1:
            raise ValueError(f"holdout {every}: keep out every N-th picture with N of at least 1")
        order = sorted(range(len(self)), key=lambda i: self.names[i])
        split = ["train"] * len(self)
        for position in order[::every]:
            split[position] = "test"
        return replace(self, split=tuple(split))
