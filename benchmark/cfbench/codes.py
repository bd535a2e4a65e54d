"""Numbers for words: distinct values as small integers, so that arrays can count them."""

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.integer]


def dense_codes(column: pl.Series) -> tuple[Ints, list[str]]:
    """Number the distinct values of a text column in their sorted order.

    Returns:
        int32, the number of each row's value (-1 for null), and the values.
    """
    names = column.drop_nulls().unique().sort()
    codes = column.cast(pl.Enum(names)).to_physical().cast(pl.Int32).fill_null(-1)
    return codes.to_numpy(), names.to_list()


def dense_codes_of_runs(column: pl.Series) -> tuple[Ints, list[str]]:
    """As `dense_codes`, for a column without null whose equal values mostly stand together."""
    runs = column.rle_id().to_numpy()
    starts = np.flatnonzero(np.diff(runs, prepend=runs[:1] - 1))
    codes, names = dense_codes(column.gather(starts))
    return codes[runs], names


def renumber(codes: Ints) -> tuple[Ints, Ints]:
    """Number the codes that occur 0, 1, ... in their order.

    Args:
        codes: (n,), not negative, n > 0.

    Returns:
        int32, the new number of each, (n,), and how often each new number occurs.

    >>> renumber(np.array([7, 3, 7]))
    (array([1, 0, 1], dtype=int32), array([1, 2]))
    """
    if codes.max() > 16 * codes.size:
        # Counting would need an array as long as the largest code.
        _, numbers, counts = np.unique(codes, return_inverse=True, return_counts=True)
        return numbers.astype(np.int32), counts
    counts = np.bincount(codes)
    present = counts > 0
    return (np.cumsum(present, dtype=np.int32) - 1)[codes], counts[present]


def first_rows(numbers: Ints, size: int) -> Ints:
    """The first row at which each of the numbers 0 .. size - 1 stands, (size,)."""
    first = np.empty(size, dtype=np.int64)
    first[numbers[::-1]] = np.arange(numbers.size)[::-1]
    return first
