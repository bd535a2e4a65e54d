"""One file of the Hub as it was at one commit: the only address that a result may rely on."""

import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from cfbench.errors import CfbenchError, clip
from cfbench.hub.failures import KINDS, Asked, endpoint, explained

_HOME = "https://huggingface.co"
_PREFIXES = {"model": "", "dataset": "datasets/", "space": "spaces/"}
_NAME = r"[A-Za-z0-9](?:[A-Za-z0-9_-]|\.(?!\.))*"
_LINK = re.compile(
    rf"/(?:(datasets|spaces)/)?({_NAME}/{_NAME})/(resolve|blob|raw|tree|commit)/([^/]+)(?:/(.+))?"
)
_URI = re.compile(
    rf"hf://(?:(models|datasets|spaces)/)?({_NAME}/{_NAME})(?:@(refs/[^/]+/[^/]+|[^/]+))?/(.+)"
)
_COMMIT = re.compile(r"[0-9a-f]{40}")
_LONGEST = 1000
_FORM = (
    f"give {_HOME}/datasets/OWNER/REPO/resolve/COMMIT/PATH, where COMMIT is the 40 hex digits of a "
    "commit"
)


@dataclass(frozen=True)
class PinnedFile:
    """A file of a repository at a commit, which can be deleted but not changed.

    Attributes:
        kind: `model`, `dataset` or `space`.
        repo: The repository, as `owner/name`.
        commit: 40 hex digits, in lower case.
        path: The file's path in the repository.
    """

    kind: str
    repo: str
    commit: str
    path: str

    @property
    def url(self) -> str:
        """Where anybody can download it."""
        return f"{_HOME}/{_PREFIXES[self.kind]}{self.repo}/resolve/{self.commit}/{quote(self.path)}"

    def __str__(self) -> str:
        return clip(f"{_PREFIXES[self.kind]}{self.repo}/{self.path}@{self.commit[:8]}", 200)


def parse_pinned(text: str) -> PinnedFile:
    """The file that an address names.

    Args:
        text: `https://huggingface.co/[datasets/|spaces/]OWNER/REPO/resolve/COMMIT/PATH`, with the
            host of HF_ENDPOINT too, or `hf://[datasets/|spaces/]OWNER/REPO@COMMIT/PATH`.

    Raises:
        CfbenchError: It names none, or one that can change: a branch, a tag, a pull request or an
            abbreviated commit.
    """
    if len(text) > _LONGEST:
        raise CfbenchError(f"the address has more than {_LONGEST:,} characters", _FORM)
    if not text.isprintable() or "\\" in text or text != text.strip():
        raise CfbenchError(f"{_shown(text)}: characters that no address has", _FORM)
    if text[:5].casefold() == "hf://":
        kind, repo, revision, path = _split_uri(text)
    else:
        kind, repo, revision, path = _split_link(text)
    commit = revision.casefold()
    if not _COMMIT.fullmatch(commit):
        raise CfbenchError(f"{_shown(text)}: {_why_not(revision)}", _FORM)
    if {"", ".", ".."} & set(path.split("/")) or "%" in path:
        raise CfbenchError(f"{_shown(text)}: not a path inside a repository", _FORM)
    return PinnedFile(kind, repo, commit, path)


def fetch_pinned(file: PinnedFile, folder: Path, limit: int, *, login: bool = False) -> Path:
    """Download a file into a folder, unless it is too large.

    Args:
        file: The file.
        folder: An empty folder, or one that this function has filled.
        limit: How many bytes it may have; a file whose size the Hub does not tell is refused.
        login: Whether to ask with the login of this machine. As a rule not: what everybody relies
            on must be there for everybody, and the address may be given by somebody who must not
            read what this machine's login can.

    Returns:
        The file's path in the folder.

    Raises:
        CfbenchError: It is too large or cannot be had; says why.
    """
    asked = Asked(
        str(file),
        file.repo,
        file.kind,
        file.commit,
        file.path,
        doing="the download",
        place=str(folder),
        otherwise="" if login else "a file that others verify must be public",
    )
    token = None if login else False
    with explained(asked):
        from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

        url = hf_hub_url(file.repo, file.path, repo_type=file.kind, revision=file.commit)
        told = get_hf_file_metadata(url, token=token)
    if told.commit_hash != file.commit:
        raise CfbenchError(
            f"{file}: what answers at {endpoint()} is not the Hub, or has another commit",
            "check HF_ENDPOINT, the proxy and the firewall",
        )
    if told.size is None:
        raise CfbenchError(f"{file}: the Hub does not tell its size", "upload it again")
    if told.size > limit:
        raise CfbenchError(
            f"{file}: {told.size:,} bytes, more than the {limit:,} that it may have",
            "write Parquet, which is smaller than text",
        )
    with explained(asked):
        path = Path(
            hf_hub_download(
                file.repo,
                file.path,
                repo_type=file.kind,
                revision=file.commit,
                local_dir=folder,
                token=token,
            )
        )
    if path.stat().st_size != told.size:
        path.unlink()
        raise CfbenchError(
            f"{file}: has another size than the {told.size:,} bytes that the Hub tells", "try again"
        )
    return path


def _split_uri(text: str) -> tuple[str, str, str, str]:
    """Kind, repo, revision and path of hf://."""
    match = _URI.fullmatch("hf://" + text[len("hf://") :])
    if match is None or "?" in text or "#" in text:
        raise CfbenchError(f"{_shown(text)}: not the address of a file", _FORM)
    return _kind(match[1]), match[2], match[3] or "", match[4]


def _split_link(text: str) -> tuple[str, str, str, str]:
    """Kind, repo, revision and path of a download link."""
    try:
        parts = urlsplit(text)
    except ValueError:
        raise CfbenchError(f"{_shown(text)}: not an address", _FORM) from None
    if "@" in parts.netloc:
        # It is not repeated: a message may end in a log.
        raise CfbenchError(
            "the address holds a user name or a token", "leave it out: the file must be public"
        )
    mirror = urlsplit(endpoint())
    path = parts.path
    if (parts.scheme, parts.netloc.casefold()) == (mirror.scheme, mirror.netloc.casefold()):
        path = path.removeprefix(mirror.path.rstrip("/"))
    elif (parts.scheme, parts.netloc.casefold()) != tuple(_HOME.split("://")):
        raise CfbenchError(f"{_shown(text)}: not an address on the Hugging Face Hub", _FORM)
    if parts.fragment or parts.query not in ("", "download=true"):
        raise CfbenchError(f"{_shown(text)}: more than an address (? or #)", "leave that out")
    match = _LINK.fullmatch(path)
    if match is None or (match[3] in ("resolve", "blob", "raw") and not match[5]):
        raise CfbenchError(f"{_shown(text)}: not the address of a file", _FORM)
    if match[3] != "resolve":
        raise CfbenchError(
            f"{_shown(text)}: the address of a page, not of the file itself",
            f"write resolve where it has {match[3]}; {_FORM}",
        )
    inside = [unquote(part) for part in match[5].split("/")]
    # One way to write a path: nothing is hidden by a second one.
    for part, said in zip(match[5].split("/"), inside, strict=True):
        plain = "%" not in part
        if not plain and quote(said, safe="").casefold() != part.casefold():
            raise CfbenchError(f"{_shown(text)}: not a path inside a repository", _FORM)
        if {"/", "\\"} & set(said) or not said.isprintable():
            raise CfbenchError(f"{_shown(text)}: not a path inside a repository", _FORM)
    return _kind(match[1]), match[2], unquote(match[4]), "/".join(inside)


def _kind(prefix: str | None) -> str:
    kind = (prefix or "models").removesuffix("s")
    assert kind in KINDS  # noqa: S101 - the patterns let no other through
    return kind


def _why_not(revision: str) -> str:
    name = clip(revision)
    if not revision:
        return "names no commit, so that the file can change"
    if re.fullmatch(r"[0-9a-fA-F]{4,39}", revision):
        return f"'{name}' is an abbreviated commit, which can become that of another one"
    if revision.startswith("refs/"):
        return f"'{name}' is a reference, which can change"
    return f"'{name}' is no commit but the name of a branch or tag, which can change"


def _shown(text: str) -> str:
    """An address as a message may repeat it: a login in it is not."""
    return clip(re.sub(r"//[^/]*@(?=[^/]*(?:/|$))", "//\u2026@", text), 200)
