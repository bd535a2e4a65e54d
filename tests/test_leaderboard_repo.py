"""A leaderboard's repository on the Hub: made by `init`, read by `build`."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

import entries
import hub_board
from cfbench.leaderboard.sources import opened
from cfbench.submission import SCORECARD
from hub_board import CARD, ENTRY, REPO, SLUG, log_in
from hub_server import Fault, Hub

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

NEW = "lab/new"
SPACE = "lab/board"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty leaderboard of `lab`, who is logged in."""
    monkeypatch.setenv("HF_TOKEN", "")
    with hub_board.board(tmp_path / "home", monkeypatch) as server:
        monkeypatch.setenv("HF_TOKEN", "")
        log_in(server, "lab")
        yield server


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two entries."""
    folder = tmp_path_factory.mktemp("made")
    for name, share in (("Made-up system", 0.0), ("Another one", 0.3)):
        work = folder / name.partition(" ")[0]
        entries.make(folder / "board", work, name, entries.confused(share))
    return folder / "board"


@pytest.fixture
def build(run_cli: Callable) -> Callable:
    def run(*arguments: object):
        return run_cli("leaderboard", "build", *arguments)

    return run


@pytest.fixture
def init(run_cli: Callable) -> Callable:
    def run(*arguments: object):
        return run_cli("leaderboard", "init", *arguments)

    return run


def offered(hub: Hub, board: Path, change: Callable[[dict[str, bytes]], None] | None = None):
    """Commit the folder's entries; returns the commit."""
    files = hub_board.of_folder(board, "submissions/")
    if change is not None:
        change(files)
    return hub.add(REPO, {**CARD, **files}, kind="dataset")


# Made


def test_a_leaderboard_is_made(hub, init):
    pytest.importorskip("gradio")
    done = init(NEW, "--space", SPACE, "--track", "example", "--title", 'A "board": <b>')
    assert done.code == 0, done.err
    assert done.out.splitlines() == [f"{hub.url}/datasets/{NEW}", f"{hub.url}/spaces/{SPACE}"]
    files = hub.files(NEW)
    assert files.keys() == {".gitattributes", "README.md", "eval.yaml", "submissions/README.md"}
    head, text = re.fullmatch(r"---\n(.*?)\n---\n(.*)", files["README.md"].decode(), re.S).groups()
    card = yaml.safe_load(head)
    assert card["pretty_name"] == 'A "board": <b>'
    assert card["viewer"] is False
    assert "leaderboard" in card["tags"]
    assert r'# A "board": \<b\>' in text
    for words in (f"cfbench push submissions/my-system --to {NEW}", "## Rules", SPACE, "`example`"):
        assert words in text
    benchmark = yaml.safe_load(files["eval.yaml"])
    assert benchmark.keys() == {"name", "description", "evaluation_framework", "tasks"}
    assert benchmark["name"] == 'A "board": <b>'
    assert [task["id"] for task in benchmark["tasks"]] == [
        f"example_{task}_{split}" for task in ("bin", "vq", "aux", "dec") for split in ("id", "ood")
    ]
    space = hub.files(SPACE, "space")
    assert f'results = "{NEW}"' in space["space.toml"].decode()
    assert hub.repos["space", SPACE].sdk == "gradio"


def test_a_second_time_nothing_changes(hub, init):
    pytest.importorskip("gradio")
    command = (NEW, "--space", SPACE, "--track", "example")
    first = init(*command)
    before = [hub.titles(NEW), hub.titles(SPACE, "space")]
    done = init(*command, "--title", "Another")
    assert (done.code, done.out) == (0, first.out)
    assert "README.md: was there, and stays as it is" in done.err
    assert hub.titles(NEW) == before[0]
    # The app's files follow its settings.
    assert len(hub.titles(SPACE, "space")) == len(before[1]) + 1
    assert init(*command, "--title", "Another").code == 0
    assert len(hub.titles(SPACE, "space")) == len(before[1]) + 1


def test_what_lacks_is_added(hub, init):
    hub.add(NEW, {"README.md": b"# Mine\n"}, kind="dataset")
    done = init(NEW, "--track", "example")
    assert done.code == 0
    assert "eval.yaml: written" in done.err
    assert hub.files(NEW)["README.md"] == b"# Mine\n"
    assert "eval.yaml" in hub.files(NEW)


def test_a_private_leaderboard(hub, init):
    assert init(NEW, "--private", "--track", "example").code == 0
    assert hub.repos["dataset", NEW].private


def test_an_answer_that_is_lost_makes_nothing_twice(hub, init):
    hub.faults.append(Fault(cut=-1, method="POST", part="/repos/create", lost=True))
    hub.faults.append(Fault(500, method="POST", part="/commit/", lost=True))
    assert init(NEW, "--track", "example").code == 0
    assert hub.titles(NEW) == ["Begin the leaderboard", "initial commit"]


@pytest.mark.parametrize("how", ["offline", "unreachable", "no login", "dry run"])
def test_what_would_be_made(hub, init, tmp_path, monkeypatch, how):
    pytest.importorskip("gradio")
    if how == "no login":
        log_in(hub, None)
    elif how != "dry run":
        hub_board.switch(monkeypatch, how == "offline")
    out = tmp_path / "out"
    more = ("--dry-run",) if how == "dry run" else ()
    done = init(NEW, "--space", SPACE, "--track", "example", "--out", out, *more)
    assert done.code == (0 if how == "dry run" else 1)
    assert not hub.seen
    assert "not sent: " in done.err
    written = hub_board.of_folder(out)
    assert {path for path in written if path.startswith("dataset/")} == {
        f"dataset/{path}" for path in ("README.md", "eval.yaml", "submissions/README.md")
    }
    assert "space/app.py" in written
    for path, content in written.items():
        name = path.partition("/")[2]
        assert f"  {name}: {len(content):,} bytes" in done.out.splitlines()
    assert done.out.startswith(f"dataset repository {NEW}:\n")
    assert f"Space {SPACE}:\n" in done.out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("new",), "'new' is no name of a dataset repository"),
        ((NEW, "--space", "a/b/c"), "'a/b/c' is no name of a Space"),
        ((NEW, "--track", "exmple"), "there is no track 'exmple' (did you mean 'example'?)"),
        (("other/new",), "you may not write to other/new (403)"),
    ],
)
def test_what_cannot_be_made(hub, init, arguments, said):
    done = init(*arguments)
    assert done.code == 2
    assert said in done.err
    assert hub.repos.keys() == {("dataset", REPO)}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401, times=999), "does not accept your token (401)"),
        (Fault(429, times=999), "too many requests from here (429)"),
        (Fault(502, times=999), "the Hub is in trouble (502)"),
        (Fault(cut=-1, times=999), "broke off"),
    ],
)
def test_trouble_is_told_and_the_token_is_not(hub, init, build, tmp_path, fault, said):
    token = log_in(hub, "lab")
    hub.faults.append(Fault(**vars(fault)))
    for done in (init(NEW, "--track", "example", "--out", tmp_path / "out"), build(REPO)):
        assert done.code == 2
        assert said in done.err
        assert "Traceback" not in done.err
        assert token not in done.out + done.err
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()


# Read


@pytest.mark.slow
def test_a_repository_gives_the_same_board_as_the_folder(hub, build, board, tmp_path):
    commit = offered(hub, board)
    done = build(REPO, "--out", tmp_path / "there")
    assert done.code == 0, done.err
    assert f"note: {REPO} at commit {commit}" in done.err
    here = build(board, "--out", tmp_path / "here")
    assert here.out == done.out
    files = hub_board.of_folder(tmp_path / "here")
    assert len(files) > 8
    assert hub_board.of_folder(tmp_path / "there") == files
    assert json.loads(files["leaderboard.json"])[0]["systems"][SLUG]["status"] == "verified"


@pytest.mark.slow
def test_also_where_entries_are_refused(hub, build, board, tmp_path):
    def spoil(files: dict[str, bytes]) -> None:
        drop_receipts(files)
        files[f"{ENTRY}/{SCORECARD}"] = b"{}"

    offered(hub, board, spoil)
    hub_board.download(tmp_path / "copy")
    there = build(REPO, "--json")
    here = build(tmp_path / "copy" / "submissions", "--json")
    assert there.code == 0, there.err
    assert there.out == here.out
    refused = json.loads(there.out)["refused"]
    assert refused[SLUG].startswith(f"{SLUG}/{SCORECARD}: ")


@pytest.mark.slow
def test_receipts_that_were_made_here_are_kept(hub, board, tmp_path):
    offered(hub, board, drop_receipts)
    cache = tmp_path / "cache"
    with opened(REPO, "submissions", cache=cache) as source:
        folder = source.folder
        (folder / "verified").mkdir()
        (folder / "verified" / f"{SLUG}.json").write_bytes(b"mine")
    with opened(REPO, "submissions", cache=cache) as source:
        assert (source.folder / "verified" / f"{SLUG}.json").read_bytes() == b"mine"
    # Those of the repository are taken as they are.
    receipt = {f"submissions/verified/{SLUG}.json": b"theirs"}
    hub_board.commit(hub, receipt)
    with opened(REPO, "submissions", cache=cache) as source:
        assert (source.folder / "verified" / f"{SLUG}.json").read_bytes() == b"theirs"


def drop_receipts(files: dict[str, bytes]) -> None:
    for path in [path for path in files if "/verified/" in path]:
        del files[path]


def test_an_earlier_revision(hub, build, board):
    first = offered(hub, board)
    hub.add(REPO, CARD, kind="dataset")
    done = build(REPO, "--claimed", "--json", "--revision", first)
    assert done.code == 0, done.err
    assert SLUG in json.loads(done.out)["systems"]
    assert f"at commit {first}" in done.err
    done = build(REPO, "--claimed")
    assert done.code == 2
    assert "no submissions that can be ranked" in done.err
    assert "has no revision 'mian' (did you mean 'main'?)" in build(REPO, "--revision", "mian").err


def test_another_folder_of_the_repository(hub, build, board):
    hub.add(REPO, hub_board.of_folder(board), kind="dataset")
    done = build(REPO, "--claimed", "--json", "--under", "")
    assert done.code == 0, done.err
    assert SLUG in json.loads(done.out)["systems"]


def test_a_folder_always_wins(hub, build, board, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lab").mkdir()
    (tmp_path / REPO).symlink_to(board, target_is_directory=True)
    done = build(REPO, "--claimed", "--json")
    assert done.code == 0, done.err
    assert not hub.seen
    done = build(REPO, "--revision", "main")
    assert done.code == 2
    assert "--revision is for OWNER/NAME" in done.err


@pytest.mark.parametrize("source", ["nothing", "a/b/c", "./lab/results", "lab results/x", "~/x"])
def test_what_is_neither_folder_nor_repository(hub, build, source):
    done = build(source)
    assert done.code == 2
    assert f"{source}: there is no such folder, and it is no OWNER/NAME of a repository" in done.err
    assert not hub.seen


def test_a_repository_that_is_not_there(hub, build):
    done = build("lab/nothing")
    assert done.code == 2
    assert "the Hub has no dataset repository lab/nothing that you may see" in done.err


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network(hub, build, monkeypatch, offline):
    hub_board.switch(monkeypatch, offline)
    done = build(REPO)
    assert done.code == 2
    assert done.err.startswith(f"error: {REPO}: ")


def test_what_cannot_be_verified_here_is_claimed_and_not_called_false(hub, build, board):
    def elsewhere(files: dict[str, bytes]) -> None:
        drop_receipts(files)
        path = f"{ENTRY}/submission.toml"
        files[path] = files[path].replace(b'"example"', b'"codecfake-plus"')
        for path in [path for path in files if not path.startswith(ENTRY)]:
            del files[path]

    offered(hub, board, elsewhere)
    done = build(REPO, "--json")
    assert done.code == 0, done.err
    listed = json.loads(done.out)["systems"][SLUG]
    assert listed["status"] == "claimed"
    assert "the protocol of codecfake-plus is not shipped" in listed["why"]
