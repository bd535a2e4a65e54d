"""What the Hub answers to GET."""

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlencode, urlsplit

from hub_server.messages import Answer, Request, as_json, refuse
from hub_server.repositories import DATE, Commit, Repo

if TYPE_CHECKING:
    from hub_server import Hub

_FILE = re.compile(r"(?:(dataset|space)s/)?([^/]+/[^/]+)/resolve/([^/]+)/(.+)")
_API = re.compile(r"api/(model|dataset|space)s/([^/]+/[^/]+)(?:/([^/]+)(?:/([^/]+)(?:/(.*))?)?)?")


def answer(hub: "Hub", request: Request, path: str) -> Answer | None:
    """The answer; None where there is no such route."""
    if path == "api/whoami-v2":
        return _user(hub, request)
    if match := _FILE.fullmatch(path):
        kind = match[1] or "model"
        name, revision, inside = (unquote(part) for part in match.groups()[1:])
        return hub.refusal(kind, name, request.token) or _file(
            hub.repos[kind, name], revision, inside
        )
    match = _API.fullmatch(path)
    if match is None:
        return None
    name, what, revision, inside = (unquote(part or "") for part in match.groups()[1:])
    refusal = hub.refusal(match[1], name, request.token)
    if refusal:
        return refusal
    repo = hub.repos[match[1], name]
    match what:
        case "" | "revision":
            return _information(repo, revision or "main")
        case "tree":
            return _tree(hub, request, repo, revision, inside)
        case "refs":
            return _references(repo)
        case "commits":
            return _history(hub, request, repo, revision)
        case "discussions" if revision:
            return _discussion(repo, int(revision))
        case "discussions":
            return _discussions(hub, request, repo)
    return None


def commit_of(repo: Repo, revision: str) -> str | Answer:
    """The commit that a revision means, or that there is none."""
    commit = repo.commit_of(revision)
    return commit or refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")


def folder_entry(path: str) -> dict[str, object]:
    """A folder as lists of files have it."""
    oid = hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()
    return {"type": "directory", "oid": oid, "size": 0, "path": path}


def _user(hub: "Hub", request: Request) -> Answer:
    name = hub.user(request.token)
    if name is None:
        return refuse(401, "", "Invalid username or password.")
    said: dict[str, Any] = {"type": "user", "id": name, "name": name, "fullname": name}
    said |= {"email": f"{name}@example.org", "isPro": False, "orgs": []}
    token = {"displayName": "test", "role": "write"}
    return as_json(said | {"auth": {"type": "access_token", "accessToken": token}})


def _file(repo: Repo, revision: str, path: str) -> Answer:
    commit = commit_of(repo, revision)
    if isinstance(commit, Answer):
        return commit
    blob = repo.commits[commit].tree.get(path)
    headers = {"X-Repo-Commit": commit}
    if blob is None:
        missing = refuse(404, "EntryNotFound", "Entry not found")
        return Answer(404, missing.body, {**missing.headers, **headers})
    headers |= {"ETag": f'"{blob.sha256 or blob.oid}"', "Accept-Ranges": "bytes"}
    return Answer(200, blob.data, headers | {"Content-Type": "application/octet-stream"})


def _information(repo: Repo, revision: str) -> Answer:
    commit = commit_of(repo, revision)
    if isinstance(commit, Answer):
        return commit
    said = {"_id": "0" * 24, "id": repo.name, "modelId": repo.name, "author": repo.owner}
    said |= {"sha": commit, "lastModified": DATE, "createdAt": DATE, "tags": []}
    said |= {"private": repo.private, "gated": "manual" if repo.gated else False}
    said |= {"disabled": False, "downloads": 0, "likes": 0}
    said |= {"siblings": [{"rfilename": path} for path in sorted(repo.commits[commit].tree)]}
    if repo.kind == "space":
        said |= {"sdk": repo.sdk, "runtime": {"stage": "RUNNING", "hardware": {"current": None}}}
    return as_json(said)


def _tree(hub: "Hub", request: Request, repo: Repo, revision: str, inside: str) -> Answer:
    commit = commit_of(repo, revision)
    if isinstance(commit, Answer):
        return commit
    recursive = request.query.get("recursive", "").casefold() == "true"
    prefix = f"{inside.strip('/')}/" if inside.strip("/") else ""
    entries: dict[str, dict[str, object]] = {}
    for path, blob in sorted(repo.commits[commit].tree.items()):
        if not path.startswith(prefix):
            continue
        folders = path.removeprefix(prefix).split("/")[:-1]
        for depth in range(1, len(folders) + 1):
            folder = prefix + "/".join(folders[:depth])
            if recursive or depth == 1:
                entries[folder] = folder_entry(folder)
        if recursive or not folders:
            entries[path] = blob.entry(path)
    if prefix and not entries:
        return refuse(404, "EntryNotFound", f"{inside} does not exist")
    return _paged(hub, request, list(entries.values()))


def _history(hub: "Hub", request: Request, repo: Repo, revision: str) -> Answer:
    commit = commit_of(repo, revision)
    if isinstance(commit, Answer):
        return commit

    def told(oid: str, one: Commit) -> dict[str, object]:
        authors = [{"user": one.author, "avatar": ""}]
        return {"id": oid, "title": one.title, "message": "", "date": DATE, "authors": authors}

    return _paged(hub, request, [told(oid, repo.commits[oid]) for oid in repo.history(commit)])


def _paged(hub: "Hub", request: Request, entries: list[dict[str, object]]) -> Answer:
    """One page of a list, and where the next one is."""
    query = request.query
    start = int(query.pop("cursor", "0"))
    end = start + hub.page
    path = urlsplit(request.target).path
    following = f"{hub.url}{path}?{urlencode({**query, 'cursor': end})}"
    headers = {"Link": f'<{following}>; rel="next"'} if end < len(entries) else {}
    return as_json(entries[start:end], headers=headers)


def _references(repo: Repo) -> Answer:
    def listed(named: Mapping[str, str], prefix: str) -> list[dict[str, str]]:
        return [
            {"name": word, "ref": prefix + word, "targetCommit": commit}
            for word, commit in named.items()
        ]

    said = {"branches": listed(repo.branches, "refs/heads/"), "converts": []}
    said |= {"tags": listed(repo.tags, "refs/tags/"), "pullRequests": listed(repo.references, "")}
    return as_json(said)


def _discussions(hub: "Hub", request: Request, repo: Repo) -> Answer:
    query = request.query
    status, author = query.get("status", "all"), query.get("author")
    known = enumerate(repo.pull_requests, 1)
    # The newest first; a draft is listed as open.
    fitting = [
        _summary(repo, number)
        for number, one in reversed(list(known))
        if status in ("all", "open" if one.status == "draft" else one.status)
        and author in (None, one.author)
    ]
    size = min(hub.page, 10)
    start = int(query.get("p", "0")) * size
    shown = fitting[start : start + size]
    return as_json({"count": len(fitting), "start": start, "discussions": shown})


def _summary(repo: Repo, number: int) -> dict[str, Any]:
    one = repo.pull_requests[number - 1]
    said: dict[str, Any] = {"num": number, "title": one.title, "author": {"name": one.author}}
    said |= {"createdAt": DATE, "status": one.status, "isPullRequest": True}
    return said | {"repo": {"name": repo.name, "type": repo.kind}}


def _discussion(repo: Repo, number: int) -> Answer:
    if not 1 <= number <= len(repo.pull_requests):
        return refuse(404, "", "Discussion not found")
    one = repo.pull_requests[number - 1]
    texts = [(one.author, one.description), *one.comments]
    said = _summary(repo, number)
    said |= {"changes": {"base": "refs/heads/main", "mergeCommitId": one.merged_as}}
    said |= {"filesWithConflicts": [], "diff": ""}
    return as_json(said | {"events": [comment_event(*text) for text in texts]})


def comment_event(author: str, text: str) -> dict[str, Any]:
    """A comment as the Hub tells it."""
    by = {"name": author}
    latest = {"raw": text, "html": "", "updatedAt": DATE, "author": by}
    data = {"edited": False, "hidden": False, "latest": latest, "history": []}
    return {"id": "0", "type": "comment", "createdAt": DATE, "author": by, "data": data}
