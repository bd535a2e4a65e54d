import warnings
from typing import NamedTuple

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.metrics import confusion as decisions

many = settings(max_examples=25, deadline=None)


class Case(NamedTuple):
    truth: np.ndarray
    answers: np.ndarray
    n_classes: int

    @property
    def matrix(self) -> np.ndarray:
        return decisions.confusion_matrix(
            self.truth, self.answers, self.n_classes, self.n_classes
        ).astype(float)

    @property
    def present(self) -> list[int]:
        return sorted(set(self.truth.tolist()))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Truth and answers of a task; classes absent from the truth, the answers or both occur."""
    n_classes = draw(st.integers(2, 5))
    one = st.integers(0, n_classes - 1)
    pairs = draw(st.lists(st.tuples(one, one), min_size=1, max_size=60))
    truth, answers = np.array(pairs, dtype=np.int8).T
    return Case(truth, answers, n_classes)


@given(cases())
@many
def test_confusion_matrix_agrees_with_scikit_learn(case):
    expected = sklearn.metrics.confusion_matrix(
        case.truth, case.answers, labels=range(case.n_classes)
    )
    assert np.array_equal(case.matrix, expected)


@given(cases())
@many
def test_precision_recall_f1_and_support_of_each_class_agree_with_scikit_learn(case):
    labels = list(range(case.n_classes))
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        case.truth, case.answers, labels=labels, zero_division=np.nan
    )
    assert np.array_equal(decisions.support(case.matrix), support)
    assert decisions.precision(case.matrix) == pytest.approx(precision, abs=1e-12, nan_ok=True)
    assert decisions.recall(case.matrix) == pytest.approx(recall, abs=1e-12, nan_ok=True)
    # scikit-learn gives 0 for a class that was answered but never true; here it has no F1.
    defined = np.where(support > 0, f1, np.nan)
    assert decisions.f1(case.matrix) == pytest.approx(defined, abs=1e-12, nan_ok=True)


@given(cases())
@many
def test_macro_f1_is_scikit_learns_over_the_classes_that_have_support(case):
    expected = sklearn.metrics.f1_score(
        case.truth, case.answers, labels=case.present, average="macro", zero_division=0
    )
    assert decisions.macro_f1(case.matrix) == pytest.approx(expected, abs=1e-12)


@given(cases())
@many
def test_macro_f1_of_the_spoofed_classes_is_scikit_learns_over_these(case):
    spoofed = [label for label in case.present if label != 0]
    wanted = np.isin(np.arange(case.n_classes), spoofed)
    found = decisions.macro_f1(case.matrix, wanted)
    if not spoofed:
        assert np.isnan(found)
        return
    expected = sklearn.metrics.f1_score(
        case.truth, case.answers, labels=spoofed, average="macro", zero_division=0
    )
    assert found == pytest.approx(expected, abs=1e-12)


@given(cases())
@many
def test_weighted_f1_agrees_with_scikit_learn(case):
    expected = sklearn.metrics.f1_score(
        case.truth, case.answers, average="weighted", zero_division=0
    )
    assert decisions.weighted_f1(case.matrix) == pytest.approx(expected, abs=1e-12)


@given(cases())
@many
def test_accuracy_agrees_with_scikit_learn(case):
    expected = sklearn.metrics.accuracy_score(case.truth, case.answers)
    assert decisions.accuracy(case.matrix) == pytest.approx(expected, abs=1e-12)


@given(cases())
@many
def test_balanced_accuracy_agrees_with_scikit_learn(case):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="y_pred contains classes not in y_true")
        warnings.filterwarnings("ignore", message="A single label was found")
        expected = sklearn.metrics.balanced_accuracy_score(case.truth, case.answers)
    assert decisions.balanced_accuracy(case.matrix) == pytest.approx(expected, abs=1e-12)


@given(cases(), st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None)
def test_an_answer_that_is_no_class_counts_as_wrong_and_favours_no_class(case, seed):
    missing = np.random.default_rng(seed).random(case.truth.size) < 0.3
    answers = np.where(missing, case.n_classes, case.answers)
    matrix = decisions.confusion_matrix(case.truth, answers, case.n_classes, case.n_classes + 1)
    expected = sklearn.metrics.f1_score(
        case.truth, answers, labels=case.present, average="macro", zero_division=0
    )
    assert decisions.macro_f1(matrix) == pytest.approx(expected, abs=1e-12)
    assert decisions.accuracy(matrix) == pytest.approx(np.mean(answers == case.truth), abs=1e-12)
    assert decisions.predicted(matrix).sum() == (~missing).sum()


@given(st.lists(cases(), min_size=2, max_size=4))
@settings(max_examples=30, deadline=None)
def test_stacked_matrices_give_what_each_gives_alone(several):
    matrices = [np.pad(case.matrix, (0, 5 - case.n_classes)) for case in several]
    for metric in (
        *(decisions.support, decisions.precision, decisions.recall, decisions.f1),
        *(decisions.macro_f1, decisions.weighted_f1, decisions.accuracy),
        decisions.balanced_accuracy,
    ):
        alone = np.stack([metric(matrix) for matrix in matrices])
        assert np.array_equal(metric(np.stack(matrices)), alone, equal_nan=True)


def test_values_derived_by_hand():
    # truth 0: two right, one said 1. truth 1: one right, one said 2. Class 2 is never true.
    matrix = np.array([[2.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert decisions.precision(matrix) == pytest.approx([1, 1 / 2, 0])
    assert decisions.recall(matrix) == pytest.approx([2 / 3, 1 / 2, np.nan], nan_ok=True)
    assert decisions.f1(matrix) == pytest.approx([4 / 5, 1 / 2, np.nan], nan_ok=True)
    assert decisions.macro_f1(matrix) == pytest.approx((4 / 5 + 1 / 2) / 2)
    assert decisions.weighted_f1(matrix) == pytest.approx((3 * 4 / 5 + 2 * 1 / 2) / 5)
    assert decisions.accuracy(matrix) == pytest.approx(3 / 5)
    assert decisions.balanced_accuracy(matrix) == pytest.approx((2 / 3 + 1 / 2) / 2)


def test_a_resample_that_lost_a_class_of_the_average_has_no_average():
    matrix = np.array([[2.0, 0.0], [0.0, 0.0]])
    both = np.array([True, True])
    assert np.isnan(decisions.macro_f1(matrix, both))
    assert np.isnan(decisions.balanced_accuracy(matrix, both))
    assert decisions.macro_f1(matrix) == 1


def test_without_any_utterance_nothing_is_defined():
    empty = np.zeros((2, 2))
    for metric in (
        *(decisions.macro_f1, decisions.weighted_f1, decisions.accuracy),
        decisions.balanced_accuracy,
    ):
        assert np.isnan(metric(empty))
