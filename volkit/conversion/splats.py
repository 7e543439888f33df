"""Transcoding of splat files, column by column in numpy, without torch; measured splat by splat."""

import time
from pathlib import Path

import numpy as np

from volkit.conversion.options import FileOptions
from volkit.conversion.report import ConversionReport
from volkit.evaluation.fidelity import Fidelity, splat_differences
from volkit.evaluation.second_reader import read_again
from volkit.files.file_size import stored_bytes
from volkit.io import FileAxes
from volkit.io.splats.transcode import Transcoded, read_back, transcode
from volkit.progress import Progress
from volkit.threads import thread_count

__all__ = ["convert_columns"]


def convert_columns(source: Path, target: Path, files: FileOptions, seed: int, progress: Progress) -> ConversionReport:
    """Transcode a file of splats; its loss is measured splat by splat, which is more exact than by pictures.

    Both formats are read and written as columns (`is_splats_to_splats`). FormatError names file, fact and fix.
    """
    axes = FileAxes(files.frame, files.spz_frame, files.spz_version)
    made = transcode(source, target, axes=axes, spz_frame=files.spz_frame, drop_bad=files.drop_bad, progress=progress)
    splats, provenance = made.splats, made.splats.provenance
    of_spz = target.suffix.lower() == ".spz" or "spz_frame" in provenance
    return ConversionReport(
        source=(str(source),),
        target=str(target),
        source_kind="splats",
        kind="splats",
        seed=seed,
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
        spz_frame=str(provenance.get("spz_frame", "ply" if axes.raw else "rub")) if of_spz else None,
        fidelity=_fidelity(made, progress) if files.measure else None,
        notes=tuple(progress.notes),
    )


def _fidelity(made: Transcoded, progress: Progress) -> Fidelity | None:
    started = time.perf_counter()
    with progress.phase("measure"):
        written = read_back(made)
    if written is None:
        progress.note(f"{made.target}: is not measured, as its format is written but not read")
        return None
    differences = splat_differences(made.splats, written, made.order)
    again = read_again(made.splats.in_frame(made.axes.frame_for(made.format) or made.splats.frame), made.target)
    if again is not None and not again.agrees:
        progress.note(
            f"{made.target}: {again.library} reads other splats from it than were written; please report this"
        )
    seconds = round(time.perf_counter() - started, 2)
    measured = {"by": "parameters", "splats": len(written), "seconds": seconds}
    return Fidelity(differences, measured, second_reading=None if again is None else again.as_dict())
