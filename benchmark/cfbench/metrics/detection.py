"""Metrics of two classes from scores; higher always means more of the positive class.

In spoof detection the positive class is bona fide speech. An utterance is accepted as positive
where its score is at or above a threshold. *Miss* is a positive utterance rejected, *false alarm*
a negative one accepted. Costs and prior are those of ASVspoof 5, track 1 (evaluation plan; Wang et
al., arXiv 2408.08739).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cfbench.metrics.probability import SMALLEST

Floats = NDArray[np.float64]

ALLOWED_MISS = 0.05
"""What is left of the positive class at a true positive rate of 95 %."""

PRIOR_SPOOF = 0.05
COST_MISS = 1.0
COST_FALSE_ALARM = 10.0

BAYES_THRESHOLD = float(-np.log(COST_MISS * (1 - PRIOR_SPOOF) / (COST_FALSE_ALARM * PRIOR_SPOOF)))
"""The threshold on log-likelihood ratios that is best if they are calibrated."""


class DetCurve(NamedTuple):
    """Error rates at every threshold that separates scores; ties move together.

    Attributes:
        thresholds: (points,), rising; the last is just above the highest score.
        miss: (points,), from 0 to 1.
        false_alarm: (points,), from 1 to 0.
    """

    thresholds: Floats
    miss: Floats
    false_alarm: Floats


class OperatingPoint(NamedTuple):
    """A metric's value, and the threshold at which (or nearest to which) it is reached."""

    value: float
    threshold: float


def det_curve(positive: Floats, negative: Floats) -> DetCurve:
    """The error rates at each distinct score.

    Args:
        positive: Scores of positive utterances, sorted, (n,), n > 0.
        negative: Scores of negative utterances, sorted, (m,), m > 0.
    """
    thresholds = np.concatenate((positive, negative))
    thresholds.sort(kind="stable")  # two sorted runs: a merge
    thresholds = thresholds[np.concatenate(([True], thresholds[1:] != thresholds[:-1]))]
    miss = np.searchsorted(positive, thresholds) / positive.size
    false_alarm = 1 - np.searchsorted(negative, thresholds) / negative.size
    return DetCurve(
        np.append(thresholds, np.nextafter(thresholds[-1], np.inf)),
        np.append(miss, 1.0),
        np.append(false_alarm, 0.0),
    )


def equal_error_rate(curve: DetCurve) -> OperatingPoint:
    """Where miss and false alarm are equal on the curve, straight between its points.

    Ties are one step of the curve, so the order of equal scores cannot matter: constant scores
    give 0.5. It is the EER of the ROC curve with linear interpolation.

    >>> equal_error_rate(det_curve(np.array([0.5, 0.5]), np.array([0.5]))).value
    0.5
    """
    after = int(np.argmax(curve.miss >= curve.false_alarm))
    before = after - 1
    ahead = curve.false_alarm[before] - curve.miss[before]
    behind = curve.miss[after] - curve.false_alarm[after]
    step = ahead / (ahead + behind)
    value = curve.miss[before] + step * (curve.miss[after] - curve.miss[before])
    nearest = before if ahead <= behind else after
    return OperatingPoint(float(value), float(curve.thresholds[nearest]))


def equal_error_rate_of_paper(bonafide: Floats, spoof: Floats) -> float:
    """The EER exactly as the authors of the reference paper compute it, for parity only.

    The mean of the two error rates at the score where they are closest, without interpolation,
    bona fide scores ordered before equal spoof scores: constant scores give 1.0. (The code goes
    back to the ASVspoof 2019 baseline.)

    Args:
        bonafide: Sorted, (n,).
        spoof: Sorted, (m,).
    """
    scores = np.concatenate((bonafide, spoof))
    is_bonafide = np.concatenate((np.ones(bonafide.size), np.zeros(spoof.size)))
    rejected = np.cumsum(is_bonafide[np.argsort(scores, kind="stable")])
    spoofs_left = spoof.size - (np.arange(1, scores.size + 1) - rejected)
    miss = np.concatenate(([0.0], rejected / bonafide.size))
    false_alarm = np.concatenate(([1.0], spoofs_left / spoof.size))
    closest = np.argmin(np.abs(miss - false_alarm))
    return float((miss[closest] + false_alarm[closest]) / 2)


def area_under_roc(positive: Floats, negative: Floats) -> float:
    """The probability that a positive score beats a negative one, ties counting half (AUROC).

    Args:
        positive: (n,).
        negative: Sorted, (m,).

    Source: Hanley and McNeil, Radiology 143(1), 1982.
    """
    wins = np.searchsorted(negative, positive, side="left").sum()
    wins_and_ties = np.searchsorted(negative, positive, side="right").sum()
    return float((wins + wins_and_ties) / (2.0 * positive.size * negative.size))


def last_point_at_95(miss: Floats) -> NDArray[np.intp]:
    """The last point of each curve at which at least 95 % of the positive class are accepted.

    Args:
        miss: (..., points), not falling along a curve, which starts at 0.

    Returns:
        (...), indices along the last axis.
    """
    # Miss is a ratio of counts: the slack is far below the step of any, and above its rounding.
    return np.count_nonzero(miss <= ALLOWED_MISS + 1e-12, axis=-1) - 1


def false_positive_rate_at_95(curve: DetCurve) -> OperatingPoint:
    """The false positive rate at 95 % true positive rate (FPR95), and its threshold.

    The share of negative utterances whose score is at or above t, where t is the highest threshold
    at which at least 95 % of the positive utterances are at or above it:

        t = max {s : |{p >= s}| / n >= 0.95},  FPR95 = |{q >= t}| / m

    Nothing is interpolated. Tied scores are accepted together, so their order cannot matter:
    constant scores give 1, and so does a positive class of which more than 5 % lie below all else.

    Sources: Hendrycks and Gimpel, A Baseline for Detecting Misclassified and Out-of-Distribution
    Examples in Neural Networks, ICLR 2017 (arXiv 1610.02136), for the task; Liang, Li and Srikant,
    Enhancing the Reliability of Out-of-distribution Image Detection in Neural Networks, ICLR 2018
    (arXiv 1706.02690), for the metric. There the known classes are the positive ones; here it is
    whatever class the scores are of.

    >>> false_positive_rate_at_95(det_curve(np.array([0.6, 0.9]), np.array([0.1, 0.6, 0.7]))).value
    0.6666666666666667
    """
    at = int(last_point_at_95(curve.miss))
    return OperatingPoint(float(curve.false_alarm[at]), float(curve.thresholds[at]))


def detection_cost(miss: Floats, false_alarm: Floats) -> Floats:
    """The detection cost of ASVspoof 5, 1.0 for the better of accepting all and rejecting all."""
    cost = COST_MISS * (1 - PRIOR_SPOOF) * miss + COST_FALSE_ALARM * PRIOR_SPOOF * false_alarm
    return cost / min(COST_MISS * (1 - PRIOR_SPOOF), COST_FALSE_ALARM * PRIOR_SPOOF)


def min_dcf(curve: DetCurve) -> OperatingPoint:
    """The lowest detection cost that any threshold reaches (minDCF)."""
    costs = detection_cost(curve.miss, curve.false_alarm)
    best = int(np.argmin(costs))
    return OperatingPoint(float(costs[best]), float(curve.thresholds[best]))


def log_likelihood_ratio(probability: Floats) -> Floats:
    """The logarithm of p/(1-p) of bona fide probabilities, p clipped to [2.2e-16, 1 - 2.2e-16].

    The ratio of likelihoods is the ratio of posteriors of a system that holds both classes for
    equally likely; the actDCF and Cllr of probabilities rest on that.
    """
    clipped = np.clip(probability, SMALLEST, 1 - SMALLEST)
    return np.log(clipped) - np.log1p(-clipped)


def llr_cost(llr: Floats, bonafide: bool) -> Floats:
    """Each utterance's share of the log-likelihood-ratio cost, in bits, (utterances,).

    Cllr is half the mean over bona fide utterances plus half the mean over spoofs.

    Args:
        llr: Natural log-likelihood ratios of bona fide to spoof; beyond +-36 they are clipped.
        bonafide: Whether these utterances are bona fide.

    Source: Brümmer and du Preez, Computer Speech & Language 20, 2006.
    """
    limit = -np.log(SMALLEST)
    towards_truth = np.clip(llr if bonafide else -llr, -limit, limit)
    return np.logaddexp(0.0, -towards_truth) / np.log(2)
