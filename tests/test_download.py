"""`cfbench data download`: with the real client, from a Hub on the loopback or from a folder."""

import http.server
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import published
import tapes
from cfbench.errors import CfbenchError
from cfbench.hub import downloads
from cfbench.hub.downloads import BrokenOff, Listener, Wanted, download
from cfbench.obtained import alone
from hub_server import READER, Fault, Hub
from hub_server.client import use
from published import COSG, PARTS, REPO

huggingface_hub = pytest.importorskip("huggingface_hub")

CLIPS = published.clips()
FILES = published.files(CLIPS)
ALL = published.expected(CLIPS, FILES)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        use(server, tmp_path / "home", monkeypatch)
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)


class Case:
    """A command on a release."""

    def __init__(self, toml: Path, to: Path, run_cli: Callable) -> None:
        self.toml, self.to, self._run = toml, to, run_cli

    def __call__(self, *arguments: object, code: int = 0):
        done = self._run("data", "download", self.toml, "--to", self.to, *arguments)
        assert done.code == code, done.err
        assert "Traceback" not in done.err, done.err
        return done

    def json(self, *arguments: object) -> dict:
        return json.loads(self(*arguments, "--json").out)

    @property
    def there(self) -> dict[str, bytes]:
        return published.unpacked(self.to)


@pytest.fixture
def case(hub: Hub, tmp_path: Path, run_cli: Callable) -> Case:
    commit = hub.add(REPO, FILES, kind="dataset")
    toml = published.write_release(tmp_path / "release.toml", FILES, commit)
    return Case(toml, tmp_path / "to", run_cli)


def working() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "cfbench download"]


def files_asked(hub: Hub) -> list[str]:
    """The files that the Hub was asked for; the client asks for other things now and then."""
    return [seen.path for seen in hub.seen if "/resolve/" in seen.path]


def incoming(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if "incoming" in path.name)


def test_all_of_it(hub: Hub, case: Case) -> None:
    done = case()
    assert case.there == ALL
    assert {path.name for path in (case.to / "archives").iterdir()} == {COSG, *PARTS}
    assert "CoRS: 60 files" in done.out
    assert f"clips: {case.to / 'CoRS' / 'Codecfake_plus_CoRS'}" in done.out
    assert "as the Hub has it" in done.out
    assert "disk: about" in done.err
    assert not incoming(case.to)
    hub.seen.clear()
    again = case.json()
    assert not files_asked(hub)
    assert [archive["written"] for archive in again["archives"].values()] == [0, 0]
    assert again["bytes_downloaded"] == 0
    assert case.there == ALL


def test_what_machines_are_told(case: Case) -> None:
    said = case.json()
    assert set(said["files"]) == {COSG, *PARTS, *published.LABELS}
    assert {file["checked_against"] for file in said["files"].values()} == {"release", "hub"}
    assert said["files"][PARTS[0]]["checked_against"] == "hub"
    assert said["archives"]["CoSG"] == {
        "folder": str(case.to / "CoSG"),
        "clips": str(case.to / "CoSG" / "CoSG"),
        "files": 5,
        "bytes": 15_000,
        "written": 5,
    }
    assert said["bytes_downloaded"] == sum(file["bytes"] for file in said["files"].values())


@pytest.mark.parametrize(
    ("subset", "start"), [("labels", ()), ("cosg", ("CoSG",)), ("cors", ("CoRS",))]
)
def test_a_part_of_it(hub: Hub, case: Case, subset: str, start: tuple[str, ...]) -> None:
    case("--subset", subset)
    labels = published.LABELS if subset == "labels" else [f"{start[0]}_labels.txt"]
    wanted = {name for name in ALL if name in labels or name.startswith((*start, "?"))}
    wanted -= {name for name in ALL if name.endswith(".txt") and name not in labels}
    assert case.there == {name: ALL[name] for name in wanted}
    if subset == "labels":
        assert not (case.to / "archives").exists()
    # The rest comes later, and nothing twice.
    case()
    assert case.there == ALL
    got = [seen.path for seen in hub.seen if seen.method == "GET" and "/resolve/" in seen.path]
    assert len(got) == len(set(got)) == 7


def test_a_plan_asks_nobody(hub: Hub, case: Case) -> None:
    said = case.json("--dry-run")
    assert said["bytes_to_download"] == sum(len(FILES[name]) for name in FILES) - 13
    assert said["archives"] == ["CoSG", "CoRS"]
    assert not files_asked(hub)
    assert not case.to.exists()
    case("--subset", "cosg")
    said = case.json("--dry-run")
    assert (said["archives"], said["unpacked"]) == (["CoRS"], ["CoSG"])
    assert said["bytes_to_download"] == sum(
        len(FILES[name]) for name in (*PARTS, "CoRS_labels.txt")
    )


def test_a_disk_that_is_too_small(hub: Hub, case: Case) -> None:
    commit = next(iter(hub.repos["dataset", REPO].commits))
    published.write_release(case.toml, FILES, commit, unpacked=10**17)
    done = case(code=2)
    assert "200,000,000.0 GB to unpack" in done.err
    assert "--to" in done.err
    assert not files_asked(hub)
    assert case("--dry-run", code=2).err == done.err
    case("--subset", "labels")


def test_a_cut_in_the_middle(hub: Hub, case: Case, impatient: None) -> None:
    hub.faults.append(Fault(cut=50_000, method="GET", part=PARTS[1]))
    case()
    assert case.there == ALL
    ranges = [seen.range for seen in hub.seen if seen.method == "GET" and PARTS[1] in seen.path]
    assert ranges == [None, "bytes=50000-"]


def test_as_long_as_something_arrives_it_gets_on(hub: Hub, case: Case, impatient: None) -> None:
    hub.faults.append(Fault(cut=5000, times=99, method="GET", part=PARTS[1]))
    case("--subset", "cors")
    assert hub.count("GET", PARTS[1]) > 20
    assert case.there.items() <= ALL.items()


def test_another_call_goes_on_where_one_broke_off(hub: Hub, case: Case, impatient: None) -> None:
    fault = Fault(cut=50_000, method="GET", part=PARTS[1])
    hub.faults += [fault, Fault(cut=-1, times=99, method="GET", part=PARTS[1])]
    done = case("--json", code=1)
    assert "the download broke off" in done.err
    assert "the same command again goes on where it was" in done.err
    assert done.out == ""
    assert [path.stat().st_size for path in incoming(case.to) if PARTS[1] in path.name] == [50_000]
    hub.faults.clear()
    hub.seen.clear()
    said = case.json()
    assert [seen.range for seen in hub.seen if PARTS[1] in seen.path] == [None, "bytes=50000-"]
    assert said["bytes_downloaded"] <= sum(map(len, FILES.values())) - 50_000
    assert case.there == ALL


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (Fault(401, times=99), 2, "does not accept your token (401)"),
        (Fault(403, times=99), 2, "refuses access (403)"),
        (Fault(429, times=99, headers={"Retry-After": "77"}), 1, "wait 77 seconds"),
        (Fault(429, times=99, headers={"Retry-After": "7777"}), 1, "wait 7777 seconds"),
        (Fault(503, times=99), 1, "the Hub is in trouble (503)"),
        (Fault(500, times=99, method="GET"), 1, "the Hub is in trouble (500)"),
        (Fault(cut=-1, times=99), 1, "the download broke off"),
        (Fault(cut=0, times=99, method="GET"), 1, "the download broke off"),
        (Fault(method="HEAD", times=99, without=("X-Repo-Commit",)), 2, "is not the Hub"),
        (Fault(method="HEAD", times=99, without=("Content-Length",)), 2, "is not the Hub"),
    ],
)
def test_trouble_is_told(
    hub: Hub, case: Case, impatient: None, fault: Fault, code: int, said: str
) -> None:
    hub.faults.append(Fault(**vars(fault)))
    done = case("--subset", "cosg", code=code)
    assert said in done.err
    assert "hint: " in done.err
    hub.faults.clear()
    case("--subset", "cosg")


def test_trouble_that_passes_is_waited_for(
    hub: Hub, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr("cfbench.hub.patience.time", SimpleNamespace(sleep=waited.append))
    hub.faults.append(Fault(429, times=2, part=COSG, headers={"Retry-After": "7"}))
    hub.faults.append(Fault(503, times=2, part=COSG, method="GET"))
    done = case("--subset", "cosg")
    assert "too many requests; trying again in" in done.err
    assert [wait >= 7 for wait in waited] == [True, True, False, False]


def test_what_is_not_there(hub: Hub, case: Case) -> None:
    less = {name: content for name, content in FILES.items() if name != PARTS[2]}
    commit = hub.add(REPO, less, kind="dataset")
    published.write_release(case.toml, FILES, commit)
    assert f"has no file '{PARTS[2]}' at revision" in case(code=2).err
    published.write_release(case.toml, FILES, "0" * 40)
    other = Case(case.toml, case.to.with_name("other"), case._run)
    assert f"has no revision '{'0' * 40}'" in other(code=2).err
    hub.repos.clear()
    assert f"has no dataset repository {REPO} that you may see" in other(code=2).err


def test_a_gated_repository(hub: Hub, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.repos["dataset", REPO].gated = True
    done = case("--subset", "labels", code=2)
    assert "is gated, and you are not on its list" in done.err
    assert "ask for access at" in done.err
    monkeypatch.setenv("HF_TOKEN", READER)
    done = case("--subset", "labels")
    assert READER not in done.out + done.err


def test_no_network(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    template = "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    done = case("--subset", "cosg", code=1)
    assert "the Hub cannot be reached at http://127.0.0.1:9" in done.err
    assert "--from names their folder" in done.err


def test_offline_mode(hub: Hub, case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    huggingface_hub.close_session()
    assert "offline mode is on" in case("--subset", "cosg", code=1).err
    assert not files_asked(hub)


@pytest.mark.parametrize("name", [COSG, "CoSG_labels.txt"])
def test_another_file_than_was_published(hub: Hub, case: Case, name: str) -> None:
    changed = {**FILES, name: FILES[name][:-1] + b"?"}
    commit = hub.add(REPO, changed, kind="dataset")
    published.write_release(case.toml, FILES, commit)
    done = case("--subset", "cosg", code=2)
    assert f"{name}: has the sha256" in done.err
    assert "see whether there is a newer cfbench" in done.err
    assert not (case.to / name).exists()
    assert not (case.to / "archives" / name).exists()


def test_a_file_of_another_size_than_was_published(hub: Hub, case: Case) -> None:
    longer = {**FILES, PARTS[0]: FILES[PARTS[0]] + b"?"}
    published.write_release(case.toml, FILES, hub.add(REPO, longer, kind="dataset"))
    size = len(FILES[PARTS[0]])
    assert f"has {size + 1:,} bytes, not the {size:,} that are known" in case(code=2).err
    assert not [path for path in incoming(case.to) if PARTS[0] in path.name]


def test_what_was_changed_on_the_way_is_not_kept(hub: Hub, case: Case) -> None:
    wrong = FILES[PARTS[3]][:-1] + b"?"
    hub.faults.append(Fault(method="GET", part=PARTS[3], body=wrong))
    done = case(code=1)
    assert f"{PARTS[3]}: what has arrived is not what the Hub has" in done.err
    assert not [path for path in incoming(case.to) if PARTS[3] in path.name]
    case()
    assert case.there == ALL


def test_a_part_that_has_changed_since_is_noticed(hub: Hub, case: Case) -> None:
    case()
    place = case.to / "archives" / PARTS[1]
    os.utime(place, (1, 1))
    clip = next(iter((case.to / "CoRS" / "Codecfake_plus_CoRS").iterdir()))
    clip.unlink()
    hub.seen.clear()
    case()
    assert not files_asked(hub)
    assert case.there == ALL
    content = bytearray(place.read_bytes())
    content[5] ^= 1
    place.write_bytes(content)
    clip.unlink()
    assert f"{place}: has changed since it was first read" in case(code=2).err
    place.unlink()
    case()
    assert hub.count("GET", "/resolve/") == 1
    assert case.there == ALL


def test_archives_that_are_removed(hub: Hub, case: Case) -> None:
    done = case("--remove-archives")
    assert "removed" in done.out
    assert not list((case.to / "archives").iterdir())
    hub.seen.clear()
    said = case.json("--remove-archives")
    assert not files_asked(hub)
    assert said["archives"]["CoRS"]["files"] == 60
    assert case.there == ALL
    (case.to / "CoSG" / "CoSG" / "CLAMTTS_1.wav").write_bytes(b"")
    said = case.json("--keep-archives")
    assert said["archives"]["CoSG"]["written"] == 1
    assert [path.rpartition("/")[2] for path in files_asked(hub)] == [COSG, COSG]
    assert case.there == ALL


@pytest.mark.parametrize("program", ["plain", "proxy"])
def test_a_hostile_archive(hub: Hub, case: Case, program: str) -> None:
    clips = {"CoRS": CLIPS["CoRS"], "CoSG": {"CoSG/a": b"1", "CoSG/../../evil": b"2"}}
    if program == "proxy":
        clips["CoSG"] = {"CoSG/a": b"1", "CoSG//etc/evil": b"2"}
    there = published.files(clips)
    published.write_release(case.toml, there, hub.add(REPO, there, kind="dataset"))
    done = case(code=2)
    assert f"{COSG}: member '" in done.err
    assert "evil', refused: its name" in done.err
    assert (case.to / "CoSG" / "a").read_bytes() == b"1"
    assert not [path for path in case.to.parent.rglob("*") if "evil" in path.name]


def test_it_follows_the_hub_to_its_storage_and_takes_no_token_there(
    hub: Hub, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", READER)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    with Hub() as storage:
        stored = storage.add("any/store", FILES)
        elsewhere = storage.url.replace("127.0.0.1", "localhost")
        for name in (COSG, *PARTS):
            url = f"{elsewhere}/any/store/resolve/{stored}/{name}"
            commit = next(iter(hub.repos["dataset", REPO].commits))
            blob = hub.repos["dataset", REPO].commits[commit].tree[name]
            told = {"Location": url, "X-Repo-Commit": commit, "X-Linked-Etag": f'"{blob.sha256}"'}
            told |= {"X-Linked-Size": str(len(blob.data))}
            hub.faults.append(Fault(302, times=9, part=name, headers=told, body=b""))
        storage.faults.append(Fault(cut=9000, method="GET", part=PARTS[0]))
        done = case()
        assert {seen.token for seen in storage.seen} == {None}
        assert {seen.range for seen in storage.seen} == {None, "bytes=9000-"}
    assert {seen.token for seen in hub.seen} == {READER}
    assert READER not in done.out + done.err + (case.to / ".cfbench" / "record.json").read_text()
    assert case.there == ALL


def test_a_storage_that_knows_no_ranges(hub: Hub, case: Case, tmp_path: Path) -> None:
    folder = published.write_files(tmp_path / "plain", FILES)

    class Plain(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(folder))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        hub.faults.append(Fault(cut=9000, method="GET", part=COSG))
        url = f"http://127.0.0.1:{server.server_port}/{COSG}"
        hub.faults.append(
            Fault(302, times=9, method="GET", part=COSG, headers={"Location": url}, body=b"")
        )
        case("--subset", "cosg")
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert (case.to / "archives" / COSG).read_bytes() == FILES[COSG]


def test_two_at_once(case: Case) -> None:
    with alone(case.to):
        done = case("--subset", "labels", code=2)
    assert "another cfbench is at work in it" in done.err
    case("--subset", "labels")


def test_a_folder_of_another_release(hub: Hub, case: Case) -> None:
    case("--subset", "labels")
    published.write_release(case.toml, FILES, hub.add(REPO, FILES, kind="dataset"))
    other = case.toml.with_name("other.toml")
    case.toml.rename(other)
    case.toml = other
    assert "name another folder with --to" in case("--subset", "labels", code=2).err


def test_a_damaged_record(case: Case) -> None:
    case("--subset", "labels")
    record = case.to / ".cfbench" / "record.json"
    record.write_text("{}")
    assert "delete it: the files are then read again" in case("--subset", "labels", code=2).err
    record.unlink()
    case("--subset", "labels")
    assert record.exists()


def test_a_folder_that_is_none(case: Case, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    case.to = tmp_path / "file" / "below"
    assert "cannot be used" in case("--subset", "labels", code=2).err


@pytest.fixture
def given(tmp_path: Path, run_cli: Callable, monkeypatch: pytest.MonkeyPatch) -> Case:
    """No Hub: the files are on the disk."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    published.write_files(tmp_path / "from", FILES)
    toml = published.write_release(tmp_path / "release.toml", FILES)
    return Case(toml, tmp_path / "to", run_cli)


def test_files_that_are_on_the_disk(given: Case, tmp_path: Path) -> None:
    source = tmp_path / "from"
    said = given.json("--from", source)
    assert given.there == ALL
    assert not (given.to / "archives").exists()
    assert tapes.tree(source) == FILES
    against = {name: file["checked_against"] for name, file in said["files"].items()}
    assert against == {name: "first seen" if name in PARTS else "release" for name in against}
    again = given.json("--from", source)
    assert again["files"] == said["files"]
    assert [archive["written"] for archive in again["archives"].values()] == [0, 0]


def test_lacking_and_short_files_are_all_named(given: Case, tmp_path: Path) -> None:
    source = tmp_path / "from"
    (source / PARTS[0]).unlink()
    (source / PARTS[2]).write_bytes(FILES[PARTS[2]][:-1])
    (source / PARTS[3]).write_bytes(FILES[PARTS[3]] + b"1")
    done = given("--from", source, code=2)
    size = len(FILES[PARTS[2]])
    assert f"{source / PARTS[0]}: no such file" in done.err
    assert f"{source / PARTS[2]}: cut short: {size - 1:,} bytes, not {size:,}" in done.err
    assert f"{source / PARTS[3]}: too long" in done.err
    assert not given.to.exists()
    given("--from", source, "--subset", "cosg")
    assert "no such folder" in given("--from", tmp_path / "nowhere", code=2).err
    assert "leave one of them out" in given("--from", source, "--remove-archives", code=2).err


def test_files_of_the_disk_that_are_not_those_published(given: Case, tmp_path: Path) -> None:
    source = tmp_path / "from"
    (source / COSG).write_bytes(FILES[COSG][:-1] + b"?")
    assert "not what was published: its sha256 is" in given("--from", source, code=2).err
    (source / COSG).write_bytes(FILES[COSG])
    given("--from", source)
    (source / PARTS[1]).write_bytes(FILES[PARTS[1]][:-1] + b"?")
    (given.to / "CoRS" / "Codecfake_plus_CoRS" / "p227_000_bigcodec.wav").unlink()
    done = given("--from", source, code=2)
    assert f"{source / PARTS[1]}: has changed since it was first read" in done.err


def test_parts_whose_names_were_changed_over(given: Case, tmp_path: Path) -> None:
    source = tmp_path / "from"
    (source / PARTS[1]).write_bytes(FILES[PARTS[2]])
    (source / PARTS[2]).write_bytes(FILES[PARTS[1]])
    done = given("--from", source, "--subset", "cors", code=2)
    assert "see that the parts are in order, or get it again" in done.err


class TestDownloads:
    """The function below the command."""

    def wanted(self, hub: Hub, place: Path, name: str = COSG) -> tuple[str, Wanted]:
        commit = hub.add(REPO, FILES, kind="dataset")
        return commit, Wanted(name, place / name)

    def test_a_file_that_is_there(self, hub: Hub, tmp_path: Path) -> None:
        commit, wanted = self.wanted(hub, tmp_path)
        wanted.place.write_bytes(FILES[COSG])
        (done,) = download(REPO, commit, [wanted])
        assert (done.arrived, done.bytes) == (0, len(FILES[COSG]))
        assert hub.count("GET", "/resolve/") == 0
        wanted.place.write_bytes(FILES[COSG][::-1])
        counts = [0, 0]

        def advance(*more: int) -> None:
            counts[:] = [have + new for have, new in zip(counts, more, strict=True)]

        (done,) = download(REPO, commit, [wanted], Listener(advance))
        assert wanted.place.read_bytes() == FILES[COSG]
        assert (done.arrived, counts) == (len(FILES[COSG]), [len(FILES[COSG]), 0])

    def test_what_another_revision_left(self, hub: Hub, tmp_path: Path) -> None:
        commit, wanted = self.wanted(hub, tmp_path)
        (tmp_path / f".{COSG}.0123.incoming").write_bytes(b"another")
        list(download(REPO, commit, [wanted]))
        assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [COSG]

    @pytest.mark.parametrize("size", [0, 1, len(FILES[COSG]), len(FILES[COSG]) + 1])
    def test_what_an_earlier_call_left(self, hub: Hub, tmp_path: Path, size: int) -> None:
        commit, wanted = self.wanted(hub, tmp_path)
        blob = hub.repos["dataset", REPO].commits[commit].tree[COSG]
        assert blob.sha256 is not None
        left = tmp_path / f".{COSG}.{blob.sha256[:16]}.incoming"
        left.write_bytes((FILES[COSG] + b"?")[:size])
        assert downloads.arrived(wanted.place) == size
        (done,) = download(REPO, commit, [wanted])
        whole = len(FILES[COSG])
        assert done.arrived == (whole - size if size <= whole else whole)
        assert wanted.place.read_bytes() == FILES[COSG]

    def test_a_beginning_that_is_wrong_is_thrown_away(self, hub: Hub, tmp_path: Path) -> None:
        commit, wanted = self.wanted(hub, tmp_path)
        blob = hub.repos["dataset", REPO].commits[commit].tree[COSG]
        assert blob.sha256 is not None
        (tmp_path / f".{COSG}.{blob.sha256[:16]}.incoming").write_bytes(b"not the beginning")
        with pytest.raises(BrokenOff, match="its digest is another one"):
            list(download(REPO, commit, [wanted]))
        list(download(REPO, commit, [wanted]))
        assert wanted.place.read_bytes() == FILES[COSG]

    @pytest.mark.parametrize("told", ["bytes 0-9/10", "", "bytes 9000-9999/10000"])
    def test_another_range_than_was_asked_for(
        self, hub: Hub, tmp_path: Path, impatient: None, told: str
    ) -> None:
        commit, wanted = self.wanted(hub, tmp_path)
        hub.faults.append(Fault(cut=9000, method="GET"))
        hub.faults.append(Fault(method="GET", headers={"Content-Range": told}))
        (_done,) = download(REPO, commit, [wanted])
        assert wanted.place.read_bytes() == FILES[COSG]
        assert [seen.range for seen in hub.seen if seen.method == "GET"] == [
            None,
            "bytes=9000-",
            "bytes=9000-",
        ]

    def test_more_than_the_file_has(self, hub: Hub, tmp_path: Path, impatient: None) -> None:
        commit, wanted = self.wanted(hub, tmp_path)
        body = FILES[COSG] * 2
        headers = {"Content-Length": str(len(body))}
        hub.faults.append(Fault(method="GET", body=body, headers=headers, times=99))
        with pytest.raises(CfbenchError, match="broke off"):
            list(download(REPO, commit, [wanted]))
        assert not wanted.place.exists()

    def test_who_stops_listening_stops_all(self, hub: Hub, tmp_path: Path) -> None:
        commit = hub.add(REPO, FILES, kind="dataset")
        hub.rate = 100_000
        wanted = [Wanted(name, tmp_path / name) for name in ("README.md", *PARTS)]
        coming = download(REPO, commit, wanted)
        assert next(coming).wanted.path == "README.md"
        assert len(working()) == 4
        coming.close()  # type: ignore[attr-defined]
        assert not working()
        assert not [name for name in PARTS if (tmp_path / name).exists()]


def _process(hub: Hub, toml: Path, to: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "cfbench", "data", "download", str(toml), "--to", str(to)],
        env=hub.environment(to.with_name("home")),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # renamed in this moment
    return total


def _wait_for(process: subprocess.Popen[str], folder: Path, size: int) -> None:
    while process.poll() is None and _size(folder) < size:
        time.sleep(0.005)


@pytest.mark.slow
def test_killed_at_random_moments_it_ends_in_the_same_files(tmp_path: Path) -> None:
    clips = published.clips(90, 30_000)
    files = published.files(clips)
    chance = random.Random(5)
    to = tmp_path / "to"
    with Hub() as hub:
        hub.rate = 300_000
        commit = hub.add(REPO, files, kind="dataset")
        toml = published.write_release(tmp_path / "release.toml", files, commit)
        killed = 0
        for _ in range(10):
            process = _process(hub, toml, to)
            _wait_for(process, to, _size(to) + chance.randint(1, 250_000))
            process.send_signal(signal.SIGKILL)
            process.communicate()
            killed += process.returncode == -signal.SIGKILL
            for name, content in published.unpacked(to).items():
                if "incoming" not in name:
                    assert content == published.expected(clips, files)[name]
        assert killed == 10
        hub.rate = None
        process = _process(hub, toml, to)
        assert process.communicate()[1].count("error") == 0
        assert process.returncode == 0
        sent = [seen.range for seen in hub.seen if seen.method == "GET" and ".part" in seen.path]
    assert published.unpacked(to) == published.expected(clips, files)
    assert not incoming(to)
    # At least one part was gone on with, and not begun again.
    assert any(told is not None for told in sent)
    assert sent.count(None) <= 4 + 4


@pytest.mark.slow
def test_interrupted_it_says_that_nothing_is_lost(tmp_path: Path) -> None:
    to = tmp_path / "to"
    with Hub() as hub:
        hub.rate = 100_000
        commit = hub.add(REPO, FILES, kind="dataset")
        toml = published.write_release(tmp_path / "release.toml", FILES, commit)
        process = _process(hub, toml, to)
        _wait_for(process, to, 60_000)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=20)[1]
        assert process.returncode == 130, said
        assert "interrupted; the same command again goes on where it was" in said
        assert "Traceback" not in said
        hub.rate = None
        process = _process(hub, toml, to)
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert published.unpacked(to) == ALL
