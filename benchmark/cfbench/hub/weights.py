"""Files of weights in model repositories on the Hugging Face Hub, as files of this machine."""

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote, urlsplit

from cfbench.errors import CfbenchError, clip, name_some
from cfbench.hub.failures import Asked, explained, listed

SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors")
"""What a file of weights is called."""

_SUFFIX = rf"(?:{'|'.join(map(re.escape, SUFFIXES))})"
_NAME = r"[A-Za-z0-9][\w.-]*"
_BARE = re.compile(rf"{_NAME}/{_NAME}(?:@[^/]+)?/.*{_SUFFIX}(?:@.+)?", re.IGNORECASE | re.ASCII)
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
# The names of references that hold a slash and are not percent-encoded in addresses.
_SPECIAL_REF = r"refs/(?:pr/\d+|convert/[\w.-]+)"
_AT_REVISION = re.compile(rf"([^/@]+/[^/@]+)@({_SPECIAL_REF}|[^/]+)(?:/(.*))?", re.DOTALL)
# Only after a suffix, as "@" may be part of a file's name.
_REVISION_AT_END = re.compile(rf"(.+{_SUFFIX})@(.+)", re.IGNORECASE | re.DOTALL)
_PAGE = re.compile(
    rf"([^/]+/[^/]+)(?:/(?:resolve|blob|raw|tree)(?:/({_SPECIAL_REF}|[^/]+)(?:/(.*))?)?)?",
    re.DOTALL,
)
_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")
_OTHER_KINDS = ("datasets", "spaces", "kernels", "buckets")
_FORMS = (
    "a file on the Hub is given as OWNER/REPO/PATH.pth, hf://OWNER/REPO/PATH.pth[@REVISION] or "
    "https://huggingface.co/OWNER/REPO/resolve/REVISION/PATH.pth"
)


@dataclass(frozen=True)
class _Address:
    """One file of a model repository; no revision means the repository's main branch."""

    repo: str
    path: str
    revision: str | None

    def __str__(self) -> str:
        return clip(
            f"{self.repo}/{self.path}" + (f"@{self.revision}" if self.revision else ""), 200
        )


def is_cached(repo: str) -> bool:
    """Whether the weights of a model, `owner/repo`, are in the cache of huggingface_hub."""
    from huggingface_hub import try_to_load_from_cache

    names = ("model.safetensors", "pytorch_model.bin")
    return any(isinstance(try_to_load_from_cache(repo, name), str) for name in names)


def is_address(text: str) -> bool:
    """Whether `text` names a file on the Hub rather than one of this machine.

    What begins with a scheme (`hf://`, `https://`) does. `owner/repo/path/to/file.pth` does unless
    there is such a file or folder here, or a folder `owner/repo` in which it could be expected.
    """
    if _SCHEME.match(text):
        return not _is_here(text)
    if not _BARE.fullmatch(text):
        return False
    return not _is_here(text) and not _is_here("/".join(text.split("/")[:2]))


def fetch(address: str, revision: str | None = None) -> Path:
    """Download a file of weights from a model repository, unless the cache holds it.

    Args:
        address: `owner/repo/path/to/file.pth`, `hf://owner/repo/path/to/file.pth`, both with or
            without `@revision` at the end or behind the repo, or the file's page or download link
            on huggingface.co. A file of this machine by that name is returned as it is.
        revision: A branch, tag or commit, where the address names none.

    Returns:
        The file's path in the cache of huggingface_hub.

    Raises:
        CfbenchError: The address is none, or the file cannot be had; says why and what to do.
    """
    if _is_here(address) and Path(address).is_file():
        return Path(address)
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise CfbenchError(
            f"{clip(address)}: files of the Hub need the package huggingface_hub",
            "pip install 'cfbench[baseline]', or download the file and give it by its path",
        ) from None
    found = _parse(address, revision)
    with explained(_asked(found)):
        return Path(hf_hub_download(found.repo, found.path, revision=found.revision))


def _parse(text: str, revision: str | None) -> _Address:
    """The file that an address names.

    Raises:
        CfbenchError: It names none, or not a file of weights.
    """
    scheme = _SCHEME.match(text)
    if scheme is None:
        repo, path, named = _split_uri(text)
    elif scheme[0].casefold() == "hf://":
        repo, path, named = _split_uri(text[len("hf://") :])
    else:
        repo, path, named = _split_url(text)
    if named and revision and named != revision:
        raise CfbenchError(
            f"{clip(text)}: the address names revision '{clip(named)}', but '{clip(revision)}' "
            "is asked for",
            "give one of them",
        )
    address = _Address(repo, path, named or revision)
    _check(address)
    return address


def _split_uri(body: str) -> tuple[str, str, str | None]:
    """Repo, path and revision of what follows hf://."""
    kind, _, rest = body.partition("/")
    _check_kind(kind)
    body = rest if kind == "models" else body
    if match := _AT_REVISION.fullmatch(body):
        return match[1], match[3] or "", unquote(match[2])
    parts = body.split("/", 2)
    repo, path = "/".join(parts[:2]), "/".join(parts[2:])
    if match := _REVISION_AT_END.fullmatch(path):
        return repo, match[1], unquote(match[2])
    return repo, path, None


def _split_url(text: str) -> tuple[str, str, str | None]:
    """Repo, path and revision of a page or a download link."""
    from huggingface_hub import constants

    parts = urlsplit(text)
    if "@" in parts.netloc:
        # It is not repeated: a message may end in a log.
        raise CfbenchError(
            "the address holds a user name or a token",
            "leave it out, and log in with `hf auth login` or set HF_TOKEN",
        )
    mirror = urlsplit(constants.ENDPOINT)
    path = parts.path
    if parts.netloc.casefold() == mirror.netloc.casefold():
        path = path.removeprefix(mirror.path)
    elif parts.netloc.casefold() not in _HOSTS or parts.scheme.casefold() not in ("https", "http"):
        shown = clip(f"{parts.scheme}://{parts.netloc}{parts.path}")
        raise CfbenchError(
            f"{shown}: not an address on the Hugging Face Hub",
            f"download the file and give it by its path; {_FORMS}",
        )
    path = path.strip("/")
    _check_kind(path.partition("/")[0])
    match = _PAGE.fullmatch(path)
    if match is None:
        raise CfbenchError(f"{clip(path)}: not the page of a file on the Hub", _FORMS)
    repo, named, inside = (unquote(part) if part else "" for part in match.groups())
    return repo, inside, named or None


def _check_kind(kind: str) -> None:
    if kind in _OTHER_KINDS:
        raise CfbenchError(
            f"the address is of the Hub's {kind}; weights are fetched from model repositories",
            _FORMS,
        )


def _check(address: _Address) -> None:
    """Refuse what is no file of weights, and names that would leave the cache's folder."""
    if not re.fullmatch(rf"{_NAME}/{_NAME}", address.repo, re.ASCII):
        raise CfbenchError(f"'{clip(address.repo)}' is no name of a model repository", _FORMS)
    parts = address.path.split("/")
    if not address.path or not address.path.casefold().endswith(SUFFIXES):
        what = f"{address}: not a file of weights" if address.path else f"{address.repo}: no file"
        raise CfbenchError(what, f"their names end in {', '.join(SUFFIXES)}; {_FORMS}")
    if not address.path.isprintable() or "\\" in address.path or {"", ".", ".."} & set(parts):
        raise CfbenchError(f"{address}: not a path inside a repository", _FORMS)
    if address.revision is not None:
        # Those of git; a reference becomes a file of the cache.
        wrong = re.search(r"[\s~^:?*\[\\]|\.\.|//|^[/.-]|/$|^$", address.revision)
        if wrong or not address.revision.isprintable():
            raise CfbenchError(
                f"'{clip(address.revision)}' is no name of a revision",
                "give a branch, a tag, or a commit by its 40 hex digits",
            )


def _asked(address: _Address) -> Asked:
    by_hand = _command(address)
    return Asked(
        str(address),
        address.repo,
        revision=address.revision,
        path=address.path,
        doing="the download",
        elsewhere=f"on a machine that has it: {by_hand}; then copy the file and give it by its "
        "path",
        by_hand=by_hand,
        otherwise="a file of this machine is given by a path that exists",
        forms=_FORMS,
        no_entry=lambda: _no_entry(address),
    )


def _no_entry(address: _Address) -> tuple[str, str]:
    from huggingface_hub import HfApi

    files = listed(lambda: HfApi().list_repo_files(address.repo, revision=address.revision))
    weights = [path for path in files if path.casefold().endswith(SUFFIXES)]
    at = f" at revision {clip(address.revision)}" if address.revision else ""
    message = f"{address.repo} has no file '{clip(address.path, 120)}'{at}"
    message += _nearest(address.path, weights)
    if weights:
        return message, f"its files of weights: {name_some(weights, shown=10, width=120)}"
    if files:
        return message, f"it has no files of weights, only {name_some(files, width=120)}"
    return message, "look at the repository's list of files"


def _nearest(path: str, files: Sequence[str]) -> str:
    """As `did_you_mean`, by the name alone: the wrong folder is as likely as the wrong name."""
    by_name = {file.rpartition("/")[2].casefold(): file for file in files}
    near = get_close_matches(path.rpartition("/")[2].casefold(), list(by_name), n=1)
    return f" (did you mean '{clip(by_name[near[0]], 120)}'?)" if near else ""


def _command(address: _Address) -> str:
    revision = ["--revision", address.revision] if address.revision else []
    return shlex.join(["hf", "download", address.repo, address.path, *revision])


def _is_here(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):
        return False  # no name that a file could have
