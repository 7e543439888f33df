"""Merging of several scenes to one."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from volkit.editing.action import CUTTABLE, Action
from volkit.geometry import Similarity
from volkit.io.splats.columns import add_flat_scale, columns_from_file, concatenate_columns
from volkit.io.splats.scene import columns_from_splats, splats_from_columns
from volkit.representations import Composed, Field, Placed, Representation, Splats

__all__ = ["Merge", "merge"]


@dataclass(frozen=True)
class Merge(Action):
    """Merge other scenes into this one (`merge`).

    Attributes:
        others: scenes of the same kind, all fields or all splats.
    """

    others: tuple[Representation, ...]
    applies_to = CUTTABLE
    empties = True  # between the scenes

    def change(self, scene: Representation, generator: torch.Generator) -> Representation:
        """All scenes in one."""
        return merge([scene, *self.others])


def merge(scenes: Sequence[Representation]) -> Representation:
    """Merge scenes to one, in the world's frame: densities of fields add up, splats are concatenated.

    Splats of lower degree get zeros for the missing harmonics; surfels among other splats get a tiny third scale;
    further columns of files are dropped. The capture is that of the first scene that has one. Merged fields share the
    given fields (`Composed`), merged splats are copies. ValueError for scenes of different kinds.
    """
    fields = [scene for scene in scenes if isinstance(scene, Field)]
    splats = [scene for scene in scenes if isinstance(scene, Splats)]
    if len(fields) == len(scenes):
        return Composed([f if f.world_from_local.is_identity else Placed(f, f.world_from_local) for f in fields])
    if len(splats) < len(scenes):
        kinds = ", ".join(dict.fromkeys(scene.config.kind for scene in scenes))
        raise ValueError(f"merging joins fields, or splats, and not {kinds}; convert them to one kind first")
    parts = [columns_from_splats(scene) for scene in splats]
    # Of parts that lie far from the world's origin float32 holds what remains beyond the offset of one of them.
    far = next((Similarity(translation=p.world_from_local.translation) for p in parts if p.georeferenced), None)
    columns = [part.columns_in(far and far.inverse()) for part in parts]
    if not all(scene.config.surfels for scene in splats):
        columns = [each | {"log_scales": add_flat_scale(each["log_scales"])} for each in columns]
    mip, record = all(scene.config.mip for scene in splats), {"joined": [dict(scene.provenance) for scene in splats]}
    merged = columns_from_file(concatenate_columns(columns), far, mip=mip, provenance=record)
    whole = splats_from_columns(merged).to(splats[0].device)
    capture = next((scene.capture for scene in splats if scene.capture is not None), None)
    return whole.view(capture=capture).requires_grad_(False)
