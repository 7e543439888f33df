"""Several scenes in one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from volkit.editing.action import CUTTABLE, Action
from volkit.io.splats.columns import columns_of_file, joined, solid
from volkit.io.splats.scene import columns_of_splats, splats_of
from volkit.representations import Composed, Field, Placed, Representation, Splats

__all__ = ["Merge", "merge"]


@dataclass(frozen=True)
class Merge(Action):
    """Join other scenes to this one: `merge`."""

    others: tuple[Representation, ...]
    applies_to = CUTTABLE
    empties = True  # between what is joined

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """All in one."""
        return merge([scene, *self.others])


def merge(scenes: Sequence[Representation]) -> Representation:
    """All in one, in the world's frame: fields add up, splats lie beside one another. ValueError for other mixtures.

    Splats of lower degree get harmonics of zero, surfels among others a third scale of nearly nothing; columns that are
    not understood are left out. Cameras are those of the first scene that has any. A field that is made of fields asks
    those that are given; splats are copies.
    """
    fields = [scene for scene in scenes if isinstance(scene, Field)]
    splats = [scene for scene in scenes if isinstance(scene, Splats)]
    if len(fields) == len(scenes):
        return Composed([f if f.world_from_local.is_identity else Placed(f, f.world_from_local) for f in fields])
    if len(splats) < len(scenes):
        kinds = ", ".join(dict.fromkeys(scene.config.kind for scene in scenes))
        raise ValueError(f"merging joins fields, or splats, and not {kinds}; convert them to one kind first")
    columns = [columns_of_splats(scene).columns_in() for scene in splats]
    if not all(scene.config.surfels for scene in splats):
        columns = [each | {"log_scales": solid(each["log_scales"])} for each in columns]
    mip, told = all(scene.config.mip for scene in splats), {"joined": [dict(scene.provenance) for scene in splats]}
    whole = splats_of(columns_of_file(joined(columns), mip=mip, provenance=told)).to(splats[0].device)
    capture = next((scene.capture for scene in splats if scene.capture is not None), None)
    return whole.view(capture=capture).requires_grad_(False)
