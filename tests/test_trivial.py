"""Files of predictors that know nothing of the audio: they give what the scorecard says they do."""

from pathlib import Path

import polars as pl
import pytest

import cfbench
import entries
from cfbench.errors import CfbenchError
from cfbench.trivial import trivial_answers


@pytest.fixture(scope="module")
def protocol():
    return cfbench.read_protocol(track="example")


@pytest.mark.parametrize("predictor", ["majority", "detector"])
def test_the_file_gets_what_the_scorecard_says_of_the_predictor(protocol, predictor: str) -> None:
    answers = trivial_answers(protocol, predictor)
    card = cfbench.score(answers, track="example", bootstrap=0)
    compared = 0
    for task_id, task in card.tasks.items():
        for split in task.splits.values():
            for metric, value in split.trivial[predictor].items():
                if task_id == "bin" and metric not in ("eer", "macro_f1"):
                    continue
                if value is not None and metric in split.overall.metrics:
                    assert split.overall.metrics[metric].value == pytest.approx(value), metric
                    compared += 1
    assert compared >= 6


def test_the_detector_is_no_predictor_of_detection(protocol) -> None:
    assert trivial_answers(protocol, "detector").columns == ["utt_id", "vq", "aux", "dec"]


def test_random_answers_follow_from_the_names_alone(protocol) -> None:
    whole = trivial_answers(protocol, "uniform")
    part = trivial_answers(protocol, "uniform", ["ood"])
    assert whole.join(part.select("utt_id"), on="utt_id", how="semi").equals(part)


def test_random_answers_are_as_often_one_class_as_another() -> None:
    ids = [f"u{n}" for n in range(8000)]
    frame = pl.DataFrame({"utt_id": ids, "split": "id", "source": "s", "group": ids,
                          "bin": "spoof", "vq": "mvq", "aux": "none", "dec": "time"})  # fmt: skip
    known = cfbench.read_protocol(frame, track="example")
    answers = trivial_answers(known, "uniform", ["id"])
    for task_id, classes in (("vq", 4), ("aux", 4), ("dec", 3)):
        shares = answers[task_id].value_counts(normalize=True)["proportion"].to_list()
        assert len(shares) == classes
        # Five standard errors.
        assert all(abs(share - 1 / classes) < 5 * (0.25 / 8000) ** 0.5 for share in shares)
    assert abs(answers["bin_bonafide"].mean() - 0.5) < 5 / (12 * 8000) ** 0.5


def test_the_majority_is_that_of_each_split(protocol) -> None:
    answers = trivial_answers(protocol, "majority")
    truth = entries.example_truth().with_columns(pl.col("split", "vq").cast(pl.String))
    for (split,), part in truth.filter(pl.col("split").is_in(["id", "ood"])).group_by("split"):
        counts = dict(part["vq"].value_counts().rows())
        (said,) = set(answers.join(part.select("utt_id"), on="utt_id", how="semi")["vq"])
        assert counts[said] == max(counts.values()), split


def test_an_unknown_predictor_is_said(protocol) -> None:
    with pytest.raises(CfbenchError, match="did you mean 'majority'"):
        trivial_answers(protocol, "majorty")


def test_the_command_writes_a_file_that_is_scored(run_cli, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    done = run_cli("template", "--track", "example", "--trivial", "majority", "--out", path)
    assert (done.code, done.out) == (0, "")
    assert "499 utterances" in done.err
    assert run_cli("validate", path, "--track", "example").code == 0
    again = run_cli("template", "--track", "example", "--trivial", "majority", "--out", path)
    assert again.code == 2
    assert "--force" in again.err


def test_the_command_does_not_mix_ways_of_answering(run_cli, tmp_path: Path) -> None:
    done = run_cli(
        "template",
        "--track",
        "example",
        "--trivial",
        "uniform",
        "--labels",
        "-o",
        tmp_path / "p.csv",
    )
    assert done.code == 2
    assert "--trivial" in done.err
