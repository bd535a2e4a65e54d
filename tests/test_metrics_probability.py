import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st

from cfbench.metrics.probability import (
    ECE_BINS,
    SMALLEST,
    brier,
    confidence_bin,
    expected_calibration_error,
    log_loss,
)

many = settings(max_examples=25, deadline=None)


def random_probabilities(seed, utterances, n_classes):
    """Truth and probabilities, some of them (nearly) certain."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(0, 4, (utterances, n_classes))
    logits[generator.random(utterances) < 0.2] *= 100
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return generator.integers(0, n_classes, utterances), odds / odds.sum(axis=1, keepdims=True)


shapes = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 50), st.integers(2, 5))


@given(shapes)
@many
def test_mean_log_loss_agrees_with_scikit_learn(shape):
    truth, probabilities = random_probabilities(*shape)
    expected = sklearn.metrics.log_loss(truth, probabilities, labels=range(shape[2]))
    of_truth = probabilities[np.arange(truth.size), truth]
    assert log_loss(of_truth).mean() == pytest.approx(expected, abs=1e-9)


@given(shapes)
@many
def test_mean_brier_score_agrees_with_scikit_learn(shape):
    truth, probabilities = random_probabilities(*shape)
    expected = sklearn.metrics.brier_score_loss(
        truth, probabilities, labels=list(range(shape[2])), scale_by_half=False
    )
    of_truth = probabilities[np.arange(truth.size), truth]
    found = brier(of_truth, (probabilities**2).sum(axis=1)).mean()
    assert found == pytest.approx(expected, abs=1e-12)


def ece_by_loop(right, confidence, bins):
    """Guo et al. 2017, equations 2 to 5, bin by bin and utterance by utterance."""
    total = 0.0
    for index in range(bins):
        inside = [
            (hit, sure)
            for hit, sure in zip(right, confidence, strict=True)
            if index / bins < sure <= (index + 1) / bins
        ]
        if inside:
            accuracy = sum(hit for hit, _ in inside) / len(inside)
            mean_confidence = sum(sure for _, sure in inside) / len(inside)
            total += len(inside) / len(right) * abs(accuracy - mean_confidence)
    return total


@given(st.integers(0, 2**32 - 1), st.integers(1, 80))
@many
def test_ece_agrees_with_a_loop_over_bins_and_utterances(seed, utterances):
    generator = np.random.default_rng(seed)
    confidence = generator.uniform(0.2, 1, utterances)
    right = generator.random(utterances) < confidence**2
    surplus = np.bincount(confidence_bin(confidence), right - confidence, minlength=ECE_BINS)
    found = expected_calibration_error(surplus, np.float64(utterances))
    assert found == pytest.approx(ece_by_loop(right, confidence, ECE_BINS), abs=1e-12)


def test_a_confidence_on_the_edge_of_two_bins_is_in_the_lower_one():
    edges = np.array([1 / 15, 0.2, 1.0])
    assert confidence_bin(edges).tolist() == [0, 2, 14]
    assert confidence_bin(edges[:2] + 1e-9).tolist() == [1, 3]
    assert confidence_bin(np.array([0.0])).tolist() == [0]


def test_log_loss_of_a_certain_error_is_bounded():
    assert log_loss(np.array([0.0])) == pytest.approx(-np.log(SMALLEST))
    assert log_loss(np.array([0.25])) == pytest.approx(np.log(4))


def test_brier_runs_from_0_for_certainty_in_the_truth_to_2_in_an_error():
    assert brier(np.array([1.0, 0.0]), np.array([1.0, 1.0])).tolist() == [0, 2]
    # (0.7 - 1)^2 + 0.2^2 + 0.1^2
    assert brier(np.array([0.7]), np.array([0.49 + 0.04 + 0.01])) == pytest.approx(0.14)


def test_ece_of_no_utterances_is_not_defined():
    surplus = np.zeros((2, ECE_BINS))
    surplus[1, 3] = -0.5
    found = expected_calibration_error(surplus, np.array([0.0, 2.0]))
    assert found == pytest.approx([np.nan, 0.25], nan_ok=True)
