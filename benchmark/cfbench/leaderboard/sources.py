"""Where a leaderboard's entries are: a folder of this machine, or a repository of the Hub."""

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cfbench.errors import CfbenchError, clip
from cfbench.hub.copies import read_tree
from cfbench.mini.store import cache_folder
from cfbench.submission import VERIFIED

_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Source:
    """The entries of a leaderboard, as a folder.

    Attributes:
        folder: The folder of entries.
        commit: Of which commit of the repository it is; None for a folder of this machine.
    """

    folder: Path
    commit: str | None = None


@contextmanager
def opened(
    source: str, under: str, revision: str | None = None, cache: Path | None = None
) -> Iterator[Source]:
    """The entries that an argument means; a folder of that name always wins.

    A repository is copied into the cache. Receipts that are written into the copy are kept for the
    next time: they hold as long as the entry's files are the same.

    Args:
        source: A folder, or `owner/name` of a dataset repository.
        under: The folder of the entries in a repository.
        revision: A branch, tag or commit of the repository; None for the main branch.
        cache: For copies; None for the cache of cfbench.

    Raises:
        NotConnected: There is no network.
        CfbenchError: It is neither, or the repository cannot be read.
    """
    here = Path(source)
    if here.exists() or not _REPO.fullmatch(source):
        if revision is not None:
            raise CfbenchError(
                f"{clip(source)}: has no revision '{clip(revision)}': it is no repository",
                "--revision is for OWNER/NAME of a dataset repository on the Hub",
            )
        if not here.exists():
            raise CfbenchError(
                f"{clip(source)}: there is no such folder, and it is no OWNER/NAME of a repository",
                "give the folder that holds the submissions, or a dataset repository of the Hub",
            )
        yield Source(here)
        return
    place = (cache_folder() if cache is None else cache) / "boards" / source.replace("/", "--")
    copy, kept = place / "copy", place / "receipts"
    commit = read_tree(source, under, copy, revision)
    board = copy / under
    board.mkdir(parents=True, exist_ok=True)
    theirs = _receipts(board / VERIFIED)
    _copy_missing(kept, board / VERIFIED, theirs)
    try:
        yield Source(board, commit)
    finally:
        _copy_missing(board / VERIFIED, kept, theirs)


def _receipts(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def _copy_missing(source: Path, target: Path, theirs: set[str]) -> None:
    """Copy receipts but those that the repository has itself."""
    for name in sorted(_receipts(source) - theirs):
        target.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)
