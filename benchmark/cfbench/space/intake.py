"""Takes predictions: checks and scores them at once, and makes entries of those that are sent.

Knows nothing of the web. What it keeps for those who have not sent their entry yet lies in
`reports/` of the folder for state, and is deleted after a while.
"""

import hashlib
import json
import logging
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from cfbench import api
from cfbench.confined import confined
from cfbench.errors import CfbenchError, Problem, clip, printable
from cfbench.leaderboard.ranking import Board, Listed
from cfbench.protocol import Protocol
from cfbench.review import fetch
from cfbench.scorecard import Scorecard
from cfbench.space.desk import Busy, Desk, Told
from cfbench.space.limits import Quota, today
from cfbench.space.private import Private, Record, make_record
from cfbench.space.results import Parts, Results, Sent
from cfbench.space.settings import Settings
from cfbench.submission import PREDICTIONS, SCORECARD, System
from cfbench.verification import (
    Scored,
    Verification,
    score_submitted,
    suffix_of,
    unpacked,
    verify,
)

_log = logging.getLogger(__name__)
_CHUNK = 1 << 20
REPORT, PRIVATE = "report.json", "private.json"


@dataclass(frozen=True)
class Report:
    """What was found of predictions.

    Attributes:
        name: What they are called: a file's name or an address.
        problems: All that is wrong with them.
        card: The public scorecard; None where there are problems.
        ticket: By which they can be sent; empty where they cannot.
        held_back: They were scored on what is held back too; the result is not shown.
        left: How many more this user may have scored today.
    """

    name: str
    problems: tuple[Problem, ...]
    card: Scorecard | None = None
    ticket: str = ""
    held_back: bool = False
    left: int = 0


class Intake:
    """Takes predictions for one leaderboard.

    Args:
        settings: What its host has decided.

    Raises:
        CfbenchError: The track's protocol, or what is held back, cannot be had.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        bounds = settings.limits
        try:
            settings.state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CfbenchError(
                f"{settings.state}: cannot be made: {error.strerror}",
                "name another folder for what the app keeps: state in space.toml, or the variable "
                "CFBENCH_SPACE_STATE",
            ) from None
        self.private = Private(settings)
        self.results = Results(settings)
        self._quota = Quota(settings.state / "uploads.sqlite")
        per_user = bounds.per_user if settings.login else None
        self.desk = Desk(bounds.at_once, bounds.waiting, per_user)
        self._reports = settings.state / "reports"
        # In a folder one writes at a time; a repository sees to that itself.
        self._one_by_one = threading.Lock() if settings.results is None else nullcontext()

    @property
    def protocol(self) -> Protocol:
        """The public protocol."""
        return self.private.public

    def left(self, user: str) -> int:
        """How many uploads a user may still have scored today."""
        return max(0, self.settings.limits.per_day - self._quota.used(user, "scored"))

    def examine(
        self,
        given: Path | str,
        user: str,
        name: str = "",
        logits: bool = False,
        told: Told | None = None,
    ) -> Report:
        """Check and score predictions.

        Args:
            given: A file, or a pinned address.
            user: Whose upload it is.
            name: What the user calls the file.
            logits: Its numbers are logits.
            told: Is told the place in the queue, until the turn has come (0).
        """
        address = isinstance(given, str)
        shown = clip(str(given) if address else name or Path(given).name, 200)
        try:
            suffix = suffix_of(str(given) if address else name or str(given))
            if isinstance(given, str):
                from cfbench.hub.pinned import parse_pinned

                parse_pinned(given)
            with self._counted(user):
                card, ticket, held_back = self._examined(given, suffix, user, logits, told)
        except CfbenchError as error:
            return Report(shown, error.problems, left=self.left(user))
        return Report(shown, (), card, ticket, held_back, self.left(user))

    def send(self, report: Report, system: System, user: str) -> Sent:
        """Make an entry of predictions that were scored, and send it.

        Args:
            report: Of predictions without problems.
            system: What they are of.
            user: The one who had them scored.

        Raises:
            CfbenchError: They are not kept any more, or the entry cannot be made or sent.
        """
        return self.send_ticket(report.ticket, system, user)

    def send_ticket(self, ticket: str, system: System, user: str) -> Sent:
        """As `send`, by a report's ticket."""
        folder = self._reports / ticket
        # A ticket is a name that was drawn here, never a path.
        if not (ticket.isascii() and ticket.isalnum()) or not folder.is_dir():
            raise CfbenchError(
                "there is nothing to send any more",
                f"files are kept for {self.settings.limits.kept_minutes} minutes: check again",
            )
        kept = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        if kept["user"] != user:
            raise CfbenchError("somebody else had this scored", "check it again")
        predictions = kept["address"] or str(folder / kept["file"])
        parts = Parts(folder / SCORECARD, predictions, kept["sha256"], kept["logits"])
        with self._one_by_one:
            try:
                sent = self.results.send(parts, system, user, lambda e: self._verify(e, user))
            except CfbenchError as error:
                raise CfbenchError.of(_for_page(error.problems, folder)) from None
        self._keep_private(folder / PRIVATE, sent.submission.slug)
        shutil.rmtree(folder, ignore_errors=True)
        return sent

    def verify(self, entry: Path) -> Verification:
        """Verify an entry of the leaderboard, when it is its turn."""
        return self._verify(entry, "")

    def reveal(self, board: Board) -> Board | None:
        """The results on what was held back, once their day has come; see `Private.reveal`."""
        return self.private.reveal(board, today(), self._score_listed)

    def _verify(self, entry: Path, user: str) -> Verification:
        with self.desk.turn(user, bounded=False):
            return verify(entry, lambda _: self.protocol, fetch, self.settings.limits.verification)

    def _score(self, path: Path, logits: bool, protocol: Protocol) -> Scored:
        return score_submitted(path, logits, protocol, self.settings.limits.verification)

    def _score_listed(self, listed: Listed, protocol: Protocol) -> Scored:
        answers = listed.submission.predictions
        here = self.settings.entries / listed.submission.slug / answers.address
        given = answers.address if answers.is_remote else here
        suffix = suffix_of(answers.address)
        with (
            self.desk.turn("", bounded=False),
            tempfile.TemporaryDirectory(prefix="cfbench-") as folder,
        ):
            path, digest = self._bring(given, suffix, Path(folder), protocol)
            if digest != answers.sha256:
                raise CfbenchError("its predictions are not those of its digest")
            return self._score(path, answers.logits, protocol)

    @contextmanager
    def _counted(self, user: str) -> Iterator[None]:
        """Count an upload that is scored, and apart from it one that is refused."""
        limits = self.settings.limits
        if self._quota.used(user, "failed") >= limits.failed_per_day:
            raise CfbenchError(
                f"{limits.failed_per_day:,} of your uploads were refused today",
                "cfbench validate checks a file on your machine; the count starts anew at 00:00 "
                "UTC",
            )
        day = self._quota.take(user, "scored", limits.per_day)
        if day is None:
            raise CfbenchError(
                f"{limits.per_day:,} of your uploads were scored today, and more are not",
                "the count starts anew at 00:00 UTC",
            )
        try:
            yield
        except BaseException as error:
            self._quota.give_back(user, "scored", day)
            if isinstance(error, CfbenchError) and not isinstance(error, Busy):
                self._quota.take(user, "failed", limits.failed_per_day)
            raise

    def _examined(
        self, given: Path | str, suffix: str, user: str, logits: bool, told: Told | None
    ) -> tuple[Scorecard, str, bool]:
        """Scorecard, ticket, and whether there is a private result."""
        with self.desk.turn(user, told):
            self._reports.mkdir(exist_ok=True)
            self._tidy()
            # Hidden, so that no ticket names it before it is whole.
            folder = Path(tempfile.mkdtemp(prefix=".", dir=self._reports))
            try:
                card, digest, hidden = self._scored(given, suffix, logits, folder)
                kept = {
                    "user": user,
                    "file": None if isinstance(given, str) else PREDICTIONS + suffix,
                    "address": given if isinstance(given, str) else None,
                    "sha256": digest,
                    "logits": logits,
                }
                (folder / SCORECARD).write_text(card.to_json(), encoding="utf-8")
                (folder / REPORT).write_text(json.dumps(kept), encoding="utf-8")
                if hidden is not None:
                    content = make_record("", digest, hidden).model_dump_json()
                    (folder / PRIVATE).write_text(content, encoding="utf-8")
                ticket = secrets.token_hex(16)
                folder.rename(self._reports / ticket)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        return card, ticket, hidden is not None

    def _scored(
        self, given: Path | str, suffix: str, logits: bool, folder: Path
    ) -> tuple[Scorecard, str, Scored | None]:
        """Scorecard, SHA-256 of the file, and the result on what is held back."""
        try:
            path, digest = self._bring(given, suffix, folder, self.protocol)
            hidden = self.private.protocol
            try:
                public = self._score(path, logits, self.protocol)
                held = self._score(path, logits, hidden) if hidden is not None else None
            except CfbenchError as error:
                found = _for_page(error.problems, folder)
                more = self._all_problems(path, logits, folder)
                said = {problem.message for problem in found}
                found += [problem for problem in more if problem.message not in said]
                raise CfbenchError.of(found) from None
        except CfbenchError as error:
            raise CfbenchError.of(_for_page(error.problems, folder)) from None
        # What was unpacked is not kept, nor what is published elsewhere.
        for file in folder.iterdir():
            if isinstance(given, str) or file.name != PREDICTIONS + suffix:
                file.unlink()
        return public.card, digest, held

    def _all_problems(self, path: Path, logits: bool, folder: Path) -> list[Problem]:
        """What is wrong besides: scoring ends at the first kind of problem."""
        bounds = self.settings.limits.verification
        try:
            found = confined(
                _check,
                path,
                self.protocol,
                logits,
                memory=bounds.memory,
                seconds=bounds.seconds,
                what="the predictions",
            )
        except CfbenchError:
            return []
        return _for_page(found, folder)

    def _bring(
        self, given: Path | str, suffix: str, folder: Path, protocol: Protocol
    ) -> tuple[Path, str]:
        """A copy in `folder`, unpacked, and the SHA-256 of what was copied."""
        bounds = self.settings.limits
        copy = folder / f"{PREDICTIONS}{suffix}"
        if isinstance(given, str):
            with tempfile.TemporaryDirectory(prefix="cfbench-") as temporary:
                came = fetch(given, Path(temporary), bounds.verification.packed)
                shutil.move(came, copy)
        else:
            size = given.stat().st_size
            if size > bounds.upload:
                raise CfbenchError(
                    f"{size:,} bytes, more than the {bounds.upload:,} that an upload may have",
                    "write Parquet, or publish it on the Hub and give its address",
                )
            shutil.copyfile(given, copy)
        with copy.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return unpacked(copy, bounds.verification.unpacked(protocol), copy.name), digest

    def _keep_private(self, path: Path, slug: str) -> None:
        if path.is_file():
            record = Record.model_validate_json(path.read_bytes())
            self.private.save(record.model_copy(update={"slug": slug}))

    def _tidy(self) -> None:
        """Delete what nobody has sent in time, and the oldest where it is too much."""
        limits = self.settings.limits
        now, room = time.time(), limits.kept_mib * 2**20
        folders = [(path.stat().st_mtime, path) for path in _listed(self._reports)]
        for changed, path in sorted(folders, reverse=True):
            # One that is being written is hidden, and of now.
            room -= sum(file.stat().st_size for file in _listed(path))
            if now - changed > 60 * limits.kept_minutes or room < 0:
                shutil.rmtree(path, ignore_errors=True)


def _listed(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.exists()]
    except OSError:
        return []  # another upload has tidied it away


def _check(path: Path, protocol: Protocol, logits: bool) -> list[Problem]:
    return [Problem(p.message, p.hint) for p in api.check(path, protocol, logits=logits)[1]]


def _for_page(problems: Sequence[Problem], folder: Path) -> list[Problem]:
    """Problems without this machine's paths, and without options that a submission has not."""
    found = []
    # The page says what the user calls the file; here it has another name.
    copy = re.compile(rf"{re.escape(str(folder))}/{PREDICTIONS}[\w.]*: ")
    for problem in problems:
        message, hint = (
            copy.sub("", printable(text))
            .replace(f"{folder}/", "")
            .replace(str(folder), "the upload")
            for text in (problem.message, problem.hint)
        )
        for option, instead in _INSTEAD.items():
            if option in hint:
                hint = instead
        found.append(Problem(message, hint))
    return found


_INSTEAD = {
    "--allow-missing": "a submission answers every utterance of every scored split",
    "--split": "a submission answers every utterance of every scored split",
    "--logits": "tick that the numbers are logits, if they are",
    "--slug": "give the system another name",
}
