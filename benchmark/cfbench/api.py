"""`cfbench.score`: the same as `cfbench score`, from Python, on paths or frames."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl

from cfbench.alignment import align
from cfbench.content import DEFAULT_TRACK
from cfbench.errors import CfbenchError, Problem
from cfbench.predictions import Predictions, inspect_predictions
from cfbench.predictions import read_predictions as _read_predictions
from cfbench.protocol import Protocol, shipped_protocol
from cfbench.protocol import read_protocol as _read_protocol
from cfbench.scorecard import Scorecard
from cfbench.scoring import score as _score
from cfbench.tables import missing_file
from cfbench.tasks import Task, Track, find_track, pick_tasks

MOST_RESAMPLES = 100_000
PROTOCOLS_VARIABLE = "CFBENCH_PROTOCOLS"
"""The environment variable that names the folder of a track's lists."""


def read_protocol(
    protocol: str | Path | pl.DataFrame | Any | None = None, track: str | Track = DEFAULT_TRACK
) -> Protocol:
    """Read a protocol.

    Args:
        protocol: A list, a folder of lists, or a frame (polars, or whatever polars can convert,
            such as pandas); None for the one that the track ships, or else the folder that
            CFBENCH_PROTOCOLS names.
        track: The name of a track, the path of a track file, or a track.

    Raises:
        CfbenchError: It cannot be found or read; names files, lines and ids.
    """
    track = _track(track)
    found = find_protocol(protocol, track)
    if found is not None:
        return found
    raise CfbenchError(
        f"the protocol of {track.name} is not shipped with cfbench",
        f"give --protocol FILE-OR-FOLDER, or set {PROTOCOLS_VARIABLE}"
        + (f"; {track.obtain}" if track.obtain else ""),
    )


def find_protocol(protocol: Any | None, track: Track) -> Protocol | None:
    """As `read_protocol`, but None where none is given, shipped or named by CFBENCH_PROTOCOLS."""
    if protocol is not None:
        return _read_protocol(_as_source(protocol), track)
    shipped = shipped_protocol(track)
    if shipped is not None:
        return shipped
    folder = protocol_folder(None)
    return _read_protocol(folder, track) if folder else None


def protocol_folder(protocol: Path | None) -> Path | None:
    """The folder in which lists are looked for: as given, or as CFBENCH_PROTOCOLS names it."""
    if protocol is not None:
        return protocol if protocol.is_dir() else protocol.parent
    folder = os.environ.get(PROTOCOLS_VARIABLE)
    return Path(folder) if folder else None


def read_predictions(
    predictions: str | Path | pl.DataFrame | Any,
    format: str = "auto",
    logits: bool = False,
    tasks: Sequence[str] | None = None,
    track: str | Track = DEFAULT_TRACK,
) -> Predictions:
    """Read predictions and check all that can be checked without the protocol.

    Args:
        predictions: A file, a folder of the authors' score files, or a frame.
        format: "csv", "tsv", "parquet", "jsonl", "authors", or "auto": by name.
        logits: The numbers are logits, not probabilities.
        tasks: Ids or names of the tasks to read; None for all that are answered.
        track: The track whose tasks they may answer: its name, the path of its file, or itself.

    Raises:
        CfbenchError: All problems at once.
    """
    track = _track(track)
    return _read_predictions(_as_source(predictions), format, logits, _tasks(tasks, track), track)


def score(
    predictions: str | Path | pl.DataFrame | Predictions | Any,
    protocol: str | Path | pl.DataFrame | Protocol | Any | None = None,
    *,
    track: str | Track = DEFAULT_TRACK,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    format: str = "auto",
    logits: bool = False,
    allow_missing: bool = False,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Scorecard:
    """Score predictions.

    Args:
        predictions: A file, a folder of the authors' score files, or a frame.
        protocol: A list, a folder of lists, or a frame; see `read_protocol`.
        track: The name of a track, or the path of a track file.
        splits: Which splits to score; None for all that the track scores.
        tasks: Ids or names of the tasks to score; None for all that are answered.
        format: Of the predictions: "csv", "tsv", "parquet", "jsonl", "authors" or "auto".
        logits: The numbers are logits, not probabilities.
        allow_missing: Score utterances without a prediction as wrong.
        bootstrap: Resamples for intervals; 0 leaves intervals out.
        seed: Of the resamples.

    Returns:
        The scorecard; `to_json` gives its canonical bytes.

    Raises:
        CfbenchError: All problems of the predictions at once.
    """
    for name, number in (("bootstrap", bootstrap), ("seed", seed)):
        if not isinstance(number, int) or number < 0:
            raise CfbenchError(f"{name} is {number!r}", "give a whole number from 0 on")
    if bootstrap > MOST_RESAMPLES:
        raise CfbenchError(f"bootstrap is {bootstrap:,}", f"at most {MOST_RESAMPLES:,}")
    if isinstance(splits, str):
        splits = [splits]
    said, known = read_both(
        predictions, protocol, track, splits, tasks, format, logits, allow_missing
    )
    return _score(said, known, splits, allow_missing, bootstrap, seed)


def read_both(
    predictions: str | Path | pl.DataFrame | Predictions | Any,
    protocol: str | Path | pl.DataFrame | Protocol | Any | None = None,
    track: str | Track = DEFAULT_TRACK,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    format: str = "auto",
    logits: bool = False,
    allow_missing: bool = False,
) -> tuple[Predictions, Protocol]:
    """Read predictions and protocol, side by side; arguments as for `score`.

    Raises:
        CfbenchError: All problems of the predictions at once.
    """
    if isinstance(predictions, Predictions) and (tasks is not None or logits or format != "auto"):
        raise CfbenchError(
            "the predictions are read already", "give tasks, logits and format to read_predictions"
        )
    if splits is not None and not splits:
        raise CfbenchError("splits names nothing", "give None for all that the track scores")
    if isinstance(predictions, str | Path) and not Path(predictions).exists():
        raise missing_file(Path(predictions))
    problems: list[Problem] = []
    asking = protocol.track if isinstance(protocol, Protocol) else _track(track)
    wanted = _tasks(tasks, asking)
    # Reading does not hold the interpreter.
    with ThreadPoolExecutor(max_workers=1) as beside:
        reading = beside.submit(_protocol, protocol, asking)
        if not isinstance(predictions, Predictions):
            source = _as_source(predictions)
            predictions, problems = inspect_predictions(source, format, logits, wanted, asking)
        known = reading.result()
    if problems:
        # Those of the ids are reported with them, not in a second run.
        problems += _id_problems(predictions, known, splits, allow_missing)
        raise CfbenchError.of(problems)
    return predictions, known


def check(
    predictions: str | Path | pl.DataFrame | Any,
    protocol: Protocol | None,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    format: str = "auto",
    logits: bool = False,
    allow_missing: bool = False,
    track: str | Track = DEFAULT_TRACK,
) -> tuple[Predictions, list[Problem]]:
    """Read predictions and find all problems of values and, given a protocol, of ids.

    Which tasks they may answer is told by the protocol's track, or else by `track`.

    Raises:
        CfbenchError: The file is no table of predictions at all.
    """
    track = _track(track) if protocol is None else protocol.track
    found, problems = inspect_predictions(
        _as_source(predictions), format, logits, _tasks(tasks, track), track
    )
    if protocol is not None:
        problems += _id_problems(found, protocol, splits, allow_missing)
    return found, problems


def _track(track: str | Track) -> Track:
    return track if isinstance(track, Track) else find_track(os.fspath(track))


def _protocol(protocol: Any, track: Track) -> Protocol:
    return protocol if isinstance(protocol, Protocol) else read_protocol(protocol, track)


def _id_problems(
    predictions: Predictions,
    protocol: Protocol,
    splits: Sequence[str] | None,
    allow_missing: bool,
) -> tuple[Problem, ...]:
    scored = protocol.only(splits or protocol.scored).splits
    return align(predictions, protocol, scored, allow_missing).problems


def _tasks(names: Sequence[str] | None, track: Track) -> list[Task] | None:
    if names is None:
        return None
    return pick_tasks([names] if isinstance(names, str) else names, track.known_tasks)


def _as_source(source: Any) -> str | Path | pl.DataFrame:
    if isinstance(source, str | Path | pl.DataFrame):
        return source
    try:
        return pl.DataFrame(source)
    except ImportError as error:
        raise CfbenchError(
            f"a {type(source).__name__} of {type(source).__module__} cannot be read ({error})",
            "pip install pyarrow, or give a path or a polars frame",
        ) from None
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        raise CfbenchError(
            f"a {type(source).__name__} is neither a path nor a frame ({error})",
            "give a path, or a frame of polars, pandas or Arrow",
        ) from None
