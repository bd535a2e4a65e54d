"""What a system said of the utterances: labels, probabilities and logits, in every format."""

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest

import cfbench
import samples
from cfbench.errors import CfbenchError
from cfbench.predictions import read_predictions, softmax
from cfbench.scorecard import Scorecard
from cfbench.tasks import pick_tasks

SUFFIXES = ("csv", "tsv", "jsonl", "csv.gz", "tsv.gz", "jsonl.gz", "csv.zst", "tsv.zst")
SUFFIXES = (*SUFFIXES, "jsonl.zst", "parquet")
PROBABILITIES = samples.probability_frame()
LABELS = samples.label_frame()
ALL = ["bin", "vq", "aux", "dec"]


def dec_frame(values: tuple[float, ...]) -> pl.DataFrame:
    names = ("dec_real", "dec_time", "dec_freq")
    return pl.DataFrame({"utt_id": "a", **dict(zip(names, values, strict=True))})


def plain(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col(pl.Enum).cast(pl.String))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_probabilities_are_read_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = samples.write_frame(PROBABILITIES, tmp_path / f"p.{suffix}")
    predictions = read_predictions(path)
    assert dict(predictions.kinds) == dict.fromkeys(ALL, "probabilities")
    assert predictions.frame.equals(PROBABILITIES)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_are_read_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = samples.write_frame(LABELS, tmp_path / f"p.{suffix}")
    predictions = read_predictions(path)
    assert dict(predictions.kinds) == dict.fromkeys(ALL, "labels")
    assert plain(predictions.frame).equals(LABELS)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff" + text.replace("\n", "\r\n"),
        lambda text: (
            ",".join(f'"{w}"' for w in text.split("\n")[0].split(","))
            + "\n"
            + text.split("\n", 1)[1]
        ),
        lambda text: text.rstrip("\n"),
    ],
    ids=["byte-order mark", "CRLF", "both", "quoted header", "no newline at the end"],
)
@pytest.mark.parametrize("frame", [PROBABILITIES, LABELS], ids=["probabilities", "labels"])
def test_csv_of_windows_and_excel_is_read(tmp_path: Path, frame: pl.DataFrame, change) -> None:
    path = tmp_path / "p.csv"
    path.write_bytes(change(frame.write_csv()).encode())
    assert plain(read_predictions(path).frame).equals(frame)


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ({"vq": ["REAL", "Mvq", " SVQ ", "Scq"]}, ["real", "mvq", "svq", "sq"]),
        ({"aux": ["Real", "Trad", "None", "Disent"]}, ["real", "none", "none", "disent"]),
        (
            {"bin": ["Spoof", "spoofs", "bonafide", "Real"]},
            ["spoof", "spoof", "bonafide", "bonafide"],
        ),
    ],
)
def test_labels_are_read_in_every_spelling(words: dict[str, list[str]], names: list[str]) -> None:
    frame = pl.DataFrame({"utt_id": list("abcd"), **words})
    ((task, _),) = words.items()
    assert read_predictions(frame).frame[task].to_list() == names


def test_the_columns_of_the_frame_do_not_follow_those_of_the_file() -> None:
    turned = PROBABILITIES.select(reversed(PROBABILITIES.columns))
    assert read_predictions(turned).frame.equals(PROBABILITIES)


def test_any_subset_of_the_tasks_is_enough() -> None:
    frame = PROBABILITIES.select("utt_id", "bin_bonafide", pl.selectors.starts_with("dec_"))
    assert dict(read_predictions(frame).kinds) == {
        "bin": "probabilities",
        "dec": "probabilities",
    }


def test_labels_of_one_task_may_stand_beside_numbers_of_another() -> None:
    frame = LABELS.select("utt_id", "vq").join(PROBABILITIES.drop(r"^vq_.*$"), on="utt_id")
    kinds = read_predictions(frame).kinds
    assert (kinds["vq"], kinds["dec"]) == ("labels", "probabilities")


def test_other_tasks_may_be_left_out() -> None:
    predictions = read_predictions(PROBABILITIES, tasks=pick_tasks(["dec", "bin"]))
    assert list(predictions.kinds) == ["bin", "dec"]
    assert predictions.frame.columns == [
        "utt_id",
        "bin_bonafide",
        "dec_real",
        "dec_time",
        "dec_freq",
    ]


def test_the_spoof_column_may_be_there_and_must_agree() -> None:
    frame = PROBABILITIES.select("utt_id", "bin_bonafide").with_columns(
        bin_spoof=1 - pl.col("bin_bonafide")
    )
    assert read_predictions(frame).frame.columns == ["utt_id", "bin_bonafide"]
    with pytest.raises(CfbenchError, match="bin_spoof"):
        read_predictions(frame.with_columns(bin_spoof=pl.lit(0.5)))


def test_logits_are_taken_as_they_are_when_asked_for() -> None:
    frame = PROBABILITIES.with_columns(pl.col(pl.Float64) * 20 - 7)
    with pytest.raises(CfbenchError, match="--logits"):
        read_predictions(frame)
    predictions = read_predictions(frame, logits=True)
    assert set(predictions.kinds.values()) == {"logits"}
    assert predictions.frame.equals(frame)


def test_two_logits_of_spoof_detection_are_one_log_likelihood_ratio() -> None:
    frame = pl.DataFrame({"utt_id": ["a"], "bin_spoof": [-1.5], "bin_bonafide": [2.0]})
    assert read_predictions(frame, logits=True).frame["bin_bonafide"].to_list() == [3.5]


@pytest.mark.parametrize("values", [(0.33, 0.33, 0.34), (0.332, 0.332, 0.332), (0.4, 0.3, 0.304)])
def test_probabilities_may_be_rounded(values: tuple[float, ...]) -> None:
    assert read_predictions(dec_frame(values)).frame.height == 1


@pytest.mark.parametrize("values", [(0.33, 0.33, 0.33), (0.4, 0.3, 0.306), (0.0, 0.0, 0.0)])
def test_probabilities_must_sum_to_1(values: tuple[float, ...]) -> None:
    with pytest.raises(CfbenchError, match=r"dec_real \+ dec_time \+ dec_freq not 1: row 1"):
        read_predictions(dec_frame(values))


def test_softmax_is_that_of_the_book_and_does_not_overflow() -> None:
    logits = np.array([[0.0, 1000.0], [np.log(3.0), 1000.0], [-np.inf, -1000.0]])
    expected = np.array([[0.25, 0.5], [0.75, 0.5], [0.0, 0.0]])
    np.testing.assert_allclose(softmax(logits), expected, atol=1e-15)


def test_an_aux_label_none_of_pandas_that_became_empty_is_explained(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("utt_id,aux\na,None\nb,sem\n")
    pd.read_csv(path).to_csv(path, index=False)
    with pytest.raises(CfbenchError, match="line 2") as caught:
        read_predictions(path)
    assert "trad" in str(caught.value)


def test_an_index_that_pandas_wrote_is_named(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    PROBABILITIES.to_pandas().to_csv(path)
    with pytest.raises(CfbenchError, match="column"):
        read_predictions(path)


@pytest.mark.parametrize("suffix", ["csv", "tsv", "csv.gz", "csv.zst", "parquet", "jsonl"])
def test_files_that_pandas_wrote_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"p.{suffix}"
    frame = PROBABILITIES.to_pandas()
    if suffix == "parquet":
        frame.to_parquet(path)
    elif suffix == "jsonl":
        frame.to_json(path, orient="records", lines=True, double_precision=15)
    elif suffix == "csv.zst":
        pytest.importorskip("zstandard", reason="pandas needs zstandard to write .zst")
        frame.to_csv(path, index=False)
    else:
        frame.to_csv(path, index=False, sep="\t" if suffix == "tsv" else ",")
    read = cfbench.read_predictions(path).frame
    assert read["utt_id"].to_list() == PROBABILITIES["utt_id"].to_list()
    for name in PROBABILITIES.columns[1:]:
        assert read[name].to_list() == pytest.approx(PROBABILITIES[name].to_list(), abs=1e-14)


@pytest.mark.parametrize(
    "convert",
    [
        lambda frame: frame,
        lambda frame: frame.to_pandas(),
        lambda frame: frame.to_arrow(),
        lambda frame: frame.to_dict(as_series=False),
        lambda frame: frame.to_dicts(),
        lambda frame: frame.to_pandas().convert_dtypes(),
        lambda frame: frame.to_pandas().astype({"utt_id": "category"}),
        lambda frame: frame.to_pandas().sample(frac=1, random_state=0),
    ],
    ids=[
        "polars",
        "pandas",
        "arrow",
        "columns",
        "rows",
        "pandas nullable",
        "pandas category",
        "pandas shuffled",
    ],
)
@pytest.mark.parametrize("frame", [PROBABILITIES, LABELS], ids=["probabilities", "labels"])
def test_frames_of_any_kind_are_read(frame: pl.DataFrame, convert) -> None:
    read = plain(cfbench.read_predictions(convert(frame)).frame)
    assert read.sort("utt_id").equals(frame.sort("utt_id"))


ODD = {
    "binary": pl.Series([b"\xff"]),
    "list": pl.Series([["a"]]),
    "struct": pl.Series([{"a": 0.5}]),
    "object": pl.Series([object()], dtype=pl.Object),
    "date": pl.Series(["2024-01-01"]).str.to_date(),
    "null": pl.Series([None]),
}


@pytest.mark.parametrize("column", list(ODD.values()), ids=list(ODD))
@pytest.mark.parametrize("name", ["vq", "bin_bonafide"])
def test_columns_of_odd_types_are_refused(name: str, column: pl.Series) -> None:
    frame = pl.DataFrame({"utt_id": ["a"]}).with_columns(column.alias(name))
    with pytest.raises(CfbenchError, match=name):
        read_predictions(frame)


@pytest.mark.parametrize("kind", ["binary", "list", "struct", "object", "null"])
def test_ids_of_odd_types_are_refused(kind: str) -> None:
    frame = pl.DataFrame(ODD[kind].alias("utt_id")).with_columns(vq=pl.lit("mvq"))
    with pytest.raises(CfbenchError, match="utt_id"):
        read_predictions(frame)


def test_numeric_ids_are_their_digits() -> None:
    frame = pl.DataFrame({"utt_id": [7], "vq": ["mvq"]})
    assert read_predictions(frame).frame["utt_id"].to_list() == ["7"]


def test_what_is_no_frame_is_refused() -> None:
    with pytest.raises(CfbenchError, match="neither a path nor a frame"):
        cfbench.read_predictions(7)


def test_float32_of_a_network_is_read() -> None:
    frame = PROBABILITIES.with_columns(pl.col(pl.Float64).cast(pl.Float32))
    assert read_predictions(frame).frame["vq_mvq"].dtype == pl.Float64


def test_a_frame_is_not_changed_by_reading() -> None:
    frame = PROBABILITIES.clone()
    cfbench.score(frame, samples.protocol_frame(), bootstrap=0)
    assert frame.equals(PROBABILITIES)


def score_all(predictions: object, **options: object) -> Scorecard:
    return cfbench.score(predictions, samples.protocol_frame(), bootstrap=0, **options)


@pytest.mark.parametrize("suffix", ["csv", "jsonl.gz", "parquet"])
def test_a_scorecard_does_not_depend_on_the_format(tmp_path: Path, suffix: str) -> None:
    path = samples.write_frame(PROBABILITIES, tmp_path / f"p.{suffix}")
    assert score_all(path).to_json() == score_all(PROBABILITIES).to_json()


def test_a_scorecard_does_not_depend_on_the_kind_of_frame() -> None:
    expected = score_all(PROBABILITIES).to_json()
    assert score_all(PROBABILITIES.to_pandas()).to_json() == expected
    assert score_all(cfbench.read_predictions(PROBABILITIES)).to_json() == expected


def test_right_answers_score_1() -> None:
    for frame in (PROBABILITIES, LABELS):
        card = score_all(frame)
        for task in ("vq", "aux", "dec"):
            for split in ("id", "ood"):
                metrics = card.tasks[task].splits[split].overall.metrics
                assert metrics["macro_f1"].value == 1
