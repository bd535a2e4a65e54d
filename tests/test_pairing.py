"""Paired resampling: the same resamples for every system, and what follows from them."""

import numpy as np
import polars as pl
import pytest

import cfbench
import entries
from cfbench.metrics import confusion as decisions
from cfbench.pairing import Key, difference, holm, of_samples, replicated

KEY = Key("vq", "id", "macro_f1")


@pytest.fixture(scope="module")
def protocol():
    return cfbench.read_protocol(track=entries.TRACK)


def values(frame: pl.DataFrame, protocol, **settings):
    return replicated(cfbench.read_predictions(frame), protocol, **settings)


def test_points_are_those_of_the_scorecard(protocol):
    found = values(entries.example_predictions(), protocol)
    card = cfbench.score(entries.example_predictions(), protocol, track=entries.TRACK)
    assert len(found.keys) == 10
    for key, point in zip(found.keys, found.point, strict=True):
        number = card.tasks[key.task].splits[key.split].overall.metrics[key.metric]
        assert point == pytest.approx(number.value, abs=1e-12)


def test_replicates_are_those_of_rows_drawn_by_group(protocol):
    """Against resamples that are made row by row, group by group."""
    frame = entries.example_predictions()
    found = values(frame, protocol, replicates=40, seed=3)
    rows = protocol.split("id").join(frame, on="utt_id", maintain_order="left")
    classes = ["real", "mvq", "svq", "sq"]
    truth = np.array([classes.index(word) for word in rows["vq"]])
    said = rows.select([f"vq_{name}" for name in classes]).to_numpy().argmax(axis=1)
    names = sorted(rows["group"].unique().to_list())
    group = np.array([names.index(word) for word in rows["group"]])
    import zlib

    generator = np.random.default_rng([3, zlib.crc32(b"id/paired")])
    drawn = generator.integers(0, len(names), (40, len(names)))
    expected = []
    for draw in drawn:
        matrix = np.zeros((4, 4))
        for unit in draw:
            inside = group == unit
            np.add.at(matrix, (truth[inside], said[inside]), 1)
        expected.append(decisions.macro_f1(matrix))
    assert found.column(KEY) == pytest.approx(np.array(expected), abs=1e-6)


def test_a_system_does_not_differ_from_itself(protocol):
    one = values(entries.example_predictions(), protocol)
    shuffled = values(entries.example_predictions().sample(fraction=1, shuffle=True), protocol)
    for key in one.keys:
        told = difference(one, shuffled, key)
        assert told.value == 0
        assert (told.low, told.high, told.p) in ((0, 0, 1), (None, None, None))
        assert not told.told_apart


def test_the_other_way_round_is_the_same_difference(protocol):
    one = values(entries.example_predictions(), protocol)
    two = values(entries.confused(0.3), protocol)
    ahead, behind = difference(one, two, KEY), difference(two, one, KEY)
    assert ahead.value == -behind.value
    assert (ahead.low, ahead.high) == (-behind.high, -behind.low)
    assert ahead.p == behind.p


def test_pairing_sees_what_separate_intervals_do_not(protocol):
    """A system that is right wherever another is, and more often, is told apart from it."""
    one, two = values(entries.confused(0.1), protocol), values(entries.confused(0.2), protocol)
    told = difference(one, two, KEY)
    singles = [of_samples(v.point[v.keys.index(KEY)], v.column(KEY)) for v in (one, two)]
    width = told.high - told.low
    assert width < sum(single.high - single.low for single in singles) / 2
    assert told.told_apart


def test_what_one_does_not_answer_has_no_difference(protocol):
    one = values(entries.example_predictions(), protocol)
    two = values(entries.example_predictions().drop("dec_real", "dec_time", "dec_freq"), protocol)
    assert difference(one, two, Key("dec", "id", "macro_f1")).reason == "not answered by both"


def test_few_groups_are_not_resampled(protocol):
    some = protocol.frame.filter(pl.col("group").is_in(protocol.split("id")["group"].unique()[:4]))
    small = cfbench.read_protocol(some, track=entries.TRACK)
    frame = entries.example_predictions().join(some.select("utt_id"), on="utt_id")
    one = values(frame, small)
    told = difference(one, one, KEY)
    assert told.p is None
    assert told.reason == "too few groups to resample"


def test_p_values_of_no_difference_are_uniform():
    """Two samples of one distribution: p below 0.05 in about 5 of 100 comparisons."""
    generator = np.random.default_rng(0)
    below = 0
    for _ in range(400):
        sample = generator.normal(size=50)
        means = generator.choice(sample, (500, 50)).mean(axis=1)
        below += of_samples(float(sample.mean()), means).told_apart
    assert 8 <= below <= 40


def test_holm_is_that_of_the_worked_example():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
