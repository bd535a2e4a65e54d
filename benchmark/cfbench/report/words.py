"""How a report says numbers, names and what a figure shows."""

from collections.abc import Iterable

from cfbench.errors import clip, plural
from cfbench.leaderboard.page_data import split_title
from cfbench.metrics.catalogue import METRICS
from cfbench.report.data import Report
from cfbench.scorecard import Number, TaskScore

# Costs and losses are given as they are, everything else in per cent.
_AS_IS = ("log_loss", "brier", "min_dcf", "act_dcf", "cllr")

_LONGEST_NAME = 80


def plain(value: float, metric: str) -> str:
    """A value as tables show it: per cent with one digit, costs and losses with three."""
    text = f"{value:.3f}" if metric in _AS_IS else f"{100 * value:.1f}"
    # What rounds to nothing has no sign.
    return text.removeprefix("-") if float(text) == 0 else text


def unit(metric: str) -> str:
    """` %`, or nothing for costs and losses."""
    return "" if metric in _AS_IS else " %"


def told(number: Number, metric: str) -> str:
    """A number in a sentence: `12.3 % [11.0, 13.9]`, or `n/a (why)`."""
    if number.value is None:
        return f"n/a ({number.reason})"
    text = plain(number.value, metric) + unit(metric)
    if number.interval is None:
        return text
    low, high = (plain(end, metric) for end in (number.interval.low, number.interval.high))
    return f"{text} [{low}, {high}]"


def probability(value: float) -> str:
    """A probability with three digits; what is near an end is not rounded to it.

    >>> probability(0.99998), probability(0.25), probability(0.0002)
    ('> 0.999', '0.250', '< 0.001')
    """
    if 0.9995 <= value < 1:
        return "> 0.999"
    return "< 0.001" if 0 < value < 0.0005 else f"{value:.3f}"


def metric_title(metric: str) -> str:
    """`macro-F1 (%) ↑`: what it is called, its unit, and which way is better."""
    info = METRICS[metric]
    arrow = "↑" if info.direction == "higher" else "↓"
    # The arrow never stands alone in a line.
    return f"{info.title}{' (%)' if unit(metric) else ''}\u00a0{arrow}"


def name_of(text: str, width: int = _LONGEST_NAME) -> str:
    """A name of the user's: printable, in one line, not too long."""
    return clip(text, width)


def best_trivial(task: TaskScore, split: str) -> float | None:
    """The headline value of the best predictor that knows no more than who is real."""
    values = [found.get(task.headline) for found in task.splits[split].trivial.values()]
    there = [value for value in values if value is not None]
    best = max if METRICS[task.headline].direction == "higher" else min
    return best(there, default=None)


def results_told(report: Report) -> str:
    """What the figure of results shows, with its numbers."""
    parts = []
    for task_id, task in report.card.tasks.items():
        values = (
            f"{split_title(split).lower()} "
            f"{told(task.splits[split].overall.metrics[task.headline], task.headline)}"
            for split in report.splits
        )
        parts.append(f"{task_id.upper()} {METRICS[task.headline].title}: {', '.join(values)}")
    return sentence(parts)


def detection_told(report: Report) -> str:
    """What the DET plot shows, with its numbers."""
    task = report.card.tasks["bin"]
    parts = []
    for split, found in report.detection.items():
        eer = told(task.splits[split].overall.metrics["eer"], "eer")
        parts.append(
            f"{split_title(split)}: EER {eer}, from {found.bonafide:,} bona fide and "
            f"{plural(found.spoofed, 'spoofed utterance')}"
        )
    transfer = task.threshold_transfer
    if transfer is not None:
        parts.append(
            f"At the threshold of the EER {split_title(transfer.from_split).lower()} "
            f"({transfer.threshold:.4g}), {split_title(transfer.to_split).lower()}: miss "
            f"{told(transfer.miss, 'miss')}, false alarm "
            f"{told(transfer.false_alarm, 'false_alarm')}"
        )
    return sentence(parts)


def calibration_told(report: Report, task_id: str) -> str:
    """What a reliability diagram shows, with its numbers."""
    parts = []
    for split in report.reliability[task_id]:
        metrics = report.card.tasks[task_id].splits[split].overall.metrics
        values = (
            f"{title} {told(metrics[key], key)}"
            for key, title in (("ece", "ECE"), ("brier", "Brier score"), ("log_loss", "log loss"))
        )
        parts.append(f"{split_title(split)}: {', '.join(values)}")
    return sentence(parts)


def hardest_told(report: Report, task_id: str) -> str:
    """What a figure of the hardest sources shows, with the first of its numbers."""
    parts = []
    for split, rows in report.hardest[task_id].items():
        if rows:
            row = rows[0]
            kind = "bona fide clips" if row.bonafide else "fakes"
            parts.append(
                f"{split_title(split)} the hardest are the {kind} of {name_of(row.source)}: "
                f"{told(row.accuracy, 'accuracy')} of {row.utterances:,} right"
            )
    return sentence(parts)


def sentence(parts: Iterable[str]) -> str:
    """Parts as sentences."""
    return " ".join(f"{part}." for part in parts)
