"""What the Hub keeps: files by their digests, commits, branches, pull requests."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatch

DATE = "2025-01-01T00:00:00.000Z"

LARGE = (
    "*.bin", "*.flac", "*.gz", "*.parquet", "*.part?", "*.pt", "*.pth", "*.safetensors", "*.wav",
    "*.xz", "*.zip",
)  # fmt: skip
"""Names of files that go into the large file storage."""


@dataclass(frozen=True)
class Blob:
    """A file's content; `sha256` where it is in the large file storage."""

    data: bytes
    oid: str
    sha256: str | None = None

    @classmethod
    def of(cls, path: str, data: bytes) -> "Blob":
        """A file as git would keep it under this name."""
        return cls.large(data) if is_large(path, len(data)) else cls(data, _git_oid(data))

    @classmethod
    def large(cls, data: bytes) -> "Blob":
        """A file of the large file storage, of which git keeps a pointer."""
        sha256 = hashlib.sha256(data).hexdigest()
        return cls(data, _git_oid(_pointer(sha256, len(data))), sha256)

    def entry(self, path: str) -> dict[str, object]:
        """The file as lists of files have it."""
        said: dict[str, object] = {"type": "file", "oid": self.oid, "size": len(self.data)}
        if self.sha256 is not None:
            pointer = len(_pointer(self.sha256, len(self.data)))
            said["lfs"] = {"oid": self.sha256, "size": len(self.data), "pointerSize": pointer}
        return said | {"path": path}


@dataclass(frozen=True)
class Commit:
    """A state of all files; `order` grows from commit to commit."""

    tree: Mapping[str, Blob]
    title: str
    author: str
    parents: tuple[str, ...]
    order: int


@dataclass
class PullRequest:
    """A pull request; its own commits are in the repository."""

    title: str
    description: str
    author: str
    base: str
    status: str = "open"
    merged_as: str | None = None
    comments: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Repo:
    """A repository and its pull requests, numbered from 1."""

    kind: str
    name: str
    gated: bool = False
    private: bool = False
    sdk: str | None = None
    commits: dict[str, Commit] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    references: dict[str, str] = field(default_factory=dict)
    pull_requests: list[PullRequest] = field(default_factory=list)

    @property
    def owner(self) -> str:
        """The user who may write to it."""
        return self.name.partition("/")[0]

    @property
    def page(self) -> str:
        """Where it is below the Hub's address."""
        return self.name if self.kind == "model" else f"{self.kind}s/{self.name}"

    def commit_of(self, revision: str) -> str | None:
        """The commit that a revision means."""
        if revision in self.commits:
            return revision
        named = {**self.tags, **self.references, **self.branches}
        return named.get(revision.removeprefix("refs/heads/"))

    def commit(
        self, branch: str, tree: Mapping[str, Blob], title: str, author: str, *parents: str
    ) -> str:
        """Add a commit to a branch or pull request; returns it."""
        if not parents and branch in self.branches:
            parents = (self.branches[branch],)
        order = len(self.commits)
        content = [[path, blob.oid] for path, blob in sorted(tree.items())]
        text = json.dumps([self.kind, self.name, branch, order, parents, content])
        oid = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        self.commits[oid] = Commit(dict(tree), title, author, parents, order)
        offered = {f"refs/pr/{number}" for number in range(1, len(self.pull_requests) + 1)}
        (self.references if branch in offered else self.branches)[branch] = oid
        return oid

    def history(self, commit: str) -> Iterator[str]:
        """A commit and all that it stands on, the newest first."""
        known, todo = set(), {commit}
        while todo:
            newest = max(todo, key=lambda one: self.commits[one].order)
            todo.remove(newest)
            known.add(newest)
            todo |= set(self.commits[newest].parents) - known
            yield newest

    def merged(self, number: int) -> dict[str, Blob] | None:
        """The main branch with what a pull request changes; None where they contradict."""
        pull_request = self.pull_requests[number - 1]
        base = self.commits[pull_request.base].tree
        head = self.commits[self.references[f"refs/pr/{number}"]].tree
        main = dict(self.commits[self.branches["main"]].tree)
        for path in base.keys() | head.keys():
            if head.get(path) == base.get(path):
                continue
            if main.get(path) not in (base.get(path), head.get(path)):
                return None
            main.pop(path, None)
            if path in head:
                main[path] = head[path]
        return main


def is_large(path: str, size: int) -> bool:
    """Whether a file belongs into the large file storage."""
    return size > 10_000_000 or any(fnmatch(path.rpartition("/")[2], name) for name in LARGE)


def _git_oid(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _pointer(sha256: str, size: int) -> bytes:
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n"
    return text.encode()
