"""Results on the Hub, with the real client over HTTP: nothing lost, nothing doubled."""

import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from cfbench.errors import CfbenchError
from cfbench.hub.copies import Bounds, read_tree
from cfbench.hub.eval_results import eval_results_yaml, read_benchmark, write_eval_results
from cfbench.hub.failures import NotConnected, Trouble
from cfbench.hub.patience import Patience, Wait
from cfbench.hub.pull_requests import changed_files, close, comment, merge, open_pull_requests
from cfbench.hub.repos import (
    Created,
    create_results_repo,
    create_space,
    list_files,
    login,
    publish,
    whoami,
)
from hub_server import STRANGER, Fault, Hub
from hub_server.client import use

huggingface_hub = pytest.importorskip("huggingface_hub")
# huggingface_hub uploads large files in a way that its HTTP library no longer likes.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "lab/results"
ENTRY = {"submissions/new/submission.toml": b"name = 'new'\n", "submissions/new/p.parquet": b"PAR1"}
BEFORE = {"README.md": b"# Results\n", "submissions/old/submission.toml": b"name = 'old'\n"}
SECRET = "hf_lab0123456789"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with a repository of results, and this process logged in as its owner."""
    with Hub() as server:
        use(server, tmp_path, monkeypatch)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        server.add(REPO, BEFORE, kind="dataset")
        assert server.sign_up("lab") == SECRET
        monkeypatch.setenv("HF_TOKEN", SECRET)
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def log_in(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    def switch(token: str | None) -> None:
        monkeypatch.delenv("HF_TOKEN")
        if token is not None:
            monkeypatch.setenv("HF_TOKEN", token)

    return switch


def push(
    files: Mapping[str, bytes | Path] = ENTRY, title: str = "Add new", offer: bool = False, **more
):
    return publish(REPO, files, message=title, pull_request=offer, **more)


def refusal(act: Callable[..., object], *arguments: object, **more: object) -> str:
    with pytest.raises(CfbenchError) as caught:
        act(*arguments, **more)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def brief(value: object) -> str | None:
    """A fault by what is not as usual."""
    if not isinstance(value, Fault):
        return None
    usual = vars(Fault())
    return " ".join(f"{name}={what}" for name, what in vars(value).items() if what != usual[name])


class Waits(list[Wait]):
    """What was waited for."""

    def why(self) -> list[Trouble]:
        return [wait.why for wait in self]


# Who, and what is there


def test_who_is_logged_in(hub, log_in):
    assert whoami() == "lab"
    log_in(STRANGER)
    assert whoami() == "stranger"
    log_in("hf_wrong0123456789")
    assert "does not accept your token (401)" in refusal(whoami)
    log_in(None)
    assert whoami() is None
    with pytest.raises(NotConnected, match=r"^lab/x: you are not logged in"):
        login("lab/x")


def test_nobody_is_logged_in_without_a_network(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    assert whoami() is None
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    assert whoami() is None


def test_the_files_of_a_repository(hub):
    first = hub.repos["dataset", REPO].branches["main"]
    push()
    assert list_files(REPO) == sorted({*BEFORE, *ENTRY})
    assert list_files(REPO, first) == sorted(BEFORE)
    assert "no dataset repository lab/nothing" in refusal(list_files, "lab/nothing")
    assert f"{REPO} has no revision 'mian' (did you mean 'main'?)" in refusal(
        list_files, REPO, "mian"
    )


def test_lists_of_many_pages(hub, tmp_path):
    hub.page = 3
    files = {f"submissions/{number}/s.toml": b"%d" % number for number in range(20)}
    hub.add(REPO, files, kind="dataset")
    assert list_files(REPO) == sorted(files)
    for number in range(5):
        push({f"submissions/x{number}/s.toml": b"x"}, f"Add {number}", offer=True)
    assert [one.number for one in open_pull_requests(REPO)] == [1, 2, 3, 4, 5]
    assert changed_files(REPO, 5).added == ("submissions/x4/s.toml",)


# Reading a folder at one commit


def test_a_folder_at_one_commit(hub, tmp_path):
    push()
    commit = read_tree(REPO, "submissions", tmp_path / "copy")
    assert commit == hub.repos["dataset", REPO].branches["main"]
    for path, content in (ENTRY | BEFORE).items():
        if path.startswith("submissions/"):
            assert (tmp_path / "copy" / path).read_bytes() == content
    assert not (tmp_path / "copy" / "README.md").exists()


def test_a_copy_is_brought_up_to_date(hub, tmp_path):
    copy = tmp_path / "copy"
    read_tree(REPO, "", copy)
    asked = hub.count("GET", "/resolve/")
    push(ENTRY, delete=["submissions/old/submission.toml"])
    (copy / "README.md").write_bytes(b"spoilt")
    read_tree(REPO, "", copy)
    assert not (copy / "submissions" / "old").exists()
    here = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert here == {".hub-copy", "README.md", *ENTRY}
    assert (copy / "README.md").read_bytes() == BEFORE["README.md"]
    # Three files and no other were needed.
    assert hub.count("GET", "/resolve/") == asked + 3


def test_some_files_of_a_folder(hub, tmp_path):
    copy = tmp_path / "copy"
    push()
    read_tree(REPO, "submissions", copy)
    asked = hub.count("GET", "/resolve/")
    few = Bounds(total=len(BEFORE["submissions/old/submission.toml"]), files=1)
    read_tree(REPO, "submissions", copy, bounds=few, only=lambda path: "/old/" in path)
    assert [path.name for path in (copy / "submissions").iterdir()] == ["old"]
    assert hub.count("GET", "/resolve/") == asked


def test_a_folder_of_something_else_is_left_alone(hub, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_bytes(b"mine")
    assert "not empty, and no copy of lab/results" in refusal(
        read_tree, REPO, "", tmp_path / "mine"
    )
    hub.add("lab/other", {"x": b"x"}, kind="dataset")
    read_tree("lab/other", "", tmp_path / "copy")
    assert "no copy of lab/results" in refusal(read_tree, REPO, "", tmp_path / "copy")
    assert (tmp_path / "copy" / "x").exists()
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (Bounds(file=9), "'README.md' has 10 bytes"),
        (Bounds(total=20), "23 bytes in all, more than the 20 allowed"),
        (Bounds(files=1), "2 files, more than the 1 allowed"),
    ],
)
def test_too_much_is_not_downloaded(hub, tmp_path, bounds, said):
    assert said in refusal(read_tree, REPO, "", tmp_path / "copy", bounds=bounds)
    assert hub.count("GET", "/resolve/") == 0


def test_names_that_leave_the_folder_are_refused(hub, tmp_path):
    for name in ("a/../../x", "/x", "a\\..\\x", "a/\x1b[2J", ".hub-incoming/x"):
        hub.add(REPO, {name: b"x"}, kind="dataset")
        assert "is no path inside a folder" in refusal(read_tree, REPO, "", tmp_path / "copy")
    assert hub.count("GET", "/resolve/") == 0


def test_a_folder_that_is_not_there_yet_is_empty(hub, tmp_path):
    assert read_tree(REPO, "later", tmp_path / "copy") == read_tree(REPO, "", tmp_path / "all")
    assert [path.name for path in (tmp_path / "copy").iterdir()] == [".hub-copy"]


def test_a_folder_that_cannot_be_written(hub, tmp_path):
    (tmp_path / "copy").mkdir()
    (tmp_path / "copy" / ".hub-copy").write_text(REPO)
    (tmp_path / "copy" / ".hub-incoming").write_bytes(b"in the way")
    assert f"cannot be stored in {tmp_path / 'copy'}: " in refusal(
        read_tree, REPO, "", tmp_path / "copy"
    )


def test_downloads_that_are_cut_are_taken_up_again(hub, tmp_path):
    hub.faults.append(Fault(503, times=2, part="/tree/"))
    hub.faults.append(Fault(cut=-1, times=2, method="HEAD"))
    hub.faults.append(Fault(cut=3, times=2, method="GET", part="/resolve/"))
    read_tree(REPO, "", tmp_path / "copy")
    for path, content in BEFORE.items():
        assert (tmp_path / "copy" / path).read_bytes() == content


def test_other_content_than_the_commit_has_is_refused(hub, tmp_path):
    hub.faults.append(Fault(body=b"# Resuxxx\n", times=99, method="GET", part="README.md"))
    assert "the download broke off (ConnectionError)" in refusal(
        read_tree, REPO, "", tmp_path / "copy"
    )
    assert not (tmp_path / "copy" / "README.md").exists()


# Writing


def test_a_commit(hub, tmp_path):
    (tmp_path / "p.parquet").write_bytes(b"PAR1 of a file")
    large = {"submissions/new/p.parquet": tmp_path / "p.parquet"}
    done = push(ENTRY | large, description="a text")
    head = hub.repos["dataset", REPO].branches["main"]
    assert (done.commit, done.number) == (head, None)
    assert done.url == f"{hub.url}/datasets/{REPO}/commit/{head}"
    assert hub.files(REPO) == {**BEFORE, **ENTRY, "submissions/new/p.parquet": b"PAR1 of a file"}
    assert hub.repos["dataset", REPO].commits[head].tree["submissions/new/p.parquet"].sha256


def test_files_are_deleted(hub):
    push(ENTRY, delete=["submissions/old/", "not/there", "README.md"])
    assert hub.files(REPO) == ENTRY


def test_what_is_there_already_is_not_committed_again(hub):
    first = push()
    assert push(delete=["not/there"]).commit == first.commit
    assert push(offer=True).number is None
    assert hub.titles(REPO).count("Add new") == 1
    assert not hub.repos["dataset", REPO].pull_requests


def test_a_pull_request_of_a_stranger(hub, log_in):
    log_in(STRANGER)
    said = refusal(push)
    assert said.startswith(f"{REPO}: Add new: you may not write to {REPO} (403)")
    assert "offer it as a pull request" in said
    done = push(offer=True, description="my entry")
    assert done.number == 1
    assert done.url == f"{hub.url}/datasets/{REPO}/discussions/1"
    assert hub.files(REPO) == BEFORE
    assert hub.files(REPO, revision="refs/pr/1") == BEFORE | ENTRY
    offered = hub.repos["dataset", REPO].pull_requests[0]
    assert (offered.author, offered.description) == ("stranger", "my entry")
    # The same again is the same pull request; something else is another one.
    assert push(offer=True) == done
    assert push({"submissions/x/s.toml": b"x"}, offer=True).number == 2
    log_in(SECRET)
    assert push(offer=True).number == 3


def test_a_check_looks_at_the_commit_that_is_built_upon(hub):
    looked: list[str] = []
    done = push(check=looked.append)
    assert looked == list(hub.repos["dataset", REPO].commits[done.commit].parents)

    def forbid(commit: str) -> None:
        raise ValueError("not so")

    with pytest.raises(ValueError, match="not so"):
        push({"x": b"x"}, check=forbid)
    assert "x" not in hub.files(REPO)


def test_a_conflict_is_tried_again_on_the_new_state(hub):
    looked: list[str] = []
    waits = Waits()

    def meanwhile(commit: str) -> None:
        looked.append(commit)
        if len(looked) < 4:
            there = hub.files(REPO)
            hub.add(REPO, {**there, f"by/others/{len(looked)}": b"x"}, kind="dataset")

    done = push(check=meanwhile, told=waits.append)
    assert waits.why() == [Trouble.CONFLICT] * 3
    assert len(set(looked)) == 4
    assert hub.repos["dataset", REPO].commits[done.commit].parents == (looked[-1],)
    assert hub.files(REPO).keys() == {*BEFORE, *ENTRY, *(f"by/others/{n}" for n in (1, 2, 3))}


def test_a_check_that_finds_another_version_meanwhile(hub):
    looked: list[str] = []

    def check(commit: str) -> None:
        looked.append(commit)
        if "submissions/new/submission.toml" in list_files(REPO, commit):
            raise CfbenchError("the entry has got another version meanwhile")
        hub.add(REPO, {**BEFORE, "submissions/new/submission.toml": b"theirs"}, kind="dataset")

    assert refusal(push, check=check) == "the entry has got another version meanwhile"
    assert len(looked) == 2
    assert hub.files(REPO)["submissions/new/submission.toml"] == b"theirs"


def test_conflicts_without_end(hub):
    hub.faults.append(Fault(412, times=999, method="POST", part="/commit/"))
    said = refusal(push, patience=Patience(conflicts=3))
    assert "others keep changing lab/results (412)" in said
    assert hub.count("POST", "/commit/") == 4
    # Who waits for others must see that there are any.
    assert "though nobody else makes one" in refusal(push)
    assert hub.count("POST", "/commit/") == 24


@pytest.mark.parametrize("offer", [False, True])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(cut=-1, lost=True),
        Fault(cut=0),
        Fault(cut=20),
        Fault(500, lost=True),
        Fault(504, lost=True),
    ],
    ids=brief,
)
def test_a_commit_whose_answer_is_lost_is_made_once(hub, log_in, offer, fault):
    if offer:
        log_in(STRANGER)
    hub.faults.append(Fault(**{**vars(fault), "method": "POST", "part": "/commit/"}))
    done = push(offer=offer)
    assert hub.count("POST", "/commit/") == 1
    if offer:
        assert done.number == 1
        assert len(hub.repos["dataset", REPO].pull_requests) == 1
    else:
        assert done.commit == hub.repos["dataset", REPO].branches["main"]
        assert hub.titles(REPO).count("Add new") == 1
    assert hub.files(REPO, revision=done.commit) == BEFORE | ENTRY


def test_a_commit_whose_answer_is_lost_and_that_others_follow(hub):
    hub.faults.append(Fault(cut=-1, method="POST", part="/commit/", lost=True))

    def others(wait: Wait) -> None:
        hub.add(REPO, {**hub.files(REPO), "by/others": b"x"}, kind="dataset")

    # The check would forbid it now: what it finds is this very commit.
    def check(commit: str) -> None:
        assert "submissions/new/p.parquet" not in list_files(REPO, commit)

    done = push(check=check, told=others)
    assert done.commit == hub.repos["dataset", REPO].branches["main"]
    assert hub.titles(REPO).count("Add new") == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(503, times=3),
        Fault(502, times=2, method="POST"),
        Fault(429, times=2, headers={"Retry-After": "30"}),
        Fault(cut=-1, times=2, method="POST"),
        Fault(read=40, times=2, method="POST", part="/commit/"),
        Fault(read=2, times=2, method="PUT", part="/_lfs/"),
        Fault(500, times=2, method="PUT", part="/_lfs/"),
        Fault(cut=3, times=1, method="GET", part="/api/"),
    ],
    ids=brief,
)
def test_trouble_that_passes_is_waited_for(hub, fault):
    hub.faults.append(Fault(**vars(fault)))
    push()
    assert hub.files(REPO) == BEFORE | ENTRY
    assert hub.titles(REPO).count("Add new") == 1


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401, times=999), "the Hub does not accept your token (401)"),
        (Fault(403, times=999), "you may not write to lab/results (403)"),
        (Fault(400, times=999), "the Hub refuses the request (400): a fault of the test"),
        (Fault(404, times=999), "the Hub refuses the request (404)"),
        (Fault(429, times=999), "too many requests from here (429)"),
        (Fault(500, times=999), "the Hub is in trouble (500)"),
        (Fault(cut=-1, times=999), "the upload broke off (RemoteProtocolError)"),
        (Fault(body=b"<html>", times=999), "is not the Hub"),
    ],
    ids=brief,
)
def test_trouble_that_stays_is_told(hub, fault, said):
    hub.faults.append(Fault(**{**vars(fault), "part": "/api/"}))
    assert said in refusal(push)
    hub.faults.clear()
    assert hub.files(REPO) == BEFORE


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [({"Retry-After": "30"}, 30), ({"RateLimit": '"api";r=0;t=55'}, 55), ({}, 0)],
)
def test_the_wait_that_the_hub_asks_for(hub, headers, seconds):
    waits = Waits()
    hub.faults.append(Fault(429, headers=headers, method="POST", part="/commit/"))
    push(told=waits.append)
    assert waits.why() == [Trouble.LIMIT]
    assert seconds <= waits[0].seconds <= seconds + 15


def test_a_wait_that_is_too_long_is_told(hub):
    hub.faults.append(Fault(429, headers={"Retry-After": "4000"}, method="POST", part="/commit/"))
    assert "wait 4000 seconds" in refusal(push)


def test_a_file_that_cannot_be_read(hub, tmp_path):
    assert "x.parquet: cannot be read: No such file" in refusal(push, {"x": tmp_path / "x.parquet"})
    assert not hub.seen


def test_files_that_the_hub_leaves_out(hub):
    hub.add(REPO, {**BEFORE, ".gitignore": b"*.parquet"}, kind="dataset")
    assert "the Hub has left out files" in refusal(push)


def test_without_a_login_nothing_is_asked(hub, log_in):
    log_in(None)
    for act in (
        push,
        lambda: create_results_repo(REPO, {}),
        lambda: create_space(REPO, {}),
        lambda: merge(REPO, 1, "0" * 40),
        lambda: comment(REPO, 1, "text"),
        lambda: close(REPO, 1, "text"),
    ):
        with pytest.raises(NotConnected, match="you are not logged in to the Hugging Face Hub"):
            act()
    assert not hub.seen


def test_without_a_network(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    with pytest.raises(NotConnected, match="offline mode is on"):
        push()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://me:pw@127.0.0.1:9")
    with pytest.raises(NotConnected, match=r"cannot be reached at http://127\.0\.0\.1:9 \("):
        push()
    assert not hub.seen


def test_the_library_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for act in (push, lambda: list_files(REPO), lambda: create_space(REPO, {})):
        assert "the Hub needs the package huggingface_hub" in refusal(act)


@pytest.mark.parametrize("token", [SECRET, "hf_broken0123456789\x01x", "hf_brökën0123456789"])
@pytest.mark.parametrize(
    "fault",
    [
        Fault(500, times=999),
        Fault(403, times=999),
        Fault(400, times=999, headers={"X-Error-Message": f"who is {SECRET}?"}),
        Fault(409, times=999, headers={"X-Error-Message": SECRET[5:14]}),
        Fault(cut=-1, times=999),
        None,
    ],
    ids=brief,
)
def test_a_token_is_never_shown(hub, log_in, capfd, caplog, token, fault):
    # Below, the HTTP library would log what this Hub answers, and some of it here is a token.
    caplog.set_level(logging.INFO)
    for name in ("cfbench", "huggingface_hub", "httpx", "httpx2"):
        caplog.set_level(logging.DEBUG, name)
    log_in(token)
    hub.faults += [Fault(**vars(fault))] if fault else []
    few = Patience(conflicts=1, failures=1, limits=1)
    said = []
    for act in (
        lambda: push(patience=few),
        lambda: list_files("lab/no"),
        lambda: close(REPO, 1, ""),
    ):
        try:
            act()
        except CfbenchError as error:
            said.append(f"{error!r} {error} {error.__dict__}")
    shown = " ".join(said) + "".join(capfd.readouterr()) + caplog.text
    assert said
    assert "0123456789" not in shown
    assert token[:9] not in shown
    assert SECRET[5:14] not in shown


# Pull requests


def test_what_a_pull_request_changes(hub, log_in):
    log_in(STRANGER)
    changed = {"submissions/old/submission.toml": b"name = 'mine'\n", "a/b.parquet": b"PAR1"}
    number = push(changed, "Mine is better", offer=True, delete=["README.md"]).number
    log_in(SECRET)
    base = hub.repos["dataset", REPO].branches["main"]
    # The main branch goes on; that is no change of the pull request's.
    push()
    found = changed_files(REPO, number)
    assert (found.number, found.title, found.author) == (1, "Mine is better", "stranger")
    assert (found.status, found.base) == ("open", base)
    assert found.head == hub.repos["dataset", REPO].references["refs/pr/1"]
    assert found.added == ("a/b.parquet",)
    assert found.modified == ("submissions/old/submission.toml",)
    assert found.deleted == ("README.md",)
    assert "pull request 7: the Hub refuses the request (404)" in refusal(changed_files, REPO, 7)


def test_a_pull_request_is_merged(hub, log_in):
    log_in(STRANGER)
    number = push(offer=True).number
    assert "you may not write to lab/results (403)" in refusal(
        merge, REPO, number, changed_files(REPO, number).head
    )
    log_in(SECRET)
    push({"by/others": b"x"})
    head = changed_files(REPO, number).head
    hub.faults.append(Fault(cut=-1, method="POST", part="/merge", lost=True))
    merge(REPO, number, head)
    assert hub.files(REPO) == BEFORE | ENTRY | {"by/others": b"x"}
    assert hub.count("POST", "/merge") == 2
    assert changed_files(REPO, number).status == "merged"
    merge(REPO, number, head)
    assert hub.titles(REPO).count("Add new (#1)") == 1
    assert open_pull_requests(REPO) == []


def test_a_pull_request_that_changed_after_it_was_looked_at_is_not_merged(hub, log_in):
    log_in(STRANGER)
    number = push(offer=True).number
    head = changed_files(REPO, number).head
    huggingface_hub.HfApi().create_commit(
        REPO,
        [huggingface_hub.CommitOperationAdd("README.md", b"mine now")],
        commit_message="More",
        repo_type="dataset",
        revision=f"refs/pr/{number}",
    )
    assert changed_files(REPO, number).modified == ("README.md",)
    log_in(SECRET)
    assert "another commit since it was looked at" in refusal(merge, REPO, number, head)
    assert hub.files(REPO) == BEFORE


def test_a_pull_request_that_contradicts_the_main_branch(hub):
    number = push({"README.md": b"offered"}, offer=True).number
    push({"README.md": b"committed"})
    head = changed_files(REPO, number).head
    assert "(409): This pull request has conflicts" in refusal(merge, REPO, number, head)


def test_comments_and_closing(hub, log_in):
    number = push(offer=True).number
    for fault in (Fault(500), Fault(500, lost=True), Fault(cut=-1, lost=True)):
        hub.faults.append(Fault(**{**vars(fault), "method": "POST", "part": "/comment"}))
        comment(REPO, number, "**verified**")
    assert hub.repos["dataset", REPO].pull_requests[0].comments == [("lab", "**verified**")] * 3
    for text in ("**verified**", "**again**", "**again**"):
        comment(REPO, number, text, once=True)
    comments = hub.repos["dataset", REPO].pull_requests[0].comments
    assert comments.pop() == ("lab", "**again**")
    assert comments == [("lab", "**verified**")] * 3
    head = changed_files(REPO, number).head
    close(REPO, number, "not reproducible")
    close(REPO, number, "not reproducible")
    offered = hub.repos["dataset", REPO].pull_requests[0]
    assert offered.status == "closed"
    assert offered.comments[3:] == [("lab", "not reproducible")]
    assert "pull request 1: is closed" in refusal(merge, REPO, number, head)


def test_pull_requests_of_one_user(hub, log_in):
    push(offer=True)
    log_in(STRANGER)
    push({"x": b"x"}, "Add x", offer=True)
    assert [(one.number, one.title, one.author) for one in open_pull_requests(REPO)] == [
        (1, "Add new", "lab"),
        (2, "Add x", "stranger"),
    ]
    mine = open_pull_requests(REPO, author="stranger")
    assert [one.url for one in mine] == [f"{hub.url}/datasets/{REPO}/discussions/2"]


# Making repositories


def test_a_repository_of_results_is_made_once(hub):
    files = {"README.md": b"# Card", "eval.yaml": b"name: x\n"}
    page = f"{hub.url}/datasets/lab/new"
    hub.faults.append(Fault(cut=-1, method="POST", part="/repos/create", lost=True))
    made = create_results_repo("lab/new", files, private=True)
    assert made == Created(page, True, ("README.md", "eval.yaml"), ())
    assert hub.repos["dataset", "lab/new"].private
    assert hub.files("lab/new").keys() == {".gitattributes", *files}
    # A card that was edited stays.
    publish("lab/new", {"README.md": b"# Mine"}, message="Edit", pull_request=False)
    again = create_results_repo("lab/new", {**files, "more.md": b""})
    assert again == Created(page, False, ("more.md",), ("README.md", "eval.yaml"))
    assert hub.files("lab/new")["README.md"] == b"# Mine"


def test_a_space_is_made_and_brought_up_to_date(hub):
    files = {"README.md": b"---\nsdk: gradio\n---\n", "app.py": b"1"}
    page = f"{hub.url}/spaces/lab/board"
    assert create_space("lab/board", files) == Created(page, True, ("README.md", "app.py"), ())
    assert hub.repos["space", "lab/board"].sdk == "gradio"
    again = create_space("lab/board", {**files, "app.py": b"2"})
    assert again == Created(page, False, ("app.py",), ("README.md",))
    assert hub.files("lab/board", "space")["app.py"] == b"2"
    commits = len(hub.titles("lab/board", "space"))
    assert create_space("lab/board", {**files, "app.py": b"2"}).written == ()
    assert len(hub.titles("lab/board", "space")) == commits


def test_a_repository_of_somebody_else_is_not_made(hub):
    assert "you may not write to other/new (403)" in refusal(create_results_repo, "other/new", {})
    assert "'a b' is no name of a dataset repository" in refusal(create_results_repo, "a b", {})


@pytest.mark.parametrize("repo", ["lab", "a/b/c", "", "../x", f"https://me:{SECRET}@hf.co/a/b"])
def test_what_is_no_name_of_a_repository(hub, tmp_path, repo):
    for act in (
        lambda: list_files(repo),
        lambda: publish(repo, ENTRY, pull_request=False),
        lambda: read_tree(repo, "", tmp_path / "copy"),
        lambda: create_space(repo, {}),
        lambda: open_pull_requests(repo),
        lambda: merge(repo, 1, "0" * 40),
    ):
        said = refusal(act)
        assert "is no name of a" in said
        assert SECRET not in said
    assert not hub.seen


def test_a_repository_that_is_deleted(hub):
    create_results_repo("lab/new", {})
    huggingface_hub.HfApi().delete_repo("lab/new", repo_type="dataset")
    assert "no dataset repository lab/new" in refusal(list_files, "lab/new")


# Results on a model's page


def results():
    return [
        huggingface_hub.EvalResultEntry("lab/results", "vq-ood", 0.5, date="2025-01-02"),
        huggingface_hub.EvalResultEntry("lab/results", "bin-ood", 1, notes="EER: 1 minus"),
    ]


def test_results_of_a_model(hub, log_in):
    hub.add("maker/model", {"config.json": b"{}"})
    done = write_eval_results("maker/model", results(), pull_request=True)
    text = hub.files("maker/model", "model", f"refs/pr/{done.number}")[".eval_results/cfbench.yaml"]
    assert text.decode() == (
        "- dataset:\n    id: lab/results\n    task_id: vq-ood\n"
        "  value: 0.5\n  date: '2025-01-02'\n"
        "- dataset:\n    id: lab/results\n    task_id: bin-ood\n"
        "  value: 1\n  notes: 'EER: 1 minus'\n"
    )
    log_in(hub.sign_up("maker"))
    write_eval_results("maker/model", results(), pull_request=False)
    assert hub.files("maker/model", "model")[".eval_results/cfbench.yaml"] == text


def test_results_that_cannot_be_shown():
    entry = huggingface_hub.EvalResultEntry("lab/results", "vq-ood", float("nan"))
    assert "vq-ood: nan is no result that can be shown" in refusal(eval_results_yaml, [entry])
    assert "no results" in refusal(eval_results_yaml, [])
    assert "is no name of a file" in refusal(
        write_eval_results, "m/m", results(), pull_request=True, name="../x"
    )


def test_what_a_benchmark_lists(hub):
    commit = hub.add(
        "lab/bench",
        {"eval.yaml": b"name: x\nid: top\ntasks:\n- id: a_vq_ood  # one\n  - id: 'b.c'\n"},
        kind="dataset",
    )
    assert read_benchmark("lab/bench") == (commit, ("top", "a_vq_ood", "b.c"))
    assert "lab/results has no eval.yaml" in refusal(read_benchmark, REPO)
    hub.add("lab/bench", {"eval.yaml": b"#" * (2**20 + 1)}, kind="dataset")
    assert "more than the 1,048,576 allowed" in refusal(read_benchmark, "lab/bench")


# Many at once

_MANY = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from cfbench.hub.patience import Patience
from cfbench.hub.repos import publish

def push(number):
    waits = []
    slug = f"submissions/entry-{number}"
    files = {f"{slug}/submission.toml": b"%d" % number, f"{slug}/p.parquet": b"PAR%d" % number}
    done = publish("lab/results", files, message=f"Add {number}", pull_request=len(sys.argv) > 3,
                   patience=Patience(first=0.05, longest=0.5), told=waits.append)
    return number, done.commit, done.number, len(waits)

numbers = range(int(sys.argv[1]), int(sys.argv[2]))
with ThreadPoolExecutor(len(numbers)) as pool:
    print(json.dumps(list(pool.map(push, numbers))))
"""


def many(hub: Hub, home: Path, count: int, *more: str) -> list[list]:
    """Push from two processes, with a thread an entry."""
    cuts = [(0, count // 2), (count // 2, count)]
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _MANY, str(first), str(last), *more],
            env=hub.environment(home / str(first), SECRET),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first, last in cuts
    ]
    done = []
    for process in running:
        out, errors = process.communicate()
        assert process.returncode == 0, errors
        assert SECRET not in out + errors
        done += json.loads(out)
    return done


@pytest.mark.slow
def test_fifty_at_once_lose_and_double_nothing(hub, tmp_path):
    hub.faults.append(Fault(cut=-1, times=5, method="POST", part="/commit/", lost=True))
    hub.faults.append(Fault(503, times=5, method="POST", part="/commit/"))
    done = many(hub, tmp_path, 50)
    wanted = {f"submissions/entry-{n}/submission.toml": b"%d" % n for n in range(50)}
    wanted |= {f"submissions/entry-{n}/p.parquet": b"PAR%d" % n for n in range(50)}
    assert hub.files(REPO) == BEFORE | wanted
    titles = [title for title in hub.titles(REPO) if title.startswith("Add ")]
    assert sorted(titles) == sorted(f"Add {number}" for number in range(50))
    # They did meet.
    assert sum(waits for *_, waits in done) > 10


@pytest.mark.slow
def test_twenty_pull_requests_at_once(hub, tmp_path):
    hub.faults.append(Fault(cut=-1, times=3, method="POST", part="/commit/", lost=True))
    done = many(hub, tmp_path, 20, "offer")
    assert sorted(number for _, _, number, _ in done) == list(range(1, 21))
    offered = hub.repos["dataset", REPO].pull_requests
    assert sorted(one.title for one in offered) == sorted(f"Add {n}" for n in range(20))
    assert hub.files(REPO) == BEFORE
