"""Whether two systems differ: paired resamples of the groups of one protocol.

A system's replicates of its headline metrics are drawn on resamples that are the same for every
system on the same protocol. Two systems are then set against each other by subtraction, however
many there are and wherever each was scored.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 16; for paired
comparison of systems, Bisani and Ney, Bootstrap estimates for confidence intervals in ASR
performance evaluation, ICASSP 2004.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from cfbench.alignment import align
from cfbench.answers import SplitData, said, split_data
from cfbench.errors import CfbenchError
from cfbench.intervals import LEVEL, percentile_interval
from cfbench.metrics.catalogue import METRICS
from cfbench.numbers import LEAST_REPLICATES
from cfbench.predictions import Predictions
from cfbench.protocol import Protocol
from cfbench.windows import Resampling, paired_values

REPLICATES = 1000
"""Resamples of a comparison."""

SIGNIFICANCE = 1 - LEVEL
"""Two systems are told apart where the p-value of their difference is below this."""


class Key(NamedTuple):
    """What one column of replicates is of."""

    task: str
    split: str
    metric: str


@dataclass(frozen=True, eq=False)
class Replicated:
    """A system's headline values on one protocol.

    Attributes:
        keys: What the columns are.
        point: float64, (keys,): of the utterances themselves; nan where not defined.
        samples: float32, (replicates, keys); nan where a replicate is not defined. Without rows
            where there are too few groups.
    """

    keys: tuple[Key, ...]
    point: NDArray[np.float64]
    samples: NDArray[np.float32]

    def column(self, key: Key) -> NDArray[np.float32] | None:
        """The replicates of one key, or None."""
        return self.samples[:, self.keys.index(key)] if key in self.keys else None


class Difference(NamedTuple):
    """How much better the first of two systems is.

    Attributes:
        value: The first one's value less the second's.
        low: Of the 95 % interval of `value`; None where there is none.
        high: As `low`.
        p: Two-sided, that there is no difference; None without an interval.
        reason: Why there is no interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str | None = None

    @property
    def told_apart(self) -> bool:
        """Whether the two differ by more than resampling the groups explains."""
        return self.p is not None and self.p < SIGNIFICANCE


def replicated(
    predictions: Predictions,
    protocol: Protocol,
    splits: Sequence[str] | None = None,
    allow_missing: bool = False,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Replicated:
    """A system's headline values, and their replicates on the protocol's own resamples.

    Args:
        predictions: Checked; their ids are unique.
        protocol: What is true.
        splits: None for those that the track scores.
        allow_missing: Count utterances without a prediction as wrong.
        replicates: How many resamples.
        seed: Of the resamples.

    Raises:
        CfbenchError: Utterances are missing or surplus, or none has a class.
    """
    aligned = aligned_splits(predictions, protocol, splits, allow_missing)
    return replicated_splits(predictions, protocol, aligned, replicates, seed)


def replicated_splits(
    predictions: Predictions,
    protocol: Protocol,
    aligned: Sequence[SplitData],
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Replicated:
    """As `replicated`, of predictions that are arrays already.

    Args:
        predictions: Checked; their ids are unique.
        protocol: What is true.
        aligned: The same predictions, as `aligned_splits` gives them.
        replicates: How many resamples.
        seed: Of the resamples.

    Raises:
        CfbenchError: No utterance has a class.
    """
    keys: list[Key] = []
    point: list[float] = []
    columns: list[NDArray[np.floating]] = []
    for data in aligned:
        for task_id, (values, samples) in paired_values(data, Resampling(replicates, seed)).items():
            task = protocol.track.known_tasks[task_id]
            for metric in dict.fromkeys((task.headline, task.headline_for_labels)):
                if metric in values:
                    keys.append(Key(task_id, data.name, metric))
                    point.append(float(values[metric][0]))
                    columns.append(samples.get(metric, np.full(replicates, np.nan)))
    if not columns:
        raise CfbenchError(
            f"{predictions.table.name}: no utterance has a class of {', '.join(predictions.kinds)}",
            "give the classes in the protocol, or compare on other splits",
        )
    stacked = np.column_stack(columns).astype(np.float32)
    return Replicated(tuple(keys), np.array(point), stacked)


def aligned_splits(
    predictions: Predictions,
    protocol: Protocol,
    splits: Sequence[str] | None = None,
    allow_missing: bool = False,
) -> list[SplitData]:
    """Predictions as arrays, a record a split, in the track's order.

    Raises:
        CfbenchError: Utterances are missing or surplus.
    """
    named = list(splits) if splits is not None else protocol.scored
    asked = protocol.only(named)
    alignment = align(predictions, protocol, named, allow_missing)
    if alignment.problems:
        raise CfbenchError.of(alignment.problems)
    everything = said(predictions, alignment.rows, list(predictions.kinds))
    order = [name for name in protocol.track.splits if name in named]
    return [split_data(asked.frame, name, protocol.track, everything) for name in order]


def difference(one: Replicated, two: Replicated, key: Key) -> Difference:
    """One system's value less another's, with an interval and a p-value.

    Args:
        one: Of the same protocol as `two`, drawn with the same seed.
        two: The other.
        key: What to compare.
    """
    if key not in one.keys or key not in two.keys:
        return Difference(None, reason="not answered by both")
    value = float(one.point[one.keys.index(key)] - two.point[two.keys.index(key)])
    if np.isnan(value):
        return Difference(None, reason="not defined for both")
    first, second = one.column(key), two.column(key)
    assert first is not None  # noqa: S101 - the keys have been looked up
    assert second is not None  # noqa: S101
    return of_samples(value, first.astype(np.float64) - second)


def of_samples(value: float, samples: NDArray[np.float64]) -> Difference:
    """A difference from its replicates.

    Args:
        value: Of the utterances themselves.
        samples: (replicates,), nan where not defined.
    """
    defined = samples[~np.isnan(samples)]
    interval = percentile_interval(samples) if defined.size >= LEAST_REPLICATES else None
    if interval is None:
        return Difference(value, reason="too few groups to resample")
    # One is added to both: a p-value of 0 would claim more than the resamples can show.
    tails = ((defined <= 0).sum() + 1, (defined >= 0).sum() + 1)
    p = min(1.0, 2 * int(min(tails)) / (defined.size + 1))
    low, high = (round(end, 9) + 0.0 for end in (interval.low, interval.high))
    return Difference(value, low, high, p)


def better(key: Key, value: float) -> float:
    """A value or a difference turned so that higher is better."""
    return value if METRICS[key.metric].direction == "higher" else -value


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values corrected for how many there are.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = largest
    return corrected
