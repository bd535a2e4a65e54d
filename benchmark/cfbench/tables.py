"""Reads a table of the user's (CSV, TSV, Parquet, JSON Lines) and says exactly what is wrong.

A file that cannot be read as a table at all is an error. Cells that should hold a number and do
not are collected as problems, so that one run reports them all.
"""

import csv
import gzip
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cfbench.errors import CfbenchError, Problem, did_you_mean, name_some, plural

FORMATS = ("csv", "tsv", "parquet", "jsonl")

_SUFFIXES = {".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".jsonl": "jsonl"}
_COMPRESSED = (".gz", ".zst")
_SEPARATORS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True, eq=False)
class Table:
    """The rows of one file.

    Attributes:
        frame: Columns asked for as numbers are Float64 (null where a cell holds none), columns
            of text files String, others as stored.
        path: The file, or None for a frame that came from memory.
        format: One of `FORMATS`, or "frame".
        problems: Cells that should hold a number and do not.
    """

    frame: pl.DataFrame
    path: Path | None
    format: str
    problems: tuple[Problem, ...] = field(default=())

    @property
    def name(self) -> str:
        """How messages call the table."""
        return str(self.path) if self.path else "the frame"

    def where(self, rows: Sequence[int]) -> list[str]:
        """Where rows stand in the file: `line 12` of a text file, else `row 11`.

        Args:
            rows: Row indices, at most a handful: a text file is read again for their lines.
        """
        lines = _lines_of_rows(self.path, self.format, rows) if self.path else {}
        return [f"line {lines[row]}" if row in lines else f"row {row + 1}" for row in rows]


def read_table(path: Path, is_number: Callable[[str], bool], format: str = "auto") -> Table:
    """Read a table.

    Args:
        path: A file; text formats may be compressed (.gz, .zst).
        is_number: Whether the column of this name holds numbers.
        format: One of `FORMATS`, or "auto": by the file's suffix.

    Returns:
        The table; problems with its numbers are in `Table.problems`.

    Raises:
        CfbenchError: The file is not a readable table.
    """
    format = _format_of(path, format)
    start = _first_bytes(path)
    try:
        if format == "parquet":
            if start[:4] != b"PAR1":
                raise CfbenchError(f"{path}: not a Parquet file", "convert it, or give --format")
            return _with_numbers(pl.read_parquet(path, glob=False), path, format, is_number)
        _refuse_non_text(path, start)
        if format == "jsonl":
            return _with_numbers(_read_jsonl(path), path, format, is_number)
        return _read_delimited(path, format, is_number)
    except (pl.exceptions.PolarsError, OSError, EOFError, UnicodeDecodeError) as error:
        raise CfbenchError(*_explain(path, format, error)) from None


def frame_table(frame: pl.DataFrame, is_number: Callable[[str], bool]) -> Table:
    """A frame from memory as a table, its numbers checked as those of a file are."""
    return _with_numbers(frame, None, "frame", is_number)


def column_bytes(column: pl.Series) -> memoryview:
    """A text column's values in UTF-8, each followed by a line feed; null is empty."""
    buffer = io.BytesIO()
    column.to_frame().write_csv(buffer, include_header=False, quote_style="never")
    return buffer.getbuffer()


def missing_file(path: Path) -> CfbenchError:
    """The error for a path that is not there, naming its nearest neighbour."""
    folder = path.parent
    if not folder.is_dir():
        return CfbenchError(f"{path}: no such file; the folder {folder} is not there either")
    siblings = [item.name for item in folder.iterdir()]
    return CfbenchError(f"{path}: no such file{did_you_mean(path.name, siblings)}")


def open_text(path: Path) -> io.TextIOBase:
    """A text file, plain or .gz, decoded as UTF-8 (a byte-order mark is skipped)."""
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(path), encoding="utf-8-sig")
    return path.open(encoding="utf-8-sig")


def find_undecodable_line(path: Path) -> int | None:
    """The number of the first line that is not UTF-8, or None."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return None


def _format_of(path: Path, format: str) -> str:
    if path.is_dir():
        raise CfbenchError(
            f"{path}: a folder, not a file",
            "a folder of the authors' score files is read with --format authors",
        )
    if not path.exists():
        raise missing_file(path)
    if format == "auto":
        return table_format(path)
    if format not in FORMATS:
        known = ("auto", "authors", *FORMATS)
        raise CfbenchError(
            f"there is no format '{format}'{did_you_mean(format, known)}",
            f"known formats: {', '.join(known)}",
        )
    return format


def table_format(path: Path) -> str:
    """The format that a file's name says, compressed or not.

    Raises:
        CfbenchError: The name does not say.
    """
    suffixes = [suffix.casefold() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSED:
        suffixes.pop()
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    raise CfbenchError(
        f"{path}: its name does not say what it is",
        "name it .csv, .tsv, .jsonl (to be read, each also .gz or .zst) or .parquet",
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(65536)
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be opened: {error.strerror}") from None
    if not start:
        raise CfbenchError(f"{path}: the file is empty", "cfbench template writes one to fill in")
    return start


def _refuse_non_text(path: Path, start: bytes) -> None:
    if start[:4] == b"PAR1":
        raise CfbenchError(f"{path}: a Parquet file by its content", "give --format parquet")
    compressed = start[:2] == b"\x1f\x8b" or start[:4] == b"\x28\xb5\x2f\xfd"
    if compressed:
        if path.suffix not in _COMPRESSED:
            raise CfbenchError(
                f"{path}: compressed, but its name does not say so", "add .gz or .zst"
            )
        return
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise CfbenchError(f"{path}: text in UTF-16", "save it as UTF-8")
    if b"\0" in start:
        raise CfbenchError(f"{path}: a binary file, not a table of text")


def _read_delimited(path: Path, format: str, is_number: Callable[[str], bool]) -> Table:
    separator = _SEPARATORS[format]
    first = pl.read_csv(
        path, has_header=False, n_rows=1, infer_schema=False, separator=separator, glob=False
    )
    names = [(name or "").strip().removeprefix("\ufeff") for name in first.row(0)]
    if len(names) == 1:
        for other, told in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
            if other != separator and other in names[0]:
                raise CfbenchError(
                    f"{path}: its columns are separated by {told}",
                    "write CSV with commas" if other == ";" else "give --format tsv or csv",
                )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CfbenchError(f"{path}: the header names {name_some(repeated)} more than once")
    text = {name: pl.String() for name in names}
    schema = {name: pl.Float64() if is_number(name) else text[name] for name in names}
    try:
        frame = pl.read_csv(path, separator=separator, schema=schema, glob=False)
    except pl.exceptions.ComputeError:
        # A cell is no number, or the file is broken. As text it can be said which.
        frame = pl.read_csv(path, separator=separator, schema=text, glob=False)
    # A line without any value is no row.
    frame = frame.filter(~pl.all_horizontal(pl.all().is_null()))
    return _with_numbers(frame, path, format, is_number)


def _read_jsonl(path: Path) -> pl.DataFrame:
    try:
        return pl.read_ndjson(path, infer_schema_length=None)
    except pl.exceptions.PolarsError:
        if path.suffix == ".zst":
            raise
        # Python reads more than the fast parser (NaN, for one) and knows the line of the rest.
        return pl.DataFrame(
            [record for _, record in _json_lines(path)], infer_schema_length=None, strict=False
        )


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except ValueError:
                last = not line.endswith("\n")
                raise CfbenchError(
                    f"{path}, line {number}: not JSON",
                    "the file ends in the middle of a line: is it cut off?" if last else "",
                ) from None
            if not isinstance(record, dict):
                raise CfbenchError(f"{path}, line {number}: not a JSON object")
            yield number, record


def _with_numbers(
    frame: pl.DataFrame, path: Path | None, format: str, is_number: Callable[[str], bool]
) -> Table:
    found = Table(frame, path, format)
    if frame.height == 0:
        raise CfbenchError(f"{found.name}: there are no rows")
    problems: list[Problem] = []
    columns: list[pl.Series] = []
    for column in frame.iter_columns():
        if column.dtype.is_nested():
            raise CfbenchError(f"{found.name}: column {column.name} holds lists, not plain values")
        if not is_number(column.name):
            columns.append(column)
            continue
        texts = column.dtype == pl.String
        numbers = (column.str.strip_chars() if texts else column).cast(pl.Float64, strict=False)
        empty = column.is_null() | (column.str.strip_chars() == "") if texts else column.is_null()
        for bad, told in ((empty, "empty"), (numbers.is_null() & ~empty, "not a number")):
            rows = bad.arg_true()
            if len(rows):
                problems.append(_bad_cells(found, column, rows, told))
        columns.append(numbers)
    return Table(pl.DataFrame(columns), path, format, tuple(problems))


def _bad_cells(table: Table, column: pl.Series, rows: pl.Series, told: str) -> Problem:
    some = rows.head(5).to_list()
    places = [
        place if told == "empty" else f"{place} ({column[row]})"
        for row, place in zip(some, table.where(some), strict=True)
    ]
    hint = ""
    if told == "empty" and rows.to_list() == [table.frame.height - 1]:
        hint = "it is the last row: is the file cut off?"
    return Problem(
        f"{table.name}: {plural(len(rows), 'value')} of {column.name} "
        f"{'is' if len(rows) == 1 else 'are'} {told}: {name_some(places, len(rows))}",
        hint,
    )


def _lines_of_rows(path: Path, format: str, rows: Sequence[int]) -> dict[int, int]:
    if format not in ("jsonl", *_SEPARATORS) or path.suffix == ".zst":
        return {}
    wanted = set(rows)
    found: dict[int, int] = {}
    with open_text(path) as file:
        for row, line in enumerate(_row_lines(file, format)):
            if row in wanted:
                found[row] = line
                if len(found) == len(wanted):
                    break
    return found


def _row_lines(file: io.TextIOBase, format: str) -> Iterator[int]:
    if format == "jsonl":
        yield from (number for number, line in enumerate(file, start=1) if line.strip())
        return
    reader = csv.reader(file, delimiter=_SEPARATORS[format])
    next(reader, None)
    try:
        for fields in reader:
            if any(fields):
                yield reader.line_num
    except csv.Error:
        return


def _explain(path: Path, format: str, error: Exception) -> tuple[str, str]:
    told = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if "unexpected end of file" in told or "incomplete frame" in told.lower():
        return f"{path}: the compressed file ends too early", "it is cut off: copy it again"
    if isinstance(error, UnicodeDecodeError) or "utf-8" in told.lower():
        line = None if path.suffix == ".zst" else find_undecodable_line(path)
        at = f", line {line}" if line else ""
        return f"{path}{at}: not UTF-8 text", "save the file as UTF-8"
    if format in _SEPARATORS and path.suffix != ".zst":
        broken = _broken_line(path, format)
        if broken:
            return broken
    if format == "parquet":
        return f"{path}: a damaged Parquet file ({told})", "is it cut off? copy or write it again"
    return f"{path}: cannot be read as {format} ({told})", ""


def _broken_line(path: Path, format: str) -> tuple[str, str] | None:
    with open_text(path) as file:
        reader = csv.reader(file, delimiter=_SEPARATORS[format], strict=True)
        try:
            width = len(next(reader))
            for fields in reader:
                if len(fields) > width:
                    return (
                        f"{path}, line {reader.line_num}: {plural(len(fields), 'field')}, but the "
                        f"header has {width}",
                        "a value with a separator in it must stand in double quotes",
                    )
        except csv.Error as error:
            return f"{path}, line {reader.line_num}: {error}", "a quotation mark is left open"
    return None
