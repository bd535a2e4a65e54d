"""A leaderboard's repository on a Hub of the loopback, and people who log in to it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cfbench.founding import repository_files
from cfbench.hub.copies import read_tree
from cfbench.space.settings import make_settings
from cfbench.tasks import find_track
from hub_server import Hub
from hub_server.client import use

huggingface_hub = pytest.importorskip("huggingface_hub")

REPO = "lab/results"
CARD = repository_files(
    REPO, find_track("example"), make_settings({"results": REPO, "track": "example"}), None
)
"""What the repository of a new leaderboard holds."""

SLUG = "made-up-system"
ENTRY = f"submissions/{SLUG}"


@contextmanager
def board(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with an empty leaderboard of `lab`; nobody is logged in, and nothing is waited for."""
    with Hub() as hub:
        use(hub, home, monkeypatch)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        monkeypatch.setenv("CFBENCH_CACHE", str(home / "cfbench"))
        hub.add(REPO, CARD, kind="dataset")
        yield hub
        huggingface_hub.close_session()


def log_in(hub: Hub, name: str | None) -> str:
    """Have this process be a user of the Hub, or nobody; returns the token."""
    os.environ.pop("HF_TOKEN", None)
    if name is None:
        return ""
    os.environ["HF_TOKEN"] = hub.sign_up(name)
    return os.environ["HF_TOKEN"]


def offer(
    hub: Hub,
    author: str,
    files: Mapping[str, bytes],
    delete: tuple[str, ...] = (),
    title: str = "Add an entry",
    number: int | None = None,
) -> int:
    """Open a pull request as `author`, or add a commit to one; returns its number."""
    before = os.environ.get("HF_TOKEN")
    log_in(hub, author)
    adds = [huggingface_hub.CommitOperationAdd(path, data) for path, data in files.items()]
    info = huggingface_hub.HfApi().create_commit(
        REPO,
        [*adds, *(huggingface_hub.CommitOperationDelete(path) for path in delete)],
        commit_message=title,
        repo_type="dataset",
        create_pr=number is None,
        revision=None if number is None else f"refs/pr/{number}",
    )
    os.environ.pop("HF_TOKEN")
    if before is not None:
        os.environ["HF_TOKEN"] = before
    return number or int(info.pr_num or 0)


def commit(hub: Hub, files: Mapping[str, bytes]) -> None:
    """Add files to the main branch."""
    hub.add(REPO, {**hub.files(REPO), **files}, kind="dataset")


def under(prefix: str, files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The files of a folder, by their path in it."""
    inside = f"{prefix}/"
    return {p.removeprefix(inside): data for p, data in files.items() if p.startswith(inside)}


def of_folder(folder: Path, at: str = "") -> dict[str, bytes]:
    """The files of a folder of this machine."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {at + path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def download(folder: Path) -> None:
    """What `hf download` fetches."""
    read_tree(REPO, "submissions", folder)


def switch(monkeypatch: pytest.MonkeyPatch, offline: bool) -> None:
    """Take the network away: by the library's own mode, or so that nothing answers."""
    if offline:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    else:
        nothing = "http://127.0.0.1:9"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", nothing)
        monkeypatch.setattr(
            "huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE",
            nothing + "/{repo_id}/resolve/{revision}/{filename}",
        )
    huggingface_hub.close_session()
