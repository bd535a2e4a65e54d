"""Detection metrics of many resamples at once, without sorting any of them.

The scores are sorted once and cut into blocks. A resample then is a number of utterances a block
and class, and its error rates at the edges of blocks are cumulative sums. Edges lie densest where
the equal error rate, the lowest detection cost and the threshold of FPR95 of the whole sample are.
With no more distinct scores than blocks every threshold is an edge and everything is exact.
Otherwise:

- where the units' weights are given, blocks are opened: the one in which a resample's curves
  cross, which makes its equal error rate exact, the one in which it begins to miss more than 5 %,
  which makes its FPR95 exact, and the two beside the edge of lowest cost, for its minDCF;
- else the equal error rate and FPR95 are interpolated, and minDCF is the lowest cost over the
  edges;
- within a block, positive scores beat negative ones as often as in the whole sample (AUROC).
"""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cfbench.metrics.detection import (
    ALLOWED_MISS,
    DetCurve,
    detection_cost,
    last_point_at_95,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class _Side:
    """The sorted scores of one class, and where each block starts."""

    scores: Floats
    starts: Ints  # (blocks + 1,)

    @property
    def blocks(self) -> Ints:
        """The block of each score, (n,)."""
        return np.repeat(np.arange(self.starts.size - 1), np.diff(self.starts))


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The weights behind resamples, (resamples, units), and the unit of each score by class."""

    weights: NDArray[np.floating]
    units: tuple[Ints, Ints]


class ScoreBlocks:
    """Scores of both classes, cut into blocks.

    Args:
        positive: Sorted scores, (n,).
        negative: Sorted scores, (m,).
        curve: The curve of these scores.
        around: Thresholds near which blocks are to be narrow.
        blocks: About how many to cut; less where there are fewer distinct scores.
        metrics: Which of "min_dcf" and "fpr95" are wanted beside "eer" and "auroc".
    """

    def __init__(
        self,
        positive: Floats,
        negative: Floats,
        curve: DetCurve,
        around: tuple[float, ...],
        blocks: int,
        metrics: Collection[str],
    ) -> None:
        edges = _edges(curve, around, blocks)
        self.wanted = metrics
        starts = np.append(np.searchsorted(curve.thresholds, edges), curve.thresholds.size - 1)
        # Where a block has but one threshold, its edge, there is nothing between its edges.
        self._several = np.diff(starts) > 1
        self.sides = tuple(
            _Side(scores, np.append(np.searchsorted(scores, edges), scores.size))
            for scores in (positive, negative)
        )
        self.n_blocks = edges.size
        self._wins = self._wins_within_blocks()

    def cells(self) -> tuple[Ints, Ints]:
        """The cell of each positive and each negative score: 0 .. 2 * blocks - 1."""
        positive, negative = (side.blocks for side in self.sides)
        return positive, negative + self.n_blocks

    def metrics(
        self,
        counts: Floats,
        weights: NDArray[np.floating] | None = None,
        units: tuple[Ints, Ints] | None = None,
    ) -> dict[str, Floats]:
        """EER, AUROC and, where they are wanted, minDCF and FPR95 of resamples.

        Args:
            counts: (resamples, 2 * blocks), utterances in each of the `cells`.
            weights: (resamples, units), the weights behind these counts; they open blocks.
            units: The unit of each positive and of each negative score, in their order.

        Returns:
            By name, each (resamples,); nan where a class is lost.
        """
        positive, negative = counts[:, : self.n_blocks], counts[:, self.n_blocks :]
        with np.errstate(invalid="ignore", divide="ignore"):
            n_positive, n_negative = positive.sum(axis=1), negative.sum(axis=1)
            miss = _from_zero(positive) / n_positive[:, None]
            rejected = _from_zero(negative)
            false_alarm = 1 - rejected / n_negative[:, None]
            wins = (positive * (rejected[:, :-1] + self._wins * negative)).sum(axis=1)
            auroc = wins / (n_positive * n_negative)
        defined = (n_positive > 0) & (n_negative > 0)
        eer = np.full(counts.shape[0], np.nan)
        crossing = np.argmax(miss >= false_alarm, axis=1) - 1
        drawn = None if weights is None or units is None else _Drawn(weights, units)
        for block in np.unique(crossing[defined]):
            rows = np.flatnonzero(defined & (crossing == block))
            if drawn is None:
                points = miss[rows, block : block + 2], false_alarm[rows, block : block + 2]
            else:
                points = self._points_within(block, rows, drawn, counts)
            eer[rows] = _interpolated(*points)
        found = {"eer": eer, "auroc": auroc}
        if "min_dcf" in self.wanted:
            found["min_dcf"] = self._lowest_cost(miss, false_alarm, defined, drawn, counts)
        if "fpr95" in self.wanted:
            found["fpr95"] = self._at_95(miss, false_alarm, defined, drawn, counts)
        return {name: np.where(defined, values, np.nan) for name, values in found.items()}

    def _lowest_cost(
        self,
        miss: Floats,
        false_alarm: Floats,
        defined: NDArray[np.bool_],
        drawn: "_Drawn | None",
        counts: Floats,
    ) -> Floats:
        costs = detection_cost(miss, false_alarm)
        cost: Floats = costs.min(axis=1)
        if drawn is None:
            return cost
        best = np.argmin(costs, axis=1)
        for beside in (best - 1, best):
            for block in np.unique(beside[defined & (beside >= 0) & (beside < self.n_blocks)]):
                rows = np.flatnonzero(defined & (beside == block))
                points = self._points_within(block, rows, drawn, counts)
                cost[rows] = np.minimum(cost[rows], detection_cost(*points).min(axis=1))
        return cost

    def _at_95(
        self,
        miss: Floats,
        false_alarm: Floats,
        defined: NDArray[np.bool_],
        drawn: "_Drawn | None",
        counts: Floats,
    ) -> Floats:
        # Where a class is lost miss is nan, and no point is below the allowed one.
        edge = np.maximum(last_point_at_95(miss), 0)
        everyone = np.arange(edge.size)
        rate: Floats = false_alarm[everyone, edge]
        inside = defined & self._several[edge]
        if drawn is None:
            rows, at = everyone[inside], edge[inside]
            step = (ALLOWED_MISS - miss[rows, at]) / (miss[rows, at + 1] - miss[rows, at])
            rate[rows] += step * (false_alarm[rows, at + 1] - false_alarm[rows, at])
            return rate
        for block in np.unique(edge[inside]):
            rows = np.flatnonzero(inside & (edge == block))
            missed, accepted = self._points_within(block, rows, drawn, counts)
            rate[rows] = accepted[np.arange(rows.size), last_point_at_95(missed)]
        return rate

    def _points_within(
        self,
        block: int,
        rows: NDArray[np.intp],
        drawn: "_Drawn",
        counts: Floats,
    ) -> tuple[Floats, Floats]:
        """Miss and false alarm of some resamples at every threshold of a block, and the next."""
        inside = [side.scores[side.starts[block] : side.starts[block + 1]] for side in self.sides]
        thresholds = np.unique(np.concatenate(inside))
        rejected = []
        sides = (counts[rows, : self.n_blocks], counts[rows, self.n_blocks :])
        weights = drawn.weights[rows]
        for side, unit, scores, of_side in zip(self.sides, drawn.units, inside, sides, strict=True):
            within = weights[:, unit[side.starts[block] : side.starts[block + 1]]]
            below = _from_zero(within.astype(np.float64))
            at = np.append(np.searchsorted(scores, thresholds), scores.size)
            before = of_side[:, :block].sum(axis=1, keepdims=True)
            rejected.append((before + below[:, at]) / of_side.sum(axis=1, keepdims=True))
        return rejected[0], 1 - rejected[1]

    def _wins_within_blocks(self) -> Floats:
        positive, negative = self.sides
        # Every score's rank among the negative ones less what lies in lower blocks.
        ranks = np.searchsorted(negative.scores, positive.scores, side="left").astype(np.float64)
        ranks += np.searchsorted(negative.scores, positive.scores, side="right")
        total = _from_zero(ranks[None])[0]
        n_positive, n_negative = np.diff(positive.starts), np.diff(negative.starts)
        within = np.diff(total[positive.starts]) / 2 - n_positive * negative.starts[:-1]
        pairs = n_positive * n_negative
        return np.where(pairs > 0, within / np.maximum(pairs, 1), 0.5)


def _edges(curve: DetCurve, around: tuple[float, ...], blocks: int) -> Floats:
    """The lowest threshold of each block; the first is the lowest score."""
    distinct = curve.thresholds[:-1]
    if distinct.size <= blocks:
        return distinct
    # The mean of the two classes' distribution functions: each class gets its share of blocks.
    rank = (curve.miss[:-1] + 1 - curve.false_alarm[:-1]) / 2
    even = np.linspace(0.0, 1.0, blocks // 2, endpoint=False)
    steps = np.geomspace(min(0.1, 5 / distinct.size), 0.2, blocks // (4 * max(len(around), 1)))
    centres = rank[np.minimum(np.searchsorted(distinct, around), distinct.size - 1)]
    near = [centre + sign * steps for centre in centres for sign in (-1, 1)]
    wanted = np.clip(np.concatenate([even, centres, *near]), 0.0, 1.0)
    picked = np.unique(np.minimum(np.searchsorted(rank, wanted), distinct.size - 1))
    picked[0] = 0
    return distinct[picked]


def _from_zero(values: Floats) -> Floats:
    """Cumulative sums along the last axis, with a zero in front."""
    sums = np.zeros((values.shape[0], values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _interpolated(miss: Floats, false_alarm: Floats) -> Floats:
    """The equal error rate of each row's curve, which starts before and ends after it."""
    after = np.maximum(np.argmax(miss >= false_alarm, axis=1), 1)
    rows = np.arange(miss.shape[0])
    ahead = (false_alarm - miss)[rows, after - 1]
    behind = (miss - false_alarm)[rows, after]
    step = ahead / np.where(ahead + behind == 0, 1.0, ahead + behind)
    start = miss[rows, after - 1]
    return start + step * (miss[rows, after] - start)
