"""`volkit convert` of a file of splats into another one where nothing else is asked: arrays alone, without torch."""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from volkit.evaluation.fidelity import Fidelity, splat_differences
from volkit.io import FileAxes
from volkit.io.splats.transcode import Transcoded, between_columns, read_again, transcode
from volkit.progress import Progress
from volkit.reports.convert_report import ConversionReport
from volkit.reports.file_size import stored_bytes
from volkit.threads import thread_count

if TYPE_CHECKING:  # the options stand in the command
    from volkit.commands.convert import ConvertJob

__all__ = ["is_transcoding", "transcode_files"]

# Options that ask for a scene: to be changed, learnt, drawn, or put on a device.
OF_SCENES = (
    "method", "budget", "photos", "size", "max_splats", "sh_degree", "surfels", "report", "resume", "config",
    "preview", "dry_run", "pictures",
)  # fmt: skip


def is_transcoding(job: "ConvertJob", sources: tuple[Path, ...], target: Path) -> bool:
    """Whether one file of splats shall be another, and no option asks for a scene in between."""
    if len(sources) > 1 or job.to not in (None, "splats") or job.edit or job.wants_mesh or job.device == "cuda":
        return False
    return not job.given(*OF_SCENES) and between_columns(sources[0], target)


def transcode_files(job: "ConvertJob", source: Path, target: Path, progress: Progress) -> ConversionReport:
    """Write the target; what it lost is measured splat by splat, which says more than pictures of them."""
    job.check_new(target)
    axes = FileAxes(job.frame, job.spz_frame)
    made = transcode(source, target, axes=axes, spz_frame=job.spz_frame, drop_bad=job.drop_bad, progress=progress)
    splats, told = made.splats, made.splats.provenance
    of_spz = target.suffix.lower() == ".spz" or "spz_frame" in told
    return ConversionReport(
        source=(str(source),),
        target=str(target),
        source_kind="splats",
        kind="splats",
        seed=job.seed,
        device="cpu",
        backend={"choice": "numpy", "numpy": np.__version__, "threads": thread_count()},
        seconds=round(made.seconds, 2),
        source_bytes=stored_bytes(source),
        bytes=stored_bytes(target),
        steps=0,
        method="volkit",
        parameters=sum(column.size for column in splats.columns.values()),
        source_splats=len(splats),
        splats=len(splats),
        spz_frame=str(told.get("spz_frame", "ply" if axes.raw else "rub")) if of_spz else None,
        fidelity=_fidelity(made, progress) if job.measure else None,
        notes=tuple(progress.notes),
    )


def _fidelity(made: Transcoded, progress: Progress) -> Fidelity | None:
    started = time.perf_counter()
    with progress.phase("measure"):
        written = read_again(made)
    if written is None:
        progress.note(f"{made.target}: is not measured, for its format is written and not read")
        return None
    differences = splat_differences(made.splats, written, made.order)
    seconds = round(time.perf_counter() - started, 2)
    return Fidelity(differences, {"by": "parameters", "splats": len(written), "seconds": seconds})
