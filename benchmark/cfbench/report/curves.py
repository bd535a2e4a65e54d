"""What the report draws of scores and probabilities: DET curves and reliability diagrams."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from cfbench.answers import SplitData
from cfbench.intervals import fixed_point_sums
from cfbench.metrics.detection import DetCurve, det_curve, equal_error_rate
from cfbench.metrics.probability import ECE_BINS
from cfbench.tallies import Answers

Floats = NDArray[np.float64]

# A curve is drawn in steps of this many log-odds: less than a hair's breadth on any axis.
_STEP = 0.02
# How many points a straight line between two points of the ROC curve gets; on these axes it bends.
_BETWEEN = 24
# Rates of 0 and 1 have no place on the axes; they are drawn far outside of them.
_LEAST = 1e-6

_NORMAL = NormalDist()


@dataclass(frozen=True, eq=False)
class Detection:
    """Spoof detection on one split, from scores.

    Attributes:
        curve: Error rates at every threshold.
        bonafide: How many bona fide utterances there are.
        spoofed: How many spoofed ones.
        eer: 0 to 1.
        threshold: Of the scores, where the two error rates are closest.
    """

    curve: DetCurve
    bonafide: int
    spoofed: int
    eer: float
    threshold: float

    def rates_at(self, threshold: float) -> tuple[float, float]:
        """Miss and false-alarm rate where scores at or above a threshold are accepted."""
        at = int(np.searchsorted(self.curve.thresholds, threshold))
        at = min(at, self.curve.miss.size - 1)
        return float(self.curve.miss[at]), float(self.curve.false_alarm[at])


def detection_of(data: SplitData) -> Detection | None:
    """Spoof detection on a split; None without scores, or where one of the classes is absent."""
    given = data.answers.get("bin")
    if given is None or given.scores is None:
        return None
    is_bonafide = given.decided.truth == 1
    bonafide, spoof = (np.sort(given.scores[rows]) for rows in (is_bonafide, ~is_bonafide))
    if not bonafide.size or not spoof.size:
        return None
    curve = det_curve(bonafide, spoof)
    found = equal_error_rate(curve)
    return Detection(curve, bonafide.size, spoof.size, found.value, found.threshold)


def probit(rates: Floats) -> Floats:
    """Where rates stand on the axes of a DET plot: the normal distribution's quantiles.

    Args:
        rates: (n,), 0 to 1; those within 1e-6 of the ends are put there.

    Source: Martin et al., The DET curve in assessment of detection task performance, 1997.

    >>> probit(np.array([0.5, 0.975])).round(2)
    array([0.  , 1.96])
    """
    inside = np.clip(rates, _LEAST, 1 - _LEAST)
    return np.array([_NORMAL.inv_cdf(rate) for rate in inside.tolist()])


def drawn_curve(curve: DetCurve) -> tuple[Floats, Floats]:
    """A DET curve in as many points as can be told apart, however many scores there are.

    Args:
        curve: Error rates at every threshold.

    Returns:
        False-alarm and miss rate, (points,) each, 0 to 1.
    """
    rates = np.column_stack((curve.false_alarm, curve.miss))
    inside = np.clip(rates, _LEAST, 1 - _LEAST)
    cells = np.rint(np.log(inside / (1 - inside)) / _STEP)
    moves = (cells[1:] != cells[:-1]).any(axis=1)
    # The last point before a move as well as the first behind it: corners stay where they are.
    kept = np.flatnonzero(np.append(True, moves) | np.append(moves, True))
    rates, cells = rates[kept], cells[kept]
    slanted = np.abs(np.diff(cells, axis=0)).min(axis=1) > 1
    parts = []
    for at, slants in enumerate(slanted.tolist()):
        steps = np.linspace(0, 1, _BETWEEN, endpoint=False) if slants else np.zeros(1)
        parts.append(rates[at] + steps[:, None] * (rates[at + 1] - rates[at]))
    points = np.concatenate([*parts, rates[-1:]])
    return points[:, 0], points[:, 1]


@dataclass(frozen=True, eq=False)
class Reliability:
    """How often answers are right, by how sure the system is of them: the bins of the ECE.

    Attributes:
        counts: (bins,), utterances.
        confidence: (bins,), their mean probability of the answer; nan where there are none.
        accuracy: (bins,), the share of right answers among them; nan where there are none.
    """

    counts: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats


def reliability_of(decided: Answers) -> Reliability | None:
    """The reliability diagram of one task on one split; None where only labels were given.

    A missing utterance counts as the most confident wrong answer would, as in the ECE.
    """
    losses = decided.losses
    if losses is None:
        return None
    counts = np.bincount(losses.bins, minlength=ECE_BINS)
    right = np.bincount(losses.bins[decided.codes == decided.truth], minlength=ECE_BINS)
    surplus = fixed_point_sums(losses.surplus, losses.bins, ECE_BINS)
    n = np.where(counts > 0, counts, np.nan)
    return Reliability(counts.astype(np.int64), (right - surplus) / n, right / n)
