"""`cfbench data verify`: what scoring and training rely on, and what of it is not in order."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import speech
from cfbench import data_audit
from cfbench.api import read_protocol
from cfbench.protocol import Protocol
from cfbench.tasks import find_track
from speech import Corpus


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Corpus:
    return speech.make_corpus(tmp_path_factory.mktemp("made"), [("id", 3), ("ood", 2)])


@pytest.fixture
def corpus(made, tmp_path) -> Corpus:
    """A copy that a test may spoil, with a manifest beside it."""
    shutil.copytree(made.track.parent, tmp_path / "c")
    return Corpus(tmp_path / "c" / "made-up.toml", tmp_path / "c" / "audio")


@pytest.fixture
def manifest(run_cli, corpus, tmp_path) -> Path:
    out = tmp_path / "manifest.parquet"
    assert run_cli("data", "index", corpus.audio, "--track", corpus.track, "-o", out).code == 0
    return out


def verify(run_cli, corpus: Corpus, *arguments: object):
    done = run_cli("data", "verify", "--track", corpus.track, *arguments, "--json")
    said = json.loads(done.out)
    assert (done.code == 0) == said["sound"]
    return said["sound"], {f["key"]: f for f in said["findings"] if f["key"] != "list"}


def test_what_is_in_order_is_said_to_be(run_cli, corpus, manifest):
    for arguments in ([corpus.audio], ["--manifest", manifest]):
        sound, findings = verify(run_cli, corpus, *arguments)
        assert sound
        assert set(findings) == {"decoded"}
    assert findings["decoded"]["message"] == (
        "decoded all 20 clips of utterances; compared SHA-256 with the manifest for 20"
    )
    _, findings = verify(run_cli, corpus, "--manifest", manifest, "--sample", "7")
    assert findings["decoded"]["message"].startswith("decoded 7 of 20 clips")
    people = run_cli("data", "verify", "--track", corpus.track, "--manifest", manifest)
    assert people.out.splitlines()[-1] == "in order"


def spoil_content(path: Path) -> None:
    state = path.stat()
    content = bytearray(path.read_bytes())
    content[-2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))


def spoil_length(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def silence(path: Path) -> None:
    soundfile.write(path, np.zeros(9600), 16_000)


@pytest.mark.parametrize(
    ("spoil", "keys"),
    [
        (Path.unlink, {"gone"}),
        (spoil_content, {"changed-scored"}),
        (spoil_length, {"resized"}),
    ],
    ids=["gone", "content", "length"],
)
def test_what_has_changed_since_the_index_is_an_error(run_cli, corpus, manifest, spoil, keys):
    victim = corpus.audio / "id_000_rvq.wav"
    spoil(victim)
    sound, findings = verify(run_cli, corpus, "--manifest", manifest)
    assert not sound
    assert set(findings) == {*keys, "decoded"}
    assert [findings[key]["names"] for key in keys] == [["id_000_rvq.wav"]]


def test_silence_is_found_with_and_without_a_manifest(run_cli, corpus, tmp_path):
    silence(corpus.audio / "id_001_rvq.wav")
    sound, findings = verify(run_cli, corpus, corpus.audio)
    assert not sound
    assert "silent" in findings["undecodable-scored"]["names"][0]


def test_what_is_odd_is_a_warning(run_cli, corpus, tmp_path):
    clip = soundfile.read(corpus.audio / "id_000_rvq.wav")[0]
    soundfile.write(corpus.audio / "id_000_rvq.wav", np.tile(clip, 2), 32_000)
    soundfile.write(corpus.audio / "id_000_single.wav", clip[:1600], 16_000)
    shutil.copy(corpus.audio / "id_002_rvq.wav", corpus.audio / "ood_000_rvq.wav")
    sound, findings = verify(run_cli, corpus, corpus.audio)
    assert sound
    assert {key: f["level"] for key, f in findings.items()} == {
        "form": "warning",
        "lengths": "warning",
        "duplicates-splits": "warning",
        "decoded": "note",
    }
    assert findings["lengths"]["names"] == ["id_000_single (0.10 s)"]
    assert findings["duplicates-splits"]["names"] == ["id_002_rvq = ood_000_rvq"]


def test_new_files_and_another_protocol_are_said(run_cli, corpus, manifest):
    shutil.copy(corpus.audio / "id_000_rvq.wav", corpus.audio / "new.wav")
    _, findings = verify(run_cli, corpus, "--manifest", manifest)
    assert findings["new"]["names"] == ["new.wav"]
    table = corpus.track.parent / "protocol.csv"
    table.write_text(table.read_text().replace("ood_001,ood,speaker", "ood_001,ood,somebody"))
    find_track.cache_clear()
    sound, findings = verify(run_cli, corpus, "--manifest", manifest)
    assert not sound
    assert findings["manifest-protocol"]["names"] == ["ood"]


def test_a_manifest_is_checked_where_its_files_are_now(run_cli, corpus, manifest, tmp_path):
    corpus.audio.rename(tmp_path / "moved")
    sound, findings = verify(run_cli, corpus, tmp_path / "moved", "--manifest", manifest)
    assert (sound, set(findings)) == (True, {"decoded"})
    done = run_cli("data", "verify", "a", "b", "--track", corpus.track, "--manifest", manifest)
    assert (done.code, "is of 1 folder, but 2 were named" in done.err) == (2, True)


# The published lists.


def lists_told(protocol: Protocol, folders=()) -> dict[str, str]:
    return {
        f.message.split(" has ")[0]: f.level for f in data_audit._of_the_lists(protocol, folders)
    }


def test_published_lists_are_known_and_others_are_not(protocols):
    whole = read_protocol(protocols / "evaluation")
    assert lists_told(whole) == {
        "split id: CoRS_ALL as published": "note",
        "split ood: CoSG_ALL as published": "note",
    }
    from dataclasses import replace

    less = replace(whole, frame=whole.frame[1:])
    assert set(lists_told(less).values()) == {"error", "note"}
    train = read_protocol(protocols / "training" / "train_mult_learn.txt")
    assert lists_told(train) == {"split train: train_mult_learn as published": "note"}


def test_counts_are_those_of_the_lists(protocols):
    """The table of counts against the authors' own lists."""
    known = {(c.split, c.bonafide, c.spoof) for c in data_audit.PUBLISHED["codecfake-plus"]}
    paths = [*(protocols / "evaluation").glob("*.txt"), *(protocols / "training").glob("*.txt")]
    assert len(paths) == 12
    for path in paths:
        frame = read_protocol(path).frame
        real = int((frame["bin"] == "bonafide").sum())
        assert (frame["split"][0], real, frame.height - real) in known, path


def test_a_hub_list_that_is_not_the_hubs_is_said(corpus, protocols, tmp_path):
    whole = read_protocol(protocols / "evaluation")
    (tmp_path / "CoSG_labels.txt").write_text("Model ClipID QUA AUX DEC Label\n")
    told = data_audit._of_the_lists(whole, [tmp_path])
    assert [f.level for f in told if f.key == "hub-list"] == ["warning"]
