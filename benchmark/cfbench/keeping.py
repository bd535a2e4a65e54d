"""What who keeps a leaderboard does with what is offered: answers, merges, receipts."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cfbench.errors import CfbenchError, clip
from cfbench.hub.copies import read_tree
from cfbench.hub.patience import Told
from cfbench.hub.pull_requests import comment, merge
from cfbench.hub.repos import publish
from cfbench.leaderboard.entries import Refused, read_entries
from cfbench.leaderboard.receipts import write_receipt
from cfbench.offers import Offer, Rules
from cfbench.publishing import at
from cfbench.submission import VERIFIED, Submission
from cfbench.verification import Verification


@dataclass(frozen=True)
class Recorded:
    """What became of the receipts of a repository.

    Attributes:
        written: The entries that have got one.
        refused: Entries that are not what they say.
        undecided: Entries that could not be verified here, and why.
    """

    written: tuple[str, ...]
    refused: tuple[Refused, ...]
    undecided: dict[str, str]


def accept(rules: Rules, offer: Offer, told: Told | None = None) -> None:
    """Merge a pull request as it was looked at, and record the receipt of its entry.

    Args:
        rules: Of the leaderboard.
        offer: What was found; it holds.
        told: Is told of every wait.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It does not hold, has another commit by now, or cannot be merged; or it is
            merged, and the receipt cannot be written.
    """
    verification = offer.verification
    if not offer.holds or verification is None or verification.submission is None:
        raise CfbenchError(f"pull request {offer.number} does not hold, and is not merged")
    merge(rules.repo, offer.number, offer.head)
    submission = verification.submission
    with tempfile.TemporaryDirectory(prefix="cfbench-") as board:
        write_receipt(Path(board), verification)
        try:
            _publish_receipts(rules, Path(board), _receipt_of(submission), told)
        except CfbenchError as error:
            problem = error.problems[0]
            raise type(error)(
                f"pull request {offer.number} is merged, but its receipt is not there: "
                f"{problem.message}",
                f"cfbench leaderboard review {rules.repo} --record writes it ({problem.hint})",
            ) from None


def answer(rules: Rules, offer: Offer) -> bool:
    """Write below a pull request what was found; a second time changes nothing.

    Args:
        rules: Of the leaderboard.
        offer: What was found.

    Returns:
        Whether there was anything to say: nothing is where only this machine lacks something.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It cannot be written; says why.
    """
    if offer.why or not (offer.holds or offer.problems) or not offer.head:
        return False
    comment(rules.repo, offer.number, findings(offer), once=True)
    return True


def findings(offer: Offer) -> str:
    """What was found, in Markdown; words of strangers stand in it as they are, and do nothing."""
    verdict = "Everything is in order" if offer.holds else "This cannot be merged"
    lines = [f"ok: {check.name}: {check.found}" for check in offer.checks]
    for problem in offer.problems[:20]:
        lines += [f"no: {problem.message}", *([f"    {problem.hint}"] if problem.hint else [])]
    told = "\n".join(_inert(line) for line in lines)
    return (
        f"{verdict}, as `cfbench leaderboard review` finds of commit `{offer.head}`.\n\n"
        f"```text\n{told}\n```\n"
    )


def record(
    rules: Rules, verify: Callable[[Path], Verification], told: Told | None = None
) -> Recorded:
    """Verify the entries of a repository that have no receipt, and record what holds.

    Args:
        rules: Of the leaderboard.
        verify: Verifies an entry.
        told: Is told of every wait.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: The repository cannot be read or written to.
    """
    with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
        read_tree(rules.repo, rules.under, Path(folder))
        board = Path(folder) / rules.under
        board.mkdir(exist_ok=True)
        before = _receipts(board)
        entries, refused = read_entries(board, verify)
        undecided = {one.submission.slug: one.why for one in entries if one.status == "claimed"}
        new = {name for name, content in _receipts(board).items() if before.get(name) != content}
        slugs = sorted({Path(name).stem for name in new})
        if new:
            what = slugs[0] if len(slugs) == 1 else f"{len(slugs)} entries"
            _publish_receipts(rules, board, f"Receipt of {what}", told, new)
    return Recorded(tuple(slugs), tuple(refused), undecided)


def _receipts(board: Path) -> dict[str, bytes]:
    folder = board / VERIFIED
    paths = folder.iterdir() if folder.is_dir() else ()
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _receipt_of(submission: Submission) -> str:
    return f"Receipt of {submission.slug}, version {submission.version}"


def _publish_receipts(
    rules: Rules, board: Path, title: str, told: Told | None, only: set[str] | None = None
) -> None:
    inside = at(rules.under, VERIFIED)
    files = {
        f"{inside}/{name}": content
        for name, content in _receipts(board).items()
        if only is None or name in only
    }
    publish(rules.repo, files, message=title, pull_request=False, told=told)


def _inert(line: str) -> str:
    """A line that can neither end the block it stands in nor call anybody."""
    return clip(line, 600).replace("`", "'").replace("@", "(at)")
