"""Whatever stands in a file, a reader returns or raises CfbenchError; what was written is read."""

import gzip
import io
import itertools
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import polars as pl
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

import samples
from cfbench.errors import CfbenchError
from cfbench.predictions import read_predictions
from cfbench.protocol import read_protocol
from cfbench.score_folders import read_score_folder
from cfbench.tasks import find_track

TRACK = find_track("codecfake-plus")
TEXT_SUFFIXES = ("csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz", "csv.zst", "jsonl.zst")
SUFFIXES = (*TEXT_SUFFIXES, "parquet")
FRAMES = (samples.probability_frame()[:6], samples.label_frame()[:6])

# The same examples in every run. A failing one is reported as found: shrinking takes minutes.
few = settings(
    max_examples=15,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate),
)
more = settings(few, max_examples=60)

# Pieces of which broken tables are made: more likely to reach deep than random bytes are.
PIECES = (
    *("utt_id", "bin", "bin_bonafide", "vq", "dec_real", "dec_time", "dec_freq", "aux", "a", "é"),
    *(",", ",", "\t", ";", "\n", "\n", "\r\n", '"', "'", " ", "\0", "\ufeff", "\ufffd", "#"),
    *("mvq", "none", "0.5", "1", "-1", "1e999", "nan", "inf", "null", "true", "_", "0x1", "1_0"),
    *("{", "}", "[", "]", ":", '{"utt_id": "a", "vq": "mvq"}\n', '{"utt_id": 1, "vq": null}\n'),
    *('"utt_id"', '"vq"', '"a"', "utt_id,vq\n", "utt_id,bin_bonafide\n", "a,mvq\n", "b,0.5\n"),
)
pieces = st.lists(st.sampled_from(PIECES), max_size=30).map("".join)
WORDS = (
    *("p227", "s5", "p227_901", "p227_901_bigcodec", "p227_", "_", "VALLE", "USLM", "clip", "-"),
    *("spoof", "bonafide", "spoofs", "MVQ", "REAL", "Trad", "TIME", "None", "é", '"', "\0", ""),
    *("speaker", "file", "label", "Model", "ClipID"),
)
ends = st.sampled_from(("\n", "\r\n", "\n\n", " \n"))
lines = st.tuples(st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join), ends).map("".join)
lists_of_words = st.lists(lines, max_size=6).map("".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("files")


def write(path: Path, data: bytes | str) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def compressed(text: str, suffix: str) -> bytes:
    """Text with the compression that a suffix says."""
    if suffix.endswith("gz"):
        return gzip.compress(text.encode(), mtime=0)
    if suffix.endswith("zst"):
        # polars compresses only what it writes itself.
        buffer = io.BytesIO()
        frame = pl.DataFrame({"x": [text]})
        frame.write_csv(buffer, include_header=False, quote_style="never", compression="zstd")
        return buffer.getvalue()
    return text.encode()


def file_of(frame: pl.DataFrame, folder: Path, suffix: str) -> bytes:
    return samples.write_frame(frame, folder / f"good.{suffix}").read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
@few
@given(data=st.binary(max_size=200))
@example(data=b"\xef\xbb\xbf")
@example(data=b"\n")
@example(data=b"PAR1")
@example(data=b"PAR1" * 4)
@example(data=b"\x1f\x8b")
@example(data=b"\x28\xb5\x2f\xfd")
@example(data=gzip.compress(b""))
def test_any_bytes_are_predictions_or_refused(folder: Path, suffix: str, data: bytes) -> None:
    with suppress(CfbenchError):
        read_predictions(write(folder / f"bytes.{suffix}", data))


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
@few
@given(text=pieces)
@example(text="\ufeff")
@example(text='"a\xe9')
def test_any_text_is_predictions_or_refused(folder: Path, suffix: str, text: str) -> None:
    with suppress(CfbenchError):
        read_predictions(write(folder / f"text.{suffix}", compressed(text, suffix)))


@pytest.mark.parametrize("suffix", TEXT_SUFFIXES)
@few
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(folder: Path, suffix: str, data: st.DataObject) -> None:
    frame = data.draw(st.sampled_from(FRAMES))
    content = bytearray(file_of(frame, folder, suffix))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        end = data.draw(st.integers(start, min(len(content), start + 20)))
        content[start:end] = data.draw(st.binary(max_size=4))
    with suppress(CfbenchError):
        read_predictions(write(folder / f"damaged.{suffix}", bytes(content)))


@pytest.mark.parametrize("suffix", ["parquet", "csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst"])
def test_a_file_that_ends_anywhere_is_refused(folder: Path, suffix: str) -> None:
    content = file_of(FRAMES[1], folder, suffix)
    path = folder / f"cut.{suffix}"
    for end in itertools.chain(range(0, len(content) - 1, 7), [len(content) - 1]):
        with pytest.raises(CfbenchError):
            read_predictions(write(path, content[:end]))


DAMAGE_PARQUET = """
import sys
from pathlib import Path
from cfbench.errors import CfbenchError
from cfbench.predictions import read_predictions

path = Path(sys.argv[1])
good = path.read_bytes()
for place in range(len(good) - 850, len(good), 2):
    damaged = bytearray(good)
    damaged[place] = 255
    path.write_bytes(damaged)
    try:
        read_predictions(path)
    except CfbenchError:
        pass
"""


@pytest.mark.slow
def test_a_parquet_file_with_a_damaged_footer_is_read_or_refused(folder: Path) -> None:
    # In a process of its own: on some damage polars ends the process that reads.
    path = samples.write_frame(FRAMES[1], folder / "footer.parquet")
    command = [sys.executable, "-c", DAMAGE_PARQUET, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]


@few
@given(data=st.binary(min_size=4, max_size=60))
def test_a_parquet_file_with_any_footer_is_refused(folder: Path, data: bytes) -> None:
    length = len(data).to_bytes(4, "little")
    path = write(folder / "footer.parquet", b"PAR1" + data + length + b"PAR1")
    with pytest.raises(CfbenchError):
        read_predictions(path)


@more
@given(data=st.one_of(st.binary(max_size=100), lists_of_words.map(str.encode)))
@example(data=b"a b c d e f g h\n")
@example(data=b"p227  p227_901  -  -  spoof\n")
def test_any_bytes_are_a_protocol_list_or_refused(folder: Path, data: bytes) -> None:
    with suppress(CfbenchError):
        read_protocol(write(folder / "list.txt", data), TRACK)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
@few
@given(data=st.one_of(st.binary(max_size=100), pieces.map(str.encode)))
def test_any_bytes_are_a_protocol_table_or_refused(folder: Path, suffix: str, data: bytes) -> None:
    with suppress(CfbenchError):
        read_protocol(write(folder / f"table.{suffix}", data), TRACK)


@pytest.mark.parametrize("name", ["vq_score.txt", "vq_score.txt.gz"])
@few
@given(data=st.one_of(st.binary(max_size=100), pieces.map(str.encode)))
@example(data=b"")
@example(data=b"\xe9")
def test_any_bytes_are_a_score_file_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: bytes
) -> None:
    folder = tmp_path_factory.mktemp("scores")
    packed = gzip.compress(data) if name.endswith("gz") else data
    for content in (data, packed):
        write(folder / name, content)
        with suppress(CfbenchError):
            read_score_folder(folder)


counter = itertools.count()


@few
@given(
    data=st.one_of(
        st.binary(max_size=60), st.text("ab[]=\"'.{}, \n#é", max_size=60).map(str.encode)
    )
)
def test_any_bytes_are_no_track(folder: Path, data: bytes) -> None:
    # A new name each time: tracks are cached by name.
    path = write(folder / f"track{next(counter)}.toml", data)
    with pytest.raises(CfbenchError):
        find_track(str(path))


ids = st.text(
    st.characters(exclude_categories=["C", "Z"]) | st.sampled_from(",;\"'\t\\{} "),
    min_size=1,
    max_size=12,
).filter(lambda word: word.strip() == word and word != "")
weights = st.tuples(*[st.integers(1, 10**6)] * 4)
labels = st.tuples(*(st.sampled_from(classes) for classes in samples.CLASSES.values()))


def rows_of(answers: st.SearchStrategy) -> st.SearchStrategy:
    rows = st.tuples(ids, answers)
    return st.lists(rows, min_size=1, max_size=5, unique_by=lambda row: row[0])


def probability_frame(rows: list[tuple[str, tuple[float, tuple[int, ...]]]]) -> pl.DataFrame:
    names = [f"vq_{name}" for name in samples.CLASSES["vq"]]
    return pl.DataFrame(
        [
            {"utt_id": word, "bin_bonafide": score}
            | {name: part / sum(parts) for name, part in zip(names, parts, strict=True)}
            for word, (score, parts) in rows
        ]
    )


def label_frame(rows: list[tuple[str, tuple[str, ...]]]) -> pl.DataFrame:
    return pl.DataFrame(
        [(word, *words) for word, words in rows],
        schema=["utt_id", *samples.CLASSES],
        orient="row",
    )


probability_frames = rows_of(st.tuples(st.floats(0, 1), weights)).map(probability_frame)
label_frames = rows_of(labels).map(label_frame)


@pytest.mark.parametrize("suffix", SUFFIXES)
@few
@given(frame=st.one_of(probability_frames, label_frames))
@example(frame=pl.DataFrame({"utt_id": ['a"b', "c,d", "e\tf"], "vq": ["mvq", "sq", "real"]}))
@example(frame=pl.DataFrame({"utt_id": ["null", "NaN", "1.0"], "aux": ["none", "sem", "real"]}))
@example(frame=pl.DataFrame({"utt_id": ["a"], "bin_bonafide": [5e-324]}))
def test_what_is_written_is_read_back(folder: Path, suffix: str, frame: pl.DataFrame) -> None:
    path = samples.write_frame(frame, folder / f"written.{suffix}")
    read = read_predictions(path).frame
    assert read.with_columns(pl.col(pl.Enum).cast(pl.String)).equals(frame)


@few
@given(frame=probability_frames)
def test_every_format_holds_the_same_predictions(folder: Path, frame: pl.DataFrame) -> None:
    read = [
        read_predictions(samples.write_frame(frame, folder / f"same.{suffix}")).frame
        for suffix in ("csv", "tsv.gz", "jsonl", "parquet")
    ]
    assert all(one.equals(read[0]) for one in read)
