"""Self-contained HTML pages for reports: tables, curves, and pictures side by side with error maps."""

import base64
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

import torch

from volkit.choices import ParameterError
from volkit.evaluation.metrics import round_to_8_bits
from volkit.files.atomic import atomic_write, check_writable
from volkit.typing import Float, Tensor

__all__ = [
    "COLOURS",
    "Column",
    "Gallery",
    "Page",
    "check_report",
    "curves",
    "error_map",
    "format_facts",
    "write_json",
    "write_page",
]


COLOURS = ("#2f6fb0", "#d1603d", "#4a9a5b", "#8d5fa8", "#b08a2f", "#5a6b7b")
WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 130, 14, 40

Series = Sequence[tuple[float, float]]

ERROR_SCALE = 0.2  # of the full range: the colour difference shown at full brightness
HEAT = ((0.0, 0.0, 0.02), (0.32, 0.07, 0.43), (0.73, 0.21, 0.33), (0.98, 0.55, 0.24), (0.99, 0.99, 0.75))
STYLE = """
:root{color-scheme:light}body{margin:0;background:#faf9f6;color:#23272b;font:16px/1.55 system-ui,sans-serif}
main{max-width:1080px;margin:0 auto;padding:40px 24px 64px}h1{font-size:34px;letter-spacing:-.02em;margin:0 0 4px}
h2{font-size:20px;margin:44px 0 10px}.lead{font-size:18px;color:#555d64;margin:0 0 8px;max-width:70ch}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:8px 12px;text-align:right;border-bottom:1px solid #e4e1d8}th{font-weight:600;color:#6b7279;font-size:14px}
th:first-child,td:first-child{text-align:left}tr:hover td{background:#f3f1ea}td+td+td{white-space:nowrap}
svg{width:100%;height:auto;background:#fff;border:1px solid #e8e5dc;border-radius:10px}
svg text{font:12px system-ui,sans-serif;fill:#6b7279}svg .grid{stroke:#efece4}
.views{display:grid;gap:10px}figure{margin:0}img{width:100%;display:block;border-radius:8px;image-rendering:auto}
.row{display:grid;gap:10px;grid-auto-flow:column;grid-auto-columns:minmax(0,1fr)}
.grid{display:grid;gap:10px;grid-template-columns:repeat(auto-fill,minmax(320px,1fr))}
figcaption{font-size:13px;color:#6b7279;padding:5px 2px 10px}.truth{border:1px solid #e8e5dc}
.scale{height:10px;border-radius:5px;max-width:320px;margin-top:4px}footer{margin-top:48px;color:#8a9198;font-size:13px}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;font-size:14px}dt{color:#6b7279}dd{margin:0}
"""


def curves(series: dict[str, Series], x_title: str, y_title: str) -> str:
    """An SVG chart with a line per series, labelled at its end; points that are not finite are left out."""
    kept = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)] for name, points in series.items()
    }
    kept = {name: points for name, points in kept.items() if points}
    if not kept:
        return "<p>No curve was recorded.</p>"
    xs = [x for points in kept.values() for x, _ in points]
    ys = [y for points in kept.values() for _, y in points]
    x_ticks, y_ticks = _ticks(0.0, max(xs)), _ticks(min(ys), max(ys))
    across = _scale(x_ticks[0], x_ticks[-1], LEFT, WIDTH - RIGHT)
    upward = _scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(y_title)} over {escape(x_title)}">']
    parts += _axes([(t, across(t)) for t in x_ticks], [(t, upward(t)) for t in y_ticks], x_title, y_title)
    labels = _spread_labels({name: upward(points[-1][1]) for name, points in kept.items()})
    for colour, (name, points) in zip(COLOURS * len(kept), kept.items(), strict=False):
        path = " ".join(f"{across(x):.1f},{upward(y):.1f}" for x, y in points)
        end_x = across(points[-1][0])
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.2"/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{upward(y):.1f}" r="2.6" fill="{colour}"/>' for x, y in points]
        parts.append(f'<text x="{end_x + 8:.1f}" y="{labels[name] + 4:.1f}" fill="{colour}">{escape(name)}</text>')
    return "".join([*parts, "</svg>"])


def _axes(
    x_ticks: list[tuple[float, float]], y_ticks: list[tuple[float, float]], x_title: str, y_title: str
) -> list[str]:
    parts = []
    for value, y in y_ticks:
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>')
    for value, x in x_ticks:
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{value:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 4}" text-anchor="middle">{escape(x_title)}</text>')
    turned = f'transform="rotate(-90 14 {HEIGHT / 2 - 10})"'
    parts.append(f'<text x="14" y="{HEIGHT / 2 - 10}" text-anchor="middle" {turned}>{escape(y_title)}</text>')
    return parts


def _ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round numbers that enclose a range, in steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-6 * max(abs(high), 1.0))
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]


def _scale(low: float, high: float, start: float, end: float):
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _spread_labels(labels: dict[str, float], least: float = 16.0) -> dict[str, float]:
    """Move labels down until none overlaps another."""
    placed: dict[str, float] = {}
    for name, y in sorted(labels.items(), key=lambda item: item[1]):
        placed[name] = max([y, *(other + least for other in placed.values())])
    return placed


@dataclass(frozen=True)
class Column:
    """A candidate's picture of a view."""

    title: str
    rgb: Float[Tensor, "height width 3"]
    note: str = ""


@dataclass(frozen=True)
class Gallery:
    """One view: the reference picture and those of the candidates."""

    title: str
    truth: Float[Tensor, "height width 3"]
    columns: tuple[Column, ...]
    reference: str = "truth"


@dataclass(frozen=True)
class Page:
    """The content of a report, in order."""

    title: str
    lead: str
    table: Sequence[dict[str, str]]
    curves: dict[str, Series] = field(default_factory=dict)
    curves_title: str = "Quality over time"
    curves_unit: str = "PSNR in dB"
    galleries: Sequence[Gallery] = ()
    galleries_title: str = "Held-out views"
    figures: dict[str, Float[Tensor, "height width 3"]] = field(default_factory=dict)
    figures_title: str = "Close up"
    details: Sequence[dict[str, str]] = ()  # a second table
    facts: dict[str, str] = field(default_factory=dict)
    facts_title: str = "How it was made"


def check_report(path: Path) -> None:
    """Raise what writing a report to `path` would raise, before the work is done."""
    if path.suffix not in (".html", ".json"):
        raise ParameterError(f"{path}: reports are HTML or JSON; name it .html or .json")
    check_writable(path)


def write_json(path: Path, report: dict[str, Any]) -> None:
    """Write a report as JSON, with other values as text."""
    with atomic_write(path) as place:
        place.write_text(json.dumps(report, indent=1, allow_nan=False, default=str), encoding="utf-8")


def format_facts(row: dict[str, Any]) -> dict[str, str]:
    """A dict as text: underscores become spaces, floats have four digits."""
    words = {name: f"{value:.4g}" if isinstance(value, float) else str(value) for name, value in row.items()}
    return {name.replace("_", " "): value for name, value in words.items()}


def error_map(
    a: Float[Tensor, "height width 3"], b: Float[Tensor, "height width 3"]
) -> Float[Tensor, "height width 3"]:
    """Largest channel difference of every pixel as a heat map: from black, none, to pale yellow, at least 0.2."""
    error = ((round_to_8_bits(a) - round_to_8_bits(b)).abs().amax(-1) / ERROR_SCALE).clamp(0.0, 1.0) * (len(HEAT) - 1)
    ramp = error.new_tensor(HEAT)
    below = error.floor().clamp_max(len(HEAT) - 2).long()
    return torch.lerp(ramp[below], ramp[below + 1], (error - below)[..., None])


def write_page(path: Path, page: Page) -> None:
    """Write a page as one HTML file without external resources."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>{escape(page.title)}</title><style>{STYLE}</style><main>",
        f'<h1>{escape(page.title)}</h1><p class="lead">{escape(page.lead)}</p>',
        _table(page.table),
        _table(page.details),
    ]
    if page.curves:
        parts += [_heading(page.curves_title), curves(page.curves, "seconds of optimisation", page.curves_unit)]
    if page.galleries:
        parts += [_heading(page.galleries_title), _legend(), *(_gallery(g) for g in page.galleries)]
    if page.figures:
        pictures = "".join(_figure(rgb, caption) for caption, rgb in page.figures.items())
        parts += [_heading(page.figures_title), f'<div class="grid">{pictures}</div>']
    if page.facts:
        rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in page.facts.items())
        parts.append(f"{_heading(page.facts_title)}<dl>{rows}</dl>")
    parts.append("<footer>Written by volkit.</footer></main></html>")
    with atomic_write(path) as place:
        place.write_text("".join(parts), encoding="utf-8")


def _heading(title: str) -> str:
    return f"<h2>{escape(title)}</h2>"


def _table(rows: Sequence[dict[str, str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(v)}</td>" for v in row.values()) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _legend() -> str:
    stops = ",".join("rgb({:.0f} {:.0f} {:.0f})".format(*(255 * c for c in colour)) for colour in HEAT)
    return (
        f"<figcaption>Error maps: largest channel difference, 0 to {ERROR_SCALE:g} of full range"
        f'<div class="scale" style="background:linear-gradient(90deg,{stops})"></div></figcaption>'
    )


def _gallery(gallery: Gallery) -> str:
    pictures = [_figure(gallery.truth, f"{gallery.title}: {gallery.reference}", "truth")]
    pictures += [_figure(column.rgb, f"{column.title} {column.note}".strip()) for column in gallery.columns]
    maps = [_figure(error_map(column.rgb, gallery.truth), f"{column.title}: error") for column in gallery.columns]
    # The error map of a single candidate goes beside it, those of several in a row below.
    rows = [[*pictures, *maps]] if len(maps) == 1 else [pictures, ["<figure></figure>", *maps]]
    return '<div class="views">{}</div>'.format("".join(f'<div class="row">{"".join(row)}</div>' for row in rows))


def _figure(rgb: Tensor, caption: str, kind: str = "") -> str:
    import imageio.v3 as imageio

    pixels = (round_to_8_bits(rgb) * 255.0).round().to(torch.uint8).numpy()
    stream = io.BytesIO()
    imageio.imwrite(stream, pixels, extension=".png")
    data = base64.b64encode(stream.getvalue()).decode("ascii")
    label = escape(caption)
    return (
        f'<figure><img class="{kind}" alt="{label}" src="data:image/png;base64,{data}">'
        f"<figcaption>{label}</figcaption></figure>"
    )
