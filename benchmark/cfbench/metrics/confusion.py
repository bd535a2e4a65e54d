"""Metrics of decisions, all computed from a confusion matrix.

A confusion matrix has shape (..., K, M): K true classes by M >= K answers. Columns from K on are
answers that are no class, such as a missing prediction: they cost recall and favour nobody.
Leading axes are independent matrices (resamples), so that 1,000 of them cost one call.

A value that is not defined is nan: the F1 of a class without support, the precision of a class
that was never answered. The classes of an average are those with support in the truth, never
those that were predicted.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def confusion_matrix(
    truth: NDArray[np.integer], answers: NDArray[np.integer], n_classes: int, n_answers: int
) -> NDArray[np.int64]:
    """Count pairs of truth and answer.

    Args:
        truth: (utterances,), values below `n_classes`.
        answers: (utterances,), values below `n_answers`.
        n_classes: K.
        n_answers: M, at least K.

    Returns:
        int64, (K, M).

    >>> confusion_matrix(np.array([0, 0, 1]), np.array([0, 1, 1]), 2, 2)
    array([[1, 1],
           [0, 1]])
    """
    pairs = truth.astype(np.int64) * n_answers + answers
    return np.bincount(pairs, minlength=n_classes * n_answers).reshape(n_classes, n_answers)


def support(confusion: Floats) -> Floats:
    """Utterances of each true class: row sums, (..., K)."""
    return confusion.sum(axis=-1, dtype=np.float64)


def predicted(confusion: Floats) -> Floats:
    """Answers of each class: the sums of the first K columns, (..., K)."""
    return confusion[..., : confusion.shape[-2]].sum(axis=-2, dtype=np.float64)


def precision(confusion: Floats) -> Floats:
    """TP / answers of the class, (..., K); nan where the class was never answered."""
    return _ratio(_hits(confusion), predicted(confusion))


def recall(confusion: Floats) -> Floats:
    """TP / support of the class, (..., K); nan where the class has no support."""
    return _ratio(_hits(confusion), support(confusion))


def f1(confusion: Floats) -> Floats:
    """2 TP / (support + answers) of each class, (..., K); nan where it has no support.

    Source: van Rijsbergen, Information Retrieval, 1979, with beta = 1.

    >>> f1(np.array([[1.0, 1.0], [0.0, 2.0]]))
    array([0.66666667, 0.8       ])
    """
    there = support(confusion)
    ratio = _ratio(2 * _hits(confusion), there + predicted(confusion))
    return np.where(there > 0, ratio, np.nan)


def macro_f1(confusion: Floats, classes: NDArray[np.bool_] | None = None) -> Floats:
    """The mean F1 of some classes, (...).

    Args:
        confusion: (..., K, M).
        classes: (K,), the classes that count; None for those that have support here. Leaving
            bona fide speech out still lets its utterances cost the other classes precision.

    Returns:
        (...); nan where one of `classes` has no support (a resample that lost it is no sample
        of the same average), or none is left.
    """
    return _mean(f1(confusion), classes)


def weighted_f1(confusion: Floats) -> Floats:
    """The mean F1 weighted by support, (...): the authors' metric for the tracing tasks."""
    weights = support(confusion)
    total = np.where(weights > 0, f1(confusion), 0.0) * weights
    return _ratio(total.sum(axis=-1), weights.sum(axis=-1))


def accuracy(confusion: Floats) -> Floats:
    """The share of utterances whose answer is right, (...)."""
    return _ratio(_hits(confusion).sum(axis=-1), support(confusion).sum(axis=-1))


def balanced_accuracy(confusion: Floats, classes: NDArray[np.bool_] | None = None) -> Floats:
    """The mean recall of some classes, (...); arguments as for `macro_f1`."""
    return _mean(recall(confusion), classes)


def _hits(confusion: Floats) -> Floats:
    return np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)


def _ratio(top: Floats, bottom: Floats | np.float64) -> Floats:
    undefined = np.equal(bottom, 0)
    return np.where(undefined, np.nan, top / np.where(undefined, 1.0, bottom))


def _mean(values: Floats, classes: NDArray[np.bool_] | None) -> Floats:
    if classes is not None:
        counted = values[..., classes]
        return _ratio(counted.sum(axis=-1), np.float64(counted.shape[-1]))
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=-1), defined.sum(axis=-1))
