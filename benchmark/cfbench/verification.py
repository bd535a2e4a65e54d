"""Whether a submission is what it says: its predictions are fetched and scored again.

Nothing that a submission says of protocol, split, numbers of trials or dataset is relied on. The
verifier scores with its own protocol, its own settings, and in a process of its own with bounded
memory and time. docs/submissions.md has the list of attacks that it is tested against.
"""

import gzip
import hashlib
import os
import stat
import tempfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from cfbench import pairing
from cfbench.confined import confined
from cfbench.errors import CfbenchError, Problem, clip, name_some, plural
from cfbench.pairing import Replicated
from cfbench.predictions import read_predictions
from cfbench.protocol import Protocol
from cfbench.scorecard import Scorecard, parse_scorecard
from cfbench.scoring import score
from cfbench.submission import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    LARGEST_SCORECARD,
    SCORECARD,
    VERSIONS,
    Submission,
    file_names,
    parse_submission,
)

BOOTSTRAP, SEED = 1000, 0
"""How a submission's scorecard has to be made: the defaults of `cfbench score`."""

TOLERANCE = 1e-6
"""How far a claimed number may be from the one scored again: rounding on another machine."""

_CHUNK = 1 << 20
# Digits of no bearing on a result: what cfbench was called, and what it said beside the numbers.
_NOT_COMPARED = ("cfbench_version", "notes", "metrics")


@dataclass(frozen=True)
class Limits:
    """What a submission may take.

    Attributes:
        packed: Bytes of its file of predictions.
        per_utterance: Bytes of that file, unpacked, for each utterance that can be answered.
        memory: Bytes that scoring it may allocate.
        seconds: That scoring it may take.
    """

    packed: int = 256 * 2**20
    per_utterance: int = 2048
    memory: int = 4 * 2**30
    seconds: float = 300.0

    def unpacked(self, protocol: Protocol) -> int:
        """Bytes that predictions for a protocol may have when they are unpacked."""
        return 2**20 + self.per_utterance * (protocol.frame.height + protocol.held_back.height)


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was found."""

    name: str
    found: str


@dataclass(frozen=True, eq=False)
class Scored:
    """Predictions, scored by this verifier."""

    card: Scorecard
    replicates: Replicated


@dataclass(frozen=True, eq=False)
class Verification:
    """What became of a submission.

    Attributes:
        submission: What it says; None if that cannot be read.
        checks: What was in order, one after the other.
        problems: What was not; the first failing check ends the verification.
        scored: The verifier's own result; None where it did not come to that.
        digests: SHA-256 of the entry's files as they were read, by name; of the predictions as
            "predictions".
    """

    submission: Submission | None
    checks: tuple[Check, ...]
    problems: tuple[Problem, ...]
    scored: Scored | None = None
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether everything was in order."""
        return not self.problems and self.scored is not None


Fetch = Callable[[str, Path, int], Path]
"""Downloads the file at a pinned address into a folder, unless it has more bytes than allowed."""

FindProtocol = Callable[[str], Protocol]
"""The verifier's own protocol of a track, by the track's name."""


def verify(
    entry: Path, find_protocol: FindProtocol, fetch: Fetch, limits: Limits | None = None
) -> Verification:
    """Verify an entry.

    Args:
        entry: Its folder.
        find_protocol: Finds the verifier's own protocol; raises CfbenchError where there is none.
        fetch: Fetches predictions that are elsewhere.
        limits: What the submission may take.
    """
    work = _Work(entry, find_protocol, fetch, limits or Limits())
    try:
        work.run()
    except CfbenchError as error:
        return Verification(work.submission, tuple(work.checks), error.problems, None, work.digests)
    return Verification(work.submission, tuple(work.checks), (), work.scored, work.digests)


class _Work:
    """One verification, step by step; a step that fails raises."""

    def __init__(
        self, entry: Path, find_protocol: FindProtocol, fetch: Fetch, limits: Limits
    ) -> None:
        self.entry, self.find_protocol, self.fetch, self.limits = (
            entry, find_protocol, fetch, limits,
        )  # fmt: skip
        self.checks: list[Check] = []
        self.digests: dict[str, str] = {}
        self.submission: Submission | None = None
        self.scored: Scored | None = None

    def run(self) -> None:
        check_files(self.entry)
        self._passed("files", "nothing but an entry's files, no links")
        submission = self._description()
        claimed = self._scorecard(submission)
        protocol = self._protocol(submission)
        with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
            path = self._predictions(submission, protocol, Path(folder))
            scored = score_submitted(path, submission.predictions.logits, protocol, self.limits)
        card = scored.card
        told = plural(card.predictions.utterances, "utterance")
        self._passed("answers", f"{told}, each answered once, none missing")
        check_claims(claimed, card, str(self.entry / SCORECARD))
        self._passed("numbers", "all as claimed")
        self.scored = scored

    def _passed(self, name: str, found: str) -> None:
        self.checks.append(Check(name, found))

    def _description(self) -> Submission:
        path = self.entry / DESCRIPTION
        content = read_bounded(path, LARGEST_DESCRIPTION)
        submission = parse_submission(content, str(path))
        if submission.slug != self.entry.name:
            raise CfbenchError(
                f"{path}: slug is '{submission.slug}', but the folder is called "
                f"'{clip(self.entry.name)}'",
                "an entry's folder is named after its slug",
            )
        self.digests[DESCRIPTION] = hashlib.sha256(content).hexdigest()
        self.submission = submission
        self._passed("description", f"{submission.system.name}, version {submission.version}")
        return submission

    def _scorecard(self, submission: Submission) -> Scorecard:
        path = self.entry / SCORECARD
        content = read_bounded(path, LARGEST_SCORECARD)
        found = hashlib.sha256(content).hexdigest()
        if found != submission.result.scorecard:
            raise CfbenchError(
                f"{path}: its SHA-256 is {found}, but {DESCRIPTION} gives "
                f"{submission.result.scorecard}",
                "one of them was changed alone: cfbench submit writes both",
            )
        card = parse_scorecard(content, str(path))
        check_settings(card, str(path))
        self.digests[SCORECARD] = found
        self._passed("scorecard", f"schema {card.schema_version}, standard settings")
        return card

    def _protocol(self, submission: Submission) -> Protocol:
        claim = submission.result
        protocol = self.find_protocol(claim.track)
        track = protocol.track
        if claim.track != track.name or claim.track_version != track.version:
            raise CfbenchError(
                f"{self.entry}: is of {clip(claim.track)} {clip(claim.track_version)}, but this "
                f"is {track.name} {track.version}",
                "score the predictions again with this version",
            )
        lacking = [name for name in track.scored if name not in protocol.splits]
        if lacking:
            raise CfbenchError(
                f"the protocol here has no utterances of {', '.join(lacking)}",
                "give the whole protocol: a submission is scored on every split of its track",
            )
        self._passed("protocol", f"the verifier's own, of {track.name} {track.version}")
        return protocol

    def _predictions(self, submission: Submission, protocol: Protocol, folder: Path) -> Path:
        answers = submission.predictions
        limit = self.limits.packed
        if answers.is_remote:
            source = self.fetch(answers.address, folder, limit)
            suffix = suffix_of(answers.address)
        else:
            source, suffix = self.entry / answers.address, suffix_of(answers.address)
        # A copy of this process's own: what is scored is what the digest was taken of.
        copy = folder / f"copy{suffix}"
        found = _copy_bounded(source, copy, limit)
        if found != answers.sha256:
            raise CfbenchError(
                f"{clip(answers.address, 200)}: its SHA-256 is {found}, but {DESCRIPTION} gives "
                f"{answers.sha256}",
                "the file was changed, or it is another one: submit again",
            )
        self.digests["predictions"] = found
        self._passed("predictions", f"{copy.stat().st_size:,} bytes, SHA-256 as given")
        return unpacked(copy, self.limits.unpacked(protocol), clip(answers.address, 200))


def score_submitted(path: Path, logits: bool, protocol: Protocol, limits: Limits) -> Scored:
    """Score a file that somebody has sent, with the settings of submissions, in bounds.

    Raises:
        CfbenchError: All problems of the file; or it takes too much memory or time.
    """
    return confined(
        _score,
        path,
        logits,
        protocol,
        memory=limits.memory,
        seconds=limits.seconds,
        what="the predictions",
    )


def _score(path: Path, logits: bool, protocol: Protocol) -> Scored:
    most = protocol.frame.height + protocol.held_back.height
    if path.suffix == ".parquet":
        # Runs of equal values take no room in a file, however many rows they are.
        try:
            rows = pl.scan_parquet(path, glob=False).select(pl.len()).collect().item()
        except pl.exceptions.PolarsError:
            rows = 0  # the reader says what is wrong
        if rows > 2 * most + 1000:
            raise CfbenchError(
                f"the predictions: {plural(rows, 'row')}, but {most:,} utterances can be answered",
                "an utterance has one row",
            )
    predictions = read_predictions(path, logits=logits, track=protocol.track)
    card = score(predictions, protocol, None, False, BOOTSTRAP, SEED)
    answered = card.predictions.held_back
    if answered < protocol.only(protocol.scored).held_back.height:
        lacking = protocol.only(protocol.scored).held_back.join(
            predictions.frame, on="utt_id", how="anti"
        )["utt_id"]
        raise CfbenchError(
            f"the predictions: {plural(len(lacking), 'utterance')} whose labels are held back "
            f"without an answer: {name_some(lacking.head(5).to_list(), len(lacking))}",
            "a submission answers these too: cfbench template names every utterance",
        )
    return Scored(card, pairing.replicated(predictions, protocol))


def check_files(entry: Path) -> None:
    """Refuse what is no file of an entry: links, devices, strange names.

    Raises:
        CfbenchError: Names every offender.
    """
    if entry.is_symlink() or not entry.is_dir():
        raise CfbenchError(f"{entry}: no folder of a submission", "cfbench submit makes one")
    known = {DESCRIPTION, SCORECARD, *file_names()}
    problems = []
    for path in sorted(_walk(entry)):
        parts = path.relative_to(entry).parts
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            problems.append(Problem(f"{path}: a link", "an entry holds files, no links"))
        elif stat.S_ISDIR(mode):
            if parts != (VERSIONS,) and not (len(parts) == 2 and _is_version(parts)):
                problems.append(
                    Problem(f"{path}: no folder of an entry", f"only {VERSIONS}/1, ...")
                )
        elif not stat.S_ISREG(mode):
            problems.append(Problem(f"{path}: a pipe or a device", "an entry holds files"))
        elif parts[-1] not in known or not (len(parts) == 1 or _is_version(parts)):
            problems.append(
                Problem(
                    f"{clip(str(path), 200)}: no file of an entry",
                    f"an entry has {DESCRIPTION}, {SCORECARD}, one of {', '.join(file_names())}, "
                    f"and {VERSIONS}/",
                )
            )
        if len(problems) == 5:
            break
    if problems:
        raise CfbenchError.of(problems)


def _is_version(parts: tuple[str, ...]) -> bool:
    return parts[0] == VERSIONS and len(parts) in (2, 3) and parts[1].isdecimal()


def _walk(folder: Path) -> list[Path]:
    found = []
    for root, folders, files in os.walk(folder, followlinks=False):
        found += [Path(root) / name for name in (*folders, *files)]
        if len(found) > 10_000:
            raise CfbenchError(f"{folder}: more than 10,000 files", "is it one entry?")
    return found


def read_bounded(path: Path, limit: int) -> bytes:
    """The bytes of a plain file, which is no link.

    Raises:
        CfbenchError: It is not there, no plain file, or larger than `limit` bytes.
    """
    try:
        # Neither a link that was put there since it was looked at, nor a pipe that never ends.
        flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
        with os.fdopen(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise CfbenchError(f"{path}: no plain file", "an entry holds files")
            content = file.read(limit + 1)
    except FileNotFoundError:
        raise CfbenchError(f"{path}: is missing", "cfbench submit writes it") from None
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be read: {error.strerror}") from None
    if len(content) > limit:
        raise CfbenchError(f"{path}: more than {limit:,} bytes", "is it the right file?")
    return content


def suffix_of(address: str) -> str:
    """The suffix of a file of predictions, as its name or address gives it.

    Raises:
        CfbenchError: It is none that a submission may have.
    """
    for name in sorted(file_names(), key=len, reverse=True):
        suffix = name.removeprefix("predictions")
        if address.casefold().endswith(suffix):
            return suffix
    raise CfbenchError(
        f"{clip(address, 200)}: no file of predictions that a submission may have",
        f"their names end in {', '.join(n.removeprefix('predictions') for n in file_names())}",
    )


def _copy_bounded(source: Path, target: Path, limit: int) -> str:
    """Copy a file and return its SHA-256."""
    hashed, size = hashlib.sha256(), 0
    try:
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)
        with os.fdopen(os.open(source, flags), "rb") as there, target.open("wb") as here:
            while chunk := there.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise CfbenchError(
                        f"{source}: more than {limit:,} bytes", "submit a smaller file"
                    )
                hashed.update(chunk)
                here.write(chunk)
    except FileNotFoundError:
        raise CfbenchError(
            f"{source}: is missing", f"{DESCRIPTION} names it: put it there, or give its address"
        ) from None
    except OSError as error:
        raise CfbenchError(f"{source}: cannot be read: {error.strerror}") from None
    return hashed.hexdigest()


def unpacked(path: Path, limit: int, called: str) -> Path:
    """A file without its compression, which is undone no further than `limit` bytes.

    Raises:
        CfbenchError: It holds more, or is damaged.
    """
    if path.suffix != ".gz":
        if path.suffix != ".parquet" and path.stat().st_size > limit:
            raise CfbenchError(
                f"{called}: more than {limit:,} bytes", "an utterance has one row, of a few numbers"
            )
        return path
    target, size = path.with_suffix(""), 0
    try:
        with gzip.open(path, "rb") as there, target.open("wb") as here:
            while chunk := there.read(_CHUNK):
                size += len(chunk)
                if size > limit:
                    raise CfbenchError(
                        f"{called}: more than {limit:,} bytes when unpacked",
                        "an utterance has one row, of a few numbers",
                    )
                here.write(chunk)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise CfbenchError(f"{called}: damaged: {clip(str(error))}", "pack it again") from None
    return target


def check_settings(card: Scorecard, where: str) -> None:
    """Refuse a scorecard that was not made with the settings of submissions.

    Raises:
        CfbenchError: Names the settings.
    """
    settings = card.settings
    problems = []
    if settings.allow_missing:
        problems.append(
            Problem(
                f"{where}: was scored with --allow-missing",
                "a submission answers every utterance; score without it",
            )
        )
    if (settings.bootstrap, settings.seed) != (BOOTSTRAP, SEED):
        problems.append(
            Problem(
                f"{where}: was scored with --bootstrap {settings.bootstrap} --seed {settings.seed}",
                f"submissions have --bootstrap {BOOTSTRAP} --seed {SEED}, the defaults",
            )
        )
    if problems:
        raise CfbenchError.of(problems)


def check_claims(claimed: Scorecard, scored: Scorecard, where: str) -> None:
    """Compare every number of a claimed scorecard with the verifier's own.

    Raises:
        CfbenchError: Names what differs, with both values.
    """
    left = claimed.model_dump(mode="json", exclude=set(_NOT_COMPARED))
    right = scored.model_dump(mode="json", exclude=set(_NOT_COMPARED))
    differing = list(_differences("", left, right))
    if not differing:
        return
    hint = "nothing but what the predictions give is accepted: score them again, and submit that"
    if claimed.cfbench_version != scored.cfbench_version:
        hint += (
            f" (claimed with cfbench {clip(claimed.cfbench_version)}, scored with "
            f"{scored.cfbench_version})"
        )
    # What was scored comes first: where that differs, so does everything else.
    scope = ("track", "protocol", "predictions", "settings")
    differing.sort(
        key=lambda told: (not told.startswith(scope), ".overall.metrics.macro_f1" not in told)
    )
    raise CfbenchError(
        f"{where}: {plural(len(differing), 'value')} not as scored again: "
        + name_some(differing, width=160),
        hint,
    )


def _differences(at: str, claimed: Any, scored: Any) -> list[str]:
    if isinstance(claimed, dict) and isinstance(scored, dict):
        found = []
        for key in sorted(claimed.keys() | scored.keys()):
            inside = f"{at}.{key}" if at else key
            if key not in claimed or key not in scored:
                found.append(f"{inside} ({'not claimed' if key in scored else 'not scored'})")
            else:
                found += _differences(inside, claimed[key], scored[key])
        return found
    if isinstance(claimed, list) and isinstance(scored, list) and len(claimed) == len(scored):
        return [
            told
            for index, (one, two) in enumerate(zip(claimed, scored, strict=True))
            for told in _differences(f"{at}[{index}]", one, two)
        ]
    numbers = (int, float)
    if isinstance(claimed, numbers) and isinstance(scored, numbers):
        # A truth value is a number too, and equals 1.
        alike = isinstance(claimed, bool) == isinstance(scored, bool)
        if alike and abs(claimed - scored) <= (TOLERANCE if isinstance(scored, float) else 0):
            return []
    elif claimed == scored:
        return []
    return [f"{at}: claimed {clip(str(claimed), 40)}, scored {clip(str(scored), 40)}"]
