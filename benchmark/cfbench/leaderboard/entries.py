"""The entries of a folder: read, and verified where that can be done here."""

import hashlib
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from cfbench.errors import CfbenchError, Problem
from cfbench.leaderboard.receipts import Receipt, read_receipt, read_replicates, write_receipt
from cfbench.leaderboard.results import Result, result_of
from cfbench.pairing import Replicated
from cfbench.scorecard import parse_scorecard
from cfbench.submission import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    LARGEST_SCORECARD,
    SCORECARD,
    VERIFIED,
    Submission,
    parse_submission,
)
from cfbench.verification import Verification, check_settings, read_bounded

Status = Literal["verified", "claimed"]

Verify = Callable[[Path], Verification]


@dataclass(frozen=True, eq=False)
class Entry:
    """A system that can be ranked.

    Attributes:
        submission: What it says of itself.
        result: Scored by the verifier where it is verified, else as it claims.
        status: Which of the two.
        replicates: To compare it with others; None where its predictions were not at hand.
        why: Why it is not verified; empty where it is.
    """

    submission: Submission
    result: Result
    status: Status
    replicates: Replicated | None
    why: str = ""


@dataclass(frozen=True)
class Refused:
    """An entry that is not ranked, and why."""

    slug: str
    problems: tuple[Problem, ...]


def read_entries(
    board: Path, verify: Verify | None, again: bool = False
) -> tuple[list[Entry], list[Refused]]:
    """Read the entries of a folder.

    Args:
        board: The folder.
        verify: Verifies an entry without a receipt; raises CfbenchError where it cannot be done
            here. None: such an entry counts as claimed.
        again: Verify every entry, whether it has a receipt or not.

    Returns:
        Entries and refused ones, by slug.

    Raises:
        CfbenchError: It is no folder, or a receipt cannot be written.
    """
    if not board.is_dir():
        raise CfbenchError(f"{board}: no folder", "give the folder that holds the submissions")
    folders = sorted(
        path
        for path in board.iterdir()
        if path.is_dir() and path.name != VERIFIED and not path.name.startswith(".")
    )
    entries, refused = [], []
    # Files are read beside each other: on a network's disk each takes its time.
    with ThreadPoolExecutor(max_workers=4) as pool:
        found = list(pool.map(lambda folder: _read(board, folder), folders))
    for folder, one in zip(folders, found, strict=True):
        if isinstance(one, Refused):
            refused.append(one)
            continue
        entry = one
        if verify is not None and (again or entry.status == "claimed"):
            outcome = _verified(board, folder, entry, verify)
            if isinstance(outcome, Refused):
                refused.append(outcome)
                continue
            entry = outcome
        entries.append(entry)
    return entries, refused


def _read(board: Path, folder: Path) -> Entry | Refused:
    path = folder / DESCRIPTION
    try:
        content = read_bounded(path, LARGEST_DESCRIPTION)
        submission = parse_submission(content, str(path))
        if submission.slug != folder.name:
            raise CfbenchError(f"{path}: slug is '{submission.slug}'", "name the folder after it")
        predictions = None
        if not submission.predictions.is_remote:
            with (folder / submission.predictions.address).open("rb") as file:
                predictions = hashlib.file_digest(file, "sha256").hexdigest()
        receipt = read_receipt(board, submission, hashlib.sha256(content).hexdigest(), predictions)
        if receipt is not None:
            return _with_receipt(board, submission, receipt)
        card_path = folder / SCORECARD
        card = parse_scorecard(read_bounded(card_path, LARGEST_SCORECARD), str(card_path))
        check_settings(card, str(card_path))
        return Entry(submission, result_of(card), "claimed", None, "not verified")
    except CfbenchError as error:
        return _refused(board, folder, error.problems)
    except OSError as error:
        told = Problem(f"{folder}: cannot be read: {error.strerror}")
        return Refused(folder.name, (told,))


def _with_receipt(board: Path, submission: Submission, receipt: Receipt) -> Entry:
    replicates = read_replicates(board, receipt)
    return Entry(submission, receipt.result, "verified", replicates)


def _verified(board: Path, folder: Path, entry: Entry, verify: Verify) -> Entry | Refused:
    try:
        verification = verify(folder)
    except CfbenchError as error:
        # It cannot be verified here: without a network, or without the protocol.
        return replace(entry, why=_inside(board, error.problems[0].message))
    if not verification.holds or verification.submission is None:
        return _refused(board, folder, verification.problems)
    receipt = write_receipt(board, verification)
    return _with_receipt(board, verification.submission, receipt)


def _refused(board: Path, folder: Path, problems: Sequence[Problem]) -> Refused:
    return Refused(
        folder.name, tuple(Problem(_inside(board, one.message), one.hint) for one in problems)
    )


def _inside(board: Path, message: str) -> str:
    """A message for everybody: where the folder of entries is does not matter to them."""
    return message.replace(f"{board}{os.sep}", "")
