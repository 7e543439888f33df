"""Progress on standard error: a bar on a terminal, a line every ten seconds elsewhere."""

import sys
import threading
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

    Where standard error is no terminal, a line every ten seconds says how far the phase is, or how long it has taken.
    A thread prints them, also during work that reports no progress for minutes.
    """

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._bar: Bar | None = None
        self._fraction: float | None = None
        self._words = ""
        self._over = threading.Event()
        self._ticker: threading.Thread | None = None

    def note(self, text: str) -> None:
        """Print a note, and keep it for the report."""
        super().note(text)
        self._console.print(text, markup=False, soft_wrap=True)

    def began(self, title: str) -> None:
        """Start the bar, or the thread that prints lines."""
        self._stop()
        self._fraction, self._words, self._over = None, "", threading.Event()
        ticks = self._draw if self._console.is_terminal else self._tell
        self._ticker = threading.Thread(target=ticks, args=(title, self._over), daemon=True)
        self._ticker.start()

    def moved(self, fraction: float, seconds_left: float | None, values: dict[str, float | None]) -> None:
        """Update the bar, or the text of the next line."""
        self._fraction, self._words = fraction, _words(fraction, seconds_left, values)
        if (bar := self._bar) is not None:
            bar.update(bar.task_ids[0], completed=fraction, total=1.0, said=self._words)

    def ended(self, title: str) -> None:
        """Remove the bar, or stop printing lines."""
        self._stop()

    def _stop(self) -> None:
        self._over.set()
        if self._ticker is not None:
            self._ticker.join()
            self._ticker = None

    def _tell(self, title: str, over: threading.Event) -> None:
        started = time.monotonic()
        while not over.wait(LINE_SECONDS):
            said = self._words or f"{time.monotonic() - started:.0f} s"
            print(f"{title}: {said}", file=sys.stderr, flush=True)

    def _draw(self, title: str, over: threading.Event) -> None:
        """Show a bar from `PATIENCE` to the end of the phase; it is indeterminate until a fraction is known."""
        if over.wait(PATIENCE):
            return
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[said]}"))
        with Bar(*columns, console=self._console, transient=True, refresh_per_second=4) as bar:
            known = self._fraction is not None
            bar.add_task(title, total=1.0 if known else None, said=self._words)
            bar.update(bar.task_ids[0], completed=self._fraction or 0.0)
            self._bar = bar
            over.wait()
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
