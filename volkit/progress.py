"""Progress of long work; nothing here prints."""

import time
from types import TracebackType
from typing import Self

__all__ = ["Progress"]


class Progress:
    """Phases of work, fractions, values and notes; silent, but keeps notes and seconds for the report.

    A subclass that displays them overrides `note`, `began`, `moved` and `ended`.

    Attributes:
        notes: what a user should know, in order.
        seconds: of each phase that has ended, by title.

    Example:
        >>> progress = Progress()
        >>> with progress.phase("read"):
        ...     progress.counted(1, 2)
        >>> list(progress.seconds)
        ['read']
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.seconds: dict[str, float] = {}
        self._values: dict[str, float | None] = {}
        self._title, self._started = "", 0.0

    def note(self, text: str) -> None:
        """Record a note for the user."""
        self.notes.append(text)

    def phase(self, title: str) -> Self:
        """Begin a phase: `with progress.phase("fit"): ... progress.advance(...)`."""
        self._title, self._started, self._values = title, time.monotonic(), {}
        self.began(title)
        return self

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.seconds[self._title] = round(time.monotonic() - self._started, 2)
        self.ended(self._title)

    def values(self, **values: float | None) -> None:
        """Set values that are shown with the fraction, such as `psnr`."""
        self._values.update(values)

    def advance(self, fraction: float, *, seconds_left: float | None = None, **values: float) -> None:
        """Report the fraction of the phase that is done, and values."""
        self._values.update(values)
        if seconds_left is None and fraction > 0:
            seconds_left = (time.monotonic() - self._started) * (1 / fraction - 1)
        self.moved(fraction, seconds_left, self._values)

    def counted(self, done: int, total: int) -> None:
        """Report that `done` of `total` items are done."""
        self.advance(done / max(total, 1))

    def began(self, title: str) -> None:
        """A phase has begun."""

    def moved(self, fraction: float, seconds_left: float | None, values: dict[str, float | None]) -> None:
        """A fraction of the phase is done."""

    def ended(self, title: str) -> None:
        """A phase has ended, by an error or not."""
