"""`--report`: what a conversion did and lost, as a page with pictures or as JSON."""

from pathlib import Path
from typing import Any

from volkit.jobs.measure import Judge, flat_colour
from volkit.jobs.report import Column, Gallery, Page, told, write_json, write_page
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = ["write_report"]

SHOWN = 3  # held-out views
ROW = ("kind", "psnr_to_source", "seconds", "bytes")


def write_report(
    path: Path,
    report: dict[str, Any],
    result: Representation,
    judge: Judge,
    figures: dict[str, Float[Tensor, "height width 3"]] | None = None,
) -> None:
    """Write `report` as its suffix says; a page shows `result` beside the pictures of its source that `judge` holds."""
    if path.suffix == ".json":
        return write_json(path, report)
    history = report.get("history") or []
    curve = [(row["seconds"], row["psnr"]) for row in history if row.get("psnr") is not None]
    page = Page(
        title=Path(report["target"]).name,
        lead=f"{report['from']} to {report['kind']}: {', '.join(report['source'])} became {report['target']}.",
        table=[told(row) for row in report.get("levels", [{name: report[name] for name in ROW}])],
        curves={report["kind"]: curve} if len(curve) > 1 else {},
        galleries=[_gallery(result, judge, index) for index in range(min(SHOWN, len(judge.truth)))],
        figures=figures or {},
        facts=told({name: value for name, value in report.items() if isinstance(value, int | float | str)}),
    )
    write_page(path, page)


def _gallery(result: Representation, judge: Judge, index: int) -> Gallery:
    seen = flat_colour(result, judge.cameras[[index]], judge.background)
    return Gallery(f"view {index + 1}", judge.truth[index], (Column("result", seen),))
