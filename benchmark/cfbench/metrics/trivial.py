"""Predictors that know nothing of the audio, so that nobody mistakes detection for tracing."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TITLES = {
    "majority": "majority class",
    "detector": "perfect detector, majority spoofed class",
    "uniform": "uniformly random",
}
"""The trivial predictors, in the order in which they are reported.

The most frequent class always; a perfect real/fake detector that calls every fake the most
frequent spoofed class; every class with equal probability.
"""


SAYS_NOTHING = {
    "eer": {"majority": 0.5, "uniform": 0.5},
    "auroc": {"majority": 0.5, "uniform": 0.5},
    "fpr95": {"majority": 1.0, "uniform": 0.95},
}
"""Metrics of scores that say nothing: all tied, or in random order (what is expected then)."""


def trivial_confusions(support: Floats, bonafide: int | None) -> dict[str, Floats]:
    """The confusion matrices of the trivial predictors on a split.

    Args:
        support: (K,), utterances of each class.
        bonafide: The index of bona fide speech; None where it is no class of several: then there
            is no "detector".

    Returns:
        For each of `TITLES` a float64 (K, K); that of "uniform" is the expected one. Ties go to
        the class that comes first. Where there are two classes, "detector" is perfect.

    >>> trivial_confusions(np.array([1.0, 3.0, 2.0]), 0)["detector"].tolist()
    [[1.0, 0.0, 0.0], [0.0, 3.0, 0.0], [0.0, 2.0, 0.0]]
    """
    n_classes = support.size
    found = {"majority": _always(support, int(np.argmax(support)))}
    if bonafide is not None:
        spoofed = support.copy()
        spoofed[bonafide] = -1.0
        detector = _always(support, int(np.argmax(spoofed)))
        detector[bonafide] = 0.0
        detector[bonafide, bonafide] = support[bonafide]
        found["detector"] = detector
    found["uniform"] = np.repeat(support[:, None] / n_classes, n_classes, axis=1)
    return found


def _always(support: Floats, answer: int) -> Floats:
    confusion = np.zeros((support.size, support.size))
    confusion[:, answer] = support
    return confusion
