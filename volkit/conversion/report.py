"""What a conversion did and lost, as plain values; torch need not be loaded for it."""

from dataclasses import dataclass, field, fields
from typing import Any

from volkit.evaluation.fidelity import Fidelity

__all__ = ["ConversionReport"]


@dataclass(frozen=True)
class ConversionReport:
    """What one conversion did and lost; `as_dict` is the same as plain JSON values.

    Attributes:
        source: files that were read; none for a scene in memory.
        target: file that was written, or None.
        source_kind: kind of the source.
        kind: kind of the result.
        seed: of the random numbers; None where a generator was given.
        device: that computed, `cpu` or `cuda`.
        backend: names and versions of the kernels.
        seconds: of reading, editing and making the result, without measuring.
        source_bytes: size of the source files.
        bytes: size of the target.
        steps: of training; 0 where the scene was written as it is, None for a mesh, which is extracted.
        method: distillation method.
        parameters: number of numbers in the result.
        history: rows of step, seconds, loss and PSNR in dB during training.
        source_splats: number of splats in the source.
        splats: number of splats in the result.
        spz_frame: axes of an .spz that was read or written.
        mesh: measurements of a mesh: triangles, levels, stages and others.
        fidelity: comparison of the target with the source; None where it was not measured.
        notes: what a user should know.
    """

    source: tuple[str, ...]
    target: str | None
    source_kind: str
    kind: str
    seed: int | None
    device: str
    backend: dict[str, object]
    seconds: float
    source_bytes: int
    bytes: int | None
    steps: int | None = None
    method: str | None = None
    parameters: int | None = None
    history: tuple[dict[str, float], ...] | None = None
    source_splats: int | None = None
    splats: int | None = None
    spz_frame: str | None = None
    mesh: dict[str, Any] = field(default_factory=dict)
    fidelity: Fidelity | None = None
    notes: tuple[str, ...] = ()

    @property
    def psnr_to_source(self) -> float | None:
        """PSNR in dB of views of the target to those of the source; None: identical, or not rendered."""
        return None if self.fidelity is None else self.fidelity.psnr_to_source

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values, those of the mesh and of the comparison beside the others; without what does not apply."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("mesh", "fidelity")}
        own |= {"from": own.pop("source_kind"), "source": list(self.source), "notes": list(self.notes)}
        known = {name: value for name, value in own.items() if value is not None}
        return known | self.mesh | ({} if self.fidelity is None else self.fidelity.as_dict())
