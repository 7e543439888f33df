"""What a conversion did and lost, as plain values; torch need not be loaded for it."""

from dataclasses import dataclass, field, fields
from typing import Any

from volkit.evaluation.fidelity import Fidelity

__all__ = ["ConversionReport"]


@dataclass(frozen=True)
class ConversionReport:
    """What one conversion did and lost; `as_dict` is the same as plain values."""

    source: tuple[str, ...]  # files; none of a scene in memory
    target: str | None  # None: nothing was written
    source_kind: str
    kind: str
    seed: int | None  # None: the generator was given
    device: str
    backend: dict[str, object]
    seconds: float
    source_bytes: int
    bytes: int | None
    steps: int | None = None  # None: a mesh is extracted, not learnt
    method: str | None = None
    parameters: int | None = None
    history: tuple[dict[str, float], ...] | None = None  # None: nothing was learnt
    source_splats: int | None = None
    splats: int | None = None
    spz_frame: str | None = None
    mesh: dict[str, Any] = field(default_factory=dict)  # what was measured of a mesh: triangles, levels, stages, ...
    fidelity: Fidelity | None = None  # None: nothing was read back
    notes: tuple[str, ...] = ()

    @property
    def psnr_to_source(self) -> float | None:
        """In dB; None where the pictures are identical, or none were drawn."""
        return None if self.fidelity is None else self.fidelity.psnr_to_source

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, those of the mesh and of the comparison beside the others; without what does not apply."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("mesh", "fidelity")}
        own |= {"from": own.pop("source_kind"), "source": list(self.source), "notes": list(self.notes)}
        told = {name: value for name, value in own.items() if value is not None}
        return told | self.mesh | ({} if self.fidelity is None else self.fidelity.as_dict())
