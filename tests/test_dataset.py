"""A track as a Hugging Face dataset."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

import cfbench
import mini_data
from cfbench import CfbenchError, load_dataset, read_audio
from cfbench.mini import store
from cfbench.mini.resynthesis import read_pcm
from cfbench.tasks import load_tasks
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
        pcm = read_pcm(mini.clips / f"{row['utt_id']}.flac")
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
