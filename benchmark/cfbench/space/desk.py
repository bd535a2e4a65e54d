"""Who is served when: a few at once, the others in the order in which they came."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cfbench.errors import CfbenchError, plural

Told = Callable[[int], None]
"""Is told a place in the queue, from 1 on, whenever it changes; 0 when the turn has come."""


class Busy(CfbenchError):
    """The queue has no room now."""


class Desk:
    """A queue before a few counters.

    Args:
        at_once: How many are served at once.
        waiting: How many may wait.
        per_user: How many of all these may be one user's; None for any number.
    """

    def __init__(self, at_once: int, waiting: int, per_user: int | None = None) -> None:
        self._at_once, self._waiting, self._per_user = at_once, waiting, per_user
        self._changed = threading.Condition()
        self._queue: list[tuple[object, str]] = []
        self._served: list[tuple[object, str]] = []

    @contextmanager
    def turn(self, user: str, told: Told | None = None, bounded: bool = True) -> Iterator[None]:
        """Wait for a turn; the counter is free again at the end of the block.

        Args:
            user: Who.
            told: Is told the place.
            bounded: Whether a full queue refuses.

        Raises:
            Busy: The queue is full, or this user has too many in it.
        """
        me = (object(), user)
        with self._changed:
            if bounded:
                self._check(user)
            self._queue.append(me)
        try:
            self._wait(me, told)
            yield
        finally:
            with self._changed:
                for line in (self._queue, self._served):
                    if me in line:
                        line.remove(me)
                self._changed.notify_all()

    def _check(self, user: str) -> None:
        free = self._at_once - len(self._served) - len(self._queue)
        if free <= 0 and len(self._queue) >= self._waiting:
            raise Busy(
                f"{plural(len(self._queue), 'upload is|uploads are')} waiting already",
                "try again in some minutes",
            )
        own = sum(name == user for _, name in (*self._queue, *self._served))
        if self._per_user is not None and own >= self._per_user:
            raise Busy(
                f"{plural(own, 'upload of yours is|uploads of yours are')} being scored already",
                "wait until one is done",
            )

    def _wait(self, me: tuple[object, str], told: Told | None) -> None:
        last = None
        while True:
            with self._changed:
                while (place := self._place(me)) == last:
                    self._changed.wait()
                if place == 0:
                    self._queue.remove(me)
                    self._served.append(me)
                    self._changed.notify_all()
            # Outside of the lock: what is called may take its time.
            if told is not None:
                told(place)
            if place == 0:
                return
            last = place

    def _place(self, me: tuple[object, str]) -> int:
        return max(0, self._queue.index(me) + 1 - (self._at_once - len(self._served)))
