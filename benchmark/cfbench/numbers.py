"""Puts a statistic's point value, replicates and reasons into a `Number` of the scorecard."""

import numpy as np

from cfbench.errors import plural
from cfbench.intervals import TOO_FEW_UNITS, percentile_interval
from cfbench.scorecard import ClassScore, Interval, Number, SplitScore, View
from cfbench.tallies import Floats, Values
from cfbench.tasks import DECISION_METRICS, Task
from cfbench.windows import Resampling, Sampled, Window

PROBABILITY_METRICS = ("log_loss", "brier", "ece")
NOT_RESAMPLED = {
    "ece": "a resample is less smooth than its sample, so its calibration error is higher",
    "eer_paper": "for parity only; eer has an interval",
}
"""Metrics without an interval, and why."""

JOINT_METRICS = ("exact_match", "unknown_combination", "contradiction", "bin_contradiction")

LEAST_REPLICATES = 20
"""With fewer defined resamples there is no interval: its ends would be single draws."""

# Interval ends are given to nine decimals: what lies beyond is noise of the matrix product.
_DECIMALS = 9

_REASONS = {
    **dict.fromkeys(DECISION_METRICS, "no class has support"),
    **dict.fromkeys(PROBABILITY_METRICS, "there are no utterances"),
    "precision": "the class was never answered",
    "recall": "the class has no support",
    "f1": "the class has no support",
    "accuracy": "there are no utterances",
    "spoof_accuracy": "the source has no spoofed utterances",
    "bonafide_accuracy": "the source has no bona fide utterances",
    "macro_f1_spoofed": "no spoofed class has support",
}


def number_of(
    sampled: Sampled | None,
    key: str,
    scored: Window,
    resampling: Resampling,
    metric: str | None = None,
    column: int | None = None,
    n_units: int | None = None,
) -> Number:
    """A metric of a task with its intervals, or the reason why there is none.

    Args:
        sampled: The decisions or the scores of a window; None where there are no scores.
        key: Which value of it.
        scored: The window.
        resampling: How it was resampled.
        metric: What the value is called, where `key` is not it.
        column: Which column of the value, where it has one a class or source.
        n_units: How many groups bear on it, where not all of the window's.
    """
    metric = metric or key
    if sampled is None or key not in sampled.point:
        if scored.answers.kind == "labels":
            return Number(value=None, reason="only labels are given")
        other, positive = (cls.title.lower() for cls in scored.answers.task.classes)
        return Number(value=None, reason=f"only one of {positive} and {other} occurs")
    return plain_number(
        sampled, key, scored.n_groups if n_units is None else n_units, resampling, metric, column
    )


def plain_number(
    sampled: Sampled,
    key: str,
    n_units: int,
    resampling: Resampling,
    metric: str | None = None,
    column: int | None = None,
) -> Number:
    """A number of any statistic.

    Args:
        sampled: The statistic.
        key: Which of its values.
        n_units: How many groups were resampled.
        resampling: How.
        metric: What the value is called, where `key` is not it.
        column: Which column of the value, where it has one a class or source.
    """

    def samples(values: Values) -> Floats | None:
        found = values.get(key)
        return found if found is None or column is None else found[:, column]

    point = samples(sampled.point)
    value = float(point[0]) if point is not None else np.nan
    if np.isnan(value):
        return Number(value=None, reason=_REASONS.get(metric or key, "not defined"))
    interval, reason = None, None
    by_group = samples(sampled.groups)
    if (metric or key) in NOT_RESAMPLED:
        reason = NOT_RESAMPLED[metric or key]
    elif resampling.replicates and n_units < TOO_FEW_UNITS:
        reason = f"{plural(n_units, 'group')}: too few to resample"
    elif by_group is not None:
        interval = _interval(by_group)
        if interval is None:
            reason = f"fewer than {LEAST_REPLICATES} resamples hold every class that it needs"
    by_utterance = samples(sampled.utterances)
    return Number(
        value=value,
        interval=interval,
        interval_reason=reason,
        utterance_interval=None if by_utterance is None else _interval(by_utterance),
    )


def metrics_of(task: Task) -> list[str]:
    """The metrics of a task, in the order of reports."""
    return [*_decision_metrics(task), *PROBABILITY_METRICS, *task.metrics]


def _decision_metrics(task: Task) -> list[str]:
    return [
        name for name in DECISION_METRICS if name != "macro_f1_spoofed" or task.bonafide is not None
    ]


def not_asked(task: Task) -> SplitScore:
    """The score of a split of which no utterance has a class of the task: every number is null."""
    undefined = Number(value=None, reason="the task is asked of no utterance here")
    kinds = dict.fromkeys(("precision", "recall", "f1"), undefined)
    view = View(
        utterances=0,
        groups=0,
        support=dict.fromkeys(task.class_names, 0),
        metrics=dict.fromkeys(metrics_of(task), undefined),
        classes=tuple(
            ClassScore(name=name, support=0, predicted=0, **kinds) for name in task.class_names
        ),
        confusion=((0,) * len(task.classes),) * len(task.classes),
        answers=task.class_names,
        lost={},
        notes=(),
    )
    return SplitScore(
        overall=view,
        subsets={},
        without_largest_source=None,
        equal_sources=dict.fromkeys(_decision_metrics(task), undefined),
        sources=(),
        worst_source=None,
        trivial={},
    )


def _interval(samples: Floats) -> Interval | None:
    found = percentile_interval(samples)
    if found is None or found.replicates < LEAST_REPLICATES:
        return None
    # Minus zero would be another string of bytes.
    low, high = (round(end, _DECIMALS) + 0.0 for end in (found.low, found.high))
    return Interval(low=low, high=high, replicates=found.replicates)
