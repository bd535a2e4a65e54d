"""Which prediction belongs to which utterance."""

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cfbench
import samples
from cfbench.alignment import Alignment, align
from cfbench.errors import CfbenchError
from cfbench.predictions import read_predictions
from cfbench.protocol import read_protocol
from cfbench.tasks import find_track

PROTOCOL = read_protocol(samples.protocol_frame(), find_track("codecfake-plus"))
LABELS = samples.label_frame()


def aligned(frame: pl.DataFrame, *splits: str, allow_missing: bool = False) -> Alignment:
    return align(read_predictions(frame), PROTOCOL, splits or ("id", "ood"), allow_missing)


def test_rows_are_in_the_order_of_the_protocol() -> None:
    shuffled = LABELS.sample(fraction=1, shuffle=True, seed=1)
    alignment = aligned(shuffled)
    assert shuffled["utt_id"].gather(alignment.rows).equals(PROTOCOL.frame["utt_id"])
    assert (alignment.missing, alignment.left_aside, alignment.problems) == (0, 0, ())


def test_predictions_of_other_splits_are_left_aside_and_counted() -> None:
    alignment = aligned(LABELS, "ood")
    assert alignment.rows.size == len(samples.COSG)
    assert alignment.left_aside == len(samples.CORS)
    assert alignment.problems == ()


def test_a_missing_utterance_is_a_problem() -> None:
    alignment = aligned(LABELS[1:])
    (problem,) = alignment.problems
    assert problem.message == "the frame: 1 utterance is missing: p227_901"
    assert "--allow-missing" in problem.hint
    assert alignment.missing == 1


def test_a_missing_utterance_may_be_allowed() -> None:
    alignment = aligned(LABELS[1:], allow_missing=True)
    assert alignment.problems == ()
    assert alignment.missing == 1
    assert list(alignment.rows).count(-1) == 1


def test_a_split_of_which_nothing_is_predicted_can_be_left_out() -> None:
    (problem,) = aligned(LABELS[: len(samples.CORS)]).problems
    assert "nothing of split ood is predicted: --split id scores id only" in problem.hint


def test_ids_of_another_kind_are_shown() -> None:
    problems = aligned(LABELS.with_columns(pl.format("wav/{}", "utt_id").alias("utt_id"))).problems
    assert "yours look like wav/p227_901" in problems[0].hint
    assert "34 utt_ids are not in the protocol: wav/p227_901 (row 1)" in problems[1].message


def test_a_surplus_utterance_is_a_problem_though_missing_ones_are_allowed() -> None:
    surplus = LABELS[:1].with_columns(utt_id=pl.lit("p227_90l"))
    (problem,) = aligned(LABELS.vstack(surplus), allow_missing=True).problems
    assert "1 utt_id is not in the protocol: p227_90l (row 35)" in problem.message
    assert "did you mean 'p227_90" in problem.message


def test_a_surplus_utterance_is_a_problem_though_its_split_is_not_asked_for() -> None:
    surplus = LABELS[:1].with_columns(utt_id=pl.lit("p227_999"))
    (problem,) = aligned(LABELS.vstack(surplus), "ood").problems
    assert "p227_999" in problem.message


def test_missing_and_surplus_are_reported_together() -> None:
    renamed = LABELS.with_columns(pl.col("utt_id").replace("p227_901", "p227_999"))
    assert len(aligned(renamed).problems) == 2


def test_the_same_clip_of_two_generators_is_kept_apart() -> None:
    ids = PROTOCOL.frame["utt_id"]
    rows = aligned(LABELS).rows
    for name in ("VALLE/0_ours", "CLAMTTS/0_ours"):
        assert LABELS["utt_id"][int(rows[ids.index_of(name)])] == name


@settings(max_examples=15, deadline=None, database=None, derandomize=True)
@given(dropped=st.sets(st.integers(0, LABELS.height - 1), min_size=1, max_size=LABELS.height - 1))
def test_dropping_any_rows_fails_unless_allowed(dropped: set[int]) -> None:
    kept = LABELS.with_row_index().filter(~pl.col("index").is_in(list(dropped))).drop("index")
    alignment = aligned(kept)
    assert alignment.missing == len(dropped)
    assert len(alignment.problems) == 1
    assert aligned(kept, allow_missing=True).problems == ()


def test_a_dropped_row_stops_score(tmp_path: Path) -> None:
    protocol = samples.protocol_frame()
    with pytest.raises(CfbenchError, match="1 utterance is missing"):
        cfbench.score(LABELS[:-1], protocol, bootstrap=0)
    card = cfbench.score(LABELS[:-1], protocol, bootstrap=0, allow_missing=True)
    assert card.settings.allow_missing
    assert card.predictions.utterances == LABELS.height - 1
    assert card.tasks["vq"].splits["ood"].overall.metrics["accuracy"].value == 15 / 16
    assert any("without a prediction" in note for note in card.notes)
