"""A Hugging Face Hub on the loopback, for the real client: model repositories to read from.

    with Hub() as hub:
        hub.add("owner/repo", {"config.json": b"{}"})
        hub.faults.append(Fault(503, times=1))
        subprocess.run([...], env=hub.environment(home))

It knows what huggingface_hub and transformers ask for when they read: files with their metadata and
ranges, information on a repository, its tree and its references. Nothing can be written to it.
"""

import hashlib
import json
import os
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

READER = "hf_reader0123456789"
"""A token that may read everything."""

STRANGER = "hf_stranger0123456789"
"""A token that is valid, and may read what is public."""

_DATE = "2025-01-01T00:00:00.000Z"


class Seen(NamedTuple):
    """A request that the server was asked."""

    method: str
    path: str
    range: str | None
    token: str | None
    status: int


@dataclass
class Fault:
    """What goes wrong with the next requests that it fits.

    Attributes:
        status: Answer with this status; 200 leaves the answer as it is.
        cut: Close the connection after so many bytes of the body; None does not cut, -1 closes it
            before there is an answer at all.
        times: With how many requests.
        method: With requests of this method; empty for all.
        part: With requests whose path holds this.
        without: Headers that are left out of the answer.
        headers: Headers that are added to it.
    """

    status: int = 200
    cut: int | None = None
    times: int = 1
    method: str = ""
    part: str = ""
    without: tuple[str, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)

    def fits(self, method: str, path: str) -> bool:
        return self.times > 0 and method.startswith(self.method) and self.part in path


@dataclass
class _Repo:
    name: str
    gated: bool
    private: bool
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def commit_of(self, revision: str) -> str | None:
        if revision in self.commits:
            return revision
        return self.branches.get(revision) or self.tags.get(revision)


@dataclass(frozen=True)
class _Answer:
    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


class Hub:
    """The server; runs in a thread while the context is open.

    Attributes:
        url: Its address, which HF_ENDPOINT takes.
        faults: What is to go wrong; the first that fits a request is used up by it.
        seen: The requests so far.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.seen: list[Seen] = []
        self._repos: dict[str, _Repo] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> "Hub":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def add(
        self,
        repo: str,
        files: Mapping[str, bytes],
        branch: str = "main",
        tag: str | None = None,
        gated: bool = False,
        private: bool = False,
    ) -> str:
        """Commit `files`, and no others, to a branch of a repository; returns the commit."""
        there = self._repos.setdefault(repo, _Repo(repo, gated, private))
        content = [[path, _sha256(data)] for path, data in sorted(files.items())]
        text = json.dumps([repo, branch, len(there.commits), content])
        commit = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
        there.commits[commit] = dict(files)
        there.branches[branch] = commit
        if tag is not None:
            there.tags[tag] = commit
        return commit

    def add_folder(self, repo: str, folder: Path) -> str:
        """Commit all files of a folder, such as one of `save_pretrained`."""
        paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        return self.add(repo, {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths})

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
        return sum(seen.method == method and part in seen.path for seen in self.seen)

    def take_fault(self, method: str, path: str) -> Fault:
        """The fault that befalls a request, or one that does nothing."""
        fault = next((fault for fault in self.faults if fault.fits(method, path)), Fault())
        fault.times -= 1
        return fault

    def answer(self, target: str, token: str | None) -> _Answer:
        """What an untroubled Hub says to GET."""
        parts = urlsplit(target)
        path = parts.path.lstrip("/")
        if match := re.fullmatch(r"([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            repo, revision, inside = (unquote(part) for part in match.groups())
            return self._refusal(repo, token) or self._file(repo, revision, inside)
        if match := re.fullmatch(
            r"api/models/([^/]+/[^/]+)(?:/([^/]+)(?:/([^/]+)(?:/(.*))?)?)?", path
        ):
            repo, what, revision, inside = (unquote(part or "") for part in match.groups())
            refusal = self._refusal(repo, token)
            if refusal:
                return refusal
            if what in ("", "revision"):
                return self._information(repo, revision or "main")
            if what == "tree":
                recursive = parse_qs(parts.query).get("recursive", [""])[0].casefold() == "true"
                return self._tree(repo, revision, inside, recursive)
            if what == "refs":
                return self._references(repo)
        return _refuse(404, "", f"no such route: {path}")

    def _refusal(self, name: str, token: str | None) -> _Answer | None:
        """Why a repository may not be read, as the Hub says it, or None."""
        if token not in (None, READER, STRANGER):
            return _refuse(401, "", "Invalid credentials in Authorization header")
        repo = self._repos.get(name)
        if repo is None or (repo.private and token != READER):
            # To who is not known the Hub does not tell what there is.
            if token is None:
                return _refuse(401, "RepoNotFound", "Invalid username or password.")
            return _refuse(404, "RepoNotFound", "Repository not found")
        if repo.gated and token != READER:
            status = 401 if token is None else 403
            return _refuse(status, "GatedRepo", f"Access to model {name} is restricted.")
        return None

    def _commit(self, name: str, revision: str) -> str | _Answer:
        commit = self._repos[name].commit_of(revision)
        return commit or _refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")

    def _file(self, name: str, revision: str, path: str) -> _Answer:
        commit = self._commit(name, revision)
        if isinstance(commit, _Answer):
            return commit
        data = self._repos[name].commits[commit].get(path)
        headers = {"X-Repo-Commit": commit}
        if data is None:
            missing = _refuse(404, "EntryNotFound", "Entry not found")
            return _Answer(404, missing.body, {**missing.headers, **headers})
        headers |= {"ETag": f'"{_sha256(data)}"', "Accept-Ranges": "bytes"}
        return _Answer(200, data, headers | {"Content-Type": "application/octet-stream"})

    def _information(self, name: str, revision: str) -> _Answer:
        commit = self._commit(name, revision)
        if isinstance(commit, _Answer):
            return commit
        repo = self._repos[name]
        said = {"_id": "0" * 24, "id": name, "modelId": name, "author": name.partition("/")[0]}
        said |= {"sha": commit, "lastModified": _DATE, "createdAt": _DATE, "tags": []}
        said |= {"private": repo.private, "gated": "manual" if repo.gated else False}
        said |= {"disabled": False, "downloads": 0, "likes": 0}
        said |= {"siblings": [{"rfilename": path} for path in sorted(repo.commits[commit])]}
        return _json(said)

    def _tree(self, name: str, revision: str, inside: str, recursive: bool) -> _Answer:
        commit = self._commit(name, revision)
        if isinstance(commit, _Answer):
            return commit
        prefix = f"{inside.strip('/')}/" if inside.strip("/") else ""
        entries: dict[str, dict[str, object]] = {}
        for path, data in sorted(self._repos[name].commits[commit].items()):
            if not path.startswith(prefix):
                continue
            folders = path.removeprefix(prefix).split("/")[:-1]
            for depth in range(1, len(folders) + 1):
                folder = prefix + "/".join(folders[:depth])
                if recursive or depth == 1:
                    entry = {"type": "directory", "oid": _sha1(folder), "size": 0, "path": folder}
                    entries[folder] = entry
            if recursive or not folders:
                oid = _sha1(path)
                entries[path] = {"type": "file", "oid": oid, "size": len(data), "path": path}
        if prefix and not entries:
            return _refuse(404, "EntryNotFound", f"{inside} does not exist")
        return _json(list(entries.values()))

    def _references(self, name: str) -> _Answer:
        def listed(named: Mapping[str, str], kind: str) -> list[dict[str, str]]:
            return [
                {"name": word, "ref": f"refs/{kind}/{word}", "targetCommit": commit}
                for word, commit in named.items()
            ]

        repo = self._repos[name]
        branches, tags = listed(repo.branches, "heads"), listed(repo.tags, "tags")
        return _json({"branches": branches, "tags": tags, "converts": []})


def _handler_of(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"  # clients keep their connections

        def do_GET(self) -> None:
            self._serve()

        def do_HEAD(self) -> None:
            self._serve()

        def log_message(self, format: str, *args: object) -> None:
            pass  # what was asked is in `seen`

        def _serve(self) -> None:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ") or None
            wanted = self.headers.get("Range")
            fault = hub.take_fault(self.command, self.path)
            answer = _ranged(hub.answer(self.path, token), wanted)
            if fault.status != 200:
                answer = _refuse(fault.status, "", "a fault of the test")
            hub.seen.append(Seen(self.command, self.path, wanted, token, answer.status))
            if fault.cut == -1:
                self._hang_up()
                return
            self.send_response(answer.status)
            headers = {**answer.headers, "Content-Length": str(len(answer.body)), **fault.headers}
            for name, value in headers.items():
                if name not in fault.without:
                    self.send_header(name, value)
            self.end_headers()
            if self.command == "HEAD":
                return
            self.wfile.write(answer.body[: fault.cut])
            if fault.cut is not None:
                self._hang_up()

        def _hang_up(self) -> None:
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)

    return Handler


def _ranged(answer: _Answer, wanted: str | None) -> _Answer:
    """The part of a file that a Range header asks for."""
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", wanted or "")
    if match is None or answer.status != 200:
        return answer
    size = len(answer.body)
    first, last = int(match[1]), min(int(match[2] or size), size - 1)
    if first > last:
        return _Answer(416, b"", {"Content-Range": f"bytes */{size}"})
    headers = {**answer.headers, "Content-Range": f"bytes {first}-{last}/{size}"}
    return _Answer(206, answer.body[first : last + 1], headers)


def _json(said: object, status: int = 200, headers: Mapping[str, str] | None = None) -> _Answer:
    kind = {"Content-Type": "application/json; charset=utf-8"}
    return _Answer(status, json.dumps(said).encode(), kind | dict(headers or {}))


def _refuse(status: int, code: str, message: str) -> _Answer:
    headers = {"X-Error-Message": message} | ({"X-Error-Code": code} if code else {})
    return _json({"error": message}, status, headers)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _sha1(text: str) -> str:
    return hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
