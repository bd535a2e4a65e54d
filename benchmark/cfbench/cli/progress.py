"""Bars on standard error, with how fast and how long; plain lines where it is no terminal."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from cfbench.environment import is_main_process

_EVERY = 30.0
"""Seconds between two lines in a log file."""


class Bar:
    """A bar that counts one thing after the other; of several processes the first one shows it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.what, self.unit, self.total = "", "", 0
        self.done = self.free = 0
        self.started = self.said = time.monotonic()
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            console=Console(stderr=True),
            transient=True,
            disable=not (sys.stderr.isatty() and is_main_process()),
        )
        self._task = self.progress.add_task("", total=None, said="", visible=False)

    def begin(self, total: int, what: str, unit: str) -> None:
        """Count anew.

        Args:
            total: Up to what; 0 where that is not known yet.
            what: What is done: "predicting".
            unit: What is counted: "clips".
        """
        self.what, self.unit, self.total = what, unit, total
        self.done = self.free = 0
        self.started = self.said = time.monotonic()
        self.progress.reset(
            self._task, description=what, total=total or None, said="", visible=True
        )

    def advance(self, done: int, free: int = 0, note: str = "") -> None:
        """Count on.

        Args:
            done: How many more are done.
            free: How many of them an earlier call had done, which says nothing of the speed.
            note: Shown behind the bar.
        """
        self.done, self.free = self.done + done, self.free + free
        now = time.monotonic()
        said = f"{self._say(now)}{'; ' + note if note else ''}"
        self.progress.update(self._task, advance=done, said=said)
        if self.progress.disable and is_main_process() and now - self.said > _EVERY:
            self.said = now
            sys.stderr.write(f"{self.what}: {said}\n")

    def _say(self, now: float) -> str:
        rate = (self.done - self.free) / max(now - self.started, 1e-9)
        said = f"{self.done:,} of {self.total:,} {self.unit}"
        if not rate:
            return said
        seconds = int((self.total - self.done) / rate)
        left = f"{seconds // 3600}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        return f"{said}, {rate:,.1f} {self.unit}/s, {left} left"


@contextmanager
def bar() -> Iterator[Bar]:
    """A bar for as long as the block runs."""
    shown = Bar()
    with shown.progress:
        yield shown
