"""The entries: a folder of this machine, or a copy of a repository that is written to by offers."""

import hashlib
import shutil
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cfbench.entry import make_entry
from cfbench.errors import CfbenchError, plural
from cfbench.files import write_bytes
from cfbench.space.settings import Settings
from cfbench.submission import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    VERIFIED,
    VERSIONS,
    Submission,
    System,
    parse_submission,
    slug_of,
)
from cfbench.verification import Verification, check_files, read_bounded

Verify = Callable[[Path], Verification]

NOBODY = "local"
"""The user of this machine, who is not logged in to the Hub."""


@dataclass(frozen=True)
class Sent:
    """What became of an entry.

    Attributes:
        submission: As it was written.
        address: The page of the pull request; empty for an entry in a folder.
        number: Of the pull request.
    """

    submission: Submission
    address: str = ""
    number: int | None = None


@dataclass(frozen=True)
class Parts:
    """What an entry is made of.

    Attributes:
        scorecard: The file.
        predictions: A file, or a pinned address.
        sha256: Of the predictions.
        logits: Whether their numbers are logits.
    """

    scorecard: Path
    predictions: str
    sha256: str
    logits: bool


class Results:
    """The entries of a leaderboard.

    Args:
        settings: Say where they are.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.RLock()

    def refresh(self) -> str:
        """Bring the copy up to date.

        Returns:
            What changes whenever an entry does.

        Raises:
            CfbenchError: The repository cannot be read.
        """
        settings = self._settings
        with self._lock:
            if settings.results is not None:
                from cfbench.hub.copies import read_tree

                commit = read_tree(settings.results, settings.under, settings.state / "results")
                settings.entries.mkdir(parents=True, exist_ok=True)
                return commit
            settings.entries.mkdir(parents=True, exist_ok=True)
            seen = hashlib.sha256()
            for path in sorted(settings.entries.glob("*/*")):
                own = path.parent.name == VERIFIED or path.name.startswith(".")
                if path.is_file() and not own:
                    found = path.stat()
                    seen.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
            return seen.hexdigest()

    def send(self, parts: Parts, system: System, user: str, verify: Verify) -> Sent:
        """Make an entry, or a new version of one, and offer it.

        Args:
            parts: What it is made of.
            system: What was scored.
            user: Who sends it.
            verify: Verifies an entry.

        Raises:
            CfbenchError: It is somebody else's entry, has not changed, or cannot be verified,
                written or sent.
        """
        self.refresh()
        slug = slug_of(system.name)
        with tempfile.TemporaryDirectory(prefix="cfbench-") as temporary:
            board = Path(temporary)
            before = self._present(slug, system, user, board)
            made = make_entry(
                parts.scorecard, system, parts.predictions, board, verify,
                parts.sha256, slug, parts.logits,
            )  # fmt: skip
            if made.verification is None:
                raise CfbenchError(f"it could not be verified here: {made.why}", "try again later")
            submission = made.submission
            if before is not None and submission.version == before.version:
                raise CfbenchError(
                    f"{slug}: this is version {before.version} already", "nothing has changed"
                )
            if user != NOBODY and not submission.owner:
                submission = submission.model_copy(update={"owner": user})
                write_bytes(made.folder / DESCRIPTION, submission.to_toml().encode())
            if self._settings.results is None:
                return self._put(made.folder, submission)
            return self._offer(made.folder, submission, user)

    def _present(self, slug: str, system: System, user: str, board: Path) -> Submission | None:
        """The entry that is there; it is copied to `board`, so that its versions are kept."""
        there = self._settings.entries / slug
        with self._lock:
            if not (there / DESCRIPTION).is_file():
                return None
            check_files(there)
            content = read_bounded(there / DESCRIPTION, LARGEST_DESCRIPTION)
            present = parse_submission(content, slug)
            keeper = user in self._settings.owners or not self._settings.login
            if present.system.name != system.name or not (keeper or present.owner == user):
                whose = f" of {present.owner}" if present.owner else ""
                raise CfbenchError(
                    f"{slug}: is an entry{whose} already", "give the system another name"
                )
            shutil.copytree(there, board / slug)
            return present

    def _put(self, folder: Path, submission: Submission) -> Sent:
        target = self._settings.entries / submission.slug
        with self._lock:
            target.mkdir(parents=True, exist_ok=True)
            files = {p.relative_to(folder): p for p in folder.rglob("*") if p.is_file()}
            # The description comes last: until then the digests tell that it is not whole.
            for at in sorted(files, key=lambda at: (at == Path(DESCRIPTION), at)):
                (target / at).parent.mkdir(parents=True, exist_ok=True)
                write_bytes(target / at, files[at].read_bytes())
            for path in list(target.iterdir()):
                if path.is_file() and Path(path.name) not in files:
                    path.unlink()
        return Sent(submission)

    def _offer(self, folder: Path, submission: Submission, user: str) -> Sent:
        from cfbench.hub.repos import publish

        repo = self._settings.results or ""
        prefix = f"{self._settings.under}/" if self._settings.under else ""
        at = f"{prefix}{submission.slug}/"
        files = {
            at + path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file()
        }
        there = self._settings.entries / submission.slug
        before = [path.name for path in there.iterdir()] if there.is_dir() else []
        gone = [at + name for name in before if name != VERSIONS and at + name not in files]
        what = "Add" if submission.version == 1 else f"Version {submission.version} of"
        published = publish(
            repo,
            files,
            gone,
            f"{what} {submission.slug}",
            _told(submission, user),
            pull_request=True,
        )
        return Sent(submission, published.url, published.number)


def _told(submission: Submission, user: str) -> str:
    """The text of a pull request; nothing in it is the user's own words."""
    number = plural(len(submission.result.tasks), "task")
    return (
        f"Sent by the Hub user `{user}`, logged in to the leaderboard's app.\n\n"
        f"Entry `{submission.slug}`, version {submission.version}, {number} of "
        f"`{submission.result.track}` {submission.result.track_version}. "
        f"Predictions: SHA-256 `{submission.predictions.sha256}`.\n\n"
        "The app has scored the predictions, and the scorecard is its own."
    )
