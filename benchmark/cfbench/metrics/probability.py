"""Metrics of probabilities: proper scores and calibration, an utterance a value.

The functions give each utterance's loss; a metric is the mean of it. That split lets losses be
summed by group once and resampled from the sums.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

SMALLEST = float(np.finfo(np.float64).eps)
"""Probabilities of the truth are clipped here before a logarithm, as scikit-learn does."""

ECE_BINS = 15
"""Bins of equal width for the expected calibration error, as in Guo et al. 2017."""


def log_loss(probability_of_truth: Floats) -> Floats:
    """-ln p(truth) in nats, (utterances,), p clipped to [2.2e-16, 1 - 2.2e-16].

    >>> log_loss(np.array([1.0, 0.5])).round(4)
    array([0.    , 0.6931])
    """
    return -np.log(np.clip(probability_of_truth, SMALLEST, 1 - SMALLEST))


def brier(probability_of_truth: Floats, sum_of_squares: Floats) -> Floats:
    """Sum over classes of (p - 1[class is the truth])^2, from 0 to 2 (Brier 1950).

    Args:
        probability_of_truth: (utterances,).
        sum_of_squares: (utterances,), the sum over classes of p^2.

    >>> brier(np.array([0.5, 1.0]), np.array([0.5, 1.0]))
    array([0.5, 0. ])
    """
    return sum_of_squares + 1 - 2 * probability_of_truth


def confidence_bin(confidence: Floats) -> NDArray[np.int64]:
    """The calibration bin of each confidence: 0 for (0, 1/15], ... 14 for (14/15, 1].

    Args:
        confidence: The probability of the answered class, (utterances,).
    """
    bins = np.clip(np.ceil(confidence * ECE_BINS) - 1, 0, ECE_BINS - 1)
    return bins.astype(np.int64)


def expected_calibration_error(surplus: Floats, n: Floats) -> Floats:
    """Sum over bins of |right answers - summed confidence| / utterances (Guo et al. 2017).

    Args:
        surplus: (..., bins), in each bin the sum of 1[answer is right] - confidence.
        n: (...), utterances.

    Returns:
        (...); nan where there are no utterances.
    """
    undefined = n == 0
    error: Floats = np.abs(surplus).sum(axis=-1) / np.where(undefined, 1.0, n)
    return np.where(undefined, np.nan, error)
