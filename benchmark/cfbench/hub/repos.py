"""Repositories of results: made, and written to so that nothing is lost or doubled.

What else is done with them, reading a folder at one commit and looking after pull requests, has
modules of its own, and is found here too.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from cfbench.errors import CfbenchError
from cfbench.hub.contents import (
    Content,
    Digests,
    Kind,
    api,
    entries_of,
    head_of,
    lacking,
)
from cfbench.hub.copies import Bounds, read_tree
from cfbench.hub.failures import Asked, NotConnected, about, explained, not_logged_in
from cfbench.hub.patience import Patience, Told, patiently
from cfbench.hub.pull_requests import (
    OpenPullRequest,
    PullRequest,
    ask_open,
    changed_files,
    close,
    comment,
    merge,
    open_pull_requests,
)

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

__all__ = [
    "Bounds", "Created", "OpenPullRequest", "Published", "PullRequest", "changed_files", "close",
    "comment", "create_results_repo", "create_space", "list_files", "login", "merge",
    "open_pull_requests", "publish", "read_tree", "whoami",
]  # fmt: skip

# More than trouble that passes can take.
_TRIES_ON_ONE_COMMIT = 20


@dataclass(frozen=True)
class Published:
    """What became of files that were pushed.

    Attributes:
        url: The page of the commit or pull request.
        commit: A commit that holds them.
        number: That of the pull request; None where they went straight to the main branch.
    """

    url: str
    commit: str
    number: int | None = None


@dataclass(frozen=True)
class Created:
    """What was made.

    Attributes:
        url: The repository's page.
        made: Whether the repository is new.
        written: The files that were written.
        kept: The files that were there already, and were left as they were.
    """

    url: str
    made: bool
    written: tuple[str, ...]
    kept: tuple[str, ...]


def login(what: str = "who you are") -> str:
    """The name of the user who is logged in.

    Args:
        what: What messages begin with.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: The Hub does not accept the login, or is in trouble.
    """
    asked = Asked(what, "")
    with explained(asked):
        from huggingface_hub import get_token

        if get_token() is None:
            raise not_logged_in(what)
    return str(patiently(asked, lambda: api().whoami())["name"])


def whoami() -> str | None:
    """The name of the user who is logged in; None without a login or a network.

    Raises:
        CfbenchError: The Hub does not accept the login, or is in trouble.
    """
    try:
        return login()
    except NotConnected:
        return None


def list_files(repo: str, revision: str | None = None, *, kind: Kind = "dataset") -> list[str]:
    """The paths of all files of a repository, sorted.

    Args:
        repo: `owner/name`.
        revision: A branch, tag, commit or `refs/pr/N`; None for the main branch.
        kind: What the repository is.

    Raises:
        NotConnected: There is no network.
        CfbenchError: They cannot be had; says why.
    """
    asked = about(repo, kind, revision=revision)
    return patiently(
        asked, lambda: sorted(api().list_repo_files(repo, revision=revision, repo_type=kind))
    )


def publish(
    repo: str,
    files: Mapping[str, Content],
    delete: Sequence[str] = (),
    message: str = "Upload",
    description: str = "",
    *,
    pull_request: bool,
    check: Callable[[str], None] | None = None,
    kind: Kind = "dataset",
    patience: Patience | None = None,
    told: Told | None = None,
) -> Published:
    """Write files to a repository as one commit, or offer them as a pull request.

    Nothing is lost when several push at once: a commit is made on the state that was looked at, or
    not at all, and then tried again. Nothing is doubled when an answer is lost: what is there
    already, or in an open pull request of the same user and title, is not written again.

    Args:
        repo: `owner/name`.
        files: Content by path in the repository.
        delete: Paths of files to delete; one that is not there is no mistake. A folder's ends
            in `/`.
        message: The title of the commit or pull request.
        description: Its text.
        pull_request: Offer it, as anybody may, rather than commit it.
        check: Looks at the commit on which this one is to be made, and raises what forbids it. It
            is called anew after every conflict.
        kind: What the repository is.
        patience: When to give up.
        told: Is told of every wait.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It cannot be done, says why; or what `check` raises.
    """
    asked = about(repo, kind, message, doing="the upload", writes=True)
    with explained(asked):
        from huggingface_hub import get_token

        if get_token() is None:
            raise not_logged_in(asked.what)
    wanted = _digests(files)
    tried: Counter[str] = Counter()

    def attempt() -> Published:
        head = head_of(repo, kind)
        tried[head] += 1
        if tried[head] > _TRIES_ON_ONE_COMMIT:
            raise CfbenchError(
                f"{asked.what}: the Hub keeps refusing the commit, though nobody else makes one",
                "try again in some minutes",
            )
        gone = lacking(repo, kind, head, wanted, delete)
        if gone is None:
            return Published(f"{asked.page}/commit/{head}", head)
        if check is not None:
            try:
                check(head)
            except Exception as error:
                raise _Forbidden(error) from error
        if pull_request and (found := _offered(repo, kind, message, wanted, delete)):
            return found
        info = api().create_commit(
            repo,
            _operations(files, gone),
            commit_message=message,
            commit_description=description,
            repo_type=kind,
            parent_commit=head,
            create_pr=pull_request,
        )
        if lacking(repo, kind, info.oid, wanted, delete) is not None:
            raise CfbenchError(
                f"{asked.what}: the Hub has left out files",
                "a .gitignore in the repository may name them",
            )
        number = info.pr_num if pull_request else None
        return Published(str(info.pr_url if pull_request else info.commit_url), info.oid, number)

    try:
        return patiently(asked, attempt, patience or Patience(), told)
    except _Forbidden as forbidden:
        raise forbidden.reason from None


def create_results_repo(repo: str, files: Mapping[str, Content], private: bool = False) -> Created:
    """Make a dataset repository of results, unless there is one.

    Args:
        repo: `owner/name`.
        files: What it holds at the beginning; a file that is there already stays as it is.
        private: Whether only its owner may see it; of no effect on one that is there.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It cannot be made; says why.
    """
    url, made = _create(repo, "dataset", private)
    there = set(list_files(repo))
    new = {path: content for path, content in files.items() if path not in there}
    if new:
        publish(repo, new, message="Begin the leaderboard", pull_request=False)
    return Created(url, made, tuple(sorted(new)), tuple(sorted(set(files) - set(new))))


def create_space(
    repo: str,
    files: Mapping[str, Content],
    private: bool = False,
    sdk: Literal["gradio", "static", "docker"] = "gradio",
) -> Created:
    """Make a Space, unless there is one, and bring its files up to date.

    Args:
        repo: `owner/name`.
        files: The app; what the Space has beside them stays.
        private: Whether only its owner may see it; of no effect on one that is there.
        sdk: What runs it.

    Raises:
        NotConnected: There is no network or no login.
        CfbenchError: It cannot be made; says why.
    """
    url, made = _create(repo, "space", private, sdk)
    asked = about(repo, "space")
    wanted = _digests(files)
    there = patiently(asked, lambda: entries_of(repo, "space", None, files))
    kept = {p for p, digests in wanted.items() if p in there and digests.are_of(there[p])}
    if set(files) - kept:
        publish(repo, files, message="Update the app", pull_request=False, kind="space")
    return Created(url, made, tuple(sorted(set(files) - kept)), tuple(sorted(kept)))


class _Forbidden(Exception):
    """Carries what a check has raised past the errors of the library."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


def _digests(files: Mapping[str, Content]) -> dict[str, Digests]:
    found = {}
    for path, content in files.items():
        try:
            found[path] = Digests.of(content)
        except OSError as error:
            raise CfbenchError(f"{content!s}: cannot be read: {error.strerror}") from None
    return found


def _offered(
    repo: str, kind: Kind, title: str, wanted: Mapping[str, Digests], delete: Sequence[str]
) -> Published | None:
    """The open pull request of this user that offers the same already."""
    user = str(api().whoami()["name"])
    for opened in ask_open(repo, user, kind):
        if opened.title != title.strip():
            continue
        head = head_of(repo, kind, f"refs/pr/{opened.number}")
        if lacking(repo, kind, head, wanted, delete) is None:
            return Published(opened.url, head, opened.number)
    return None


def _operations(
    files: Mapping[str, Content], gone: Sequence[str]
) -> "list[CommitOperationAdd | CommitOperationDelete]":
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    adds = [CommitOperationAdd(path, content) for path, content in files.items()]
    return [*(CommitOperationDelete(path) for path in gone), *adds]


def _create(repo: str, kind: Kind, private: bool, sdk: str | None = None) -> tuple[str, bool]:
    """The page of a repository, and whether it had to be made."""
    asked = about(repo, kind, writes=True)
    with explained(asked):
        from huggingface_hub import get_token

        if get_token() is None:
            raise not_logged_in(asked.what)
    there = patiently(asked, lambda: api().repo_exists(repo, repo_type=kind))
    if not there:
        patiently(
            asked,
            lambda: api().create_repo(
                repo, repo_type=kind, private=private, exist_ok=True, space_sdk=sdk
            ),
        )
    return asked.page, not there
