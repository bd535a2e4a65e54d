"""What a system said of the utterances.

A predictions table has a column `utt_id` and, for each task that it answers, either hard labels
(column `vq`) or a number for each class (`vq_real`, `vq_mvq`, `vq_svq`, `vq_sq`): probabilities,
or logits if the reader is told so. A detection task needs the number of its positive class only:
spoof detection `bin_bonafide`, the probability that the utterance is bona fide, or (as a logit)
its log-likelihood ratio. Which tasks there are is told by the track.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from cfbench import score_folders
from cfbench.errors import CfbenchError, Problem, clip, did_you_mean, name_some, plural
from cfbench.tables import Table, frame_table, read_table
from cfbench.tasks import TRACING_IDS, Task, Track, load_tasks

SUM_TOLERANCE = 5e-3
"""How far from 1 the probabilities of an utterance may sum: files rounded to two digits pass."""

Kind = Literal["labels", "probabilities", "logits"]


@dataclass(frozen=True, eq=False)
class Predictions:
    """The rows of a predictions file.

    Attributes:
        frame: utt_id String, then for each task either its label column (an Enum of the task's
            classes) or a Float64 column a class; for a detection task that of its positive class
            alone, `bin_bonafide` for spoof detection.
        tasks: The tasks that could be answered, by id, in the order in which they are reported.
        kinds: Task id to what is given of it, in the order in which tasks are reported.
        table: Where the rows come from, for messages.
        derive_bin: Spoof detection is not given, follows from the three tracing tasks, and is
            wanted.
        notes: What was done that a reader should know.
    """

    frame: pl.DataFrame
    tasks: Mapping[str, Task]
    kinds: Mapping[str, Kind]
    table: Table
    derive_bin: bool = False
    notes: tuple[str, ...] = field(default=())

    def columns(self, task_id: str) -> tuple[str, ...]:
        """The columns of `frame` that belong to a task."""
        if self.kinds[task_id] == "labels":
            return (task_id,)
        return self.tasks[task_id].score_columns


def read_predictions(
    source: str | Path | pl.DataFrame,
    format: str = "auto",
    logits: bool = False,
    tasks: Sequence[Task] | None = None,
    track: Track | None = None,
) -> Predictions:
    """Read predictions and check all that can be checked without the protocol.

    Args:
        source: A file, a folder of the authors' score files, or a frame.
        format: "csv", "tsv", "parquet", "jsonl", "authors", or "auto": by name.
        logits: The numbers are logits, not probabilities.
        tasks: Read these tasks only; None for all that the file answers.
        track: Tells which tasks it may answer; None for the four.

    Raises:
        CfbenchError: All problems of the file at once.
    """
    predictions, problems = inspect_predictions(source, format, logits, tasks, track)
    if problems:
        raise CfbenchError.of(problems)
    return predictions


def inspect_predictions(
    source: str | Path | pl.DataFrame,
    format: str = "auto",
    logits: bool = False,
    tasks: Sequence[Task] | None = None,
    track: Track | None = None,
) -> tuple[Predictions, list[Problem]]:
    """Like `read_predictions`, but problems with values are returned, so that more can be added.

    Raises:
        CfbenchError: The file is no table of predictions at all.
    """
    notes: tuple[str, ...] = ()
    problems: list[Problem] = []
    known = load_tasks() if track is None else track.known_tasks
    asked = list(known.values()) if track is None else track.asked
    numbers = {column for task in known.values() for column in task.columns}
    is_number = numbers.__contains__
    if isinstance(source, pl.DataFrame):
        table = frame_table(source, is_number)
    elif format == "authors" or (format == "auto" and Path(source).is_dir()):
        table, notes = score_folders.read_score_folder(Path(source))
    else:
        table = read_table(Path(source), is_number, format)
    problems += table.problems
    wanted = list(known.values()) if tasks is None else list(tasks)
    problems_of_columns = list(_column_problems(table, known, asked))
    given = _given_kinds(table, wanted, logits)
    derive_bin = (
        "bin" not in given
        and any(task.id == "bin" for task in wanted)
        and all(given.get(task_id, "labels") != "labels" for task_id in TRACING_IDS)
    )
    if tasks is not None:
        problems_of_columns += [
            Problem(
                f"{table.name}: no columns for the task {task.id}",
                f"give {task.label_column} (labels) or {', '.join(task.score_columns)}",
            )
            for task in wanted
            if task.id not in given and not (task.id == "bin" and derive_bin)
        ]
    if problems_of_columns:
        raise CfbenchError.of([*problems_of_columns, *problems])
    if not given:
        some = _example(asked)
        raise CfbenchError(
            f"{table.name}: no column answers a task",
            f"for example {some.label_column} (labels), or {', '.join(some.score_columns)} "
            "(probabilities)",
        )
    columns = [table.frame["utt_id"].cast(pl.String)]
    for task in wanted:
        if task.id in given:
            columns += _task_columns(table, task, given[task.id], problems)
    predictions = Predictions(pl.DataFrame(columns), known, given, table, derive_bin, notes)
    problems += _id_problems(predictions)
    return predictions, problems


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits, class by class.

    Args:
        logits: float64, (classes, utterances).

    Returns:
        float64 of the same shape; each column sums to 1.
    """
    shifted = np.exp(logits - logits.max(axis=0))
    return shifted / shifted.sum(axis=0)


def _example(tasks: Sequence[Task]) -> Task:
    """The task that shows best how columns are called: one with a column a class."""
    return min(tasks, key=lambda task: task.kind == "detection")


def _column_problems(
    table: Table, by_id: Mapping[str, Task], asked: Sequence[Task]
) -> list[Problem]:
    tasks = by_id.values()
    known = ["utt_id", *(c for task in tasks for c in (task.label_column, *task.columns))]
    there = set(table.frame.columns)
    by_alias = {
        f"{task.id}_{word}": task.columns[index]
        for task in tasks
        for word, index in task.aliases.items()
    }
    problems = [
        Problem(
            f"{table.name}: unknown column '{clip(name)}'"
            + did_you_mean(by_alias.get(name.casefold(), name), known),
            f"known columns: utt_id, a task ({', '.join(task.id for task in asked)}) or a task and "
            f"class ({_example(asked).columns[1]})",
        )
        for name in table.frame.columns
        if name not in known
    ]
    if "utt_id" not in there:
        problems.append(
            Problem(f"{table.name}: the column utt_id is missing", "it names the utterance")
        )
    for task in tasks:
        numbers = [name for name in task.columns if name in there]
        lacking = [name for name in task.score_columns if name not in there]
        if numbers and lacking:
            problems.append(
                Problem(
                    f"{table.name}: {', '.join(numbers)} without {', '.join(lacking)}",
                    f"a task needs all of {', '.join(task.score_columns)}",
                )
            )
        if numbers and task.label_column in there:
            problems.append(
                Problem(
                    f"{table.name}: both labels ({task.label_column}) and numbers "
                    f"({', '.join(numbers)}) for one task",
                    "keep one of them: cfbench does not choose",
                )
            )
    return problems


def _given_kinds(table: Table, tasks: Sequence[Task], logits: bool) -> dict[str, Kind]:
    there = set(table.frame.columns)
    kinds: dict[str, Kind] = {}
    for task in tasks:
        if task.label_column in there:
            kinds[task.id] = "labels"
        elif set(task.score_columns) <= there:
            kinds[task.id] = "logits" if logits else "probabilities"
    return kinds


def _task_columns(table: Table, task: Task, kind: Kind, problems: list[Problem]) -> list[pl.Series]:
    if kind == "labels":
        return [_labels(table, task, problems)]
    named = [name for name in task.columns if name in table.frame.columns]
    columns = [table.frame[name] for name in named]
    before = len(problems)
    for column in columns:
        _check_numbers(table, column, kind, problems)
    if len(named) == len(task.columns):
        if kind == "probabilities" and len(problems) == before:
            total = columns[0].to_numpy().copy()
            for column in columns[1:]:
                total += column.to_numpy()
            if np.abs(total - 1).max() > SUM_TOLERANCE:
                _add_bad_rows(
                    table,
                    pl.Series(np.abs(total - 1) > SUM_TOLERANCE),
                    f"{' + '.join(named)} not 1",
                    f"probabilities must sum to 1 within {SUM_TOLERANCE:g}; logits need --logits",
                    problems,
                    pl.Series(total),
                )
        if task.kind == "detection":
            other, positive = (table.frame[name] for name in task.columns)
            ratio = (positive - other).alias(positive.name)
            return [ratio] if kind == "logits" else [positive]
    return columns


def _check_numbers(table: Table, column: pl.Series, kind: Kind, problems: list[Problem]) -> None:
    bounds = (0.0, 1.0) if kind == "probabilities" else (-np.inf, np.inf)
    values = column.to_numpy()
    # A comparison with nan is false, so one pass finds whether there is anything to report.
    if np.isfinite(values.sum()) and bounds[0] <= values.min() <= values.max() <= bounds[1]:
        return
    # Cells without a number are reported already.
    _add_bad_rows(
        table,
        ~column.is_finite(),
        f"{column.name} not finite",
        "every utterance needs a finite number: did the system diverge?",
        problems,
        column,
    )
    _add_bad_rows(
        table,
        column.is_finite() & ~column.is_between(*bounds),
        f"{column.name} outside 0 to 1",
        "give probabilities, or say --logits",
        problems,
        column,
    )


def _labels(table: Table, task: Task, problems: list[Problem]) -> pl.Series:
    column = table.frame[task.label_column]
    if column.dtype.is_numeric() or column.dtype == pl.Boolean:
        problems.append(
            Problem(
                f"{table.name}: {task.id} holds numbers, not the names of classes",
                f"write {', '.join(task.class_names)}: positions can be mistaken",
            )
        )
        return pl.Series(task.id, [None] * len(column), pl.Enum(task.class_names))
    column = column.cast(pl.String)
    named = {label: task.class_index(label) for label in column.drop_nulls().unique().sort()}
    empty = column.is_null() | (column.str.strip_chars() == "")
    _add_bad_rows(
        table,
        empty,
        f"{task.id} empty",
        "if pandas wrote the file: it takes the word None for no value; write trad instead"
        if task.id == "aux"
        else f"every utterance needs a class: {', '.join(task.class_names)}",
        problems,
    )
    for label, index in named.items():
        if index is None and label.strip():
            _add_bad_rows(
                table,
                column == label,
                f"{task.id} of unknown class '{clip(label)}'"
                + did_you_mean(label, task.class_names),
                f"the classes of {task.id}: {', '.join(task.class_names)}",
                problems,
            )
    names = {label: task.class_names[i] for label, i in named.items() if i is not None}
    return column.replace_strict(names, default=None, return_dtype=pl.Enum(task.class_names)).alias(
        task.id
    )


def _add_bad_rows(
    table: Table,
    bad: pl.Series,
    told: str,
    hint: str,
    problems: list[Problem],
    shown: pl.Series | None = None,
) -> None:
    rows = bad.fill_null(False).arg_true()
    if not len(rows):
        return
    some = rows.head(5).to_list()
    places = table.where(some)
    if shown is not None:
        places = [f"{place} ({shown[row]:g})" for place, row in zip(places, some, strict=True)]
    problems.append(
        Problem(
            f"{table.name}: {plural(len(rows), 'row')} with {told}: {name_some(places, len(rows))}",
            hint,
        )
    )


def _id_problems(predictions: Predictions) -> list[Problem]:
    table, ids = predictions.table, predictions.frame["utt_id"]
    problems: list[Problem] = []
    _add_bad_rows(
        table,
        ids.is_null() | (ids.str.strip_chars() == ""),
        "an empty utt_id",
        "every row names its utterance",
        problems,
    )
    # Equal ids have equal hashes: distinct hashes settle it without comparing strings.
    hashes = np.sort(ids.hash().to_numpy())
    if (hashes[1:] == hashes[:-1]).any():
        again = (ids.is_duplicated() & ids.is_not_null()).arg_true()
        if len(again):
            named = []
            for word in ids.gather(again).unique(maintain_order=True).head(5):
                places = table.where((ids == word).arg_true().head(5).to_list())
                named.append(f"{word} ({', '.join(places)})")
            count = ids.gather(again).n_unique()
            problems.append(
                Problem(
                    f"{table.name}: {plural(count, 'utt_id')} given more than once: "
                    + name_some(named, count),
                    "an utterance has one row",
                )
            )
    return problems
