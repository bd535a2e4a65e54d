"""Text files, plain or .gz: which line is which row, and which line is broken."""

import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from cfbench.errors import CfbenchError, plural

UNREADABLE = (OSError, EOFError, zlib.error, UnicodeDecodeError)
"""What reading a damaged file raises."""


def open_text(path: Path) -> io.TextIOBase:
    """A text file, plain or .gz, decoded as UTF-8 (a byte-order mark is skipped)."""
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def find_undecodable_line(path: Path) -> int | None:
    """The number of the first line that is not UTF-8; None if there is none or it is damaged."""
    with (
        suppress(*UNREADABLE),
        gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file,
    ):
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def lines_of_rows(path: Path, separator: str | None, rows: Sequence[int]) -> dict[int, int]:
    """The lines of some rows, as far as they can be told.

    Args:
        path: The file.
        separator: Of its columns, the first line being a header; None for JSON Lines.
        rows: Row indices.
    """
    found: dict[int, int] = {}
    if path.suffix == ".zst" or path.is_dir():
        return found
    wanted = set(rows)
    with suppress(*UNREADABLE), open_text(path) as file:
        for row, line in enumerate(_row_lines(file, separator)):
            if row in wanted:
                found[row] = line
                if len(found) == len(wanted):
                    break
    return found


def explain(path: Path, separator: str | None, error: BaseException) -> CfbenchError:
    """The error that tells why a text file cannot be read, and where.

    Args:
        path: The file.
        separator: Of its columns, the first line being a header; None for JSON Lines.
        error: What its reader raised.
    """
    told = first_line(error)
    cut_off = ("unexpected end of file", "end-of-stream marker", "incomplete frame")
    if any(words in told.lower() for words in cut_off):
        return CfbenchError(
            f"{path}: the compressed file ends too early", "is it cut off? copy it again"
        )
    undecodable = None if path.suffix == ".zst" else find_undecodable_line(path)
    if undecodable or "utf-8" in told.lower():
        at = f", line {undecodable}" if undecodable else ""
        return CfbenchError(f"{path}{at}: not UTF-8 text", "save the file as UTF-8")
    if separator and path.suffix != ".zst":
        with suppress(*UNREADABLE):
            broken = _broken_line(path, separator)
            if broken:
                return broken
    if "empty" in told.lower():
        return CfbenchError(f"{path}: the file is empty", "cfbench template writes one to fill in")
    return CfbenchError(f"{path}: cannot be read ({told})", "is it damaged, or of another format?")


def first_line(error: BaseException) -> str:
    """The first line of what an exception says."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _row_lines(file: io.TextIOBase, separator: str | None) -> Iterator[int]:
    if separator is None:
        yield from (number for number, line in enumerate(file, start=1) if line.strip())
        return
    reader = csv.reader(file, delimiter=separator)
    next(reader, None)
    with suppress(csv.Error):
        for fields in reader:
            if any(fields):
                yield reader.line_num


def _broken_line(path: Path, separator: str) -> CfbenchError | None:
    with open_text(path) as file:
        reader = csv.reader(file, delimiter=separator, strict=True)
        try:
            header = next(reader, None)
            for fields in reader:
                if header and len(fields) > len(header):
                    return CfbenchError(
                        f"{path}, line {reader.line_num}: {plural(len(fields), 'field')}, but the "
                        f"header has {len(header)}",
                        "a value with a separator in it must stand in double quotes",
                    )
        except csv.Error as error:
            return CfbenchError(
                f"{path}, line {reader.line_num}: {error}", "a quotation mark is left open"
            )
    return None
