"""The report of a scene that a prior made or changed: views around it, the loss, the settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from volkit.evaluation.evaluate import WHITE, render_over
from volkit.geometry import Cameras
from volkit.rendering.renderer import renderer_for
from volkit.reports.page import Column, Gallery, Page, format_facts, write_json, write_page
from volkit.representations import Representation
from volkit.typing import Float, Tensor

__all__ = ["VIEWS", "VIEW_SIZE", "render_around", "write_prior_report"]

VIEWS, VIEW_SIZE = 8, 128  # number around the asset, and pixels of a side
REPORT_STEP_SCALE = 4.0  # coarse steps through a field suffice for a report; fog would make fine ones slow
SETTING_KEYS = ("method", "scale", "prior", "steps", "seconds")

Image = Float[Tensor, "height width 3"]


def render_around(scene: Representation, cameras: Cameras) -> dict[str, Image]:
    """Pictures over white by azimuth, from cameras evenly spaced around the scene, the front first."""
    views, draw = cameras.to(scene.device), renderer_for(scene, step_scale=REPORT_STEP_SCALE)
    return {
        f"{360 * index // len(views)}°": render_over(scene, views[[index]], WHITE, draw) for index in range(len(views))
    }


def write_prior_report(
    path: Path,
    report: dict[str, Any],
    scenes: Sequence[Representation],
    cameras: Cameras,
    before: Representation | None = None,
) -> None:
    """Write `report` as `.json` or `.html`; a page shows the scenes, beside the scene `before` if there is one."""
    if path.suffix == ".json":
        return write_json(path, report)
    curve = [(row["seconds"], row["loss"]) for row in report["history"]]
    settings = {"asset": Path(report["target"][0]).name} | {name: report[name] for name in SETTING_KEYS}
    page = Page(
        title=report["prompt"],
        lead=f"{', '.join(report['target'])}: {report['command']} by {report['method']}.",
        table=[format_facts(settings)],
        curves={"loss": curve} if len(curve) > 1 else {},
        curves_title="Loss over time",
        curves_unit="distance by which the prior would change pictures",
        galleries=() if before is None else _before_and_after(scenes[0], before, cameras),
        galleries_title="What has changed",
        figures=_figures(scenes, cameras, alone=before is None),
        figures_title="All around" if before is None else "Material",
        facts=format_facts({name: value for name, value in report.items() if isinstance(value, int | float | str)}),
    )
    write_page(path, page)


def _before_and_after(scene: Representation, before: Representation, cameras: Cameras) -> list[Gallery]:
    """A gallery per view: source, result, and their difference."""
    old, new = render_around(before, cameras), render_around(scene, cameras)
    return [Gallery(angle, old[angle], (Column("result", new[angle]),), "source") for angle in old]


def _figures(scenes: Sequence[Representation], cameras: Cameras, *, alone: bool) -> dict[str, Image]:
    """Views around every particle, if `alone`; roughness (green) and metalness (blue) of meshes."""
    found = {}
    for number, scene in enumerate(scenes, 1):
        name = f"particle {number}, " if len(scenes) > 1 else ""
        if alone:
            found |= {name + angle: picture for angle, picture in render_around(scene, cameras).items()}
        metallic_roughness = scene.as_metallic_roughness()
        if metallic_roughness is not None:
            views = render_around(metallic_roughness, cameras[::4])
            found |= {f"{name}roughness and metalness, {angle}": picture for angle, picture in views.items()}
    return found
