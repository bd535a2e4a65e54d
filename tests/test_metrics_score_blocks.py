from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.metrics.detection import (
    area_under_roc,
    det_curve,
    detection_cost,
    equal_error_rate,
    false_positive_rate_at_95,
    min_dcf,
)
from cfbench.metrics.score_blocks import ScoreBlocks

METRICS = ("eer", "auroc", "min_dcf", "fpr95")


class Sample(NamedTuple):
    """Sorted scores, and the unit of each; `weights` says how often a unit is drawn."""

    bonafide: np.ndarray
    spoof: np.ndarray
    units: tuple[np.ndarray, np.ndarray]
    weights: np.ndarray

    def blocks(self, n):
        curve = det_curve(self.bonafide, self.spoof)
        best = int(np.argmin(detection_cost(curve.miss, curve.false_alarm)))
        around = (
            equal_error_rate(curve).threshold,
            float(curve.thresholds[best]),
            false_positive_rate_at_95(curve).threshold,
        )
        return ScoreBlocks(self.bonafide, self.spoof, curve, around, n, METRICS)


def draw(seed, sizes, n_units, replicates, decimals=None):
    generator = np.random.default_rng(seed)
    shift = generator.normal(0, 0.5, n_units)
    scores, units = [], []
    for size, mean in zip(sizes, (1, -1), strict=True):
        unit = generator.integers(0, n_units, size)
        score = generator.normal(mean, 1, size) + shift[unit]
        if decimals is not None:
            score = score.round(decimals)
        order = np.argsort(score)
        scores.append(score[order])
        units.append(unit[order])
    weights = generator.multinomial(n_units, np.full(n_units, 1 / n_units), replicates)
    return Sample(*scores, (units[0], units[1]), weights.astype(np.float64))


def brute_force(sample):
    """Every resample written out, an utterance as often as its unit was drawn."""
    found = {name: [] for name in METRICS}
    for weights in sample.weights.astype(int):
        bonafide = np.repeat(sample.bonafide, weights[sample.units[0]])
        spoof = np.repeat(sample.spoof, weights[sample.units[1]])
        if not bonafide.size or not spoof.size:
            for values in found.values():
                values.append(np.nan)
            continue
        curve = det_curve(bonafide, spoof)
        found["eer"].append(equal_error_rate(curve).value)
        found["auroc"].append(area_under_roc(bonafide, spoof))
        found["min_dcf"].append(min_dcf(curve).value)
        found["fpr95"].append(false_positive_rate_at_95(curve).value)
    return {name: np.array(values) for name, values in found.items()}


def by_blocks(sample, n, opened=True):
    blocks = sample.blocks(n)
    counts = np.zeros((len(sample.weights), 2 * blocks.n_blocks))
    for cells, units in zip(blocks.cells(), sample.units, strict=True):
        for row, weights in zip(counts, sample.weights, strict=True):
            row += np.bincount(cells, weights[units], minlength=row.size)
    if opened:
        return blocks.metrics(counts, sample.weights, sample.units)
    return blocks.metrics(counts)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_with_few_distinct_scores_every_metric_is_exact(seed, n_bonafide, n_spoof, n_units):
    sample = draw(seed, (n_bonafide, n_spoof), n_units, 10, decimals=1)
    expected = brute_force(sample)
    for opened in (True, False):
        found = by_blocks(sample, 128, opened)
        for name in METRICS:
            assert found[name] == pytest.approx(expected[name], abs=1e-12, nan_ok=True)


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 2]), st.sampled_from([8, 32, 128]))
@settings(max_examples=15, deadline=None)
def test_eer_and_fpr95_are_exact_with_many_distinct_scores_too(seed, decimals, blocks):
    sample = draw(seed, (300, 900), 20, 30, decimals)
    found, expected = by_blocks(sample, blocks), brute_force(sample)
    for name in ("eer", "fpr95"):
        assert found[name] == pytest.approx(expected[name], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_auroc_and_min_dcf_are_far_closer_than_their_spread(seed):
    sample = draw(seed, (400, 1600), 50, 150)
    expected, found = brute_force(sample), by_blocks(sample, 128)
    error = {name: found[name] - expected[name] for name in METRICS}
    # Root mean square error over standard deviation. A bound of minDCF from above, never below.
    assert np.sqrt((error["auroc"] ** 2).mean()) < 0.03 * expected["auroc"].std()
    assert np.sqrt((error["min_dcf"] ** 2).mean()) < 0.1 * expected["min_dcf"].std()
    assert (error["min_dcf"] > -1e-12).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("metric", "share"), [("eer", 0.1), ("fpr95", 0.15)])
def test_without_weights_they_are_interpolated_far_closer_than_their_spread(seed, metric, share):
    sample = draw(seed, (400, 1600), 50, 150)
    expected, found = brute_force(sample)[metric], by_blocks(sample, 128, opened=False)[metric]
    assert np.sqrt(((found - expected) ** 2).mean()) < share * expected.std()
    assert abs((found - expected).mean()) < 0.05 * expected.std()


def test_what_is_not_wanted_is_not_computed():
    sample = draw(1, (30, 70), 10, 1)
    curve = det_curve(sample.bonafide, sample.spoof)
    blocks = ScoreBlocks(sample.bonafide, sample.spoof, curve, (0.0,), 8, ["auroc"])
    assert set(blocks.metrics(np.ones((1, 2 * blocks.n_blocks)))) == {"eer", "auroc"}


def test_drawing_every_unit_once_gives_the_metrics_of_the_sample():
    sample = draw(1, (300, 700), 10, 1)._replace(weights=np.ones((1, 10)))
    found, expected = by_blocks(sample, 64), brute_force(sample)
    for name in METRICS:
        assert found[name] == pytest.approx(expected[name], abs=1e-12)


def test_a_resample_that_lost_a_class_has_no_metrics():
    # Unit 0 holds the bona fide speech, unit 1 the spoofs.
    units = (np.zeros(3, dtype=int), np.ones(2, dtype=int))
    weights = np.array([[2.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    sample = Sample(np.array([1.0, 2.0, 3.0]), np.array([0.0, 2.5]), units, weights)
    # Threshold 2: a third is missed, a half is let pass; threshold 2.5: two thirds, a half.
    found = by_blocks(sample, 128)
    assert found["eer"] == pytest.approx([np.nan, np.nan, 1 / 2], nan_ok=True)
    assert found["auroc"] == pytest.approx([np.nan, np.nan, 4 / 6], nan_ok=True)
    # Threshold 1 misses nothing and lets half of the spoofs pass.
    assert found["min_dcf"] == pytest.approx([np.nan, np.nan, 1 / 2], nan_ok=True)
    assert found["fpr95"] == pytest.approx([np.nan, np.nan, 1 / 2], nan_ok=True)


def test_unanswered_utterances_may_lie_at_infinity():
    generator = np.random.default_rng(3)
    bonafide = np.sort(np.append(generator.normal(1, 1, 200), [-np.inf] * 5))
    spoof = np.sort(np.append(generator.normal(-1, 1, 300), [np.inf] * 7))
    units = tuple(generator.integers(0, 15, scores.size) for scores in (bonafide, spoof))
    weights = generator.multinomial(15, np.full(15, 1 / 15), 50).astype(float)
    sample = Sample(bonafide, spoof, units, weights)
    found, expected = by_blocks(sample, 32), brute_force(sample)
    assert found["eer"] == pytest.approx(expected["eer"], abs=1e-12)
    assert found["fpr95"] == pytest.approx(expected["fpr95"], abs=1e-12)
    assert found["auroc"] == pytest.approx(expected["auroc"], abs=5e-3)


@given(st.integers(0, 2**32 - 1), st.integers(2, 64))
@settings(max_examples=30, deadline=None)
def test_cells_rise_with_the_scores_and_tied_scores_share_one(seed, blocks):
    sample = draw(seed, (50, 80), 7, 1, decimals=1)
    cut = sample.blocks(blocks)
    bonafide, spoof = cut.cells()
    cells = dict(zip(sample.bonafide, bonafide, strict=True))
    for score, cell in zip(sample.spoof, spoof - cut.n_blocks, strict=True):
        assert cells.setdefault(score, cell) == cell
    in_order = [cells[score] for score in sorted(cells)]
    assert in_order == sorted(in_order)
    assert in_order[0] >= 0
    assert in_order[-1] < cut.n_blocks
