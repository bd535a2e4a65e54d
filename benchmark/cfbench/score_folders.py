"""Reads the score files that the authors' code writes: one a task, a line an utterance.

`bin_score.txt` holds an id and one value (higher = more bona fide); `aux_score.txt`,
`dec_score.txt` and `vq_score.txt` an id and one value a class, in the order of the class list.
In this format alone, and because it is fixed, positions name the classes.
"""

import re
from pathlib import Path

import polars as pl

from cfbench.errors import CfbenchError, Problem, name_some, plural
from cfbench.tables import Table, missing_file
from cfbench.tasks import TASK_IDS, Task, load_tasks
from cfbench.text_files import UNREADABLE, find_undecodable_line, open_text

_NAME = re.compile(r"(?:.*[._-])?(bin|vq|aux|dec)_score\.txt(\.gz)?", re.IGNORECASE)


def read_score_folder(folder: Path) -> tuple[Table, tuple[str, ...]]:
    """Read all score files of a folder and of the folders in it.

    Several files of one task (a protocol each, say `CoRS_ALL.vq_score.txt` beside
    `CoSG_ALL.vq_score.txt`, or `CoRS/vq_score.txt` beside `CoSG/vq_score.txt`) are read as one.

    Returns:
        The scores as a table of cfbench's own columns, and notes on files that were not read.

    Raises:
        CfbenchError: No score file is there, a line is malformed, or the tasks' files do not
            hold the same utterances.
    """
    if not folder.exists():
        raise missing_file(folder)
    if not folder.is_dir():
        raise CfbenchError(
            f"{folder}: a file, not a folder of score files",
            "give the folder that holds bin_score.txt, aux_score.txt, dec_score.txt, vq_score.txt",
        )
    paths = sorted(p for p in (*folder.iterdir(), *folder.glob("*/*")) if p.is_file())
    files: dict[str, list[Path]] = {}
    others: list[str] = []
    for path in paths:
        match = _NAME.fullmatch(path.name)
        if match:
            files.setdefault(match[1].lower(), []).append(path)
        else:
            others.append(str(path.relative_to(folder)))
    if not files:
        raise CfbenchError(
            f"{folder}: holds no score files",
            "expected bin_score.txt, aux_score.txt, dec_score.txt or vq_score.txt",
        )
    problems: list[Problem] = []
    tasks = [load_tasks()[task_id] for task_id in TASK_IDS if task_id in files]
    frames: dict[str, pl.DataFrame] = {
        task.id: _read_task(files[task.id], task, problems) for task in tasks
    }
    if problems:
        raise CfbenchError.of(problems)
    frame = _joined(frames, folder)
    notes = (f"not read in {folder}: {name_some(others)}",) if others else ()
    return Table(frame, folder, "authors"), notes


def _read_task(paths: list[Path], task: Task, problems: list[Problem]) -> pl.DataFrame:
    columns = task.score_columns
    ids: list[str] = []
    values: list[list[float]] = [[] for _ in columns]
    seen: dict[str, str] = {}
    twice: list[str] = []
    for path in paths:
        malformed: list[str] = []
        count = 0
        try:
            with open_text(path) as file:
                for number, line in enumerate(file, start=1):
                    fields = line.split()
                    if not fields:
                        continue
                    count += 1
                    try:
                        numbers = [float(value) for value in fields[1:]]
                    except ValueError:
                        numbers = []
                    if len(numbers) != len(columns):
                        malformed.append(f"line {number}")
                        continue
                    where = f"{path.name}, line {number}"
                    if seen.setdefault(fields[0], where) != where:
                        twice.append(f"{fields[0]} ({seen[fields[0]]}; {where})")
                    ids.append(fields[0])
                    for column, value in zip(values, numbers, strict=True):
                        column.append(value)
        except UnicodeDecodeError:
            line_number = find_undecodable_line(path)
            hint = "save the file as UTF-8"
            raise CfbenchError(f"{path}, line {line_number}: not UTF-8 text", hint) from None
        except UNREADABLE as error:
            raise CfbenchError(
                f"{path}: cannot be read ({error})", "is the compressed file cut off?"
            ) from None
        if not count:
            problems.append(Problem(f"{path}: the file is empty", "is it cut off?"))
        if malformed:
            problems.append(
                Problem(
                    f"{path}: {plural(len(malformed), 'line')} not of the form "
                    f"`utterance {' '.join(columns)}`: {name_some(malformed)}",
                    "is the file cut off, or of another task?",
                )
            )
    if twice:
        problems.append(
            Problem(
                f"{plural(len(twice), 'utterance')} scored twice in {task.id}: {name_some(twice)}"
            )
        )
    return pl.DataFrame(
        {"utt_id": pl.Series(ids, dtype=pl.String)}
        | {
            name: pl.Series(column, dtype=pl.Float64)
            for name, column in zip(columns, values, strict=True)
        }
    )


def _joined(frames: dict[str, pl.DataFrame], folder: Path) -> pl.DataFrame:
    first_id, *other_ids = frames
    frame = frames[first_id]
    problems: list[Problem] = []
    for task_id in other_ids:
        for one, two in ((first_id, task_id), (task_id, first_id)):
            lacking = frames[one].join(frames[two], on="utt_id", how="anti")["utt_id"]
            if len(lacking):
                problems.append(
                    Problem(
                        f"{folder}: {plural(len(lacking), 'utterance')} of {one}_score.txt not in "
                        f"{two}_score.txt: {name_some(lacking.head(5).to_list(), len(lacking))}",
                        "score every task on the same utterances, or pick tasks with --tasks "
                        "from a folder of their own",
                    )
                )
        frame = frame.join(frames[task_id], on="utt_id", how="left", maintain_order="left")
    if problems:
        raise CfbenchError.of(problems)
    return frame
