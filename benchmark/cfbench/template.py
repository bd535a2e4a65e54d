"""Writes predictions files: every utterance of a protocol, and columns to fill in."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from cfbench.errors import CfbenchError
from cfbench.files import write_atomically
from cfbench.protocol import Protocol
from cfbench.tables import table_format, write_table
from cfbench.tasks import pick_tasks


def write_template(
    protocol: Protocol,
    path: Path,
    splits: Sequence[str] | None = None,
    tasks: Sequence[str] | None = None,
    labels: bool = False,
    force: bool = False,
) -> int:
    """Write a template.

    Args:
        protocol: Whose utterances.
        path: Its suffix decides the format.
        splits: Which; None for those that the track scores.
        tasks: Which; None for all of the track.
        labels: A column of labels a task instead of a probability a class.
        force: Replace a file that is there.

    Returns:
        How many rows were written.

    Raises:
        CfbenchError: The file is there already, or cannot be written.
    """
    _check(path, force)
    track = protocol.track
    asked = protocol.only(splits or protocol.scored)
    wanted = pick_tasks(tasks or track.tasks, track.known_tasks)
    for task in wanted:
        if task.id not in track.tasks:
            raise CfbenchError(
                f"{track.name} does not ask {task.id}", f"it asks {', '.join(track.tasks)}"
            )
    columns = [
        pl.lit(None, pl.String if labels else pl.Float64).alias(name)
        for task in wanted
        for name in ((task.label_column,) if labels else task.score_columns)
    ]
    frame = pl.DataFrame({"utt_id": asked.answerable()}).with_columns(*columns)
    write_filled(frame, path, force)
    return frame.height


def write_filled(frame: pl.DataFrame, path: Path, force: bool = False) -> None:
    """Write a table of predictions.

    Args:
        frame: utt_id and answers.
        path: Its suffix decides the format.
        force: Replace a file that is there.

    Raises:
        CfbenchError: The file is there already, or cannot be written.
    """
    _check(path, force)
    write_atomically(path, lambda place: write_table(frame, place, table_format(path)))


def _check(path: Path, force: bool) -> None:
    table_format(path)
    if path.suffix in (".gz", ".zst"):
        raise CfbenchError(f"{path}: a template is not compressed", "compress it when it is filled")
    if path.exists() and not force:
        raise CfbenchError(f"{path}: is there already", "--force replaces it")
