"""The tables of a report's page. What comes from outside is escaped wherever it is written."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np

from cfbench.leaderboard.page_data import split_title
from cfbench.metrics.trivial import TITLES
from cfbench.report.data import HARDEST, Errors, Report
from cfbench.report.words import metric_title, name_of, plain, probability
from cfbench.scorecard import Number, Numbers, TaskScore, View

Cell = tuple[str, bool]
"""HTML, and whether it is a number."""


def table(title: str, heads: Sequence[Cell], rows: Iterable[Sequence[Cell]]) -> str:
    """A table that can be scrolled by itself; the first cell of a row names the row.

    Args:
        title: Above it, and its name for those who do not see it; text.
        heads: Of the columns.
        rows: As many cells as `heads`.
    """
    top = "".join(f'<th scope="col"{_class(number)}>{text}</th>' for text, number in heads)
    body = []
    for (first, _), *rest in rows:
        cells = "".join(f"<td{_class(number)}>{text}</td>" for text, number in rest)
        body.append(f'<tr><th scope="row">{first}</th>{cells}</tr>\n')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}"><table>'
        f"<caption><span>{escape(title)}</span></caption>\n<thead><tr>{top}</tr></thead>\n"
        f"<tbody>{''.join(body)}</tbody></table></div>\n"
    )


def _class(number: bool) -> str:
    return ' class="num"' if number else ""


def _text(text: str) -> Cell:
    return escape(text), False


def _num(text: str) -> Cell:
    return escape(text), True


def _number(number: Number, metric: str) -> Cell:
    """A value with its interval, or `n/a` and why."""
    if number.value is None:
        return f"n/a <small>{escape(number.reason or 'not defined')}</small>", True
    text = plain(number.value, metric)
    if number.interval is None:
        return text, True
    low, high = (plain(end, metric) for end in (number.interval.low, number.interval.high))
    return f"{text} <small>[{low}, {high}]</small>", True


def without_interval(numbers: Iterable[tuple[str, Number]]) -> str:
    """Why some numbers have no interval, each reason once, with what it is said of."""
    reasons: dict[str, list[str]] = {}
    for name, number in numbers:
        if number.value is not None and number.interval_reason:
            names = reasons.setdefault(number.interval_reason, [])
            if name not in names:
                names.append(name)
    if not reasons:
        return ""
    told = "".join(
        f"<li>{escape(', '.join(names))}: {escape(reason)}</li>"
        for reason, names in reasons.items()
    )
    return f'<p class="soft">Without an interval:</p><ul class="legend soft">{told}</ul>\n'


def results_table(report: Report) -> str:
    """The headline of every task, and what predictors reach that know nothing of the audio."""
    splits, card = report.splits, report.card
    drops = any(task.drop is not None for task in card.tasks.values())
    heads = [_text("Task"), _text("Metric"), *(_num(split_title(split)) for split in splits)]
    heads += [_num("Drop")] if drops else []
    rows = []
    numbers = []
    for task_id, task in card.tasks.items():
        derived = ", derived" if task.given == "derived" else ""
        values = [task.splits[split].overall.metrics[task.headline] for split in splits]
        values += [] if task.drop is None else [task.drop.number]
        numbers += [(task_id.upper(), value) for value in values]
        named = f"{task.title} ({task_id.upper()}{derived})"
        cells = [_number(value, task.headline) for value in values]
        rows.append([_text(named), _text(metric_title(task.headline)), *cells])
    return table("The headline of each task", heads, rows) + without_interval(numbers)


def trivial_table(report: Report) -> str:
    """What predictors reach that know nothing of the audio."""
    heads = [_text("Task"), _text("Predictor"), *(_num(split_title(s)) for s in report.splits)]
    rows = []
    for task_id, task in report.card.tasks.items():
        for name, title in TITLES.items():
            found = [task.splits[s].trivial.get(name, {}).get(task.headline) for s in report.splits]
            if any(value is not None for value in found):
                shown = ("n/a" if value is None else plain(value, task.headline) for value in found)
                named = f"{task_id.upper()}, {metric_title(task.headline)}"
                rows.append([_text(named), _text(title), *(_num(text) for text in shown)])
    return table("The same of predictors that know nothing of the audio", heads, rows)


def metrics_table(report: Report, task_id: str) -> str:
    """Every metric of a task, on each split and its parts."""
    task = report.card.tasks[task_id]
    views: list[tuple[str, View, Numbers]] = []
    for split in report.splits:
        scored, title = task.splits[split], split_title(split)
        views.append((title, scored.overall, scored.equal_sources))
        views += [(f"{title}: {name_of(name)}", view, {}) for name, view in scored.subsets.items()]
        if scored.without_largest_source is not None:
            left = scored.without_largest_source
            views.append((f"{title}, without {name_of(left.source)}", left.view, {}))
    heads = [_text("Metric"), *(_num(title) for title, _, _ in views)]
    rows = [
        [
            _text("utterances (groups)"),
            *(_num(f"{view.utterances:,} ({view.groups:,})") for _, view, _ in views),
        ]
    ]
    numbers = []
    for metric in views[0][1].metrics:
        values = [view.metrics[metric] for _, view, _ in views]
        numbers += [(metric_title(metric), value) for value in values]
        rows.append([_text(metric_title(metric)), *(_number(v, metric) for v in values)])
    for metric in views[0][2]:
        cells = [_number(equal[metric], metric) if equal else ("", True) for _, _, equal in views]
        told = f"{escape(metric_title(metric))} <small>every source weighing the same</small>"
        rows.append([(told, False), *cells])
    return table(f"{task_id.upper()}: all metrics", heads, rows) + without_interval(numbers)


def classes_table(task_id: str, task: TaskScore, splits: Sequence[str]) -> str:
    """Precision, recall and F1 of each class, on each split."""
    heads = [
        _text("Class"), _text("Split"), _num("Utterances"), _num("Answers"),
        *(_num(metric_title(kind)) for kind in ("precision", "recall", "f1")),
    ]  # fmt: skip
    rows = [
        [
            _text(row.name),
            _text(split_title(split)),
            _num(f"{row.support:,}"),
            _num(f"{row.predicted:,}"),
            _number(row.precision, "precision"),
            _number(row.recall, "recall"),
            _number(row.f1, "f1"),
        ]
        for split in splits
        for row in task.splits[split].overall.classes
    ]
    return table(f"{task_id.upper()}: classes", heads, rows)


def hardest_table(report: Report, task_id: str, split: str) -> str:
    """The sources that are answered right least often."""
    found = report.hardest[task_id][split]
    if not found:
        title = f"{task_id.upper()}, {split_title(split).lower()}"
        return f"<p>{escape(title)}: every source is answered right.</p>\n"
    title = (
        f"{task_id.upper()}, {split_title(split).lower()}: the {min(HARDEST, len(found))} sources "
        "with the fewest right answers"
    )
    eers = {row.source: row.eer for row in report.card.tasks[task_id].splits[split].sources}
    with_eer = any(eer is not None for eer in eers.values())
    heads = [_text("Source"), _text("Truth"), _num("Utterances"), _num("Groups")]
    heads += [_num("Right answers (%) ↑")] + ([_num("EER (%) ↓")] if with_eer else [])
    rows = []
    for row in found:
        # Bona fide speech is what every EER is measured against.
        eer = None if row.bonafide else eers[row.source]
        rows.append(
            [
                _text(name_of(row.source)),
                _text(row.truth),
                _num(f"{row.utterances:,}"),
                _num(f"{row.groups:,}"),
                _number(row.accuracy, "accuracy"),
                *([("", True) if eer is None else _number(eer, "eer")] if with_eer else []),
            ]
        )
    told = without_interval((name_of(row.source), row.accuracy) for row in found)
    return table(title, heads, rows) + told


def detection_table(report: Report) -> str:
    """The two error rates of each split at one threshold: that of the first split's EER."""
    transfer = report.card.tasks["bin"].threshold_transfer
    heads = [
        _text("Split"), _num("Bona fide"), _num("Spoofed"), _num("EER (%) ↓"),
        _num("Threshold of the EER"),
    ]  # fmt: skip
    if transfer is not None:
        origin = split_title(transfer.from_split).lower()
        heads += [_num(f"{metric_title(key)} at {transfer.threshold:.4g}, the threshold {origin}")
                  for key in ("miss", "false_alarm")]  # fmt: skip
    rows = []
    for split, found in report.detection.items():
        eer = report.card.tasks["bin"].splits[split].overall.metrics["eer"]
        # Infinite where every utterance of a class is missing.
        own = f"{found.threshold:.4g}" if np.isfinite(found.threshold) else "n/a"
        row = [
            _text(split_title(split)), _num(f"{found.bonafide:,}"), _num(f"{found.spoofed:,}"),
            _number(eer, "eer"), _num(own),
        ]  # fmt: skip
        if transfer is not None:
            given = [Number(value=rate) for rate in found.rates_at(transfer.threshold)]
            if split == transfer.to_split:
                given = [transfer.miss, transfer.false_alarm]
            row += [
                _number(number, key)
                for number, key in zip(given, ("miss", "false_alarm"), strict=True)
            ]
        rows.append(row)
    return table("Spoof detection, and a threshold that is carried over", heads, rows)


def calibration_table(report: Report) -> str:
    """How well probabilities are calibrated, by task and split."""
    keys = ("ece", "brier", "log_loss")
    heads = [_text("Task"), _text("Split"), *(_num(metric_title(key)) for key in keys)]
    rows, numbers = [], []
    for task_id, by_split in report.reliability.items():
        for split in by_split:
            metrics = report.card.tasks[task_id].splits[split].overall.metrics
            numbers += [(metric_title(key), metrics[key]) for key in keys]
            cells = [_number(metrics[key], key) for key in keys]
            rows.append([_text(task_id.upper()), _text(split_title(split)), *cells])
    return table("Calibration", heads, rows) + without_interval(numbers)


def reliability_table(report: Report, task_id: str) -> str:
    """The bins of a reliability diagram, each split in columns of its own."""
    by_split = report.reliability[task_id]
    heads = [_text("Probability of the answer (%)")]
    for split in by_split:
        title = split_title(split)
        heads += [_num(f"{title}: utterances"), _num("mean probability (%)"), _num("right (%)")]
    first = next(iter(by_split.values()))
    width = 100 / first.counts.size
    rows = []
    for at in range(first.counts.size):
        if not any(bins.counts[at] for bins in by_split.values()):
            continue
        row = [_text(f"{at * width:.1f} to {(at + 1) * width:.1f}")]
        for bins in by_split.values():
            row.append(_num(f"{bins.counts[at]:,}"))
            for values in (bins.confidence, bins.accuracy):
                row.append((f"{100 * values[at]:.1f}" if bins.counts[at] else "&ndash;", True))
        rows.append(row)
    return table(f"{task_id.upper()}: the bins of the diagram", heads, rows)


def errors_table(task_id: str, split: str, errors: Errors) -> str:
    """The wrong answers that the system was surest of."""
    heads = [
        _text("Utterance"), _text("Source"), _text("Truth"), _text("Answer"),
        _num("Probability of the answer"), _num("Of the truth"),
    ]  # fmt: skip
    rows = [
        [
            (f"<code>{escape(name_of(row.utt_id, 200))}</code>", False),
            _text(name_of(row.source)),
            _text(row.truth),
            _text(row.answer),
            _num(probability(row.probability)),
            _num(probability(row.of_truth)),
        ]
        for row in errors.most_confident
    ]
    title = f"{task_id.upper()}, {split_title(split).lower()}: the most confident wrong answers"
    return table(title, heads, rows)


def joint_table(report: Report) -> str:
    """The three tracing tasks together."""
    joint = report.card.joint
    heads = [_text("Of spoofed utterances"), *(_num(split_title(split)) for split in joint)]
    keys = list(next(iter(joint.values())).metrics)
    rows = [[_text("utterances"), *(_num(f"{found.utterances:,}") for found in joint.values())]]
    rows += [
        [
            _text(metric_title(key)),
            *(_number(found.metrics[key], key) for found in joint.values()),
        ]
        for key in keys
    ]
    return table("VQ, AUX and DEC together", heads, rows)


def definitions(report: Report, keys: Mapping[str, object] | Sequence[str]) -> str:
    """What the metrics are, as the scorecard has them."""
    told = "".join(
        f"<dt>{escape(info.title)}</dt><dd>{escape(info.definition)}"
        + (f" <small>{escape(info.source)}</small>" if info.source else "")
        + "</dd>"
        for key, info in report.card.metrics.items()
        if key in keys
    )
    return f'<dl class="fact">{told}</dl>\n'
