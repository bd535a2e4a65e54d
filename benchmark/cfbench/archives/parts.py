"""Files that are read one after the other, as if they were one: no joined copy is made."""

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from cfbench.errors import CfbenchError, Problem


class Parts:
    """Files as one.

    Attributes:
        paths: The files, in order.
        sizes: How many bytes each has.
        read_so_far: How many bytes of all were read.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Look at the files.

        Args:
            paths: At least one, in order.

        Raises:
            CfbenchError: Some are not there, or are no files; names each.
        """
        problems = [
            Problem(f"{path}: {'not a file' if path.exists() else 'no such file'}")
            for path in paths
            if not path.is_file()
        ]
        if problems:
            raise CfbenchError.of(problems)
        self.paths = tuple(paths)
        self.sizes = tuple(path.stat().st_size for path in paths)
        self.read_so_far = 0
        self._number = 0
        self._file: BinaryIO | None = None

    @property
    def total(self) -> int:
        """How many bytes there are in all."""
        return sum(self.sizes)

    @property
    def where(self) -> str:
        """The file that was read last, and how far; decoders read ahead, so it is not exact."""
        path = self.paths[min(self._number, len(self.paths) - 1)]
        return f"{path.name}, before byte {self.read_so_far - sum(self.sizes[: self._number]):,}"

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`; none at the end."""
        while True:
            if self._file is None:
                self._file = self.paths[self._number].open("rb")
            if data := self._file.read(size):
                self.read_so_far += len(data)
                return data
            if self._number == len(self.paths) - 1:
                return b""
            self.close()
            self._number += 1

    def close(self) -> None:
        """Close the file that is open."""
        if self._file is not None:
            self._file.close()
            self._file = None
