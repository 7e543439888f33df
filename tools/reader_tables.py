"""Tables of what other programs make of volkit's files: the matrix, and pictures by Blender."""

from kept import Row, number, results, table

__all__ = ["blender_table", "matrix_of_meshes", "matrix_of_splats"]

SPLATS = ("splats.ply", "compressed.ply", "spz", "sog", "splat", "ksplat", "splats.glb", "splats.usdc")
MESHES = ("globe.glb", "globe.gltf", "draco", "quantized", "webp", "asset", "coloured.glb", "globe.obj", "coloured.ply",
          "globe.stl", "usdz", "usdc")  # fmt: skip
HEADS = {
    "splats.ply": "`.ply`", "compressed.ply": "`.compressed.ply`", "spz": "`.spz`", "sog": "`.sog`",
    "splat": "`.splat`", "ksplat": "`.ksplat`", "splats.glb": "`.glb`", "splats.usdc": "`.usdc`", "globe.glb": "`.glb`",
    "globe.gltf": "`.gltf`", "draco": "`--draco`", "quantized": "`--quantize`", "webp": "`--texture-format webp`",
    "asset": "`--lods 3 --collider hulls`", "coloured.glb": "`.glb`, vertex colours", "globe.obj": "`.obj`",
    "coloured.ply": "`.ply`", "globe.stl": "`.stl`", "usdz": "`.usdz`", "usdc": "`.usdc`",
}  # fmt: skip


def matrix_of_splats(rows: dict[str, Row] | None = None) -> str:
    """Programs by files of splats; by default as kept."""
    return _matrix(results("readers") if rows is None else rows, SPLATS)


def matrix_of_meshes(rows: dict[str, Row] | None = None) -> str:
    """Programs by files of meshes; by default as kept."""
    return _matrix(results("readers") if rows is None else rows, MESHES)


def blender_table(rows: list[Row] | None = None) -> str:
    """Models by dB between Blender's pictures and ours; by default as kept."""
    rows = list(results("blender").values()) if rows is None else rows
    head = ["model", "faces", "PSNR, dB", "outlines that differ, pixels"]
    lines = [[row["model"], f"{row['faces']:,}", number(row["psnr"], 1), str(row["outline"])] for row in rows]
    return table(head, lines)


def _matrix(rows: dict[str, Row], files: tuple[str, ...]) -> str:
    lines = [
        [f"{row['program']} {row['version']}", *(_cell(row["cells"].get(file)) for file in files)]
        for row in rows.values()
        if set(files) & set(row["cells"])
    ]
    return table(["program", *(HEADS[file] for file in files)], lines)


def _cell(cell: dict[str, str] | None) -> str:
    if cell is None:
        return ""
    word = {"wrong": "**wrong**", "quantised": "within quantising"}.get(cell["word"], cell["word"])
    return f"{word}: {cell['detail']}" if cell["detail"] else word
