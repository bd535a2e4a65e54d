"""Places: tiers by paired resamples, by intervals where there are none; what never ranks."""

from collections.abc import Mapping

import numpy as np
import pytest

import entries
from cfbench.errors import CfbenchError, Problem
from cfbench.leaderboard.entries import Entry, Refused
from cfbench.leaderboard.ranking import Board, Row, rank
from cfbench.leaderboard.results import Result, SplitResult, TaskResult, Value
from cfbench.pairing import Key, Replicated
from cfbench.submission import Answers, Claim, Submission
from cfbench.tasks import TRACING_IDS, find_track

TRACK = find_track("example")
SPLITS = ("id", "ood")
DIGESTS = {"id": "a" * 64, "ood": "b" * 64}
# What resampling does to every system alike, and to one alone.
COMMON = np.random.default_rng(0).normal(0, 0.05, 1000)
OWN = np.random.default_rng(1).normal(0, 0.002, (40, 1000))


def split_result(value: float | None, width: float) -> SplitResult:
    trivial = {"majority": 0.15, "detector": 0.4, "uniform": 0.2}
    shown = Value(value=None, reason="not defined here")
    if value is not None:
        shown = Value(value=value, low=value - width, high=value + width)
    return SplitResult(
        value=shown, trivial=trivial, support={}, answers=(), confusion=(), sources=()
    )


def entry(
    slug: str,
    values: Mapping[str, tuple[float | None, float | None]] | tuple[float | None, float | None],
    paired: bool = True,
    noise: int = 0,
    width: float = 0.05,
    reference: bool = False,
    version: str = TRACK.version,
    digests: Mapping[str, str] = DIGESTS,
) -> Entry:
    """A system with values in and out of domain: the same for the tracing tasks, or by task."""
    if not isinstance(values, Mapping):
        values = dict.fromkeys(TRACING_IDS, values)
    metrics = {task_id: "eer" if task_id == "bin" else "macro_f1" for task_id in values}
    result = Result(
        track=TRACK.name,
        track_version=version,
        track_title=TRACK.title,
        protocol=dict(digests),
        utterances=dict.fromkeys(SPLITS, 100),
        groups=dict.fromkeys(SPLITS, 10),
        group_units=dict.fromkeys(SPLITS, "source"),
        tasks={
            task_id: TaskResult(
                title=task_id,
                metric=metrics[task_id],
                given="probabilities",
                splits={s: split_result(v, width) for s, v in zip(SPLITS, pair, strict=True)},
                drop=None,
            )
            for task_id, pair in values.items()
        },
    )
    keys = [
        (Key(task_id, split, metrics[task_id]), np.nan if value is None else value)
        for task_id, pair in values.items()
        for split, value in zip(SPLITS, pair, strict=True)
    ]
    samples = np.column_stack([value + COMMON + OWN[noise] for _, value in keys])
    replicates = Replicated(
        tuple(key for key, _ in keys),
        np.array([value for _, value in keys]),
        samples.astype(np.float32),
    )
    submission = Submission(
        slug=slug,
        reference=reference,
        system=entries.system(slug.title()),
        predictions=Answers(address="predictions.csv", sha256="c" * 64),
        result=Claim(
            track=TRACK.name,
            track_version=version,
            cfbench="1",
            tasks=dict.fromkeys(values, "1"),
            protocol=dict(digests),
            scorecard="d" * 64,
        ),
    )
    status = "verified" if paired else "claimed"
    return Entry(submission, result, status, replicates if paired else None)


def rows(board: Board, table: str = "overall") -> dict[str, Row]:
    found = next(one for one in board.tables if one.id == table)
    return {row.slug or row.name: row for row in found.rows}


def places(board: Board, table: str = "overall", split: str = "ood") -> dict[str, int]:
    return {
        name: row.places[split].place
        for name, row in rows(board, table).items()
        if row.places[split] is not None
    }


def test_what_resampling_does_to_both_alike_does_not_hide_a_difference():
    """Intervals of 10 points overlap; the difference of 2 points is there in every resample."""
    board = rank([entry("one", (0.9, 0.62)), entry("two", (0.9, 0.60), noise=1)], [], TRACK)
    first, second = (rows(board)[name].values["ood"] for name in ("one", "two"))
    assert first.low < second.high
    assert places(board) == {"one": 1, "two": 2}


def test_systems_that_are_not_told_apart_share_a_place_and_the_next_is_counted_from_above():
    board = rank(
        [
            entry("one", (0.9, 0.6001)),
            entry("two", (0.9, 0.6), noise=1),
            entry("far", (0.9, 0.5), noise=2),
        ],
        [],
        TRACK,
    )
    assert places(board) == {"one": 1, "two": 1, "far": 3}
    told = rows(board)
    assert [told[name].places["ood"].by for name in ("one", "two", "far")] == [None, "paired", None]


def test_a_tier_is_that_of_its_first_system():
    """b is not told apart from a, nor c from b; c is from a, so c begins the next tier."""
    board = rank(
        [entry(name, (0.9, 0.6 - 0.004 * n), noise=n) for n, name in enumerate("abc")], [], TRACK
    )
    assert places(board) == {"a": 1, "b": 1, "c": 3}


def test_without_predictions_intervals_decide_and_it_is_marked():
    board = rank(
        [
            entry("one", (0.9, 0.60)),
            entry("claimed", (0.9, 0.58), paired=False),
            entry("far", (0.9, 0.40), paired=False),
        ],
        [],
        TRACK,
    )
    assert places(board, "vq") == {"one": 1, "claimed": 1, "far": 3}
    assert rows(board, "vq")["claimed"].places["ood"].by == "intervals"
    # An overall value has no interval of its own without replicates: nothing tells it apart.
    assert rows(board)["far"].values["ood"].low is None
    assert places(board) == {"one": 1, "claimed": 1, "far": 1}


def test_undefined_never_ranks_and_stands_last():
    values = {"vq": (0.9, 0.9), "aux": (0.9, None), "dec": (0.9, 0.9)}
    board = rank([entry("undefined", values), entry("poor", (0.1, 0.1), noise=1)], [], TRACK)
    assert places(board) == {"poor": 1}
    assert list(rows(board))[-1] == "undefined"
    shown = rows(board)["undefined"].values["ood"]
    assert (shown.value, shown.reason) == (None, "aux not defined")
    assert places(board, "aux") == {"poor": 1}
    assert places(board, "vq") == {"undefined": 1, "poor": 2}


def test_overall_needs_all_three_tracing_tasks_and_is_their_mean():
    values = {"vq": (0.9, 0.3), "aux": (0.6, 0.6), "dec": (0.3, 0.9)}
    board = rank([entry("whole", values), entry("part", {"vq": (0.9, 0.9)}, noise=1)], [], TRACK)
    whole = rows(board)["whole"].values
    assert (whole["id"].value, whole["ood"].value) == pytest.approx((0.6, 0.6))
    assert places(board) == {"whole": 1}
    assert rows(board)["part"].values["ood"].reason == "aux, dec not defined"
    assert list(places(board, "vq")) == ["part", "whole"]


def test_of_error_rates_the_lower_one_is_better():
    board = rank(
        [
            entry("good", {"bin": (0.01, 0.05)}),
            entry("poor", {"bin": (0.01, 0.30)}, noise=1),
        ],
        [],
        TRACK,
    )
    assert places(board, "bin") == {"good": 1, "poor": 2}


def test_out_of_domain_orders_and_in_domain_decides_between_equals():
    board = rank(
        [entry("a", (0.7, 0.6)), entry("b", (0.8, 0.6)), entry("c", (0.9, 0.5))], [], TRACK
    )
    order = [name for name in rows(board) if name in "abc"]
    assert order == ["b", "a", "c"]
    assert places(board, split="id") == {"c": 1, "b": 2, "a": 3}


def test_references_have_no_place_and_do_not_push_others_down():
    board = rank(
        [entry("ours", (0.9, 0.9), reference=True), entry("theirs", (0.8, 0.8), noise=1)],
        [],
        TRACK,
    )
    assert places(board) == {"theirs": 1}
    assert rows(board)["ours"].kind == "reference"


def test_trivial_predictors_are_lines_unless_the_keepers_have_entries_of_them():
    names = ["majority class", "perfect detector, majority spoofed class", "uniformly random"]
    board = rank([entry("one", (0.9, 0.6))], [], TRACK)
    assert [name for name in rows(board) if name in names] == [names[1], names[2], names[0]]
    kept = entry("trivial-majority", (0.15, 0.15), reference=True, noise=1)
    board = rank([entry("one", (0.9, 0.6)), kept], [], TRACK)
    assert "majority class" not in rows(board)
    assert places(board) == {"one": 1}


def test_nobody_else_takes_the_place_of_a_trivial_predictor():
    squatter = entry("trivial-majority", (0.9, 0.9), noise=1)
    assert "majority class" in rows(rank([squatter], [], TRACK))


def test_another_protocol_or_version_is_not_ranked_and_said():
    others = [
        entry("other-protocol", (0.99, 0.99), digests={"id": "e" * 64, "ood": "b" * 64}),
        entry("other-version", (0.99, 0.99), version="0"),
    ]
    found = rank(
        [entry("one", (0.9, 0.6)), entry("two", (0.9, 0.6)), *others],
        [Refused("broken", (Problem("submission.toml: is missing"),))],
        TRACK,
    )
    assert set(places(found)) == {"one", "two"}
    assert found.refused == {
        "broken": "submission.toml: is missing",
        "other-protocol": "was scored on another protocol",
        "other-version": f"is of version 0, not {TRACK.version}",
    }


def test_claims_on_a_protocol_of_their_own_do_not_outvote_a_verified_one():
    own = {"id": "e" * 64, "ood": "f" * 64}
    many = [entry(f"own-{n}", (1.0, 1.0), paired=False, digests=own) for n in range(5)]
    board = rank([*many, entry("checked", (0.5, 0.5))], [], TRACK)
    assert places(board) == {"checked": 1}
    assert len(board.refused) == 5


def test_the_order_in_which_entries_are_read_does_not_matter():
    them = [entry(name, (0.9, 0.6 - 0.003 * n), noise=n) for n, name in enumerate("abcde")]
    assert rank(them, [], TRACK).to_json() == rank(them[::-1], [], TRACK).to_json()


def test_nothing_to_rank_is_said():
    with pytest.raises(CfbenchError, match="no submissions of example"):
        rank([], [], TRACK)
    with pytest.raises(CfbenchError, match="can be ranked"):
        rank([entry("old", (0.5, 0.5), version="0")], [], TRACK)
