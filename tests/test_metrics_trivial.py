import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.metrics.confusion import accuracy, macro_f1, support
from cfbench.metrics.detection import (
    area_under_roc,
    det_curve,
    equal_error_rate,
    false_positive_rate_at_95,
)
from cfbench.metrics.trivial import SAYS_NOTHING, TITLES, trivial_confusions

many = settings(max_examples=25, deadline=None)

supports = st.lists(st.integers(0, 30), min_size=2, max_size=5).filter(any)


@given(supports)
@many
def test_every_trivial_predictor_answers_every_utterance(counts):
    given_support = np.array(counts, dtype=float)
    confusions = trivial_confusions(given_support, 0)
    assert set(confusions) == set(TITLES)
    for confusion in confusions.values():
        assert support(confusion) == pytest.approx(given_support)


@given(supports)
@many
def test_majority_and_detector_agree_with_answers_written_out(counts):
    truth = np.repeat(np.arange(len(counts)), counts)
    confusions = trivial_confusions(np.array(counts, dtype=float), 0)
    majority = np.full_like(truth, int(np.argmax(counts)))
    detector = np.where(truth == 0, 0, 1 + int(np.argmax(counts[1:])))
    for name, answers in (("majority", majority), ("detector", detector)):
        expected = sklearn.metrics.confusion_matrix(truth, answers, labels=range(len(counts)))
        assert np.array_equal(confusions[name], expected)


@given(supports)
@many
def test_the_uniform_predictor_is_right_once_in_as_many_as_there_are_classes(counts):
    confusion = trivial_confusions(np.array(counts, dtype=float), 0)["uniform"]
    assert accuracy(confusion) == pytest.approx(1 / len(counts))


def test_the_perfect_detector_of_cosg_reaches_a_macro_f1_that_tells_nothing_of_tracing():
    # AUX of CoSG: 866 bona fide, 874 none, 5 semantic, 52 disentangled. F1 of the four classes:
    # 1, 2 * 874 / (874 + 931), 0, 0.
    confusion = trivial_confusions(np.array([866.0, 874.0, 5.0, 52.0]), 0)["detector"]
    of_none = 2 * 874 / (874 + 931)
    assert macro_f1(confusion) == pytest.approx((1 + of_none) / 4)
    assert macro_f1(confusion, np.array([False, True, True, True])) == pytest.approx(of_none / 3)


def test_ties_go_to_the_class_that_comes_first():
    confusions = trivial_confusions(np.array([2.0, 2.0, 2.0]), 0)
    assert confusions["majority"].tolist() == [[2, 0, 0]] * 3
    assert confusions["detector"].tolist() == [[2, 0, 0], [0, 2, 0], [0, 2, 0]]


def test_bona_fide_speech_need_not_be_the_first_class():
    # Spoof detection: spoof, bona fide.
    assert trivial_confusions(np.array([3.0, 5.0]), 1)["detector"].tolist() == [[3, 0], [0, 5]]


def test_without_bona_fide_speech_there_is_no_detector() -> None:
    found = trivial_confusions(np.array([2.0, 3.0]), None)
    assert list(found) == ["majority", "uniform"]
    assert found["majority"].tolist() == [[0, 2], [0, 3]]


@pytest.mark.parametrize("metric", sorted(SAYS_NOTHING))
def test_scores_that_say_nothing_get_what_is_written_of_them(metric: str) -> None:
    tied = det_curve(np.zeros(40), np.zeros(60))
    generator = np.random.default_rng(0)
    scores = [np.sort(generator.random(size)) for size in (20_000, 30_000)]
    shuffled = det_curve(scores[0], scores[1])
    find = {
        "eer": lambda curve, sides: equal_error_rate(curve).value,
        "auroc": lambda curve, sides: area_under_roc(*sides),
        "fpr95": lambda curve, sides: false_positive_rate_at_95(curve).value,
    }[metric]
    assert find(tied, (np.zeros(40), np.zeros(60))) == SAYS_NOTHING[metric]["majority"]
    assert find(shuffled, scores) == pytest.approx(SAYS_NOTHING[metric]["uniform"], abs=0.01)
