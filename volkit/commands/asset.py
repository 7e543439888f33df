"""`volkit asset`: from a scan to a game asset in one command."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from volkit.choices import Device
from volkit.commands.mesh_flags import MeshFlags, changes_surface
from volkit.commands.options import UsageError

if TYPE_CHECKING:
    from volkit.io.meshes.asset import Style
    from volkit.meshing.game_asset import AssetPlan, GameAsset
    from volkit.progress import Progress
    from volkit.representations import Representation

__all__ = ["AssetJob"]

MESH = MeshFlags(faces=20_000, texture=1024, lods=3, collider="hulls", pivot="ground")


@dataclass(frozen=True)
class AssetJob:
    """Make a game asset from a scan: cleaned, upright, to scale, on the ground, a mesh with LODs and collider.

    OUT gets NAME.glb, NAME.png (four sides of scan and mesh), NAME.txt (each step that was done), of splats NAME.spz as
    well, and NAME.html, a page that shows them, where the viewer is built. NAME is the scan's.
    For Godot, which makes levels of detail by itself, the file has one level unless --lods says otherwise.
    Example: volkit asset scan.ply out/ --height 0.3 --engine godot
    """

    source: Path
    """Splats, a field or a mesh."""
    out: Path
    """Folder to write into; it is created where it does not exist."""
    height: float | None = None
    """Height of the mesh in metres; by default that of the scan."""
    up: Literal["auto", "z", "-z", "y", "-y"] = "auto"
    """Up axis of the scan; auto: that of its file or format (-y for .ply of captures)."""
    turn: float = 0.0
    """Rotation about the up axis in degrees, counter-clockwise from above, so that its front faces -Y (+Z in glTF); the
    preview's first picture shows the front."""
    clean: Literal["none", "light", "normal", "strong"] = "normal"
    """Cleaning of splats: light removes invisible ones, normal floaters as well, strong more of both."""
    mesh: MeshFlags = MESH
    """Options of the mesh, with the defaults of `AssetPlan`."""
    format: Literal["glb", "gltf", "obj", "usdz", "ply", "stl"] = "glb"
    """Format of the mesh."""
    size: int | None = None
    """Longest side in pixels of the pictures of the scan; by default as its cameras recorded, else 400."""
    seed: int = 0
    """Random seed."""
    device: Device = "auto"
    """Where to compute; auto: cuda if its kernels pass a self-test, else cpu."""
    force: bool = False
    """Overwrite existing files."""

    def run(self, progress: "Progress") -> dict[str, Any]:
        """Open, make, write, report."""
        from volkit.io.meshes.writer import check_style

        if self.height is not None and not 0.0 < self.height < float("inf"):
            raise UsageError(f"--height {self.height}: give a positive number of metres")
        if self.mesh.pivot != "ground":
            raise UsageError(f"--pivot {self.mesh.pivot}: an asset stands on the ground; leave it out")
        style, target = self.mesh.style(), self._file(f".{self.format}")
        if self.out.is_file():
            raise UsageError(f"{self.out}: is a file; name a folder to write into")
        for path in (target, *(self._file(suffix) for suffix in (".png", ".txt", ".spz", ".html"))):
            if path.exists() and not self.force:
                raise FileExistsError(f"{path}: exists already; --force overwrites it")
        check_style(target, style)

        from volkit.io.opening import note_reading, open_scene
        from volkit.meshing.game_asset import make_game_asset
        from volkit.meshing.pipeline import check_libraries
        from volkit.representations import Mesh

        check_libraries()
        scene = open_scene(self.source, self.device, progress)
        note_reading(self.source, scene, progress)
        made = make_game_asset(scene, self._plan(isinstance(scene, Mesh)), seed=self.seed, progress=progress)
        self.out.mkdir(parents=True, exist_ok=True)
        files = self._write(made, style, progress)
        steps = [*made.steps, *self._beside(style)]
        files["text"] = self._written_text(steps, files)
        assert made.asset.figures is not None
        return {
            "command": "asset", "source": str(self.source), "files": {name: str(path) for name, path in files.items()},
            "size": list(made.size), "steps": steps, "bytes": files["mesh"].stat().st_size,
            **made.asset.figures.as_dict(), "notes": progress.notes,
        }  # fmt: skip

    def _file(self, suffix: str) -> Path:
        return self.out / (self.source.name.split(".")[0] + suffix)

    def _plan(self, is_mesh: bool) -> "AssetPlan":
        """The options of the engine; a mesh keeps its surface unless an option that was typed asks for another."""
        from volkit.meshing.game_asset import AssetPlan

        rebuild = not is_mesh or changes_surface(self.mesh.typed)
        mesh = replace(self.mesh.options(), lods=self._levels, rebuild=rebuild)
        return AssetPlan(self.height, self.up, self.turn, self.clean, mesh, self.size)

    @property
    def _levels(self) -> int:
        """Godot makes levels of detail by itself."""
        from volkit.io.meshes.engines import generates_levels

        return 1 if generates_levels(self.mesh.engine) and "lods" not in self.mesh.typed else self.mesh.lods

    def _write(self, made: "GameAsset", style: "Style", progress: "Progress") -> dict[str, Path]:
        """Every file but the text, by what it is."""
        from volkit.evaluation.evaluate import write_picture
        from volkit.io import save
        from volkit.io.meshes.writer import write_asset
        from volkit.representations import Splats

        files = {"mesh": self._file(f".{self.format}"), "preview": self._file(".png")}
        extras = {"source": [self.source.name], "kind": made.scene.config.kind}
        write_asset(replace(made.asset, extras=extras), files["mesh"], style)
        write_picture(files["preview"], made.preview)
        if isinstance(made.scene, Splats):
            files["splats"] = self._file(".spz")
            save(made.scene, files["splats"])
        page = self._written_page(made.scene, made, progress)
        return files if page is None else files | {"page": page}

    def _written_page(self, scene: "Representation", made: "GameAsset", progress: "Progress") -> Path | None:
        """A page with splats and mesh; None, and a note, where this volkit has no viewer."""
        from volkit.files.bundled import viewer_page
        from volkit.reports.view_page import Exhibit, Start, ViewSettings, write_view_page
        from volkit.representations import Splats

        try:
            viewer = viewer_page()
        except ValueError as error:
            progress.note(f"no page: {error}")
            return None
        exhibits = [Exhibit(self._file(f".{self.format}").name, made.asset.mesh)]
        if isinstance(scene, Splats):
            exhibits.insert(0, Exhibit(self._file(".spz").name, scene))
        page = self._file(".html")
        write_view_page(page, viewer, exhibits, ViewSettings(Start.of(made.asset.mesh), compact=True))
        return page

    def _beside(self, style: "Style") -> list[str]:
        """Notes on what the engine does by itself."""
        from volkit.io.meshes.engines import generates_levels

        if not generates_levels(style.engine):
            return []
        if self._levels > 1:
            return ["Godot makes levels of detail by itself when it imports: the file holds the finest alone"]
        return ["one level: Godot makes levels of detail by itself when it imports"]

    def _written_text(self, steps: list[str], files: dict[str, Path]) -> Path:
        from volkit.files.atomic import atomic_write

        path = self._file(".txt")
        what = [f"{self.source.name}, by volkit asset", "", *(f"- {step}" for step in steps), "", "Files:"]
        lines = [*what, *(f"- {file.name}: {name}" for name, file in files.items()), ""]
        with atomic_write(path) as place:
            place.write_text("\n".join(lines), encoding="utf-8")
        return path
