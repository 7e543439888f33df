"""Progress on standard error: a bar with loss, dB and time left for whatever takes longer than two seconds."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

__all__ = ["Progress"]

PATIENCE = 2.0  # seconds before a bar appears


class Progress:
    """A bar for one stretch of work; silent when `quiet`. Notes are kept for the report and printed at once."""

    def __init__(self, quiet: bool = False) -> None:
        self.notes: list[str] = []
        self.seconds: dict[str, float] = {}  # that each stretch took
        self.quiet = quiet
        self._console = Console(stderr=True, quiet=quiet, highlight=False)
        self._shown: dict[str, float | None] = {}
        self._bar: Bar | None = None
        self._title, self._started = "", 0.0

    def note(self, text: str) -> None:
        """Tell the user something once."""
        self.notes.append(text)
        self._console.print(text, markup=False, soft_wrap=True)

    def stretch(self, title: str) -> Self:
        """Begin a stretch of work: `with progress.stretch("fit"): ... progress.advance(...)`."""
        self._title, self._started, self._shown = title, time.monotonic(), {}
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds[self._title] = round(time.monotonic() - self._started, 2)
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def values(self, **values: float | None) -> None:
        """Remember values to show beside the bar, such as `psnr`."""
        self._shown.update(values)

    def advance(self, fraction: float, *, seconds_left: float | None = None, **values: float) -> None:
        """Move the bar to a fraction of the whole."""
        self._shown.update(values)
        if self._bar is None:
            if self.quiet or time.monotonic() - self._started < PATIENCE:
                return
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
            self._bar = Bar(*columns, console=self._console, transient=True, refresh_per_second=4)
            self._bar.add_task(self._title, total=1.0, said="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=fraction, said=self._said(fraction, seconds_left))

    def counted(self, done: int, total: int) -> None:
        """Move the bar to `done` of `total`."""
        self.advance(done / max(total, 1))

    def _said(self, fraction: float, seconds_left: float | None) -> str:
        parts = [f"{100 * fraction:3.0f} %"]
        if (loss := self._shown.get("loss")) is not None:
            parts.append(f"loss {loss:.5f}")
        if (psnr := self._shown.get("psnr")) is not None:
            parts.append(f"{psnr:.2f} dB")
        if seconds_left is None and fraction > 0:
            seconds_left = (time.monotonic() - self._started) * (1 / fraction - 1)
        if seconds_left is not None:
            parts.append(f"{max(seconds_left, 0):.0f} s left")
        return " · ".join(parts)
