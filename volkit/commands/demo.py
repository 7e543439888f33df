"""`volkit demo`: the main job from beginning to end, on a scene that comes with volkit."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from volkit.commands.convert import ConvertJob
from volkit.commands.fit import FitJob
from volkit.commands.generate import GenerateJob
from volkit.commands.mesh_flags import MeshFlags
from volkit.commands.render import RenderJob
from volkit.files.atomic import atomic_write
from volkit.progress import Progress

if TYPE_CHECKING:  # torch takes seconds to import, and help needs none of it
    from volkit.geometry import Cameras
    from volkit.reports.page import Gallery, Page
    from volkit.typing import Float, Tensor

    Picture = Float[Tensor, "height width 3"]

__all__ = ["DemoJob"]

FIRST_KIND = "hash_grid"
FILES = {FIRST_KIND: "hash_grid.safetensors", "tensor_vm": "tensor_vm.safetensors", "mlp": "mlp.safetensors",
         "splats": "splats.ply", "hash_grid again": "hash_grid_again.safetensors", "mesh": "scene.glb"}  # fmt: skip
CONVERSIONS = ((FIRST_KIND, "tensor_vm"), (FIRST_KIND, "mlp"), (FIRST_KIND, "splats"), ("splats", "hash_grid again"))
MESH = (FIRST_KIND, "mesh")
SMALL_SPLATS = 4_000
SHOWN_VIEWS = 3  # held-out views on the page
WORDS, WORDS_FILE = "text to 3D", "words.safetensors"
SHOWN_SIZE, SHOWN_AROUND = 128, 8  # pixels and views of what words became
PROMPT = "a red sphere on a blue cube"  # of toy_prior/held_out.json: the prior never saw these words together


@dataclass(frozen=True)
class Effort:
    """How much the tour takes: pixels of pictures, seconds of fit, conversions and words, sizes of what is made."""

    size: int
    fit: str
    convert: tuple[str, ...]  # in the order of CONVERSIONS
    faces: int
    texture: int
    cells: int
    words: str
    small: bool = False  # representations as small as such pictures need: their start takes a part of a second


@dataclass(frozen=True)
class DemoRow:
    """What was made, of what, at which cost, and how like held-out pictures and its teacher it is (dB, None: equal)."""

    name: str
    source: str
    seconds: float
    bytes: int
    scores: dict[str, float | None] = field(default_factory=dict)  # psnr, ssim, flip, psnr_to_source; none of words

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {"name": self.name, "from": self.source} | self.scores | {"seconds": self.seconds, "bytes": self.bytes}


@dataclass(frozen=True)
class DemoReport:
    """What the tour made of a scene, and where its page is."""

    scene: str
    seconds: float
    effort: Effort
    report: Path
    results: tuple[DemoRow, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "command": "demo", "scene": self.scene, "seconds": self.seconds, "effort": asdict(self.effort),
            "report": str(self.report), "results": [row.as_dict() for row in self.results],
        }  # fmt: skip


# under 3 minutes on two idle cores, everything included, 5 with words
FULL_EFFORT = Effort(
    size=128, fit="28s", convert=("10s", "12s", "10s", "12s"), faces=10_000, texture=512, cells=128, words="100s"
)
# In steps, of which so small a field needs a hundred to leave fog, however slow the machine is.
QUICK = Effort(
    size=56, fit="150", convert=("2s", "4s", "3s", "4s"), faces=2_000, texture=256, cells=48, words="5s", small=True
)


@dataclass(frozen=True)
class HeldOut:
    """Pictures that nothing learned from, over white."""

    names: tuple[str, ...]
    cameras: "Cameras"
    truth: "tuple[Picture, ...]"

    @classmethod
    def of(cls, pictures: Path) -> "HeldOut":
        """Those of a folder."""
        from volkit.data import load_photographs
        from volkit.evaluation.evaluate import WHITE, composite_over

        seen = load_photographs(pictures).subset("test")
        return cls(tuple(seen.names), seen.cameras, tuple(composite_over(image, WHITE) for image in seen.images))


@dataclass(frozen=True)
class DemoJob:
    """Tour volkit: pictures of a bundled scene, a hash grid fitted to them, other forms made from it, and one back.

    The grid becomes a tensor-VM, an MLP and Gaussian splats, the splats become a hash grid again, and scene.glb is a
    textured mesh of it. Writes report.html (pictures with error maps, dB over time, a table), report.json, the pictures
    and the scene files. Takes under 3 minutes on two idle cores; --all makes an asset of words as well, by a diffusion
    prior that comes with volkit and never saw those words together.
    Example: volkit demo --scene lantern
    All of it: volkit demo --all
    """

    out: Path = Path("out/demo")
    """Folder to write; what an earlier demo left there is replaced."""
    scene: str = "still_life"
    """Bundled scene: still_life, primitives or lantern."""
    quick: bool = False
    """A smaller tour of less than a minute: small pictures, small representations, a few seconds for each."""
    all: bool = False
    """Text to 3D as well, less than two minutes more."""
    preview: bool = False
    """Write a live picture beside the scene while it is fitted."""
    seed: int = 0
    """Same seed, same start."""

    def run(self, progress: Progress) -> dict[str, Any]:
        """Render, fit, convert, compare, report."""
        from volkit.io.fields.analytic_scene import bundled
        from volkit.reports.page import write_page

        started, effort = time.monotonic(), QUICK if self.quick else FULL_EFFORT
        source, pictures = bundled(self.scene), self.out / "pictures"
        self.out.mkdir(parents=True, exist_ok=True)
        progress.note(f"1/4 pictures of {self.scene}")
        render = RenderJob(source, pictures, split="all", size=effort.size, force=True)
        pictured = render.run(progress)
        progress.note(
            f"2/4 fit a hash grid to {pictured['pictures']} pictures of {effort.size} pixels ({_spoken(effort.fit)})"
        )
        reports = {FIRST_KIND: self._fit(pictures, effort, progress)}
        progress.note(f"hash_grid: {_decibels(reports[FIRST_KIND]['psnr'])} to pictures that were held out")
        vm, mlp, splats, back = effort.convert
        progress.note(f"3/4 convert it to tensor_vm ({vm}), mlp ({mlp}) and splats ({splats}), and these back ({back})")
        for (teacher, target), budget in zip(CONVERSIONS, effort.convert, strict=True):
            reports[target] = self._convert(teacher, target, budget, effort, progress)
            progress.note(f"{target}: {_decibels(reports[target]['psnr_to_source'])} to its teacher")
        try:
            reports["mesh"] = self._extract(effort, progress)
            progress.note(f"mesh: {reports['mesh']['triangles']} triangles")
        except (RuntimeError, ValueError) as error:  # no libraries for meshes, or a fit so short that it is all fog
            progress.note(f"scene.glb is left out: {error}")
        if self.all:
            reports[WORDS] = self._generate(effort, progress)
        progress.note("4/4 compare with held-out pictures, write the report")
        seen = HeldOut.of(pictures)
        looks = {name: self._look(name, seen, progress) for name in FILES if name in reports}
        rows = tuple(_row(name, report, looks.get(name), seen) for name, report in reports.items())
        page = self.out / "report.html"
        result = DemoReport(self.scene, round(time.monotonic() - started, 1), effort, page, rows)
        curves = {name: _curve(report) for name, report in reports.items()}
        write_page(page, self._page(result, curves, reports, _galleries(seen, looks)))
        with atomic_write(self.out / "report.json") as place:
            place.write_text(json.dumps(result.as_dict() | {"jobs": reports}, indent=1, default=str), encoding="utf-8")
        return result.as_dict()

    def _file(self, name: str) -> Path:
        return self.out / FILES[name]

    def _fit(self, pictures: Path, effort: Effort, progress: Progress) -> dict[str, Any]:
        return FitJob(
            pictures,
            self._file(FIRST_KIND),
            to=FIRST_KIND,
            config=_config(FIRST_KIND, effort),
            budget=effort.fit,
            seed=self.seed,
            preview=self.preview,
            force=True,
        ).run(progress)

    def _convert(self, source: str, target: str, budget: str, effort: Effort, progress: Progress) -> dict[str, Any]:
        paths, kind = (self._file(source), self._file(target)), target.split()[0]
        config, splats = _config(kind, effort), SMALL_SPLATS if kind == "splats" and effort.small else None
        return ConvertJob(
            paths, to=kind, config=config, budget=budget, size=effort.size, max_splats=splats, seed=self.seed,
            force=True,
        ).run(progress)  # fmt: skip

    def _extract(self, effort: Effort, progress: Progress) -> dict[str, Any]:
        mesh = MeshFlags(faces=effort.faces, texture=effort.texture, cells=effort.cells)
        paths = (self._file(FIRST_KIND), self._file("mesh"))
        return ConvertJob(paths, to="mesh", mesh=mesh, size=effort.size, seed=self.seed, force=True).run(progress)

    def _generate(self, effort: Effort, progress: Progress) -> dict[str, Any]:
        progress.note(f"and {PROMPT}, of these words alone ({effort.words})")
        target = self.out / WORDS_FILE
        return GenerateJob(PROMPT, target, budget=effort.words, seed=self.seed, force=True).run(progress)

    def _look(self, name: str, seen: "HeldOut", progress: Progress) -> "list[Picture]":
        """What a scene shows of every view that was held out."""
        from volkit.evaluation.evaluate import WHITE, render_over
        from volkit.io.opening import open_scene

        scene, shown = open_scene(self._file(name)), []
        with progress.phase(f"compare {name}"):
            for index in range(len(seen.names)):
                shown.append(render_over(scene, seen.cameras[[index]], WHITE))
                progress.advance((index + 1) / len(seen.names))
        return shown

    def _page(self, result: DemoReport, curves: dict, reports: dict[str, Any], galleries: "list[Gallery]") -> "Page":
        from volkit.reports.page import Page

        first = next(iter(reports.values()))
        backend = first["backend"]
        return Page(
            title=f"volkit demo: {self.scene.replace('_', ' ')}",
            lead="A hash grid learned from pictures, then handed on without them: to other forms, back, and to a mesh.",
            table=[_cells(row) for row in result.results],
            curves=curves,
            galleries=galleries,
            figures=self._words() if WORDS in reports else {},
            figures_title=f"Text to 3D: {PROMPT}",
            facts={
                "took": f"{result.seconds:.0f} s in all",
                "pictures": f"{result.effort.size} pixels, rendered from the analytic scene",
                "sizes": "as few numbers as such pictures need" if result.effort.small else "as usual",
                "curves": "the fit against held-out pictures, conversions against the teacher's own",
                "kernels": f"{backend['native']}, {backend['isa']}, {backend['threads']} threads",
                "torch": str(backend["torch"]),
            },
        )

    def _words(self) -> "dict[str, Float[Tensor, 'height width 3']]":
        """What words became, as the prior's cameras see it all around."""
        from volkit.generation.build import ScoreSettings, open_guiding_prior, sample_cameras
        from volkit.io.opening import open_scene
        from volkit.reports.prior_report import render_around

        cameras = sample_cameras(open_guiding_prior(), ScoreSettings()).turntable(SHOWN_AROUND, SHOWN_SIZE)
        return render_around(open_scene(self.out / WORDS_FILE), cameras)


def _row(name: str, report: dict[str, Any], look: "list[Picture] | None", seen: HeldOut) -> DemoRow:
    """Where it came from, how alike it is to the pictures that were held out, what it took."""
    from volkit.evaluation.metrics import mean_scores, score

    if look is None:
        return DemoRow(name, f"'{PROMPT}'", report["seconds"], report["bytes"])
    scores = mean_scores([score(picture, truth) for picture, truth in zip(look, seen.truth, strict=True)])
    source = next((source for source, target in (*CONVERSIONS, MESH) if target == name), "pictures")
    measured = asdict(scores) | {"psnr_to_source": report.get("psnr_to_source")}
    return DemoRow(name, source, report["seconds"], report["bytes"], measured)


def _galleries(seen: HeldOut, looks: "dict[str, list[Picture]]") -> "list[Gallery]":
    """Some of the views, side by side."""
    from volkit.reports.page import Column, Gallery

    chosen = range(0, len(seen.names), max(1, len(seen.names) // SHOWN_VIEWS))[:SHOWN_VIEWS]
    return [
        Gallery(Path(seen.names[k]).stem, seen.truth[k], tuple(Column(name, look[k]) for name, look in looks.items()))
        for k in chosen
    ]


def _config(kind: str, effort: Effort) -> Any:
    """What a tour of so little time is given of a kind; None: as its paper has it."""
    from volkit.representations import HashGridConfig, MlpConfig, TensorVMConfig

    if kind == "mlp":  # the paper's stays fog in so little time, which takes longer to look at than to learn
        return MlpConfig(layers=3, width=64, skip=0, position_bands=6)
    small = {
        "hash_grid": HashGridConfig(levels=8, log2_table=15, width=32).for_pictures(effort.size),
        "tensor_vm": TensorVMConfig(resolution=64, start=64, density_components=8, appearance_components=16),
    }
    return small.get(kind) if effort.small else None


def _spoken(budget: str) -> str:
    return f"{budget} steps" if budget.isdecimal() else budget


def _decibels(psnr: float | None) -> str:
    return "identical" if psnr is None else f"{psnr:.1f} dB"


def _curve(report: dict[str, Any]) -> list[tuple[float, float]]:
    return [(row["seconds"], row["psnr"]) for row in report.get("history", []) if row.get("psnr") is not None]


def _cells(row: DemoRow) -> dict[str, str]:
    def number(name: str, form: str) -> str:
        value = row.scores.get(name)
        return "-" if value is None else format(value, form)

    return {
        "representation": row.name, "learned from": row.source, "dB, held-out views": number("psnr", ".2f"),
        "SSIM": number("ssim", ".4f"), "FLIP": number("flip", ".4f"),
        "dB to its teacher": number("psnr_to_source", ".2f"), "seconds": f"{row.seconds:.1f}",
        "megabytes": f"{row.bytes / 1e6:.2f}",
    }  # fmt: skip
