"""Draws a scorecard on a terminal: the compact table, and the rest of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from cfbench.cli.console import heading, plain_table
from cfbench.errors import clip, plural
from cfbench.metrics.trivial import TITLES
from cfbench.scorecard import Number, Scorecard, SplitScore, TaskScore, View

if TYPE_CHECKING:
    from rich.table import Table

# These are printed as percentages; costs and losses are not.
_AS_IS = ("log_loss", "brier", "min_dcf", "act_dcf", "cllr")


def render_scorecard(card: Scorecard, console: Console) -> None:
    """Print the compact table: a row a task, a column a split, trivial predictors below."""
    splits = list(card.protocol)
    track = card.track
    told = f" (track {track.name}, version {track.version}), scored with cfbench "
    console.print(heading(track.title, told + card.cfbench_version))
    for name, split in card.protocol.items():
        published = f" (published: {split.published})" if split.published else ""
        missing = f", {split.missing:,} without a prediction" if split.missing else ""
        console.print(
            f"  {name}: {plural(split.utterances, 'utterance')}, {plural(split.groups, 'group')} "
            f"({split.group_unit}){missing}; protocol {split.digest[:12]}{published}"
        )
    console.print(f"  predictions {card.predictions.digest[:12]}")
    table = plain_table("Task", "Metric (%)", *splits, *(["Drop"] if len(splits) == 2 else []))
    for task_id, task in card.tasks.items():
        info = card.metrics[task.headline]
        arrow = "↑" if info.direction == "higher" else "↓"
        title = f"{task.title} ({task_id})" + (", derived" if task.given == "derived" else "")
        cells = [
            _cell(task.splits[s].overall.metrics[task.headline], task.headline) for s in splits
        ]
        drop = [] if task.drop is None else [_cell(task.drop.number, task.headline)]
        table.add_row(title, f"{info.title} {arrow}", *cells, *drop)
    table.add_section()
    for task_id in card.tasks:
        _add_trivial(table, card, task_id)
    console.print(table)
    drop_told = f" Drop: positive is worse on {splits[1]}." if len(splits) == 2 else ""
    if card.settings.bootstrap:
        console.print(
            f"[low, high]: {card.settings.level:.0%} interval, {card.settings.bootstrap:,} "
            f"resamples of groups, seed {card.settings.seed}.{drop_told} Dim rows: predictors that "
            "know nothing of the audio.",
            style="dim",
        )
    for note in card.notes:
        console.print(Text.assemble(("note: ", "yellow"), clip(note, 400)))


def _add_trivial(table: "Table", card: Scorecard, task_id: str) -> None:
    """A row for each predictor that knows nothing of the audio."""
    task = card.tasks[task_id]
    metric = task.headline
    for name in TITLES:
        values = [task.splits[s].trivial.get(name, {}).get(metric) for s in card.protocol]
        if any(value is not None for value in values):
            table.add_row(
                f"{task_id}: {TITLES[name]}",
                card.metrics[metric].title,
                *(_plain(value, metric) for value in values),
                style="dim",
            )


def render_comparison(cards: Mapping[str, Scorecard], console: Console) -> None:
    """Print scorecards of one track side by side: a row a system, a column a split.

    Args:
        cards: By the name of the system; at least one.
        console: Where.
    """
    first = next(iter(cards.values()))
    splits, track = list(first.protocol), first.track
    console.print(heading(track.title, f" (track {track.name}, version {track.version})"))
    for name, split in first.protocol.items():
        console.print(
            f"  {name}: {plural(split.utterances, 'utterance')}, {plural(split.groups, 'group')} "
            f"({split.group_unit})"
        )
    table = plain_table("System", "Metric (%)", *splits, *(["Drop"] if len(splits) == 2 else []))
    for task_id in first.tasks:
        _add_trivial(table, first, task_id)
        for system, card in cards.items():
            if task_id in card.tasks:
                scored = card.tasks[task_id]
                info = card.metrics[scored.headline]
                arrow = "↑" if info.direction == "higher" else "↓"
                numbers = [scored.splits[s].overall.metrics[scored.headline] for s in splits]
                numbers += [] if scored.drop is None else [scored.drop.number]
                cells = [_cell(number, scored.headline) for number in numbers]
                table.add_row(f"{task_id}: {clip(system)}", f"{info.title} {arrow}", *cells)
        table.add_section()
    console.print(table)
    if first.settings.bootstrap:
        console.print(
            f"[low, high]: {first.settings.level:.0%} interval, {first.settings.bootstrap:,} "
            "resamples of groups. Dim rows: predictors that know nothing of the audio.",
            style="dim",
        )


def render_explanation(card: Scorecard, console: Console) -> None:
    """Print everything else: metrics, classes, confusion, subsets, sources, definitions."""
    for task_id, task in card.tasks.items():
        console.print()
        console.rule(heading(task.title, f" ({task_id}, given as {task.given})"), align="left")
        console.print(_metrics_table(card, task))
        for name, split in task.splits.items():
            _render_split(card, task_id, name, split, console)
        _render_transfer(task, console)
    _render_joint(card, console)
    console.print()
    console.rule(heading("Definitions"), align="left")
    definitions = plain_table("Metric", "Better", "Definition", "Source")
    for metric in card.metrics.values():
        definitions.add_row(metric.title, metric.direction, metric.definition, metric.source)
    console.print(definitions)


def _metrics_table(card: Scorecard, task: TaskScore) -> "Table":
    views: list[tuple[str, View]] = []
    for name, split in task.splits.items():
        views.append((name, split.overall))
        views += [(f"{name}/{subset}", view) for subset, view in split.subsets.items()]
        if split.without_largest_source is not None:
            without = split.without_largest_source
            views.append((f"{name} without {without.source}", without.view))
    table = plain_table("Metric", *(name for name, _ in views))
    table.add_row("utterances (groups)", *(f"{v.utterances:,} ({v.groups:,})" for _, v in views))
    for metric in views[0][1].metrics:
        table.add_row(
            _title(card, metric), *(_cell(view.metrics[metric], metric) for _, view in views)
        )
    equal = {name: split.equal_sources for name, split in task.splits.items()}
    for metric in next(iter(equal.values())):
        row = [_cell(equal[name][metric], metric) if name in equal else "" for name, _ in views]
        table.add_row(f"{_title(card, metric)}, every source weighing the same", *row)
    for metric in dict.fromkeys((task.headline, "macro_f1")):
        row = [
            _utterance_cell(view.metrics[metric], metric) if name in equal else ""
            for name, view in views
        ]
        table.add_row(f"{_title(card, metric)}, utterances resampled", *row)
    return table


def _render_split(
    card: Scorecard, task_id: str, name: str, split: SplitScore, console: Console
) -> None:
    view = split.overall
    classes = plain_table(
        f"{task_id}, {name}: class",
        "support",
        "answered",
        "precision",
        "recall",
        "F1",
        *(f"→ {answer}" for answer in view.answers),
        right=("support", "answered", *(f"→ {answer}" for answer in view.answers)),
    )
    for cls, row in zip(view.classes, view.confusion, strict=True):
        classes.add_row(
            cls.name,
            f"{cls.support:,}",
            f"{cls.predicted:,}",
            _cell(cls.precision, "precision"),
            _cell(cls.recall, "recall"),
            _cell(cls.f1, "f1"),
            *(f"{n:,}" for n in row),
        )
    console.print(classes)
    has_eer = any(row.eer for row in split.sources)
    has_bonafide = any(row.utterances > row.spoofed for row in split.sources)
    sources = plain_table(
        f"{task_id}, {name}: source",
        "subset",
        "class",
        *(["spoofs", "bona fide", "right, spoofs", "right, bona fide"] if has_bonafide else []),
        *([] if has_bonafide else ["utterances", "right"]),
        *(["EER"] if has_eer else []),
        right=("spoofs", "bona fide", "utterances"),
    )
    for source in sorted(split.sources, key=lambda row: _sort_key(row.spoof_accuracy)):
        worst = " (worst)" if source.source == split.worst_source else ""
        sources.add_row(
            clip(source.source) + worst,
            clip(source.subset or ""),
            source.truth or "",
            f"{source.spoofed:,}",
            *([f"{source.utterances - source.spoofed:,}"] if has_bonafide else []),
            _cell(source.spoof_accuracy, "accuracy"),
            *([_cell(source.bonafide_accuracy, "accuracy")] if has_bonafide else []),
            *([_cell(source.eer, "eer") if source.eer else ""] if has_eer else []),
        )
    console.print(sources)


def _render_transfer(task: TaskScore, console: Console) -> None:
    transfer = task.threshold_transfer
    if transfer is None:
        return
    console.print(
        f"threshold {transfer.threshold:.4g}, fixed at the EER of {transfer.from_split}, on "
        f"{transfer.to_split}: miss {_cell(transfer.miss, 'miss')}, false alarm "
        f"{_cell(transfer.false_alarm, 'false_alarm')}"
    )


def _render_joint(card: Scorecard, console: Console) -> None:
    if not card.joint:
        return
    console.print()
    console.rule(heading("VQ, AUX and DEC together, over spoofed speech"), align="left")
    table = plain_table("Share of spoofed utterances", *card.joint)
    for metric in next(iter(card.joint.values())).metrics:
        table.add_row(
            _title(card, metric), *(_cell(j.metrics[metric], metric) for j in card.joint.values())
        )
    console.print(table)


def _title(card: Scorecard, metric: str) -> str:
    info = card.metrics[metric]
    return f"{info.title} {'↑' if info.direction == 'higher' else '↓'}"


def _cell(number: Number, metric: str) -> str:
    if number.value is None:
        return "n/a"
    text = _plain(number.value, metric)
    if number.interval is None:
        return text
    low, high = (_plain(end, metric) for end in (number.interval.low, number.interval.high))
    return f"{text} [{low}, {high}]"


def _utterance_cell(number: Number, metric: str) -> str:
    return _cell(number.model_copy(update={"interval": number.utterance_interval}), metric)


def _plain(value: float | None, metric: str) -> str:
    if value is None:
        return "n/a"
    text = f"{value:.3f}" if metric in _AS_IS else f"{100 * value:.1f}"
    # What rounds to nothing has no sign.
    return text.removeprefix("-") if float(text) == 0 else text


def _sort_key(number: Number) -> tuple[bool, float]:
    return (number.value is None, number.value or 0.0)


__all__: Sequence[str] = ("render_comparison", "render_explanation", "render_scorecard")
