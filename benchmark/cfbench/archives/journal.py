"""Which members of an archive are unpacked: a line each, in the order of the archive.

The archive is always read from its beginning, for a compressed stream has no other way in. So the
journal is read beside it, line by line, and takes no memory; where it ends, it is continued. A
line is written when its file is in place: what is lost of the last lines when a process is killed
costs a comparison, and never a file.
"""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

_EVERY = 1.0  # seconds


class Line(NamedTuple):
    """A file that is in place.

    Attributes:
        offset: Where its header is in the archive.
        size: Bytes.
        mtime_ns: When it was written, in nanoseconds: who changes it later gives it another time.
        path: Where it is in the folder.
    """

    offset: int
    size: int
    mtime_ns: int
    path: str


class Journal:
    """A journal that is read and continued."""

    def __init__(self, path: Path, key: str) -> None:
        """Open a journal, or begin one.

        Args:
            path: Its file.
            key: Of which archive it is; one of another archive is begun anew.
        """
        path.touch()
        self._file: BinaryIO = path.open("r+b")
        self._end = 0  # of what was read and holds
        self._waiting: Line | None = None
        self._size = 0  # of the line that is waiting
        self._flushed = time.monotonic()
        if _head(self._file.readline()) == key:
            self._end = self._file.tell()
            self._read()
        else:
            self._cut()
            self._file.write(_written([key]))
            self._end = self._file.tell()

    def expects(self, offset: int, size: int, path: str) -> Line | None:
        """The line of a member, if an earlier call has written one."""
        line = self._waiting
        if line is None:
            return None
        if line[:2] == (offset, size) and line.path == path:
            self._end += self._size
            self._read()
            return line
        self._waiting = None
        self._cut()
        return None

    def add(self, line: Line) -> None:
        """Continue with a file that is in place."""
        if self._waiting is not None:
            raise ValueError("there are lines that were not read")
        if self._file.tell() != self._end:
            self._cut()
        self._end += self._file.write(_written(line))
        now = time.monotonic()
        if now - self._flushed > _EVERY:
            self._file.flush()
            self._flushed = now

    def finish(self, files: int) -> None:
        """Say that all files are in place."""
        self._cut()
        self._file.write(_written(["complete", files]))
        self._file.flush()

    def close(self) -> None:
        """Close it; it can be continued."""
        self._file.close()

    def _read(self) -> None:
        text = self._file.readline()
        self._waiting, self._size = _line(text), len(text)

    def _cut(self) -> None:
        self._file.seek(self._end)
        self._file.truncate()


def lines_of(path: Path, key: str) -> Iterator[Line | None]:
    """The lines of a journal of this archive; the last is None if it is complete."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        if _head(file.readline()) != key:
            return
        for count, text in enumerate(file):
            line = _line(text)
            if line is None:
                if text == _written(["complete", count]):
                    yield None
                return
            yield line


def _written(said: object) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _parsed(text: bytes) -> list[Any]:
    # The last line may be half of one.
    try:
        said = json.loads(text) if text.endswith(b"\n") else None
    except ValueError:
        return []
    return said if isinstance(said, list) else []


def _head(text: bytes) -> object:
    said = _parsed(text)
    return said[0] if len(said) == 1 else None


def _line(text: bytes) -> Line | None:
    said = _parsed(text)
    if [type(one) for one in said] != [int, int, int, str]:
        return None
    return Line(*said)
