"""Making an entry: from a scorecard and predictions to a folder of submissions, checked first."""

import hashlib
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cfbench.errors import CfbenchError
from cfbench.predictions import read_predictions
from cfbench.review import NotHere, fetch
from cfbench.scorecard import Scorecard, parse_scorecard
from cfbench.submission import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    LARGEST_SCORECARD,
    LARGEST_SHIPPED,
    PREDICTIONS,
    Answers,
    Submission,
    System,
    describe,
    parse_submission,
    place,
)
from cfbench.verification import Limits, Verification, check_settings, read_bounded, suffix_of


@dataclass(frozen=True, eq=False)
class Made:
    """An entry that was written.

    Attributes:
        folder: Where it is.
        submission: What it says.
        verification: What was found of it before it was written; None where it could not be
            verified here.
        why: Why it could not.
    """

    folder: Path
    submission: Submission
    verification: Verification | None
    why: str = ""


def make_entry(
    scorecard: Path,
    system: System,
    predictions: str,
    board: Path,
    verify: Callable[[Path], Verification],
    sha256: str | None = None,
    slug: str | None = None,
    logits: bool = False,
    reference: bool = False,
) -> Made:
    """Make an entry, or a new version of one.

    Args:
        scorecard: What `cfbench score --json` wrote.
        system: What was scored.
        predictions: A file, a folder of the authors' score files, or an address on the Hub that
            names a commit.
        board: The folder of submissions.
        verify: Verifies an entry in a folder; raises NotHere where this machine lacks what that
            takes.
        sha256: Of predictions at an address; None fetches them to find it.
        slug: The entry's name; None for one made of the system's name.
        logits: The predictions' numbers are logits.
        reference: A line for comparison, without a place: for keepers of a leaderboard.

    Raises:
        CfbenchError: The scorecard is not what the predictions give, or something cannot be read
            or written. Nothing is written then.
    """
    content = read_bounded(scorecard, LARGEST_SCORECARD)
    card = parse_scorecard(content, str(scorecard))
    check_settings(card, str(scorecard))
    answers, held = _answers(predictions, card, sha256, logits)
    submission = describe(card, content, system, answers, slug, reference)
    with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
        place(Path(folder), submission, content, held)
        try:
            verification = verify(Path(folder) / submission.slug)
        except NotHere as error:
            verification, why = None, error.problems[0].message
        else:
            why = ""
    if verification is not None and verification.problems:
        raise CfbenchError.of(verification.problems)
    written = place(board, submission, content, held)
    return Made(board / written.slug, written, verification, why)


def _answers(
    predictions: str, card: Scorecard, sha256: str | None, logits: bool
) -> tuple[Answers, bytes | None]:
    """Where the predictions are, and their bytes where the entry is to hold them."""
    if "://" in predictions:
        from cfbench.hub.pinned import parse_pinned

        pinned = parse_pinned(predictions)
        suffix_of(pinned.path)
        if sha256 is None:
            with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
                path = fetch(predictions, Path(folder), Limits().packed)
                with path.open("rb") as file:
                    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return Answers(address=pinned.url, sha256=sha256, logits=logits), None
    path = Path(predictions)
    if path.is_dir():
        content, suffix = _as_parquet(path, logits), ".parquet"
    else:
        suffix = suffix_of(path.name)
        if path.is_file() and path.stat().st_size > LARGEST_SHIPPED:
            raise CfbenchError(
                f"{path}: {path.stat().st_size:,} bytes; an entry holds at most "
                f"{LARGEST_SHIPPED:,}",
                "write Parquet, or upload it to a dataset on the Hub and give the address of a "
                "commit: https://huggingface.co/datasets/OWNER/REPO/resolve/COMMIT/PATH",
            )
        content = read_bounded(path, LARGEST_SHIPPED)
    digest = hashlib.sha256(content).hexdigest()
    return Answers(address=PREDICTIONS + suffix, sha256=digest, logits=logits), content


def _as_parquet(folder: Path, logits: bool) -> bytes:
    """The authors' score files as one table."""
    frame = read_predictions(folder, "authors", logits).frame
    words = [name for name, kind in frame.schema.items() if isinstance(kind, pl.Enum)]
    with tempfile.TemporaryDirectory(prefix="cfbench-") as temporary:
        path = Path(temporary) / "predictions.parquet"
        frame.with_columns(pl.col(words).cast(pl.String)).write_parquet(path)
        return path.read_bytes()


def predictions_of(path: Path, logits: bool) -> tuple[Path, bool]:
    """The predictions that a path means: those of an entry's folder, or the path itself.

    Args:
        path: A file of predictions, a folder of score files, or an entry's folder.
        logits: Whether the numbers of a file are logits; an entry says so itself.

    Raises:
        CfbenchError: The entry's predictions are elsewhere.
    """
    if not (path / DESCRIPTION).is_file():
        return path, logits
    content = read_bounded(path / DESCRIPTION, LARGEST_DESCRIPTION)
    answers = parse_submission(content, str(path / DESCRIPTION)).predictions
    if answers.is_remote:
        raise CfbenchError(
            f"{path}: its predictions are at {answers.address}", "download them, and give the file"
        )
    return path / answers.address, answers.logits
