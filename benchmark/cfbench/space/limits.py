"""How often a user has been served today: a small table on the disk, right whoever else writes."""

import datetime
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from cfbench.errors import CfbenchError

_KEPT = datetime.timedelta(days=7)
_PATIENCE = 30.0


def today() -> datetime.date:
    """The day in UTC."""
    return datetime.datetime.now(datetime.UTC).date()


class Quota:
    """Counts by user, kind and day; days are those of UTC.

    Args:
        path: The table's file; made where it is not there.
        day: What day it is.
    """

    def __init__(self, path: Path, day: Callable[[], datetime.date] = today) -> None:
        self._path, self._day = path, day
        path.parent.mkdir(parents=True, exist_ok=True)
        with self._table() as table:
            table.execute(
                "CREATE TABLE IF NOT EXISTS used (user TEXT NOT NULL, kind TEXT NOT NULL, "
                "day TEXT NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (user, kind, day))"
            )

    def take(self, user: str, kind: str, most: int) -> datetime.date | None:
        """Count one more, unless there are `most` today already.

        Returns:
            The day that it was counted for; None where there are `most`.
        """
        day = self._day()
        with self._table() as table:
            table.execute("DELETE FROM used WHERE day < ?", ((day - _KEPT).isoformat(),))
            done = table.execute(
                "INSERT INTO used VALUES (?, ?, ?, 1) ON CONFLICT DO UPDATE "
                "SET count = count + 1 WHERE count < ?",
                (user, kind, day.isoformat(), most),
            )
            return day if done.rowcount == 1 else None

    def give_back(self, user: str, kind: str, day: datetime.date) -> None:
        """Count one less on a day."""
        with self._table() as table:
            table.execute(
                "UPDATE used SET count = count - 1 "
                "WHERE user = ? AND kind = ? AND day = ? AND count > 0",
                (user, kind, day.isoformat()),
            )

    def used(self, user: str, kind: str) -> int:
        """How many there are today."""
        with self._table() as table:
            row = table.execute(
                "SELECT count FROM used WHERE user = ? AND kind = ? AND day = ?",
                (user, kind, self._day().isoformat()),
            ).fetchone()
        return int(row[0]) if row else 0

    @contextmanager
    def _table(self) -> Iterator[sqlite3.Connection]:
        # A connection of its own for each use: threads and processes come and go.
        try:
            with closing(
                sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
            ) as table:
                table.execute("BEGIN IMMEDIATE")
                yield table
                table.execute("COMMIT")
        except sqlite3.Error as error:
            raise CfbenchError(
                f"{self._path}: the count of uploads cannot be kept: {error}",
                "the folder for state must be one that can be written to",
            ) from None
