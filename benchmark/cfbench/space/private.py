"""What is held back: labels that only the host has, and results on them until their day has come.

The private repository has `hidden/`, a table of the labels; `protocol/`, the lists of a track that
does not ship its own; `track.toml`, where the track is the host's own; and `private/`, a file a
system and predictions, written by the app.
"""

import base64
import datetime
import json
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, ValidationError

import cfbench
from cfbench import api
from cfbench.errors import CfbenchError, name_some, plural
from cfbench.files import write_bytes
from cfbench.leaderboard.entries import Entry
from cfbench.leaderboard.ranking import Board, Listed, rank
from cfbench.leaderboard.results import Result, result_of
from cfbench.pairing import Key, Replicated
from cfbench.protocol import Protocol
from cfbench.review import own_protocols
from cfbench.space.settings import Settings
from cfbench.tasks import Track, find_track
from cfbench.verification import Scored

RESULTS = "private"
"""The folder of results, in the private repository and in the folder for state."""

_HIDDEN = "hidden"
_LISTS = "protocol"
_log = logging.getLogger(__name__)

Score = Callable[[Listed, Protocol], Scored]
"""Scores the predictions of an entry of the leaderboard."""


class Record(BaseModel):
    """A system's result on what is held back.

    Attributes:
        slug: The entry.
        predictions: SHA-256 of what was scored.
        keys: Task, split and metric of each column of the replicates.
        point: The values of these columns; null where not defined.
        rows: How many replicates.
        samples: The replicates, float32, little endian, row by row, in base64.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    schema_version: Literal["1"] = "1"
    slug: str
    predictions: str
    cfbench_version: str
    result: Result
    keys: tuple[tuple[str, str, str], ...]
    point: tuple[float | None, ...]
    rows: int
    samples: str

    def replicates(self) -> Replicated | None:
        """What systems are compared by; None where it is not whole."""
        try:
            raw = np.frombuffer(base64.b64decode(self.samples, validate=True), "<f4")
            samples = raw.reshape(self.rows, len(self.keys))
        except ValueError:
            return None
        point = np.array([np.nan if value is None else value for value in self.point])
        return Replicated(tuple(Key(*key) for key in self.keys), point, samples)


def place_of(slug: str, predictions: str) -> str:
    """Where a result is kept. It is a function of the predictions, and so is its name.

    A name that others could write too would let them replace it.
    """
    return f"{RESULTS}/{slug}/{predictions}.json"


def make_record(slug: str, predictions: str, scored: Scored) -> Record:
    """A result to keep.

    Args:
        slug: The entry.
        predictions: SHA-256 of its predictions.
        scored: What they give.
    """
    replicates = scored.replicates
    return Record(
        slug=slug,
        predictions=predictions,
        cfbench_version=cfbench.__version__,
        result=result_of(scored.card),
        keys=tuple(tuple(key) for key in replicates.keys),
        point=tuple(None if np.isnan(value) else float(value) for value in replicates.point),
        rows=len(replicates.samples),
        samples=base64.b64encode(replicates.samples.astype("<f4").tobytes()).decode(),
    )


class Private:
    """What is held back, as far as this host has it.

    Args:
        settings: Say where.

    Attributes:
        track: The track's name, or its file on this machine.
        public: The public protocol.
        protocol: That of what is held back; None where nothing is, or this host has no labels.

    Raises:
        CfbenchError: The labels are not those of the track, or cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept = settings.state / RESULTS
        self._copy = settings.state / "private-copy"
        self._lock = threading.Lock()
        self.refresh()
        self.track = settings.track
        if settings.private is not None and settings.track.endswith(".toml"):
            self.track = str(self._copy / settings.track)
        self.public = self._public()
        self.protocol = self._protocol()

    def refresh(self) -> None:
        """Look at the private repository anew."""
        if self._settings.private is None:
            return
        from cfbench.hub.copies import read_tree

        with self._lock:
            read_tree(self._settings.private, "", self._copy)

    def save(self, record: Record) -> None:
        """Keep a result, here and in the private repository.

        What cannot be sent now is sent by `flush`.
        """
        path = self._settings.state / place_of(record.slug, record.predictions)
        path.parent.mkdir(parents=True, exist_ok=True)
        content = json.dumps(record.model_dump(mode="json"), sort_keys=True) + "\n"
        write_bytes(path, content.encode())
        try:
            self.flush()
        except CfbenchError as error:
            _log.warning("a private result waits to be stored: %s", error)

    def flush(self) -> None:
        """Send the private repository what it does not have.

        Raises:
            CfbenchError: It cannot be sent.
        """
        if self._settings.private is None:
            return
        from cfbench.hub.repos import publish

        with self._lock:
            there = {
                path.relative_to(self._settings.state).as_posix(): path
                for path in sorted(self._kept.glob("*/*.json"))
            }
            lacking = {at: path for at, path in there.items() if not (self._copy / at).is_file()}
            if lacking:
                publish(
                    self._settings.private,
                    lacking,
                    message=f"Results of {plural(len(lacking), 'system')}",
                    pull_request=False,
                )
                for at, path in lacking.items():
                    (self._copy / at).parent.mkdir(parents=True, exist_ok=True)
                    write_bytes(self._copy / at, path.read_bytes())

    def find(self, slug: str, predictions: str) -> Record | None:
        """A result that was kept."""
        for folder in (self._settings.state, self._copy):
            try:
                content = (folder / place_of(slug, predictions)).read_bytes()
                record = Record.model_validate_json(content)
            except (OSError, ValidationError):
                continue
            current = self.protocol is None or record.result.protocol == dict(self.protocol.digests)
            if (record.slug, record.predictions) == (slug, predictions) and current:
                return record
        return None

    def is_due(self, today: datetime.date) -> bool:
        """Whether the day has come from which results are shown."""
        day = self._settings.reveal
        return self.protocol is not None and day is not None and today >= day

    def reveal(self, board: Board, today: datetime.date, score: Score) -> Board | None:
        """The results on what was held back, as a board of their own, once their day has come.

        Only systems of the public leaderboard are in it. Those that came another way than through
        this app are scored now.

        Args:
            board: The public leaderboard.
            today: The day in UTC.
            score: Scores an entry's predictions.

        Returns:
            The board; None before the day, or where nothing is held back.
        """
        protocol = self.protocol
        if protocol is None or not self.is_due(today):
            return None
        entries = []
        for slug, listed in board.systems.items():
            if listed.status != "verified":
                continue
            digest = listed.submission.predictions.sha256
            record = self.find(slug, digest)
            if record is None:
                try:
                    self.save(make_record(slug, digest, score(listed, protocol)))
                except CfbenchError as error:
                    _log.warning("%s has no private result: %s", slug, error)
                    continue
                record = self.find(slug, digest)
            if record is not None:
                entries.append(
                    Entry(listed.submission, record.result, "verified", record.replicates())
                )
        if not entries:
            return None
        return rank(entries, [], private_track(protocol))

    def _public(self) -> Protocol:
        track = find_track(self.track)
        lists = self._settings.protocol
        if lists is None and (self._copy / _LISTS).is_dir():
            lists = self._copy / _LISTS
        return own_protocols(self.track, lists)(track.name)

    def _protocol(self) -> Protocol | None:
        path = self._settings.hidden
        if path is None:
            folder = self._copy / _HIDDEN
            tables = sorted(folder.iterdir()) if folder.is_dir() else []
            if len(tables) > 1:
                named = name_some([table.name for table in tables])
                raise CfbenchError(f"{_HIDDEN}/ of the private repository has {named}", "one table")
            path = tables[0] if tables else None
        if path is None:
            return None
        return hidden_protocol(path, self.public)


def hidden_protocol(path: Path, public: Protocol) -> Protocol:
    """The protocol of what is held back: what is public may be answered, and is not scored.

    Args:
        path: A table with the labels of every utterance that is held back; others are left aside.
        public: The track's public protocol.

    Raises:
        CfbenchError: Nothing is held back, or labels are lacking.
    """
    track = public.track
    if public.held_back.is_empty():
        raise CfbenchError(
            f"{path.name}: {track.name} holds nothing back",
            "a track with hidden labels names their utterances: held_back in its file",
        )
    whole = api.read_protocol(path, track).frame
    frame = whole.join(public.held_back, on="utt_id", how="semi").sort("utt_id")
    lacking = public.held_back.join(frame, on="utt_id", how="anti")["utt_id"]
    if len(lacking):
        raise CfbenchError(
            f"{path.name}: no labels of {plural(len(lacking), 'utterance')} that {track.name} "
            f"holds back: {name_some(lacking.head(5).to_list(), len(lacking))}",
            "give the labels of all of them",
        )
    answered = public.frame.select("utt_id", pl.col("split").cast(pl.String)).sort("utt_id")
    return Protocol(track, frame, (path.name,), (), answered)


def private_track(protocol: Protocol) -> Track:
    """The track as a board of what was held back has it."""
    track = protocol.track
    return track.model_copy(
        update={"title": f"{track.title}, held-back part", "scored": tuple(protocol.scored)}
    )
