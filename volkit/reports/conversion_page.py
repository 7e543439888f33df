"""Reports of conversions as HTML pages with pictures, or as JSON."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from volkit.evaluation.fidelity import WORST_VIEWS, ComparedViews
from volkit.reports.page import Column, Gallery, Page, format_facts, write_json, write_page
from volkit.reports.summary import result_row
from volkit.typing import Float, Tensor

__all__ = ["write_report"]

Image = Float[Tensor, "height width 3"]


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
        Gallery(f"{title} {caption}".strip(), _picture(truth), (Column("result", _picture(rendered)),), "source")
        for caption, (truth, rendered) in list(pictures.views.items())[:max_count]
    ]


def _picture(pixels: np.ndarray) -> Image:
    return torch.from_numpy(pixels).float() / 255.0
