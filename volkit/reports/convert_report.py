"""What conversions did and lost: as plain values, and as rows of a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from volkit.evaluation.fidelity import Fidelity, decibels
from volkit.reports.file_size import format_size

__all__ = ["ConversionReport", "result_row"]


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion did and what it lost; `as_dict` is the command's JSON."""

    source: tuple[str, ...]
    target: str
    source_kind: str
    kind: str
    seed: int
    device: str
    backend: dict[str, object]
    seconds: float
    source_bytes: int
    bytes: int
    steps: int | None = None  # None: a mesh, which is extracted, not optimised
    method: str | None = None
    parameters: int | None = None
    history: tuple[dict[str, float], ...] | None = None  # None: nothing was optimised
    source_splats: int | None = None
    splats: int | None = None
    spz_frame: str | None = None
    mesh: dict[str, Any] = field(default_factory=dict)  # measurements of a mesh: triangles, levels, stages, ...
    fidelity: Fidelity | None = None  # None: nothing was read back
    notes: tuple[str, ...] = ()

    @property
    def psnr_to_source(self) -> float | None:
        """In dB; None where the pictures are identical, or none were drawn."""
        return None if self.fidelity is None else self.fidelity.psnr_to_source

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values under the command line's names; what does not apply is left out."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("mesh", "fidelity")}
        own |= {"from": own.pop("source_kind"), "source": list(self.source), "notes": list(self.notes)}
        values = {name: value for name, value in own.items() if value is not None}
        return {"command": "convert"} | values | self.mesh | ({} if self.fidelity is None else self.fidelity.as_dict())


def result_row(report: Mapping[str, Any]) -> dict[str, str]:
    """A conversion in the words of a table: what it made, how large, how long, how like its source."""
    row = {"source": ", ".join(Path(name).name for name in report["source"]), "target": Path(report["target"]).name}
    if "bytes" not in report:  # failed, kept, or only estimated
        return row | {"bytes": "failed" if "error" in report else "kept" if report.get("status") == "kept" else "-"}
    row |= {"bytes": format_size(report["bytes"]), "ratio": f"{report['bytes'] / max(report['source_bytes'], 1):.3g}"}
    row |= {"seconds": f"{report['seconds']:.1f}"}
    if "measured" in report:
        if "ssim_to_source" in report:  # pictures were drawn
            flip = report["flip_to_source"]
            row |= {"PSNR": decibels(report["psnr_to_source"]), "SSIM": f"{report['ssim_to_source']:.4f}"}
            row |= {"FLIP": "-" if flip is None else f"{flip:.4f}"}
        most = report["max_difference"]
        row |= {"max difference": "-" if most is None else f"{most:.2g}"}
    return row
