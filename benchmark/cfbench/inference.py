"""From audio files to a predictions file, in parts that outlive an interruption.

The utterances are cut into parts of a fixed size, each part into batches. A part is computed by one
process, written whole, and never computed twice; the predictions file is made of all parts. So the
number of processes and the interruptions change nothing in it.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.clips import Batch, Clips, load
from cfbench.errors import CfbenchError, Problem
from cfbench.files import write_atomically, write_text
from cfbench.manifest.share import parse_shard
from cfbench.predictor import Predictor
from cfbench.tables import table_format, write_table
from cfbench.tasks import load_tasks

_PROBLEM, _HINT, _STAMP = "problem", "hint", "audio"


@dataclass(frozen=True)
class Share:
    """Which parts a process computes: those whose number leaves `index` when divided by `count`."""

    index: int = 0
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> "Share":
        """Read `2/4`: the second of four shares.

        Raises:
            CfbenchError: It is nothing of the kind.
        """
        return cls(*parse_shard(text))

    def __str__(self) -> str:
        return f" (share {self.index + 1} of {self.count})" if self.count > 1 else ""


@dataclass(frozen=True)
class Plan:
    """What is predicted, and how.

    Attributes:
        utt_ids: The utterances, in the order of the predictions file.
        paths: Their audio files; None where there is none.
        out: The predictions file; its suffix decides the format.
        batch_size: Clips a batch.
        part_size: Clips a part.
        workers: Processes that decode.
        strict: Stop at the first clip that cannot be decoded.
        made_by: What else decides the answers, as plain data: the model, the precision.
    """

    utt_ids: Sequence[str]
    paths: Sequence[Path | None]
    out: Path
    batch_size: int = 16
    part_size: int = 256
    workers: int = 1
    strict: bool = False
    made_by: Mapping[str, Any] = field(default_factory=dict)

    @property
    def parts(self) -> int:
        """How many parts there are."""
        return -(-len(self.utt_ids) // self.part_size)

    @property
    def folder(self) -> Path:
        """Where the parts are kept until the predictions file is made of them."""
        return self.out.with_name(self.out.name + ".parts")

    @property
    def record(self) -> Path:
        """The file beside the predictions that says how they were made."""
        return self.out.with_name(self.out.name + ".json")

    def rows(self, part: int) -> range:
        """The rows of a part."""
        return range(part * self.part_size, min((part + 1) * self.part_size, len(self.utt_ids)))

    def part_path(self, part: int) -> Path:
        """The file of a part."""
        return self.folder / f"part-{part:06d}-of-{self.parts:06d}.parquet"

    def digest(self) -> str:
        """The same for every run that must give the same predictions file."""
        said = {
            # What the model is called decides nothing.
            "made_by": {key: value for key, value in self.made_by.items() if key != "model"},
            "batch_size": self.batch_size,
            "part_size": self.part_size,
            "utterances": hashlib.sha256("\n".join(self.utt_ids).encode()).hexdigest(),
        }
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Outcome:
    """What a call of `predict` did.

    Attributes:
        predicted: Clips that this call predicted.
        resumed: Clips of this share that an earlier call had dealt with.
        seconds: How long the predicting took.
    """

    predicted: int
    resumed: int
    seconds: float


@dataclass(frozen=True)
class Joined:
    """What `join` found.

    Attributes:
        complete: Whether the predictions file is there; if not, other shares are missing.
        failures: Utterances without an answer, and why, of all parts that are there.
    """

    complete: bool
    failures: Mapping[str, Problem]


def prepare(plan: Plan, overwrite: bool) -> bool:
    """Make the folder of the parts, or find that there is nothing left to do.

    Args:
        plan: What is to be predicted.
        overwrite: Throw away the parts of another plan at the same place; its file stays until the
            new one is complete.

    Returns:
        Whether the predictions file of this very plan is complete already.

    Raises:
        CfbenchError: Another plan's file or parts are at the same place, or no such file can be
            written.
    """
    table_format(plan.out)
    if plan.out.is_dir() or plan.out.suffix.casefold() in (".gz", ".zst"):
        raise CfbenchError(
            f"{plan.out}: {'a folder' if plan.out.is_dir() else 'predictions are not compressed'}",
            "name a file: predictions.parquet, or .csv, .tsv, .jsonl",
        )
    said, digest = plan.folder / "plan.json", plan.digest()
    record, begun = _said(plan.record), _said(said)
    if _is_complete(plan, record):
        return True
    # Parts of this plan are gone on with, even if the file beside them is still an older one.
    if begun is None or begun.get("digest") != digest:
        there = [path for path in (plan.out, plan.record, plan.folder) if path.exists()]
        if there and not overwrite:
            raise CfbenchError(
                f"{there[0]}: is there already, made in another way (model, precision, batches, "
                "utterances) or of other audio",
                "--overwrite replaces it; or name another file",
            )
        if plan.folder.exists():
            if begun is None:
                raise CfbenchError(
                    f"{plan.folder}: not a folder of cfbench's", "move it, or name another file"
                )
            shutil.rmtree(plan.folder)
    try:
        plan.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CfbenchError(f"{plan.folder}: cannot be made: {error.strerror}") from None
    write_text(said, json.dumps({"digest": digest, **plan.made_by}, indent=1) + "\n")
    return False


def _is_complete(plan: Plan, record: Mapping[str, Any] | None) -> bool:
    """Whether the file is that of this plan, whole, and of the audio that is there now."""
    if record is None or record.get("digest") != plan.digest() or record.get("failures"):
        return False
    if record.get("audio") != _audio_digest(_stamps(plan.paths)) or not plan.out.is_file():
        return False
    return record.get("sha256") == _file_digest(plan.out)


def _stamps(paths: Sequence[Path | None]) -> list[str]:
    """What tells an audio file from a changed one without reading it: its size and its time."""
    stamps = []
    for path in paths:
        try:
            status = path.stat() if path is not None else None
        except OSError:
            status = None
        stamps.append(f"{status.st_size} {status.st_mtime_ns}" if status else "")
    return stamps


def _audio_digest(stamps: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def predict(
    plan: Plan,
    predictor: Predictor,
    share: Share = Share(),
    advance: Callable[[int, int], None] = lambda done, resumed: None,
) -> Outcome:
    """Predict what is not there yet of the parts of a share.

    A batch is always computed whole, so that an answer does not depend on what was there before.

    Args:
        plan: What is predicted; `prepare` has been called.
        predictor: Waveforms to probabilities.
        share: Which parts.
        advance: Called with the number of clips done, and how many of them an earlier call did.

    Raises:
        CfbenchError: The disk is full; with `strict`, at the first clip without an answer.
    """
    mine = range(share.index, plan.parts, share.count)
    owed = {part: batches for part in mine if (batches := _owed(plan, part))}
    resumed = sum(len(plan.rows(part)) for part in mine) - sum(
        len(rows) for batches in owed.values() for rows in batches
    )
    if resumed:
        advance(resumed, resumed)
    clips = Clips(plan.utt_ids, plan.paths, predictor.samples, windows=predictor.windows)
    started, predicted = time.monotonic(), 0
    everything = [rows for batches in owed.values() for rows in batches]
    loaded = load(clips, everything, plan.workers, predictor.device.type == "cuda")
    for part, batches in owed.items():
        answers = []
        for batch in islice(loaded, len(batches)):
            frame = _answers(plan, predictor, batch)
            failed = frame.filter(pl.col(_PROBLEM).is_not_null())
            if plan.strict and failed.height:
                problems = failed.select(_PROBLEM, _HINT).iter_rows()
                raise CfbenchError.of([Problem(message, hint) for message, hint in problems])
            answers.append(frame)
            predicted += frame.height - failed.height
            advance(frame.height, 0)
        renewed = _renewed(plan, part, pl.concat(answers))
        _write(renewed, plan.part_path(part), "parquet")
    return Outcome(predicted, resumed, time.monotonic() - started)


def join(plan: Plan, environment: Mapping[str, Any]) -> Joined:
    """Make the predictions file, if every part is there.

    The parts are kept while clips are without an answer, so that a later call tries only these.

    Args:
        plan: What was predicted.
        environment: For the record beside the file.
    """
    frames = [frame for part in range(plan.parts) if (frame := _read_part(plan, part)) is not None]
    failed = {
        utt_id: Problem(message, hint)
        for frame in frames
        for utt_id, message, hint in frame.filter(pl.col(_PROBLEM).is_not_null())
        .select("utt_id", _PROBLEM, _HINT)
        .iter_rows()
    }
    if len(frames) < plan.parts:
        # Another process may have joined the parts, and removed them, since it was looked.
        old = _said(plan.record)
        return Joined(old is not None and old.get("digest") == plan.digest(), failed)
    whole = pl.concat(frames)
    good = whole.filter(pl.col(_PROBLEM).is_null()).drop(_PROBLEM, _HINT, _STAMP)
    _write(good, plan.out, table_format(plan.out))
    record = {
        "digest": plan.digest(),
        "audio": _audio_digest(whole[_STAMP].to_list()),
        "sha256": _file_digest(plan.out),
        "made_by": plan.made_by,
        "utterances": good.height,
        "failures": {utt_id: problem.message for utt_id, problem in failed.items()},
        "environment": environment,
    }
    write_text(plan.record, json.dumps(record, indent=1, sort_keys=True) + "\n")
    if not failed:
        shutil.rmtree(plan.folder, ignore_errors=True)
    return Joined(True, failed)


def compare(
    one: Mapping[str, NDArray[np.float64]], other: Mapping[str, NDArray[np.float64]]
) -> tuple[float, float]:
    """How far two answers for the same clips lie apart.

    Args:
        one: By task, (clips, classes).
        other: The same.

    Returns:
        The largest difference of a probability, and the share of decisions that differ.
    """
    largest = max(float(np.abs(one[task_id] - other[task_id]).max()) for task_id in one)
    changed = [one[t].argmax(axis=1) != other[t].argmax(axis=1) for t in one]
    return largest, float(np.mean(changed))


def _said(path: Path) -> dict[str, Any] | None:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return said if isinstance(said, dict) else None


def _read_part(plan: Plan, part: int) -> pl.DataFrame | None:
    """A part's rows; None where it is not there, or damaged."""
    try:
        frame = pl.read_parquet(plan.part_path(part), glob=False)
        wanted = [plan.utt_ids[row] for row in plan.rows(part)]
        return frame if frame["utt_id"].to_list() == wanted and _STAMP in frame else None
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _owed(plan: Plan, part: int) -> list[list[int]]:
    """The batches of a part that are to be computed: all, or those with clips to try again."""
    rows = plan.rows(part)
    batches = [
        list(rows[start : start + plan.batch_size])
        for start in range(0, len(rows), plan.batch_size)
    ]
    frame = _read_part(plan, part)
    if frame is None:
        return batches
    stamps = _stamps([plan.paths[row] for row in rows])
    # What failed is tried again, unless it has no file still; what has changed is answered anew.
    changed = (frame[_STAMP] != pl.Series(stamps)) | (
        frame[_PROBLEM].is_not_null() & (frame[_STAMP] != "")
    )
    again = {rows[index] for index in changed.arg_true()}
    return [batch for batch in batches if again.intersection(batch)]


def _renewed(plan: Plan, part: int, answers: pl.DataFrame) -> pl.DataFrame:
    """The rows of a part: what was answered now, and else what was there."""
    old = _read_part(plan, part)
    if old is not None:
        answers = pl.concat([old.join(answers, on="utt_id", how="anti"), answers])
    wanted = pl.DataFrame({"utt_id": [plan.utt_ids[row] for row in plan.rows(part)]})
    return wanted.join(answers, on="utt_id", how="left", maintain_order="left")


def _answers(plan: Plan, predictor: Predictor, batch: Batch) -> pl.DataFrame:
    """The rows of a batch as the parts hold them, clips without an answer at their place."""
    said = predictor(batch.waveforms) if len(batch.rows) else {}
    rows = [*batch.rows.tolist(), *batch.failed]
    missing = np.full(len(batch.failed), np.nan)
    columns: dict[str, Any] = {"utt_id": [plan.utt_ids[row] for row in rows]}
    sound = np.ones(len(batch.rows), np.bool_)
    for task_id in predictor.tasks:
        for name, index in answered_columns(task_id).items():
            values = said[task_id][:, index] if said else np.zeros(0)
            sound &= np.isfinite(values)
            columns[name] = np.concatenate([values, missing])
    no_number = [
        None if good else _no_number(plan.paths[row])
        for row, good in zip(batch.rows, sound, strict=True)
    ]
    problems = [*no_number, *batch.failed.values()]
    columns[_PROBLEM] = [problem and problem.message for problem in problems]
    columns[_HINT] = [problem and problem.hint for problem in problems]
    columns[_STAMP] = _stamps([plan.paths[row] for row in rows])
    text = dict.fromkeys((_PROBLEM, _HINT, _STAMP), pl.String)
    frame = pl.DataFrame({**columns, "row": rows}, schema_overrides={**text, "row": pl.Int64})
    return frame.sort("row").drop("row")


def _no_number(path: Path | None) -> Problem:
    return Problem(
        f"{path}: the model's answer is no number",
        "in fp16 large values overflow: --precision bf16 or fp32; if every clip is like this, "
        "the model is broken",
    )


def _write(frame: pl.DataFrame, path: Path, format: str) -> None:
    try:
        write_atomically(path, lambda place: write_table(frame, place, format))
    except pl.exceptions.PolarsError as error:
        # polars says so of a disk that is full.
        raise CfbenchError(
            f"{path}: cannot be written: {str(error).splitlines()[0]}",
            "make room; then run again: what was predicted before is kept",
        ) from None


def answered_columns(task_id: str) -> dict[str, int]:
    """The columns of a predictions file that a model fills for a task, and each one's class."""
    task = load_tasks()[task_id]
    return {name: task.columns.index(name) for name in task.score_columns}
