"""Detection metrics of many resamples at once, without sorting any of them.

The scores are sorted once and cut into blocks. A resample then is a number of utterances a block
and class, and its error rates at the edges of blocks are cumulative sums. Edges lie densest where
the equal error rate and the lowest detection cost of the whole sample are. With no more distinct
scores than blocks every threshold is an edge and everything is exact. Otherwise:

- where the units' weights are given, blocks are opened: the one in which a resample's curves
  cross, which makes its equal error rate exact, and the two beside the edge of lowest cost, for
  its minDCF;
- else the equal error rate is interpolated, and minDCF is the lowest cost over the edges;
- within a block, bona fide scores beat spoofs as often as in the whole sample (AUROC).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cfbench.metrics.detection import DetCurve, detection_cost

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


class ScoreBlocks:
    """Scores of both classes, cut into blocks.

    Args:
        bonafide: Sorted scores, (n,).
        spoof: Sorted scores, (m,).
        curve: The curve of these scores.
        around: Thresholds near which blocks are to be narrow.
        blocks: About how many to cut; less where there are fewer distinct scores.
    """

    def __init__(
        self,
        bonafide: Floats,
        spoof: Floats,
        curve: DetCurve,
        around: tuple[float, ...],
        blocks: int,
    ) -> None:
        edges = _edges(curve, around, blocks)
        self.sides = tuple(
            _Side(scores, np.append(np.searchsorted(scores, edges), scores.size))
            for scores in (bonafide, spoof)
        )
        self.n_blocks = edges.size
        self._wins = self._wins_within_blocks()

    def cells(self) -> tuple[Ints, Ints]:
        """The cell of each bona fide and each spoofed score: 0 .. 2 * blocks - 1."""
        bonafide, spoof = (side.blocks for side in self.sides)
        return bonafide, spoof + self.n_blocks

    def metrics(
        self,
        counts: Floats,
        weights: NDArray[np.floating] | None = None,
        units: tuple[Ints, Ints] | None = None,
    ) -> dict[str, Floats]:
        """EER, AUROC and minDCF of resamples.

        Args:
            counts: (resamples, 2 * blocks), utterances in each of the `cells`.
            weights: (resamples, units), the weights behind these counts; they open blocks.
            units: The unit of each bona fide and of each spoofed score, in their order.

        Returns:
            "eer", "auroc", "min_dcf", each (resamples,); nan where a class is lost.
        """
        bonafide, spoof = counts[:, : self.n_blocks], counts[:, self.n_blocks :]
        with np.errstate(invalid="ignore", divide="ignore"):
            n_bonafide, n_spoof = bonafide.sum(axis=1), spoof.sum(axis=1)
            miss = _from_zero(bonafide) / n_bonafide[:, None]
            rejected = _from_zero(spoof)
            false_alarm = 1 - rejected / n_spoof[:, None]
            wins = (bonafide * (rejected[:, :-1] + self._wins * spoof)).sum(axis=1)
            auroc = wins / (n_bonafide * n_spoof)
        defined = (n_bonafide > 0) & (n_spoof > 0)
        costs = detection_cost(miss, false_alarm)
        cost = costs.min(axis=1)
        eer = np.full(counts.shape[0], np.nan)
        crossing = np.argmax(miss >= false_alarm, axis=1) - 1
        for block in np.unique(crossing[defined]):
            rows = np.flatnonzero(defined & (crossing == block))
            if weights is None or units is None:
                points = miss[rows, block : block + 2], false_alarm[rows, block : block + 2]
            else:
                resampled = (bonafide[rows], spoof[rows])
                points = self._points_within(block, weights[rows], units, resampled)
            eer[rows] = _interpolated(*points)
        if weights is not None and units is not None:
            best = np.argmin(costs, axis=1)
            for beside in (best - 1, best):
                for block in np.unique(beside[defined & (beside >= 0) & (beside < self.n_blocks)]):
                    rows = np.flatnonzero(defined & (beside == block))
                    resampled = (bonafide[rows], spoof[rows])
                    points = self._points_within(block, weights[rows], units, resampled)
                    cost[rows] = np.minimum(cost[rows], detection_cost(*points).min(axis=1))
        return {
            "eer": eer,
            "auroc": np.where(defined, auroc, np.nan),
            "min_dcf": np.where(defined, cost, np.nan),
        }

    def _points_within(
        self,
        block: int,
        weights: NDArray[np.floating],
        units: tuple[Ints, Ints],
        resampled: tuple[Floats, Floats],
    ) -> tuple[Floats, Floats]:
        """Miss and false alarm at every threshold from one edge of a block to the next."""
        inside = [side.scores[side.starts[block] : side.starts[block + 1]] for side in self.sides]
        thresholds = np.unique(np.concatenate(inside))
        rejected = []
        for side, unit, scores, counts in zip(self.sides, units, inside, resampled, strict=True):
            drawn = weights[:, unit[side.starts[block] : side.starts[block + 1]]]
            below = _from_zero(drawn.astype(np.float64))
            at = np.append(np.searchsorted(scores, thresholds), scores.size)
            before = counts[:, :block].sum(axis=1, keepdims=True)
            rejected.append((before + below[:, at]) / counts.sum(axis=1, keepdims=True))
        return rejected[0], 1 - rejected[1]

    def _wins_within_blocks(self) -> Floats:
        bonafide, spoof = self.sides
        # Every score's rank among the spoofs less what lies in lower blocks.
        ranks = np.searchsorted(spoof.scores, bonafide.scores, side="left").astype(np.float64)
        ranks += np.searchsorted(spoof.scores, bonafide.scores, side="right")
        total = _from_zero(ranks[None])[0]
        n_bonafide, n_spoof = np.diff(bonafide.starts), np.diff(spoof.starts)
        within = np.diff(total[bonafide.starts]) / 2 - n_bonafide * spoof.starts[:-1]
        pairs = n_bonafide * n_spoof
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
