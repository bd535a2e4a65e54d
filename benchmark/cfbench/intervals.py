"""Bootstrap intervals without resampling a row.

A resample of units (groups of utterances that belong together) gives each unit a weight: how
often it was drawn. Everything that is a function of sums over units is computed from the weighted
sums, for all resamples in a few matrix products.

Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993; for clusters, Davison and
Hinkley, Bootstrap Methods and their Application, 1997, section 3.8.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]

LEVEL = 0.95
"""The coverage that intervals aim at."""

TOO_FEW_UNITS = 5
"""Below this many units a bootstrap interval means nothing and is not given."""

FEW_UNITS = 30
"""Below this many units an interval is given with a warning."""

# Weights of one chunk; bounds memory, and does not change the stream of random numbers.
_CHUNK = 3_000_000
# Draws that are counted together stay in the processor's cache.
_DRAWN_AT_ONCE = 1 << 18
# Single precision holds every whole number up to here, so sums of counts below it are exact.
_EXACT_IN_SINGLE = 2**24
_FIXED_POINT = 2.0**36


class Interval(NamedTuple):
    """A percentile interval.

    Attributes:
        low: The 2.5th percentile of the defined replicates.
        high: The 97.5th percentile.
        replicates: How many replicates were defined.
    """

    low: float
    high: float
    replicates: int


class Weights:
    """How often each unit is drawn in some resamples: (replicates, units).

    Attributes:
        single: In float32, exact for counts; None for fractional weights.
        double: In float64.
    """

    def __init__(self, single: NDArray[np.float32] | None, double: Floats | None = None) -> None:
        self.single = single
        self._double = double

    @cached_property
    def double(self) -> Floats:
        """The weights in float64, converted once for all tables that need it."""
        if self._double is None:
            assert self.single is not None  # noqa: S101 - one of the two is given
            return self.single.astype(np.float64)
        return self._double

    def sums(self, table: NDArray[np.floating]) -> Floats:
        """Sums over units of weight times value, (replicates, columns).

        Args:
            table: (units, columns). float32 holds counts, whose sums are exact in it.
        """
        if self.single is not None and table.dtype == np.float32:
            return (self.single @ table).astype(np.float64)
        return self.double @ table


def group_weights(n_units: int, replicates: int, seed: Sequence[int]) -> Iterator[Weights]:
    """Resamples of units with replacement, in chunks.

    Args:
        n_units: How many units there are, and are drawn.
        replicates: How many resamples.
        seed: Entropy of the random stream.

    Yields:
        Of some replicates, how often each unit was drawn.
    """
    generator = np.random.default_rng(list(seed))
    rows = max(1, _CHUNK // n_units)
    at_once = max(1, _DRAWN_AT_ONCE // n_units)
    offsets = np.arange(at_once)[:, None] * n_units
    for start in range(0, replicates, rows):
        weights = np.empty((min(rows, replicates - start), n_units), dtype=np.float32)
        for first in range(0, len(weights), at_once):
            part = weights[first : first + at_once]
            drawn = generator.integers(0, n_units, part.shape) + offsets[: len(part)]
            part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
        yield Weights(weights)


def cell_weights(sizes: Ints, replicates: int, seed: Sequence[int]) -> Weights:
    """Resamples of single utterances that fall into cells of (nearly) like utterances.

    Args:
        sizes: (cells,), utterances in each cell, all positive.
        replicates: How many resamples.
        seed: Entropy of the random stream.

    Returns:
        (replicates, cells): how often a cell's utterances were drawn, over its size.
    """
    generator = np.random.default_rng(list(seed))
    total = int(sizes.sum())
    drawn = generator.multinomial(total, sizes / total, size=replicates)
    return Weights(None, drawn / sizes)


def count_table(cells: Ints, n_units: int, n_columns: int) -> NDArray[np.floating]:
    """Count utterances by unit and column, in a precision in which resampled sums are exact.

    Args:
        cells: (utterances,), unit * n_columns + column.
        n_units: How many units there are.
        n_columns: How many columns there are.

    Returns:
        (units, columns), float32 if every sum of a resample is exact in it, else float64.
    """
    table = np.zeros(n_units * n_columns, dtype=np.float32)
    np.add.at(table, cells, np.float32(1))
    # A resample can draw the largest unit every time.
    exact = float(table.max(initial=0.0)) * n_units < _EXACT_IN_SINGLE
    return (table if exact else table.astype(np.float64)).reshape(n_units, n_columns)


def fixed_point(values: Floats) -> Floats:
    """Values in whole multiples of 2^-36, whose sums are exact in any order.

    So neither the order of rows nor their names nor the number of threads shows in a digit.

    Args:
        values: (utterances,), magnitudes up to 100.
    """
    return np.rint(values * _FIXED_POINT)


def fixed_point_sums(fixed: Floats, units: Ints | None, n_units: int = 1) -> Floats:
    """Sums of fixed-point values by unit, as ordinary numbers.

    Args:
        fixed: (utterances,), from `fixed_point`.
        units: (utterances,); None for one sum of all.
        n_units: How many units there are.

    Returns:
        float64, (units,).
    """
    if units is None:
        return np.array([fixed.astype(np.int64).sum() / _FIXED_POINT])
    sums = np.zeros(n_units, dtype=np.int64)
    np.add.at(sums, units, fixed.astype(np.int64))
    return sums / _FIXED_POINT


def canonical_order(columns: Sequence[NDArray[Any]], units: Ints, n_units: int) -> NDArray[np.intp]:
    """An order of units that depends on what their utterances are, not on how they are called.

    Units whose utterances are the same are exchangeable, so a resample that draws positions in
    this order is the same for the same data, whatever its utterances and groups are named.

    Args:
        columns: What an utterance is, each (utterances,).
        units: (utterances,).
        n_units: How many units there are.
    """
    # From zero an utterance of zeros would add nothing to its unit.
    mixed = np.full(units.size, 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in columns:
        mixed ^= (column.astype(np.float64) + 0.0).view(np.uint64)
        # The finaliser of MurmurHash3: every bit of the input moves every bit of the result.
        for shift, factor in ((33, 0xFF51AFD7ED558CCD), (33, 0xC4CEB9FE1A85EC53)):
            mixed ^= mixed >> np.uint64(shift)
            mixed *= np.uint64(factor)
    # The sum does not depend on the order of a unit's utterances.
    sums = np.zeros(n_units, dtype=np.uint64)
    np.add.at(sums, units, mixed)
    return np.argsort(sums, kind="stable")


def replicate(
    statistics: Sequence[Callable[[Weights], dict[str, Floats]]],
    n_units: int,
    replicates: int,
    seed: Sequence[int],
) -> list[dict[str, Floats]]:
    """Compute statistics on the same resamples of units.

    Args:
        statistics: Each takes weights (some replicates, units) and returns named values whose
            first axis is replicates.
        n_units: How many units there are.
        replicates: How many resamples.
        seed: Entropy of the random stream.

    Returns:
        For each statistic its values of all replicates.
    """
    chunks: list[list[dict[str, Floats]]] = [[] for _ in statistics]
    for weights in group_weights(n_units, replicates, seed):
        for statistic, collected in zip(statistics, chunks, strict=True):
            collected.append(statistic(weights))
    return [
        {name: np.concatenate([chunk[name] for chunk in collected]) for name in collected[0]}
        for collected in chunks
    ]


def percentile_interval(samples: Floats, level: float = LEVEL) -> Interval | None:
    """The percentile interval of replicates; undefined ones (nan) are left out and counted.

    Args:
        samples: (replicates,).
        level: The coverage aimed at.

    Returns:
        The interval, or None if no replicate is defined.

    >>> percentile_interval(np.arange(5.0), level=0.5)
    Interval(low=1.0, high=3.0, replicates=5)
    """
    ordered = np.sort(samples)  # undefined ones come last
    defined = samples.size - int(np.isnan(samples).sum())
    if not defined:
        return None
    low, high = (_quantile(ordered[:defined], q) for q in ((1 - level) / 2, (1 + level) / 2))
    return Interval(low, high, defined)


def _quantile(ordered: Floats, q: float) -> float:
    """As numpy.quantile, linear, without its cost for a small sorted array."""
    at = q * (ordered.size - 1)
    below = int(at)
    above = min(below + 1, ordered.size - 1)
    return float(ordered[below] + (at - below) * (ordered[above] - ordered[below]))
