"""What conversions did and lost, as rows of a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volkit.evaluation.fidelity import decibels
from volkit.files.file_size import format_size

__all__ = ["result_row"]


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
