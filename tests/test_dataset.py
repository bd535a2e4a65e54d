"""A track as a Hugging Face dataset."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import cfbench
import mini_data
import speech
import test_own_tasks
import tiny_codecs
from cfbench import CfbenchError, load_dataset, read_audio, read_protocol
from cfbench.audio import fit_window
from cfbench.dataset import Windows
from cfbench.manifest.making import make_manifest
from cfbench.manifest.table import FILES, read_manifest, write_manifest
from cfbench.mini import store
from cfbench.mini.resynthesis import read_pcm
from cfbench.tasks import find_track, load_tasks
from mini_data import Mini


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_data.make(tmp_path_factory.mktemp("mini"))


@pytest.fixture
def mini(made: Mini, monkeypatch: pytest.MonkeyPatch) -> Mini:
    monkeypatch.setenv("CFBENCH_CACHE", str(made.toml.parent / "cache"))
    monkeypatch.setattr(store, "MAKERS", mini_data.MAKERS)
    return made


@pytest.mark.parametrize("split", ["train", "id"])
def test_a_split_is_a_dataset_with_classes_and_paths(mini, split):
    data = load_dataset(mini.track, split)
    truth = mini.rows.filter((pl.col("split") == split) & ~pl.col("held_back")).sort("utt_id")
    assert list(data["utt_id"]) == truth["utt_id"].to_list()
    assert str(data.split) == split
    for name in ("speaker", "source", "group"):
        assert list(data[name]) == truth[name].to_list()
    for task_id, task in load_tasks().items():
        feature = data.features[task_id]
        assert tuple(feature.names) == task.class_names
        assert [feature.int2str(code) for code in data[task_id]] == truth[task_id].to_list()
    for row in data:
        utt_id = row["utt_id"]
        pcm = tiny_codecs.channel(read_pcm(mini.clips / f"{utt_id}.flac"), utt_id)
        assert row["audio"]["bytes"] is None
        heard = read_audio(row)
        assert heard.dtype == np.float32
        assert np.array_equal(heard, pcm.astype(np.float32) / 32768)


def test_what_is_held_back_is_there_when_asked_for_and_has_no_labels(mini):
    data = load_dataset(str(mini.toml), "ood", held_back=True)
    assert set(data["utt_id"]) == mini.ids("ood")
    hidden = set(mini.rows.filter("held_back")["utt_id"])
    for row in data:
        known = [row[name] is not None for name in ("vq", "bin", "group", "source", "speaker")]
        assert known == [row["utt_id"] not in hidden] * 5
        assert read_audio(row).size


def test_a_track_that_holds_labels_back_has_a_manifest_too(mini, run_cli, tmp_path):
    for split in ("train", "dev", "id", "ood"):
        load_dataset(mini.track, split, held_back=True)
    out = tmp_path / "m.parquet"
    done = run_cli("data", "index", "--track", mini.toml, "-o", out)
    assert (done.code, "error" in done.out, "surplus" in done.out) == (0, False, False)
    for held_back in (False, True):
        one = load_dataset(mini.track, "ood", held_back=held_back, manifest=out)
        two = load_dataset(mini.track, "ood", held_back=held_back)
        assert list(one["utt_id"]) == list(two["utt_id"])
        assert list(one["vq"]) == list(two["vq"])
    assert None in list(one["vq"])


def test_a_track_without_clips_is_read_from_a_folder(mini, tmp_path):
    protocol = tmp_path / "own.csv"
    mini.rows.drop("held_back", "licence").write_csv(protocol)
    track = mini.track.model_copy(
        update={"clips": None, "held_back": None, "protocol": str(protocol)}
    )
    with pytest.raises(CfbenchError, match="the clips of made-up-mini are not shipped"):
        load_dataset(track, "id")
    assert set(load_dataset(track, "id", audio=mini.clips)["utt_id"]) == mini.ids("id")
    with pytest.raises(CfbenchError, match="12 utterances have no audio file"):
        load_dataset(track, "id", audio=[tmp_path])


def test_what_cannot_be_loaded_is_said(mini, monkeypatch):
    with pytest.raises(CfbenchError, match=r"has no split 'tran' .did you mean 'train'"):
        load_dataset(mini.track, "tran")
    with pytest.raises(CfbenchError, match="no row of a dataset of cfbench: utt_id"):
        read_audio({"utt_id": "x"})
    monkeypatch.setattr("cfbench.dataset.find_spec", lambda name: None)
    with pytest.raises(CfbenchError, match=r"needs datasets.*\n.*cfbench\[data\]"):
        load_dataset(mini.track, "id")


def test_datasets_is_imported_when_it_is_asked_for() -> None:
    code = "import cfbench, sys; cfbench.load_dataset; print('datasets' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert {"load_dataset", "read_audio"} <= set(cfbench.__all__)


# A track of the user's own, from folders and from a manifest.


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> speech.Corpus:
    return speech.make_corpus(tmp_path_factory.mktemp("corpus"), [("train", 4), ("id", 3)])


@pytest.fixture(scope="module")
def manifest(corpus: speech.Corpus) -> Path:
    track = find_track(str(corpus.track))
    out = corpus.track.parent / "manifest.parquet"
    made = make_manifest([corpus.audio], read_protocol(track=track), out)
    assert made.report.sound
    return out


def test_a_manifest_gives_the_same_dataset_as_the_folder(corpus, manifest):
    track = str(corpus.track)
    by_folder = load_dataset(track, "id", audio=corpus.audio)
    by_manifest = load_dataset(track, "id", manifest=manifest)
    assert by_folder.features == by_manifest.features
    for one, two in zip(by_folder, by_manifest, strict=True):
        assert Path(one["audio"].pop("path")).samefile(two["audio"].pop("path"))
        assert one == two
    moved = load_dataset(track, "id", manifest=manifest, audio=corpus.audio)
    assert np.array_equal(read_audio(moved[1]), read_audio(by_folder[1]))
    again = load_dataset(
        track, "id", manifest=manifest, protocol=corpus.audio.parent / "protocol.csv"
    )
    assert list(again["utt_id"]) == list(by_folder["utt_id"])


def test_a_stream_gives_the_same_rows_in_the_same_order(corpus):
    rows = list(load_dataset(str(corpus.track), "train", audio=corpus.audio))
    stream = load_dataset(str(corpus.track), "train", audio=corpus.audio, streaming=True)
    assert list(stream) == rows
    assert stream.num_shards == 16
    batch = next(iter(stream.map(Windows("vq", 4000), batched=True, batch_size=3).iter(3)))
    assert np.asarray(batch["input_values"]).shape == (3, 4000)
    assert batch["labels"] == [row["vq"] for row in rows[:3]]


def test_windows_are_the_beginning_of_each_clip_or_the_clip_repeated(corpus):
    data = load_dataset(str(corpus.track), "id", audio=corpus.audio)
    for samples in (1000, 30_000):
        batch = data.with_transform(Windows("dec", samples))[:4]
        for row, heard, label in zip(data, batch["input_values"], batch["labels"], strict=False):
            assert heard.dtype == np.float32
            assert np.array_equal(heard, fit_window(read_audio(row), samples))
            assert label == row["dec"]


def test_bytes_are_decoded_like_the_file_that_they_are(corpus):
    row = load_dataset(str(corpus.track), "id", audio=corpus.audio)[0]
    path = Path(row["audio"]["path"])
    held = {"audio": {"bytes": path.read_bytes(), "path": "id/" + path.name}}
    assert np.array_equal(read_audio(held), read_audio(row))
    held["audio"]["bytes"] = b"no audio"
    with pytest.raises(CfbenchError, match=r"^id/id_000\.flac: not audio"):
        read_audio(held)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda frame: frame.filter(pl.col("utt_id") != "id_001"), "lacks 1 of 12 utterances"),
        (
            lambda frame: frame.with_columns(
                problem=pl.when(pl.col("utt_id") == "id_001").then(pl.lit("cut short"))
            ),
            r"1 clip is broken: id_001 .cut short",
        ),
        (
            lambda frame: pl.concat([frame, frame.filter(pl.col("utt_id") == "id_001")]),
            "1 utterance has more than one file: id_001",
        ),
        (lambda frame: frame.drop("utt_id").select(*FILES), "a share, without utterances"),
        (lambda frame: frame.filter(pl.col("split") != "id"), "has no utterances of split 'id'"),
    ],
    ids=["lacking", "broken", "twice", "share", "split"],
)
def test_a_manifest_that_is_not_in_order_gives_no_dataset(corpus, manifest, tmp_path, change, told):
    there = read_manifest(manifest)
    write_manifest(change(there.frame), there.roots, tmp_path / "m.parquet", there.said)
    with pytest.raises(CfbenchError, match=told):
        load_dataset(str(corpus.track), "id", manifest=tmp_path / "m.parquet")


def test_a_manifest_of_another_track_is_not_taken_for_this_ones(corpus, manifest):
    with pytest.raises(CfbenchError, match="made for the track made-up, not codecfake-plus"):
        load_dataset("codecfake-plus", "id", manifest=manifest)


def test_tasks_of_a_tracks_own_are_in_manifest_and_dataset(corpus, tmp_path, run_cli):
    path = test_own_tasks.write(tmp_path)
    rows = test_own_tasks.TRUTH.with_columns(
        utt_id=pl.Series(["id_000", "id_001", "id_002", *(f"train_00{n}" for n in range(4)), "x"])
    )[:7]
    rows.write_csv(tmp_path / "own.csv")
    out = tmp_path / "m.parquet"
    arguments = ["--track", path, "--protocol", tmp_path / "own.csv"]
    assert run_cli("data", "index", corpus.audio, *arguments, "-o", out).code == 0
    for split in ("id", "ood"):
        plain = load_dataset(
            str(path), split, audio=corpus.audio, protocol=tmp_path / "own.csv"
        ).remove_columns("audio")
        data = load_dataset(str(path), split, manifest=out).remove_columns("audio")
        assert list(data) == list(plain)
    names = data.features["codec"].names
    assert [c if c is None else names[c] for c in data["codec"]] == rows["codec"][3:].to_list()
    assert None in data["codec"]
    assert run_cli("data", "verify", *arguments, "--manifest", out).code == 0
    done = run_cli(
        "data", "push", "a/b", *arguments, "--manifest", out, "-o", tmp_path / "p", "--dry-run"
    )
    assert done.code == 0, done.err
    packed = pl.read_parquet(tmp_path / "p" / "data" / "ood-00000-of-00001.parquet")
    assert packed["codec"].to_list() == list(data["codec"])


@pytest.mark.slow
@pytest.mark.parametrize("streaming", [False, True])
def test_a_trainer_of_transformers_trains_on_it(corpus, tmp_path, streaming):
    import torch
    from transformers import Trainer, TrainingArguments

    class Tiny(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hear = torch.nn.Conv1d(1, 8, 400, stride=160)
            self.tell = torch.nn.Linear(8, 4)

        def forward(self, input_values, labels):
            heard = self.hear(input_values[:, None]).relu().mean(-1)
            logits = self.tell(heard)
            return {"loss": torch.nn.functional.cross_entropy(logits, labels), "logits": logits}

    data = load_dataset(str(corpus.track), "train", audio=corpus.audio, streaming=streaming)
    windows = Windows("vq", 8000)
    if streaming:
        ready = data.map(windows, batched=True, remove_columns=data.column_names)
    else:
        ready = data.with_transform(windows)
    how = TrainingArguments(
        output_dir=str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=4,
        remove_unused_columns=False,
        use_cpu=True,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )
    torch.manual_seed(0)
    model = Tiny()
    before = model.hear.weight.detach().clone()
    done = Trainer(model=model, args=how, train_dataset=ready).train()
    assert done.global_step == 2
    assert np.isfinite(done.training_loss)
    assert not torch.equal(before, model.hear.weight)
