"""A folder of a dataset repository as it is at one commit, as a folder of this machine."""

import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cfbench.errors import CfbenchError, clip, plural
from cfbench.files import write_text
from cfbench.hub.contents import Digests, head_of, tree_of
from cfbench.hub.failures import about
from cfbench.hub.patience import patiently

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

_MARKER = ".hub-copy"
_INCOMING = ".hub-incoming"
_DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class Bounds:
    """How much is downloaded of a repository that others write to.

    Attributes:
        file: Bytes of one file.
        total: Bytes in all.
        files: How many files.
    """

    file: int = 256 * 2**20
    total: int = 8 * 2**30
    files: int = 50_000


def read_tree(
    repo: str,
    under: str,
    folder: Path,
    revision: str | None = None,
    bounds: Bounds | None = None,
    only: Callable[[str], bool] | None = None,
) -> str:
    """Download a folder of a dataset repository as it is at one commit.

    What an earlier call has left in `folder` is kept where it is the same, and deleted where the
    repository no longer has it, or where it is not asked for any more.

    Args:
        repo: `owner/name`.
        under: The folder in the repository; empty for all of it.
        folder: A folder that is empty, not there, or made by this function. Files get the same
            paths in it as in the repository.
        revision: A branch, tag, commit or `refs/pr/N`; None for the main branch.
        bounds: How much may be downloaded.
        only: Which paths are downloaded; None for all.

    Returns:
        The commit, 40 hex digits.

    Raises:
        NotConnected: There is no network.
        CfbenchError: The folder is of something else, or the files cannot be had or are too many
            or too large.
    """
    under = under.strip("/")
    asked = about(repo, revision=revision, doing="the download", place=str(folder))
    _claim(folder, repo)
    commit = patiently(asked, lambda: head_of(repo, "dataset", revision))
    entries = patiently(asked, lambda: _folder(repo, commit, under))
    if only is not None:
        entries = [entry for entry in entries if only(entry.path)]
    _check_bounds(repo, entries, bounds or Bounds())
    incoming = folder / _INCOMING
    wanted = {entry.path: entry for entry in entries}
    have = {path for path in _files_in(folder) if path in wanted}
    missing = [
        entry
        for path, entry in wanted.items()
        if path not in have or not _is_same(folder / path, entry)
    ]

    def download(entry: "RepoFile") -> None:
        patiently(asked, lambda: _download(repo, commit, entry, folder, incoming))

    pool = ThreadPoolExecutor(_DOWNLOADS_AT_ONCE)
    try:
        for _ in pool.map(download, missing):
            pass
    finally:
        pool.shutdown(cancel_futures=True)
        shutil.rmtree(incoming, ignore_errors=True)
    inside = f"{under}/" if under else ""
    for path in _files_in(folder):
        if path.startswith(inside) and path not in wanted:
            (folder / path).unlink()
            _prune((folder / path).parent, folder)
    return commit


def _claim(folder: Path, repo: str) -> None:
    """Make sure that a folder is a copy of the repository, or can become one."""
    marker = folder / _MARKER
    try:
        folder.mkdir(parents=True, exist_ok=True)
        strange = any(folder.iterdir()) and not (
            marker.is_file() and marker.read_text(encoding="utf-8") == repo
        )
    except (OSError, ValueError) as error:
        raise CfbenchError(f"{folder}: cannot be used: {error}", "name another folder") from None
    if strange:
        raise CfbenchError(
            f"{folder}: not empty, and no copy of {clip(repo)}",
            "name an empty folder: what the repository does not have would be deleted",
        )
    write_text(marker, repo)


def _check_bounds(repo: str, entries: Sequence["RepoFile"], bounds: Bounds) -> None:
    if len(entries) > bounds.files:
        raise CfbenchError(
            f"{clip(repo)}: {plural(len(entries), 'file')}, more than the {bounds.files:,} allowed"
        )
    for entry in entries:
        if entry.size > bounds.file:
            raise CfbenchError(
                f"{clip(repo)}: '{clip(entry.path)}' has {entry.size:,} bytes, more than the "
                f"{bounds.file:,} allowed"
            )
        parts = entry.path.split("/")
        if (
            {"", ".", "..", _INCOMING} & set(parts)
            or "\\" in entry.path
            or not entry.path.isprintable()
        ):
            raise CfbenchError(f"{clip(repo)}: '{clip(entry.path)}' is no path inside a folder")
    total = sum(entry.size for entry in entries)
    if total > bounds.total:
        raise CfbenchError(
            f"{clip(repo)}: {total:,} bytes in all, more than the {bounds.total:,} allowed"
        )


def _files_in(folder: Path) -> list[str]:
    paths = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = (path.relative_to(folder).as_posix() for path in paths)
    return [name for name in names if name != _MARKER]


def _folder(repo: str, commit: str, under: str) -> list["RepoFile"]:
    """The files in a folder; none where there is no such folder, as in a new repository."""
    from huggingface_hub.errors import RemoteEntryNotFoundError

    try:
        return tree_of(repo, "dataset", commit, under)
    except RemoteEntryNotFoundError:
        return []


def _prune(folder: Path, top: Path) -> None:
    """Delete a folder and those above it that are empty."""
    while folder != top and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent


def _is_same(path: Path, entry: "RepoFile") -> bool:
    return not path.is_symlink() and path.is_file() and Digests.of(path).are_of(entry)


def _download(repo: str, commit: str, entry: "RepoFile", folder: Path, incoming: Path) -> None:
    from huggingface_hub import hf_hub_download

    came = Path(
        hf_hub_download(repo, entry.path, repo_type="dataset", revision=commit, local_dir=incoming)
    )
    if not Digests.of(came).are_of(entry):
        came.unlink()
        raise ConnectionError("other content than the repository has")
    place = folder / entry.path
    place.parent.mkdir(parents=True, exist_ok=True)
    came.replace(place)
