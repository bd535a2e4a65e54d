"""A Hugging Face Hub on the loopback, for the real client.

    with Hub() as hub:
        hub.add("owner/repo", {"config.json": b"{}"})
        hub.faults.append(Fault(503, times=1))
        subprocess.run([...], env=hub.environment(home, hub.sign_up("owner")))

It knows what huggingface_hub and transformers ask for: files with their metadata and ranges,
information on a repository, trees, references; who somebody is, new repositories, commits with
regular and large files, pull requests, and what is said about them.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from hub_server import reading, writing
from hub_server.messages import Answer, Fault, Request, refuse
from hub_server.repositories import Blob, Repo
from hub_server.serving import Server

__all__ = ["READER", "STRANGER", "Fault", "Hub", "Seen"]

READER = "hf_reader0123456789"
"""A token that may read everything."""

STRANGER = "hf_stranger0123456789"
"""A token that is valid, and may read what is public."""


class Seen(NamedTuple):
    """A request that the server was asked."""

    method: str
    path: str
    range: str | None
    token: str | None
    status: int


class Hub:
    """The server; runs in threads while the context is open.

    Attributes:
        url: Its address, which HF_ENDPOINT takes.
        faults: What is to go wrong; the first that fits a request is used up by it.
        seen: The requests so far.
        users: The names of those who may log in, by token.
        repos: The repositories, by kind and name.
        large: The large files that were uploaded, by SHA-256.
        page: How many entries a page of a list has.
        latency: How many seconds every answer takes.
        rate: How many bytes a second the body of an answer has; None for as fast as it goes.
    """

    def __init__(self, page: int = 1000, latency: float = 0.0) -> None:
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self.users = {READER: "reader", STRANGER: "stranger"}
        self.repos: dict[tuple[str, str], Repo] = {}
        self.large: dict[str, bytes] = {}
        self.page = page
        self.latency = latency
        self.rate: int | None = None
        # One request at a time changes anything, as in a database.
        self._lock = threading.RLock()
        self._server = Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def sign_up(self, name: str) -> str:
        """A token of a user, who may write to the repositories under this name."""
        token = f"hf_{name}0123456789"
        self.users[token] = name
        return token

    def add(
        self,
        repo: str,
        files: Mapping[str, bytes],
        branch: str = "main",
        tag: str | None = None,
        gated: bool = False,
        private: bool = False,
        kind: str = "model",
    ) -> str:
        """Commit `files`, and no others, to a branch of a repository; returns the commit."""
        with self._lock:
            if (kind, repo) not in self.repos:
                self.repos[kind, repo] = Repo(kind, repo, gated, private)
            there = self.repos[kind, repo]
            tree = {path: Blob.of(path, data) for path, data in files.items()}
            commit = there.commit(branch, tree, "A commit of the test", "system")
            if tag is not None:
                there.tags[tag] = commit
            return commit

    def add_folder(self, repo: str, folder: Path) -> str:
        """Commit all files of a folder, such as one of `save_pretrained`."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return self.add(repo, {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths})

    def files(self, repo: str, kind: str = "dataset", revision: str = "main") -> dict[str, bytes]:
        """All files of a repository at a revision."""
        with self._lock:
            there = self.repos[kind, repo]
            commit = there.commit_of(revision)
            assert commit is not None, f"{repo} has no {revision}"
            return {path: blob.data for path, blob in sorted(there.commits[commit].tree.items())}

    def titles(self, repo: str, kind: str = "dataset", revision: str = "main") -> list[str]:
        """The titles of a branch's commits, the newest first."""
        with self._lock:
            there = self.repos[kind, repo]
            commit = there.commit_of(revision)
            assert commit is not None, f"{repo} has no {revision}"
            return [there.commits[one].title for one in there.history(commit)]

    def environment(self, home: Path, token: str | None = None) -> dict[str, str]:
        """The variables under which another process uses this Hub and nothing else."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("HF_", "HUGGING", "TRANSFORMERS_"))
            and not name.casefold().endswith("_proxy")
        }
        kept |= {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
        kept |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
        return kept | ({"HF_TOKEN": token} if token else {})

    def count(self, method: str, part: str = "") -> int:
        """How many requests of a method there were whose path holds `part`."""
        return sum(seen.method == method and part in seen.path for seen in list(self.seen))

    def take_fault(self, method: str, path: str) -> Fault:
        """The fault that befalls a request, or one that does nothing."""
        with self._lock:
            fault = next((fault for fault in self.faults if fault.fits(method, path)), Fault())
            fault.times -= 1
            return fault

    def note(self, request: Request, status: int) -> None:
        """Remember a request and what became of it."""
        path = request.target
        self.seen.append(Seen(request.method, path, request.range, request.token, status))

    def answer(self, request: Request) -> Answer:
        """What an untroubled Hub says."""
        with self._lock:
            if request.token is not None and request.token not in self.users:
                return refuse(401, "", "Invalid credentials in Authorization header")
            path = urlsplit(request.target).path.lstrip("/")
            if request.method in ("GET", "HEAD"):
                found = reading.answer(self, request, path)
            else:
                found = writing.answer(self, request, path)
            return found or refuse(404, "", f"no such route: {unquote(path)}")

    def user(self, token: str | None) -> str | None:
        """The name of a token's user."""
        return self.users.get(token or "")

    def refusal(self, kind: str, name: str, token: str | None) -> Answer | None:
        """Why a repository may not be read, as the Hub says it, or None."""
        repo = self.repos.get((kind, name))
        trusted = token == READER or (repo is not None and self.user(token) == repo.owner)
        if repo is None or (repo.private and not trusted):
            # To who is not known the Hub does not tell what there is.
            if token is None:
                return refuse(401, "RepoNotFound", "Invalid username or password.")
            return refuse(404, "RepoNotFound", "Repository not found")
        if repo.gated and not trusted:
            status = 401 if token is None else 403
            return refuse(status, "GatedRepo", f"Access to {kind} {name} is restricted.")
        return None
