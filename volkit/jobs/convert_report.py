"""`--report`: what a conversion did and lost, as a page with pictures or as JSON."""

import json
from pathlib import Path
from typing import Any

from volkit.io.atomic import check_writable, written_whole
from volkit.jobs.measure import Judge, flat_colour
from volkit.jobs.report import Column, Gallery, Page, write_page
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = ["check_report", "write_report"]

SHOWN = 3  # held-out views
ROW = ("kind", "psnr_to_source", "seconds", "bytes")


def check_report(path: Path) -> None:
    """Raise what `write_report` would, before the work is done."""
    if path.suffix not in (".html", ".json"):
        raise ValueError(f"{path}: a report is a page or JSON; name it .html or .json")
    check_writable(path)


def write_report(
    path: Path,
    report: dict[str, Any],
    result: Representation,
    judge: Judge,
    figures: dict[str, Float[Tensor, "height width 3"]] | None = None,
) -> None:
    """Write `report` as its suffix says; a page shows `result` beside the pictures of its source that `judge` holds."""
    if path.suffix == ".json":
        with written_whole(path) as place:
            place.write_text(json.dumps(report, indent=1, allow_nan=False, default=str), encoding="utf-8")
        return
    history = report.get("history") or []
    curve = [(row["seconds"], row["psnr"]) for row in history if row.get("psnr") is not None]
    page = Page(
        title=Path(report["target"]).name,
        lead=f"{report['from']} to {report['kind']}: {', '.join(report['source'])} became {report['target']}.",
        table=[_told(row) for row in report.get("levels", [{name: report[name] for name in ROW}])],
        curves={report["kind"]: curve} if len(curve) > 1 else {},
        galleries=[_gallery(result, judge, index) for index in range(min(SHOWN, len(judge.truth)))],
        figures=figures or {},
        facts=_told({name: value for name, value in report.items() if isinstance(value, int | float | str)}),
    )
    write_page(path, page)


def _told(row: dict[str, Any]) -> dict[str, str]:
    words = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()}
    return {name.replace("_", " "): value for name, value in words.items()}


def _gallery(result: Representation, judge: Judge, index: int) -> Gallery:
    seen = flat_colour(result, judge.cameras[[index]], judge.background)
    return Gallery(f"view {index + 1}", judge.truth[index], (Column("result", seen),))
