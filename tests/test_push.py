"""`cfbench push`, over real HTTP: what is sent, what is refused, what is kept."""

import hashlib
import json
import logging
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
import tomli_w
import yaml

import entries
import hub_board
from cfbench.submission import DESCRIPTION, SCORECARD, parse_submission
from hub_board import CARD, ENTRY, REPO, SLUG, log_in
from hub_server import Fault, Hub

pytestmark = [
    pytest.mark.slow,
    # huggingface_hub uploads large files in a way that its HTTP library no longer likes.
    pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning"),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one entry, `first/`, and of the same entry changed twice, `second/`, `third/`."""
    folder = tmp_path_factory.mktemp("made")
    for name, before, share in (
        ("first", "", 0),
        ("second", "first", 0.2),
        ("third", "second", 0.4),
    ):
        board = folder / name
        if before:
            shutil.copytree(folder / before, board)
        entries.make(board, folder / f"work-{name}", predictions=entries.confused(share))
    return folder


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """An empty leaderboard of `lab`; `maker` is logged in, who has no rights there."""
    monkeypatch.setenv("HF_TOKEN", "")
    with hub_board.board(tmp_path / "home", monkeypatch) as server:
        monkeypatch.setenv("HF_TOKEN", "")
        log_in(server, "maker")
        yield server


@pytest.fixture
def entry(made: Path, tmp_path: Path) -> Path:
    return place(made, tmp_path, "first")


@pytest.fixture
def scorable(made: Path, tmp_path: Path) -> Path:
    return place(made, tmp_path, "first", scorable=True)


def place(made: Path, tmp_path: Path, name: str, scorable: bool = False) -> Path:
    """The entry in one of its states, in the user's folder of submissions.

    Most tests take one that names a track whose protocol is not here: scoring takes seconds.
    """
    shutil.rmtree(tmp_path / "submissions", ignore_errors=True)
    shutil.copytree(made / name, tmp_path / "submissions")
    for path in (tmp_path / "submissions").rglob("*.toml"):
        if not scorable:
            path.write_text(path.read_text().replace('"example"', '"codecfake-plus"'))
    return tmp_path / "submissions" / SLUG


def there(hub: Hub, revision: str = "main") -> dict[str, bytes]:
    """The entry's files in the repository."""
    return hub_board.under(ENTRY, hub.files(REPO, revision=revision))


def rewrite(entry: Path, **changes: object) -> None:
    data = tomllib.loads((entry / DESCRIPTION).read_text())
    for table, values in changes.items():
        data[table] = {**data[table], **values} if isinstance(values, dict) else values
    (entry / DESCRIPTION).write_text(tomli_w.dumps(data))


def writes(hub: Hub) -> int:
    return hub.count("POST", "/commit/") + hub.count("PUT") + hub.count("POST", "/create")


# Sent


def test_a_strangers_push_is_a_pull_request(hub, scorable, run_cli):
    before = hub_board.of_folder(scorable)
    done = run_cli("push", scorable, "--to", REPO)
    assert done.code == 0, done.err
    assert done.out == f"{hub.url}/datasets/{REPO}/discussions/1\n"
    assert "scored again: every number is as claimed" in done.err
    assert f"{SLUG}, version 1, is offered to {REPO} as pull request 1" in done.err
    assert hub.files(REPO) == CARD
    offered = there(hub, "refs/pr/1")
    assert offered.keys() == before.keys()
    submission = parse_submission(offered.pop(DESCRIPTION), "x")
    assert (submission.owner, submission.version) == ("maker", 1)
    mine = parse_submission(before.pop(DESCRIPTION), "x")
    assert submission == mine.model_copy(update={"owner": "maker"})
    assert offered == before
    # The folder here stays as it was.
    assert hub_board.of_folder(scorable) == {**before, DESCRIPTION: mine.to_toml().encode()}
    pull_request = hub.repos["dataset", REPO].pull_requests[0]
    assert pull_request.title == f"Add {SLUG}"
    assert "were scored again before" in pull_request.description


def test_the_owner_of_the_repository_commits(hub, entry, run_cli):
    log_in(hub, "lab")
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 0, done.err
    assert done.out.startswith(f"{hub.url}/datasets/{REPO}/commit/")
    assert not hub.repos["dataset", REPO].pull_requests
    assert parse_submission(there(hub)[DESCRIPTION], "x").owner == "lab"
    assert hub.files(REPO).items() >= CARD.items()


def test_the_owner_of_the_repository_may_offer(hub, entry, run_cli):
    log_in(hub, "lab")
    assert run_cli("push", entry, "--to", REPO, "--pull-request").code == 0
    assert hub.files(REPO) == CARD
    assert there(hub, "refs/pr/1")


def test_a_stranger_cannot_commit(hub, entry, run_cli):
    done = run_cli("push", entry, "--to", REPO, "--direct")
    assert done.code == 2
    assert f"you may not write to {REPO} (403)" in done.err
    assert "offer it as a pull request" in done.err
    assert hub.files(REPO) == CARD


def test_another_folder_of_the_repository(hub, entry, run_cli):
    log_in(hub, "lab")
    assert run_cli("push", entry, "--to", REPO, "--under", "entries").code == 0
    assert f"entries/{SLUG}/{DESCRIPTION}" in hub.files(REPO)
    assert run_cli("push", entry, "--to", REPO, "--under", "").code == 0
    assert f"{SLUG}/{DESCRIPTION}" in hub.files(REPO)
    assert "no name of a folder" in run_cli("push", entry, "--to", REPO, "--under", "../x").err


def test_the_same_again_changes_nothing(hub, entry, run_cli):
    first = run_cli("push", entry, "--to", REPO)
    assert run_cli("push", entry, "--to", REPO).out == first.out
    assert len(hub.repos["dataset", REPO].pull_requests) == 1
    log_in(hub, "lab")
    run_cli("push", entry, "--to", REPO)
    commits = hub.titles(REPO)
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 0
    assert "nothing has changed" in done.err
    assert hub.titles(REPO) == commits


def test_a_changed_entry_is_the_next_version_and_the_old_one_is_kept(hub, made, tmp_path, run_cli):
    log_in(hub, "lab")
    run_cli("push", place(made, tmp_path, "first"), "--to", REPO)
    first = there(hub)
    done = run_cli("push", place(made, tmp_path, "second"), "--to", REPO)
    assert done.code == 0, done.err
    second = there(hub)
    assert hub_board.under("versions/1", second) == first
    submission = parse_submission(second[DESCRIPTION], "x")
    assert (submission.owner, submission.version) == ("lab", 2)
    assert second["predictions.csv"] != first["predictions.csv"]
    assert hub.titles(REPO)[0] == f"Version 2 of {SLUG}"
    run_cli("push", place(made, tmp_path, "third"), "--to", REPO)
    third = there(hub)
    assert hub_board.under("versions/1", third) == first
    assert hub_board.under("versions/2", third) == {
        name: data for name, data in second.items() if "/" not in name
    }


def test_versions_that_were_never_sent_do_not_count(hub, made, tmp_path, run_cli):
    log_in(hub, "lab")
    run_cli("push", place(made, tmp_path, "first"), "--to", REPO)
    first = there(hub)
    entry = place(made, tmp_path, "third")
    assert parse_submission((entry / DESCRIPTION).read_bytes(), "x").version == 3
    assert run_cli("push", entry, "--to", REPO).code == 0
    assert parse_submission(there(hub)[DESCRIPTION], "x").version == 2
    assert hub_board.under("versions", there(hub)).keys() == {f"1/{name}" for name in first}


def test_predictions_of_another_name_take_the_place_of_the_old_ones(hub, made, tmp_path, run_cli):
    log_in(hub, "lab")
    run_cli("push", place(made, tmp_path, "first"), "--to", REPO)
    path, card = entries.scored(entries.confused(0.3), tmp_path / "work", ".parquet")
    entries.make_entry(
        card, entries.system(), str(path), tmp_path / "submissions", entries.verifier()
    )
    done = run_cli("push", tmp_path / "submissions" / SLUG, "--to", REPO)
    assert done.code == 0, done.err
    top = {name for name in there(hub) if "/" not in name}
    assert top == {DESCRIPTION, SCORECARD, "predictions.parquet"}
    assert "versions/1/predictions.csv" in there(hub)


def test_a_version_that_is_not_here_is_not_replaced(hub, made, tmp_path, run_cli, monkeypatch):
    log_in(hub, "lab")
    run_cli("push", place(made, tmp_path, "first"), "--to", REPO)
    run_cli("push", place(made, tmp_path, "second"), "--to", REPO)
    newest = there(hub)
    old = place(made, tmp_path, "first")
    done = run_cli("push", old, "--to", REPO)
    assert done.code == 2
    assert f"{REPO} has a version 2 of {SLUG} that {old} has not" in done.err
    command = re.search(r"hf download (\S+) .*--include '(\S+)\*' --local-dir \.", done.err)
    assert command
    assert command.groups() == (REPO, f"{ENTRY}/")
    assert there(hub) == newest
    # As the hint says: what is fetched, and changed, is the next version.
    hub_board.download(tmp_path / "fetched")
    entries.make(
        tmp_path / "fetched" / "submissions", tmp_path / "work",
        predictions=entries.confused(0.5),
    )  # fmt: skip
    done = run_cli("push", tmp_path / "fetched" / ENTRY, "--to", REPO)
    assert done.code == 0, done.err
    assert parse_submission(there(hub)[DESCRIPTION], "x").version == 3
    assert hub_board.under("versions/1", there(hub)) == hub_board.under("versions/1", newest)


def test_an_earlier_pull_request_for_the_same_entry_is_told(hub, made, tmp_path, run_cli):
    run_cli("push", place(made, tmp_path, "first"), "--to", REPO)
    done = run_cli("push", place(made, tmp_path, "second"), "--to", REPO)
    assert done.code == 0
    assert "pull request 1 of yours is open for the same entry" in done.err
    assert "as pull request 2" in done.err


# Refused


def test_somebody_elses_entry_is_not_touched(hub, entry, run_cli):
    log_in(hub, "other")
    files = hub_board.of_folder(entry)
    theirs = parse_submission(files[DESCRIPTION], "x").model_copy(update={"owner": "maker"})
    files[DESCRIPTION] = theirs.to_toml().encode()
    hub_board.commit(hub, {f"{ENTRY}/{name}": data for name, data in files.items()})
    for user in ("other", "lab"):
        log_in(hub, user)
        done = run_cli("push", entry, "--to", REPO)
        assert done.code == 2
        assert f"{SLUG} is the entry of maker, and you are {user}" in done.err
        assert "--slug" in done.err
    assert writes(hub) == 0


def test_an_entry_that_somebody_else_adds_meanwhile_is_not_touched(
    hub, entry, run_cli, monkeypatch
):
    log_in(hub, "lab")
    files = hub_board.of_folder(entry, f"{ENTRY}/")
    text = files[f"{ENTRY}/{DESCRIPTION}"].decode().replace('owner = ""', 'owner = "maker"')
    files[f"{ENTRY}/{DESCRIPTION}"] = text.encode()
    hub.faults.append(Fault(412, method="POST", part="/commit/"))
    monkeypatch.setattr("time.sleep", lambda seconds: hub_board.commit(hub, files))
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 2
    assert "is the entry of maker, and you are lab" in done.err
    assert there(hub) == hub_board.under(ENTRY, files)


def test_what_others_commit_meanwhile_stays(hub, entry, run_cli, monkeypatch):
    log_in(hub, "lab")
    hub.faults.append(Fault(412, times=2, method="POST", part="/commit/"))
    monkeypatch.setattr(
        "time.sleep",
        lambda seconds: hub_board.commit(hub, {f"submissions/x{hub.count('POST')}/s": b"theirs"}),
    )
    assert run_cli("push", entry, "--to", REPO).code == 0
    assert len([path for path in hub.files(REPO) if path.startswith("submissions/x")]) == 2
    assert hub.files(REPO).items() >= CARD.items()
    assert there(hub)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda e: (e / SCORECARD).write_text("{}"), "scorecard.json: its SHA-256 is"),
        (lambda e: (e / "predictions.csv").write_text("utt_id\n"), "predictions.csv: its SHA-256"),
        (lambda e: (e / "predictions.csv").unlink(), "predictions.csv: is missing"),
        (lambda e: (e / "run.py").write_text("1"), "no file of an entry"),
        (lambda e: (e / "scorecard.json.gz").symlink_to("/etc/passwd"), "a link"),
        (lambda e: rewrite(e, slug="another"), "slug is 'another'"),
        (lambda e: rewrite(e, owner="a b"), "owner"),
        (lambda e: (e / DESCRIPTION).unlink(), "submission.toml: is missing"),
        (lambda e: shutil.rmtree(e), "no folder of a submission"),
    ],
)  # fmt: skip
def test_what_is_not_in_order_is_not_sent(hub, entry, run_cli, spoil, said):
    spoil(entry)
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 2
    assert said in done.err
    assert not hub.seen


def test_numbers_that_the_predictions_do_not_give_are_not_sent(hub, scorable, run_cli):
    data = json.loads((scorable / SCORECARD).read_text())
    data["tasks"]["vq"]["splits"]["ood"]["overall"]["metrics"]["macro_f1"]["value"] = 0.99
    (scorable / SCORECARD).write_text(json.dumps(data))
    digest = hashlib.sha256((scorable / SCORECARD).read_bytes()).hexdigest()
    rewrite(scorable, result={"scorecard": digest})
    done = run_cli("push", scorable, "--to", REPO)
    assert done.code == 2
    assert "claimed 0.99" in done.err
    assert not hub.seen


def test_what_cannot_be_scored_here_is_sent_and_said(hub, entry, run_cli):
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 0, done.err
    assert "not scored again here: the protocol of codecfake-plus is not shipped" in done.err
    description = hub.repos["dataset", REPO].pull_requests[0].description
    assert "were not scored again before" in description
    # Its digests are looked at all the same.
    (entry / "predictions.csv").write_text("utt_id\n")
    assert "its SHA-256 is" in run_cli("push", entry, "--to", REPO).err


def elsewhere(hub: Hub, entry: Path, content: bytes) -> None:
    """Have the entry's predictions be at an address, where `content` is."""
    commit = hub.add("maker/answers", {"p.csv": content}, kind="dataset")
    (entry / "predictions.csv").unlink()
    address = f"https://huggingface.co/datasets/maker/answers/resolve/{commit}/p.csv"
    rewrite(entry, predictions={"address": address})


def test_predictions_that_are_elsewhere_are_fetched_and_scored(hub, scorable, run_cli):
    elsewhere(hub, scorable, (scorable / "predictions.csv").read_bytes())
    done = run_cli("push", scorable, "--to", REPO)
    assert done.code == 0, done.err
    assert "scored again: every number is as claimed" in done.err
    assert there(hub, "refs/pr/1").keys() == {DESCRIPTION, SCORECARD}


def test_other_predictions_elsewhere_than_it_says(hub, scorable, run_cli):
    elsewhere(hub, scorable, b"utt_id\n")
    done = run_cli("push", scorable, "--to", REPO)
    assert done.code == 2
    assert "its SHA-256 is" in done.err
    assert writes(hub) == 0


def test_predictions_elsewhere_without_a_network(hub, scorable, run_cli, monkeypatch):
    elsewhere(hub, scorable, (scorable / "predictions.csv").read_bytes())
    hub_board.switch(monkeypatch, offline=False)
    done = run_cli("push", scorable, "--to", REPO)
    assert done.code == 1
    assert "not scored again here: " in done.err
    assert "the Hub cannot be reached" in done.err


def test_another_track_than_was_named(hub, scorable, run_cli):
    done = run_cli("push", scorable, "--to", REPO, "--track", "codecfake-mini")
    assert done.code == 2
    assert "is of example, but codecfake-mini is asked for" in done.err
    assert not hub.seen


@pytest.mark.parametrize("repo", ["lab", "a b/c", "../x", "https://hf.co/lab/results"])
def test_what_is_no_repository(hub, entry, run_cli, repo):
    done = run_cli("push", entry, "--to", repo)
    assert done.code == 2
    assert "is no name of a dataset repository" in done.err
    assert writes(hub) == 0


def test_a_repository_that_is_not_there(hub, entry, run_cli):
    for more in ((), ("--dry-run",)):
        done = run_cli("push", entry, "--to", "lab/nothing", *more)
        assert done.code == 2
        assert "no dataset repository lab/nothing" in done.err


# Without a network, and trouble


@pytest.mark.parametrize("offline", [True, False])
def test_without_a_network_it_says_what_it_would_have_sent(
    hub, entry, run_cli, monkeypatch, offline
):
    hub_board.switch(monkeypatch, offline)
    before = hub_board.of_folder(entry)
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 1
    way = "as a pull request (by lab: straight to the main branch)"
    assert done.out.splitlines()[0] == f"dataset repository {REPO}, {way}: Add {SLUG}"
    for name, content in before.items():
        assert f"  {ENTRY}/{name}: {len(content):,} bytes" in done.out.splitlines()
    assert f"not sent: {REPO}: " in done.err
    assert f"the entry stays in {entry}; the same command sends it" in done.err
    assert hub_board.of_folder(entry) == before
    assert not hub.seen


def test_without_a_login_it_says_what_it_would_have_sent(hub, entry, run_cli):
    log_in(hub, None)
    done = run_cli("push", entry, "--to", REPO, "--pull-request")
    assert done.code == 1
    assert f"dataset repository {REPO}, as a pull request: Add {SLUG}" in done.out
    assert "you are not logged in to the Hugging Face Hub" in done.err
    assert not hub.seen
    assert run_cli("push", entry, "--to", REPO, "--dry-run").code == 0


def test_a_dry_run_looks_and_sends_nothing(hub, made, tmp_path, run_cli):
    log_in(hub, "lab")
    run_cli("push", place(made, tmp_path, "first"), "--to", REPO)
    before, written = hub.files(REPO), writes(hub)
    entry = place(made, tmp_path, "second")
    done = run_cli("push", entry, "--to", REPO, "--dry-run")
    assert done.code == 0
    assert f"straight to the main branch: Version 2 of {SLUG}" in done.out
    assert f"  {ENTRY}/versions/1/predictions.csv: " in done.out
    assert "the same command without --dry-run sends it" in done.err
    log_in(hub, "other")
    done = run_cli("push", entry, "--to", REPO, "--dry-run")
    assert done.code == 2
    assert "is the entry of lab" in done.err
    assert hub.files(REPO) == before
    assert writes(hub) == written


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault(401, times=999), "does not accept your token (401)"),
        (Fault(403, times=999, method="POST"), "you may not write to lab/results (403)"),
        (Fault(429, times=999), "too many requests from here (429)"),
        (Fault(503, times=999), "the Hub is in trouble (503)"),
        (Fault(cut=-1, times=999), "broke off"),
        (Fault(body=b"<html>", times=999), "is not the Hub"),
    ],
)
def test_trouble_is_told_and_the_token_is_not(hub, entry, tmp_path, run_cli, caplog, fault, said):
    caplog.set_level(logging.DEBUG, "huggingface_hub")
    token = log_in(hub, "maker")
    hub.faults.append(Fault(**vars(fault)))
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 2
    assert said in done.err
    assert done.err.count("error: ") == 1
    assert "Traceback" not in done.err
    hub.faults.clear()
    assert hub.files(REPO) == CARD
    assert_nowhere(token, done, caplog.text, tmp_path)


def test_trouble_that_passes_is_waited_for_and_told(hub, entry, tmp_path, run_cli, caplog):
    caplog.set_level(logging.DEBUG, "huggingface_hub")
    token = log_in(hub, "lab")
    hub.faults.append(Fault(429, headers={"Retry-After": "30"}, method="POST", part="/commit/"))
    hub.faults.append(Fault(cut=-1, lost=True, method="POST", part="/commit/"))
    done = run_cli("push", entry, "--to", REPO)
    assert done.code == 0, done.err
    assert re.search(r"note: too many requests; trying again in \d+ s", done.err)
    assert hub.titles(REPO).count(f"Add {SLUG}") == 1
    assert_nowhere(token, done, caplog.text, tmp_path, str(hub.files(REPO)))


def assert_nowhere(token: str, done, *more: str | Path) -> None:
    """No part of a token is in what was printed, logged, sent or written."""
    written = [
        path.read_bytes().decode(errors="replace")
        for folder in more
        if isinstance(folder, Path)
        for path in folder.rglob("*")
        if path.is_file()
    ]
    assert written
    texts = [done.out, done.err, *written, *(text for text in more if isinstance(text, str))]
    for text in texts:
        assert token not in text
        assert token[-10:] not in text


# Many at once

_MANY = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from cfbench.publishing import prepare, push

def send(number):
    waits = []
    prepared = prepare(Path(sys.argv[1]) / f"system-{number}", None)
    done = push(prepared, "lab/results", told=waits.append)
    return number, done.url, len(waits)

numbers = range(int(sys.argv[2]), int(sys.argv[3]))
with ThreadPoolExecutor(len(numbers)) as pool:
    print(json.dumps(list(pool.map(send, numbers))))
"""


@pytest.mark.slow
def test_fifty_pushes_at_once_are_fifty_entries(hub, entry, tmp_path):
    pushed = tmp_path / "many"
    for number in range(50):
        shutil.copytree(entry, pushed / f"system-{number}")
        rewrite(
            pushed / f"system-{number}", slug=f"system-{number}", system={"name": f"Nr {number}"}
        )
    token = hub.sign_up("lab")
    hub.faults.append(Fault(cut=-1, times=5, method="POST", part="/commit/", lost=True))
    hub.faults.append(Fault(503, times=5, method="POST", part="/commit/"))
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _MANY, str(pushed), str(first), str(first + 25)],
            env=hub.environment(tmp_path / f"home-{first}", token),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first in (0, 25)
    ]
    done = []
    for process in running:
        out, errors = process.communicate()
        assert process.returncode == 0, errors
        assert token not in out + errors
        done += json.loads(out)
    assert sorted(number for number, *_ in done) == list(range(50))
    files = hub.files(REPO)
    wanted = set(CARD)
    for number in range(50):
        name = f"system-{number}"
        at = f"submissions/{name}"
        mine = hub_board.of_folder(pushed / name, f"{at}/")
        wanted |= mine.keys()
        told = parse_submission(files[f"{at}/{DESCRIPTION}"], name)
        assert (told.slug, told.owner, told.version) == (name, "lab", 1)
        for path, content in mine.items():
            assert path.endswith(DESCRIPTION) or files[path] == content
    assert files.keys() == wanted
    titles = [title for title in hub.titles(REPO) if title.startswith("Add ")]
    assert sorted(titles) == sorted(f"Add system-{number}" for number in range(50))
    # They did meet.
    assert sum(waits for *_, waits in done) > 10


# Results on the page of a model


def eval_results(hub: Hub, model: str = "maker/model", revision: str = "main"):
    text = hub.files(model, "model", revision)[".eval_results/cfbench.yaml"].decode()
    return hub_board.huggingface_hub.parse_eval_result_entries(yaml.safe_load(text))


def test_results_on_the_page_of_a_model(hub, scorable, run_cli):
    hub.add("maker/model", {"config.json": b"{}"})
    log_in(hub, "lab")
    run_cli("push", scorable, "--to", REPO)
    log_in(hub, "maker")
    done = run_cli("push", scorable, "--to", REPO, "--eval-results", "maker/model")
    assert done.code == 0, done.err
    assert done.out.startswith(f"{hub.url}/maker/model/commit/")
    commit = hub.repos["dataset", REPO].branches["main"]
    card = json.loads((scorable / SCORECARD).read_text())
    listed = re.findall(r"^- id: (\S+)$", CARD["eval.yaml"].decode(), re.MULTILINE)
    found = {one.task_id: one for one in eval_results(hub)}
    assert list(found) == listed
    assert len(listed) == 8
    for task in ("vq", "aux", "dec", "bin"):
        for split in ("id", "ood"):
            one = found[f"example_{task}_{split}"]
            metrics = card["tasks"][task]["splits"][split]["overall"]["metrics"]
            if task == "bin":
                number = metrics["eer"]
                assert one.value == 1 - number["value"]
                assert one.notes.startswith(
                    f"1 - EER (the equal error rate is {number['value']:.4f}); 95 % interval "
                    f"{1 - number['interval']['high']:.4f} to {1 - number['interval']['low']:.4f}"
                )
            else:
                number = metrics["macro_f1"]
                assert one.value == number["value"]
                assert one.notes.startswith(
                    f"macro-F1; 95 % interval {number['interval']['low']:.4f} to "
                )
            assert f"; example 1, {split}; scored again with cfbench" in one.notes
            assert (one.dataset_id, one.dataset_revision) == (REPO, commit)
            assert one.date == "2026-03-31"
            page = f"https://huggingface.co/datasets/{REPO}/tree/{commit}/{ENTRY}"
            assert (one.source_url, one.source_name) == (page, "cfbench leaderboard")
    # The leaderboard is left alone.
    assert hub.repos["dataset", REPO].branches["main"] == commit


def test_results_for_the_model_of_somebody_else_are_offered(hub, entry, run_cli):
    hub.add("other/model", {"config.json": b"{}"})
    done = run_cli("push", entry, "--to", REPO, "--eval-results", "other/model")
    assert done.code == 0, done.err
    assert done.out == f"{hub.url}/other/model/discussions/1\n"
    assert "does not hold this very entry, so that no source is given" in done.err
    found = eval_results(hub, "other/model", "refs/pr/1")
    assert {one.source_url for one in found} == {None}
    assert {one.dataset_revision for one in found} == {hub.repos["dataset", REPO].branches["main"]}


def test_values_that_are_not_defined_are_left_out(hub, tmp_path, run_cli):
    hub.add("maker/model", {"config.json": b"{}"})
    frame = entries.example_predictions()
    labels = entries.example_truth().select("utt_id", pl.col("bin", "vq").cast(pl.String))
    entries.make(
        tmp_path / "submissions", tmp_path / "work",
        predictions=frame.select("utt_id").join(labels, on="utt_id"),
    )  # fmt: skip
    entry = tmp_path / "submissions" / SLUG
    done = run_cli("push", entry, "--to", REPO, "--eval-results", "maker/model")
    assert done.code == 0, done.err
    assert [one.task_id for one in eval_results(hub)] == ["example_vq_id", "example_vq_ood"]
    assert done.err.count("left out, as it is not defined: example_bin_") == 2


def test_a_leaderboard_that_does_not_list_the_tasks(hub, entry, run_cli):
    hub.add("maker/model", {"config.json": b"{}"})
    push = ("push", entry, "--to", REPO, "--eval-results", "maker/model")
    files = {**CARD, "eval.yaml": b"tasks:\n- id: other_vq_ood\n"}
    hub.add(REPO, files, kind="dataset")
    done = run_cli(*push)
    assert done.code == 2
    assert "its eval.yaml has no task example_" in done.err
    assert "it has other_vq_ood" in done.err
    del files["eval.yaml"]
    hub.add(REPO, files, kind="dataset")
    assert "has no eval.yaml" in run_cli(*push).err
    assert hub.files("maker/model", "model") == {"config.json": b"{}"}


@pytest.mark.parametrize("offline", [True, False])
def test_results_without_a_network(hub, entry, run_cli, monkeypatch, offline):
    hub_board.switch(monkeypatch, offline)
    push = ("push", entry, "--to", REPO, "--eval-results", "maker/model")
    done = run_cli(*push)
    assert done.code == 1
    first, _, text = done.out.partition("\n")
    size = len(text.encode())
    assert first == f"model repository maker/model, .eval_results/cfbench.yaml: {size:,} bytes"
    assert len(hub_board.huggingface_hub.parse_eval_result_entries(yaml.safe_load(text))) == 8
    assert "not sent: " in done.err
    assert "does not hold" not in done.err
    assert run_cli(*push, "--dry-run").code == 0
    assert not hub.seen


def test_a_dry_run_of_results_sends_nothing(hub, entry, run_cli):
    hub.add("maker/model", {"config.json": b"{}"})
    done = run_cli("push", entry, "--to", REPO, "--eval-results", "maker/model", "--dry-run")
    assert done.code == 0
    assert f"revision: {hub.repos['dataset', REPO].branches['main']}" in done.out
    assert writes(hub) == 0
