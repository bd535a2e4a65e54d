"""Folders of score files as the authors' code writes them."""

import gzip
from pathlib import Path

import polars as pl
import pytest

import cfbench
import samples
from cfbench.errors import CfbenchError
from cfbench.predictions import read_predictions
from cfbench.score_folders import read_score_folder

TASKS = {
    "bin": ("bin_bonafide",),
    "vq": ("vq_real", "vq_mvq", "vq_svq", "vq_sq"),
    "aux": ("aux_real", "aux_none", "aux_sem", "aux_disent"),
    "dec": ("dec_real", "dec_time", "dec_freq"),
}
FRAME = samples.probability_frame()


def score_text(frame: pl.DataFrame, task: str) -> str:
    columns = frame.select("utt_id", *TASKS[task])
    return "".join(" ".join(str(value) for value in row) + "\n" for row in columns.iter_rows())


def write_folder(
    folder: Path, frame: pl.DataFrame = FRAME, tasks: tuple[str, ...] = tuple(TASKS)
) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for task in tasks:
        (folder / f"{task}_score.txt").write_text(score_text(frame, task))
    return folder


def test_a_folder_is_read_as_predictions(tmp_path: Path) -> None:
    predictions = read_predictions(write_folder(tmp_path / "scores"))
    assert predictions.frame.equals(FRAME)
    assert list(predictions.kinds) == ["bin", "vq", "aux", "dec"]


@pytest.mark.parametrize("format", ["auto", "authors"])
def test_a_scorecard_of_a_folder_is_that_of_the_same_table(tmp_path: Path, format: str) -> None:
    folder = write_folder(tmp_path / "scores")
    protocol = samples.protocol_frame()
    card = cfbench.score(folder, protocol, format=format, bootstrap=0)
    assert card.to_json() == cfbench.score(FRAME, protocol, bootstrap=0).to_json()


def test_files_of_one_task_are_read_as_one(tmp_path: Path) -> None:
    id_ids = [row.utt_id for row in samples.CORS]
    inside = FRAME.filter(pl.col("utt_id").is_in(id_ids))
    outside = FRAME.filter(~pl.col("utt_id").is_in(id_ids))
    for task in TASKS:
        (tmp_path / f"CoRS_ALL.{task}_score.txt").write_text(score_text(inside, task))
        (tmp_path / f"CoSG_ALL.{task}_score.txt").write_text(score_text(outside, task))
    assert read_predictions(tmp_path).frame.sort("utt_id").equals(FRAME.sort("utt_id"))


def test_folders_one_below_are_read_as_one(tmp_path: Path) -> None:
    write_folder(tmp_path / "CoRS", FRAME[:10])
    write_folder(tmp_path / "CoSG", FRAME[10:])
    assert read_predictions(tmp_path).frame.equals(FRAME)


def test_the_order_of_lines_may_differ_between_tasks(tmp_path: Path) -> None:
    write_folder(tmp_path)
    (tmp_path / "vq_score.txt").write_text(score_text(FRAME.reverse(), "vq"))
    assert read_predictions(tmp_path).frame.equals(FRAME)


@pytest.mark.parametrize("name", ["vq_score.txt", "VQ_score.txt", "epoch3_vq_score.txt.gz"])
def test_names_say_the_task(tmp_path: Path, name: str) -> None:
    data = score_text(FRAME, "vq").encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    predictions = read_predictions(tmp_path)
    assert dict(predictions.kinds) == {"vq": "probabilities"}
    assert predictions.frame["vq_mvq"].to_list() == FRAME["vq_mvq"].to_list()


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: text.replace(" ", "\t"),
        lambda text: text.replace("\n", "\n\n"),
    ],
    ids=["byte-order mark", "CRLF", "no newline at the end", "tabs", "blank lines"],
)
def test_line_ends_and_separators_do_not_matter(tmp_path: Path, change) -> None:
    (tmp_path / "vq_score.txt").write_bytes(change(score_text(FRAME, "vq")).encode())
    assert read_predictions(tmp_path).frame["vq_sq"].to_list() == FRAME["vq_sq"].to_list()


def test_other_files_are_left_aside_and_named(tmp_path: Path) -> None:
    (write_folder(tmp_path) / "train.log").write_text("epoch 1\n")
    assert read_predictions(tmp_path).notes == (f"not read in {tmp_path}: train.log",)


def test_other_tasks_may_be_left_out(tmp_path: Path) -> None:
    write_folder(tmp_path)
    assert list(cfbench.read_predictions(tmp_path, tasks=["vq"]).kinds) == ["vq"]


GOOD = "a 0.1 0.7 0.1 0.1\nb 0.1 0.7 0.1 0.1\n"
BAD = {
    "a class too few": (GOOD + "c 0.1 0.8 0.1\n", ("line 3", "vq_real vq_mvq vq_svq vq_sq")),
    "a class too many": (GOOD + "c 0.1 0.7 0.1 0.1 0\n", ("line 3", "1 line not of the form")),
    "a line that is cut off": (GOOD[:-9], ("line 2", "cut off")),
    "a word": (GOOD.replace("0.7", "high", 1), ("line 1",)),
    "a header": ("utt_id real mvq svq sq\n" + GOOD, ("line 1",)),
    "commas": (GOOD.replace(" ", ","), ("2 lines", "line 1, line 2")),
    "an id twice": (GOOD + GOOD[:18] + "\n", ("a (", "line 1", "line 3")),
    "nan": (GOOD.replace("0.7", "nan", 1), ("vq_mvq", "not finite")),
    "inf": (GOOD.replace("0.7", "-inf", 1), ("vq_mvq", "not finite")),
    "logits": (GOOD.replace("0.7", "7.5"), ("vq_mvq", "--logits")),
    "a wrong sum": (GOOD.replace("0.7", "0.5", 1), ("not 1", "--logits")),
    "an empty file": ("", ("empty",)),
    "blank lines": ("\n\n", ("empty",)),
}


@pytest.mark.parametrize(("text", "says"), list(BAD.values()), ids=list(BAD))
def test_a_bad_score_file_is_refused(
    run_cli, tmp_path: Path, text: str, says: tuple[str, ...]
) -> None:
    folder = tmp_path / "scores"
    folder.mkdir()
    (folder / "vq_score.txt").write_text(text)
    result = run_cli("validate", folder)
    assert (result.code, result.out) == (2, "")
    assert "Traceback" not in result.err
    for words in says:
        assert words in result.err


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("vq_score.txt", b"a 0.1 0.7 0.1 0.1\n\xe9 0.1 0.7 0.1 0.1\n", "line 2: not UTF-8"),
        ("vq_score.txt", GOOD.encode("utf-16"), "line 1: not UTF-8"),
        ("vq_score.txt", bytes(range(256)), "vq_score.txt"),
        ("vq_score.txt.gz", gzip.compress(GOOD.encode())[:-9], "cut off"),
        ("vq_score.txt.gz", gzip.compress(GOOD.encode())[:15] + b"\xff" * 50, "vq_score.txt.gz"),
        ("vq_score.txt.gz", GOOD.encode(), "vq_score.txt.gz"),
    ],
    ids=["latin-1", "UTF-16", "binary", "truncated gz", "damaged gz", "no gz"],
)
def test_an_unreadable_score_file_is_refused(
    tmp_path: Path, name: str, data: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CfbenchError, match=says):
        read_score_folder(tmp_path)


def test_tasks_of_different_utterances_are_refused(tmp_path: Path) -> None:
    write_folder(tmp_path, FRAME[:9])
    (tmp_path / "dec_score.txt").write_text(score_text(FRAME[:7], "dec"))
    with pytest.raises(
        CfbenchError, match=r"2 utterances of bin_score.* not in dec_score"
    ) as caught:
        read_score_folder(tmp_path)
    assert FRAME["utt_id"][8] in str(caught.value)


def test_a_folder_that_is_not_there_names_its_neighbour(tmp_path: Path) -> None:
    write_folder(tmp_path / "scores")
    with pytest.raises(CfbenchError, match="mean 'scores'"):
        read_predictions(tmp_path / "score", format="authors")


def test_an_empty_folder_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(CfbenchError, match="bin_score"):
        read_score_folder(tmp_path)


def test_missing_and_surplus_utterances_are_refused(run_cli, tmp_path: Path, lists: Path) -> None:
    surplus = FRAME[1:].vstack(FRAME[:1].with_columns(utt_id=pl.lit("p227_999")))
    folder = write_folder(tmp_path / "scores", surplus)
    result = run_cli("score", folder, "--protocol", lists, "--bootstrap", 0)
    assert (result.code, result.out) == (2, "")
    assert "1 utterance is missing: p227_901" in result.err
    assert "1 utt_id is not in the protocol: p227_999" in result.err


@pytest.mark.parametrize("name", ["CoRS_ALL", "CoSG_ALL"])
def test_the_golden_scores_belong_to_the_real_lists(
    protocols: Path, golden: Path, tmp_path: Path, name: str
) -> None:
    for path in (golden / "metrics").glob(f"{name}.*"):
        (tmp_path / path.name).symlink_to(path.resolve())
    protocol = cfbench.read_protocol(protocols / "evaluation" / f"{name}.txt")
    predictions = cfbench.read_predictions(tmp_path)
    assert list(predictions.kinds) == list(TASKS)
    assert set(predictions.frame["utt_id"]) == set(protocol.frame["utt_id"])
