"""A track's clips as a dataset of Hugging Face's `datasets`, and a row of it as samples.

`datasets` comes with `pip install 'cfbench[data]'`, and is imported when a dataset is asked for.
"""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.audio import WINDOW, fit_window, read_speech
from cfbench.content import EMBEDDED_TRACK
from cfbench.errors import CfbenchError, did_you_mean, name_some, plural
from cfbench.manifest.table import places, read_manifest, with_roots
from cfbench.protocol import Protocol
from cfbench.steps import Data, read_all
from cfbench.tasks import Track, find_track

if TYPE_CHECKING:
    import datasets

_MOST_SHARDS = 16
"""Into how many parts a stream is cut at most, which processes that load can share."""


@overload
def load_dataset(
    track: str | Track = ...,
    split: str = ...,
    *,
    held_back: bool = ...,
    audio: str | Path | Sequence[str | Path] | None = ...,
    protocol: str | Path | None = ...,
    manifest: str | Path | None = ...,
    streaming: Literal[False] = ...,
) -> "datasets.Dataset": ...


@overload
def load_dataset(
    track: str | Track = ...,
    split: str = ...,
    *,
    held_back: bool = ...,
    audio: str | Path | Sequence[str | Path] | None = ...,
    protocol: str | Path | None = ...,
    manifest: str | Path | None = ...,
    streaming: Literal[True],
) -> "datasets.IterableDataset": ...


def load_dataset(
    track: str | Track = EMBEDDED_TRACK,
    split: str = "id",
    *,
    held_back: bool = False,
    audio: str | Path | Sequence[str | Path] | None = None,
    protocol: str | Path | None = None,
    manifest: str | Path | None = None,
    streaming: bool = False,
) -> "datasets.Dataset | datasets.IterableDataset":
    """A split of a track as a dataset.

    Args:
        track: The name of a track, the path of a track file, or a track.
        split: One of its splits: "train", "dev", "id", "ood".
        held_back: Whether utterances are there whose labels are held back; their labels, speaker,
            source and group are None.
        audio: Folders below which the clips are; None for the clips that the track ships, which
            are unpacked first. Beside a manifest: where the folders are by now that were indexed.
        protocol: A list or a folder of lists; None for what the track ships, or what the manifest
            says.
        manifest: What `cfbench data index` has written: no folder is looked through.
        streaming: Whether to return an `IterableDataset`.

    Returns:
        A row an utterance, sorted by utt_id: utt_id, audio (a path on the disk, not decoded: see
        `read_audio` and `Windows`), speaker, source, group, and for each task of the track its
        class.

    Raises:
        CfbenchError: `datasets` is not installed, the track has no such split, or clips are
            missing or broken.
    """
    if not find_spec("datasets"):
        raise CfbenchError(
            "load_dataset needs datasets, which scoring does not", "pip install 'cfbench[data]'"
        )
    import datasets

    track = track if isinstance(track, Track) else find_track(os.fspath(track))
    rows = find_rows(track, split, held_back, audio, protocol, manifest)
    columns = [
        pl.col("utt_id"),
        pl.struct(bytes=pl.lit(None, pl.Binary), path=pl.col("file")).alias("audio"),
        *(pl.col(name) for name in ("speaker", "source", "group")),
        *(class_codes(track, task_id) for task_id in track.tasks),
    ]
    frame = rows.select(columns)
    # A million dictionaries of Python would take a gigabyte.
    table = frame.to_arrow().cast(features_of(track).arrow_schema)
    dataset = datasets.Dataset(datasets.table.InMemoryTable(table), split=datasets.Split(split))
    if not streaming:
        return dataset
    return dataset.to_iterable_dataset(num_shards=min(_MOST_SHARDS, len(dataset)))


def features_of(track: Track) -> "datasets.Features":
    """The features of a dataset of a track's clips."""
    import datasets

    features: dict[str, Any] = {
        "utt_id": datasets.Value("string"),
        # Not decoded: else it would ask for torchcodec, which nothing here needs.
        "audio": datasets.Audio(decode=False),
    }
    for name in ("speaker", "source", "group"):
        features[name] = datasets.Value("string")
    for task_id in track.tasks:
        names = list(track.known_tasks[task_id].class_names)
        features[task_id] = datasets.ClassLabel(names=names)
    return datasets.Features(features)


def class_codes(track: Track, task_id: str) -> pl.Expr:
    """A task's classes, given as text, by number."""
    names = list(track.known_tasks[task_id].class_names)
    return pl.col(task_id).cast(pl.Enum(names)).to_physical().cast(pl.Int64)


@dataclass(frozen=True)
class Windows:
    """Decodes a batch of a dataset's rows: for `with_transform`, or `map` of a stream.

    A row becomes `input_values`, (samples,) float32 at 16 kHz, and `labels`, the class of a task.

    Attributes:
        task: Whose classes are the labels.
        samples: How long each clip is made: cut, or repeated until it fills the window.
    """

    task: str = "bin"
    samples: int = WINDOW

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """The batch with its clips decoded.

        Raises:
            CfbenchError: A clip is not there or cannot be decoded.
        """
        speech = [read_audio({"audio": audio}, self.samples) for audio in batch["audio"]]
        return {
            # A clip that fills the window is not copied once more.
            "input_values": [
                heard if len(heard) == self.samples else fit_window(heard, self.samples)
                for heard in speech
            ],
            "labels": list(batch[self.task]),
        }


def read_audio(row: Mapping[str, Any], most: int | None = None) -> NDArray[np.float32]:
    """Decode the clip of a dataset's row.

    Args:
        row: Of a dataset that `load_dataset` has made, or of shards that `cfbench data push` has.
        most: How many samples to return at most; None for all.

    Returns:
        (samples,) at 16 kHz; full scale is 1.

    Raises:
        CfbenchError: The clip is not there or cannot be decoded.
    """
    try:
        path, content = row["audio"]["path"], row["audio"].get("bytes")
    except (KeyError, TypeError, IndexError, AttributeError):
        raise CfbenchError(
            f"this is no row of a dataset of cfbench: {name_some(list(row))}",
            "give a row as load_dataset has it: read_audio(dataset[0])",
        ) from None
    if content is None:
        return read_speech(Path(path), most)
    # All that is checked of a file is checked of it too, if it is one.
    with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
        place = Path(folder) / Path(path or "clip.wav").name
        place.write_bytes(content)
        try:
            return read_speech(place, most)
        except CfbenchError as error:
            said = [p.message.replace(str(place), str(path)) for p in error.problems]
            raise CfbenchError(said[0], error.problems[0].hint) from None


def find_rows(
    track: Track,
    split: str,
    held_back: bool = False,
    audio: str | Path | Sequence[str | Path] | None = None,
    protocol: str | Path | None = None,
    manifest: str | Path | None = None,
) -> pl.DataFrame:
    """The utterances of a split, sorted, with their files; arguments as for `load_dataset`.

    Returns:
        The protocol's columns as text, and `file`.

    Raises:
        CfbenchError: The track has no such split, or clips are missing or broken.
    """
    if isinstance(audio, str | Path):
        audio = [audio]
    folders = None if audio is None else [Path(folder) for folder in audio]
    data = Data(track, folders, None if protocol is None else Path(protocol))
    if manifest is None:
        frame = _rows(read_all(data), split, held_back)
        data.unpack([split])
        found = data.find(frame["utt_id"].to_list())
        if found.missing:
            problem = data.missing(found.missing)
            raise CfbenchError(problem.message, problem.hint)
        files = [str(found.paths[utt_id]) for utt_id in frame["utt_id"]]
        return frame.with_columns(pl.Series("file", files, pl.String))
    _check_split(track, split)
    there = _of_manifest(Path(manifest), track, folders, split, held_back)
    if protocol is None:
        return there
    wanted = _rows(read_all(data), split, held_back)
    lacking = wanted.join(there, on="utt_id", how="anti")["utt_id"]
    if len(lacking):
        raise _lacks(Path(manifest), split, len(lacking), wanted.height, lacking)
    return wanted.join(there.select("utt_id", "file"), on="utt_id", how="left").sort("utt_id")


def _of_manifest(
    path: Path, track: Track, folders: Sequence[Path] | None, split: str, held_back: bool
) -> pl.DataFrame:
    """The rows of a split that a manifest has, once they are found to be all and sound."""
    manifest = with_roots(read_manifest(path), folders)
    made_for = manifest.said.get("track")
    lacking = [name for name in track.tasks if name not in manifest.frame.columns]
    if made_for not in (None, track.name) or lacking:
        raise CfbenchError(
            f"{path}: made for the track {made_for}"
            + (f", without the tasks {name_some(lacking)}" if lacking else f", not {track.name}"),
            f"cfbench data index --track {track.name} makes it anew",
        )
    rows = manifest.frame.filter(pl.col("split") == split)
    promised = manifest.said.get("splits", {}).get(split, 0)
    if not rows.height:
        raise CfbenchError(
            f"{path}: has no utterances of split '{split}'",
            f"it has {', '.join(sorted(manifest.frame['split'].drop_nulls().unique()))}",
        )
    twice = rows.filter(pl.col("utt_id").is_duplicated())["utt_id"].unique().sort()
    if len(twice):
        raise CfbenchError(
            f"{path}: {plural(len(twice), 'utterance has|utterances have')} more than one file: "
            f"{name_some(twice.head(5).to_list(), len(twice))}",
            "keep one file an utterance, and index again",
        )
    if rows.height < promised:
        raise _lacks(path, split, promised - rows.height, promised)
    broken = rows.filter(pl.col("problem").is_not_null()).sort("utt_id")
    if broken.height:
        named = [f"{u} ({p})" for u, p in broken.head(5).select("utt_id", "problem").iter_rows()]
        raise CfbenchError(
            f"{path}: {plural(broken.height, 'clip is|clips are')} broken: "
            f"{name_some(named, broken.height)}",
            "fetch them again, and index again",
        )
    rows = rows.with_columns(places(rows, manifest.roots).alias("file")).sort("utt_id")
    return rows if held_back else rows.filter(pl.col("source").is_not_null())


def _lacks(
    path: Path, split: str, count: int, of: int, named: pl.Series | None = None
) -> CfbenchError:
    who = "" if named is None else f": {name_some(named.head(5).to_list(), count)}"
    return CfbenchError(
        f"{path}: lacks {count:,} of {plural(of, 'utterance')} of split '{split}'{who}",
        "cfbench data index says which; unpack them, and index again",
    )


def _check_split(track: Track, split: str) -> None:
    if split not in track.splits:
        raise CfbenchError(
            f"{track.name} has no split '{split}'{did_you_mean(split, list(track.splits))}",
            f"its splits are {', '.join(track.splits)}",
        )


def _rows(protocol: Protocol, split: str, held_back: bool) -> pl.DataFrame:
    _check_split(protocol.track, split)
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
