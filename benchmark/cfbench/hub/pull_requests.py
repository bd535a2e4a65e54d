"""Pull requests of a repository: which are open, what they change, and what becomes of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cfbench.errors import CfbenchError, clip
from cfbench.hub.contents import api, head_of, tree_of
from cfbench.hub.failures import Asked, about, explained, not_logged_in
from cfbench.hub.patience import patiently

if TYPE_CHECKING:
    from huggingface_hub import DiscussionWithDetails


class OpenPullRequest(NamedTuple):
    """A pull request that waits to be merged or closed."""

    number: int
    title: str
    author: str
    url: str


@dataclass(frozen=True)
class PullRequest:
    """What a pull request would change.

    Attributes:
        number: Its number.
        title: Its title, as its author wrote it.
        author: The name of its author on the Hub.
        status: `open`, `draft`, `closed` or `merged`.
        base: The commit of the main branch on which it stands.
        head: Its own last commit.
        added: Paths of files that only the head has, sorted.
        modified: Paths of files that both have with different content, sorted.
        deleted: Paths of files that only the base has, sorted.
    """

    number: int
    title: str
    author: str
    status: str
    base: str
    head: str
    added: tuple[str, ...]
    modified: tuple[str, ...]
    deleted: tuple[str, ...]


def open_pull_requests(
    repo: str, *, author: str | None = None, kind: str = "dataset"
) -> list[OpenPullRequest]:
    """The open pull requests of a repository, the oldest first.

    Args:
        repo: `owner/name`.
        author: Only those of this user.
        kind: What the repository is.

    Raises:
        NotConnected: There is no network.
        CfbenchError: They cannot be had; says why.
    """
    return patiently(about(repo, kind), lambda: ask_open(repo, author, kind))


def ask_open(repo: str, author: str | None, kind: str) -> list[OpenPullRequest]:
    """As `open_pull_requests`, asked once; raises what huggingface_hub raises."""
    found = api().get_repo_discussions(
        repo,
        author=author,
        discussion_type="pull_request",
        discussion_status="open",
        repo_type=kind,
    )
    return sorted(
        OpenPullRequest(one.num, one.title, one.author, one.url)
        for one in found
        # Asked for above; a Hub that does not know the filters shows more.
        if one.is_pull_request and one.status in ("open", "draft") and author in (None, one.author)
    )


def changed_files(repo: str, number: int, *, kind: str = "dataset") -> PullRequest:
    """What a pull request would change, from the files of its two commits.

    Args:
        repo: `owner/name`.
        number: That of the pull request.
        kind: What the repository is.

    Raises:
        NotConnected: There is no network.
        CfbenchError: There is no such pull request, or it cannot be had.
    """
    reference = f"refs/pr/{number}"
    asked = about(repo, kind, f"pull request {number}", revision=reference)

    def ask() -> PullRequest:
        told = _details(repo, number, kind)
        head = head_of(repo, kind, reference)
        base = _common(repo, kind, head)
        before, after = (_contents(repo, kind, commit) for commit in (base, head))
        both = before.keys() & after.keys()
        return PullRequest(
            number,
            told.title,
            told.author,
            told.status,
            base,
            head,
            tuple(sorted(after.keys() - before.keys())),
            tuple(sorted(path for path in both if before[path] != after[path])),
            tuple(sorted(before.keys() - after.keys())),
        )

    return patiently(asked, ask)


def merge(repo: str, number: int, head: str, *, kind: str = "dataset") -> None:
    """Merge a pull request that was looked at; one that is merged already is left as it is.

    Args:
        repo: `owner/name`.
        number: That of the pull request.
        head: The commit that was looked at: its author can add others at any time.
        kind: What the repository is.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It has another commit by now, is closed, or may not be merged by this user.
    """
    asked = about(repo, kind, f"pull request {number}", writes=True)
    _need_login(asked)

    def attempt() -> None:
        told = _details(repo, number, kind)
        if told.status == "closed":
            raise CfbenchError(f"{asked.what}: is closed", "open it again, or let it be")
        if told.status != "merged":
            _same(asked, number, head)
            if told.status == "draft":
                api().change_discussion_status(repo, number, "open", repo_type=kind)
            api().merge_pull_request(repo, number, repo_type=kind)
        # Between looking and merging there was time for another commit.
        _same(asked, number, head, " and was merged with it: look at the main branch")

    patiently(asked, attempt)


def comment(
    repo: str, number: int, text: str, *, once: bool = False, kind: str = "dataset"
) -> None:
    """Write a comment below a pull request.

    Args:
        repo: `owner/name`.
        number: That of the pull request.
        text: In Markdown.
        once: Write nothing where the same comment is there already.
        kind: What the repository is.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It cannot be written; says why.
    """
    asked = about(repo, kind, f"pull request {number}", writes=True)
    _need_login(asked)
    before = patiently(asked, lambda: _comments(repo, number, kind).count(text))
    if once and before:
        return

    def attempt() -> None:
        # The answer to an earlier attempt may have been lost.
        if _comments(repo, number, kind).count(text) == before:
            api().comment_discussion(repo, number, text, repo_type=kind)

    patiently(asked, attempt)


def close(repo: str, number: int, text: str, *, kind: str = "dataset") -> None:
    """Close a pull request without merging it, and say why.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It cannot be closed; says why.
    """
    asked = about(repo, kind, f"pull request {number}", writes=True)
    _need_login(asked)

    def attempt() -> None:
        if _details(repo, number, kind).status in ("open", "draft"):
            api().change_discussion_status(repo, number, "closed", comment=text, repo_type=kind)

    patiently(asked, attempt)


def _need_login(asked: Asked) -> None:
    with explained(asked):
        from huggingface_hub import get_token

        if get_token() is None:
            raise not_logged_in(asked.what)


def _details(repo: str, number: int, kind: str) -> "DiscussionWithDetails":
    told = api().get_discussion_details(repo, number, repo_type=kind)
    if not told.is_pull_request:
        raise CfbenchError(
            f"{clip(repo)}: {number} is a discussion and no pull request", f"look at {told.url}"
        )
    return told


def _comments(repo: str, number: int, kind: str) -> list[str]:
    events = _details(repo, number, kind).events
    return [str(getattr(event, "content", "")) for event in events if event.type == "comment"]


def _same(asked: Asked, number: int, head: str, more: str = "") -> None:
    if head_of(asked.repo, asked.kind, f"refs/pr/{number}") != head:
        raise CfbenchError(
            f"{asked.what}: has got another commit since it was looked at{more}",
            "look at it again",
        )


def _common(repo: str, kind: str, head: str) -> str:
    """The last commit of the main branch that a pull request stands on."""
    main = {commit.commit_id for commit in api().list_repo_commits(repo, repo_type=kind)}
    for commit in api().list_repo_commits(repo, repo_type=kind, revision=head):
        if commit.commit_id in main:
            return str(commit.commit_id)
    raise CfbenchError(f"{clip(repo)}: {head} has no commit in common with the main branch")


def _contents(repo: str, kind: str, commit: str) -> Mapping[str, str]:
    """What identifies the content of each file at a commit."""
    return {entry.path: str(entry.blob_id) for entry in tree_of(repo, kind, commit)}
