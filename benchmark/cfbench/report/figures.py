"""The figures of a report, drawn by matplotlib (`pip install 'cfbench[figures]'`).

One column of a paper is 3.4 inches wide. Colours are told apart by readers who see few of them, and
in grey by their lightness, their markers and their lines.
"""

import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from cfbench.errors import CfbenchError
from cfbench.leaderboard.page_data import split_title, whole_percent
from cfbench.metrics.catalogue import METRICS
from cfbench.metrics.probability import ECE_BINS
from cfbench.report.curves import drawn_curve, probit
from cfbench.report.data import Report
from cfbench.report.words import best_trivial, name_of, plain
from cfbench.scorecard import Number, SplitScore, TaskScore

INK, SOFT, LINE, PAPER = "#1b1d1f", "#565c62", "#d5d9dd", "#ffffff"
SERIES = ("#12437a", "#c8641b", "#3a7d44", "#7a4fa3")
"""The colours of splits, in the track's order."""

_MARKERS, _LINES = ("o", "s", "^", "D"), ("-", "--", ":", "-.")
_COLUMN = 3.4
_DPI = 300
_TICKS = (
    0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 0.99,
)  # fmt: skip
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # words stay words
    "text.parse_math": False,  # names of others are no formulas
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
}


@dataclass(frozen=True)
class Drawing:
    """A figure, by its name: the same picture twice."""

    name: str
    svg: bytes
    png: bytes


def draw(report: Report) -> Iterator[Drawing]:
    """Every figure that a report's numbers give.

    Raises:
        CfbenchError: matplotlib is not installed.
    """
    tasks = report.card.tasks
    yield _drawing("results", partial(_results, report=report), _results_size(report))
    for task_id, task in tasks.items():
        paint = partial(_confusion, task=task, splits=report.splits)
        yield _drawing(f"confusion-{task_id}", paint, (_COLUMN * len(report.splits), 2.5))
    rows = {split: _source_rows(report, split) for split in report.splits}
    most = max(len(found) for found in rows.values())
    paint = partial(_sources, task_ids=list(tasks), by_split=rows)
    yield _drawing("sources", paint, (_COLUMN * len(rows), 0.155 * most + 0.9))
    if report.detection:
        yield _drawing("det", partial(_det, report=report), (_COLUMN, 3.9))
    for task_id in report.reliability:
        paint = partial(_calibration, report=report, task_id=task_id)
        yield _drawing(f"calibration-{task_id}", paint, (_COLUMN, 3.9))
    for task_id, by_split in report.hardest.items():
        heights = [len(found) + 2.2 for found in by_split.values() if found]
        if heights:
            paint = partial(_hardest, report=report, task_id=task_id, heights=heights)
            yield _drawing(f"hardest-{task_id}", paint, (_COLUMN, 0.17 * sum(heights) + 0.3))


def _drawing(name: str, paint: Callable[[Any], object], size: tuple[float, float]) -> Drawing:
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
        from matplotlib.layout_engine import ConstrainedLayoutEngine
    except ModuleNotFoundError:
        raise CfbenchError(
            "a report's figures need matplotlib, which is not installed",
            "pip install 'cfbench[figures]'",
        ) from None
    svg, png = io.BytesIO(), io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        # A name may be in any script; the fonts at hand may not be.
        warnings.filterwarnings("ignore", "Glyph")
        # Neither the user's own settings nor the time may show in a byte.
        mpl.rcdefaults()
        mpl.rcParams.update(_SETTINGS | {"svg.hashsalt": name})
        layout = ConstrainedLayoutEngine()
        figure = Figure(size, layout=layout, facecolor=PAPER)
        paint(figure)
        # What stands where is worked out once for both.
        layout.execute(figure)
        figure.set_layout_engine("none")
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(svg, format="svg", metadata=nothing)
        figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": None})
    # The document type names a file on the web, which a careless reader would fetch.
    text = b'<?xml version="1.0" encoding="utf-8"?>\n<svg' + svg.getvalue().partition(b"<svg")[2]
    return Drawing(name, text, png.getvalue())


def _by_headline(report: Report) -> dict[str, list[str]]:
    """Tasks by the metric that leads: each metric has an axis of its own."""
    panels: dict[str, list[str]] = {}
    for task_id, task in report.card.tasks.items():
        panels.setdefault(task.headline, []).append(task_id)
    return panels


def _results_size(report: Report) -> tuple[float, float]:
    panels = _by_headline(report)
    rows = sum(len(tasks) for tasks in panels.values())
    return _COLUMN, 0.24 * rows * max(2, len(report.splits)) + 0.55 * len(panels) + 0.5


def _results(figure: Any, report: Report) -> None:
    panels = _by_headline(report)
    axes = figure.subplots(
        len(panels), 1, squeeze=False, height_ratios=[len(tasks) + 0.3 for tasks in panels.values()]
    )[:, 0]
    shift = _shifts(len(report.splits))
    labelled: set[str] = set()
    for place, (metric, task_ids) in zip(axes, panels.items(), strict=True):
        for number, split in enumerate(report.splits):
            for row, task_id in enumerate(task_ids):
                task = report.card.tasks[task_id]
                value = task.splits[split].overall.metrics[metric]
                _dot(place, value, row + shift[number], number, split_title(split), labelled)
        for number, split in enumerate(report.splits):
            for row, task_id in enumerate(task_ids):
                trivial = best_trivial(report.card.tasks[task_id], split)
                if trivial is not None:
                    label = "Best trivial predictor"
                    place.plot(
                        100 * trivial, row + shift[number], "|", color=SOFT, markersize=9,
                        label=None if label in labelled else label,
                    )  # fmt: skip
                    labelled.add(label)
        info = METRICS[metric]
        place.set_xlabel(f"{info.title} (%), {info.direction} is better")
        place.set_xlim(0, 100)
        place.set_yticks(range(len(task_ids)), [task_id.upper() for task_id in task_ids])
        place.set_ylim(len(task_ids) - 0.5, -0.5)
        place.grid(axis="x")
    # matplotlib would put lines before values with intervals.
    named = {
        label: handle
        for place in axes
        for handle, label in zip(*place.get_legend_handles_labels(), strict=True)
    }
    order = [split_title(split) for split in report.splits if split_title(split) in named]
    order += [label for label in named if label not in order]
    figure.legend(
        [named[label] for label in order], order, loc="outside upper left", ncols=len(report.splits)
    )


def _shifts(series: int) -> list[float]:
    return list(np.linspace(-0.17, 0.17, series)) if series > 1 else [0.0]


def _dot(
    place: Any, number: Number, height: float, series: int, label: str, labelled: set[str]
) -> None:
    """A value in per cent with its interval; the first of a series is named in the legend."""
    if number.value is None:
        return
    value, ends = 100 * number.value, None
    if number.interval is not None:
        # Rounded ends may miss the value by nothing that can be seen.
        low, high = 100 * number.interval.low, 100 * number.interval.high
        ends = [[max(0.0, value - low)], [max(0.0, high - value)]]
    place.errorbar(
        value, height, xerr=ends, color=SERIES[series % len(SERIES)], linewidth=1.2, capsize=2,
        marker=_MARKERS[series % len(_MARKERS)], linestyle="none", clip_on=False,
        label=None if label in labelled else label,
    )  # fmt: skip
    labelled.add(label)


def _confusion(figure: Any, task: TaskScore, splits: Sequence[str]) -> None:
    axes = figure.subplots(1, len(splits), squeeze=False)[0]
    for place, split in zip(axes, splits, strict=True):
        view = task.splits[split].overall
        counts = np.array(view.confusion, dtype=np.float64)
        totals = counts.sum(axis=1, keepdims=True)
        shares = np.divide(counts, totals, out=np.zeros_like(counts), where=totals > 0)
        _shade(place, shares)
        for (row, column), share in np.ndenumerate(shares):
            if totals[row, 0]:
                place.text(
                    column, row, f"{whole_percent(share)} %\n({int(counts[row, column]):,})",
                    ha="center", va="center", fontsize=6.5, color=_on(share), linespacing=1.1,
                )  # fmt: skip
        place.set_xticks(range(len(view.answers)), view.answers)
        place.set_yticks(range(len(view.support)), list(view.support))
        place.set_xlabel("Answer")
        place.set_ylabel("Truth")
        place.set_title(f"{split_title(split)} (% of the truth)")


def _shade(place: Any, shares: np.ndarray) -> None:
    """Cells from white (0) to dark blue (1); nan stays white."""
    edges = [np.arange(size + 1) - 0.5 for size in reversed(shares.shape)]
    place.pcolormesh(
        *edges, np.ma.masked_invalid(shares), cmap="Blues", vmin=0, vmax=1, edgecolors=PAPER,
        linewidth=0.8,
    )  # fmt: skip
    place.set_xlim(-0.5, shares.shape[1] - 0.5)
    place.set_ylim(shares.shape[0] - 0.5, -0.5)
    place.tick_params(length=0)
    for spine in place.spines.values():
        spine.set_visible(False)


def _on(share: float) -> str:
    """The colour of a word on a shaded cell."""
    return PAPER if share > 0.55 else INK


def _source_rows(report: Report, split: str) -> dict[tuple[str, str], list[float]]:
    """Shares of right answers, a value a task, by the source and the kind of its speech."""
    found: dict[tuple[str, str], list[float]] = {}
    tasks = list(report.card.tasks.values())
    for kind in ("fake", "bona fide"):
        for position, task in enumerate(tasks):
            for source, share in _shares(task.splits[split], kind):
                row = found.setdefault((source, kind), [np.nan] * len(tasks))
                row[position] = share
    return found


def _shares(scored: SplitScore, kind: str) -> Iterator[tuple[str, float]]:
    for row in scored.sources:
        number = row.spoof_accuracy if kind == "fake" else row.bonafide_accuracy
        if number.value is not None:
            yield row.source, number.value


def _sources(
    figure: Any, task_ids: Sequence[str], by_split: dict[str, dict[tuple[str, str], list[float]]]
) -> None:
    axes = figure.subplots(1, len(by_split), squeeze=False)[0]
    for place, (split, rows) in zip(axes, by_split.items(), strict=True):
        shares = np.array(list(rows.values()))
        _shade(place, shares)
        for (row, column), share in np.ndenumerate(shares):
            if not np.isnan(share):
                place.text(
                    column, row, f"{whole_percent(share)}", ha="center", va="center", fontsize=6.5,
                    color=_on(share),
                )  # fmt: skip
        names = [
            name_of(source, 32) + ("" if kind == "fake" else " (bona fide)")
            for source, kind in rows
        ]
        place.set_yticks(range(len(rows)), names, fontsize=6.5)
        place.set_xticks(range(len(task_ids)), [task_id.upper() for task_id in task_ids])
        place.set_title(f"{split_title(split)}: right answers (%)")


def _det(figure: Any, report: Report) -> None:
    place = figure.subplots()
    transfer = report.card.tasks["bin"].threshold_transfer
    carried = None if transfer is None else (transfer.false_alarm, transfer.miss)
    rates = [found.eer for found in report.detection.values()]
    rates += [rate.value for rate in carried or () if rate.value is not None]
    smallest = min(1 / max(found.bonafide, found.spoofed) for found in report.detection.values())
    low, high = _det_ends([smallest, *rates])
    ticks = np.array([tick for tick in _TICKS if low <= tick <= high])
    ends = probit(np.array([low, high]))
    place.plot(ends, ends, color=SOFT, linewidth=0.6, zorder=1)
    for number, (split, found) in enumerate(report.detection.items()):
        colour, line = SERIES[number % len(SERIES)], _LINES[number % len(_LINES)]
        false_alarm, miss = drawn_curve(found.curve)
        place.plot(probit(false_alarm), probit(miss), color=colour, linestyle=line)
        # An EER of 0 has no place on the axes: it is marked in their corner.
        at = np.clip(probit(np.array([found.eer])), *ends)
        place.plot(
            at, at, color=colour, linestyle=line, marker=_MARKERS[number % len(_MARKERS)],
            clip_on=False, zorder=5, label=f"{split_title(split)}: EER {plain(found.eer, 'eer')} %",
        )  # fmt: skip
    if transfer is not None and carried is not None:
        (x, across), (y, along) = (_on_axis(rate, ends) for rate in carried)
        place.errorbar(
            x, y, xerr=across, yerr=along, color=INK, marker="x", markersize=6, markeredgewidth=1.6,
            linewidth=0.9, capsize=2, linestyle="none", clip_on=False, zorder=6,
            label=f"Threshold of the EER {split_title(transfer.from_split).lower()}",
        )  # fmt: skip
    labels = [f"{100 * tick:g}" for tick in ticks]
    place.set_xticks(probit(ticks), labels)
    place.set_yticks(probit(ticks), labels)
    place.set_xlim(*ends)
    place.set_ylim(*ends)
    place.set_aspect("equal")
    place.grid()
    place.set_xlabel("False-alarm rate: spoof accepted (%)")
    place.set_ylabel("Miss rate: bona fide rejected (%)")
    figure.legend(loc="outside upper left")


def _det_ends(rates: Sequence[float]) -> tuple[float, float]:
    """Where the axes of a DET plot begin and end, so that the rates that are marked are on them."""
    smallest = min(rate for rate in rates if rate > 0)
    low = max((tick for tick in _TICKS if tick <= smallest), default=_TICKS[0])
    return min(low, 0.1), 0.6 if max(rates) < 0.4 else _TICKS[-1]


def _on_axis(rate: Number, ends: np.ndarray) -> tuple[float, list[list[float]] | None]:
    """Where a rate is marked on an axis, and how far its interval reaches to both sides."""
    assert rate.value is not None  # noqa: S101 - a threshold that was carried over has both rates
    at = float(np.clip(probit(np.array([rate.value])), *ends)[0])
    if rate.interval is None:
        return at, None
    low, high = np.clip(probit(np.array([rate.interval.low, rate.interval.high])), *ends)
    return at, [[max(0.0, at - float(low))], [max(0.0, float(high) - at)]]


def _calibration(figure: Any, report: Report, task_id: str) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    above.plot([0, 100], [0, 100], color=SOFT, linewidth=0.8)
    edges = np.linspace(0, 100, ECE_BINS + 1)
    metrics = {
        split: scored.overall.metrics for split, scored in report.card.tasks[task_id].splits.items()
    }
    for number, (split, bins) in enumerate(report.reliability[task_id].items()):
        colour, line = SERIES[number % len(SERIES)], _LINES[number % len(_LINES)]
        there = bins.counts > 0
        ece = metrics[split]["ece"].value
        above.plot(
            100 * bins.confidence[there], 100 * bins.accuracy[there], color=colour, linestyle=line,
            marker=_MARKERS[number % len(_MARKERS)], clip_on=False,
            label=split_title(split) + ("" if ece is None else f": ECE {plain(ece, 'ece')} %"),
        )  # fmt: skip
        share = 100 * bins.counts / bins.counts.sum()
        below.stairs(share, edges, color=colour, linestyle=line, linewidth=1.2)
    above.set_ylabel("Right answers (%)")
    below.set_ylabel("Utterances (%)")
    below.set_xlabel("Probability of the answer (%)")
    above.set_xlim(0, 100)
    above.set_ylim(0, 100)
    below.set_ylim(bottom=0)
    for place in (above, below):
        place.grid()
    figure.legend(loc="outside upper left")


def _hardest(figure: Any, report: Report, task_id: str, heights: Sequence[float]) -> None:
    by_split = {split: rows for split, rows in report.hardest[task_id].items() if rows}
    axes = figure.subplots(len(by_split), 1, squeeze=False, sharex=True, height_ratios=heights)
    for place, (split, rows) in zip(axes[:, 0], by_split.items(), strict=True):
        series = report.splits.index(split)
        for height, row in enumerate(rows):
            _dot(place, row.accuracy, height, series, "", {""})
        names = [
            f"{name_of(row.source, 26)} ({'bona fide, ' if row.bonafide else ''}{row.utterances:,})"
            for row in rows
        ]
        place.set_yticks(range(len(rows)), names, fontsize=6.5)
        place.set_ylim(len(rows) - 0.5, -0.5)
        place.set_xlim(0, 100)
        place.set_title(split_title(split), loc="left")
        place.grid(axis="x")
    axes[-1, 0].set_xlabel(f"{task_id.upper()}: right answers (%)")
