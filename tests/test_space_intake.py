"""What is taken, scored, kept and sent; what is held back stays so until its day."""

import datetime
import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

import cfbench
import entries
import samples
from cfbench.errors import CfbenchError
from cfbench.leaderboard.build import build
from cfbench.review import verifier
from cfbench.space.intake import Intake, Report
from cfbench.space.pages import HELD_BACK, Pages
from cfbench.space.private import hidden_protocol
from cfbench.space.settings import Settings, make_settings
from cfbench.tasks import find_track
from hub_server import Hub
from hub_server.client import use

TRACK = samples.PARTLY_PUBLIC
TOMORROW = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=1)


def write_track(folder: Path) -> Path:
    """The example with a quarter of its utterances held back, and their labels in `hidden/`."""
    (folder / "hidden").mkdir(parents=True)
    whole = entries.example_truth().drop("subset").with_columns(pl.col(pl.Enum).cast(pl.String))
    # Every second group of the imaginary sources, and every second clip of each generator.
    number = pl.col("utt_id").str.extract(r"(\d+)").cast(pl.Int64)
    held = whole.with_row_index().with_columns(
        held=pl.when(pl.col("split") == "id")
        .then(number % 4 == 0)
        .otherwise(pl.col("index") % 4 == 0)
    )
    hidden = held.filter("held").drop("index", "held")
    held.filter(~pl.col("held")).drop("index", "held").write_csv(folder / "protocol.csv")
    hidden.select("utt_id", "split").write_csv(folder / "held-back.csv")
    hidden.write_csv(folder / "hidden" / "labels.csv")
    (folder / "track.toml").write_text(TRACK)
    find_track.cache_clear()
    return folder / "track.toml"


def settings(folder: Path, **more: object) -> Settings:
    given = {"track": "example", "board": folder / "board", "state": folder / "state"}
    return make_settings(given | more)


def written(folder: Path, frame: pl.DataFrame | None = None, name: str = "mine.csv") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (entries.example_predictions() if frame is None else frame).write_csv(folder / name)
    return folder / name


class TestRefusedAtOnce:
    @pytest.fixture
    def intake(self, tmp_path) -> Intake:
        return Intake(settings(tmp_path, limits={"upload_mib": 1, "failed_per_day": 3}))

    def problem(self, report: Report) -> str:
        assert report.card is None
        assert not report.ticket
        return "\n".join(map(str, report.problems))

    def test_a_name_that_no_file_of_predictions_has(self, intake, tmp_path):
        report = intake.examine(written(tmp_path), "a", "evil.exe")
        assert "evil.exe: no file of predictions" in self.problem(report)
        assert intake.left("a") == 10

    @pytest.mark.parametrize(
        ("address", "told"),
        [
            ("https://huggingface.co/datasets/o/r/resolve/main/p.csv", "'main' is no commit"),
            ("https://example.org/p.csv", "not an address on the Hugging Face Hub"),
            ("http://169.254.169.254/p.csv", "not an address on the Hugging Face Hub"),
            ("file:///etc/passwd.csv", "not an address on the Hugging Face Hub"),
        ],
    )
    def test_an_address_behind_which_a_file_can_change(self, intake, address, told):
        assert told in self.problem(intake.examine(address, "a"))

    def test_a_file_that_is_too_large(self, intake, tmp_path):
        path = tmp_path / "large.csv"
        path.write_bytes(b"0" * (2**20 + 1))
        assert "1,048,577 bytes, more than the 1,048,576" in self.problem(intake.examine(path, "a"))
        assert not list((tmp_path / "state" / "reports").iterdir())

    def test_a_gigabyte_of_zeros(self, intake, tmp_path):
        path = tmp_path / "bomb.csv.gz"
        with gzip.open(path, "wb", compresslevel=1) as file:
            for _ in range(64):
                file.write(bytes(2**20))
        assert "bytes when unpacked" in self.problem(intake.examine(path, "a"))

    def test_a_user_whose_uploads_are_refused_again_and_again(self, intake, tmp_path):
        path = tmp_path / "large.csv"
        path.write_bytes(b"0" * (2**20 + 1))
        for _ in range(3):
            intake.examine(path, "a")
        assert "3 of your uploads were refused today" in self.problem(intake.examine(path, "a"))
        assert "1,048,577 bytes" in self.problem(intake.examine(path, "b"))

    @pytest.mark.parametrize("ticket", ["", "..", "../reports", "0" * 32, "a/b", "x\0y"])
    def test_a_ticket_that_was_not_given(self, intake, ticket):
        with pytest.raises(CfbenchError, match="there is nothing to send any more"):
            intake.send_ticket(ticket, entries.system(), "a")


@pytest.mark.slow
def test_problems_are_told_all_at_once_and_without_this_machines_paths(tmp_path):
    intake = Intake(settings(tmp_path, limits={"per_day": 1}))
    frame = entries.example_predictions()
    bad = frame.head(400).with_columns(
        vq_mvq=pl.when(pl.col("utt_id") == frame["utt_id"][3]).then(7.0).otherwise("vq_mvq")
    )
    report = intake.examine(written(tmp_path / "in", bad), "a", "<script>.csv")
    told = "\n".join(map(str, report.problems))
    assert report.card is None
    assert "line 5" in told
    assert "99 utterances are missing" in told
    assert "--allow-missing" not in told
    assert str(tmp_path) not in told
    assert intake.left("a") == 1
    assert not list((tmp_path / "state" / "reports").iterdir())


@pytest.mark.slow
def test_from_an_upload_to_an_entry(tmp_path):
    intake = Intake(settings(tmp_path, limits={"per_day": 2}, owners=["keeper"], login=True))
    path = written(tmp_path / "in")
    places: list[int] = []
    report = intake.examine(path, "ann", told=places.append)
    assert places == [0]
    assert report.problems == ()
    assert report.left == 1
    assert report.card is not None
    assert report.card.to_json() == cfbench.score(path, track="example").to_json()
    with pytest.raises(CfbenchError, match="somebody else had this scored"):
        intake.send(report, entries.system(), "bob")
    sent = intake.send(report, entries.system(), "ann")
    assert (sent.submission.owner, sent.submission.version) == ("ann", 1)
    with pytest.raises(CfbenchError, match="there is nothing to send any more"):
        intake.send(report, entries.system(), "ann")
    board = tmp_path / "board"
    (found,) = build(board, verifier(), "example")
    assert found.systems["made-up-system"].status == "verified"
    # Another's entry stays as it is; its owner's new predictions are its second version.
    before = {p: p.read_bytes() for p in board.rglob("*") if p.is_file()}
    other = intake.examine(written(tmp_path / "in", entries.confused(0.2)), "bob")
    with pytest.raises(CfbenchError, match="made-up-system: is an entry of ann already"):
        intake.send(other, entries.system(), "bob")
    assert {p: p.read_bytes() for p in board.rglob("*") if p.is_file()} == before
    again = intake.examine(written(tmp_path / "in", entries.confused(0.1)), "ann")
    assert intake.send(again, entries.system(), "ann").submission.version == 2
    assert (board / "made-up-system" / "versions" / "1" / "submission.toml").is_file()
    refused = intake.examine(path, "ann")
    assert "2 of your uploads were scored today" in str(refused.problems[0])


@pytest.mark.slow
def test_what_is_held_back_is_scored_and_stored_and_shown_when_its_day_has_come(tmp_path):
    track = write_track(tmp_path / "track")
    hidden = tmp_path / "track" / "hidden" / "labels.csv"
    given = {"track": str(track), "hidden": hidden, "reveal": TOMORROW}
    intake = Intake(settings(tmp_path, **given))
    report = intake.examine(written(tmp_path / "in"), "local")
    assert report.card is not None
    assert report.held_back
    assert report.card.predictions.held_back == intake.protocol.held_back.height > 100
    sent = intake.send(report, entries.system(), "local")
    # The right number, where nobody but the host reads it.
    (kept,) = (tmp_path / "state" / "private").rglob("*.json")
    record = json.loads(kept.read_text())
    labels = pl.read_csv(hidden)
    answers = entries.example_predictions().filter(
        pl.col("utt_id").is_in(labels["utt_id"].to_list())
    )
    alone = TRACK.replace('held_back = "held-back.csv"\n', "").replace(
        'protocol = "protocol.csv"\n', ""
    )
    (tmp_path / "alone.toml").write_text(alone)
    expected = cfbench.score(answers, labels, track=str(tmp_path / "alone.toml"))
    value = expected.tasks["vq"].splits["ood"].overall.metrics["macro_f1"].value
    assert record["result"]["tasks"]["vq"]["splits"]["ood"]["value"]["value"] == value
    assert record["predictions"] == sent.submission.predictions.sha256
    # Nothing of it is in the entry or on the pages before the day.
    entry = "".join(p.read_text() for p in (tmp_path / "board").rglob("*") if p.is_file())
    assert repr(value) not in entry
    pages = Pages(intake)
    assert pages.renew()
    assert not pages.standing.held_back
    assert pages.find(f"{HELD_BACK}/index.html") is None
    assert not pages.renew()
    # On the day; and for an entry that came another way, which is scored now.
    shutil.rmtree(tmp_path / "state" / "private")
    due = Intake(settings(tmp_path, **given | {"reveal": datetime.date(2026, 1, 1)}))
    pages = Pages(due)
    pages.renew()
    assert pages.standing.held_back
    page = pages.find(f"{HELD_BACK}/leaderboard.json")
    assert page is not None
    (board,) = json.loads(page.content)
    assert board["title"] == "Partly public, held-back part"
    shown = board["systems"]["made-up-system"]["result"]["tasks"]["vq"]["splits"]["ood"]["value"]
    assert shown["value"] == value
    places = [row["places"]["ood"] for row in board["tables"][0]["rows"] if row["slug"]]
    assert places == [{"place": 1, "by": None}]


def test_labels_that_are_lacking_are_named(tmp_path):
    track = write_track(tmp_path)
    labels = tmp_path / "hidden" / "labels.csv"
    public = cfbench.read_protocol(track=str(track))
    assert hidden_protocol(labels, public).frame.height == public.held_back.height
    pl.read_csv(labels).slice(2).write_csv(labels)
    with pytest.raises(CfbenchError, match=r"labels\.csv: no labels of 2 utterances"):
        hidden_protocol(labels, public)


def test_a_track_that_holds_nothing_back_has_no_hidden_labels(tmp_path):
    path = tmp_path / "labels.csv"
    entries.example_truth().write_csv(path)
    with pytest.raises(CfbenchError, match="example holds nothing back"):
        Intake(settings(tmp_path, hidden=path))


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A Hub with both repositories; this process is logged in as the Space's owner."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    track = write_track(tmp_path / "track").parent
    private = {p.relative_to(track).as_posix(): p.read_bytes() for p in track.rglob("*.*")}
    with Hub() as server:
        use(server, tmp_path / "home", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", server.sign_up("lab"))
        server.add("lab/results", {"README.md": b"# Results\n"}, kind="dataset")
        server.add("lab/hidden", private, kind="dataset", private=True)
        yield server
        huggingface_hub.close_session()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
def test_on_the_hub_an_entry_is_a_pull_request_and_what_is_private_stays_private(hub, tmp_path):
    given = {
        "track": "track.toml", "results": "lab/results", "private": "lab/hidden",
        "state": tmp_path / "state", "login": True, "reveal": TOMORROW,
    }  # fmt: skip
    intake = Intake(make_settings(given))
    report = intake.examine(written(tmp_path / "in"), "ann")
    assert report.held_back
    before = hub.files("lab/results")
    sent = intake.send(report, entries.system(), "ann")
    assert sent.number is not None
    assert hub.files("lab/results") == before
    offered = hub.files("lab/results", revision=f"refs/pr/{sent.number}")
    new = sorted(set(offered) - set(before))
    at = "submissions/made-up-system/"
    assert new == [
        f"{at}{name}" for name in ("predictions.csv", "scorecard.json", "submission.toml")
    ]
    assert b'owner = "ann"' in offered[f"{at}submission.toml"]
    (private,) = [path for path in hub.files("lab/hidden") if path.startswith("private/")]
    digest = sent.submission.predictions.sha256
    assert private == f"private/made-up-system/{digest}.json"
    value = json.loads(hub.files("lab/hidden")[private])["result"]["tasks"]["vq"]["splits"]["ood"]
    assert repr(value["value"]["value"]).encode() not in b"".join(offered.values())
    # Sent once more, the same pull request stands for it.
    again = intake.examine(written(tmp_path / "in"), "ann")
    assert intake.send(again, entries.system(), "ann").number == sent.number
    # Merged, it is on the leaderboard of an app that begins anew.
    hub.add("lab/results", offered, kind="dataset")
    shutil.rmtree(tmp_path / "state")
    due = Intake(make_settings(given | {"reveal": datetime.date(2026, 1, 1)}))
    pages = Pages(due)
    pages.renew()
    assert pages.standing.systems == 1
    assert pages.standing.held_back
    # The copy is the repository's again, and what was verified is not verified again.
    hub.add("lab/results", offered | {"README.md": b"# Other\n"}, kind="dataset")
    due.verify = lambda entry: pytest.fail("verified again")  # type: ignore[method-assign]
    assert pages.renew()
    assert pages.standing.systems == 1
