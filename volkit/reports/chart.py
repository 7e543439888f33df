"""Curves as inline SVG: no script, no font, no file but the page itself."""

import math
from collections.abc import Sequence
from html import escape

__all__ = ["COLOURS", "curves"]

COLOURS = ("#2f6fb0", "#d1603d", "#4a9a5b", "#8d5fa8", "#b08a2f", "#5a6b7b")
WIDTH, HEIGHT = 760, 320
LEFT, RIGHT, TOP, BOTTOM = 52, 130, 14, 40

Series = Sequence[tuple[float, float]]


def curves(series: dict[str, Series], x_title: str, y_title: str) -> str:
    """One line per series, labelled at its end; points that are not finite are left out."""
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
    labels = _apart({name: upward(points[-1][1]) for name, points in kept.items()})
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
    """Round numbers that enclose a range: steps of 1, 2 or 5 times a power of ten."""
    span = max(high - low, 1e-6 * max(abs(high), 1.0))
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]


def _scale(low: float, high: float, start: float, end: float):
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _apart(labels: dict[str, float], least: float = 16.0) -> dict[str, float]:
    """Move labels down until none covers another."""
    placed: dict[str, float] = {}
    for name, y in sorted(labels.items(), key=lambda item: item[1]):
        placed[name] = max([y, *(other + least for other in placed.values())])
    return placed
