"""Sending an entry to a leaderboard's repository: checked here first, nothing of others touched.

The folder on this machine stays as it is. Owner and version are those of the repository: the owner
is the user who is logged in, and what changes an entry there is its next version. A change has to
stand on what is there: the version in the repository must be among those of the folder.
"""

import hashlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cfbench.errors import CfbenchError, plural
from cfbench.hub.copies import Bounds, read_tree
from cfbench.hub.failures import NotConnected
from cfbench.hub.patience import Told
from cfbench.hub.pull_requests import OpenPullRequest, open_pull_requests
from cfbench.hub.repos import login, publish
from cfbench.review import attempt
from cfbench.scorecard import Scorecard, parse_scorecard
from cfbench.submission import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    LARGEST_SCORECARD,
    LARGEST_SHIPPED,
    SCORECARD,
    VERSIONS,
    Submission,
    file_names,
    parse_submission,
)
from cfbench.verification import (
    FindProtocol,
    Verification,
    check_files,
    check_settings,
    read_bounded,
)

UNDER = "submissions"
"""The folder of the entries in a repository, where none is named."""

ENTRY = Bounds(file=LARGEST_SHIPPED, total=2**31, files=5_000)
"""What is downloaded of one entry at most, with all that is kept of its earlier versions."""

# Nobody but its owner changes an entry: more than one round means that they push it twice at once.
_ROUNDS = 5


@dataclass(frozen=True, eq=False)
class Prepared:
    """An entry that may be sent.

    Attributes:
        folder: Where it is.
        submission: What it says.
        card: Its scorecard, as it claims.
        files: Its files but the description, by name.
        verification: Its numbers, scored again here; None where that was not possible.
        why: Why it was not.
    """

    folder: Path
    submission: Submission
    card: Scorecard
    files: Mapping[str, bytes]
    verification: Verification | None
    why: str = ""


@dataclass(frozen=True, eq=False)
class Plan:
    """What a push changes in a repository.

    Attributes:
        submission: As it is written there.
        files: By path in the repository.
        delete: Paths.
        title: Of the commit or pull request.
        unchanged: The repository has it already.
    """

    submission: Submission
    files: Mapping[str, bytes]
    delete: tuple[str, ...]
    title: str
    unchanged: bool = False


@dataclass(frozen=True)
class Preview:
    """What a push would do.

    Attributes:
        plan: What it would change; where the repository was not read, as if the entry were new.
        user: Who is logged in; empty where that is not known.
        offers: Whether as a pull request; None where that depends on who is logged in.
        why: Why the repository was not read; empty where it was.
    """

    plan: Plan
    user: str
    offers: bool | None
    why: str = ""


@dataclass(frozen=True)
class Pushed:
    """What became of an entry.

    Attributes:
        submission: As it is in the repository.
        url: The page of the commit or pull request.
        number: That of the pull request; None where there is none.
        unchanged: It was there already.
        others: Open pull requests of the same user for the same entry.
    """

    submission: Submission
    url: str
    number: int | None = None
    unchanged: bool = False
    others: tuple[OpenPullRequest, ...] = ()


def prepare(folder: Path, find_protocol: FindProtocol | None) -> Prepared:
    """Check an entry before it is sent: files, description, digests, and its numbers.

    Args:
        folder: The entry.
        find_protocol: One of `cfbench.review.own_protocols`, to score the predictions again; None
            leaves it at the digests.

    Raises:
        CfbenchError: Something is not in order; says everything that was found.
    """
    folder = folder if folder.name else folder.absolute()
    check_files(folder)
    where = folder / DESCRIPTION
    submission = parse_submission(read_bounded(where, LARGEST_DESCRIPTION), str(where))
    if submission.slug != folder.name:
        raise CfbenchError(
            f"{where}: slug is '{submission.slug}', but the folder is called '{folder.name}'",
            "an entry's folder is named after its slug",
        )
    files = {SCORECARD: read_bounded(folder / SCORECARD, LARGEST_SCORECARD)}
    given = {SCORECARD: submission.result.scorecard}
    answers = submission.predictions
    if not answers.is_remote:
        files[answers.address] = read_bounded(folder / answers.address, LARGEST_SHIPPED)
        given[answers.address] = answers.sha256
    for name, content in files.items():
        found = hashlib.sha256(content).hexdigest()
        if found != given[name]:
            raise CfbenchError(
                f"{folder / name}: its SHA-256 is {found}, but {DESCRIPTION} gives {given[name]}",
                "the file was changed: cfbench submit makes the entry anew",
            )
    card = parse_scorecard(files[SCORECARD], str(folder / SCORECARD))
    check_settings(card, str(folder / SCORECARD))
    if find_protocol is None:
        return Prepared(folder, submission, card, files, None, "that was not asked for")
    verification, why = attempt(folder, find_protocol)
    if verification.holds:
        return Prepared(folder, submission, card, files, verification)
    if not why:
        raise CfbenchError.of(verification.problems)
    return Prepared(folder, submission, card, files, None, why)


def goes_directly(repo: str, user: str) -> bool:
    """Whether a user's push to a repository is a commit where nothing else is asked for."""
    return repo.partition("/")[0].casefold() == user.casefold()


def preview(
    prepared: Prepared, repo: str, under: str = UNDER, *, pull_request: bool | None = None
) -> Preview:
    """What `push` would do; nothing is sent.

    Raises:
        CfbenchError: It would be refused; says why.
    """
    try:
        user = login(repo)
        with tempfile.TemporaryDirectory(prefix="cfbench-") as copy:
            _, there = _entry_at(repo, under, prepared.submission.slug, None, Path(copy))
    except NotConnected as error:
        told = error.problems[0].message
        planned = _plan(prepared, repo, under, {}, prepared.submission.owner)
        return Preview(planned, "", pull_request, told)
    offers = not goes_directly(repo, user) if pull_request is None else pull_request
    return Preview(_plan(prepared, repo, under, there, user), user, offers)


def push(
    prepared: Prepared,
    repo: str,
    under: str = UNDER,
    *,
    pull_request: bool | None = None,
    told: Told | None = None,
) -> Pushed:
    """Send an entry to a leaderboard's dataset repository.

    Args:
        prepared: The entry.
        repo: `owner/name`.
        under: The folder of the entries in it; empty for the repository itself.
        pull_request: Offer it rather than commit it; None for a commit where the repository is
            under the user's own name, and a pull request elsewhere.
        told: Is told of every wait.

    Raises:
        NotConnected: There is no network or no login; nothing was sent.
        CfbenchError: It is somebody else's entry, or stands on another version than the repository
            has, or cannot be sent.
    """
    user = login(repo)
    slug = prepared.submission.slug
    offers = not goes_directly(repo, user) if pull_request is None else pull_request
    with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
        copy = Path(folder)
        for _ in range(_ROUNDS):
            commit, there = _entry_at(repo, under, slug, None, copy)
            planned = _plan(prepared, repo, under, there, user)
            if planned.unchanged:
                return Pushed(planned.submission, _page(repo, under, slug), unchanged=True)
            seen = _Seen(repo, under, slug, copy, commit, there)
            try:
                done = publish(
                    repo,
                    planned.files,
                    planned.delete,
                    planned.title,
                    _text(prepared, planned.submission, user),
                    pull_request=offers,
                    check=seen.check,
                    told=told,
                )
            except _Moved:
                continue
            others = _others(repo, user, slug, done.number) if offers else ()
            return Pushed(planned.submission, done.url, done.number, others=others)
    raise CfbenchError(
        f"{repo}: {slug} keeps changing while it is pushed", "push it from one place at a time"
    )


class _Moved(Exception):
    """The entry in the repository is another one by now."""


@dataclass(frozen=True)
class _Seen:
    """An entry in the repository, as a plan was made for it."""

    repo: str
    under: str
    slug: str
    copy: Path
    commit: str
    there: Mapping[str, bytes]

    def check(self, commit: str) -> None:
        if commit != self.commit:
            _, now = _entry_at(self.repo, self.under, self.slug, commit, self.copy)
            if now != self.there:
                raise _Moved


def at(under: str, slug: str) -> str:
    """The folder of an entry in a repository.

    Raises:
        CfbenchError: `under` is no name of a folder.
    """
    if not re.fullmatch(r"(?:[A-Za-z0-9_-]+)?", under):
        raise CfbenchError(
            f"--under '{under}': no name of a folder", "letters, digits, _ and -; or nothing"
        )
    return f"{under}/{slug}" if under else slug


def _entry_at(
    repo: str, under: str, slug: str, revision: str | None, copy: Path
) -> tuple[str, dict[str, bytes]]:
    """The commit, and the entry's files but those of earlier versions, by name."""
    inside = f"{at(under, slug)}/"
    commit = read_tree(
        repo, inside, copy, revision, ENTRY, lambda path: "/" not in path.removeprefix(inside)
    )
    folder = copy / inside
    files = folder.iterdir() if folder.is_dir() else ()
    return commit, {path.name: path.read_bytes() for path in files}


def _plan(prepared: Prepared, repo: str, under: str, there: Mapping[str, bytes], user: str) -> Plan:
    """What is to be changed where the repository has these files of the entry."""
    slug, inside = prepared.submission.slug, f"{at(under, prepared.submission.slug)}/"
    mine = prepared.submission.model_copy(update={"version": 1, "owner": user})
    title, kept = f"Add {slug}", {}
    if DESCRIPTION in there:
        present = parse_submission(there[DESCRIPTION], f"{repo}: {inside}{DESCRIPTION}")
        _check_owner(present, repo, user)
        mine = mine.model_copy(update={"version": present.version, "owner": present.owner})
        if mine == present:
            return Plan(mine, {}, (), "", unchanged=True)
        _check_known(prepared, present, repo, inside)
        mine = mine.model_copy(update={"version": present.version + 1, "owner": user})
        title = f"Version {mine.version} of {slug}"
        before = f"{inside}{VERSIONS}/{present.version}/"
        own = {DESCRIPTION, SCORECARD, *file_names()}
        kept = {before + name: content for name, content in there.items() if name in own}
    files = {inside + name: content for name, content in prepared.files.items()}
    files[inside + DESCRIPTION] = mine.to_toml().encode()
    gone = tuple(sorted(inside + name for name in there if inside + name not in files))
    return Plan(mine, {**kept, **files}, gone, title)


def _check_owner(present: Submission, repo: str, user: str) -> None:
    # Who keeps the leaderboard may have put an entry there by hand.
    unowned = not present.owner and goes_directly(repo, user)
    if present.owner != user and not unowned:
        whose = f"the entry of {present.owner}" if present.owner else "an entry of its keeper"
        raise CfbenchError(
            f"{repo}: {present.slug} is {whose}, and you are {user}",
            "give yours another folder: cfbench submit ... --slug NAME",
        )


def _check_known(prepared: Prepared, present: Submission, repo: str, inside: str) -> None:
    """Refuse to replace a version that this folder has never held."""
    folder = prepared.folder
    for path in sorted((folder / VERSIONS).glob(f"*/{DESCRIPTION}")):
        try:
            kept = parse_submission(read_bounded(path, LARGEST_DESCRIPTION), str(path))
        except CfbenchError:
            continue
        if _alike(kept, present):
            return
    raise CfbenchError(
        f"{repo} has a version {present.version} of {present.slug} that {folder} has not: it is "
        "newer than this one, or another one",
        "fetch it, make this one on top of it with cfbench submit, and push that: hf download "
        f"{repo} --repo-type dataset --include '{inside}*' --local-dir .",
    )


def _alike(one: Submission, two: Submission) -> bool:
    same = {"version": 1, "owner": ""}
    return one.model_copy(update=same) == two.model_copy(update=same)


def _others(repo: str, user: str, slug: str, number: int | None) -> tuple[OpenPullRequest, ...]:
    titles = re.compile(rf"(?:Add|Version \d+ of) {re.escape(slug)}")
    return tuple(
        one
        for one in open_pull_requests(repo, author=user)
        if titles.fullmatch(one.title) and one.number != number
    )


def _page(repo: str, under: str, slug: str) -> str:
    from cfbench.hub.failures import about

    return f"{about(repo).page}/tree/main/{at(under, slug)}"


def _text(prepared: Prepared, submission: Submission, user: str) -> str:
    """The text of a commit or pull request; nothing in it is the user's own words."""
    number = plural(len(submission.result.tasks), "task")
    scored = "were scored again before" if prepared.verification else "were not scored again before"
    return (
        f"Pushed by `{user}` with `cfbench push`.\n\n"
        f"Entry `{submission.slug}`, version {submission.version}, {number} of "
        f"`{submission.result.track}` {submission.result.track_version}. "
        f"Predictions: SHA-256 `{submission.predictions.sha256}`; they {scored} this was sent."
    )
