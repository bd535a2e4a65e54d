"""A track's clips as a dataset of Hugging Face's `datasets`, and a row of it as samples.

`datasets` comes with `pip install 'cfbench[data]'`, and is imported when a dataset is asked for.
"""

import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.audio import read_speech
from cfbench.content import EMBEDDED_TRACK
from cfbench.errors import CfbenchError, did_you_mean, name_some
from cfbench.protocol import Protocol
from cfbench.steps import Data, read_all
from cfbench.tasks import Track, find_track

if TYPE_CHECKING:
    import datasets


def load_dataset(
    track: str | Track = EMBEDDED_TRACK,
    split: str = "id",
    *,
    held_back: bool = False,
    audio: str | Path | Sequence[str | Path] | None = None,
    protocol: str | Path | None = None,
) -> "datasets.Dataset":
    """A split of a track as a dataset.

    Args:
        track: The name of a track, the path of a track file, or a track.
        split: One of its splits: "train", "dev", "id", "ood".
        held_back: Whether utterances are there whose labels are held back; their labels, speaker,
            source and group are None.
        audio: Folders below which the clips are; None for the clips that the track ships, which
            are unpacked first.
        protocol: A list or a folder of lists; None for what the track ships.

    Returns:
        A row an utterance, sorted by utt_id: utt_id, audio (a path on the disk, not decoded: see
        `read_audio`), speaker, source, group, and for each task of the track its class.

    Raises:
        CfbenchError: `datasets` is not installed, the track has no such split, or clips are
            missing.
    """
    if not find_spec("datasets"):
        raise CfbenchError(
            "load_dataset needs datasets, which scoring does not", "pip install 'cfbench[data]'"
        )
    import datasets

    track = track if isinstance(track, Track) else find_track(os.fspath(track))
    if isinstance(audio, str | Path):
        audio = [audio]
    folders = None if audio is None else [Path(folder) for folder in audio]
    data = Data(track, folders, None if protocol is None else Path(protocol))
    frame = _rows(read_all(data), split, held_back)
    data.unpack([split])
    found = data.find(frame["utt_id"].to_list())
    if found.missing:
        problem = data.missing(found.missing)
        raise CfbenchError(problem.message, problem.hint)
    columns: dict[str, list[Any]] = {
        "utt_id": frame["utt_id"].to_list(),
        "audio": [{"path": str(found.paths[u]), "bytes": None} for u in frame["utt_id"]],
        **{name: frame[name].to_list() for name in ("speaker", "source", "group")},
        **{task_id: frame[task_id].to_list() for task_id in track.tasks},
    }
    features: dict[str, Any] = {
        "utt_id": datasets.Value("string"),
        # What Audio holds; as Audio, a path would ask for torchcodec, which nothing here needs.
        "audio": {"path": datasets.Value("string"), "bytes": datasets.Value("binary")},
        **{name: datasets.Value("string") for name in ("speaker", "source", "group")},
        **{
            task_id: datasets.ClassLabel(names=list(track.known_tasks[task_id].class_names))
            for task_id in track.tasks
        },
    }
    dataset = datasets.Dataset.from_dict(columns, datasets.Features(features), split=split)
    return dataset.cast_column("audio", datasets.Audio(decode=False))


def read_audio(row: Mapping[str, Any]) -> NDArray[np.float32]:
    """Decode the clip of a dataset's row.

    Args:
        row: Of a dataset that `load_dataset` has made.

    Returns:
        (samples,) at 16 kHz; full scale is 1.

    Raises:
        CfbenchError: The clip is not there or cannot be decoded.
    """
    try:
        path = row["audio"]["path"]
    except (KeyError, TypeError, IndexError):
        raise CfbenchError(
            f"this is no row of a dataset of cfbench: {name_some(list(row))}",
            "give a row as load_dataset has it: read_audio(dataset[0])",
        ) from None
    return read_speech(Path(path))


def _rows(protocol: Protocol, split: str, held_back: bool) -> pl.DataFrame:
    known = protocol.track.splits
    if split not in known:
        raise CfbenchError(
            f"{protocol.track.name} has no split '{split}'{did_you_mean(split, list(known))}",
            f"its splits are {', '.join(known)}",
        )
    frame = protocol.frame.filter(pl.col("split") == split).with_columns(pl.col("split").cast(str))
    if held_back:
        hidden = protocol.held_back.filter(pl.col("split") == split)
        frame = pl.concat([frame, hidden], how="diagonal")
    if not frame.height:
        raise CfbenchError(
            f"{protocol.track.name}: the protocol has no utterances of split '{split}'",
            f"it has {', '.join(protocol.splits)}",
        )
    return frame.sort("utt_id")
