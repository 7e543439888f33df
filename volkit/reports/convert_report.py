"""What conversions did and lost: as rows of a table, as a page with pictures, as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.evaluation.roundtrip import WORST_VIEWS, ComparedViews, decibels
from volkit.files.file_size import size_in_words
from volkit.reports.fit_report import Column, Gallery, Page, facts_in_words, write_json, write_page
from volkit.typing import Float, Tensor

__all__ = ["result_row", "write_report"]

Image = Float[Tensor, "height width 3"]


def result_row(report: Mapping[str, Any]) -> dict[str, str]:
    """A conversion in the words of a table: what it made, how large, how long, how like its source."""
    row = {"source": ", ".join(Path(name).name for name in report["source"]), "target": Path(report["target"]).name}
    if "bytes" not in report:  # it failed, or was only asked what it would take
        return row | {"bytes": "failed" if "error" in report else "kept" if report.get("status") == "kept" else "-"}
    row |= {"bytes": size_in_words(report["bytes"]), "ratio": f"{report['bytes'] / max(report['source_bytes'], 1):.3g}"}
    row |= {"seconds": f"{report['seconds']:.1f}"}
    if "measured" in report:
        row |= {"PSNR": decibels(report["psnr_to_source"]), "SSIM": f"{report['ssim_to_source']:.4f}"}
        flip, most = report["flip_to_source"], report["max_difference"]
        row |= {
            "FLIP": "-" if flip is None else f"{flip:.4f}",
            "max difference": "-" if most is None else f"{most:.2g}",
        }
    return row


def write_report(path: Path, report: dict[str, Any], pictures: Sequence[ComparedViews | None]) -> None:
    """Write one report, or one with many `results`, as the suffix says; `pictures` are those of each."""
    if path.suffix == ".json":
        write_json(path, report)
    else:
        write_page(path, _page_of_many(report, pictures) if "results" in report else _page(report, pictures[0]))


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
        details=[facts_in_words(row) for row in report.get("levels", ())],
        facts=facts_in_words(facts | lost | {f"note {n}": note for n, note in enumerate(report.get("notes", ()), 1)}),
    )


def _page_of_many(report: dict[str, Any], pictures: Sequence[ComparedViews | None]) -> Page:
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


def _galleries(pictures: ComparedViews | None, title: str = "", most: int = WORST_VIEWS) -> list[Gallery]:
    if pictures is None:
        return []
    return [
        Gallery(f"{title} {caption}".strip(), _picture(truth), (Column("result", _picture(seen)),), "source")
        for caption, (truth, seen) in list(pictures.views.items())[:most]
    ]


def _picture(pixels: np.ndarray) -> Image:
    return torch.from_numpy(pixels).float() / 255.0
