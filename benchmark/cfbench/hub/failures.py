"""What huggingface_hub raises, and what a user is told of it: why, and a way out.

No message repeats a text that could hold a token.
"""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import Any
from urllib.parse import urlsplit

from cfbench.errors import CfbenchError, clip, did_you_mean, name_some

KINDS = {"model": "model repository", "dataset": "dataset repository", "space": "Space"}
"""The kinds of repositories, as messages call them."""

INSTALL = "pip install 'huggingface_hub>=1.31,<3'"
_NAME = r"[A-Za-z0-9][\w.-]*"
_REPO = re.compile(rf"{_NAME}/{_NAME}", re.ASCII)
LOG_IN = "log in with `hf auth login` or set HF_TOKEN"

Explained = tuple[str, str]
"""A message and a hint."""


class NotConnected(CfbenchError):
    """There is no network, no login, or offline mode is on: the Hub was not asked at all."""


class InTrouble(CfbenchError):
    """The Hub was asked, and cannot answer now: too many requests, its own error, a broken line."""


class Trouble(Enum):
    """Whether it helps to ask again."""

    CONFLICT = "somebody else was faster"
    LIMIT = "too many requests"
    PASSING = "the Hub or the connection is in trouble"
    UNREACHABLE = "the Hub cannot be reached"
    LASTING = "it will not get better"


@dataclass(frozen=True)
class Asked:
    """What was asked of the Hub, as messages tell it.

    Attributes:
        what: What messages begin with: the address of a file, or the repository.
        repo: The repository, as `owner/name`.
        kind: `model`, `dataset` or `space`.
        revision: Which of its states; None for the branch main.
        path: Which of its files; empty where it is none.
        doing: What breaks off.
        writes: Whether the repository was to be changed.
        elsewhere: What else can be done; part of a hint.
        by_hand: The command that does the same; empty where there is none.
        place: Where a download is put; empty for the cache of huggingface_hub.
        otherwise: Part of the hint where there is no such repository.
        forms: How a repository or file is named; a hint.
        no_entry: Message and hint where there is no such file.
    """

    what: str
    repo: str
    kind: str = "model"
    revision: str | None = None
    path: str = ""
    doing: str = "the request"
    writes: bool = False
    elsewhere: str = ""
    by_hand: str = ""
    place: str = ""
    otherwise: str = ""
    forms: str = "a repository is given as OWNER/NAME"
    no_entry: Callable[[], Explained] | None = None

    @property
    def page(self) -> str:
        """The repository's page on the Hub."""
        return f"{endpoint()}/{'' if self.kind == 'model' else self.kind + 's/'}{self.repo}"


def about(repo: str, kind: str = "dataset", what: str = "", **more: Any) -> Asked:
    """What is asked of a repository that a user has named.

    Args:
        repo: `owner/name`.
        kind: `model`, `dataset` or `space`.
        what: What is done with it; messages begin with the repository and this.
        more: Other attributes of `Asked`.

    Raises:
        CfbenchError: That is no name of a repository.
    """
    if not _REPO.fullmatch(repo):
        # What could be the login of an address is not repeated.
        shown = clip(re.sub(r".*@", "\u2026@", repo, flags=re.DOTALL), 200)
        raise CfbenchError(f"'{shown}' is no name of a {KINDS[kind]}", Asked.forms)
    return Asked(f"{repo}: {clip(what)}" if what else repo, repo, kind, **more)


@contextmanager
def explained(asked: Asked) -> Iterator[None]:
    """Calls of huggingface_hub, whose failures are raised as CfbenchError.

    Raises:
        NotConnected: There is no network, no login, or offline mode is on.
        InTrouble: The Hub cannot answer now.
        CfbenchError: Anything else went wrong.
    """
    try:
        yield
    except ImportError:
        raise CfbenchError(
            f"{asked.what}: the Hub needs the package huggingface_hub", INSTALL
        ) from None
    except failures() as error:
        raise explain(error, asked) from None


def failures() -> tuple[type[Exception], ...]:
    """What huggingface_hub raises where something cannot be had or done."""
    from huggingface_hub.errors import HfHubHTTPError, XetDownloadError

    # The errors of the connection are those of httpx in version 1 and of httpx2 in version 2.
    bases = [base for base in HfHubHTTPError.__bases__ if issubclass(base, Exception)]
    # Last what the library stumbles over when the answer is none of the Hub's.
    return (*bases, XetDownloadError, OSError, RuntimeError, ValueError, KeyError, TypeError)


def trouble(error: Exception) -> Trouble:
    """Whether it helps to ask again after an error of `failures`."""
    from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

    reason = _reason(error)
    if isinstance(reason, HfHubHTTPError):
        status = reason.response.status_code
        if status in (409, 412):
            return Trouble.CONFLICT
        if status == 429:
            return Trouble.LIMIT
        return Trouble.PASSING if status >= 500 or status == 408 else Trouble.LASTING
    if isinstance(reason, OfflineModeIsEnabled):
        return Trouble.LASTING
    if _is_unreachable(reason):
        return Trouble.UNREACHABLE
    if isinstance(reason, RuntimeError):
        # Another thread's failure has closed the connections that all share.
        return Trouble.PASSING if "client has been closed" in str(reason) else Trouble.LASTING
    name = type(reason).__name__
    broken = isinstance(reason, OSError) and _of_network(reason)
    of_httpx = any(base.__name__ == "TransportError" for base in type(reason).__mro__)
    steady = name in ("LocalProtocolError", "UnsupportedProtocol", "ProxyError")
    return Trouble.PASSING if broken or (of_httpx and not steady) else Trouble.LASTING


def retry_after(error: Exception) -> float | None:
    """How many seconds the Hub asks to wait; None where it does not say."""
    headers = getattr(getattr(_reason(error), "response", None), "headers", None)
    if headers is None:
        return None
    told = headers.get("Retry-After", "").strip()
    if told.isascii() and told.isdigit():
        return float(told)
    # What the Hub sends: "api";r=0;t=55
    window = re.search(r";\s*r\s*=\s*0\s*;\s*t\s*=\s*(\d+)", headers.get("RateLimit", ""))
    return float(window[1]) if window else None


def explain(error: Exception, asked: Asked) -> CfbenchError:
    """What went wrong, as an error to raise; never with a text that could hold a token."""
    from huggingface_hub import constants, errors

    what, where = asked.what, endpoint()
    instead = f"; or {asked.elsewhere}" if asked.elsewhere else ""
    uncached = isinstance(error, errors.LocalEntryNotFoundError)
    reason = _reason(error)
    but = ", and the cache does not hold it" if uncached else ""
    kind: type[CfbenchError] = CfbenchError
    match reason:
        case errors.LocalTokenNotFoundError():
            return not_logged_in(what)
        case errors.GatedRepoError():
            message = f"{what}: {asked.repo} is gated, and you are not on its list"
            hint = f"ask for access at {asked.page}, then {LOG_IN}"
        case errors.RepositoryNotFoundError():
            message = f"{what}: the Hub has no {KINDS[asked.kind]} {asked.repo} that you may see"
            hint = f"check the name; if it is private, {LOG_IN}"
            hint += f"; {asked.otherwise}" if asked.otherwise else ""
        case errors.RevisionNotFoundError():
            message, hint = _no_revision(asked)
        case errors.RemoteEntryNotFoundError():
            message, hint = asked.no_entry() if asked.no_entry else _no_entry(asked)
        case errors.OfflineModeIsEnabled():
            kind, message = NotConnected, f"{what}: offline mode is on{but}"
            hint = f"unset HF_HUB_OFFLINE where there is a network{instead}"
        case errors.HFValidationError():
            message, hint = f"'{clip(asked.repo)}' is no name of a {KINDS[asked.kind]}", asked.forms
        case errors.FileMetadataError() | json.JSONDecodeError() | KeyError() | TypeError():
            message = f"{what}: what answers at {where} is not the Hub{but}"
            hint = f"check HF_ENDPOINT, the proxy and the firewall{instead}"
        case errors.HfHubHTTPError():
            message, hint = _refused(reason, asked, but)
        case _ if uncached or _is_unreachable(reason):
            # Of the connection only: such an error has seen no headers, and so no token.
            told = f" ({clip(str(reason))})" if reason is not error or not uncached else ""
            kind, message = NotConnected, f"{what}: the Hub cannot be reached at {where}{told}{but}"
            hint = f"check the network, the proxy and HF_ENDPOINT{instead}"
        case OSError(errno=int(), strerror=str(why)) if not _of_network(reason):
            message = f"{what}: cannot be stored in {asked.place or constants.HF_HUB_CACHE}: {why}"
            other = "name another folder" if asked.place else "HF_HOME names another folder"
            hint = f"free some space or mend its rights; {other}"
        case _:
            message = f"{what}: {asked.doing} broke off ({type(reason).__name__})"
            where = f"; where it keeps failing, {asked.elsewhere}" if asked.elsewhere else ""
            hint = f"try again{where}"
    if kind is CfbenchError and trouble(error) in (Trouble.LIMIT, Trouble.PASSING):
        kind = InTrouble
    return kind(message, hint)


def not_logged_in(what: str) -> NotConnected:
    """The error where something needs a login and there is none."""
    return NotConnected(f"{what}: you are not logged in to the Hugging Face Hub", LOG_IN)


def endpoint() -> str:
    """The Hub that is asked, without a password that its address may hold."""
    from huggingface_hub import constants

    parts = urlsplit(constants.ENDPOINT)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def listed(ask: Callable[[], list[str]]) -> list[str]:
    """What the Hub lists; nothing where that fails too, for it only helps to explain."""
    try:
        return sorted(ask())
    except failures():
        return []


def _reason(error: BaseException) -> BaseException:
    """The cause, where an error only tells that something followed from it."""
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError | RuntimeError) and error.__cause__ is not None:
        return _reason(error.__cause__)
    return error


def _refused(error: BaseException, asked: Asked, but: str) -> Explained:
    what = asked.what
    status: int = getattr(error, "response").status_code  # noqa: B009 - its type depends on httpx
    told = _told(error) if asked.writes else ""
    if status == 401:
        return (
            f"{what}: the Hub does not accept your token (401){but}",
            "log in again with `hf auth login`, or set HF_TOKEN to a valid one, or unset it",
        )
    if status == 403 and asked.writes:
        return (
            f"{what}: you may not write to {asked.repo} (403){told}",
            "offer it as a pull request, or use a token with the right to write: "
            "see `hf auth whoami`",
        )
    if status == 403:
        return (
            f"{what}: the Hub refuses access (403){but}",
            "the repository may be disabled, or the token may not read it: see `hf auth whoami`",
        )
    if status in (409, 412) and asked.writes:
        return (
            f"{what}: others keep changing {asked.repo} ({status}){told}",
            "try again in some minutes",
        )
    if status == 429:
        seconds = retry_after(error) if isinstance(error, Exception) else None
        wait = f"wait {seconds:.0f} seconds" if seconds is not None else "wait some minutes"
        return (
            f"{what}: too many requests from here (429){but}",
            f"{wait}; the limit is higher after `hf auth login`",
        )
    where = "the Hub is in trouble" if status >= 500 else "the Hub refuses the request"
    by_hand = f"; or by hand: {asked.by_hand}" if asked.by_hand else ""
    return f"{what}: {where} ({status}){told}{but}", f"try again later{by_hand}"


def _told(error: BaseException) -> str:
    """What the Hub says of a refusal, unless it could hold a token."""
    from huggingface_hub import get_token

    said = clip(str(getattr(error, "server_message", None) or ""), 300).strip()
    secret = get_token() or ""
    # A part of a token is one too.
    parts = {secret[at : at + 8] for at in range(max(len(secret) - 7, 0))}
    if not said or re.search(r"hf_|bearer", said, re.IGNORECASE) or any(p in said for p in parts):
        return ""
    return f": {said}"


def _no_entry(asked: Asked) -> Explained:
    at = f" at revision {clip(asked.revision)}" if asked.revision else ""
    return (
        f"{asked.repo} has no file '{clip(asked.path, 120)}'{at}",
        f"look at the repository's list of files: {asked.page}",
    )


def _no_revision(asked: Asked) -> Explained:
    from huggingface_hub import HfApi

    def named() -> list[str]:
        refs = HfApi().list_repo_refs(asked.repo, repo_type=asked.kind)
        return [ref.name for ref in (*refs.branches, *refs.tags)]

    names = listed(named)
    revision = asked.revision or "main"
    message = f"{asked.repo} has no revision '{clip(revision)}'{did_you_mean(revision, names)}"
    there = f"its branches and tags: {name_some(names, shown=10)}; " if names else ""
    return message, f"{there}a commit is given by its 40 hex digits"


def _is_unreachable(error: BaseException) -> bool:
    """Whether no connection came about."""
    return type(error).__name__ in ("ConnectError", "ConnectTimeout")


def _of_network(error: BaseException) -> bool:
    return isinstance(error, ConnectionError | TimeoutError)
