"""Tables of the user's, in every format, and where their rows stand."""

import gzip
from pathlib import Path

import polars as pl
import pytest

import samples
from cfbench.errors import CfbenchError
from cfbench.tables import FORMATS, Table, frame_table, read_table, table_format

NUMBERS = pl.DataFrame({"utt_id": ["a", "b", "c"], "x": [0.25, 1.0, -3.5], "word": ["p", "q", "r"]})
SUFFIXES = ("csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz", "csv.zst", "tsv.zst")
SUFFIXES = (*SUFFIXES, "jsonl.zst", "parquet")


def is_x(name: str) -> bool:
    return name == "x"


def read(folder: Path, text: str | bytes, name: str = "t.csv", format: str = "auto") -> Table:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, is_x, format)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_frame(tmp_path: Path, suffix: str) -> None:
    table = read_table(samples.write_frame(NUMBERS, tmp_path / f"t.{suffix}"), is_x)
    assert table.frame.equals(NUMBERS)
    assert table.format == suffix.partition(".")[0]
    assert table.problems == ()


@pytest.mark.parametrize("format", FORMATS)
def test_a_format_may_be_named_where_the_file_does_not(tmp_path: Path, format: str) -> None:
    path = samples.write_frame(NUMBERS, tmp_path / f"t.{format}").rename(tmp_path / "t.dat")
    assert read_table(path, is_x, format).frame.equals(NUMBERS)


@pytest.mark.parametrize(
    ("name", "format"),
    [
        ("a.csv", "csv"),
        ("a.CSV", "csv"),
        ("a.b.tsv", "tsv"),
        ("a.jsonl.GZ", "jsonl"),
        ("a.csv.zst", "csv"),
        ("a.Parquet", "parquet"),
    ],
)
def test_the_suffix_decides_the_format(name: str, format: str) -> None:
    assert table_format(Path(name)) == format


@pytest.mark.parametrize("name", ["a", "a.txt", "a.gz", "a.csv.bz2", "csv", ".csv"])
def test_a_name_that_does_not_say_is_refused(name: str) -> None:
    with pytest.raises(CfbenchError, match="does not say"):
        table_format(Path(name))


TEXT = "utt_id,x,word\na,0.25,p\nb,1,q\nc,-3.5,r\n"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        TEXT.rstrip("\n"),
        TEXT.replace("\n", "\r\n"),
        "\ufeff" + TEXT,
        "\ufeff" + TEXT.replace("\n", "\r\n"),
        TEXT.replace("utt_id,x,word", '"utt_id","x","word"'),
        "\ufeff" + TEXT.replace("utt_id,x,word", '"utt_id","x","word"'),
        TEXT.replace("utt_id,x,word", "utt_id, x ,word"),
        TEXT.replace("0.25", '"0.25"'),
        TEXT.replace("0.25", " 0.25 "),
        TEXT.replace("0.25", "2.5e-1"),
        TEXT.replace("0.25", "+.25"),
        TEXT.replace("\n", "\n\n"),
        TEXT + "\n\n",
        "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in TEXT.splitlines()),
    ],
    ids=[
        "plain",
        "no newline at the end",
        "CRLF",
        "byte-order mark",
        "byte-order mark and CRLF",
        "quoted header",
        "byte-order mark and quoted header",
        "spaces in the header",
        "a quoted number",
        "spaces around a number",
        "an exponent",
        "no digit before the point",
        "blank lines",
        "blank lines at the end",
        "all quoted",
    ],
)
@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_csv_as_programs_write_it_is_read(tmp_path: Path, text: str, name: str) -> None:
    data = gzip.compress(text.encode()) if name.endswith("gz") else text.encode()
    assert read(tmp_path, data, name).frame.equals(NUMBERS)


def test_separators_and_quotes_in_quoted_cells_are_kept(tmp_path: Path) -> None:
    table = read(tmp_path, 'utt_id,word\n"a,b","say ""x"""\n')
    assert table.frame.rows() == [("a,b", 'say "x"')]


def test_a_file_whose_name_looks_like_a_pattern_is_one_file(tmp_path: Path) -> None:
    for name in ("t[1].csv", "t*.csv", "t?.csv"):
        assert read(tmp_path, TEXT, name).frame.height == 3


def test_ids_that_look_like_numbers_stay_as_they_are(tmp_path: Path) -> None:
    table = read(tmp_path, "utt_id,x\n007,1\n1e5,1\n")
    assert table.frame["utt_id"].to_list() == ["007", "1e5"]


@pytest.mark.parametrize(
    ("cell", "told"), [("high", "not a number: line 3 (high)"), ("", "empty: line 3")]
)
def test_cells_without_a_number_are_problems_by_line(tmp_path: Path, cell: str, told: str) -> None:
    table = read(tmp_path, TEXT.replace("b,1,", f"b,{cell},"))
    assert [str(problem).split("\n")[0] for problem in table.problems] == [
        f"{tmp_path / 't.csv'}: 1 value of x is {told}"
    ]
    assert table.frame["x"].to_list() == [0.25, None, -3.5]


def test_an_empty_last_row_hints_at_a_cut_off_file(tmp_path: Path) -> None:
    (problem,) = read(tmp_path, TEXT[: TEXT.index("-3.5")]).problems
    assert "cut off" in problem.hint


@pytest.mark.parametrize(
    ("suffix", "places"),
    [
        ("csv", ["line 2", "line 4"]),
        ("tsv.gz", ["line 2", "line 4"]),
        ("jsonl", ["line 1", "line 3"]),
        ("jsonl.gz", ["line 1", "line 3"]),
        ("parquet", ["row 1", "row 3"]),
        ("csv.zst", ["row 1", "row 3"]),
    ],
)
def test_rows_are_placed_by_line_or_by_row(tmp_path: Path, suffix: str, places: list[str]) -> None:
    table = read_table(samples.write_frame(NUMBERS, tmp_path / f"t.{suffix}"), is_x)
    assert table.where([0, 2]) == places


def test_lines_are_counted_through_blank_lines_and_line_breaks_in_cells(tmp_path: Path) -> None:
    table = read(tmp_path, 'utt_id,word\n\n"a\nb",p\n\nc,q\n')
    assert table.frame["utt_id"].to_list() == ["a\nb", "c"]
    assert table.where([1]) == ["line 6"]


def test_a_frame_from_memory_is_checked_as_a_file_is() -> None:
    frame = pl.DataFrame({"x": ["0.5", " 1 ", "y", None]})
    table = frame_table(frame, is_x)
    assert table.frame["x"].to_list() == [0.5, 1.0, None, None]
    told = [problem.message for problem in table.problems]
    assert told == [
        "the frame: 1 value of x is empty: row 4",
        "the frame: 1 value of x is not a number: row 3 (y)",
    ]


@pytest.mark.parametrize(
    "dtype", [pl.Float32, pl.Int8, pl.UInt64, pl.Decimal(10, 2), pl.String, pl.Categorical]
)
def test_numbers_of_any_type_are_read(dtype: pl.DataType) -> None:
    words = pl.Series("x", ["1", "0"])
    table = frame_table(pl.DataFrame(words.cast(dtype)), is_x)
    assert table.frame["x"].to_list() == [1.0, 0.0]
    assert table.frame["x"].dtype == pl.Float64


NO_NUMBERS = {
    "binary": pl.Series("x", [b"\xff"]),
    "list": pl.Series("x", [[0.5]]),
    "struct": pl.Series("x", [{"a": 0.5}]),
    "object": pl.Series("x", [object()], dtype=pl.Object),
    "date": pl.Series("x", ["2024-01-01"]).str.to_date(),
}


@pytest.mark.parametrize("column", list(NO_NUMBERS.values()), ids=list(NO_NUMBERS))
def test_what_is_no_number_is_refused_by_column(column: pl.Series) -> None:
    with pytest.raises(CfbenchError, match=r"\bx\b"):
        check_numbers(column)


def check_numbers(column: pl.Series) -> None:
    """Raise what a reader of predictions would: at once, or for the problems of the table."""
    problems = frame_table(pl.DataFrame(column), is_x).problems
    if problems:
        raise CfbenchError.of(problems)
