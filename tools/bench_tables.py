"""The documentation's tables of speed."""

from kept import Row, number, results, table

__all__ = ["WAITED", "ops", "startup", "threads", "throughput"]

WAITED = ", waited for"


def ops() -> str:
    """Speeds of the native ops and of the whole training step, with the share of the bound where there is one."""
    rows = []
    for report in _benches("bench_ops"):
        for name, section in report["sections"].items():
            for case, variants in section["cases"].items():
                rows += [[name, case, variant, *_speed(numbers)] for variant, numbers in variants.items()]
    return table(["op", "case", "what", "median, ms", "p10 to p90, ms", "M items/s", "of the bound"], rows)


def throughput() -> str:
    """A million splats from and to files, beside two programs of others."""
    rows = []
    for report in _benches("bench_files"):
        cases = report["sections"]["files"]["cases"]
        start = cases.get("start", {}).get("splat-transform", {}).get("median_ms", 0.0)
        for case, variants in cases.items():
            if case == "start":
                continue
            (_, ours), *others = variants.items()
            beside = "; ".join(
                _beside(name, v["median_ms"] - start * name.startswith("splat"), ours) for name, v in others
            )
            if not others:
                beside = f"nothing; {ours['psnr']:.1f} dB from its source's pictures"
            size = f"{others[0][1]['bytes'] / ours['bytes']:.2f}" if others else "-"
            rows.append([case, number(ours["median_ms"] / 1e3), f"{ours['million_per_s']:.2g}",
                         number(ours["bytes"] / 1e6, 1), beside, size])  # fmt: skip
    return table(["what", "seconds", "M splats/s", "MB", "beside it", "its file, of ours"], rows)


def threads() -> str:
    """Wall and CPU seconds by how OpenMP's threads wait: idle, and beside busy loops."""
    loads = {name: row for name, row in results().get("threads", {}).items() if isinstance(row, dict)}
    idle, busy = sorted(loads, key=lambda name: int(name.split()[0]))
    found = {name: {(row["case"], row["policy"]): row for row in loads[name]["rows"]} for name in loads}
    rows = []
    for case, policy in found[busy]:
        each = [found[name].get((case, policy), {}) for name in (idle, busy)]
        rows.append([case, policy, *(number(one.get(key)) for one in each for key in ("wall", "cpu"))])
    return table(["work", "how threads wait", "idle: s", "CPU s", f"{busy}: s", "CPU s"], rows)


def startup() -> str:
    """CPU seconds of starting, with what each may take."""
    rows = results().get("startup", {}).get("rows", [])
    torch = next((row["now"] for row in rows if row["case"] == "import torch"), None)
    made = []
    for row in rows:
        limit = "torch's import + 0.4" if row["limit"] == "torch" else number(row["limit"], 1)
        beside = number(row["now"] - torch) if row["limit"] == "torch" and torch is not None else "-"
        made.append([f"`{row['case']}`", number(row["now"]), beside, limit, number(row.get("before"))])
    return table(["what", "CPU s", "beside torch's import", "at most", "CPU s before"], made)


def _beside(name: str, milliseconds: float, ours: Row) -> str:
    said = "on the disk" if name.endswith(WAITED) else name
    return f"{said} {number(milliseconds / 1e3)} s: {milliseconds / ours['median_ms']:.1f} times"


def _benches(name: str) -> list[Row]:
    return [report for file, report in results().items() if file.startswith(name)]


def _speed(numbers: Row) -> list[str]:
    if "why" in numbers:
        return ["not run: " + numbers["why"].replace("|", "/").splitlines()[0], "-", "-", "-"]
    spread = f"{number(numbers['p10_ms'], 1)} to {number(numbers['p90_ms'], 1)}"
    share = f"{100 * numbers['of_bound']:.0f} %" if "of_bound" in numbers else "-"
    return [number(numbers["median_ms"], 1), spread, f"{numbers['million_per_s']:.3g}", share]
