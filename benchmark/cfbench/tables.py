"""Reads a table of the user's (CSV, TSV, Parquet, JSON Lines) and says exactly what is wrong.

A file that cannot be read as a table at all is an error. Cells that should hold a number and do
not are collected as problems, so that one run reports them all.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from cfbench.errors import CfbenchError, Problem, clip, did_you_mean, name_some, plural
from cfbench.text_files import UNREADABLE, explain, first_line, lines_of_rows, open_text

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
        lines = {}
        if self.path and self.format != "parquet":
            lines = lines_of_rows(self.path, _SEPARATORS.get(self.format), rows)
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
    except (*UNREADABLE, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        if format == "parquet":
            raise CfbenchError(
                f"{path}: a damaged Parquet file ({first_line(error)})",
                "is it cut off? copy or write it again",
            ) from None
        raise explain(path, _SEPARATORS.get(format), error) from None


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
        hint = f"the folder {folder} is not there either: check the path"
        return CfbenchError(f"{path}: no such file", hint)
    siblings = [item.name for item in folder.iterdir() if item.name != path.name]
    near = did_you_mean(path.name, siblings)
    return CfbenchError(f"{path}: no such file{near}", f"the folder {folder} is there")


def _format_of(path: Path, format: str) -> str:
    if path.is_dir():
        raise CfbenchError(
            f"{path}: a folder, not a file",
            "a folder of the authors' score files is read with --format authors",
        )
    if not path.exists():
        raise missing_file(path)
    if not path.is_file():
        raise CfbenchError(f"{path}: a pipe or a device", "save it to a file first")
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


def write_table(frame: pl.DataFrame, path: Path, format: str) -> None:
    """Write a frame.

    Args:
        frame: What to write.
        path: Where; its name does not matter.
        format: One of `FORMATS`.
    """
    if format == "parquet":
        frame.write_parquet(path)
    elif format == "jsonl":
        frame.write_ndjson(path)
    else:
        frame.write_csv(path, separator="\t" if format == "tsv" else ",")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(65536)
    except OSError as error:
        hint = "check its permissions"
        raise CfbenchError(f"{path}: cannot be opened: {error.strerror}", hint) from None
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
        hint = "give a table as CSV, TSV, JSON Lines or Parquet, in UTF-8"
        raise CfbenchError(f"{path}: a binary file, not a table of text", hint)


def _read_delimited(path: Path, format: str, is_number: Callable[[str], bool]) -> Table:
    separator = _SEPARATORS[format]
    first = pl.read_csv(
        path, has_header=False, n_rows=1, infer_schema=False, separator=separator, glob=False
    )
    names = [(name or "").strip().removeprefix("\ufeff") for name in first.row(0)]
    if not any(names):
        raise CfbenchError(f"{path}: the first line is empty", "a header names the columns there")
    if len(names) == 1:
        for other, told in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
            if other != separator and other in names[0]:
                raise CfbenchError(
                    f"{path}: its columns are separated by {told}",
                    "write CSV with commas" if other == ";" else "give --format tsv or csv",
                )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise CfbenchError(
            f"{path}: the header names {name_some(repeated)} more than once",
            "a column stands there once: rename or remove the other",
        )
    text = dict.fromkeys(names, pl.String())
    schema = {name: pl.Float64() if is_number(name) else text[name] for name in names}

    def read(schema: Mapping[str, pl.DataType]) -> pl.DataFrame:
        return pl.read_csv(
            path,
            separator=separator,
            has_header=False,
            skip_rows=1,
            schema=schema,
            missing_columns="insert",
            glob=False,
        )

    try:
        frame = read(schema)
    except pl.exceptions.NoDataError:
        frame = pl.DataFrame(schema=text)
    except pl.exceptions.ComputeError:
        # A cell is no number, or the file is broken. As text it can be said which.
        frame = read(text)
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
        records = [record for _, record in _json_lines(path)]
        try:
            return pl.DataFrame(records, infer_schema_length=None, strict=False)
        except UnicodeEncodeError:
            hint = "half of a surrogate pair stands alone in an escaped string"
            raise CfbenchError(f"{path}: not text that UTF-8 can hold", hint) from None


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    with open_text(path) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                hint = "JSON Lines has one JSON object a line, an utterance each"
                if not line.endswith("\n"):
                    hint = "the file ends in the middle of a line: is it cut off?"
                raise CfbenchError(f"{path}, line {number}: not JSON", hint) from None
            if not isinstance(record, dict):
                raise CfbenchError(
                    f"{path}, line {number}: not a JSON object",
                    'write an object a line: {"utt_id": "p227_260_bigcodec", "vq": "svq"}',
                )
            yield number, record


def _with_numbers(
    frame: pl.DataFrame, path: Path | None, format: str, is_number: Callable[[str], bool]
) -> Table:
    found = Table(frame, path, format)
    if frame.height == 0:
        hint = "an utterance is a row; cfbench template writes a file to fill in"
        raise CfbenchError(f"{found.name}: there are no rows", hint)
    problems: list[Problem] = []
    columns: list[pl.Series] = []
    for column in frame.iter_columns():
        if not _is_plain(column.dtype):
            raise CfbenchError(
                f"{found.name}: column {clip(column.name)} holds {column.dtype}, not plain text "
                "or numbers",
                "write ids and classes as text, probabilities as numbers",
            )
        if isinstance(column.dtype, pl.Categorical | pl.Enum):
            column = column.cast(pl.String)
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
    # One chunk a column: numpy then sees the values where they are, without a copy.
    return Table(pl.DataFrame(columns).rechunk(), path, format, tuple(problems))


def _is_plain(dtype: pl.DataType) -> bool:
    return dtype.is_numeric() or isinstance(
        dtype, pl.String | pl.Boolean | pl.Null | pl.Categorical | pl.Enum
    )


def _bad_cells(table: Table, column: pl.Series, rows: pl.Series, told: str) -> Problem:
    some = rows.head(5).to_list()
    places = [
        place if told == "empty" else f"{place} ({clip(str(column[row]))})"
        for row, place in zip(some, table.where(some), strict=True)
    ]
    hint = "every utterance needs a number"
    if told == "empty" and rows.to_list() == [table.frame.height - 1]:
        hint = "it is the last row: is the file cut off?"
    return Problem(
        f"{table.name}: {plural(len(rows), 'value')} of {column.name} "
        f"{'is' if len(rows) == 1 else 'are'} {told}: {name_some(places, len(rows))}",
        hint,
    )
