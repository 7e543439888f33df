"""Reports as text for people; the JSON has everything."""

import io
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from volkit.files.file_size import format_size

__all__ = ["UP_NAMES", "format_kinds", "result_row", "summary"]

UP_NAMES = {"zup": "+Z", "yup": "+Y", "ydown": "-Y", None: "as is"}

MAX_LIST = 12  # values per line
# Long, or for programs only; notes were printed when they arose.
HIDDEN_KEYS = {"history", "command", "tensors", "config", "backend", "notes", "seed", "interrupted", "spz_frame"}
DEFAULT_VALUES = {"method": "volkit", "steps": 0, "failed": 0, "kept": 0}  # values not worth a line


def summary(report: dict[str, Any]) -> str:
    """One line per value, lists of rows as a table; long values are left to the JSON."""
    if report.get("command") == "formats":
        return _format_table(report["formats"])
    if report.get("command") == "inspect" and report["holds"] == "scene":
        return "\n".join(_describe_scene(report))
    if report.get("command") == "convert" and "results" in report:
        return _format_conversions(report["results"])
    if report.get("steps") == 0:  # nothing was optimised: what has not changed is not worth a line
        same = (("splats", "source_splats"), ("kind", "from"))
        hidden = {"parameters"} | {old for new, old in same if report.get(new) == report.get(old)}
        report = {key: value for key, value in report.items() if key not in hidden}
    lines: list[str] = []
    for key, value in report.items():
        if key in HIDDEN_KEYS or value is None or value in ([], (), {}) or DEFAULT_VALUES.get(key, ...) == value:
            continue
        if isinstance(value, Sequence) and not isinstance(value, str) and isinstance(value[0], Mapping):
            lines += ["", *_align_rows(value)]
        elif isinstance(value, dict):
            lines += [f"{_readable(key)}:", *(f"  {_readable(k)}: {_format_value(v)}" for k, v in value.items())]
        else:
            lines.append(f"{_readable(key)}: {_format_value(value)}")
    return "\n".join(lines)


def format_kinds(row: dict[str, Any], rows: Sequence[dict[str, Any]]) -> str:
    """The kinds that a format stores, as text; `any` for the format that stores most."""
    most = max(len(other["holds"]) for other in rows)
    return ", ".join(row["holds"]) if len(row["holds"]) < most else "any"


def _format_table(rows: list[dict[str, Any]]) -> str:
    """The table of formats, as wide as the terminal, in colour where it has colours."""
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for name, style in (("format", "cyan"), ("files", ""), ("", "green"), ("kinds", ""), ("up", "")):
        table.add_column(name, style=style, overflow="fold")
    table.add_column("keeps; not what is lost", ratio=1)
    for row in rows:
        access = ("r" if row["reads"] else " ") + ("w" if row["writes"] else " ")
        kinds, upward = format_kinds(row, rows), UP_NAMES[row["frame"]]
        table.add_row(row["name"], " ".join(row["suffixes"]), access, kinds, upward, row["keeps"])
    console = Console()
    with console.capture() as captured:
        console.print(table)
    return captured.get().rstrip("\n")


def _describe_scene(report: dict[str, Any]) -> list[str]:
    """A scene in plain words: kind, size, up axis, recorded views, provenance, and what to do next."""
    lines = [
        f"{report['path']}: {_describe_contents(report)}, {format_size(report['bytes'])}",
        f"size: {_describe_size(report)}",
    ]
    lines += [f"up: {UP_NAMES[report['frame']]}"]
    if report["contracted"]:
        lines.append("extent: unbounded around its box")
    if report["kind"] == "mesh":
        lines += _describe_materials(report)
    if "occupied" in report:
        lines.append(f"occupied: {100 * report['occupied']:.2g} % of its box")
    if "views" in report:
        width, held = report["size"], len(report["held_out"])
        lines.append(f"views: {report['views']} recorded, {held} of them held out, {width} pixels, {report['lens']}")
    for key, value in report.get("provenance", {}).items():
        if isinstance(value, str | int | float):
            lines.append(f"{_readable(key)}: {_format_value(value)}")
    lines += [f"note: {note}" for note in report.get("provenance", {}).get("notes", ())]
    if report.get("odd", {}).get("floaters", 0) is None:
        lines.append("floaters: not counted (more than 200,000 splats, values that are not finite, or no scipy)")
    return [*lines, *report["advice"]]


def _describe_contents(report: dict[str, Any]) -> str:
    if report["kind"] == "splats":
        flat = "flat " if report["surfels"] else ""
        return f"{report['count']:,} {flat}splats with harmonics of degree {report['degree']}"
    if report["kind"] == "mesh":
        return f"a mesh of {report['faces']:,} triangles and {report['vertices']:,} vertices"
    held = f" of {report['parameters']:,} parameters" if report["parameters"] else ""
    return f"a field ({report['kind']}){held}"


def _describe_materials(report: dict[str, Any]) -> list[str]:
    """The look of a mesh: how many materials and images, then the largest materials, a line each."""
    materials, images = report["materials"], report["images"]
    parts = [f"{len(materials)} material{'s'[: len(materials) > 1]}"]
    if images:
        widest = " x ".join(str(edge) for edge in max(images, key=lambda size: size[0] * size[1]))
        parts.append(f"{len(images)} image{'s'[: len(images) > 1]}, the largest {widest}")
    parts += ["colours at the vertices"] if report["coloured"] else []
    lines = [f"look: {', '.join(parts)}"]
    for row in sorted(materials, key=lambda row: -row["triangles"])[:MAX_LIST]:
        alpha = {"opaque": "", "mask": "; alpha cuts holes", "blend": "; alpha blends"}[row["alpha"]]
        maps = ", ".join(row["maps"]) or "no map"
        lines.append(f"  {row['name'] or 'without a name'}: {row['triangles']:,} triangles; {maps}{alpha}")
    return [*lines, f"  and {len(materials) - MAX_LIST} more"] if len(materials) > MAX_LIST else lines


def _describe_size(report: dict[str, Any]) -> str:
    """Edges of the box around the scene's core, in world units; also of the whole scene where that is much larger."""
    scale = report["world_from_local"]["scale"]
    boxes = [(report["box"]["lower"], report["box"]["upper"]), (report["lower"], report["upper"])]
    shown, whole = ([scale * (high - low) for low, high in zip(*box, strict=True)] for box in boxes)
    edges = lambda sizes: " x ".join(f"{edge:.3g}" for edge in sizes)  # noqa: E731
    has_outliers = any(all_of > 1.1 * most for all_of, most in zip(whole, shown, strict=True))
    outliers = f"; {edges(whole)} with outliers" if has_outliers and report["kind"] != "mesh" else ""
    return f"{edges(shown)} units along its own x, y and z{outliers}"


def result_row(report: Mapping[str, Any]) -> dict[str, str]:
    """One conversion as cells of a table: files, sizes, seconds, similarity to the source."""
    from volkit.evaluation.fidelity import decibels  # imports numpy, which `formats` does not need

    row = {"source": ", ".join(Path(name).name for name in report["source"]), "target": Path(report["target"]).name}
    if "bytes" not in report:  # failed, kept, or only estimated
        return row | {"bytes": "failed" if "error" in report else "kept" if report.get("status") == "kept" else "-"}
    row |= {"bytes": format_size(report["bytes"]), "ratio": f"{report['bytes'] / max(report['source_bytes'], 1):.3g}"}
    row |= {"seconds": f"{report['seconds']:.1f}"}
    if "measured" in report:
        if "ssim_to_source" in report:  # views were rendered
            flip = report["flip_to_source"]
            row |= {"PSNR": decibels(report["psnr_to_source"]), "SSIM": f"{report['ssim_to_source']:.4f}"}
            row |= {"FLIP": "-" if flip is None else f"{flip:.4f}"}
        most = report["max_difference"]
        row |= {"max difference": "-" if most is None else f"{most:.2g}"}
    return row


def _format_conversions(results: list[dict[str, Any]]) -> str:
    """A table with a row per conversion, then a line for each that failed."""
    rows = [result_row(result) for result in results]
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in dict.fromkeys(name for row in rows for name in row):
        left = name in ("source", "target")
        table.add_column(name, justify="left" if left else "right", overflow="fold", no_wrap=not left)
    for row in rows:
        table.add_row(*(row.get(str(column.header), "") for column in table.columns))
    stream = io.StringIO()
    Console(file=stream, width=shutil.get_terminal_size((120, 24)).columns).print(table)
    failed = [f"failed: {row['target']}: {row['error']}" for row in results if "error" in row]
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    return "\n".join([*filter(None, lines), *failed])


def _readable(key: str) -> str:
    return key.replace("_", " ")


def _format_value(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 10 else f"{value:.2f}"
    if isinstance(value, list | tuple):
        shown = ", ".join(_format_value(item) for item in value[:MAX_LIST])
        return shown + (f", ... ({len(value)} in all)" if len(value) > MAX_LIST else "")
    return str(value)


def _align_rows(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    names = list(dict.fromkeys(n for row in rows for n, v in row.items() if not isinstance(v, dict | list)))
    cells = [[_readable(n) for n in names], *([_format_value(row.get(n)) for n in names] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(names))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
