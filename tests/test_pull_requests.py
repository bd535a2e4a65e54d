"""What a leaderboard's keeper finds of pull requests; docs/submissions.md lists the attacks."""

import ast
import hashlib
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import tomli_w

import entries
import hub_board
from cfbench.errors import CfbenchError
from cfbench.keeping import accept, findings
from cfbench.offers import Desk, Offer, Rules
from cfbench.review import attempt, own_protocols
from cfbench.submission import DESCRIPTION, LARGEST_SHIPPED, SCORECARD, parse_submission
from hub_board import CARD, ENTRY, REPO, SLUG, log_in
from hub_server import Fault, Hub
from hub_server.repositories import Blob, PullRequest

pytestmark = [
    pytest.mark.slow,
    # huggingface_hub uploads large files in a way that its HTTP library no longer likes.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]

TESTS = Path(__file__).parent
DOCS = TESTS.parent / "docs" / "submissions.md"
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The files of an entry, by name, as `cfbench submit` makes them."""
    folder = tmp_path_factory.mktemp("first")
    return hub_board.of_folder(entries.make(folder / "board", folder / "work").folder)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """The same entry with other predictions."""
    folder = tmp_path_factory.mktemp("second")
    frame = entries.confused(0.3)
    return hub_board.of_folder(
        entries.make(folder / "board", folder / "work", predictions=frame).folder
    )


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty leaderboard of `lab`, who is logged in."""
    monkeypatch.setenv("HF_TOKEN", "")
    with hub_board.board(tmp_path / "home", monkeypatch) as server:
        monkeypatch.setenv("HF_TOKEN", "")
        log_in(server, "lab")
        yield server


@pytest.fixture
def review(run_cli: Callable) -> Callable:
    def run(*arguments: object):
        return run_cli("leaderboard", "review", REPO, *arguments)

    return run


def described(files: Mapping[str, bytes], **changes: object) -> Files:
    """An entry with another description; a dict changes keys of a table."""
    data = tomllib.loads(files[DESCRIPTION].decode())
    for key, value in changes.items():
        data[key] = {**data[key], **value} if isinstance(value, dict) else value
    return {**files, DESCRIPTION: tomli_w.dumps(data).encode()}


def at(files: Mapping[str, bytes], slug: str = SLUG) -> Files:
    """An entry's files by their path in the repository."""
    return {f"submissions/{slug}/{name}": data for name, data in files.items()}


def next_version(before: Files, after: Files, owner: str = "maker", number: int = 2) -> Files:
    """A changed entry as `cfbench push` sends it."""
    kept = {f"versions/{number - 1}/{name}": data for name, data in before.items()}
    return {**kept, **described(after, owner=owner, version=number)}


def smuggle(hub: Hub, files: Mapping[str, bytes], number: int = 1) -> None:
    """Have `maker` offer files by git, past what the client checks."""
    repo = hub.repos["dataset", REPO]
    reference, main = f"refs/pr/{number}", repo.branches["main"]
    if reference not in repo.references:
        repo.pull_requests.append(PullRequest("Add an entry", "", "maker", main))
    parent = repo.references.get(reference, main)
    tree = dict(repo.commits[parent].tree)
    tree |= {path: Blob.of(path, data) for path, data in files.items()}
    repo.commit(reference, tree, "more", "maker", parent)


def refused(done, hub: Hub, *said: str) -> None:
    """The review says so, and nothing was merged."""
    assert done.code == 1
    assert "does not hold" in done.out
    for words in said:
        assert words in done.out, done.out
    assert "Traceback" not in done.out + done.err
    statuses = {one.status for one in hub.repos["dataset", REPO].pull_requests}
    assert statuses <= {"open", "closed"}


class TestPullRequests:
    def test_an_entry_of_somebody_else_is_changed(self, hub, review, first, second):
        mine = described(first, owner="maker")
        hub_board.commit(hub, at(mine))
        hub_board.offer(hub, "other", at(next_version(mine, second)))
        refused(
            review("--merge"), hub,
            "owner is 'maker', but the pull request is by 'other'",
            "only its owner changes an entry",
        )  # fmt: skip

    def test_an_entry_of_somebody_else_is_taken_over(self, hub, review, first, second):
        mine = described(first, owner="maker")
        hub_board.commit(hub, at(mine))
        hub_board.offer(hub, "other", at(next_version(mine, second, owner="other")))
        refused(review("--merge"), hub, "owner is 'other', but the entry is of 'maker'")

    @pytest.mark.parametrize("all_of_it", [True, False])
    def test_an_entry_of_somebody_else_is_deleted(self, hub, review, first, all_of_it):
        mine = at(described(first, owner="maker"))
        hub_board.commit(hub, mine)
        gone = tuple(mine) if all_of_it else (f"{ENTRY}/{SCORECARD}",)
        hub_board.offer(hub, "other", {}, gone)
        said = "has no submission.toml any more" if all_of_it else "by 'other'"
        refused(review("--merge"), hub, said)

    def test_a_second_entry_in_the_same_offer(self, hub, review, first):
        mine = at(described(first, owner="maker"))
        more = at(described(first, owner="maker", slug="second"), "second")
        hub_board.offer(hub, "maker", {**mine, **more})
        refused(review("--merge"), hub, f"touches 2 entries: {SLUG}, second")

    def test_a_forged_receipt(self, hub, review, first):
        mine = at(described(first, owner="maker"))
        forged = {f"submissions/verified/{SLUG}.json": b"{}"}
        hub_board.offer(hub, "maker", {**mine, **forged})
        refused(
            review("--merge"), hub,
            f"touches what is no entry's: submissions/verified/{SLUG}.json",
        )  # fmt: skip

    @pytest.mark.parametrize(
        "path",
        ["README.md", "eval.yaml", ".gitattributes", ".gitignore", "submissions/README.md",
         ".github/workflows/run.yml", "app.py", f"entries/{SLUG}/{SCORECARD}"],
    )  # fmt: skip
    def test_another_file_of_the_repository_is_changed(self, hub, review, first, path):
        hub_board.offer(hub, "maker", {**at(described(first, owner="maker")), path: b"mine now"})
        refused(review("--merge"), hub, f"touches what is no entry's: {path}")

    @pytest.mark.parametrize(
        "path",
        [f"{ENTRY}/../../README.md", f"submissions/../{SLUG}/{SCORECARD}", "/etc/passwd",
         f"{ENTRY}\\{SCORECARD}", f"{ENTRY}/./{SCORECARD}", f"{ENTRY}//{SCORECARD}",
         f"submissions\\{SLUG}"],
    )  # fmt: skip
    def test_a_path_that_leaves_the_entry(self, hub, review, first, path):
        hub_board.offer(hub, "maker", at(described(first, owner="maker")))
        smuggle(hub, {path: b"{}"})
        refused(review("--merge"), hub)
        assert hub.count("GET", "/resolve/") == 0

    @pytest.mark.parametrize(
        "name",
        ["run.py", ".gitattributes", ".git/config", "predictions.pkl", "versions/1/run.py",
         "versions/01/scorecard.json", "versions/\u0661/scorecard.json",
         "versions/1/2/scorecard.json", "Submission.toml", "predictions.csv\x1b[2J"],
    )  # fmt: skip
    def test_a_file_that_no_entry_has(self, hub, review, first, name):
        hub_board.offer(hub, "maker", at(described(first, owner="maker")))
        smuggle(hub, {f"{ENTRY}/{name}": b"x"})
        done = review("--merge")
        refused(done, hub, "has what is no file of an entry: ")
        assert "\x1b" not in done.out

    @pytest.mark.parametrize("slug", ["Made-Up-System", "aux", "a--b", "\u0430bc", "verified"])
    def test_a_folder_that_no_entry_can_have(self, hub, review, first, slug):
        smuggle(hub, at(described(first, owner="maker"), slug))
        refused(review("--merge"), hub)

    def test_a_folder_with_the_slug_of_another(self, hub, review, first):
        hub_board.commit(hub, at(described(first, owner="other")))
        hub_board.offer(hub, "maker", at(described(first, owner="maker"), "mine"))
        refused(review("--merge"), hub, f"slug is '{SLUG}', but the folder is called 'mine'")

    @pytest.mark.parametrize(
        ("owner", "author"), [("other", "maker"), ("lab", "maker"), ("app", "maker"), ("", "maker")]
    )
    def test_a_forged_owner(self, hub, review, first, owner, author):
        hub_board.offer(hub, author, at(described(first, owner=owner)))
        refused(
            review("--merge", "--app-user", "app"), hub,
            f"owner is '{owner}', but the pull request is by '{author}'",
        )  # fmt: skip

    def test_a_line_for_comparison_of_a_stranger(self, hub, review, first):
        hub_board.offer(hub, "maker", at(described(first, owner="maker", reference=True)))
        refused(review("--merge"), hub, "calls itself a line for comparison")

    @pytest.mark.parametrize(
        ("slug", "name"),
        [("mine", "M\u0430de-up system"), ("mine", "MADE UP SYSTEM"), ("made-up-systern", "Mine"),
         ("mine", "\uff2dade-up system"), ("madeup-system", "Mine")],
    )  # fmt: skip
    def test_a_name_that_looks_like_that_of_another(self, hub, review, first, slug, name):
        hub_board.commit(hub, at(described(first, owner="other")))
        files = described(first, owner="maker", slug=slug, system={"name": name})
        hub_board.offer(hub, "maker", at(files, slug))
        refused(review("--merge"), hub, f"looks like the entry {SLUG} of other")

    def test_a_kept_version_is_rewritten(self, hub, review, first, second):
        one = described(first, owner="maker")
        two = next_version(one, second)
        hub_board.commit(hub, at(two))
        three = next_version(two, first, number=3)
        three = {name: data for name, data in three.items() if "versions/2/versions" not in name}
        three["versions/1/" + SCORECARD] = b"{}"
        hub_board.offer(hub, "maker", at(three))
        refused(
            review("--merge"), hub,
            f"earlier versions are not as they were: versions/1/{SCORECARD}",
        )  # fmt: skip

    @pytest.mark.parametrize("how", ["left out", "other bytes", "a pointer", "more", "a gap"])
    def test_the_version_before_is_not_kept(self, hub, review, first, second, how):
        one = described(first, owner="maker")
        hub_board.commit(hub, at(one))
        two = next_version(one, second)
        kept = "versions/1/predictions.csv"
        match how:
            case "left out":
                del two[kept]
            case "other bytes":
                two[kept] += b"\n"
            case "a pointer":
                two[kept] = pointer(two[kept])
            case "more":
                two["versions/7/" + SCORECARD] = b"{}"
            case "a gap":
                two = {name.replace("versions/1/", "versions/2/"): d for name, d in two.items()}
        hub_board.offer(hub, "maker", at(two))
        refused(review("--merge"), hub, "earlier versions are not as they were: ")

    @pytest.mark.parametrize(("before", "number"), [(False, 2), (True, 1), (True, 3)])
    def test_a_version_that_is_not_the_next(self, hub, review, first, second, before, number):
        one = described(first, owner="maker")
        if before:
            hub_board.commit(hub, at(one))
        two = {**next_version(one, second), **described(second, owner="maker", version=number)}
        hub_board.offer(hub, "maker", at(two))
        refused(review("--merge"), hub, f"is version {number}, but version {1 + before} comes next")

    def test_a_history_that_never_was(self, hub, review, first, second):
        files = {**next_version(first, second), **described(second, owner="maker")}
        hub_board.offer(hub, "maker", at(files))
        refused(review("--merge"), hub, "earlier versions are not as they were: versions/1/")

    def test_an_entry_that_has_changed_since_it_was_offered(self, hub, review, first, second):
        one = described(first, owner="maker")
        hub_board.commit(hub, at(one))
        hub_board.offer(hub, "maker", at(next_version(one, second)))
        hub_board.commit(hub, at(next_version(one, described(second, system={"team": "We"}))))
        refused(review("--merge"), hub, "has changed on the main branch since this was offered")

    def test_a_slug_that_was_taken_since_it_was_offered(self, hub, review, first, second):
        hub_board.offer(hub, "maker", at(described(first, owner="maker")))
        hub_board.commit(hub, at(described(second, owner="other")))
        refused(review("--merge"), hub, "has changed on the main branch since this was offered")

    def test_a_commit_after_the_look(self, hub, first, second, tmp_path):
        number = hub_board.offer(hub, "maker", at(described(first, owner="maker")))
        found = desk(tmp_path).look(number)
        assert found.holds, found.problems
        hub_board.offer(hub, "maker", {"README.md": b"mine now"}, number=number)
        with pytest.raises(CfbenchError, match="another commit since it was looked at"):
            accept(Rules(REPO), found)
        assert hub.files(REPO) == CARD

    def test_better_numbers_than_the_predictions_give(self, hub, review, first):
        card = json.loads(first[SCORECARD])
        card["tasks"]["vq"]["splits"]["ood"]["overall"]["metrics"]["macro_f1"]["value"] = 0.99
        text = json.dumps(card).encode()
        digest = {"scorecard": hashlib.sha256(text).hexdigest()}
        files = {**described(first, owner="maker", result=digest), SCORECARD: text}
        hub_board.offer(hub, "maker", at(files))
        refused(review("--merge"), hub, "ok  name: none of others looks like it", "claimed 0.99")

    @pytest.mark.parametrize("name", [DESCRIPTION, SCORECARD, "predictions.csv"])
    def test_a_link_instead_of_a_file(self, hub, review, first, name):
        # The Hub gives the target of a link in git as the content of a file.
        hub_board.commit(hub, at(described(first, owner="other", slug="theirs"), "theirs"))
        files = described(first, owner="maker", system={"name": "Mine"})
        hub_board.offer(hub, "maker", at({**files, name: f"../theirs/{name}".encode()}))
        refused(review("--merge"), hub)

    def test_a_pointer_instead_of_a_file(self, hub, review, first):
        files = described(first, owner="maker")
        content = files["predictions.csv"]
        hub_board.offer(hub, "maker", at({**files, "predictions.csv": pointer(content)}))
        refused(review("--merge"), hub, "predictions.csv: its SHA-256 is")

    def test_a_file_that_is_too_large(self, hub, review, first):
        hub_board.offer(hub, "maker", at(described(first, owner="maker")))
        smuggle(hub, {f"{ENTRY}/predictions.csv": bytes(LARGEST_SHIPPED + 1)})
        refused(review("--merge"), hub, f"more than the {LARGEST_SHIPPED:,} allowed")

    def test_a_title_that_steers_the_terminal(self, hub, review, first):
        hub_board.offer(hub, "maker", {"x": b"x"}, title="\x1b[2J[bold]\u202eMine\rholds")
        done = review()
        refused(done, hub)
        assert not re.search("[\x1b\r\u202e]", done.out)
        assert "[bold]" in done.out

    def test_words_that_would_act_in_a_comment(self, hub, review, first):
        path = "x/```@lab <img src=x> [a](http:b)"
        smuggle(hub, {path: b"x"})
        refused(review("--comment"), hub)
        ((author, text),) = hub.repos["dataset", REPO].pull_requests[0].comments
        assert author == "lab"
        assert "@" not in text
        body = text.partition("```text\n")[2]
        assert body.count("`") == 3
        assert body.endswith("\n```\n")
        assert "'''(at)lab <img src=x> [a](http:b)" in body

    def test_an_offer_that_would_stop_the_review_of_others(self, hub, review, first):
        smuggle(hub, {f"{ENTRY}/versions/1/{SCORECARD}": b"", "a/../../x": b"x"})
        hub_board.offer(hub, "other", at(described(first, owner="other")))
        done = review()
        assert done.code == 1
        assert re.search(r"^1 .* \(by maker\): does not hold$", done.out, re.MULTILINE)
        assert re.search(r"^2 .* \(by other\): holds$", done.out, re.MULTILINE)


def pointer(content: bytes) -> bytes:
    """What git keeps of a file in the large file storage."""
    digest = hashlib.sha256(content).hexdigest()
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"
    return text.encode()


def desk(folder: Path) -> Desk:
    find = own_protocols()
    return Desk(Rules(REPO), lambda entry: attempt(entry, find), folder)


# What holds


def test_an_honest_entry_is_merged_and_has_a_receipt(hub, review, first, run_cli):
    files = at(described(first, owner="maker"))
    hub_board.offer(hub, "maker", files)
    head = hub.repos["dataset", REPO].references["refs/pr/1"]
    done = review("--merge")
    assert done.code == 0, done.out
    assert "1 Add an entry (by maker): holds" in done.out
    for check in (
        f"paths: 3 files, all of {ENTRY}", "owner: maker", "version: 1, new",
        "name: none of others looks like it", "numbers: all as claimed",
    ):  # fmt: skip
        assert f"  ok  {check}" in done.out
    assert f"merged at commit {head}, and its receipt is recorded" in done.out
    now = hub.files(REPO)
    receipts = {f"submissions/verified/{SLUG}.json", f"submissions/verified/{SLUG}.npy"}
    assert now.keys() == {*CARD, *files, *receipts}
    assert now.items() >= {**CARD, **files}.items()
    assert hub.titles(REPO)[:2] == [f"Receipt of {SLUG}, version 1", "Add an entry (#1)"]
    # The board takes the receipt's word: with --claimed nothing is verified.
    board = run_cli("leaderboard", "build", REPO, "--claimed", "--json")
    assert json.loads(board.out)["systems"][SLUG]["status"] == "verified"
    assert review().code == 0


def test_the_next_version_that_cfbench_push_sends(hub, review, first, second, run_cli, tmp_path):
    log_in(hub, "maker")
    board = tmp_path / "submissions"
    entries.make(board, tmp_path / "work")
    for share in (0.3, 0.5):
        assert run_cli("push", board / SLUG, "--to", REPO).code == 0
        log_in(hub, "lab")
        done = review("--merge")
        assert done.code == 0, done.out
        log_in(hub, "maker")
        entries.make(board, tmp_path / "work", predictions=entries.confused(share))
    assert "version: 2, version 1 is kept as it was" in done.out
    assert "name: as before" in done.out
    now = hub.files(REPO)
    assert f"{ENTRY}/versions/1/predictions.csv" in now
    receipt = json.loads(now[f"submissions/verified/{SLUG}.json"])
    digest = hashlib.sha256(now[f"{ENTRY}/{DESCRIPTION}"]).hexdigest()
    assert receipt["digests"][DESCRIPTION] == digest


def test_entries_that_the_app_sends_for_others(hub, review, first, second):
    one = described(first, owner="maker")
    hub_board.offer(hub, "app", at(one))
    refused(review(), hub, "owner is 'maker', but the pull request is by 'app'")
    done = review("--merge", "--app-user", "app")
    assert done.code == 0, done.out
    assert "owner: maker, sent by the app app" in done.out
    hub_board.offer(hub, "app", at(next_version(one, second, owner="other")))
    refused_again = review("--app-user", "app")
    assert "owner is 'other', but the entry is of 'maker'" in refused_again.out
    assert refused_again.code == 1


def test_a_line_for_comparison_of_the_keeper(hub, review, first):
    hub_board.offer(hub, "lab", at(described(first, owner="lab", reference=True)))
    assert review().code == 0


def test_nobody_needs_a_login_to_look(hub, review, first):
    hub_board.offer(hub, "maker", at(described(first, owner="maker")))
    log_in(hub, None)
    assert review().code == 0
    done = review("--merge")
    assert done.code == 2
    assert "you are not logged in" in done.err
    log_in(hub, "other")
    done = review("--merge")
    assert done.code == 1
    assert f"failed: {REPO}: pull request 1: you may not write to {REPO} (403)" in done.out
    assert hub.files(REPO) == CARD


def test_only_what_holds_is_merged_and_each_on_the_new_state(hub, review, first):
    hub_board.offer(hub, "maker", at(described(first, owner="maker")))
    hub_board.offer(hub, "other", {"README.md": b"mine"})
    hub_board.offer(hub, "other", at(described(first, owner="other")))
    done = review("--merge")
    assert done.code == 1
    assert [one.status for one in hub.repos["dataset", REPO].pull_requests] == [
        "merged", "open", "open",
    ]  # fmt: skip
    assert "has changed on the main branch since this was offered" in done.out
    assert parse_submission(hub.files(REPO)[f"{ENTRY}/{DESCRIPTION}"], "x").owner == "maker"


def test_what_this_machine_lacks_is_no_fault_of_the_offer(hub, review, first):
    files = described(first, owner="maker", result={"track": "codecfake-plus"})
    hub_board.offer(hub, "maker", at(files))
    done = review("--merge", "--comment")
    assert done.code == 1
    assert "1 Add an entry (by maker): not decided" in done.out
    assert "could not be scored here: the protocol of codecfake-plus is not shipped" in done.out
    assert hub.repos["dataset", REPO].pull_requests[0].comments == []
    assert hub.files(REPO) == CARD


def test_another_track_than_the_leaderboards(hub, review, first):
    hub_board.offer(hub, "maker", at(described(first, owner="maker")))
    refused(review("--track", "codecfake-mini"), hub, "is of example, but codecfake-mini is asked")


def test_findings_are_written_once(hub, review, first):
    hub_board.offer(hub, "maker", at(described(first, owner="other")))
    for _ in range(2):
        done = review("--comment")
        assert "the findings are written below it" in done.out
    ((_, text),) = hub.repos["dataset", REPO].pull_requests[0].comments
    assert text.startswith("This cannot be merged, as `cfbench leaderboard review` finds of commit")
    assert "no: owner is 'other', but the pull request is by 'maker'" in text
    assert str(Path("/tmp")) not in text
    hub_board.offer(hub, "maker", {**at(described(first, owner="maker"))}, number=1)
    review("--comment")
    assert (
        hub.repos["dataset", REPO]
        .pull_requests[0]
        .comments[1][1]
        .startswith("Everything is in order")
    )


def test_findings_do_not_tell_where_the_copy_was(hub, first, tmp_path):
    files = described(first, owner="maker")
    hub_board.offer(hub, "maker", at({**files, SCORECARD: b"{}"}))
    found = desk(tmp_path).look(1)
    assert not found.holds
    assert str(tmp_path) not in findings(found)
    assert f"no: {SLUG}/{SCORECARD}: its SHA-256 is" in findings(found)


def test_a_receipt_that_could_not_be_written_is_written_later(hub, review, first):
    hub_board.offer(hub, "maker", at(described(first, owner="maker")))
    hub.faults.append(Fault(400, times=99, method="POST", part="/commit/main"))
    done = review("--merge")
    assert done.code == 1
    assert "pull request 1 is merged, but its receipt is not there" in done.out
    assert "--record writes it" in done.out
    hub.faults.clear()
    done = review("--record")
    assert done.code == 0
    assert f"{SLUG}: its receipt is recorded" in done.err
    assert f"submissions/verified/{SLUG}.json" in hub.files(REPO)
    commits = hub.titles(REPO)
    assert review("--record").code == 0
    assert hub.titles(REPO) == commits


def test_record_names_what_does_not_hold_or_cannot_be_told(hub, review, first):
    other = described(first, slug="elsewhere", result={"track": "codecfake-plus"})
    hub_board.commit(hub, {**at(other, "elsewhere"), **at({**first, SCORECARD: b"{}"})})
    done = review("--record")
    assert done.code == 1
    assert f"{SLUG}: does not hold: {SLUG}/{SCORECARD}: " in done.err
    assert "elsewhere: could not be verified here: the protocol of codecfake-plus" in done.err
    assert not any(path.startswith("submissions/verified") for path in hub.files(REPO))


def test_for_machines(hub, review, first):
    hub_board.offer(hub, "maker", at(described(first, owner="maker")))
    hub_board.offer(hub, "other", {"README.md": b"mine"})
    done = review("--json", "--merge")
    assert done.code == 1
    one, two = json.loads(done.out)
    assert (one["number"], one["slug"], one["holds"], one["merged"]) == (1, SLUG, True, True)
    assert (two["author"], two["holds"]) == ("other", False)
    assert two["problems"][0]["message"].startswith("touches what is no entry's: README.md")


def test_what_is_no_open_pull_request(hub, review, first, tmp_path):
    assert "no open pull requests" in review().err
    done = review(7)
    assert done.code == 1
    assert "pull request 7: the Hub refuses the request (404)" in done.out
    hub_board.offer(hub, "maker", at(described(first, owner="maker")))
    hub.repos["dataset", REPO].pull_requests[0].status = "closed"
    assert "is closed" in review(1).out
    with pytest.raises(CfbenchError, match="does not hold, and is not merged"):
        accept(Rules(REPO), Offer(1))


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network(hub, review, monkeypatch, offline):
    hub_board.switch(monkeypatch, offline)
    for more in ((), (1,), ("--record",)):
        done = review(*more)
        assert done.code == 2
        assert done.err.startswith(f"error: {REPO}: ")
    assert not hub.seen


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401, times=999), "does not accept your token (401)"),
        (Fault(503, times=999), "the Hub is in trouble (503)"),
        (Fault(cut=-1, times=999), "broke off"),
    ],
)
def test_trouble_is_told_and_the_token_is_not(hub, review, first, fault, said):
    token = log_in(hub, "lab")
    hub.faults.append(Fault(**vars(fault)))
    done = review("--merge", "--comment", "--record")
    assert done.code == 2
    assert said in done.err
    assert token not in done.out + done.err


# The published list


def test_every_attack_is_in_the_published_list():
    """And the list names nothing that is not tested."""
    listed = set(re.findall(r"`(Test\w+\.test_\w+)`", DOCS.read_text(encoding="utf-8")))
    classes = {name.partition(".")[0] for name in listed}
    here = _tests("test_verification.py") | _tests("test_pull_requests.py")
    # That file tests more than attacks: there only the classes that the list names are such.
    here |= {name for name in _tests("test_leaderboard.py") if name.partition(".")[0] in classes}
    assert listed == here


def _tests(file: str) -> set[str]:
    path = TESTS / file
    if not path.exists():
        return set()
    return {
        f"{node.name}.{test.name}"
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test")
        for test in node.body
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_")
    }
