"""The page of what a prior made: pictures around it, what its loss was, the settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volkit.evaluation.evaluate import WHITE, render_over
from volkit.geometry import Cameras
from volkit.rendering.renderer import renderer_for
from volkit.reports.fit_report import Column, Gallery, Page, facts_in_words, write_json, write_page
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = ["SHOWN_SIZE", "VIEWS", "pictures_around", "write_prior_report"]

VIEWS, SHOWN_SIZE = 8, 128  # around the asset, pixels a side of each
REPORT_STEP_SCALE = 4.0  # of the steps through a field: enough to look at, and fog fills all of them
SETTINGS = ("method", "scale", "prior", "steps", "seconds")

Image = Float[Tensor, "height width 3"]


def pictures_around(scene: Representation, cameras: Cameras) -> dict[str, Image]:
    """Pictures over white by cameras that stand evenly around from the front on, by azimuth."""
    seen, draw = cameras.to(scene.device), renderer_for(scene, step_scale=REPORT_STEP_SCALE)
    return {
        f"{360 * index // len(seen)}°": render_over(scene, seen[[index]], WHITE, draw) for index in range(len(seen))
    }


def write_prior_report(
    path: Path,
    report: dict[str, Any],
    scenes: Sequence[Representation],
    cameras: Cameras,
    before: Representation | None = None,
) -> None:
    """Write `report` as its suffix says; a page shows the scenes, beside what there was `before`."""
    if path.suffix == ".json":
        return write_json(path, report)
    curve = [(row["seconds"], row["loss"]) for row in report["history"]]
    settings = {"asset": Path(report["target"][0]).name} | {name: report[name] for name in SETTINGS}
    page = Page(
        title=report["prompt"],
        lead=f"{', '.join(report['target'])}: {report['command']} by {report['method']}.",
        table=[facts_in_words(settings)],
        curves={"loss": curve} if len(curve) > 1 else {},
        curves_title="Loss over time",
        curves_unit="how far the prior wants pictures to go",
        galleries=() if before is None else _beside(scenes[0], before, cameras),
        galleries_title="What has changed",
        figures=_figures(scenes, cameras, alone=before is None),
        figures_title="All around" if before is None else "Material",
        facts=facts_in_words({name: value for name, value in report.items() if isinstance(value, int | float | str)}),
    )
    write_page(path, page)


def _beside(scene: Representation, before: Representation, cameras: Cameras) -> list[Gallery]:
    """Each view of the source, of the result, and where they differ."""
    old, new = pictures_around(before, cameras), pictures_around(scene, cameras)
    return [Gallery(angle, old[angle], (Column("result", new[angle]),), "source") for angle in old]


def _figures(scenes: Sequence[Representation], cameras: Cameras, *, alone: bool) -> dict[str, Image]:
    """Every particle all around, where there was nothing before; roughness (green) and metalness (blue) of meshes."""
    found = {}
    for number, scene in enumerate(scenes, 1):
        name = f"particle {number}, " if len(scenes) > 1 else ""
        if alone:
            found |= {name + angle: picture for angle, picture in pictures_around(scene, cameras).items()}
        finish = scene.as_metallic_roughness()
        if finish is not None:
            seen = pictures_around(finish, cameras[::4])
            found |= {f"{name}roughness and metalness, {angle}": picture for angle, picture in seen.items()}
    return found
