from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.metrics.detection import (
    BAYES_THRESHOLD,
    area_under_roc,
    det_curve,
    detection_cost,
    equal_error_rate,
    equal_error_rate_of_paper,
    false_positive_rate_at_95,
    llr_cost,
    log_likelihood_ratio,
    min_dcf,
)
from cfbench.metrics.probability import SMALLEST

many = settings(max_examples=25, deadline=None)

# Few distinct values, so that ties within and across the classes are the rule.
sides = st.lists(st.integers(-4, 4), min_size=1, max_size=25).map(
    lambda values: np.sort(np.array(values, dtype=float))
)
untied_sides = st.tuples(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1)).map(
    lambda drawn: tuple(
        np.sort(np.random.default_rng([drawn[2], side]).normal(side, 1, drawn[side]))
        for side in (0, 1)
    )
)
pairs = st.one_of(st.tuples(sides, sides), untied_sides)

# Of the authors' own code: bona fide scores, spoof scores, EER. (shared/golden, eer_small)
SPREAD = (
    *(0.01, 0.037, 0.064, 0.092, 0.119, 0.146, 0.173, 0.201, 0.228, 0.255, 0.282, 0.309, 0.337),
    *(0.364, 0.391, 0.418, 0.446, 0.473, 0.5, 0.527, 0.554, 0.582, 0.609, 0.636, 0.663, 0.691),
    *(0.718, 0.745, 0.772, 0.799, 0.827, 0.854, 0.881, 0.908, 0.936, 0.963, 0.99),
)
AUTHORS_EERS = {
    "perfect": ([0.9, 0.8, 0.7], [0.1, 0.2, 0.3], 0.0),
    "inverted": ([0.1, 0.2], [0.8, 0.9], 1.0),
    "all_tied": ([0.5] * 4, [0.5] * 6, 1.0),
    "one_each": ([0.6], [0.4], 0.0),
    "ties_across": ([0.2, 0.5, 0.5, 0.9], [0.1, 0.5, 0.5, 0.6, 0.7], 0.775),
    "uneven": ([0.9, 0.35, 0.8], SPREAD, 0.3288288288288288),
}


def points(bonafide, spoof):
    """Miss and false alarm of every threshold, exactly: an utterance at a time."""
    found = []
    for threshold in [*sorted({*bonafide, *spoof}), np.inf]:
        miss = Fraction(sum(score < threshold for score in bonafide.tolist()), bonafide.size)
        alarm = Fraction(sum(score >= threshold for score in spoof.tolist()), spoof.size)
        found.append((miss, alarm))
    return found


def slow_eer(bonafide, spoof):
    """Where the straight line between two neighbouring points meets miss = false alarm."""
    curve = points(bonafide, spoof)
    for (miss, alarm), (next_miss, next_alarm) in pairwise(curve):
        if next_miss >= next_alarm:
            step = (alarm - miss) / ((alarm - miss) + (next_miss - next_alarm))
            return miss + step * (next_miss - miss)
    raise AssertionError("the curve ends where everything is rejected")


def slow_cost(miss, alarm):
    """ASVspoof 5: prior of spoof 0.05, a miss costs 1 and a false alarm 10, normalised."""
    cost = 1 * Fraction(95, 100) * miss + 10 * Fraction(5, 100) * alarm
    return cost / min(1 * Fraction(95, 100), 10 * Fraction(5, 100))


@pytest.mark.parametrize("name", AUTHORS_EERS)
def test_eer_of_the_paper_is_the_authors_on_their_small_cases(name):
    bonafide, spoof, expected = AUTHORS_EERS[name]
    found = equal_error_rate_of_paper(np.sort(bonafide), np.sort(spoof))
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("perfect", 0.0),
        ("inverted", 1.0),
        ("all_tied", 0.5),
        ("one_each", 0.0),
        # From (miss 1/4, false alarm 4/5) to (3/4, 2/5): they meet 11/18 of the way.
        ("ties_across", 1 / 4 + 11 / 18 / 2),
        # 12 of 37 spoofs are at or above 0.691; one of three bona fide scores is below it.
        ("uneven", 1 / 3),
    ],
)
def test_tie_aware_eer_of_the_same_cases_derived_by_hand(name, expected):
    bonafide, spoof, _ = AUTHORS_EERS[name]
    found = equal_error_rate(det_curve(np.sort(bonafide), np.sort(spoof))).value
    assert found == pytest.approx(expected, abs=1e-12)


@given(pairs)
@many
def test_det_curve_agrees_with_counting_at_every_threshold(pair):
    curve = det_curve(*pair)
    expected = np.array(points(*pair), dtype=float)
    assert curve.miss == pytest.approx(expected[:, 0], abs=1e-12)
    assert curve.false_alarm == pytest.approx(expected[:, 1], abs=1e-12)
    assert (np.diff(curve.thresholds) > 0).all()


@given(pairs)
@many
def test_tie_aware_eer_agrees_with_the_definition(pair):
    assert equal_error_rate(det_curve(*pair)).value == pytest.approx(
        float(slow_eer(*pair)), abs=1e-12
    )


@given(pairs)
@many
def test_tie_aware_eer_lies_on_scikit_learns_roc_curve(pair):
    bonafide, spoof = pair
    truth = np.repeat([1, 0], [bonafide.size, spoof.size])
    alarm, hit, _ = sklearn.metrics.roc_curve(truth, np.concatenate(pair), drop_intermediate=False)
    # Along the curve hit + false alarm rises, so that each point of it has one such sum.
    eer = np.interp(1.0, alarm + hit, alarm)
    assert equal_error_rate(det_curve(bonafide, spoof)).value == pytest.approx(eer, abs=1e-12)


@given(pairs)
@many
def test_tie_aware_eer_does_not_care_which_class_is_called_positive(pair):
    bonafide, spoof = pair
    turned = det_curve(-spoof[::-1], -bonafide[::-1])
    assert equal_error_rate(turned).value == pytest.approx(
        equal_error_rate(det_curve(bonafide, spoof)).value, abs=1e-12
    )


@given(pairs)
@many
def test_the_threshold_of_the_eer_has_the_closest_error_rates(pair):
    bonafide, spoof = pair
    threshold = equal_error_rate(det_curve(bonafide, spoof)).threshold
    gap = abs(np.mean(bonafide < threshold) - np.mean(spoof >= threshold))
    closest = min(abs(miss - alarm) for miss, alarm in points(bonafide, spoof))
    assert gap == pytest.approx(float(closest), abs=1e-12)


@given(pairs)
@many
def test_auroc_agrees_with_scikit_learn(pair):
    truth = np.repeat([1, 0], [pair[0].size, pair[1].size])
    expected = sklearn.metrics.roc_auc_score(truth, np.concatenate(pair))
    assert area_under_roc(*pair) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("positive", "negative", "expected", "threshold"),
    [
        # All twenty positives but the lowest are 95 %: at 1 and above, with two of four negatives.
        ([0, *[1] * 19], [0, 0.5, 1, 2], 1 / 2, 1),
        # Of nineteen not one may be missed: 18 of 19 are less than 95 %.
        ([0, *[1] * 18], [-1, 0, 0.5, 1], 3 / 4, 0),
        # Of forty two may be; the second and the third are tied, so both stay.
        ([0, 1, 1, *[2] * 37], [0, 1, 2, 3], 3 / 4, 1),
        ([0, 1, *[2] * 38], [0, 1, 2, 3], 1 / 2, 2),
        ([5], [4, 4], 0, 5),
        ([4], [4, 4], 1, 4),
        ([1] * 3, [2], 1, 1),
        # A tenth of the positives is below all else: accepting 95 % accepts everything.
        ([-9, *[1] * 9], [0, 0], 1, -9),
    ],
)
def test_fpr95_derived_by_hand(positive, negative, expected, threshold):
    curve = det_curve(np.array(positive, dtype=float), np.array(negative, dtype=float))
    assert false_positive_rate_at_95(curve) == pytest.approx((expected, threshold))


@given(pairs)
@many
def test_fpr95_agrees_with_scikit_learns_roc_curve(pair):
    truth = np.repeat([1, 0], [pair[0].size, pair[1].size])
    alarm, hit, _ = sklearn.metrics.roc_curve(truth, np.concatenate(pair), drop_intermediate=False)
    # As counts: 19 of 20 are 95 %, whatever a ratio's last digit says.
    enough = np.rint(hit * pair[0].size) * 100 >= 95 * pair[0].size
    found = false_positive_rate_at_95(det_curve(*pair)).value
    assert found == pytest.approx(alarm[np.argmax(enough)], abs=1e-12)


@given(pairs)
@many
def test_fpr95_agrees_with_counting_at_every_threshold(pair):
    enough = [alarm for miss, alarm in points(*pair) if 1 - miss >= Fraction(95, 100)]
    found = false_positive_rate_at_95(det_curve(*pair)).value
    assert found == pytest.approx(float(min(enough)), abs=1e-12)


@given(pairs, st.integers(1, 3), st.integers(-2, 2))
@many
def test_fpr95_depends_on_the_order_of_scores_alone(pair, scale, shift):
    found = false_positive_rate_at_95(det_curve(*pair)).value
    turned = det_curve(*(np.exp(scale * scores / 8 + shift) for scores in pair))
    assert false_positive_rate_at_95(turned).value == found


@given(sides, st.integers(1, 20))
@many
def test_more_of_each_score_does_not_change_fpr95(side, times):
    found = false_positive_rate_at_95(det_curve(side, side)).value
    again = np.repeat(side, times)
    assert false_positive_rate_at_95(det_curve(again, again)).value == pytest.approx(found)
    assert found >= 0.95


@given(pairs)
@many
def test_min_dcf_is_the_lowest_cost_of_all_thresholds(pair):
    expected = min(slow_cost(*point) for point in points(*pair))
    assert min_dcf(det_curve(*pair)).value == pytest.approx(float(expected), abs=1e-12)


def test_the_better_of_accepting_and_rejecting_everything_costs_1():
    assert detection_cost(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == pytest.approx([1, 1.9])
    # 95 % of misses of cost 1 against 5 % of false alarms of cost 10, over 0.5.
    assert detection_cost(np.float64(0.1), np.float64(0.2)) == pytest.approx(
        (0.95 * 0.1 + 0.5 * 0.2) / 0.5
    )


def test_the_bayes_threshold_accepts_where_that_costs_less_in_expectation():
    for llr in np.linspace(-2, 1, 61):
        odds = np.exp(llr) * 0.95 / 0.05
        cost_of_accepting, cost_of_rejecting = 10 / (1 + odds), 1 * odds / (1 + odds)
        assert (llr >= BAYES_THRESHOLD) == (cost_of_accepting <= cost_of_rejecting)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=20), st.booleans())
@many
def test_llr_cost_agrees_with_the_definition(llrs, bonafide):
    sign = -1 if bonafide else 1
    expected = [np.log2(1 + np.exp(sign * llr)) for llr in llrs]
    assert llr_cost(np.array(llrs), bonafide) == pytest.approx(expected, abs=1e-9)


def test_a_system_that_says_nothing_costs_one_bit():
    assert llr_cost(np.zeros(1), True).tolist() == [1]
    assert llr_cost(np.zeros(1), False).tolist() == [1]


def test_the_llr_cost_of_a_certain_error_is_bounded():
    bound = np.log2(1 + 1 / SMALLEST)
    assert llr_cost(np.array([-1e9, -np.inf]), True) == pytest.approx([bound, bound])
    assert llr_cost(np.array([1e9, np.inf]), False) == pytest.approx([bound, bound])


@given(st.floats(1e-9, 1 - 1e-9))
@many
def test_log_likelihood_ratio_is_the_log_of_the_odds(probability):
    expected = np.log(probability / (1 - probability))
    assert log_likelihood_ratio(np.array([probability])) == pytest.approx(expected, abs=1e-6)


def test_log_likelihood_ratio_of_a_certain_answer_is_finite_and_symmetric():
    low, high = log_likelihood_ratio(np.array([0.0, 1.0]))
    assert np.isfinite(high)
    assert low == pytest.approx(-high, abs=1e-9)
