"""Reports of conversions: rows of a table, an HTML page with pictures, or JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.evaluation.roundtrip import WORST_VIEWS, ComparedViews, Fidelity, decibels
from volkit.reports.file_size import format_size
from volkit.reports.page import Column, Gallery, Page, format_facts, write_json, write_page
from volkit.typing import Float, Tensor

__all__ = ["ConversionReport", "result_row", "write_report"]

Image = Float[Tensor, "height width 3"]


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
    fidelity: Fidelity | None = None  # None: not measured
    notes: tuple[str, ...] = ()

    @property
    def psnr_to_source(self) -> float | None:
        """PSNR in dB; None where all pictures are identical, or nothing was measured."""
        return None if self.fidelity is None else self.fidelity.psnr_to_source

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values under the command line's names; what does not apply is left out."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("mesh", "fidelity")}
        own |= {"from": own.pop("source_kind"), "source": list(self.source), "notes": list(self.notes)}
        values = {name: value for name, value in own.items() if value is not None}
        return {"command": "convert"} | values | self.mesh | ({} if self.fidelity is None else self.fidelity.as_dict())


def result_row(report: Mapping[str, Any]) -> dict[str, str]:
    """A conversion as a row of a table: files, size, duration, and similarity to the source, as text."""
    row = {"source": ", ".join(Path(name).name for name in report["source"]), "target": Path(report["target"]).name}
    if "bytes" not in report:  # failed, kept, or only estimated
        return row | {"bytes": "failed" if "error" in report else "kept" if report.get("status") == "kept" else "-"}
    row |= {"bytes": format_size(report["bytes"]), "ratio": f"{report['bytes'] / max(report['source_bytes'], 1):.3g}"}
    row |= {"seconds": f"{report['seconds']:.1f}"}
    if "measured" in report:
        row |= {"PSNR": decibels(report["psnr_to_source"]), "SSIM": f"{report['ssim_to_source']:.4f}"}
        flip, largest = report["flip_to_source"], report["max_difference"]
        row |= {
            "FLIP": "-" if flip is None else f"{flip:.4f}",
            "max difference": "-" if largest is None else f"{largest:.2g}",
        }
    return row


def write_report(path: Path, report: dict[str, Any], pictures: Sequence[ComparedViews | None]) -> None:
    """Write a report of one conversion, or of many `results`, as `.json` or `.html`; `pictures` has one entry each."""
    if path.suffix == ".json":
        write_json(path, report)
    else:
        write_page(path, _batch_page(report, pictures) if "results" in report else _page(report, pictures[0]))


def _page(report: dict[str, Any], pictures: ComparedViews | None) -> Page:
    curve = [(row["seconds"], row["psnr"]) for row in report.get("history", ()) if row.get("psnr") is not None]
    facts = {name: value for name, value in report.items() if isinstance(value, int | float | str)}
    lost = {f"difference of {name}": value for name, value in report.get("differences", {}).items()}
    return Page(
        title=Path(report["target"]).name,
        lead=f"{report['from']} to {report['kind']}: {', '.join(report['source'])} became {report['target']}.",
        table=[result_row(report)],
        curves={report["kind"]: curve} if len(curve) > 1 else {},
        galleries=_galleries(pictures),
        galleries_title="The worst views",
        figures={} if pictures is None else {name: _picture(each) for name, each in pictures.figures.items()},
        details=[format_facts(row) for row in report.get("levels", ())],
        facts=format_facts(facts | lost | {f"note {n}": note for n, note in enumerate(report.get("notes", ()), 1)}),
    )


def _batch_page(report: dict[str, Any], pictures: Sequence[ComparedViews | None]) -> Page:
    results = report["results"]
    rows = [result_row(result) for result in results]
    names = dict.fromkeys(name for row in rows for name in row)
    done = len(results) - report["failed"]
    return Page(
        title=f"{len(results)} conversions",
        lead=f"{done} made, {report['failed']} failed.",
        table=[{name: row.get(name, "") for name in names} for row in rows],
        galleries=[
            gallery
            for result, each in zip(results, pictures, strict=True)
            for gallery in _galleries(each, Path(result["target"]).name, 1)
        ],
        galleries_title="The worst view of each",
        facts={result["target"]: result["error"] for result in results if "error" in result},
        facts_title="What went wrong",
    )


def _galleries(pictures: ComparedViews | None, title: str = "", max_count: int = WORST_VIEWS) -> list[Gallery]:
    if pictures is None:
        return []
    return [
        Gallery(f"{title} {caption}".strip(), _picture(truth), (Column("result", _picture(seen)),), "source")
        for caption, (truth, seen) in list(pictures.views.items())[:max_count]
    ]


def _picture(pixels: np.ndarray) -> Image:
    return torch.from_numpy(pixels).float() / 255.0
