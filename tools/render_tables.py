"""Fill the pages' marked tables from tools/results/summary.jsonl and volkit's own, so that none is typed by hand.

python tools/render_tables.py          writes the pages under docs
python tools/render_tables.py --check  only says whether they are up to date
"""

import argparse
import itertools
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from bench_tables import ops, startup, threads, throughput
from generation_tables import generation_table
from kept import Row, number, results, table
from reader_tables import blender_table, matrix_of_meshes, matrix_of_splats

ROOT = Path(__file__).parent.parent
PAGES = sorted((ROOT / "docs").glob("*.md"))
REGION = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
KINDS = ("hash_grid", "tensor_vm", "voxels", "planes", "tensor_cp", "mlp", "splats")
SOURCES = (*KINDS, "mesh")
BUDGET = "60s"  # of a cell of the matrix
METHODS = ("volkit", "pvd", "pvd-al")


def fits() -> str:
    """Fits from photographs."""
    rows = [
        [name, row["kind"], number(row.get("psnr")), number(row["seconds"], 0), _megabytes(row), _share(row)]
        for name, row in results("fits").items()
    ]
    return table(["fit", "representation", "PSNR, held-out views", "seconds", "MB", "CPU share"], rows)


def teachers() -> str:
    """The fields that the matrix starts from."""
    found = results("conversion")
    rows = [
        [kind, number(row.get("psnr")), number(row["seconds"], 0), _megabytes(row), _share(row)]
        for kind in KINDS
        if (row := found.get(f"teacher-{kind}"))
    ]
    return table(["teacher", "PSNR, held-out views", "seconds", "MB", "CPU share"], rows)


def matrix() -> str:
    """Students by teacher: dB on held-out photographs, and against the teacher's own pictures."""
    cells = conversions("volkit")
    lines = []
    for source in SOURCES:
        row = [cells.get((source, kind, BUDGET)) for kind in KINDS]
        if any(row):
            lines.append([source, *(_pair(cell) for cell in row)])
    return table(["teacher / student", *KINDS], lines)


def methods() -> str:
    """Our method and the published ones at equal budgets: dB against the teacher's pictures."""
    found = {method: conversions(method) for method in METHODS}
    keys = sorted(set.union(*(set(cells) for cells in found.values())))
    rows = [
        [f"{source} to {kind}", budget, *(number(found[m].get(key, {}).get("psnr_to_source")) for m in METHODS)]
        for key in keys
        if sum(key in found[m] for m in METHODS) > 1
        for source, kind, budget in [key]
    ]
    return table(["conversion", "budget", *METHODS], rows)


def scratch() -> str:
    """Conversions beside fits from scratch: dB on held-out photographs, and seconds from scratch to the same."""
    found = results("conversion")
    rows = []
    for (source, kind, budget), row in sorted(conversions("volkit").items()):
        names = [name for name in found if re.fullmatch(rf"scratch-{kind}-\w+|teacher-{kind}", name)]
        controls = sorted((found[name]["seconds"], found[name]["psnr"]) for name in names)
        if source in ("hash_grid", "planes") and len(controls) > 1:
            taken = _seconds_to(row["psnr"], controls)
            rows.append([f"{source} to {kind}", budget, number(row["psnr"]),
                         ", ".join(f"{db:.2f} in {seconds:.0f} s" for seconds, db in controls), taken])  # fmt: skip
    return table(["conversion", "budget", "PSNR", "from scratch", "seconds from scratch to the same PSNR"], rows)


def _seconds_to(target: float, controls: list[tuple[float, float]]) -> str:
    """When fits from scratch reach a PSNR: between two budgets in proportion to their dB, in the logarithm of time."""
    for (early, low), (late, high) in itertools.pairwise(controls):
        if low <= target <= high:
            return number(early * (late / early) ** ((target - low) / (high - low)), 0)
    seconds, best = controls[-1]
    return f"more than {seconds:.0f}" if target > best else f"less than {controls[0][0]:.0f}"


def foreign() -> str:
    """A checkpoint that others trained, converted."""
    cells = {name.split("-")[2]: row for name, row in results("conversion").items() if name.startswith("nerf-pytorch-")}
    rows = [
        [kind, number(row["seconds"], 0), number(row["psnr_to_source"]), number(row["psnr"]), _megabytes(row)]
        for kind, row in cells.items()
    ]
    return table(["student", "seconds", "PSNR to the checkpoint", "PSNR, photographs", "MB"], rows)


def conversions(method: str) -> dict[tuple[str, str, str], Row]:
    """Reports of one method by (teacher, student, budget), first seed."""
    pattern = re.compile(rf"(\w+)-(\w+)-{re.escape(method)}-(\w+)-0")
    found = {pattern.fullmatch(name): row for name, row in results("conversion").items()}
    return {match.groups(): row for match, row in found.items() if match}


def splats() -> str:
    """Splats from photographs, from a field and from a mesh, and fields from splats."""
    rows = [
        [f"{source} to {kind}", budget, number(row.get("psnr")), number(row.get("psnr_to_source")), _megabytes(row),
         _share(row)]
        for name, row in results("splats").items()
        for source, kind, budget in [name.split("-")]
    ]  # fmt: skip
    return table(["from, to", "budget", "PSNR, held-out photographs", "PSNR to the source", "MB", "CPU share"], rows)


def meshes() -> str:
    """Meshes beside the truth: their shape, and pictures of them."""
    rows = [
        [name.replace("-", " to "), f"{row['triangles']:,}", _percent(row.get("chamfer")),
         number(row.get("f_score"), 3), number(row.get("normals"), 3), number(row.get("psnr_to_source")),
         number(row.get("psnr")), number(row.get("psnr_of_source")), number(row["seconds"], 0), _megabytes(row)]
        for name, row in results("meshes").items()
    ]  # fmt: skip
    head = ["from, by way of, to", "faces", "chamfer", "F-score", "normals", "PSNR to the source", "PSNR, photographs"]
    return table([*head, "of the source", "seconds", "MB"], rows)


def generation() -> str:
    """Assets of held-out words beside the exact ones, by the toy prior and by what it is at random weights."""
    return _generated(
        {"toy": "toy prior", "pixels64": "of 64 pixels", "latent": "of latents", "random": "random weights"}
    )


def faces() -> str:
    """Front marks, by what tells the prior which side it sees."""
    told = {"blind": "nothing", "words": "view prompts", "perp_neg": "Perp-Neg", "esd": "nothing, `esd`",
            "views4": "the camera, four views jointly", "toy": "the camera"}  # fmt: skip
    return _generated(told, marked=True)


def rules() -> str:
    """The sheet's prompts by rule of score distillation."""
    rows = list(results("generation/methods").values())
    named = {f"`{rule}`": [row for row in rows if row["method"] == rule] for rule in ("sds", "csd", "vsd")}
    return generation_table({name: some for name, some in named.items() if some}) + "\n" if rows else table([], [])


def particles() -> str:
    """Several particles of one prompt."""
    return _generated({f"particles_{method}": f"`{method}`" for method in ("sds", "vsd")})


def _generated(named: dict[str, str], *, marked: bool = False) -> str:
    found = {label: list(results(f"generation/{folder}").values()) for folder, label in named.items()}
    asked = {row["prompt"] for row in results("generation/blind").values()}
    runs = {label: [row for row in rows if not marked or row["prompt"] in asked] for label, rows in found.items()}
    runs = {label: rows for label, rows in runs.items() if rows}
    return generation_table(runs) + "\n" if runs else table([], [])


def rework() -> str:
    """Meshes of exact scenes made worse and refined."""
    rows = [
        [row["prompt"], *(_change(row, key, digits) for key, digits in (("psnr", 2), ("iou", 3), ("chamfer", 4)))]
        for name, row in results("rework").items() if name.startswith("refined")
    ]  # fmt: skip
    return table(["prompt", "PSNR to the exact scene", "IoU", "chamfer distance to it"], rows)


def _change(row: Row, key: str, digits: int) -> str:
    return f"{number(row[f'{key}_before'], digits)} to {number(row[key], digits)}" if key in row else "-"


def edits() -> str:
    """Meshes of exact scenes edited by words."""
    rows = [
        [row["prompt"], number(row["psnr_untouched"], 1), f"{100 * row['share_untouched']:.0f} %",
         f"{number(row['psnr_before'])} to {number(row['psnr'])}"]
        for name, row in results("rework").items() if name.startswith("edited")
    ]  # fmt: skip
    return table(["edited to", "PSNR of untouched pixels", "their share", "PSNR to the wanted scene"], rows)


def formats() -> str:
    """The files that are read and written, from the table that `volkit formats` prints."""
    from volkit.io import describe
    from volkit.reports.summary import UP_NAMES, format_kinds

    marks = {True: "yes", False: "no"}
    known = describe()
    rows = [
        [row["name"], " ".join(f"`{suffix}`" for suffix in row["suffixes"]), marks[row["reads"]], marks[row["writes"]],
         format_kinds(row, known), UP_NAMES[row["frame"]], row["keeps"]]
        for row in known
    ]  # fmt: skip
    return table(["format", "files", "read", "written", "kinds", "up", "keeps; not what is lost"], rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _pair(cell: Row | None) -> str:
    return "-" if cell is None else f"{number(cell.get('psnr'))} ({number(cell.get('psnr_to_source'), 1)})"


def _megabytes(row: Row) -> str:
    return number(row["bytes"] / 1e6, 1)


def _share(row: Row) -> str:
    return f"{100 * row['cpu_share']:.0f} %" if "cpu_share" in row else "-"


TABLES = {"fits": fits, "teachers": teachers, "matrix": matrix, "methods": methods, "ops": ops,
          "scratch": scratch, "foreign": foreign, "splats": splats,
          "meshes": meshes, "generation": generation, "faces": faces, "particles": particles, "rules": rules,
          "rework": rework, "edits": edits, "formats": formats, "startup": startup, "threads": threads,
          "throughput": throughput, "blender": blender_table, "readers_of_splats": matrix_of_splats,
          "readers_of_meshes": matrix_of_meshes}  # fmt: skip


def filled(text: str) -> str:
    """The text with every marked table made anew."""
    return REGION.sub(lambda match: match[1] + TABLES[match[2]]() + match[3], text)


def main(arguments: list[str] | None = None) -> int:
    """Write or check the pages."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing; status 1 if a page is out of date")
    options = parser.parse_args(arguments)
    made = {page: filled(page.read_text(encoding="utf-8")) for page in PAGES}
    stale = {page: text for page, text in made.items() if text != page.read_text(encoding="utf-8")}
    if options.check:
        names = ", ".join(str(page.relative_to(ROOT)) for page in stale)
        print(f"{names}: out of date; run python tools/render_tables.py" if stale else "up to date")
        return int(bool(stale))
    for page, text in stale.items():
        page.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
