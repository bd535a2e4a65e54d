"""Turns the tables of one split into arrays: what is true, what was answered, who made it."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.metrics.detection import log_likelihood_ratio
from cfbench.metrics.probability import brier, confidence_bin, log_loss
from cfbench.predictions import Kind, Predictions, softmax
from cfbench.tallies import Answers, Floats, Ints, Losses, renumber
from cfbench.tasks import TRACING_IDS, Task, load_tasks, load_taxonomy

GivenKind = Literal["labels", "probabilities", "logits", "derived"]


@dataclass(frozen=True, eq=False)
class GivenAnswers:
    """One task's answers to the utterances of a split.

    Attributes:
        task: The task.
        kind: What the predictions hold of it; "derived" where spoof detection follows from the
            three tracing tasks.
        decided: Classes and losses.
        scores: (utterances,), for spoof detection with scores: higher = more bona fide.
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
        spoofed: (utterances,).
        answers: By task id.
        joint: Name to (utterances,) of truth values, if all tracing tasks are answered.
        missing: How many utterances have no prediction.
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
        pairs = np.bincount(self.groups * width + self.sources, minlength=self.n_groups * width)
        return np.count_nonzero(pairs.reshape(self.n_groups, width), axis=0)

    def subset_of_source(self, source: int) -> str | None:
        """The subset that a source's utterances are in, or None."""
        subset = self.subsets[np.argmax(self.sources == source)]
        return self.subset_names[subset] if subset >= 0 else None


@dataclass(frozen=True, eq=False)
class Said:
    """Predictions in the order of a protocol's utterances.

    Attributes:
        kinds: Task id to what is given of it.
        columns: Column name to (utterances,): float64 numbers, or int8 class indices of labels.
        missing: (utterances,), where there is no prediction; the values there mean nothing.
    """

    kinds: Mapping[str, Kind]
    columns: dict[str, NDArray[Any]]
    missing: NDArray[np.bool_]

    def of(self, rows: NDArray[np.bool_]) -> "Said":
        """What was said of some of the utterances."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        return Said(self.kinds, columns, self.missing[rows])

    def digest(self, utt_ids: pl.Series) -> str:
        """A SHA-256 of what was said, whatever file it came from and in whatever order.

        Args:
            utt_ids: Of the utterances, in the protocol's order.
        """
        hashed = hashlib.sha256(utt_ids.str.join("\n")[0].encode())
        hashed.update(self.missing.tobytes() if self.missing.any() else b"")
        for name, column in self.columns.items():
            kind = self.kinds[name.partition("_")[0]]
            hashed.update(f"\n{name} {kind}\n".encode())
            # + 0.0 makes one zero of the two.
            values = column + 0.0 if column.dtype == np.float64 else column
            values[self.missing] = 0
            hashed.update(np.ascontiguousarray(values).data)
        return hashed.hexdigest()


def said(predictions: Predictions, rows: Ints, task_ids: Sequence[str]) -> Said:
    """Put predictions into the order of a protocol.

    Args:
        predictions: What was said.
        rows: (utterances,), the prediction of each, or -1.
        task_ids: The tasks that count.
    """
    in_order = np.array_equal(rows, np.arange(predictions.frame.height))
    columns = {}
    for task_id in task_ids:
        for name in predictions.columns(task_id):
            column = predictions.frame[name]
            labels = predictions.kinds[task_id] == "labels"
            values = _enum_codes(column) if labels else column.to_numpy()
            columns[name] = values if in_order else values[rows]
    return Said({t: predictions.kinds[t] for t in task_ids}, columns, rows < 0)


def split_data(frame: pl.DataFrame, name: str, everything: Said) -> SplitData:
    """The arrays of one split.

    Args:
        frame: The protocol of all scored splits.
        name: The split.
        everything: What was said of the utterances of `frame`.
    """
    inside = (frame["split"] == name).to_numpy()
    here = everything
    if not inside.all():
        frame, here = frame.filter(inside), everything.of(inside)
    sources, source_names = _codes(frame["source"])
    subsets, subset_names = _codes(frame["subset"])
    groups, group_names = _codes(frame["group"])
    truth = {
        task_id: _enum_codes(frame[task_id])
        for task_id in load_tasks()
        if not frame[task_id].null_count()
    }
    spoofed = _spoofed(truth)
    kinds = sources * 2 + spoofed
    for task_id in TRACING_IDS:
        if task_id in truth:
            kinds = kinds * len(load_tasks()[task_id].classes) + truth[task_id]
    answers = {
        task_id: _answers(load_tasks()[task_id], here, truth[task_id]) for task_id in here.kinds
    }
    if "bin" not in answers and "bin" in truth:
        derived = _derived_detection(here, truth["bin"])
        if derived is not None:
            answers = {"bin": derived, **answers}
    return SplitData(
        name=name,
        size=frame.height,
        groups=groups,
        n_groups=len(group_names),
        sources=sources,
        source_names=source_names,
        subsets=subsets,
        subset_names=subset_names,
        kinds=renumber(kinds)[0],
        spoofed=spoofed,
        answers=answers,
        joint=_joint(answers),
        missing=int(here.missing.sum()),
    )


def _codes(column: pl.Series) -> tuple[Ints, tuple[str, ...]]:
    """Positions in the sorted distinct values that occur, -1 for null."""
    names = column.cast(pl.String).drop_nulls().unique().sort().to_list()
    codes = column.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1)
    return codes.to_numpy(), tuple(names)


def _enum_codes(column: pl.Series) -> NDArray[np.int8]:
    codes: NDArray[np.int8] = column.to_physical().cast(pl.Int8).to_numpy()
    return codes


def _spoofed(truth: Mapping[str, NDArray[np.int8]]) -> NDArray[np.bool_]:
    if "bin" in truth:
        return truth["bin"] == 0
    tracing = next(truth[task_id] for task_id in TRACING_IDS if task_id in truth)
    return tracing != 0


def _answers(task: Task, here: Said, truth: NDArray[np.int8]) -> GivenAnswers:
    kind = here.kinds[task.id]
    if kind == "labels":
        codes = here.columns[task.id].copy()
        codes[here.missing] = len(task.classes)
        return GivenAnswers(task, kind, Answers(truth, codes, len(task.classes), _n(task, here), None))
    if task.id == "bin":
        return _detection(task, kind, here.columns["bin_bonafide"], here, truth)
    probabilities = _probabilities(task, here)
    codes, confidence = _most_probable(probabilities)
    return GivenAnswers(task, kind, _decided(task, here, truth, probabilities, codes, confidence))


def _n(task: Task, here: Said) -> int:
    """How many different answers there can be: the classes, and none."""
    return len(task.classes) + bool(here.missing.any())


def _probabilities(task: Task, here: Said) -> list[Floats]:
    columns = [here.columns[name] for name in task.columns]
    return list(softmax(np.stack(columns))) if here.kinds[task.id] == "logits" else columns


def _detection(
    task: Task, kind: GivenKind, given: Floats, here: Said, truth: NDArray[np.int8]
) -> GivenAnswers:
    if kind == "logits":
        llr = given
        probability = 1 / (1 + np.exp(-np.clip(llr, -700, 700)))
        accepted = llr >= 0
    else:
        probability = given
        llr = log_likelihood_ratio(given)
        accepted = probability >= 0.5
    codes = accepted.astype(np.int8)
    classes = [1 - probability, probability]
    decided = _decided(task, here, truth, classes, codes, np.maximum(*classes))
    scores = given
    if here.missing.any():
        # No answer is the worst one: a bona fide utterance at the bottom, a spoof at the top.
        worst = np.where(truth == 1, -np.inf, np.inf)
        scores, llr = (np.where(here.missing, worst, values) for values in (scores, llr))
    return GivenAnswers(task, kind, decided, scores, llr)


def _decided(
    task: Task,
    here: Said,
    truth: NDArray[np.int8],
    probabilities: Sequence[Floats],
    codes: NDArray[np.int8],
    confidence: Floats,
) -> Answers:
    """Answers and what they cost; no answer costs what the most confident wrong one does."""
    of_truth, squares = np.zeros(truth.size), np.zeros(truth.size)
    for index, column in enumerate(probabilities):
        np.copyto(of_truth, column, where=truth == index)
        squares += column * column
    squared = brier(of_truth, squares)
    if here.missing.any():
        codes[here.missing] = len(task.classes)
        of_truth[here.missing], squared[here.missing], confidence[here.missing] = 0.0, 2.0, 1.0
    losses = Losses(
        log_loss=log_loss(of_truth),
        brier=squared / 2 if task.id == "bin" else squared,
        bins=confidence_bin(confidence),
        surplus=(codes == truth) - confidence,
    )
    return Answers(truth, codes, len(task.classes), _n(task, here), losses)


def _most_probable(probabilities: Sequence[Floats]) -> tuple[NDArray[np.int8], Floats]:
    """The class of the highest probability, ties to the class that comes first; and that."""
    best = probabilities[0].copy()
    codes = np.zeros(best.size, dtype=np.int8)
    for index, column in enumerate(probabilities[1:], start=1):
        codes[column > best] = index
        np.maximum(best, column, out=best)
    return codes, best


def _derived_detection(here: Said, truth: NDArray[np.int8]) -> GivenAnswers | None:
    """M2's score: 1 - (P_vq(spoof) P_aux(spoof) P_dec(spoof))^(1/3), arXiv 2505.12994."""
    if any(here.kinds.get(task_id, "labels") == "labels" for task_id in TRACING_IDS):
        return None
    spoof = np.ones(truth.size)
    for task_id in TRACING_IDS:
        spoof *= np.clip(1 - _probabilities(load_tasks()[task_id], here)[0], 0.0, 1.0)
    return _detection(load_tasks()["bin"], "derived", 1 - np.cbrt(spoof), here, truth)


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
