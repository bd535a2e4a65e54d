"""What the Hub does on POST, PUT and DELETE."""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from hub_server.messages import Answer, Request, as_json, refuse
from hub_server.reading import comment_event, commit_of, folder_entry
from hub_server.repositories import DATE, Blob, PullRequest, Repo, is_large

if TYPE_CHECKING:
    from hub_server import Hub

_LARGE = re.compile(r"(?:(dataset|space)s/)?([^/]+/[^/]+)\.git/info/lfs/objects/batch")
_API = re.compile(r"api/(model|dataset|space)s/([^/]+/[^/]+)/([^/]+)(?:/([^/]+)(?:/([^/]+))?)?")
_SETUP = {".gitattributes": b"*.parquet filter=lfs diff=lfs merge=lfs -text\n"}


def answer(hub: "Hub", request: Request, path: str) -> Answer | None:
    """Do what is asked; None where there is no such route."""
    if path == "api/validate-yaml":
        return as_json({"errors": [], "warnings": []})
    if path.startswith("_lfs/"):
        return _keep(hub, path.removeprefix("_lfs/"), request)
    match = _API.fullmatch(path)
    if match and match[3] == "paths-info":
        # Asks by POST, but changes nothing.
        refusal = hub.refusal(match[1], match[2], request.token)
        return refusal or _paths(hub.repos[match[1], match[2]], unquote(match[4]), request)
    user = hub.user(request.token)
    if user is None:
        return refuse(401, "", "Invalid username or password.")
    if path in ("api/repos/create", "api/repos/delete"):
        return (_create if path.endswith("create") else _delete)(hub, user, request.fields)
    if large := _LARGE.fullmatch(path):
        refusal = hub.refusal(large[1] or "model", large[2], request.token)
        return refusal or _large(hub, request.fields["objects"])
    if match is None:
        return None
    refusal = hub.refusal(match[1], match[2], request.token)
    if refusal:
        return refusal
    repo = hub.repos[match[1], match[2]]
    first, second = (unquote(part or "") for part in match.groups()[3:])
    match match[3]:
        case "preupload":
            return _modes(repo, first, request.fields["files"])
        case "commit":
            return _commit(hub, repo, first, user, request)
        case "discussions" if first and second:
            return _discuss(repo, int(first), second, user, request)
    return None


def _create(hub: "Hub", user: str, fields: Mapping[str, Any]) -> Answer:
    kind, owner = fields.get("type") or "model", fields.get("organization") or user
    repo = Repo(kind, f"{owner}/{fields['name']}", sdk=fields.get("sdk"))
    if owner != user:
        return refuse(403, "", f"You don't have the rights to create a {kind} under {owner}")
    url = f"{hub.url}/{repo.page}"
    if (kind, repo.name) in hub.repos:
        return as_json({"error": "You already created this repo", "url": url}, 409)
    repo.private = fields.get("visibility") == "private" or bool(fields.get("private"))
    tree = {path: Blob.of(path, data) for path, data in _SETUP.items()}
    repo.commit("main", tree, "initial commit", user)
    hub.repos[kind, repo.name] = repo
    return as_json({"url": url, "name": repo.name, "id": "0" * 24})


def _delete(hub: "Hub", user: str, fields: Mapping[str, Any]) -> Answer:
    kind, owner = fields.get("type") or "model", fields.get("organization") or user
    if owner != user:
        return refuse(403, "", "Forbidden")
    if hub.repos.pop((kind, f"{owner}/{fields['name']}"), None) is None:
        return refuse(404, "RepoNotFound", "Repository not found")
    return Answer()


def _paths(repo: Repo, revision: str, request: Request) -> Answer:
    commit = commit_of(repo, revision)
    if isinstance(commit, Answer):
        return commit
    tree = repo.commits[commit].tree
    found = []
    for path in request.fields["paths"]:
        if path in tree:
            found.append(tree[path].entry(path))
        elif any(other.startswith(f"{path}/") for other in tree):
            found.append(folder_entry(path))
    return as_json(found)


def _modes(repo: Repo, revision: str, files: list[dict[str, Any]]) -> Answer:
    """How each file is to be uploaded, and what is there under its name."""
    commit = commit_of(repo, revision)
    if isinstance(commit, Answer):
        return commit
    tree = repo.commits[commit].tree
    ignored = tree[".gitignore"].data.decode().split() if ".gitignore" in tree else []

    def mode(path: str, size: int) -> dict[str, object]:
        there = tree.get(path)
        return {
            "path": path,
            "uploadMode": "lfs" if is_large(path, size) else "regular",
            "shouldIgnore": any(fnmatch(path, pattern) for pattern in ignored),
            "oid": (there.sha256 or there.oid) if there else None,
        }

    return as_json({"files": [mode(file["path"], file["size"]) for file in files]})


def _large(hub: "Hub", objects: list[dict[str, Any]]) -> Answer:
    """Where large files are to be uploaded that are not there yet."""
    said = []
    for one in objects:
        upload = {"upload": {"href": f"{hub.url}/_lfs/{one['oid']}"}}
        action = {} if one["oid"] in hub.large else {"actions": upload}
        said.append({"oid": one["oid"], "size": one["size"], **action})
    return as_json({"transfer": "basic", "objects": said})


def _keep(hub: "Hub", oid: str, request: Request) -> Answer:
    if hashlib.sha256(request.body).hexdigest() != oid:
        return refuse(400, "", "the content has another digest")
    hub.large[oid] = request.body
    return Answer()


def _commit(hub: "Hub", repo: Repo, branch: str, user: str, request: Request) -> Answer:
    offers = request.query.get("create_pr") == "1"
    if user != repo.owner and not offers and not _is_author(repo, branch, user):
        message = "Forbidden: pass `create_pr=1` as a query parameter to create a Pull Request"
        return refuse(403, "", message)
    head = commit_of(repo, branch)
    if isinstance(head, Answer):
        return head
    lines = [json.loads(line) for line in request.body.splitlines() if line.strip()]
    header = lines[0]["value"]
    parent = header.get("parentCommit", head)
    if parent != head and not offers:
        message = "A commit has happened since. Please refresh and try again."
        return refuse(412, "", message)
    if parent not in repo.commits:
        return refuse(404, "RevisionNotFound", f"Invalid rev id: {parent}")
    tree = _changed(hub, repo.commits[parent].tree, lines[1:])
    if isinstance(tree, Answer):
        return tree
    page, said = f"{hub.url}/{repo.page}", {}
    title = header["summary"].strip()
    if offers:
        repo.pull_requests.append(PullRequest(title, header["description"], user, parent))
        number = len(repo.pull_requests)
        branch, said = f"refs/pr/{number}", {"pullRequestUrl": f"{page}/discussions/{number}"}
    commit = repo.commit(branch, tree, title, user, parent)
    said |= {"success": True, "commitOid": commit, "commitUrl": f"{page}/commit/{commit}"}
    return as_json(said)


def _changed(
    hub: "Hub", tree: Mapping[str, Blob], changes: list[dict[str, Any]]
) -> dict[str, Blob] | Answer:
    """All files after a commit's changes."""
    new = dict(tree)
    for change in changes:
        value, path = change["value"], change["value"]["path"]
        match change["key"]:
            case "file":
                new[path] = Blob.of(path, base64.b64decode(value["content"]))
            case "lfsFile" if value["oid"] in hub.large:
                new[path] = Blob.large(hub.large[value["oid"]])
            case "deletedFile" if path in new:
                del new[path]
            case "deletedFolder":
                inside = f"{path.rstrip('/')}/"
                new = {name: blob for name, blob in new.items() if not name.startswith(inside)}
            case "deletedFile":
                return refuse(404, "EntryNotFound", "A file with this name doesn't exist")
            case _:
                return refuse(400, "", f"{change['key']} {path}: not possible")
    return new


def _is_author(repo: Repo, branch: str, user: str) -> bool:
    number = branch.removeprefix("refs/pr/")
    known = branch in repo.references and number.isdigit()
    return known and repo.pull_requests[int(number) - 1].author == user


def _discuss(repo: Repo, number: int, what: str, user: str, request: Request) -> Answer | None:
    if not 1 <= number <= len(repo.pull_requests):
        return refuse(404, "", "Discussion not found")
    one = repo.pull_requests[number - 1]
    if what == "comment":
        one.comments.append((user, request.fields["comment"]))
        return as_json({"newMessage": comment_event(user, request.fields["comment"])})
    if user != repo.owner and not (what == "status" and user == one.author):
        return refuse(403, "", "Forbidden")
    if what == "merge":
        if one.status != "open":
            return refuse(400, "", f"This pull request is {one.status}")
        tree = repo.merged(number)
        if tree is None:
            return refuse(409, "", "This pull request has conflicts")
        parents = repo.branches["main"], repo.references[f"refs/pr/{number}"]
        one.merged_as = repo.commit("main", tree, f"{one.title} (#{number})", user, *parents)
        one.status = "merged"
        return as_json({})
    if what == "status":
        fields = request.fields
        one.status = fields["status"]
        if fields.get("comment"):
            one.comments.append((user, fields["comment"]))
        event = {"id": "0", "type": "status-change", "createdAt": DATE, "author": {"name": user}}
        return as_json({"newStatus": event | {"data": {"status": one.status}}})
    return None
