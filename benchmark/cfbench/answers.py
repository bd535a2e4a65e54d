"""Turns the tables of one split into arrays: what is true, what was answered, who made it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.codes import dense_codes, dense_codes_of_runs, first_rows, renumber
from cfbench.intervals import fixed_point
from cfbench.metrics.detection import log_likelihood_ratio
from cfbench.metrics.probability import brier, confidence_bin, log_loss
from cfbench.predictions import Kind, Predictions, softmax
from cfbench.tables import column_bytes
from cfbench.tallies import Answers, Floats, Ints, Losses, loss_level
from cfbench.tasks import TRACING_IDS, Task, Track, load_taxonomy

GivenKind = Literal["labels", "probabilities", "logits", "derived"]

_SLICE = 1 << 16


@dataclass(frozen=True, eq=False)
class GivenAnswers:
    """One task's answers to the utterances of a split.

    Attributes:
        task: The task.
        kind: What the predictions hold of it; "derived" where spoof detection follows from the
            three tracing tasks.
        decided: Classes and losses.
        scores: (utterances,), of a detection task with scores: higher = more of its positive class,
            of spoof detection more bona fide.
        llr: (utterances,), their log-likelihood ratios.
    """

    task: Task
    kind: GivenKind
    decided: Answers
    scores: Floats | None = None
    llr: Floats | None = None

    def of(self, rows: NDArray[np.intp]) -> "GivenAnswers":
        """The answers to some of the utterances."""
        return GivenAnswers(
            self.task,
            self.kind,
            self.decided[rows],
            None if self.scores is None else self.scores[rows],
            None if self.llr is None else self.llr[rows],
        )


@dataclass(frozen=True, eq=False)
class SplitData:
    """One split as arrays of one value an utterance.

    Attributes:
        name: The split.
        groups: (utterances,), numbered 0 to `n_groups` - 1.
        sources: (utterances,), positions in `source_names`.
        subsets: (utterances,), positions in `subset_names`, -1 for none.
        kinds: (utterances,), the same for utterances of one source and the same true classes.
        spoofed: (utterances,); everywhere where no task tells what is bona fide speech.
        answers: By task id; of tasks that are asked of every utterance here.
        joint: Name to (utterances,) of truth values, if all tracing tasks are answered.
        missing: How many utterances have no prediction.
        partial: For each answered task that is asked of some of the utterances only, its id to a
            record of these alone.
    """

    name: str
    size: int
    groups: Ints
    n_groups: int
    sources: Ints
    source_names: tuple[str, ...]
    subsets: Ints
    subset_names: tuple[str, ...]
    kinds: Ints
    spoofed: NDArray[np.bool_]
    answers: dict[str, GivenAnswers]
    joint: dict[str, NDArray[np.bool_]] | None
    missing: int
    partial: Mapping[str, "SplitData"]

    def of_task(self, task_id: str) -> "SplitData":
        """The record that holds a task's answers."""
        return self if task_id in self.answers else self.partial[task_id]

    @property
    def answered(self) -> list[str]:
        """The tasks that are answered, of all utterances or of some."""
        return [*self.answers, *self.partial]

    @cached_property
    def utterances_of_source(self) -> Ints:
        """Utterances of each source, (sources,)."""
        return np.bincount(self.sources, minlength=len(self.source_names))

    @cached_property
    def spoofed_of_source(self) -> Ints:
        """Spoofed utterances of each source, (sources,)."""
        return np.bincount(self.sources[self.spoofed], minlength=len(self.source_names))

    @cached_property
    def groups_of_source(self) -> Ints:
        """Groups that have utterances of each source, (sources,)."""
        width = len(self.source_names)
        pairs, counts = renumber(self.groups.astype(np.int64) * width + self.sources)
        first = first_rows(pairs, counts.size)
        return np.bincount(self.sources[first], minlength=width)

    def subset_of_source(self, source: int) -> str | None:
        """The subset that a source's utterances are in, or None."""
        subset = self.subsets[np.argmax(self.sources == source)]
        return self.subset_names[subset] if subset >= 0 else None


@dataclass(frozen=True, eq=False)
class Said:
    """Predictions in the order of a protocol's utterances.

    Attributes:
        tasks: By id.
        kinds: Task id to what is given of it.
        columns: Column name to (rows of the file,): float64, or int8 class indices of labels.
        rows: (utterances,), the row of each, or -1.
        derive_bin: Spoof detection is to follow from the three tracing tasks.
    """

    tasks: Mapping[str, Task]
    kinds: Mapping[str, Kind]
    columns: Mapping[str, NDArray[Any]]
    rows: Ints
    derive_bin: bool

    @cached_property
    def missing(self) -> NDArray[np.bool_]:
        """(utterances,), where there is no prediction."""
        return self.rows < 0

    @cached_property
    def any_missing(self) -> bool:
        """Whether an utterance has no prediction."""
        return bool(self.missing.any())

    def take(self, name: str, part: slice = slice(None)) -> NDArray[Any]:
        """A column for some of the utterances; without a prediction the value means nothing."""
        return self.columns[name][self.rows[part]]

    def of(self, utterances: NDArray[np.bool_]) -> "Said":
        """What was said of some of the utterances."""
        return replace(self, rows=self.rows[utterances])

    def only(self, task_id: str) -> "Said":
        """What was said of one task."""
        return replace(self, kinds={task_id: self.kinds[task_id]}, derive_bin=False)

    def digest(self, utt_ids: pl.Series) -> str:
        """A SHA-256 of what was said, whatever file it came from and in whatever order.

        Args:
            utt_ids: Of the utterances, in the protocol's order.
        """
        hashed = hashlib.sha256(column_bytes(utt_ids))
        for name in self.columns:
            kind = self.kinds[name.partition("_")[0]]
            hashed.update(f"\n{name} {kind}\n".encode())
            for part in slices(self.rows.size):
                # + 0 makes one zero of the two, and a copy.
                values = self.take(name, part) + self.columns[name].dtype.type(0)
                values[self.missing[part]] = -1
                hashed.update(values.data)
        return hashed.hexdigest()


def slices(size: int) -> Iterator[slice]:
    """Parts of an array small enough to stay in a processor's cache while they are worked on."""
    for start in range(0, size, _SLICE):
        yield slice(start, min(start + _SLICE, size))


def said(predictions: Predictions, rows: Ints, task_ids: Sequence[str]) -> Said:
    """Put predictions into the order of a protocol.

    Args:
        predictions: What was said.
        rows: (utterances,), the prediction of each, or -1.
        task_ids: The tasks that count.
    """
    columns = {}
    for task_id in task_ids:
        labels = predictions.kinds[task_id] == "labels"
        for name in predictions.columns(task_id):
            column = predictions.frame[name]
            columns[name] = _enum_codes(column) if labels else column.to_numpy()
    kinds = {task_id: predictions.kinds[task_id] for task_id in task_ids}
    derive_bin = predictions.derive_bin and set(TRACING_IDS) <= set(task_ids)
    return Said(predictions.tasks, kinds, columns, rows, derive_bin)


def split_data(frame: pl.DataFrame, name: str, track: Track, everything: Said) -> SplitData:
    """The arrays of one split.

    Args:
        frame: The protocol of all scored splits.
        name: The split.
        track: Of the protocol.
        everything: What was said of the utterances of `frame`.
    """
    inside = (frame["split"] == name).to_numpy()
    here = everything
    if not inside.all():
        frame, here = frame.filter(inside), everything.of(inside)
    whole, partial = {}, {}
    for task_id, kind in here.kinds.items():
        without = frame[task_id].null_count()
        if not without:
            whole[task_id] = kind
        elif without < frame.height:
            asked = frame[task_id].is_not_null().to_numpy()
            rows = here.only(task_id).of(asked)
            partial[task_id] = _split_data(frame.filter(asked), name, track, rows)
    found = _split_data(frame, name, track, replace(here, kinds=whole))
    return replace(found, partial=partial)


def _split_data(frame: pl.DataFrame, name: str, track: Track, here: Said) -> SplitData:
    """The arrays of utterances all of which are asked what is answered."""
    sources, source_names = dense_codes(frame["source"])
    subsets, subset_names = dense_codes(frame["subset"])
    groups, group_names = dense_codes_of_runs(frame["group"])
    truth = {
        task_id: _enum_codes(frame[task_id])
        for task_id in track.known_tasks
        if not frame[task_id].null_count()
    }
    spoofed = _spoofed(truth, track, frame.height)
    kinds = sources * 2 + spoofed
    for task_id in truth:
        if task_id != "bin":
            # However many tasks there are, the numbers stay small.
            kinds = renumber(kinds)[0] if task_id not in TRACING_IDS else kinds
            kinds = kinds * len(track.known_tasks[task_id].classes) + truth[task_id]
    # numpy works without holding the interpreter, so tasks are worked on side by side.
    with ThreadPoolExecutor(max_workers=2) as pool:
        answers = dict(
            zip(
                here.kinds,
                pool.map(lambda t: _answers(here.tasks[t], here, truth[t]), here.kinds),
                strict=True,
            )
        )
    if here.derive_bin and "bin" in truth:
        answers = {"bin": _derived_detection(here, truth["bin"]), **answers}
    return SplitData(
        name=name,
        size=frame.height,
        groups=groups,
        n_groups=len(group_names),
        sources=sources,
        source_names=tuple(source_names),
        subsets=subsets,
        subset_names=tuple(subset_names),
        kinds=renumber(kinds)[0],
        spoofed=spoofed,
        answers=answers,
        joint=_joint(answers),
        missing=int(here.missing.sum()),
        partial={},
    )


def _enum_codes(column: pl.Series) -> NDArray[np.int8]:
    return column.to_physical().cast(pl.Int8).to_numpy()


def _spoofed(truth: Mapping[str, NDArray[np.int8]], track: Track, size: int) -> NDArray[np.bool_]:
    if "bin" in truth:
        return truth["bin"] == 0
    for task_id, classes in truth.items():
        bonafide = track.known_tasks[task_id].bonafide
        if bonafide is not None:
            return classes != bonafide
    return np.ones(size, dtype=bool)


def _answers(task: Task, here: Said, truth: NDArray[np.int8]) -> GivenAnswers:
    kind = here.kinds[task.id]
    if kind == "labels":
        codes = here.take(task.id)
        codes[here.missing] = len(task.classes)
        return GivenAnswers(task, kind, _of_task(task, here, truth, codes, None))
    if task.kind == "detection":
        return _detection(task, kind, here.take(task.score_columns[0]), here, truth)
    return GivenAnswers(
        task, kind, _decided(task, here, truth, lambda part: _probabilities(task, here, part))
    )


def _probabilities(task: Task, here: Said, part: slice) -> list[Floats]:
    columns = [here.take(name, part) for name in task.columns]
    return list(softmax(np.stack(columns))) if here.kinds[task.id] == "logits" else columns


def _detection(
    task: Task, kind: GivenKind, scores: Floats, here: Said, truth: NDArray[np.int8]
) -> GivenAnswers:
    llr = scores if kind == "logits" else log_likelihood_ratio(scores)

    def probabilities(part: slice) -> list[Floats]:
        accepted = scores[part]
        if kind == "logits":
            accepted = 1 / (1 + np.exp(-np.clip(accepted, -700, 700)))
        return [1 - accepted, accepted]

    # At a probability of exactly one half an utterance is accepted as positive.
    decided = _decided(task, here, truth, probabilities, ties_to_last=True)
    if here.any_missing:
        # No answer is the worst one: a positive utterance at the bottom, a negative at the top.
        worst = np.where(truth == 1, -np.inf, np.inf)
        scores, llr = (np.where(here.missing, worst, values) for values in (scores, llr))
    return GivenAnswers(task, kind, decided, scores, llr)


def _decided(
    task: Task,
    here: Said,
    truth: NDArray[np.int8],
    probabilities: Callable[[slice], list[Floats]],
    ties_to_last: bool = False,
) -> Answers:
    """Answers and what they cost; no answer costs what the most confident wrong one does."""
    n = truth.size
    codes, bins, levels = (np.empty(n, dtype=np.int8) for _ in range(3))
    losses = Losses(np.empty(n), np.empty(n), np.empty(n), bins, levels)
    for part in slices(n):
        columns = probabilities(part)
        code, confidence = _most_probable(columns, ties_to_last)
        of_truth, squares = np.zeros(code.size), np.zeros(code.size)
        for index, column in enumerate(columns):
            np.copyto(of_truth, column, where=truth[part] == index)
            squares += column * column
        squared = brier(of_truth, squares)
        if task.kind == "detection":
            squared /= 2
        if here.any_missing:
            missing = here.missing[part]
            code[missing] = len(task.classes)
            of_truth[missing], confidence[missing] = 0.0, 1.0
            squared[missing] = 1.0 if task.kind == "detection" else 2.0
        codes[part] = code
        loss = log_loss(of_truth)
        losses.log_loss[part], losses.levels[part] = fixed_point(loss), loss_level(loss)
        losses.brier[part] = fixed_point(squared)
        losses.bins[part] = confidence_bin(confidence)
        losses.surplus[part] = fixed_point((code == truth[part]) - confidence)
    return _of_task(task, here, truth, codes, losses)


def _of_task(
    task: Task,
    here: Said,
    truth: NDArray[np.int8],
    codes: NDArray[np.int8],
    losses: Losses | None,
) -> Answers:
    n_classes = len(task.classes)
    return Answers(truth, codes, n_classes, n_classes + here.any_missing, task.bonafide, losses)


def _most_probable(
    probabilities: Sequence[Floats], ties_to_last: bool
) -> tuple[NDArray[np.int8], Floats]:
    """The class of the highest probability, ties to the class that comes first; and that."""
    best = probabilities[0].copy()
    codes = np.zeros(best.size, dtype=np.int8)
    for index, column in enumerate(probabilities[1:], start=1):
        better = column >= best if ties_to_last else column > best
        np.copyto(codes, np.int8(index), where=better)
        np.maximum(best, column, out=best)
    return codes, best


def _derived_detection(here: Said, truth: NDArray[np.int8]) -> GivenAnswers:
    """M2's score: 1 - (P_vq(spoof) P_aux(spoof) P_dec(spoof))^(1/3), arXiv 2505.12994."""
    scores = np.empty(truth.size)
    for part in slices(truth.size):
        spoof = np.ones(truth[part].size)
        for task_id in TRACING_IDS:
            real = _probabilities(here.tasks[task_id], here, part)[0]
            spoof *= np.clip(1 - real, 0.0, 1.0)
        scores[part] = 1 - np.cbrt(spoof)
    return _detection(here.tasks["bin"], "derived", scores, here, truth)


def _joint(answers: Mapping[str, GivenAnswers]) -> dict[str, NDArray[np.bool_]] | None:
    """What holds of the three tracing tasks together, an utterance each."""
    if not set(TRACING_IDS) <= set(answers):
        return None
    decided = [answers[task_id].decided for task_id in TRACING_IDS]
    tasks = [answers[task_id].task for task_id in TRACING_IDS]
    said_spoof = [(a.codes > 0) & (a.codes < a.n_classes) for a in decided]
    said_real = [a.codes == 0 for a in decided]
    known = np.zeros([a.n_classes + 1 for a in decided], dtype=bool)
    for cell in load_taxonomy().known_cells:
        known[tuple(t.class_names.index(word) for t, word in zip(tasks, cell, strict=True))] = True
    any_spoof, any_real = np.logical_or.reduce(said_spoof), np.logical_or.reduce(said_real)
    flags = {
        "exact_match": np.logical_and.reduce([a.codes == a.truth for a in decided]),
        "unknown_combination": np.logical_and.reduce(said_spoof)
        & ~known[tuple(a.codes for a in decided)],
        "contradiction": any_spoof & any_real,
    }
    if "bin" in answers:
        detection = answers["bin"].decided.codes
        flags["bin_contradiction"] = ((detection == 1) & any_spoof) | ((detection == 0) & any_real)
    return flags
