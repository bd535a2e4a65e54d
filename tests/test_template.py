"""Empty predictions files to fill in."""

from pathlib import Path

import polars as pl
import pytest

import samples
from cfbench.predictions import read_predictions
from cfbench.tables import read_table

NUMBER_COLUMNS = samples.probability_frame().columns
SUFFIXES = ("csv", "tsv", "jsonl", "parquet")


def read(path: Path) -> pl.DataFrame:
    return read_table(path, lambda name: False).frame


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_template_has_every_utterance_and_every_column(
    run_cli, tmp_path: Path, lists: Path, suffix: str
) -> None:
    path = tmp_path / f"t.{suffix}"
    result = run_cli("template", "--protocol", lists, "--out", path)
    assert (result.code, result.out) == (0, "")
    assert f"{path}: 34 utterances to fill in" in result.err
    frame = read(path)
    assert frame.columns == NUMBER_COLUMNS
    assert sorted(frame["utt_id"]) == sorted(row.utt_id for row in samples.EVERYTHING)
    assert set(frame.drop("utt_id").null_count().row(0)) == {frame.height}


def test_a_template_that_is_filled_in_is_scored(run_cli, tmp_path: Path, lists: Path) -> None:
    path = tmp_path / "t.csv"
    run_cli("template", "--protocol", lists, "--out", path)
    filled = read(path).select("utt_id").join(samples.probability_frame(), on="utt_id")
    filled.write_csv(path)
    assert run_cli("score", path, "--protocol", lists, "--bootstrap", 0).code == 0


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_a_template_that_is_not_filled_in_is_refused(
    run_cli, tmp_path: Path, lists: Path, suffix: str
) -> None:
    path = tmp_path / f"t.{suffix}"
    run_cli("template", "--protocol", lists, "--out", path)
    result = run_cli("validate", path, "--protocol", lists)
    assert (result.code, result.out) == (2, "")
    assert "34 values of bin_bonafide are empty" in result.err


def test_labels_splits_and_tasks_can_be_chosen(run_cli, tmp_path: Path, lists: Path) -> None:
    path = tmp_path / "t.csv"
    options = ("--labels", "--split", "ood", "--tasks", "dec,vq")
    assert run_cli("template", "--protocol", lists, "--out", path, *options).code == 0
    frame = read(path)
    assert frame.columns == ["utt_id", "vq", "dec"]
    assert set(frame["utt_id"]) == {row.utt_id for row in samples.COSG}


def test_a_file_that_is_there_is_replaced_only_by_force(
    run_cli, tmp_path: Path, lists: Path
) -> None:
    path = tmp_path / "t.csv"
    path.write_text("mine\n")
    refused = run_cli("template", "--protocol", lists, "--out", path)
    assert (refused.code, refused.out) == (2, "")
    assert f"error: {path}: is there already" in refused.err
    assert "--force" in refused.err
    assert path.read_text() == "mine\n"
    assert run_cli("template", "--protocol", lists, "--out", path, "--force").code == 0
    assert read(path).height == 34


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("t.xlsx", (), ".csv"),
        ("t", (), ".csv"),
        ("t.csv.gz", (), "compress"),
        ("t.jsonl.zst", (), "compress"),
        ("nowhere/t.csv", (), "cannot be written"),
        ("t.csv", ("--split", "odd"), "mean 'ood'"),
        ("t.csv", ("--tasks", "vqq"), "mean 'vq'"),
        ("t.csv", ("--track", "codecfake"), "mean 'codecfake-plus'"),
    ],
    ids=["suffix", "no suffix", "gz", "zst", "folder", "split", "task", "track"],
)
def test_what_cannot_be_written_is_refused(
    run_cli, tmp_path: Path, lists: Path, name: str, options: tuple[str, ...], says: str
) -> None:
    before = sorted(tmp_path.iterdir())
    result = run_cli("template", "--protocol", lists, "--out", tmp_path / name, *options)
    assert (result.code, result.out) == (2, "")
    assert result.err.startswith("error: ")
    assert says in result.err
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_is_not_replaced_even_by_force(run_cli, tmp_path: Path, lists: Path) -> None:
    folder = tmp_path / "t.csv"
    folder.mkdir()
    result = run_cli("template", "--protocol", lists, "--out", folder, "--force")
    assert (result.code, result.out) == (2, "")
    assert folder.is_dir()


def test_no_other_file_is_left_behind(run_cli, tmp_path: Path, lists: Path) -> None:
    run_cli("template", "--protocol", lists, "--out", tmp_path / "t.csv")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lists", "t.csv"]


def test_ids_of_a_template_are_those_of_the_protocol(run_cli, tmp_path: Path, lists: Path) -> None:
    path = tmp_path / "t.csv"
    run_cli("template", "--protocol", lists, "--out", path, "--labels", "--tasks", "vq")
    frame = read(path).with_columns(vq=pl.lit("mvq"))
    assert read_predictions(frame).frame.height == 34
