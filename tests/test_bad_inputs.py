"""Every bad input ends in exit code 2 and a message that says where it is and what to do."""

import gzip
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl
import pytest

import samples
from cfbench.api import check
from cfbench.errors import CfbenchError
from cfbench.protocol import read_protocol
from cfbench.tasks import find_track

ROWS = samples.CORS[:4]  # p227_901, and it through snac_24khz, languagecodec and llm_codec
PROTOCOL = read_protocol(samples.protocol_frame(ROWS), find_track("codecfake-plus"))
SCORES = """\
utt_id,bin_bonafide,vq_real,vq_mvq,vq_svq,vq_sq
p227_901,0.9,0.7,0.1,0.1,0.1
p227_901_snac_24khz,0.2,0.1,0.7,0.1,0.1
p227_901_languagecodec,0.2,0.1,0.7,0.1,0.1
p227_901_llm_codec,0.25,0.1,0.7,0.1,0.1
"""
LABELS = """\
utt_id,vq
p227_901,real
p227_901_snac_24khz,mvq
p227_901_languagecodec,mvq
p227_901_llm_codec,mvq
"""
FRAME = pl.read_csv(SCORES.encode())


def jsonl() -> str:
    return FRAME.write_ndjson()


def parquet(column: str | None = None, value: float | None = None) -> bytes:
    """A Parquet file; in the second row of `column` stands `value`."""
    frame = FRAME
    if column:
        second = pl.int_range(pl.len()) == 1
        frame = FRAME.with_columns(
            pl.when(second).then(pl.lit(value, pl.Float64)).otherwise(column).alias(column)
        )
    buffer = io.BytesIO()
    frame.write_parquet(buffer)
    return buffer.getvalue()


def zst() -> bytes:
    buffer = io.BytesIO()
    FRAME.write_csv(buffer, compression="zstd")
    return buffer.getvalue()


def swapped(text: str, *pairs: tuple[str, str]) -> str:
    """Replace the first occurrence of each; what is not there is a mistake of the test."""
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


class Bad(NamedTuple):
    """A bad predictions file, and what the message must say."""

    name: str
    content: str | bytes
    says: tuple[str, ...]
    options: tuple[str, ...] = ()


CUT = "cut off"
IDS = {
    "a missing utterance": Bad(
        "p.csv",
        SCORES[: SCORES.index("p227_901_llm")],
        ("1 utterance", "p227_901_llm_codec", "--allow-missing"),
    ),
    "a surplus utterance": Bad(
        "p.csv", SCORES + "p227_999,0.9,0.7,0.1,0.1,0.1\n", ("1 utt_id", "p227_999", "line 6")
    ),
    "no utterance of the protocol": Bad(
        "p.csv", SCORES.replace("p227_", "wav/p227_"), ("4 utt", "wav/p227_901", "line 2")
    ),
    "a duplicate utterance": Bad(
        "p.csv", SCORES + SCORES.splitlines()[2], ("p227_901_snac_24khz (line 3, line 6)",)
    ),
    "a duplicate utterance in jsonl": Bad(
        "p.jsonl", jsonl() + jsonl().splitlines()[0], ("p227_901 (line 1, line 5)",)
    ),
    "an empty id": Bad("p.csv", swapped(SCORES, ("p227_901,", ",")), ("utt_id", "line 2")),
    "a blank id": Bad("p.csv", swapped(SCORES, ("p227_901,", '"  ",')), ("utt_id", "line 2")),
    "a null id in jsonl": Bad(
        "p.jsonl", swapped(jsonl(), ('"p227_901_snac_24khz"', "null")), ("utt_id", "line 2")
    ),
}
NUMBERS = {
    "NaN": Bad("p.csv", swapped(SCORES, (",0.25", ",NaN")), ("bin_bonafide", "line 5 (nan)")),
    "nan in lower case": Bad("p.csv", swapped(SCORES, (",0.7", ",nan")), ("vq_real", "line 2")),
    "infinity": Bad("p.csv", swapped(SCORES, (",0.25", ",inf")), ("bin_bonafide", "line 5")),
    "minus infinity": Bad("p.csv", swapped(SCORES, (",0.25", ",-inf")), ("line 5 (-inf)",)),
    "infinity among logits": Bad(
        "p.csv", swapped(SCORES, (",0.7", ",inf")), ("vq_real", "line 2 (inf)"), ("--logits",)
    ),
    "NaN in jsonl": Bad("p.jsonl", swapped(jsonl(), ("0.25", "NaN")), ("line 4 (nan)",)),
    "infinity in jsonl": Bad("p.jsonl", swapped(jsonl(), ("0.25", "Infinity")), ("line 4 (inf)",)),
    "a number too large in jsonl": Bad("p.jsonl", swapped(jsonl(), ("0.25", "1e999")), ("line 4",)),
    "null in jsonl": Bad("p.jsonl", swapped(jsonl(), ("0.25", "null")), ("empty", "line 4")),
    "a key lacks in jsonl": Bad(
        "p.jsonl", swapped(jsonl(), ('"bin_bonafide":0.9,', "")), ("bin_bonafide", "line 1")
    ),
    "NaN in parquet": Bad("p.parquet", parquet("vq_mvq", float("nan")), ("vq_mvq", "row 2 (nan)")),
    "infinity in parquet": Bad("p.parquet", parquet("vq_sq", float("inf")), ("vq_sq", "row 2")),
    "null in parquet": Bad("p.parquet", parquet("vq_sq", None), ("vq_sq", "empty", "row 2")),
    "probabilities that do not sum to 1": Bad(
        "p.csv", swapped(SCORES, ("0.7", "0.6")), ("vq_real + vq_mvq", "line 2 (0.9)", "--logits")
    ),
    "a probability above 1": Bad(
        "p.csv", swapped(SCORES, ("0.25", "1.25")), ("line 5 (1.25)", "--logits")
    ),
    "a probability below 0": Bad(
        "p.csv", swapped(SCORES, ("0.25", "-0.25")), ("line 5 (-0.25)", "--logits")
    ),
    "logits": Bad("p.csv", SCORES.replace("0.7", "4.7"), ("vq_mvq", "line 3 (4.7)", "--logits")),
    "a word": Bad("p.csv", swapped(SCORES, ("0.25", "high")), ("bin_bonafide", "line 5 (high)")),
    "a decimal comma": Bad("p.csv", swapped(SCORES, ("0.25", '"0,25"')), ("line 5 (0,25)",)),
    "an empty value": Bad("p.csv", swapped(SCORES, (",0.9", ",")), ("bin_bonafide", "line 2")),
}
CLASSES = {
    "an unknown class": Bad(
        "p.csv", swapped(LABELS, ("24khz,mvq", "24khz,mqv")), ("'mqv'", "line 3", "mean 'mvq'")
    ),
    "a class of another task": Bad(
        "p.csv", swapped(LABELS, ("24khz,mvq", "24khz,disent")), ("'disent'", "line 3", "svq")
    ),
    "an empty label": Bad("p.csv", swapped(LABELS, ("24khz,mvq", "24khz,")), ("vq", "line 3")),
    "numeric labels": Bad(
        "p.csv", LABELS.replace("mvq", "1").replace("real", "0"), ("'1'", "line 3", "mvq")
    ),
    "numeric labels in jsonl": Bad(
        "p.jsonl", '{"utt_id": "p227_901", "vq": 0}\n', ("vq holds numbers", "real, mvq, svq, sq")
    ),
    "true and false as labels": Bad(
        "p.jsonl", '{"utt_id": "p227_901", "bin": true}\n', ("bin holds", "spoof, bonafide")
    ),
    "pandas wrote None as empty": Bad(
        "p.csv", "utt_id,aux\np227_901,real\np227_901_snac_24khz,\n", ("aux", "line 3", "trad")
    ),
}
COLUMNS = {
    "a misspelt column": Bad(
        "p.csv", swapped(SCORES, ("vq_mvq", "vq_mqv")), ("'vq_mqv'", "mean 'vq_mvq'")
    ),
    "a column in capitals": Bad(
        "p.csv", swapped(SCORES, ("vq_mvq", "VQ_MVQ")), ("'VQ_MVQ'", "mean 'vq_mvq'")
    ),
    "no column of ids": Bad(
        "p.csv", swapped(SCORES, ("utt_id", "utt")), ("'utt'", "mean 'utt_id'")
    ),
    "no header": Bad("p.csv", SCORES.split("\n", 1)[1], ("header",)),
    "no header of labels": Bad("p.csv", LABELS.split("\n", 1)[1], ("'p227_901'", "utt_id")),
    "a column of ids is not there at all": Bad("p.csv", "vq\nmvq\n", ("utt_id",)),
    "an incomplete set of classes": Bad(
        "p.csv", "utt_id,vq_real,vq_mvq\np227_901,0.5,0.5\n", ("without vq_svq, vq_sq",)
    ),
    "spoof without bona fide": Bad(
        "p.csv", "utt_id,bin_spoof\np227_901,0.5\n", ("bin_spoof without bin_bonafide",)
    ),
    "labels and numbers of one task": Bad(
        "p.csv", "utt_id,bin,bin_bonafide\np227_901,spoof,0.1\n", ("both labels (bin)", "keep one")
    ),
    "no column of a task": Bad("p.csv", "utt_id\np227_901\n", ("no column", "vq_real, vq_mvq")),
    "a column twice": Bad("p.csv", "utt_id,vq,vq\np227_901,mvq,mvq\n", ("vq", "more than once")),
    "a list in a cell": Bad("p.jsonl", '{"utt_id": "a", "vq": ["mvq"]}\n', ("vq", "List")),
    "too many fields in a row": Bad(
        "p.csv", swapped(SCORES, ("p227_901_snac", "p227_901,snac")), ("line 3", "7 fields")
    ),
    "an open quotation mark": Bad("p.csv", swapped(SCORES, ("p227_901_llm", '"p227')), ("p.csv",)),
}
FILES = {
    "semicolons": Bad("p.csv", SCORES.replace(",", ";"), ("semicolons", "commas")),
    "tabs in a csv": Bad("p.csv", SCORES.replace(",", "\t"), ("tabs", "--format tsv")),
    "commas in a tsv": Bad("p.tsv", SCORES, ("commas", "--format")),
    "UTF-16": Bad("p.csv", SCORES.encode("utf-16"), ("UTF-16", "UTF-8")),
    "UTF-16 without a mark": Bad("p.csv", SCORES.encode("utf-16-le"), ("binary",)),
    "latin-1": Bad(
        "p.csv", swapped(SCORES, ("_llm_", "_é_")).encode("latin-1"), ("line 5", "UTF-8")
    ),
    "latin-1 in the header": Bad(
        "p.csv", swapped(SCORES, ("mvq", "é")).encode("latin-1"), ("line 1", "UTF-8")
    ),
    "latin-1 in jsonl": Bad(
        "p.jsonl", swapped(jsonl(), ("_llm_", "_é_")).encode("latin-1"), ("line 4", "UTF-8")
    ),
    "latin-1 in gz": Bad(
        "p.csv.gz",
        gzip.compress(swapped(SCORES, ("_llm_", "_é_")).encode("latin-1")),
        ("line 5", "UTF-8"),
    ),
    "a csv that ends in a row": Bad("p.csv", SCORES[:-9], ("line 5", CUT)),
    "a csv that ends in an id": Bad("p.csv", SCORES[: SCORES.index("_codec")], ("line 5", CUT)),
    "a gz that ends too early": Bad("p.csv.gz", gzip.compress(SCORES.encode())[:-20], (CUT,)),
    "a gz that ends in its header": Bad("p.csv.gz", gzip.compress(SCORES.encode())[:5], (CUT,)),
    "a gz with a wrong checksum": Bad(
        "p.csv.gz", gzip.compress(SCORES.encode())[:-8] + b"\1\2\3\4\5\6\7\0", ("p.csv.gz",)
    ),
    "a gz with a damaged middle": Bad(
        "p.csv.gz", gzip.compress(SCORES.encode())[:20] + b"\xff" * 200, ("p.csv.gz",)
    ),
    "a gz jsonl that ends too early": Bad(
        "p.jsonl.gz", gzip.compress(jsonl().encode())[:-20], (CUT,)
    ),
    "a zst that ends too early": Bad("p.csv.zst", zst()[:-20], (CUT,)),
    "a zst that ends in its header": Bad("p.csv.zst", zst()[:6], (CUT,)),
    "a zst with a damaged middle": Bad("p.csv.zst", zst()[:12] + b"\xff" * 99, ("p.csv.zst",)),
    "a parquet that ends too early": Bad("p.parquet", parquet()[:-40], ("damaged", CUT)),
    "a parquet that ends in its header": Bad("p.parquet", parquet()[:6], ("damaged", CUT)),
    "a parquet with a damaged middle": Bad(
        "p.parquet", parquet()[:40] + b"\xff" * 300 + parquet()[340:], ("p.parquet",)
    ),
    "a jsonl that ends in a line": Bad("p.jsonl", jsonl()[:-20], ("line 4", CUT)),
    "a jsonl with a broken line": Bad("p.jsonl", swapped(jsonl(), (":0.2,", ":,")), ("line 2",)),
    "one JSON document": Bad(
        "p.jsonl", '[\n {"utt_id": "a",\n  "vq": "mvq"}\n]\n', ("line 1", "JSON")
    ),
    "JSON that is no object": Bad("p.jsonl", "[1, 2]\n", ("line 1", "object")),
    "an empty file": Bad("p.csv", b"", ("empty", "cfbench template")),
    "an empty parquet": Bad("p.parquet", b"", ("empty",)),
    "an empty jsonl": Bad("p.jsonl", b"", ("empty",)),
    "an empty gz": Bad("p.csv.gz", gzip.compress(b""), ("empty",)),
    "an empty zst": Bad(
        "p.csv.zst", b"\x28\xb5\x2f\xfd\x24\x00\x01\x00\x00\x99\xe9\xd8\x51", ("p.csv",)
    ),
    "a byte-order mark only": Bad("p.csv", b"\xef\xbb\xbf", ("empty",)),
    "blank lines only": Bad("p.csv", "\n\n\n", ("empty",)),
    "a header only": Bad("p.csv", SCORES.splitlines()[0] + "\n", ("no rows",)),
    "a header only, no newline": Bad("p.csv", SCORES.splitlines()[0], ("no rows",)),
    "a binary file": Bad("p.csv", bytes(range(256)), ("binary",)),
    "a recording": Bad("p.jsonl", b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0", ("binary",)),
    "a binary file called parquet": Bad("p.parquet", bytes(range(256)), ("not a Parquet",)),
    "a parquet called csv": Bad("p.csv", parquet(), ("Parquet", "--format parquet")),
    "a csv called parquet": Bad("p.parquet", SCORES, ("not a Parquet", "--format")),
    "a gz called csv": Bad("p.csv", gzip.compress(SCORES.encode()), ("compressed", ".gz")),
    "a compressed parquet": Bad("p.parquet.gz", gzip.compress(parquet()), ("Parquet",)),
    "an unknown suffix": Bad("p.xlsx", SCORES, ("p.xlsx", ".csv", ".parquet")),
    "no suffix": Bad("predictions", SCORES, ("predictions", ".csv", ".parquet")),
}
OPTIONS = {
    "another format": Bad("p.csv", SCORES, ("line 1", "not JSON"), ("--format", "jsonl")),
    "a binary format": Bad("p.csv", SCORES, ("not a Parquet",), ("--format", "parquet")),
    "an unknown format": Bad("p.csv", SCORES, ("'cvs'", "mean 'csv'"), ("--format", "cvs")),
    "a table as a folder": Bad("p.csv", SCORES, ("folder", "score.txt"), ("--format", "authors")),
    "an unknown task": Bad("p.csv", SCORES, ("no task 'vqq'", "mean 'vq'"), ("--tasks", "vqq,bin")),
    "a task that is not answered": Bad("p.csv", SCORES, ("aux",), ("--tasks", "vq,aux")),
    "no task": Bad("p.csv", SCORES, ("empty", "--tasks"), ("--tasks", ",")),
    "an unknown track": Bad(
        "p.csv", SCORES, ("'codecfake'", "mean 'codecfake-plus'"), ("--track", "codecfake")
    ),
    "a track file that is not there": Bad("p.csv", SCORES, ("no.toml",), ("--track", "no.toml")),
    "an unknown split": Bad("p.csv", SCORES, ("split 'odd'", "it has id"), ("--split", "odd")),
    "a split that the protocol lacks": Bad("p.csv", SCORES, ("'ood'",), ("--split", "ood")),
    "a protocol that is not there": Bad("p.csv", SCORES, ("nowhere",), ("--protocol", "nowhere")),
}


def table(cases: dict[str, Bad]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bad", list(cases.values()), ids=list(cases))


@pytest.fixture
def refused(run_cli: Callable, tmp_path: Path) -> Callable[..., str]:
    """Run a command on a path, see that it is refused as it should be, and return the message."""
    protocol = samples.write_frame(samples.protocol_frame(ROWS), tmp_path / "protocol.csv")

    def refuse(command: str, path: Path, *options: object) -> str:
        more = () if command == "validate" else ("--bootstrap", 0)
        result = run_cli(command, path, "--protocol", protocol, *more, *options)
        assert result.code == 2
        assert result.out == ""
        assert "Traceback" not in result.err
        assert result.err.startswith("error: ")
        return result.err

    return refuse


def write(folder: Path, bad: Bad) -> Path:
    path = folder / bad.name
    path.write_bytes(bad.content if isinstance(bad.content, bytes) else bad.content.encode())
    return path


@table(IDS | NUMBERS | CLASSES | COLUMNS | FILES)
@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_bad_file_is_refused_by_name_and_place(
    refused: Callable[..., str], tmp_path: Path, command: str, bad: Bad
) -> None:
    path = write(tmp_path, bad)
    message = refused(command, path, *bad.options)
    assert f"error: {path}" in message
    for words in bad.says:
        assert words in message


@table(OPTIONS)
@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_bad_option_is_refused(
    refused: Callable[..., str], tmp_path: Path, command: str, bad: Bad
) -> None:
    message = refused(command, write(tmp_path, bad), *bad.options)
    for words in bad.says:
        assert words in message
    assert "hint: " in message or "did you mean" in message


@table(IDS | NUMBERS | CLASSES | COLUMNS | FILES)
def test_the_message_says_what_to_do(tmp_path: Path, bad: Bad) -> None:
    path = write(tmp_path, bad)
    try:
        _, problems = check(path, PROTOCOL, logits="--logits" in bad.options)
    except CfbenchError as error:
        problems = list(error.problems)
    assert any(problem.hint or "did you mean" in problem.message for problem in problems)


@pytest.mark.parametrize("name", ["good.csv", "good.tsv", "good.jsonl", "good.parquet"])
def test_the_undamaged_file_is_taken(run_cli: Callable, tmp_path: Path, name: str) -> None:
    path = samples.write_frame(FRAME, tmp_path / name)
    protocol = samples.write_frame(samples.protocol_frame(ROWS), tmp_path / "protocol.csv")
    assert run_cli("score", path, "--protocol", protocol, "--bootstrap", 0).code == 0
    result = run_cli("validate", path, "--protocol", protocol)
    assert result.code == 0
    assert "4 utterances, bin (probabilities), vq (probabilities): no problems" in result.out


@pytest.mark.parametrize("command", ["score", "validate"])
def test_every_problem_is_reported_at_once(
    refused: Callable[..., str], tmp_path: Path, command: str
) -> None:
    text = swapped(SCORES, ("0.9", "x"), ("0.25", "7"), ("p227_901_languagecodec", "p227_901"))
    path = tmp_path / "p.csv"
    path.write_text(text)
    message = refused(command, path)
    assert "line 2 (x)" in message
    assert "line 5 (7)" in message
    assert "p227_901 (line 2, line 4)" in message
    assert "missing: p227_901_languagecodec" in message


def test_names_five_offenders_and_counts_the_rest(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(SCORES + "".join(f"x{number},0.5,1,0,0,0\n" for number in range(1200)))
    message = refused("validate", path)
    assert "1,200 utt_ids are not in the protocol" in message
    assert "x4 (line 10) and 1,195 more" in message
    assert "x5" not in message


def test_an_empty_id_is_not_called_none(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(swapped(SCORES, ("p227_901,", ",")))
    assert "None" not in refused("validate", path)


def test_lines_are_those_of_the_file_after_blank_ones(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(swapped(SCORES, ("p227_901_snac", "\n\np227_901_snac"), ("0.25", "7")))
    assert "line 7 (7)" in refused("validate", path)


def test_lines_are_those_of_the_file_after_a_cell_of_two_lines(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(swapped(SCORES, ("p227_901_snac_24khz", '"a\nb"'), ("0.25", "7")))
    assert "line 6 (7)" in refused("validate", path)


def test_a_hostile_id_cannot_steer_the_terminal(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(SCORES + f"\x1b[2J{'a' * 5000},0.9,0.7,0.1,0.1,0.1\n")
    message = refused("validate", path)
    assert "\x1b" not in message
    assert "a" * 100 not in message


@pytest.mark.parametrize("command", ["score", "validate"])
@pytest.mark.parametrize("word", ["\x1b[2Jmvq", "mvq" * 5000])
def test_a_hostile_label_or_column_cannot_steer_the_terminal(
    refused: Callable[..., str], tmp_path: Path, command: str, word: str
) -> None:
    path = tmp_path / "p.csv"
    for text in (LABELS.replace("mvq", word), LABELS.replace("vq\n", f"{word}\n", 1)):
        path.write_text(text)
        message = refused(command, path)
        assert "\x1b" not in message
        assert "mvq" * 100 not in message


@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_missing_file_names_its_neighbour(
    refused: Callable[..., str], tmp_path: Path, command: str
) -> None:
    (tmp_path / "predictions.csv").write_text(SCORES)
    message = refused(command, tmp_path / "prediction.csv")
    assert (
        f"{tmp_path / 'prediction.csv'}: no such file (did you mean 'predictions.csv'?)" in message
    )


@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_missing_folder_is_named(
    refused: Callable[..., str], tmp_path: Path, command: str
) -> None:
    message = refused(command, tmp_path / "nowhere" / "p.csv")
    assert f"the folder {tmp_path / 'nowhere'} is not there" in message


@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_path_through_a_file(refused: Callable[..., str], tmp_path: Path, command: str) -> None:
    (tmp_path / "p.csv").write_text(SCORES)
    assert "no such file" in refused(command, tmp_path / "p.csv" / "p.csv")


@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_name_too_long_for_the_system(
    refused: Callable[..., str], tmp_path: Path, command: str
) -> None:
    assert "too long" in refused(command, tmp_path / f"{'x' * 300}.csv")


@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_link_to_itself(refused: Callable[..., str], tmp_path: Path, command: str) -> None:
    path = tmp_path / "p.csv"
    path.symlink_to(path)
    message = refused(command, path)
    assert str(path) in message
    assert "did you mean 'p.csv'" not in message


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read every file"
)
@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_file_without_permission(
    refused: Callable[..., str], tmp_path: Path, command: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(SCORES)
    path.chmod(0)
    assert "Permission denied" in refused(command, path)


@pytest.mark.skipif(not Path("/proc/self/mem").exists(), reason="a file of Linux only")
@pytest.mark.parametrize("command", ["score", "validate"])
def test_a_file_that_cannot_be_read(
    refused: Callable[..., str], tmp_path: Path, command: str
) -> None:
    path = tmp_path / "p.csv"
    path.symlink_to("/proc/self/mem")
    assert f"{path}: cannot be opened: Input/output error" in refused(command, path)


@pytest.mark.parametrize("command", ["score", "validate"])
@pytest.mark.parametrize(
    ("options", "says"),
    [((), "holds no score files"), (("--format", "csv"), "a folder, not a file")],
    ids=["auto", "csv"],
)
def test_a_folder(
    refused: Callable[..., str], tmp_path: Path, command: str, options: tuple[str, ...], says: str
) -> None:
    folder = tmp_path / "folder.csv"
    folder.mkdir()
    message = refused(command, folder, *options)
    assert f"{folder}: {says}" in message
    assert "hint: " in message


@pytest.mark.parametrize(
    ("place", "says"),
    [("nowhere/card.json", "cannot be written"), (".", "a folder")],
    ids=["missing folder", "folder"],
)
def test_a_scorecard_that_cannot_be_written(
    refused: Callable[..., str], tmp_path: Path, place: str, says: str
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(SCORES)
    message = refused("score", path, "--json", tmp_path / place)
    assert f"{tmp_path / place}: {says}" in message


def test_a_scorecard_does_not_replace_the_predictions(
    refused: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "p.csv"
    path.write_text(SCORES)
    assert str(path) in refused("score", path, "--json", path)
    assert path.read_text() == SCORES


def test_a_refused_file_leaves_no_scorecard(refused: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(swapped(SCORES, ("0.25", "7")))
    refused("score", path, "--json", tmp_path / "card.json")
    assert not (tmp_path / "card.json").exists()


def test_no_protocol_says_where_to_get_it(run_cli: Callable, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(SCORES)
    result = run_cli("score", path)
    assert (result.code, result.out) == (2, "")
    assert "--protocol FILE-OR-FOLDER" in result.err
    assert "CFBENCH_PROTOCOLS" in result.err


def test_without_a_protocol_validate_checks_all_but_ids(run_cli: Callable, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(SCORES)
    result = run_cli("validate", path)
    assert result.code == 0
    assert "ids are not checked" in result.err
    path.write_text(swapped(SCORES, ("0.25", "7")))
    result = run_cli("validate", path)
    assert (result.code, result.out) == (2, "")
    assert "line 5 (7)" in result.err


@pytest.mark.parametrize(
    "arguments",
    [("--jsn", "x"), ("--bootstrap", "-1"), ("--bootstrap", "many"), ("--seed", "-1")],
    ids=" ".join,
)
def test_a_wrong_option_is_named(
    run_cli: Callable, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    result = run_cli("score", tmp_path / "p.csv", *arguments)
    assert (result.code, result.out) == (2, "")
    assert arguments[0] in result.err
    assert "Traceback" not in result.err
