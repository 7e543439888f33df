"""Tables of generated assets: means over prompts without a front mark and with one; means over particles."""

from typing import Any

__all__ = ["generation_table"]

Row = dict[str, Any]


def generation_table(runs: dict[str, list[Row]]) -> str:
    """Markdown, a line or two for each named run; a run of several particles gives another table."""
    if any("apart" in row for rows in runs.values() for row in rows):
        return _of_particles(runs)
    lines = ["| run | prompts | nearest among captions | IoU | dB | mark within 45° | faces |", "|" + "---|" * 7]
    for name, rows in runs.items():
        for kind, some in (
            ("plain", [row for row in rows if "faces" not in row]),
            ("marked", [row for row in rows if "faces" in row]),
        ):
            if some:
                lines.append("| " + " | ".join([name, f"{len(some)} {kind}", *_means(some)]) + " |")
    return "\n".join(lines)


def _of_particles(runs: dict[str, list[Row]]) -> str:
    lines = ["| run | prompts | dB between particles | dB to the nearest caption |", "|" + "---|" * 4]
    for name, rows in runs.items():
        means = (_mean([row[key] for row in rows]) for key in ("apart", "psnr_nearest"))
        lines.append("| " + " | ".join([name, str(len(rows)), *(f"{mean:.2f}" for mean in means)]) + " |")
    return "\n".join(lines)


def _means(rows: list[Row]) -> list[str]:
    count = len(rows)
    first = sum(row["rank"] == 1 for row in rows)
    cells = [f"{first} of {count} ({100 * first / count:.0f} %)"]
    cells += [f"{_mean([row[key] for row in rows]):.{digits}f}" for key, digits in (("iou", 3), ("psnr", 2))]
    if "faces" not in rows[0]:
        return [*cells, "-", "-"]
    front = sum(row["azimuth"] is not None and abs(row["azimuth"]) <= 45.0 for row in rows)
    return [*cells, f"{front} of {count}", f"{_mean([row['faces'] for row in rows]):.1f}"]


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
