"""`cfbench data push`: clips as shards with a card, and back through `datasets`."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import cfbench
import speech
from cfbench import dataset_shards
from cfbench.dataset_shards import card, pack, plan_packing, send
from cfbench.errors import CfbenchError
from cfbench.tasks import find_track
from hub_server import Hub
from hub_server.client import use
from speech import Corpus

huggingface_hub = pytest.importorskip("huggingface_hub")
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")

REPO = "lab/clips"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return speech.make_corpus(tmp_path_factory.mktemp("made"), [("train", 3), ("id", 2)])


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Iterator[Hub]:
    """A Hub that knows nothing yet, and this process logged in."""
    with Hub() as server:
        use(server, tmp_path / "home", monkeypatch)
        monkeypatch.setenv("HF_TOKEN", server.sign_up("lab"))
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def nobody(tmp_path, monkeypatch) -> Iterator[Hub]:
    with Hub() as server:
        use(server, tmp_path / "home", monkeypatch)
        yield server
        huggingface_hub.close_session()


def planned(corpus: Corpus, *splits: str, limit: int = 10**9) -> dataset_shards.Packing:
    return plan_packing(find_track(str(corpus.track)), splits, [corpus.audio], shard_bytes=limit)


def contents(files: dict[str, Path]) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in files.items()}


def test_shards_are_bounded_and_hold_each_clip_once(corpus):
    whole = planned(corpus, "train")
    assert [shard.name for shard in whole.shards] == ["data/train-00000-of-00001.parquet"]
    limit = 40_000
    some = planned(corpus, "train", limit=limit)
    assert len(some.shards) > 3
    assert all(shard.bytes <= limit for shard in some.shards)
    ids = [utt_id for shard in some.shards for utt_id in shard.rows["utt_id"]]
    assert ids == whole.shards[0].rows["utt_id"].to_list()
    # A clip that is longer than a shard has one of its own.
    assert [shard.rows.height for shard in planned(corpus, "id", limit=1).shards] == [1] * 8


def test_the_same_clips_give_the_same_bytes(corpus, tmp_path):
    one = contents(pack(planned(corpus, "train", "id", limit=60_000), tmp_path / "one"))
    two = contents(pack(planned(corpus, "train", "id", limit=60_000), tmp_path / "two"))
    assert one == two


def test_the_shards_are_what_datasets_reads(corpus, tmp_path, monkeypatch):
    import datasets

    packing = planned(corpus, "train", "id", limit=60_000)
    pack(packing, tmp_path / "out")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    data = datasets.load_dataset(str(tmp_path / "out"))
    assert set(data) == {"train", "id"}
    for split in ("train", "id"):
        plain = cfbench.load_dataset(str(corpus.track), split, audio=corpus.audio)
        assert data[split].features == plain.features
        for row, wanted in zip(data[split], plain, strict=True):
            path = Path(wanted["audio"].pop("path"))
            audio = row.pop("audio")
            assert (wanted["audio"].pop("bytes"), wanted.pop("audio")) == (None, {})
            assert row == wanted
            assert audio["bytes"] == path.read_bytes()
            assert audio["path"] == path.name
            heard = cfbench.read_audio({"audio": audio})
            assert heard.tolist() == cfbench.read_audio({"audio": {"path": path}}).tolist()


def test_the_card_says_what_there_is(corpus, tmp_path):
    track = find_track(str(corpus.track))
    packing = planned(corpus, "train", "id")
    head = card(packing).split("---\n")[1]
    said = yaml.safe_load(head)
    assert said["configs"][0]["data_files"] == [
        {"split": "train", "path": "data/train-*"},
        {"split": "id", "path": "data/id-*"},
    ]
    assert [(s["name"], s["num_examples"]) for s in said["dataset_info"]["splits"]] == [
        ("train", 12),
        ("id", 8),
    ]
    from cfbench.dataset import features_of

    assert said["dataset_info"]["features"] == features_of(track)._to_yaml_list()
    assert said["license"] == "other"
    real = dataset_shards.Packing(find_track("codecfake-plus"), packing.shards)
    parsed = huggingface_hub.DatasetCard(card(real))
    assert parsed.data.license == "mit"
    assert parsed.data.pretty_name == "CodecFake+"
    assert "https://arxiv.org/abs/2501.08238" in parsed.text
    # Where the repository has other splits, their sizes are not known here.
    other = yaml.safe_load(card(packing, ["ood"]).split("---\n")[1])
    assert "splits" not in other["dataset_info"]
    assert [d["split"] for d in other["configs"][0]["data_files"]] == ["train", "id", "ood"]


def test_a_clip_that_changes_meanwhile_is_said(corpus, tmp_path):
    packing = planned(corpus, "id")
    rows = packing.shards[0].rows
    shard = dataset_shards.Shard(
        packing.shards[0].name, "id", rows.with_columns(size=rows["size"] + 1)
    )
    with pytest.raises(CfbenchError, match="changed while it was packed"):
        pack(dataset_shards.Packing(packing.track, (shard,)), tmp_path)
    assert list((tmp_path / "data").iterdir()) == []


def test_no_room_is_said_before_anything_is_written(corpus, tmp_path, monkeypatch):
    import shutil

    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=10))
    with pytest.raises(CfbenchError, match=r"0\.0 GB are free"):
        pack(planned(corpus, "id"), tmp_path / "out")


def push(run_cli, corpus: Corpus, *arguments: object):
    return run_cli(
        "data", "push", REPO, "--track", corpus.track, "--audio", corpus.audio, *arguments
    )


def test_without_a_login_the_files_are_kept(run_cli, corpus, nobody, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = push(run_cli, corpus, "--split", "id")
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == "packed: clips-parquet"
    assert f"not sent to {REPO}: {REPO}: you are not logged in" in done.err
    assert (tmp_path / "clips-parquet" / "data" / "id-00000-of-00001.parquet").is_file()
    assert not nobody.count("POST")


def test_a_dry_run_sends_and_writes_nothing(run_cli, corpus, hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    done = push(run_cli, corpus, "--dry-run", "--shard-size", "0.05")
    assert done.code == 0
    assert done.out.startswith("train: 12 clips, 0.2 MB in ")
    assert "--out FOLDER writes the files" in done.err
    assert (sorted(tmp_path.iterdir()), hub.seen) == (before, [])
    done = push(run_cli, corpus, "--dry-run", "--out", tmp_path / "kept")
    assert (tmp_path / "kept" / "README.md").is_file()
    assert hub.seen == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--split", "tset"], "has no split 'tset'"),
        (["--manifest", "none.parquet"], "no such file"),
        (["--audio", "nowhere"], "no such folder"),
    ],
    ids=["split", "manifest", "audio"],
)
def test_what_cannot_be_packed_ends_in_a_message(run_cli, corpus, tmp_path, arguments, told):
    done = push(run_cli, corpus, *arguments, "--dry-run")
    assert (done.code, told in done.err) == (2, True), done.err
    done = run_cli("data", "push", "not-a-repo", "--track", corpus.track, "--audio", corpus.audio)
    assert (done.code, "is no name of a dataset repository" in done.err) == (2, True)


def test_what_is_there_is_not_sent_again_and_old_shards_go(corpus, hub, tmp_path):
    packing = planned(corpus, "id", limit=60_000)
    files = pack(packing, tmp_path / "one")
    send(REPO, packing, files)
    kept = {name: path.read_bytes() for name, path in files.items() if name != "README.md"}
    assert kept.items() <= hub.files(REPO).items()
    titles = hub.titles(REPO)
    send(REPO, packing, files)
    assert hub.titles(REPO) == titles
    other = planned(corpus, "train")
    send(REPO, other, pack(other, tmp_path / "two"))
    fewer = planned(corpus, "id")
    send(REPO, fewer, pack(fewer, tmp_path / "three"))
    there = [path for path in hub.files(REPO) if path.startswith("data/")]
    assert there == ["data/id-00000-of-00001.parquet", "data/train-00000-of-00001.parquet"]
    said = yaml.safe_load(hub.files(REPO)["README.md"].decode().split("---\n")[1])
    assert [d["split"] for d in said["configs"][0]["data_files"]] == ["train", "id"]
    assert f'load_dataset("{REPO}"' in hub.files(REPO)["README.md"].decode()


LOAD = """
import hashlib, json, sys
import cfbench, datasets
data = datasets.load_dataset(sys.argv[1], split="id")
stream = datasets.load_dataset(sys.argv[1], split="id", streaming=True)
told = {
    row["utt_id"]: [hashlib.sha256(row["audio"]["bytes"]).hexdigest(), row["vq"]] for row in data
}
assert [row["utt_id"] for row in stream] == list(told)
print(json.dumps({"rows": told, "samples": cfbench.read_audio(data[0]).size}))
"""


@pytest.mark.slow
def test_pushed_clips_come_back_through_datasets(corpus, tmp_path):
    with Hub() as hub:
        environment = hub.environment(tmp_path / "home", hub.sign_up("lab"))
        command = [sys.executable, "-m", "cfbench", "data", "push", REPO, "--private"]
        command += ["--track", str(corpus.track), "--audio", str(corpus.audio)]
        command += ["--shard-size", "0.06", "--out", str(tmp_path / "out")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1].startswith(f"{hub.url}/datasets/{REPO}/commit/")
        loaded = subprocess.run(
            [sys.executable, "-c", LOAD, REPO], env=environment, capture_output=True, text=True
        )
    assert loaded.returncode == 0, loaded.stderr[-2000:]
    said = json.loads(loaded.stdout)
    plain = cfbench.load_dataset(str(corpus.track), "id", audio=corpus.audio)
    assert said["rows"] == {
        row["utt_id"]: [
            hashlib.sha256(Path(row["audio"]["path"]).read_bytes()).hexdigest(),
            row["vq"],
        ]
        for row in plain
    }
    assert said["samples"] == cfbench.read_audio(plain[0]).size
