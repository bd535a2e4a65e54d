"""Descriptions of systems, names of folders, versions."""

import datetime
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import entries
from cfbench.errors import CfbenchError
from cfbench.submission import (
    DESCRIPTION,
    SCORECARD,
    Answers,
    Claim,
    Submission,
    make_system,
    parse_submission,
    place,
    slug_of,
)

SHA = "ab" * 32


def submission(**fields) -> Submission:
    claim = Claim(
        track="example", track_version="1", cfbench="0.1.0", tasks={"vq": "1"},
        protocol={"id": SHA}, scorecard=SHA,
    )  # fmt: skip
    given = {
        "slug": "made-up-system",
        "system": entries.system(),
        "predictions": Answers(address="predictions.csv", sha256=SHA),
        "result": claim,
    }
    return Submission(**(given | fields))


def problems_of(call, *arguments) -> str:
    with pytest.raises(CfbenchError) as caught:
        call(*arguments)
    return str(caught.value)


def test_what_was_written_is_what_is_read():
    found = submission(system=entries.system('A "quoted" \\ name', description="Two\nlines."))
    assert parse_submission(found.to_toml().encode(), "x") == found


def test_the_file_is_plain_toml():
    data = tomllib.loads(submission().to_toml())
    assert data["system"]["date"] == datetime.date(2026, 3, 31)
    assert data["system"]["training_data"] == ["nothing"]
    assert "parameters" not in data["system"]


@given(st.text(max_size=300))
def test_a_slug_is_a_safe_folder_name_whatever_the_name(name):
    slug = slug_of(name)
    assert 0 < len(slug) <= 64
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789-")
    assert submission(slug=slug).slug == slug


@pytest.mark.parametrize("name", ["aux", "CON", "nul", "com1", "LPT9", "verified", "..", "语音"])
def test_names_that_no_folder_can_have_get_another(name):
    assert slug_of(name).startswith("system-")


def test_different_names_without_a_letter_get_different_slugs():
    assert slug_of("语音") != slug_of("语言")


@pytest.mark.parametrize(
    "slug", ["", "a/b", "../x", "A", "aux", "a--b", "-a", "a-", "a.b", "verified", "x" * 65, "ü"]
)
def test_a_slug_that_is_none_is_refused(slug):
    with pytest.raises(ValueError, match="small letters"):
        submission(slug=slug)


def test_everything_that_is_missing_is_named_at_once():
    told = problems_of(make_system, {"name": "x"})
    for word in ("team", "description", "contact", "licence", "training_data", "only_track_data"):
        assert f"{word} is missing" in told
    assert "--training-data" in told


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [
        ("paper", "javascript:alert(1)", "begins with https"),
        ("code", "https://x.org/\"><script>", "begins with https"),
        ("name", "a\nb", "one line"),
        ("name", "\u202egnitar", "control characters"),
        ("team", "\x1b[31mred", "control characters"),
        ("name", " x", "begins nor ends"),
        ("name", "x" * 81, "at most 80"),
        ("description", "x" * 2001, "at most 2000"),
        ("training_data", [], "at least 1"),
        ("parameters", -1, "greater than or equal"),
        ("only_track_data", "yes", "valid boolean"),
        ("colour", "red", "is not known"),
    ],
)  # fmt: skip
def test_what_a_description_cannot_hold_is_said(field, value, says):
    told = problems_of(lambda: entries.system(**{field: value}))
    assert field in told
    assert says in told


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"\xff", "not TOML"),
        (b"a = ", "not TOML"),
        (b"a = " + b"[" * 30_000, "not TOML"),
        (b"slug = 'x'\n", "is missing"),
        (b"#" * 70_000, "at most 65,536"),
    ],
)  # fmt: skip
def test_what_is_no_description_is_refused(content, says):
    assert says in problems_of(parse_submission, content, "submission.toml")


@pytest.mark.parametrize(
    "address",
    ["../predictions.csv", "/etc/passwd", "predictions.pkl", "a/predictions.csv", "..\\x.csv"],
)
def test_predictions_in_the_folder_have_one_of_a_few_names(address):
    text = submission().to_toml().replace('"predictions.csv"', f"'{address}'")
    assert "neither an address nor one of" in problems_of(parse_submission, text.encode(), "x")


def test_a_changed_entry_is_a_new_version_and_the_old_one_is_kept(tmp_path):
    first = place(tmp_path, submission(), b"{}", b"one")
    changed = submission(predictions=Answers(address="predictions.tsv", sha256="cd" * 32))
    second = place(tmp_path, changed, b"[]", b"two")
    assert (first.version, second.version) == (1, 2)
    folder = tmp_path / "made-up-system"
    assert sorted(path.name for path in folder.iterdir()) == [
        "predictions.tsv", SCORECARD, DESCRIPTION, "versions",
    ]  # fmt: skip
    kept = folder / "versions" / "1"
    assert (kept / "predictions.csv").read_bytes() == b"one"
    assert (kept / SCORECARD).read_bytes() == b"{}"
    assert parse_submission((kept / DESCRIPTION).read_bytes(), "x") == first


def test_the_same_entry_again_changes_nothing(tmp_path):
    place(tmp_path, submission(), b"{}", b"one")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert place(tmp_path, submission(), b"{}", b"one").version == 1
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_an_interrupted_change_is_taken_up_again(tmp_path, monkeypatch):
    place(tmp_path, submission(), b"{}", b"one")
    changed = submission(predictions=Answers(address="predictions.csv", sha256="cd" * 32))
    written = []

    def stops(path: Path, content: bytes) -> None:
        written.append(path)
        if path.name == SCORECARD:
            raise KeyboardInterrupt
        path.write_bytes(content)

    with monkeypatch.context() as patched:
        patched.setattr("cfbench.submission.write_bytes", stops)
        with pytest.raises(KeyboardInterrupt):
            place(tmp_path, changed, b"[]", b"two")
    assert place(tmp_path, changed, b"[]", b"two").version == 2
    folder = tmp_path / "made-up-system"
    assert (folder / "versions" / "1" / "predictions.csv").read_bytes() == b"one"
    assert (folder / "predictions.csv").read_bytes() == b"two"


def test_another_systems_folder_is_not_taken(tmp_path):
    place(tmp_path, submission(), b"{}", b"one")
    other = submission(system=entries.system("Made up: system"))
    told = problems_of(place, tmp_path, other, b"{}", b"one")
    assert "is the entry of 'Made-up system'" in told
    assert "--slug" in told
