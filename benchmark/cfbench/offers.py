"""What others offer a leaderboard as pull requests, looked at by who keeps it.

A pull request may add one entry of its author, or the next version of one. Everything else in the
repository is out of its reach: other entries, receipts, README, eval.yaml, .gitattributes, and what
is kept of earlier versions. What it offers is fetched at one commit, in bounds, and scored with the
keeper's own protocol.
"""

import hashlib
import re
import tempfile
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cfbench.errors import CfbenchError, Problem, clip, name_some, plural
from cfbench.hub.copies import read_tree
from cfbench.hub.failures import InTrouble, NotConnected
from cfbench.hub.pull_requests import PullRequest, changed_files
from cfbench.publishing import ENTRY, UNDER, at
from cfbench.submission import (
    DESCRIPTION,
    LARGEST_DESCRIPTION,
    SCORECARD,
    VERIFIED,
    VERSIONS,
    Submission,
    file_names,
    parse_submission,
    slug_of,
)
from cfbench.verification import Check, Verification, read_bounded

Attempt = Callable[[Path], tuple[Verification, str]]
"""Verifies the entry in a folder; see `cfbench.review.attempt`."""

_OWN = frozenset({DESCRIPTION, SCORECARD, *file_names()})

# Letters of other scripts that look like Latin ones, and what is told apart in few typefaces only.
_LOOKS = str.maketrans(
    "\u0430\u0432\u0435\u043a\u043c\u043d\u043e\u0440\u0441\u0442\u0443\u0445\u0456\u0458\u0455"
    "\u03b1\u03b2\u03b5\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c701i",
    "abekmhopctyxlj" + "s" + "abelkvoptux" + "oll",
)


@dataclass(frozen=True)
class Rules:
    """Of one leaderboard.

    Attributes:
        repo: Its dataset repository.
        under: The folder of the entries in it.
        app: The account of the leaderboard's app, which sends entries for others; may be empty.
        keepers: Users who keep it: only their entries may be lines for comparison.
    """

    repo: str
    under: str = UNDER
    app: str = ""
    keepers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Offer:
    """A pull request that was looked at.

    Attributes:
        number: Its number.
        title: As its author wrote it.
        author: Who opened it.
        head: Its commit that was looked at; empty where it did not come to that.
        slug: The entry; empty where it does not change exactly one.
        checks: What was in order, one after the other.
        problems: What was not.
        why: Why its numbers could not be scored here; empty where they were, or are wrong.
        verification: Of the entry.
    """

    number: int
    title: str = ""
    author: str = ""
    head: str = ""
    slug: str = ""
    checks: tuple[Check, ...] = ()
    problems: tuple[Problem, ...] = ()
    why: str = ""
    verification: Verification | None = field(default=None, repr=False)

    @property
    def holds(self) -> bool:
        """Whether everything is in order."""
        verified = self.verification is not None and self.verification.holds
        return verified and not self.problems and not self.why


class Desk:
    """Where pull requests are looked at; keeps what was read for the next one.

    Args:
        rules: Of the leaderboard.
        attempt: Verifies an entry with the keeper's own protocol.
        folder: For copies: an empty folder.
    """

    def __init__(self, rules: Rules, attempt: Attempt, folder: Path) -> None:
        self.rules, self._attempt, self._folder = rules, attempt, folder

    def look(self, number: int) -> Offer:
        """Look at a pull request; what is wrong with it is in the answer.

        Raises:
            NotConnected: There is no network.
            InTrouble: The Hub cannot answer now.
        """
        offer, checks = Offer(number), list[Check]()
        try:
            asked = changed_files(self.rules.repo, number)
            offer = replace(offer, title=asked.title, author=asked.author, head=asked.head)
            if asked.status not in ("open", "draft"):
                raise CfbenchError(f"is {clip(asked.status)}", "only open ones are looked at")
            offer = replace(offer, slug=changed_entry(asked, self.rules.under))
            return self._look(offer, asked, checks)
        except (NotConnected, InTrouble):
            raise
        except CfbenchError as error:
            return replace(offer, checks=tuple(checks), problems=error.problems)

    def _look(self, offer: Offer, asked: PullRequest, checks: list[Check]) -> Offer:
        """Look at the one entry of a pull request; what was in order is added to `checks`."""
        rules, slug = self.rules, offer.slug
        count = len(asked.added) + len(asked.modified) + len(asked.deleted)
        checks.append(Check("paths", f"{plural(count, 'file')}, all of {at(rules.under, slug)}"))
        main, listed = self._listed()
        with tempfile.TemporaryDirectory(dir=self._folder) as here:
            copies = {name: Path(here) / name for name in ("before", "base", "after")}
            before = self._entry(slug, main, copies["before"])
            if main != asked.base and before != self._entry(slug, asked.base, copies["base"]):
                raise CfbenchError(
                    f"{slug} has changed on the main branch since this was offered",
                    "push the entry again, and close this pull request",
                )
            after = self._entry(slug, asked.head, copies["after"])
            entry = copies["after"] / at(rules.under, slug)
            submission, present = _described(entry, slug), listed.get(slug)
            if present is None and DESCRIPTION in before:
                raise CfbenchError(f"{slug} cannot be read on the main branch", "mend it there")
            checks += check_owner(submission, present, asked.author, rules)
            checks += check_versions(submission, present, before, after)
            checks += check_names(submission, present, listed)
            found, why = self._attempt(entry)
            # Where the copy was is of no interest to anybody.
            problems = [_without(f"{entry.parent}/", problem) for problem in found.problems]
        return replace(
            offer,
            checks=(*checks, *found.checks),
            problems=() if why else tuple(problems),
            why=why,
            verification=found,
        )

    def _listed(self) -> tuple[str, dict[str, Submission | None]]:
        """The commit of the main branch, and its entries; None where one cannot be read."""
        under, copy = self.rules.under, self._folder / "listed"
        depth = at(under, "x").count("/") + 1

        def wanted(path: str) -> bool:
            return path.endswith(f"/{DESCRIPTION}") and path.count("/") == depth

        main = read_tree(self.rules.repo, under, copy, only=wanted)
        found: dict[str, Submission | None] = {}
        for path in sorted((copy / under).glob(f"*/{DESCRIPTION}")):
            try:
                content = read_bounded(path, LARGEST_DESCRIPTION)
                found[path.parent.name] = parse_submission(content, path.parent.name)
            except CfbenchError:
                found[path.parent.name] = None
        return main, found

    def _entry(self, slug: str, commit: str, copy: Path) -> dict[str, str]:
        """The SHA-256 of an entry's files at a commit, by their path in its folder."""
        inside = at(self.rules.under, slug)
        read_tree(self.rules.repo, inside, copy, commit, ENTRY)
        folder = copy / inside
        found = {}
        for path in folder.rglob("*"):
            if path.is_file():
                with path.open("rb") as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()
                found[path.relative_to(folder).as_posix()] = digest
        return found


def changed_entry(asked: PullRequest, under: str = UNDER) -> str:
    """The one entry that a pull request changes.

    Args:
        asked: The pull request.
        under: The folder of the entries.

    Returns:
        Its slug.

    Raises:
        CfbenchError: It changes none or several, or something else.
    """
    paths = [*asked.added, *asked.modified, *asked.deleted]
    inside = f"{under}/" if under else ""
    outside, strange, touched = [], [], set[str]()
    for path in paths:
        slug, _, rest = path.removeprefix(inside).partition("/")
        if not path.startswith(inside) or not rest or slug == VERIFIED:
            outside.append(path)
            continue
        touched.add(slug)
        folder, _, name = rest.rpartition("/")
        if name not in _OWN or not re.fullmatch(rf"(?:{VERSIONS}/[1-9][0-9]{{0,3}})?", folder):
            strange.append(path)
    problems = []
    if outside:
        problems.append(
            Problem(
                f"touches what is no entry's: {name_some(outside)}",
                "an offer changes the files of one entry and nothing else",
            )
        )
    if strange:
        problems.append(
            Problem(
                f"has what is no file of an entry: {name_some(strange)}",
                f"an entry has {DESCRIPTION}, {SCORECARD}, one {file_names()[0]} or the like, and "
                f"{VERSIONS}/",
            )
        )
    if len(touched) > 1:
        problems.append(
            Problem(
                f"touches {len(touched)} entries: {name_some(sorted(touched))}",
                "a pull request an entry",
            )
        )
    if not paths:
        problems.append(Problem("changes nothing", "it may have been merged already"))
    for slug in sorted(touched)[:1]:
        if slug != slug_of(slug):
            problems.append(Problem(f"'{clip(slug)}' is no name of an entry's folder"))
    if problems:
        raise CfbenchError.of(problems)
    return touched.pop()


def check_owner(
    submission: Submission, before: Submission | None, author: str, rules: Rules
) -> list[Check]:
    """Whether an entry is its author's.

    Args:
        submission: As offered.
        before: As it is on the main branch; None for a new one.
        author: Of the pull request.
        rules: Of the leaderboard.

    Raises:
        CfbenchError: It is somebody else's.
    """
    by_app = bool(rules.app) and author == rules.app
    if before is not None and submission.owner != before.owner:
        raise CfbenchError(
            f"owner is '{submission.owner}', but the entry is of '{before.owner}'",
            "an entry keeps its owner",
        )
    if not submission.owner or (submission.owner != author and not by_app):
        raise CfbenchError(
            f"owner is '{submission.owner}', but the pull request is by '{clip(author)}'",
            "cfbench push sets the owner" if before is None else "only its owner changes an entry",
        )
    if submission.reference and submission.owner not in rules.keepers:
        raise CfbenchError(
            "calls itself a line for comparison (reference = true)",
            "such lines are made by who keeps the leaderboard",
        )
    sent = f", sent by the app {author}" if by_app else ""
    return [Check("owner", f"{submission.owner}{sent}")]


def check_versions(
    submission: Submission,
    present: Submission | None,
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> list[Check]:
    """Whether an entry's history goes on where it was, and all of it is kept.

    Args:
        submission: As offered.
        present: As it is on the main branch; None for a new one.
        before: Digests of its files there, by path in its folder.
        after: Digests of its files as offered.

    Raises:
        CfbenchError: Says what is not so.
    """
    number = 1 if present is None else present.version + 1
    if submission.version != number:
        raise CfbenchError(
            f"is version {submission.version}, but version {number} comes next",
            "cfbench push numbers versions",
        )
    wanted = {path: before[path] for path in before if path.startswith(f"{VERSIONS}/")}
    if present is not None:
        kept = f"{VERSIONS}/{present.version}"
        wanted |= {f"{kept}/{name}": digest for name, digest in before.items() if name in _OWN}
    found = {path: after[path] for path in after if path.startswith(f"{VERSIONS}/")}
    differing = sorted(
        path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)
    )
    if differing:
        raise CfbenchError(
            f"earlier versions are not as they were: {name_some(differing)}",
            "cfbench push keeps them, byte for byte",
        )
    told = "new" if present is None else f"version {present.version} is kept as it was"
    return [Check("version", f"{number}, {told}")]


def check_names(
    submission: Submission,
    before: Submission | None,
    listed: Mapping[str, Submission | None],
) -> list[Check]:
    """Whether an entry can be told from those of others.

    Args:
        submission: As offered.
        before: As it is on the main branch; None for a new one.
        listed: The entries on the main branch, by slug.

    Raises:
        CfbenchError: Its name or that of its folder looks like another one's.
    """
    if before is not None and before.system.name == submission.system.name:
        return [Check("name", "as before")]
    mine = {looks(submission.slug), looks(submission.system.name)}
    for slug, other in listed.items():
        if slug == submission.slug or (other is not None and other.owner == submission.owner):
            continue
        theirs = {looks(slug)} | ({looks(other.system.name)} if other is not None else set())
        if mine & theirs:
            raise CfbenchError(
                f"'{clip(submission.system.name)}' ({submission.slug}) looks like the entry {slug}"
                + (f" of {other.owner}" if other is not None and other.owner else ""),
                "give the system a name that tells them apart",
            )
    return [Check("name", "none of others looks like it")]


def looks(name: str) -> str:
    r"""A name by how it looks: the same for names that a reader could confuse.

    >>> looks("Wav2Vec2-AASIST") == looks("wav2vec2 a\u0430sist")
    True
    >>> looks("Model 1") == looks("rnodel-l")
    True
    >>> looks("M1") == looks("M2")
    False
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", name).casefold())
    letters = "".join(char for char in plain.translate(_LOOKS) if char.isalnum())
    return letters.replace("rn", "m").replace("vv", "w")


def _described(entry: Path, slug: str) -> Submission:
    where = entry / DESCRIPTION
    if not where.exists():
        raise CfbenchError(
            f"{slug} has no {DESCRIPTION} any more",
            "an entry is taken down by who keeps the leaderboard: ask them in a discussion",
        )
    submission = parse_submission(read_bounded(where, LARGEST_DESCRIPTION), DESCRIPTION)
    if submission.slug != slug:
        raise CfbenchError(
            f"slug is '{submission.slug}', but the folder is called '{slug}'",
            "an entry's folder is named after its slug",
        )
    return submission


def _without(place: str, problem: Problem) -> Problem:
    return Problem(problem.message.replace(place, ""), problem.hint.replace(place, ""))
