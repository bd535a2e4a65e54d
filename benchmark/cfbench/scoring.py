"""Scores predictions on a protocol. Pure: no files, no network, no clock.

`score` aligns the two tables, turns each split into arrays (`answers`), lets these be counted
and resampled (`windows`), and puts numbers, intervals and reasons into the scorecard.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import cfbench
from cfbench.alignment import align
from cfbench.answers import SplitData, said, split_data
from cfbench.errors import CfbenchError, plural
from cfbench.intervals import (
    FEW_UNITS,
    LEVEL,
    TOO_FEW_UNITS,
)
from cfbench.metrics import confusion as decisions
from cfbench.metrics.catalogue import METRICS
from cfbench.metrics.detection import det_curve, equal_error_rate
from cfbench.metrics.trivial import SAYS_NOTHING, trivial_confusions
from cfbench.numbers import (
    JOINT_METRICS,
    metrics_of,
    not_asked,
    number_of,
    plain_number,
)
from cfbench.predictions import Predictions
from cfbench.protocol import Protocol
from cfbench.scorecard import (
    ClassScore,
    Drop,
    JointScore,
    Number,
    Scorecard,
    ScoredPredictions,
    ScoredSplit,
    ScoredTrack,
    Settings,
    SourceScore,
    SplitScore,
    TaskScore,
    ThresholdTransfer,
    View,
    WithoutLargest,
    catalogue,
)
from cfbench.tallies import Values
from cfbench.tasks import DECISION_METRICS, SCORE_METRICS, Task, Track
from cfbench.windows import (
    OVERALL,
    SUBSET,
    WITHOUT,
    JointWindow,
    Resampling,
    Sampled,
    Window,
    split_windows,
)


def score(
    predictions: Predictions,
    protocol: Protocol,
    splits: Sequence[str] | None = None,
    allow_missing: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Scorecard:
    """Score predictions on a protocol.

    Args:
        predictions: Checked; their ids are unique.
        protocol: All that is known of the track. Predictions of splits that are not scored are
            left aside; ids that are not in the protocol at all are an error.
        splits: What to score; None for those splits of the protocol that the track scores.
        allow_missing: Score utterances without a prediction as wrong instead of refusing.
        bootstrap: Resamples for intervals; 0 leaves intervals out.
        seed: Of the resamples.

    Returns:
        The scorecard; the same input gives the same bytes.

    Raises:
        CfbenchError: Utterances are missing or surplus, or there is nothing to score.
    """
    track = protocol.track
    if splits is None:
        splits = protocol.scored
        if not splits:
            raise CfbenchError(
                f"the protocol has no utterances of the scored splits of {track.name} "
                f"({', '.join(track.scored)})",
                f"it has {', '.join(protocol.splits)}; name one with --split",
            )
    asked = protocol.only(splits)
    alignment = align(predictions, protocol, splits, allow_missing)
    if alignment.problems:
        raise CfbenchError.of(alignment.problems)
    everything = said(predictions, alignment.rows, list(predictions.kinds))
    order = [name for name in track.splits if name in splits]
    resampling = Resampling(bootstrap, seed)
    # Hashing does not hold the interpreter: the digests are made beside the scores.
    with ThreadPoolExecutor(max_workers=1) as beside:
        digest = beside.submit(everything.digest, asked.frame["utt_id"])
        digests = beside.submit(lambda: asked.digests)
        data = {name: split_data(asked.frame, name, track, everything) for name in order}
        tasks, joint = _score_splits(track, data, resampling)
    if not tasks:
        raise CfbenchError(
            f"no utterance of {', '.join(order)} has a class of {', '.join(predictions.kinds)}",
            "give the classes in the protocol, or score other splits",
        )
    protocol_of_splits = {
        name: ScoredSplit(
            utterances=of_split.size,
            groups=of_split.n_groups,
            group_unit=track.splits[name].group,
            digest=digests.result()[name],
            published=track.published_name(name, digests.result()[name]),
            missing=of_split.missing,
        )
        for name, of_split in data.items()
    }
    notes = _warnings(track, protocol_of_splits, tasks, list(predictions.kinds), resampling)
    if alignment.left_aside:
        told = plural(alignment.left_aside, "prediction was|predictions were")
        notes.insert(0, f"{told} left aside: of splits that are not scored")
    if alignment.held_back:
        notes.insert(0, held_back_note(alignment.held_back))
    return Scorecard(
        cfbench_version=cfbench.__version__,
        track=ScoredTrack(name=track.name, title=track.title, version=track.version),
        protocol=protocol_of_splits,
        predictions=ScoredPredictions(
            digest=digest.result(),
            utterances=asked.frame.height - alignment.missing,
            left_aside=alignment.left_aside,
            held_back=alignment.held_back,
        ),
        settings=Settings(bootstrap=bootstrap, seed=seed, level=LEVEL, allow_missing=allow_missing),
        metrics=catalogue([track.known_tasks[task_id] for task_id in tasks]),
        tasks=tasks,
        joint=joint,
        notes=tuple(notes),
    )


def held_back_note(answers: int) -> str:
    """What is said of answers for utterances whose labels are held back."""
    told = plural(answers, "answer")
    return f"{told} for utterances whose labels are held back, not scored"


def _score_splits(
    track: Track, data: dict[str, SplitData], resampling: Resampling
) -> tuple[dict[str, TaskScore], dict[str, JointScore]]:
    """Every task on every split, the first split giving the threshold for the others."""
    first, *_ = data
    scored: dict[str, dict[str, SplitScore]] = {}
    overall: dict[str, dict[str, Window]] = {}
    joint: dict[str, JointScore] = {}
    transfers: dict[str, ThresholdTransfer] = {}
    thresholds: dict[str, float] = {}
    for name, of_split in data.items():
        windows, joint_window = split_windows(
            of_split,
            resampling,
            without_largest=name != track.scored[0],
            thresholds=thresholds,
        )
        for task_id, parts in windows.items():
            scored.setdefault(task_id, {})[name] = _split_score(
                of_split.of_task(task_id), parts, resampling
            )
            overall.setdefault(task_id, {})[name] = parts[OVERALL]
        if joint_window is not None:
            joint[name] = _joint_score(joint_window, resampling)
        for task_id, parts in windows.items():
            window = parts[OVERALL]
            if window.detection_tally is None:
                continue
            if name == first:
                # Infinite where every positive utterance is missing: then nothing is transferred.
                found = window.detection_tally.equal_error.threshold
                if np.isfinite(found):
                    thresholds[task_id] = found
            elif task_id in thresholds and task_id not in transfers:
                threshold = thresholds[task_id]
                transfers[task_id] = _transfer(window, threshold, first, name, resampling)
    tasks = {
        task_id: _task_score(
            track.known_tasks[task_id],
            {name: by_split.get(name) or not_asked(track.known_tasks[task_id]) for name in data},
            overall[task_id],
            transfers.get(task_id),
            resampling,
        )
        for task_id, by_split in scored.items()
    }
    return tasks, joint


def _split_score(data: SplitData, windows: dict[str, Window], resampling: Resampling) -> SplitScore:
    overall = windows[OVERALL]
    without = next((part for part in windows if part.startswith(WITHOUT)), None)
    sources = _source_scores(data, overall, resampling)
    spoofing = [row for row in sources if row.spoof_accuracy.value is not None]
    worst = min(spoofing, key=lambda row: (row.spoof_accuracy.value, row.source), default=None)
    equal = {
        metric: number_of(overall.decisions, f"equal_sources/{metric}", overall, resampling, metric)
        for metric in DECISION_METRICS
        if f"equal_sources/{metric}" in overall.decisions.point
    }
    return SplitScore(
        overall=_view(overall, resampling),
        subsets={
            part.removeprefix(SUBSET): _view(window, resampling)
            for part, window in windows.items()
            if part.startswith(SUBSET)
        },
        without_largest_source=None
        if without is None
        else WithoutLargest(
            source=without.removeprefix(WITHOUT), view=_view(windows[without], resampling)
        ),
        equal_sources=equal,
        sources=sources,
        worst_source=worst.source if worst else None,
        trivial=_trivial(overall),
    )


def _view(scored: Window, resampling: Resampling) -> View:
    task, point = scored.answers.task, scored.decisions.point
    confusion = scored.tally.confusion().astype(np.int64)
    support, predicted = point["support"][0], decisions.predicted(confusion.astype(np.float64))
    metrics = {
        name: number_of(
            scored.detection if name in SCORE_METRICS else scored.decisions,
            name,
            scored,
            resampling,
        )
        for name in metrics_of(task)
    }
    classes = tuple(
        ClassScore(
            name=name,
            support=int(support[index]),
            predicted=int(predicted[index]),
            **{
                kind: number_of(scored.decisions, f"class_{kind}", scored, resampling, kind, index)
                for kind in ("precision", "recall", "f1")
            },
        )
        for index, name in enumerate(task.class_names)
    )
    lost: dict[str, float] = {}
    if scored.decisions.groups:
        share = (scored.decisions.groups["support"] == 0).mean(axis=0)
        lost = {
            name: float(share[index])
            for index, name in enumerate(task.class_names)
            if support[index] > 0 and share[index] > 0
        }
    answers = (*task.class_names, "missing")[: scored.tally.n_answers]
    return View(
        utterances=int(support.sum()),
        groups=scored.n_groups,
        support={name: int(n) for name, n in zip(task.class_names, support, strict=True)},
        metrics=metrics,
        classes=classes,
        confusion=tuple(tuple(int(n) for n in row) for row in confusion),
        answers=answers,
        lost=lost,
        notes=(*_group_notes(scored.n_groups, resampling), *_lost_notes(lost)),
    )


def _group_notes(n_groups: int, resampling: Resampling) -> list[str]:
    if not resampling.replicates or n_groups >= FEW_UNITS:
        return []
    if n_groups < TOO_FEW_UNITS:
        return [f"{plural(n_groups, 'group')}: too few to resample, so there are no intervals"]
    return [f"{n_groups} groups are few: intervals are rough"]


def _lost_notes(lost: dict[str, float]) -> list[str]:
    shares = ", ".join(
        f"{name} ({'<1' if share < 0.01 else round(100 * share)} %)" for name, share in lost.items()
    )
    told = "resamples that hold no utterance of a class are left out of averages over classes"
    return [f"{told}: {shares}"] if lost else []


def _source_scores(
    data: SplitData, scored: Window, resampling: Resampling
) -> tuple[SourceScore, ...]:
    task = scored.answers.task
    origins = scored.tally.origins
    eers = _source_eers(data, scored)
    rows = []
    for index, source in enumerate(data.source_names):
        made = origins.truth[(origins.source == index) & origins.spoofed]
        groups = int(data.groups_of_source[index])
        numbers = {
            name: number_of(
                scored.decisions, f"source/{name}", scored, resampling, name, index, groups
            )
            for name in ("accuracy", "spoof_accuracy", "bonafide_accuracy")
        }
        rows.append(
            SourceScore(
                source=source,
                subset=data.subset_of_source(index),
                utterances=int(data.utterances_of_source[index]),
                spoofed=int(data.spoofed_of_source[index]),
                groups=groups,
                truth=" or ".join(sorted({task.class_names[code] for code in made})) or None,
                eer=eers.get(index),
                **numbers,
            )
        )
    return tuple(rows)


def _source_eers(data: SplitData, scored: Window) -> dict[int, Number]:
    """The EER of each source's spoofs against all bona fide utterances of the split."""
    tally = scored.detection_tally
    if scored.answers.task.id != "bin" or tally is None or scored.answers.scores is None:
        return {}
    found = {}
    spoofed = np.flatnonzero(data.spoofed)
    by_source = spoofed[np.argsort(data.sources[spoofed], kind="stable")]
    ends = np.cumsum(np.bincount(data.sources[spoofed], minlength=len(data.source_names)))
    for index, rows in enumerate(np.split(by_source, ends[:-1])):
        if rows.size:
            curve = det_curve(tally.positive, np.sort(scored.answers.scores[rows]))
            found[index] = Number(
                value=equal_error_rate(curve).value,
                interval_reason="not resampled by source; the share of right answers is",
            )
    return found


def _trivial(scored: Window) -> dict[str, dict[str, float | None]]:
    task = scored.answers.task
    confusions = trivial_confusions(scored.decisions.point["support"][0], task.bonafide)
    found: dict[str, dict[str, float | None]] = {}
    for name, confusion in confusions.items():
        values = {
            "macro_f1": decisions.macro_f1(confusion),
            "weighted_f1": decisions.weighted_f1(confusion),
            "accuracy": decisions.accuracy(confusion),
            "balanced_accuracy": decisions.balanced_accuracy(confusion),
        }
        if task.headline in SAYS_NOTHING:
            expected = SAYS_NOTHING[task.headline][name]
            values[task.headline] = np.array(expected if scored.detection is not None else np.nan)
        if task.bonafide is not None:
            spoofed = decisions.support(confusion) > 0
            spoofed[task.bonafide] = False
            values["macro_f1_spoofed"] = decisions.macro_f1(confusion, spoofed)
        found[name] = {key: _or_none(float(value)) for key, value in values.items()}
    return found


def _joint_score(window: JointWindow, resampling: Resampling) -> JointScore:
    return JointScore(
        utterances=window.utterances,
        groups=window.n_groups,
        metrics={
            name: plain_number(window.shares, name, window.n_groups, resampling)
            for name in JOINT_METRICS
            if name in window.shares.point
        },
    )


def _transfer(
    scored: Window, threshold: float, from_split: str, to_split: str, resampling: Resampling
) -> ThresholdTransfer:
    assert scored.detection is not None  # noqa: S101 - the caller has looked
    return ThresholdTransfer(
        threshold=threshold,
        from_split=from_split,
        to_split=to_split,
        miss=plain_number(scored.detection, "miss", scored.n_groups, resampling),
        false_alarm=plain_number(scored.detection, "false_alarm", scored.n_groups, resampling),
    )


def _task_score(
    task: Task,
    by_split: dict[str, SplitScore],
    overall: dict[str, Window],
    transfer: ThresholdTransfer | None,
    resampling: Resampling,
) -> TaskScore:
    given = next(iter(overall.values())).answers.kind
    headline = task.headline_for_labels if given == "labels" else task.headline
    drop = None
    if len(by_split) == 2:
        first, second = by_split
        drop = Drop(
            metric=headline,
            from_split=first,
            to_split=second,
            number=_drop(overall.get(first), overall.get(second), headline, resampling),
        )
    return TaskScore(
        title=task.title,
        version=task.version,
        given=given,
        headline=headline,
        splits=by_split,
        drop=drop,
        threshold_transfer=transfer,
    )


def _drop(
    first: Window | None, second: Window | None, metric: str, resampling: Resampling
) -> Number:
    """The first split's value less the second's, so signed that positive means worse."""
    sign = 1.0 if METRICS[metric].direction == "higher" else -1.0
    undefined = Number(value=None, reason="not defined on both splits")
    if first is None or second is None:
        return undefined
    one, two = (
        scored.detection if metric in SCORE_METRICS else scored.decisions
        for scored in (first, second)
    )
    if one is None or two is None or metric not in one.point or metric not in two.point:
        return undefined

    def difference(a: Values, b: Values) -> Values:
        return {metric: sign * (a[metric] - b[metric])} if a and b else {}

    sampled = Sampled(
        difference(one.point, two.point),
        difference(one.groups, two.groups),
        difference(one.utterances, two.utterances),
    )
    return plain_number(sampled, metric, min(first.n_groups, second.n_groups), resampling)


def _or_none(value: float) -> float | None:
    return None if np.isnan(value) else value


def _warnings(
    track: Track,
    protocol: dict[str, ScoredSplit],
    tasks: dict[str, TaskScore],
    answered: Sequence[str],
    resampling: Resampling,
) -> list[str]:
    notes = []
    for name, split in protocol.items():
        if split.published is None and any(known.split == name for known in track.published):
            notes.append(
                f"{name}: not a published version of the protocol, so not comparable with results "
                "on one"
            )
        if split.missing:
            notes.append(
                f"{name}: {plural(split.missing, 'utterance')} without a prediction were scored as "
                "wrong"
            )
        notes += [f"{name}: {note}" for note in _group_notes(split.groups, resampling)]
    for task_id in answered:
        for name, split in protocol.items():
            scored = tasks[task_id].splits[name].overall if task_id in tasks else None
            asked = 0 if scored is None else scored.utterances
            if asked < split.utterances:
                notes.append(
                    f"{task_id}, {name}: asked of {asked:,} of "
                    f"{plural(split.utterances, 'utterance')}: the others have no class of it in "
                    "the protocol"
                )
    for task_id, task in tasks.items():
        for name, scores in task.splits.items():
            detector = scores.trivial.get("detector", {}).get("macro_f1")
            own = scores.overall.metrics["macro_f1"].value
            # With one class of spoofs detecting is tracing.
            if detector is not None and own is not None and own <= detector < 1:
                notes.append(
                    f"{task_id}, {name}: macro-F1 {100 * own:.1f} % is no more than that of a "
                    f"perfect detector with the majority spoofed class, {100 * detector:.1f} %"
                )
            notes += [f"{task_id}, {name}: {note}" for note in _lost_notes(scores.overall.lost)]
    return notes
