"""Progress on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bar

from volkit.progress import Progress

__all__ = ["ConsoleProgress"]

PATIENCE = 2.0  # seconds before a bar appears
LINE_SECONDS = 10.0  # between plain lines, where standard error is no terminal


class ConsoleProgress(Progress):
    """A bar for one phase of work, with loss, dB and the time left; notes are printed at once.

    Where standard error is no terminal, a phase says how far it is every ten seconds.
    """

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._bar: Bar | None = None
        self._said_at = 0.0

    def note(self, text: str) -> None:
        """Print it, and keep it for the report."""
        super().note(text)
        self._console.print(text, markup=False, soft_wrap=True)

    def began(self, title: str) -> None:
        """Start the clock of bars and lines."""
        self._said_at = time.monotonic()

    def moved(self, fraction: float, seconds_left: float | None, values: dict[str, float | None]) -> None:
        """Move the bar to a fraction of the whole, or print a line if it is time for one."""
        if not self._console.is_terminal:
            if time.monotonic() - self._said_at >= LINE_SECONDS:
                self._said_at = time.monotonic()
                print(f"{self._title}: {_words(fraction, seconds_left, values)}", file=sys.stderr, flush=True)
            return
        if self._bar is None:
            if time.monotonic() - self._started < PATIENCE:
                return
            columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
            self._bar = Bar(*columns, console=self._console, transient=True, refresh_per_second=4)
            self._bar.add_task(self._title, total=1.0, said="")
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=fraction, said=_words(fraction, seconds_left, values))

    def ended(self, title: str) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _words(fraction: float, seconds_left: float | None, values: dict[str, float | None]) -> str:
    parts = [f"{100 * fraction:3.0f} %"]
    if (loss := values.get("loss")) is not None:
        parts.append(f"loss {loss:.5f}")
    if (psnr := values.get("psnr")) is not None:
        parts.append(f"{psnr:.2f} dB")
    if seconds_left is not None:
        parts.append(f"{max(seconds_left, 0):.0f} s left")
    return " · ".join(parts)
