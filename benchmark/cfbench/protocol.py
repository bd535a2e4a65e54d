"""Who the utterances are and what is true of them.

A protocol is one frame with a row an utterance, whatever list it was read from:

| column | type | meaning |
| --- | --- | --- |
| utt_id | String | unique within the track |
| split | Enum | "train", "dev", "id", "ood" |
| subset | String | a named part of the split; null where the split has none |
| source | String | the codec or generator that made it; the origin corpus of bona fide speech |
| group | String | what is resampled for intervals: source utterance or generator |
| bin, vq, aux, dec | Enum | the true class; null where the track does not have the task |
| each task of the track's own | Enum | the same; null too where a partial task is not asked |
| speaker | String | null where it is not known |
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from cfbench import content, protocol_lists
from cfbench.errors import CfbenchError, Problem, did_you_mean, name_some, plural
from cfbench.tables import FORMATS, Table, column_bytes, frame_table, missing_file, read_table
from cfbench.tasks import BASE_COLUMNS, TASK_IDS, Track

COLUMNS = (*BASE_COLUMNS[:-1], *TASK_IDS, BASE_COLUMNS[-1])
"""The columns of a protocol whose track brings no tasks of its own."""

_CONTROL = r"[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]"
_REQUIRED = ("utt_id", "split", "source", "group")


@dataclass(frozen=True, eq=False)
class Protocol:
    """The utterances of a track, or of some of its splits.

    Attributes:
        track: The track that it belongs to.
        frame: See the module's table; sorted by utt_id.
        files: The lists that it was read from.
        notes: What was done that a reader should know.
        held_back: utt_id and split of the track's utterances whose labels are not public, sorted
            by utt_id: they may be answered, and are not scored.
    """

    track: Track
    frame: pl.DataFrame
    files: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    held_back: pl.DataFrame = field(
        default_factory=lambda: pl.DataFrame(schema={"utt_id": pl.String, "split": pl.String})
    )

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits that have utterances, in the track's order."""
        there = set(self.frame["split"].unique().to_list())
        return tuple(name for name in self.track.splits if name in there)

    @property
    def scored(self) -> list[str]:
        """Those of its splits that the track scores, in the track's order."""
        return [name for name in self.track.scored if name in self.splits]

    @cached_property
    def digests(self) -> Mapping[str, str]:
        """A SHA-256 of each split's utterances and truth, independent of the order of rows."""
        # Speakers do not bear on a score, and the lists differ in whether they name them.
        names = ["utt_id", "subset", "source", "group", *self.track.known_tasks]
        return {name: _digest(self.split(name), names) for name in self.splits}

    def split(self, name: str) -> pl.DataFrame:
        """The rows of one split, sorted by utt_id."""
        if len(self.splits) == 1 and name == self.splits[0]:
            return self.frame
        return self.frame.filter(pl.col("split") == name)

    def only(self, splits: Sequence[str]) -> "Protocol":
        """The protocol of some splits.

        Raises:
            CfbenchError: A split has no utterances here.
        """
        for name in splits:
            if name not in self.splits:
                raise CfbenchError(
                    f"the protocol has no utterances of split '{name}'"
                    f"{did_you_mean(name, self.splits)}",
                    f"it has {', '.join(self.splits)}",
                )
        if set(splits) == set(self.splits):
            return self
        asked = pl.col("split").is_in(list(splits))
        return replace(self, frame=self.frame.filter(asked), held_back=self.held_back.filter(asked))

    def answerable(self) -> list[str]:
        """The ids of all utterances that a system may answer, sorted: scored or held back."""
        return sorted([*self.frame["utt_id"], *self.held_back["utt_id"]])


def columns(track: Track) -> tuple[str, ...]:
    """The columns of a protocol of a track: a column a task that it knows, asked or not."""
    return (*BASE_COLUMNS[:-1], *track.known_tasks, BASE_COLUMNS[-1])


@dataclass(frozen=True, eq=False)
class _Part:
    """The rows of one list or table; `where` says in which lines some of them stand."""

    name: str
    frame: pl.DataFrame
    where: Callable[[Sequence[int]], list[str]]


def read_protocol(path: str | Path | pl.DataFrame, track: Track) -> Protocol:
    """Read a protocol.

    Args:
        path: A list in any form that the authors, the Hub or cfbench use; a folder that holds
            the track's lists (itself or one level below); or a frame with these `columns`
            (subset, speaker and the tasks that the track lacks may be absent).
        track: Decides splits and subsets.

    Raises:
        CfbenchError: Something cannot be read or is not known; names files, lines and ids.
    """
    found = _read(path, track)
    if track.held_back is None:
        return found
    # Who has the labels may score them: what the protocol knows is not held back.
    held_back = _read_held_back(track).join(found.frame, on="utt_id", how="anti")
    return replace(found, held_back=held_back.sort("utt_id"))


def _read(path: str | Path | pl.DataFrame, track: Track) -> Protocol:
    if isinstance(path, pl.DataFrame):
        return Protocol(track, _finished([_from_table(frame_table(path, _never), track)], track))
    path = Path(path)
    if not path.exists():
        raise missing_file(path)
    if not path.is_dir():
        return Protocol(track, _finished([_read_list(path, track)], track), (path.name,))
    return _read_folder(path, track)


def shipped_protocol(track: Track) -> Protocol | None:
    """The protocol of a track that ships its own, else None.

    Raises:
        CfbenchError: It is not there or cannot be read, or gives labels of utterances whose labels
            are held back.
    """
    if track.protocol is None:
        return None
    with _shipped(track, track.protocol) as path:
        found = read_protocol(path, track)
    if track.held_back is not None:
        both = _read_held_back(track).join(found.frame, on="utt_id", how="semi")["utt_id"].sort()
        if len(both):
            named = name_some(both.head(5).to_list(), len(both))
            raise CfbenchError(
                f"{track.protocol}: holds labels of {plural(len(both), 'utterance')} that "
                f"{track.held_back} says are held back: {named}",
                "an utterance stands in one of the two",
            )
    return found


@contextmanager
def _shipped(track: Track, place: str) -> Iterator[Path]:
    """A file of a track, which ships with cfbench or belongs to a track file of the user's."""
    if Path(place).is_absolute():
        yield Path(place)
        return
    try:
        with content.as_path(f"tasks/{place}") as path:
            yield path
    except FileNotFoundError:
        raise CfbenchError(
            f"this installation of cfbench lacks tasks/{place}, which the track {track.name} needs",
            "install cfbench again",
        ) from None


def _read_held_back(track: Track) -> pl.DataFrame:
    """The utterances whose labels are held back: utt_id and split, checked, in file order."""
    with _shipped(track, track.held_back or "") as path:
        table = read_table(path, _never)
    strange = sorted(set(table.frame.columns) ^ {"utt_id", "split"})
    if strange:
        raise CfbenchError(
            f"{table.name}: its columns are {name_some(table.frame.columns)}",
            "a list of utterances whose labels are held back has the columns utt_id and split",
        )
    frame = table.frame.select(pl.col("utt_id", "split").cast(pl.String))
    known = pl.col("split").is_in(list(track.splits)).fill_null(False)
    named = (pl.col("utt_id").str.strip_chars() != "").fill_null(False)
    clean = ~pl.col("utt_id").str.contains(_CONTROL).fill_null(False)
    first = pl.col("utt_id").is_first_distinct()
    for sound, told, hint in (
        (known, "an unknown split", f"the splits of {track.name}: {', '.join(track.splits)}"),
        (named & clean, "no utt_id that can be printed", "give each row its utterance's id"),
        (first, "an utt_id that stands above already", "an utterance has one row"),
    ):
        rows = frame.select((~sound).alias("bad"))["bad"].arg_true()
        if len(rows):
            places = name_some(table.where(rows.head(5).to_list()), len(rows))
            raise CfbenchError(
                f"{table.name}: {plural(len(rows), 'row')} with {told}: {places}", hint
            )
    return frame


def summarise(protocol: Protocol) -> dict[str, Any]:
    """How many utterances there are of each split, source and class, as plain data."""
    splits = {}
    for name in protocol.splits:
        frame = protocol.split(name)
        tasks = [
            task
            for task in protocol.track.known_tasks.values()
            if frame[task.id].null_count() < frame.height
        ]
        # What a source makes; the class of bona fide speech is not of its making.
        made = {
            task.id: pl.col(task.id).filter(pl.col(task.id) != "real")
            if task.kind == "tracing"
            else pl.col(task.id)
            for task in protocol.track.known_tasks.values()
            if task.id != "bin"
        }
        sources = frame.group_by("source").agg(
            pl.col("subset").first(),
            pl.len().alias("utterances"),
            (pl.col("bin") == "spoof").sum().alias("spoof"),
            (pl.col("bin") == "bonafide").sum().alias("bonafide"),
            *(classes.drop_nulls().first() for classes in made.values()),
        )
        splits[name] = {
            "utterances": frame.height,
            "groups": frame["group"].n_unique(),
            "digest": protocol.digests[name],
            "published": protocol.track.published_name(name, protocol.digests[name]),
            "classes": {
                task.id: {cls: int((frame[task.id] == cls).sum()) for cls in task.class_names}
                for task in tasks
            },
            "sources": sources.sort("source")
            .with_columns(pl.col(list(made)).cast(pl.String))
            .to_dicts(),
        }
    return {"track": protocol.track.name, "files": list(protocol.files), "splits": splits}


def _read_folder(folder: Path, track: Track) -> Protocol:
    places = _places(folder)
    parts: list[_Part] = []
    notes: list[str] = []
    for wanted in track.lists:
        path = _first_there(places, wanted.files)
        if path is None:
            continue
        whole = _read_list(path, track)
        parts.append(whole)
        for name in wanted.contains:
            contained = _first_there([path.parent], [name])
            if contained is not None:
                part = _read_list(contained, track)
                _check_contained(part, whole)
                rows = part.frame.height
                notes.append(f"{name} is part of {path.name}: {rows:,} rows, all agree")
    if not parts:
        known = [name for wanted in track.lists for name in wanted.files]
        raise CfbenchError(
            f"{folder}: holds none of the lists of {track.name}"
            + (f" ({', '.join(known)})" if known else ""),
            "give the folder that holds them, or one list",
        )
    files = tuple(Path(part.name).name for part in parts)
    return Protocol(track, _finished(parts, track), files, tuple(notes))


def find_list(folder: Path, names: Sequence[str]) -> Path | None:
    """The first of the lists `names` that is in a folder, itself or one level below, or None."""
    return _first_there(_places(folder), names) if folder.is_dir() else None


def _places(folder: Path) -> list[Path]:
    return [folder, *sorted(item for item in folder.iterdir() if item.is_dir())]


def _first_there(places: Sequence[Path], names: Sequence[str]) -> Path | None:
    paths = (place / name for name in names for place in places)
    return next((path for path in paths if path.is_file()), None)


def _check_contained(part: _Part, whole: _Part) -> None:
    alike = [name for name in part.frame.columns if name != "line"]
    strange = part.frame.join(whole.frame, on=alike, how="anti", nulls_equal=True)
    if strange.height:
        raise CfbenchError(
            f"{part.name}: {plural(strange.height, 'row contradicts|rows contradict')} "
            f"{whole.name}: " + name_some(strange["utt_id"].head(5).to_list(), strange.height),
            "the two lists are of different versions: use those of one",
        )


def _read_list(path: Path, track: Track) -> _Part:
    suffixes = [suffix.casefold().removeprefix(".") for suffix in path.suffixes]
    if set(suffixes) & set(FORMATS):
        return _from_table(read_table(path, _never), track)
    if track.own_tasks:
        own = ", ".join(task.id for task in track.own_tasks)
        raise CfbenchError(
            f"{path}: a list of CodecFake+ has no classes of {own}, which {track.name} asks",
            "give the protocol as a table: .csv, .tsv, .jsonl or .parquet",
        )
    frame = protocol_lists.read_list(path, track)
    return _Part(str(path), frame, lambda rows: [f"line {frame['line'][row]}" for row in rows])


def _never(_: str) -> bool:
    return False


def _from_table(table: Table, track: Track) -> _Part:
    frame, known_columns = table.frame, columns(track)
    problems = [
        Problem(f"{table.name}: unknown column '{name}'{did_you_mean(name, known_columns)}")
        for name in frame.columns
        if name not in known_columns
    ] + [
        Problem(f"{table.name}: the column {name} is missing")
        for name in (*_REQUIRED, *track.tasks)
        if name not in frame.columns
    ]
    if problems:
        raise CfbenchError.of(problems)
    absent = [pl.lit(None, pl.String).alias(c) for c in known_columns if c not in frame.columns]
    frame = frame.with_columns(*absent).select(pl.col(known_columns).cast(pl.String))
    partial = [task.id for task in track.asked if task.partial]
    # An empty cell says that a partial task is not asked of this utterance.
    frame = frame.with_columns(
        pl.when(pl.col(name).str.strip_chars() != "").then(pl.col(name)) for name in partial
    )
    for name in (*_REQUIRED, *(task_id for task_id in track.tasks if task_id not in partial)):
        empty = (frame[name].is_null() | (frame[name].str.strip_chars() == "")).arg_true()
        if len(empty):
            places = name_some(table.where(empty.head(5).to_list()), len(empty))
            problems.append(
                Problem(f"{table.name}: {plural(len(empty), 'value')} of {name} empty: {places}")
            )
    for name in ("utt_id", "source", "group", "subset"):
        # Such a character could make two protocols look the same, or steer a terminal.
        rows = frame[name].str.contains(_CONTROL).fill_null(False).arg_true()
        if len(rows):
            places = name_some(table.where(rows.head(5).to_list()), len(rows))
            problems.append(
                Problem(
                    f"{table.name}: {plural(len(rows), 'value')} of {name} with a control "
                    f"character: {places}",
                    "names are printable text without line breaks",
                )
            )
    known = list(track.splits)
    for name in frame["split"].drop_nulls().unique().sort():
        if name not in known:
            rows = (frame["split"] == name).arg_true()
            problems.append(
                Problem(
                    f"{table.name}, {table.where([rows[0]])[0]}: unknown split '{name}'"
                    f"{did_you_mean(name, known)}",
                    f"the splits of {track.name}: {', '.join(known)}",
                )
            )
    for task in track.asked:
        task_id = task.id
        labels = frame[task_id].drop_nulls().unique().sort().to_list()
        named = {label: task.class_index(label) for label in labels if label.strip()}
        for label, index in named.items():
            if index is None:
                rows = (frame[task_id] == label).arg_true()
                problems.append(
                    Problem(
                        f"{table.name}, {table.where([rows[0]])[0]}: unknown class '{label}' of "
                        f"{task_id}{did_you_mean(label, task.class_names)}",
                        f"the classes of {task_id}: {', '.join(task.class_names)}",
                    )
                )
        if not problems:
            names = {label: task.class_names[i] for label, i in named.items() if i is not None}
            frame = frame.with_columns(
                pl.col(task_id).replace_strict(names, return_dtype=pl.String)
            )
    if problems:
        raise CfbenchError.of(problems)
    _check_bona_fide(frame, table, track)
    if frame["subset"].null_count() == frame.height:
        frame = frame.with_columns(protocol_lists.subset_of(track))
    return _Part(table.name, frame, table.where)


def _check_bona_fide(frame: pl.DataFrame, table: Table, track: Track) -> None:
    if "bin" not in track.tasks:
        return
    for task in track.asked:
        if task.bonafide is None:
            continue
        rows = ((frame["bin"] == "bonafide") != (frame[task.id] == "real")).arg_true()
        if len(rows):
            raise CfbenchError(
                f"{table.name}: bin and {task.id} contradict each other about real and fake: "
                + name_some(table.where(rows.head(5).to_list()), len(rows))
            )


def _finished(parts: Sequence[_Part], track: Track) -> pl.DataFrame:
    """One frame of the columns, sorted by utt_id, after the ids are found to be unique."""
    names = columns(track)
    frame = pl.concat([part.frame.select(names) for part in parts]).sort("utt_id")
    twice = frame.select(pl.col("utt_id") == pl.col("utt_id").shift()).to_series()
    if twice.any():
        again = frame["utt_id"].filter(twice).unique(maintain_order=True)
        named = []
        for word in again.head(5):
            places = []
            for part in parts:
                rows = (part.frame["utt_id"] == word).arg_true().head(5).to_list()
                places += [f"{Path(part.name).name}, {place}" for place in part.where(rows)]
            named.append(f"{word} ({'; '.join(places)})")
        raise CfbenchError(
            f"{plural(len(again), 'utterance stands|utterances stand')} in the protocol twice: "
            + name_some(named, len(again), width=300),
            "an utterance has one row",
        )
    enums = {"split": pl.Enum(list(track.splits))} | {
        task.id: pl.Enum(task.class_names) for task in track.known_tasks.values()
    }
    return frame.select(
        pl.col(name).cast(enums[name]) if name in enums else pl.col(name) for name in names
    )


def _digest(frame: pl.DataFrame, names: Sequence[str]) -> str:
    """Hashes each column's name and its values, in the order of utt_id."""
    hashed = hashlib.sha256()
    for name in names:
        hashed.update(f"{name}\n".encode())
        if frame[name].null_count() < frame.height:
            hashed.update(column_bytes(frame[name]))
    return hashed.hexdigest()
