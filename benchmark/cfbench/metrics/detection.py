"""Metrics of spoof detection from scores; higher always means more bona fide.

An utterance is accepted as bona fide where its score is at or above a threshold. *Miss* is a bona
fide utterance rejected, *false alarm* a spoof accepted. Costs and prior are those of ASVspoof 5,
track 1 (evaluation plan; Wang et al., arXiv 2408.08739).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cfbench.metrics.probability import SMALLEST

Floats = NDArray[np.float64]

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


def det_curve(bonafide: Floats, spoof: Floats) -> DetCurve:
    """The error rates at each distinct score.

    Args:
        bonafide: Scores of bona fide utterances, sorted, (n,), n > 0.
        spoof: Scores of spoofed utterances, sorted, (m,), m > 0.
    """
    thresholds = np.concatenate((bonafide, spoof))
    thresholds.sort(kind="stable")  # two sorted runs: a merge
    thresholds = thresholds[np.concatenate(([True], thresholds[1:] != thresholds[:-1]))]
    miss = np.searchsorted(bonafide, thresholds) / bonafide.size
    false_alarm = 1 - np.searchsorted(spoof, thresholds) / spoof.size
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


def area_under_roc(bonafide: Floats, spoof: Floats) -> float:
    """The probability that a bona fide score beats a spoof's, ties counting half.

    Args:
        bonafide: (n,).
        spoof: Sorted, (m,).

    Source: Hanley and McNeil, Radiology 143(1), 1982.
    """
    wins = np.searchsorted(spoof, bonafide, side="left").sum()
    wins_and_ties = np.searchsorted(spoof, bonafide, side="right").sum()
    return float((wins + wins_and_ties) / (2.0 * bonafide.size * spoof.size))


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
