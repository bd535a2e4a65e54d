"""What a repository holds at a commit, told by digests: so that nothing is written twice.

These functions ask once, and raise what huggingface_hub raises.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import RepoFile, RepoFolder

Kind = Literal["model", "dataset", "space"]
Content = bytes | Path
"""A file to upload: its bytes, or where it is."""

_PATHS_AT_ONCE = 200


@dataclass(frozen=True)
class Digests:
    """By what git and the large file storage know a content."""

    git: str
    sha256: str

    @classmethod
    def of(cls, content: Content) -> "Digests":
        """Those of a content; a file is read in pieces."""
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        git = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
        sha256 = hashlib.sha256()
        if isinstance(content, bytes):
            git.update(content)
            sha256.update(content)
        else:
            with content.open("rb") as file:
                while chunk := file.read(1 << 20):
                    git.update(chunk)
                    sha256.update(chunk)
        return cls(git.hexdigest(), sha256.hexdigest())

    def are_of(self, entry: "RepoFile | RepoFolder") -> bool:
        """Whether a file of a repository has this content."""
        lfs = getattr(entry, "lfs", None)
        if lfs is not None:
            return bool(lfs.sha256 == self.sha256)
        return bool(getattr(entry, "blob_id", None) == self.git)


def api() -> "HfApi":
    """The client, made anew for each use: it keeps the Hub's address as it is when it is made."""
    from huggingface_hub import HfApi

    return HfApi()


def head_of(repo: str, kind: str, revision: str | None = None) -> str:
    """The commit that a branch or another revision is at."""
    return str(api().repo_info(repo, repo_type=kind, revision=revision).sha)


def tree_of(repo: str, kind: str, commit: str, under: str = "") -> list["RepoFile"]:
    """All files in a folder of a repository."""
    from huggingface_hub.hf_api import RepoFile

    found = api().list_repo_tree(
        repo, under or None, recursive=True, revision=commit, repo_type=kind
    )
    return [entry for entry in found if isinstance(entry, RepoFile)]


def entries_of(
    repo: str, kind: str, revision: str | None, paths: Iterable[str]
) -> dict[str, "RepoFile | RepoFolder"]:
    """Those of the paths that a repository has; a folder's ends in a slash."""
    from huggingface_hub.hf_api import RepoFile

    asked = [path.rstrip("/") for path in paths]
    found = {}
    for start in range(0, len(asked), _PATHS_AT_ONCE):
        some = asked[start : start + _PATHS_AT_ONCE]
        for entry in api().get_paths_info(repo, some, revision=revision, repo_type=kind):
            found[entry.path if isinstance(entry, RepoFile) else f"{entry.path}/"] = entry
    return found


def lacking(
    repo: str, kind: str, revision: str, wanted: Mapping[str, Digests], delete: Sequence[str]
) -> list[str] | None:
    """None if a revision has all files as wanted; else which paths are yet to be deleted."""
    there = entries_of(repo, kind, revision, [*wanted, *delete])
    gone = [path for path in delete if path in there]
    same = all(path in there and digests.are_of(there[path]) for path, digests in wanted.items())
    return None if same and not gone else gone
