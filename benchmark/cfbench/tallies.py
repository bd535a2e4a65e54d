"""Sums over units from which every metric of a task follows.

A unit is what is resampled: a group, or a cell of utterances that are (nearly) alike. A tally
holds a table of sums by unit for each thing that metrics need; a resample is a weighted sum of
its rows, so that the point estimate (all weights one) and 1,000 replicates share their formulas.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.codes import renumber
from cfbench.intervals import (
    Weights,
    canonical_order,
    cell_weights,
    count_table,
    fixed_point,
    fixed_point_sums,
)
from cfbench.metrics import confusion as decisions
from cfbench.metrics.detection import (
    BAYES_THRESHOLD,
    area_under_roc,
    det_curve,
    detection_cost,
    equal_error_rate,
    equal_error_rate_of_paper,
    false_positive_rate_at_95,
    llr_cost,
    min_dcf,
)
from cfbench.metrics.probability import ECE_BINS, expected_calibration_error
from cfbench.metrics.score_blocks import ScoreBlocks

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]
Values = dict[str, Floats]

LOSS_LEVELS = 16


@dataclass(frozen=True, eq=False)
class Losses:
    """What probabilities cost, an utterance each, in fixed point.

    Attributes:
        log_loss: (utterances,).
        brier: (utterances,).
        surplus: (utterances,), 1[answer is right] - confidence.
        bins: int8, (utterances,), calibration bins.
        levels: int8, (utterances,), see `loss_level`.
    """

    log_loss: Floats
    brier: Floats
    surplus: Floats
    bins: NDArray[np.int8]
    levels: NDArray[np.int8]

    def __getitem__(self, rows: NDArray[Any]) -> "Losses":
        values = (self.log_loss, self.brier, self.surplus, self.bins, self.levels)
        return Losses(*(value[rows] for value in values))


def loss_level(log_loss: Floats) -> NDArray[np.int8]:
    """0 to 15: log losses in steps that grow, from less than 1/16 nat to more than 14 nats."""
    return np.minimum(4 * np.sqrt(log_loss), LOSS_LEVELS - 1).astype(np.int8)


@dataclass(frozen=True, eq=False)
class Answers:
    """One task's answers to some utterances.

    Attributes:
        truth: int8, (utterances,), class indices.
        codes: int8, (utterances,), answered class indices; `n_classes` where there is none.
        n_classes: K.
        n_answers: K, or K + 1 where answers may be missing.
        bonafide: The class of bona fide speech in a tracing task, else None.
        losses: None where only labels are given.
    """

    truth: NDArray[np.int8]
    codes: NDArray[np.int8]
    n_classes: int
    n_answers: int
    bonafide: int | None
    losses: Losses | None

    def __getitem__(self, rows: NDArray[Any]) -> "Answers":
        losses = None if self.losses is None else self.losses[rows]
        return replace(self, truth=self.truth[rows], codes=self.codes[rows], losses=losses)


@dataclass(frozen=True, eq=False)
class Origins:
    """The kinds of utterances of a view: a source, bona fide or not.

    Attributes:
        codes: (utterances,), the kind of each.
        truth: (kinds,), the class of a kind in the task at hand.
        source: (kinds,), the source of a kind.
        spoofed: (kinds,), whether it is a kind of spoof.
        n_sources: How many sources there are.
    """

    codes: Ints
    truth: Ints
    source: Ints
    spoofed: NDArray[np.bool_]
    n_sources: int


class DecisionTally:
    """Answers, right and wrong, and what they cost, by unit.

    Args:
        answers: Of the view's utterances.
        origins: Their kinds.
        units: (utterances,), the unit of each.
        n_units: How many units there are.
        by_source: Whether metrics by source are wanted too.
        paired: Units are drawn in their own order, the same for every system that answers these
            utterances, and not in the canonical order of this system's answers.
    """

    def __init__(
        self,
        answers: Answers,
        origins: Origins,
        units: Ints,
        n_units: int,
        by_source: bool,
        paired: bool = False,
    ) -> None:
        self.n_classes, self.n_answers = answers.n_classes, answers.n_answers
        self.bonafide = answers.bonafide
        self.origins, self.by_source = origins, by_source
        # The classes of an average are those of the utterances themselves, in every resample.
        self.classes = np.bincount(answers.truth, minlength=answers.n_classes) > 0
        width = origins.truth.size * self.n_answers
        cells = origins.codes.astype(np.int64) * self.n_answers + answers.codes
        losses = answers.losses
        columns = [cells] if losses is None else [cells, losses.log_loss, losses.brier]
        order = np.arange(n_units) if paired else canonical_order(columns, units, n_units)
        cells += units.astype(np.int64) * width
        table = count_table(cells, n_units, width)
        self.cells = table[order]
        self.total_cells: Floats = table.sum(axis=0, dtype=np.float64)[None]
        n_of_kind = self.total_cells.reshape(1, -1, self.n_answers).sum(axis=2)
        n_of_source = _gathered(n_of_kind, origins.source, origins.n_sources)[0]
        self.share: Floats = 1.0 / n_of_source[origins.source]
        self.losses: Floats | None = None
        self.total_losses: Floats | None = None
        self.calibration: Values = {}
        if losses is not None:
            self.losses = _loss_table(losses, units, n_units)[order]
            self.total_losses = _loss_table(losses, None, 1)
            # Not resampled: a resample is less smooth than its sample, so its ECE is higher.
            surplus = fixed_point_sums(losses.surplus, losses.bins, ECE_BINS)
            n = np.array(float(answers.truth.size))
            self.calibration["ece"] = expected_calibration_error(surplus, n)[None]

    def __call__(self, weights: Weights) -> Values:
        """The metrics of resamples; `weights` is (replicates, units)."""
        losses = None if self.losses is None else weights.sums(self.losses)
        return self._metrics(weights.sums(self.cells), losses)

    def point(self) -> Values:
        """The metrics of the utterances themselves, as of one resample."""
        return self._metrics(self.total_cells, self.total_losses) | self.calibration

    def confusion(self) -> Floats:
        """The confusion matrix of the utterances themselves, (K, M)."""
        return self._confusion(self.total_cells)[0]

    def _metrics(self, cells: Floats, losses: Floats | None) -> Values:
        matrix = self._confusion(cells)
        support = decisions.support(matrix)
        values = {
            **_decision_metrics(matrix, self.classes, self.bonafide),
            "support": support,
            # A resample without the class is none of its precision either.
            "class_precision": np.where(
                self.classes & (support == 0), np.nan, decisions.precision(matrix)
            ),
            "class_recall": decisions.recall(matrix),
            "class_f1": decisions.f1(matrix),
        }
        n = support.sum(axis=1)
        if losses is not None:
            with np.errstate(invalid="ignore", divide="ignore"):
                values["log_loss"] = losses[:, 0] / n
                values["brier"] = losses[:, 1] / n
        if self.by_source:
            values |= self._by_source(cells.reshape(len(cells), -1, self.n_answers))
        return values

    def _confusion(self, cells: Floats) -> Floats:
        cells = cells.reshape(len(cells), -1, self.n_answers)
        return _gathered(cells, self.origins.truth, self.n_classes)

    def _by_source(self, cells: Floats) -> Values:
        origins = self.origins
        n = cells.sum(axis=2)
        right = cells[:, np.arange(origins.truth.size), origins.truth]
        # The weight is that of the source in the sample: one drawn twice counts twice.
        equal = _gathered(cells * self.share[:, None], origins.truth, self.n_classes)
        metrics = _decision_metrics(equal, self.classes, self.bonafide)
        values = {f"equal_sources/{name}": value for name, value in metrics.items()}
        for name, kinds in (
            ("accuracy", np.ones_like(origins.spoofed)),
            ("spoof_accuracy", origins.spoofed),
            ("bonafide_accuracy", ~origins.spoofed),
        ):
            of_source = origins.source[kinds]
            hits = _gathered(right[:, kinds], of_source, origins.n_sources)
            total = _gathered(n[:, kinds], of_source, origins.n_sources)
            with np.errstate(invalid="ignore", divide="ignore"):
                values[f"source/{name}"] = np.where(total > 0, hits / total, np.nan)
        return values


def _loss_table(losses: Losses, units: Ints | None, n_units: int) -> Floats:
    """Summed log loss and Brier score, (units, 2)."""
    both = (losses.log_loss, losses.brier)
    return np.column_stack([fixed_point_sums(loss, units, n_units) for loss in both])


class DetectionTally:
    """Scores of a detection task by unit.

    Args:
        scores: (utterances,), higher = more of the positive class; infinite where there is no
            answer.
        llr: (utterances,), log-likelihood ratios.
        is_positive: (utterances,); both classes must occur.
        units: (utterances,).
        n_units: How many units there are.
        metrics: Those that are wanted.
        fixed_threshold: A threshold from elsewhere whose error rates are wanted, or None.
        blocks: About how many blocks to cut the scores into.
        paired: As for `DecisionTally`.
    """

    def __init__(
        self,
        scores: Floats,
        llr: Floats,
        is_positive: NDArray[np.bool_],
        units: Ints,
        n_units: int,
        metrics: Collection[str],
        fixed_threshold: float | None,
        blocks: int,
        paired: bool = False,
    ) -> None:
        rows = [np.flatnonzero(side) for side in (is_positive, ~is_positive)]
        orders = [side[np.argsort(scores[side])] for side in rows]
        self.positive, self.negative = (scores[order] for order in orders)
        curve = det_curve(self.positive, self.negative)
        self.equal_error = equal_error_rate(curve)
        # What is found by its threshold on the curve.
        searched = {"min_dcf": min_dcf, "fpr95": false_positive_rate_at_95}
        self.searched = {name: find(curve) for name, find in searched.items() if name in metrics}
        around = (self.equal_error.threshold, *(p.threshold for p in self.searched.values()))
        self.blocks = ScoreBlocks(self.positive, self.negative, curve, around, blocks, metrics)
        self.metrics = metrics
        self.fixed_threshold = fixed_threshold
        rates = _Rates(scores, llr, is_positive, fixed_threshold)
        self.names = rates.names
        self.totals = rates.table(None, 1)
        self.cells_of_rows = np.empty(scores.size, dtype=np.int32)
        for order, cells in zip(orders, self.blocks.cells(), strict=True):
            self.cells_of_rows[order] = cells
        unit_sides = (units[orders[0]], units[orders[1]])
        counts = self._counts(unit_sides, n_units)
        # By the scores alone: what else is asked of them must not change the resamples.
        columns = [is_positive, scores]
        order = np.arange(n_units) if paired else canonical_order(columns, units, n_units)
        rank = np.empty_like(order)
        rank[order] = np.arange(order.size)
        self.units = (rank[unit_sides[0]], rank[unit_sides[1]])
        self.counts, self.sums = counts[order], rates.table(units, n_units)[order]

    def _counts(self, units: tuple[Ints, Ints], n_units: int) -> NDArray[np.floating]:
        width = 2 * self.blocks.n_blocks
        sides = zip(units, self.blocks.cells(), strict=True)
        flat = [u.astype(np.int64) * width + c for u, c in sides]
        return count_table(np.concatenate(flat), n_units, width)

    def __call__(self, weights: Weights) -> Values:
        """The metrics of resamples of units; `weights` is (replicates, units)."""
        counts = weights.sums(self.counts)
        drawn = weights.double if weights.single is None else weights.single
        return self.blocks.metrics(counts, drawn, self.units) | self._rates(weights.sums(self.sums))

    def of_utterances(
        self,
        scores: Floats,
        llr: Floats,
        is_positive: NDArray[np.bool_],
        replicates: int,
        seed: Sequence[int],
    ) -> Values:
        """The metrics of resamples of utterances, drawn by cells of one class and block."""
        codes, sizes = renumber(self.cells_of_rows)
        weights = cell_weights(sizes, replicates, seed)
        rates = _Rates(scores, llr, is_positive, self.fixed_threshold)
        counts = np.zeros((replicates, 2 * self.blocks.n_blocks))
        occurring = np.bincount(self.cells_of_rows, minlength=counts.shape[1]) > 0
        counts[:, occurring] = weights.double * sizes
        sums = weights.sums(rates.table(codes, sizes.size))
        return self.blocks.metrics(counts) | self._rates(sums)

    def point(self) -> Values:
        """The metrics of the utterances themselves, as of one resample; exact."""
        values = {
            "eer": self.equal_error.value,
            "auroc": area_under_roc(self.positive, self.negative),
            **{name: found.value for name, found in self.searched.items()},
        }
        if "eer_paper" in self.metrics:
            values["eer_paper"] = equal_error_rate_of_paper(self.positive, self.negative)
        return {name: np.array([v]) for name, v in values.items()} | self._rates(self.totals)

    def _rates(self, sums: Floats) -> Values:
        total = dict(zip(self.names, sums.T, strict=True))
        with np.errstate(invalid="ignore", divide="ignore"):
            rates = {
                "act_dcf": detection_cost(
                    total["bayes_miss"] / total["positive"],
                    total["bayes_false_alarm"] / total["negative"],
                ),
                "cllr": (
                    total["cllr_positive"] / total["positive"]
                    + total["cllr_negative"] / total["negative"]
                )
                / 2,
            }
            if "fixed_miss" in total:
                rates["miss"] = total["fixed_miss"] / total["positive"]
                rates["false_alarm"] = total["fixed_false_alarm"] / total["negative"]
        return rates


class _Rates:
    """What error rates at fixed thresholds, and Cllr, are computed from."""

    def __init__(
        self,
        scores: Floats,
        llr: Floats,
        is_positive: NDArray[np.bool_],
        fixed_threshold: float | None,
    ) -> None:
        self.flags = {
            "positive": is_positive,
            "negative": ~is_positive,
            "bayes_miss": is_positive & (llr < BAYES_THRESHOLD),
            "bayes_false_alarm": ~is_positive & (llr >= BAYES_THRESHOLD),
        }
        if fixed_threshold is not None:
            self.flags["fixed_miss"] = is_positive & (scores < fixed_threshold)
            self.flags["fixed_false_alarm"] = ~is_positive & (scores >= fixed_threshold)
        self.costs = {}
        for side, name in ((is_positive, "cllr_positive"), (~is_positive, "cllr_negative")):
            rows = np.flatnonzero(side)
            self.costs[name] = rows, fixed_point(llr_cost(llr[rows], name == "cllr_positive"))
        self.names = [*self.flags, *self.costs]

    def table(self, units: Ints | None, n_units: int) -> Floats:
        """Sums by unit, (units, names); of all utterances where `units` is None."""
        counts = [
            [flag.sum()] if units is None else np.bincount(units[flag], minlength=n_units)
            for flag in self.flags.values()
        ]
        sums = [
            fixed_point_sums(cost, None if units is None else units[rows], n_units)
            for rows, cost in self.costs.values()
        ]
        return np.column_stack([*counts, *sums]).astype(np.float64)


class ShareTally:
    """Shares of utterances of which something holds, by unit.

    Args:
        flags: Name to (utterances,) of truth values.
        units: (utterances,).
        n_units: How many units there are.
    """

    def __init__(self, flags: dict[str, NDArray[np.bool_]], units: Ints, n_units: int) -> None:
        self.names = list(flags)
        columns = [np.bincount(units[flag], minlength=n_units) for flag in flags.values()]
        table = np.column_stack([*columns, np.bincount(units, minlength=n_units)]).astype(float)
        self.totals = table.sum(axis=0)[None]
        self.table = table[canonical_order(list(flags.values()), units, n_units)]

    def __call__(self, weights: Weights) -> Values:
        """The shares in resamples; `weights` is (replicates, units)."""
        return self._shares(weights.sums(self.table))

    def point(self) -> Values:
        """The shares of the utterances themselves, as of one resample."""
        return self._shares(self.totals)

    def _shares(self, sums: Floats) -> Values:
        n = np.where(sums[:, -1] > 0, sums[:, -1], np.nan)
        return {name: sums[:, column] / n for column, name in enumerate(self.names)}


def utterance_cells(answers: Answers) -> tuple[Ints, int]:
    """Cells of utterances that are alike in truth, answer and (nearly) in losses.

    Returns:
        The cell of each utterance, numbered without gaps, and how many cells there are.
    """
    codes = answers.truth.astype(np.int32) * answers.n_answers + answers.codes
    if answers.losses is not None:
        codes = codes * LOSS_LEVELS + answers.losses.levels
    cells, sizes = renumber(codes)
    return cells, sizes.size


def _decision_metrics(matrix: Floats, classes: NDArray[np.bool_], bonafide: int | None) -> Values:
    values = {
        "macro_f1": decisions.macro_f1(matrix, classes),
        "weighted_f1": decisions.weighted_f1(matrix),
        "accuracy": decisions.accuracy(matrix),
        "balanced_accuracy": decisions.balanced_accuracy(matrix, classes),
    }
    if bonafide is not None:
        spoofed = classes.copy()
        spoofed[bonafide] = False
        values["macro_f1_spoofed"] = decisions.macro_f1(matrix, spoofed)
    return values


def _gathered(values: Floats, index: Ints, size: int) -> Floats:
    """Sum along axis 1 into `size` places: out[:, index[i]] += values[:, i]."""
    out = np.zeros((values.shape[0], size, *values.shape[2:]))
    for position, place in enumerate(index):
        out[:, place] += values[:, position]
    return out
