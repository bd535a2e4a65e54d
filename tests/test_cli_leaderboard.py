"""The commands of submissions and leaderboards, as a user types them."""

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import entries
import samples
from cfbench.submission import DESCRIPTION, VERIFIED, parse_submission
from hub_server import Hub
from hub_server.client import use

DESCRIBED = (
    "--system", "My system", "--team", "My lab", "--description", "Made up.", "--contact",
    "me@example.org", "--licence", "CC-BY-4.0", "--training-data", "CoRS, train",
    "--only-track-data",
)  # fmt: skip


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two systems' predictions and scorecards, and a board with both."""
    folder = tmp_path_factory.mktemp("work")
    entries.make(folder / "board", folder / "a", "System A")
    entries.make(folder / "board", folder / "b", "System B", entries.confused(0.3))
    return folder


@pytest.fixture
def submit(run_cli: Callable, work: Path, tmp_path: Path) -> Callable:
    def run(*more: object, card: Path | None = None, predictions: object = None):
        return run_cli(
            "submit", card or work / "a" / "scorecard.json",
            "--predictions", predictions or work / "a" / "p.csv",
            "--out", tmp_path / "submissions", *more,
        )  # fmt: skip

    return run


def test_submit_writes_an_entry_that_verify_accepts(submit, run_cli, tmp_path: Path) -> None:
    done = submit(*DESCRIBED)
    folder = tmp_path / "submissions" / "my-system"
    assert (done.code, done.out) == (0, f"{folder}: version 1\n")
    assert f"cfbench push {folder}" in done.err
    said = run_cli("verify", folder)
    assert said.code == 0
    assert "My system: verified" in said.out
    checks = json.loads(run_cli("verify", folder, "--json").out)
    assert checks["verified"]
    assert [one["name"] for one in checks["checks"]][-2:] == ["answers", "numbers"]


def test_everything_that_is_missing_is_said_at_once_and_nothing_written(submit, tmp_path: Path):
    done = submit("--system", "My system")
    assert done.code == 2
    for field in ("team", "description", "contact", "licence", "training_data", "only_track_data"):
        assert f"{field} is missing" in done.err
    assert not (tmp_path / "submissions").exists()


def test_numbers_that_the_predictions_do_not_give_are_refused(submit, work, tmp_path) -> None:
    done = submit(*DESCRIBED, predictions=work / "b" / "p.csv")
    assert done.code == 2
    assert "not as scored again" in done.err
    assert not (tmp_path / "submissions").exists()


def test_a_changed_submission_is_a_new_version(submit, work, tmp_path: Path) -> None:
    submit(*DESCRIBED)
    assert "version 1" in submit(*DESCRIBED).out
    done = submit(*DESCRIBED, card=work / "b" / "scorecard.json", predictions=work / "b" / "p.csv")
    assert done.out.endswith("my-system: version 2\n")
    kept = tmp_path / "submissions" / "my-system" / "versions" / "1" / DESCRIPTION
    assert parse_submission(kept.read_bytes(), "kept").version == 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--date", "yesterday"], "no date"),
        (["--slug", "Con"], "slug"),
        (["--paper", "javascript:alert(1)"], "https://"),
        (["--system", "a\x1b[31m"], "control characters"),
    ],
)
def test_what_cannot_be_is_said(submit, tmp_path: Path, options: list[str], says: str) -> None:
    done = submit(*DESCRIBED, *options)
    assert done.code == 2
    assert says in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "submissions").exists()


@pytest.mark.parametrize(
    "address",
    [
        "https://huggingface.co/datasets/me/mine/resolve/main/p.csv",
        "https://huggingface.co/datasets/me/mine/resolve/v1.0/p.csv",
        "https://example.org/p.csv",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_can_change_is_refused_before_it_is_fetched(submit, address: str) -> None:
    done = submit(*DESCRIBED, predictions=address)
    assert done.code == 2
    assert "Traceback" not in done.err


@pytest.fixture
def published(work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of system A's predictions on a Hub of the loopback."""
    import huggingface_hub

    with Hub() as hub:
        use(hub, tmp_path, monkeypatch)
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        content = (work / "a" / "p.csv").read_bytes()
        commit = hub.add("lab/predictions", {"p.csv": content}, kind="dataset")
        yield f"https://huggingface.co/datasets/lab/predictions/resolve/{commit}/p.csv"
        huggingface_hub.close_session()


def test_predictions_at_an_address_are_fetched_and_checked(submit, tmp_path, published) -> None:
    done = submit(*DESCRIBED, predictions=published)
    assert done.code == 0, done.err
    assert "not verified" not in done.err
    path = tmp_path / "submissions" / "my-system" / DESCRIPTION
    said = parse_submission(path.read_bytes(), str(path)).predictions
    assert said.address == published
    assert not list(path.parent.glob("predictions*"))


def test_a_digest_that_is_not_that_of_the_address_is_refused(submit, tmp_path, published) -> None:
    done = submit(*DESCRIBED, "--sha256", "0" * 64, predictions=published)
    assert done.code == 2
    assert "SHA-256" in done.err
    assert not (tmp_path / "submissions").exists()


def test_without_the_protocol_an_entry_is_written_and_it_is_said(
    run_cli, lists: Path, tmp_path: Path
) -> None:
    """The lists were at hand when it was scored, and are not when it is submitted."""
    samples.probability_frame().write_csv(tmp_path / "p.csv")
    card = tmp_path / "card.json"
    run_cli("score", tmp_path / "p.csv", "--protocol", lists, "--json", card)
    done = run_cli("submit", card, "--predictions", tmp_path / "p.csv", *DESCRIBED,
                   "--out", tmp_path / "s")  # fmt: skip
    assert done.code == 0
    assert "not verified here" in done.err
    assert "not shipped" in done.err
    assert (tmp_path / "s" / "my-system" / DESCRIPTION).is_file()
    assert run_cli("verify", tmp_path / "s" / "my-system", "--protocol", lists).code == 0


def test_a_prompt_asks_for_what_was_not_given(work: Path, tmp_path: Path) -> None:
    """On a real terminal."""
    master, slave = pty.openpty()
    given = b"My system\nMy lab\nMade up.\nme@example.org\nCC0-1.0\nCoRS; VCTK\ny\n"
    process = subprocess.Popen(
        [sys.executable, "-m", "cfbench", "submit", work / "a" / "scorecard.json",
         "--predictions", work / "a" / "p.csv", "--out", tmp_path / "s"],
        stdin=slave, stdout=subprocess.PIPE, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    os.write(master, given)
    out = process.communicate(timeout=120)[0]
    os.close(master)
    assert process.returncode == 0
    assert b"version 1" in out
    path = tmp_path / "s" / "my-system" / DESCRIPTION
    system = parse_submission(path.read_bytes(), str(path)).system
    assert system.training_data == ("CoRS", "VCTK")
    assert system.only_track_data


def test_verify_says_what_is_wrong_and_ends_with_2(run_cli, submit, tmp_path: Path) -> None:
    submit(*DESCRIBED)
    folder = tmp_path / "submissions" / "my-system"
    entries.confused(0.2).write_csv(folder / "predictions.csv")
    done = run_cli("verify", folder)
    assert done.code == 2
    assert "SHA-256" in done.err
    told = json.loads(run_cli("verify", folder, "--json").out)
    assert not told["verified"]
    assert told["problems"]


def test_verify_keeps_a_receipt_when_it_is_asked_to(run_cli, submit, tmp_path: Path) -> None:
    submit(*DESCRIBED)
    folder = tmp_path / "submissions" / "my-system"
    assert run_cli("verify", folder, "--record").code == 0
    assert (tmp_path / "submissions" / VERIFIED / "my-system.json").is_file()
    board = run_cli("leaderboard", "build", tmp_path / "submissions", "--claimed")
    assert "verified" in board.out


def test_verify_of_nothing(run_cli, tmp_path: Path) -> None:
    done = run_cli("verify", tmp_path / "nowhere")
    assert done.code == 2
    assert "no folder of a submission" in done.err


def test_build_prints_a_table_a_task_and_writes_the_pages(run_cli, work, tmp_path) -> None:
    done = run_cli("leaderboard", "build", work / "board", "--out", tmp_path / "site")
    assert done.code == 0
    for title in ("Overall", "Vector quantisation", "Spoof detection", "System A", "majority"):
        assert title in done.out
    assert (tmp_path / "site" / "index.html").is_file()
    data = json.loads(run_cli("leaderboard", "build", work / "board", "--json").out)
    assert data["track"] == "example"
    assert set(data["systems"]) == {"system-a", "system-b"}


@pytest.mark.parametrize("arguments", [["nowhere"], ["nowhere", "--track", "exampel"]])
def test_build_of_nothing(run_cli, arguments: list[str]) -> None:
    done = run_cli("leaderboard", "build", *arguments)
    assert done.code == 2
    assert "Traceback" not in done.err


def test_compare_takes_files_and_entries_alike(run_cli, work: Path) -> None:
    files = run_cli("compare", work / "a" / "p.csv", work / "b" / "p.csv", "--track", "example",
                    "--json")  # fmt: skip
    folders = run_cli("compare", work / "board" / "system-a", work / "board" / "system-b",
                      "--track", "example", "--json")  # fmt: skip
    assert files.code == folders.code == 0
    assert json.loads(files.out) == json.loads(folders.out)


def test_compare_prints_differences_agreement_and_where(run_cli, work: Path) -> None:
    done = run_cli("compare", work / "a" / "p.csv", work / "b" / "p.csv", "--track", "example",
                   "--tasks", "vq,bin")  # fmt: skip
    assert done.code == 0
    for words in ("p (Holm)", "Kappa", "Only A", "Sources", "95 % interval"):
        assert words in done.out
    assert "aux" not in done.out


def test_compare_says_which_file_is_wrong(run_cli, work: Path, tmp_path: Path) -> None:
    entries.example_predictions().head(-3).write_csv(tmp_path / "short.csv")
    done = run_cli("compare", work / "a" / "p.csv", tmp_path / "short.csv", "--track", "example")
    assert done.code == 2
    assert "3 utterances" in done.err
