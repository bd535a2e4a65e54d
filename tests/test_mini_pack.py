"""From clips and rows to what a track ships."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

import mini_data
from cfbench import api
from cfbench.errors import CfbenchError
from cfbench.mini.fingerprints import describe
from cfbench.mini.pack import pack
from cfbench.mini.resynthesis import read_pcm
from mini_data import Mini
from tiny_codecs import channel


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    return mini_data.make(tmp_path_factory.mktemp("mini"))


def files(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and "codecs" not in path.parts
    }


def test_the_files_are_those_that_are_described(mini):
    assert set(files(mini.root)) == {
        "protocol.csv", "held-back.csv", "clips/digests.parquet",
        *(
            f"clips/{licence}/{name}"
            for licence in ("GPL-2.0", "CC-BY-3.0")
            for name in ("test.parquet", "sources.parquet", "LICENSE.txt", "ATTRIBUTION.md")
        ),
    }  # fmt: skip


def test_only_sources_and_tests_are_shipped(mini):
    shipped = pl.concat(pl.read_parquet(path) for path in mini.root.glob("clips/*/*.parquet"))
    assert set(shipped["utt_id"]) == set(mini.rows["utt_id"]) - mini.made
    assert not shipped["utt_id"].is_duplicated().any()
    for utt_id, flac in shipped.iter_rows():
        (mini.root.parent / "x.flac").write_bytes(flac)
        was = read_pcm(mini.clips / f"{utt_id}.flac")
        assert np.array_equal(read_pcm(mini.root.parent / "x.flac"), was)


def test_every_clip_has_its_digest(mini):
    digests = pl.read_parquet(mini.root / "clips" / "digests.parquet")
    assert digests["utt_id"].to_list() == sorted(mini.rows["utt_id"])
    for row in digests.iter_rows(named=True):
        utt_id = row["utt_id"]
        said = describe(channel(read_pcm(mini.clips / f"{utt_id}.flac"), utt_id))
        assert (row["samples"], row["sha256"]) == (said.samples, said.sha256)
        assert row["fingerprint"] == (said.fingerprint if utt_id in mini.made else None)


def test_labels_that_are_held_back_are_nowhere(mini):
    hidden = set(mini.rows.filter("held_back")["utt_id"])
    protocol = api.read_protocol(None, mini.track)
    assert set(protocol.held_back["utt_id"]) == hidden
    assert not hidden & set(protocol.frame["utt_id"])
    assert (mini.root / "held-back.csv").read_text().startswith("utt_id,split\nid-01,id\n")


def test_the_same_clips_give_the_same_bytes_in_any_order(mini, tmp_path):
    mini.pack(tmp_path, mini.rows.sample(fraction=1, shuffle=True, seed=2))
    assert files(tmp_path) == files(mini.root)
    # What another packing has left does not stay.
    some = mini.rows.filter((pl.col("licence") != "GPL-2.0") | (pl.col("split") != "train"))
    mini.pack(tmp_path, some)
    assert "clips/GPL-2.0/sources.parquet" not in files(tmp_path)


def changed(utt_id: str, /, **values: object) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(rows: pl.DataFrame) -> pl.DataFrame:
        here = pl.col("utt_id") == utt_id
        return rows.with_columns(
            pl.when(here).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
            for name, value in values.items()
        )

    return change


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda rows: rows.drop("licence", "group"), "the rows lack group, licence"),
        (changed("id-00", utt_id="../x"), "cannot be the name of a file: ../x"),
        (changed("id-00", utt_id="ID-02"), "another one has, but for case: ID-02, id-02"),
        (changed("train-00", held_back=True), "held back in a split that is trained on: train-00"),
        (changed("id-01-1", utt_id="id-01-RVQ"), "whose utt_id names the codec: id-01-RVQ"),
        (changed("train-00-3", group="id-00"), "no bona fide clip of its split"),
        (changed("train-00-3", group="train-01-1"), "no bona fide clip of its split"),
        (changed("id-00", licence="MIT"), "LICENSE.txt: no such file"),
        (changed("id-00", utt_id="id-99"), "no clip of id-99"),
    ],
    ids=["columns", "name", "case", "train", "codec", "split", "fake", "licence", "clip"],
)
def test_what_cannot_be_packed_is_an_error(mini, tmp_path, change, told):
    with pytest.raises(CfbenchError) as error:
        pack(change(mini.rows), mini.clips, mini.licences, tmp_path / "out")
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("rate", "channels", "subtype"),
    [(8000, 1, "PCM_16"), (16000, 2, "PCM_16"), (16000, 1, "PCM_24")],
)
def test_a_clip_of_another_form_is_an_error(mini, tmp_path, rate, channels, subtype):
    shutil.copytree(mini.clips, tmp_path / "clips")
    sound = np.zeros((800, channels)) + 0.1
    soundfile.write(tmp_path / "clips" / "id-00.flac", sound, rate, subtype=subtype)
    with pytest.raises(CfbenchError, match=r"id-00\.flac: .*\n.*16,000 Hz, mono, 16 bits"):
        pack(mini.rows, tmp_path / "clips", mini.licences, tmp_path / "out")
