"""Bars on standard error, with how fast and how long; plain lines where it is no terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

_EVERY = 30.0
"""Seconds between two lines in a log file."""


class Bar:
    """A bar that counts one thing after the other."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self.what, self.unit, self.total = "", "", 0
        self.done = self.free = 0
        self.started = self.said = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} {task.fields[unit]}"),
            TextColumn("{task.fields[speed]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._task = self.progress.add_task("", total=0, unit="", speed="", note="", visible=False)

    def begin(self, total: int, what: str, unit: str) -> None:
        """Count anew.

        Args:
            total: Up to what.
            what: What is done: "predicting".
            unit: What is counted: "clips".
        """
        self.what, self.unit, self.total = what, unit, total
        self.done = self.free = 0
        self.started = self.said = time.monotonic()
        self.progress.reset(
            self._task, description=what, total=total, unit=unit, speed="", note="", visible=True
        )

    def advance(self, done: int, free: int = 0, note: str = "") -> None:
        """Count on.

        Args:
            done: How many more are done.
            free: How many of them an earlier call had done, which says nothing of the speed.
            note: Shown behind the bar.
        """
        self.done, self.free = self.done + done, self.free + free
        self.progress.update(
            self._task, total=self.total, advance=done, speed=self.speed, note=note
        )
        now = time.monotonic()
        if self.progress.disable and now - self.said > _EVERY:
            self.said = now
            sys.stderr.write(
                f"{self.what}: {self.done:,} of {self.total:,} {self.unit}, {self.speed}, "
                f"{self._left(now)} left{'; ' + note if note else ''}\n"
            )

    @property
    def speed(self) -> str:
        """Done a second, in words."""
        seconds = time.monotonic() - self.started
        return f"{(self.done - self.free) / max(seconds, 1e-9):,.1f} {self.unit}/s"

    def _left(self, now: float) -> str:
        rate = (self.done - self.free) / max(now - self.started, 1e-9)
        if not rate:
            return "?"
        seconds = int((self.total - self.done) / rate)
        return f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"


@contextmanager
def bar() -> Iterator[Bar]:
    """A bar for as long as the block runs."""
    shown = Bar()
    with shown.progress:
        yield shown
