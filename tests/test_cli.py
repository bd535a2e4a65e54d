"""What the commands print; what they refuse is in test_bad_inputs.py."""

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import pytest

import cfbench
from cfbench import content
from cfbench.errors import CfbenchError
from cfbench.scorecard import read_scorecard
from samples import label_frame, probability_frame, protocol_frame

EXAMPLE = ("--track", "example", "--bootstrap", "50")


@pytest.fixture
def predictions() -> str:
    with content.as_path("tasks/example/predictions.csv") as path:
        return str(path)


def test_the_version_is_printed(run_cli):
    assert run_cli("--version").out == f"cfbench {cfbench.__version__}\n"


def test_without_a_command_the_help_names_them_all(run_cli):
    told = run_cli("--help").out
    for command in ("score", "show", "validate", "template", "schema", "protocol", "tasks"):
        assert f"\n  {command}" in told


def test_score_prints_a_row_a_task_and_the_trivial_predictors_below(run_cli, predictions):
    told = run_cli("score", predictions, *EXAMPLE)
    assert told.code == 0
    lines = told.out.splitlines()
    rows = [
        next(i for i, line in enumerate(lines) if word in line)
        for word in (
            "(bin)",
            "(vq)",
            "(aux)",
            "(dec)",
            "vq: perfect detector, majority spoofed class",
        )
    ]
    assert rows == sorted(rows)
    assert "[" in lines[rows[1]]
    assert lines[rows[1]].count("]") == 3  # id, ood and the drop have intervals


def test_explain_prints_everything_that_is_in_the_scorecard(run_cli, predictions):
    told = run_cli("score", predictions, *EXAMPLE, "--explain").out
    card = cfbench.score(predictions, track="example", bootstrap=50)
    for metric in card.metrics.values():
        assert metric.definition.split()[0] in told
    for split in card.tasks["vq"].splits.values():
        for source in split.sources:
            assert source.source in told
    for words in (
        "ood/unseen-codec",
        "ood without",
        "(worst)",
        "weighing the same",
        "exact match",
        "fixed at the EER of id",
        "utterances resampled",
    ):
        assert words in told


def test_a_saved_scorecard_prints_what_scoring_printed(run_cli, predictions, tmp_path):
    saved = tmp_path / "card.json"
    scored = run_cli("score", predictions, *EXAMPLE, "--json", str(saved), "--explain")
    assert f"the scorecard is in {saved}" in scored.err
    assert run_cli("show", str(saved), "--explain").out == scored.out
    printed = run_cli("score", predictions, *EXAMPLE, "--json", "-")
    assert printed.out == saved.read_text()
    assert read_scorecard(saved).to_json() == saved.read_text()


def test_what_is_no_scorecard_is_refused(run_cli, tmp_path):
    path = tmp_path / "card.json"
    assert "cannot be opened" in run_cli("show", str(path)).err
    path.write_text("{}")
    told = run_cli("show", str(path))
    assert told.code == 2
    assert "no scorecard of schema 1" in told.err
    assert "--json" in told.err


def test_hard_labels_have_no_intervals_of_scores_and_say_so(run_cli, tmp_path):
    protocol, said = tmp_path / "protocol.csv", tmp_path / "said.csv"
    protocol_frame().write_csv(protocol)
    label_frame().write_csv(said)
    told = run_cli(
        "score", str(said), "--protocol", str(protocol), "--bootstrap", "20", "--explain"
    )
    assert told.code == 0
    assert "n/a" in told.out
    assert "macro-F1" in next(line for line in told.out.splitlines() if "(bin)" in line)


def test_a_track_without_spoof_detection_is_scored(tmp_path):
    track = tmp_path / "own.toml"
    track.write_text(
        'name = "own"\ntitle = "Own"\nversion = "1"\ndescription = ""\ntasks = ["vq"]\n'
        'scored = ["id"]\n[splits.id]\ntitle = "All"\ngroup = "clip"\n'
    )
    protocol = pl.DataFrame(
        {
            "utt_id": ["a", "b", "c"],
            "split": "id",
            "source": ["VCTK", "x", "x"],
            "group": ["1", "1", "2"],
            "vq": ["real", "mvq", "mvq"],
        }
    )
    said = pl.DataFrame({"utt_id": ["a", "b", "c"], "vq": ["real", "mvq", "svq"]})
    card = cfbench.score(said, protocol, track=str(track))
    assert card.tasks["vq"].splits["id"].worst_source == "x"
    assert card.tasks["vq"].splits["id"].overall.metrics["accuracy"].value == pytest.approx(2 / 3)
    with pytest.raises(CfbenchError, match="answer dec, which own does not ask"):
        cfbench.score(
            said.rename({"vq": "dec"}).with_columns(dec=pl.lit("real")), protocol, track=str(track)
        )


def test_a_protocol_without_scored_splits_says_what_it_has():
    protocol = protocol_frame().with_columns(split=pl.lit("train"))
    with pytest.raises(CfbenchError, match="no utterances of the scored splits") as caught:
        cfbench.score(probability_frame(), protocol)
    assert "train" in str(caught.value)


def test_a_file_of_the_predictions_is_never_replaced_by_the_scorecard(
    run_cli, predictions, tmp_path
):
    copy = Path(tmp_path / "said.csv")
    copy.write_bytes(Path(predictions).read_bytes())
    told = run_cli("score", str(copy), *EXAMPLE, "--json", str(copy))
    assert told.code == 2
    assert copy.read_bytes() == Path(predictions).read_bytes()


def test_words_in_brackets_and_control_characters_reach_no_terminal_as_such(run_cli, tmp_path):
    track, protocol, said = (tmp_path / name for name in ("own.toml", "protocol.csv", "said.csv"))
    track.write_text(
        'name = "own"\ntitle = "[/b] Own [red]"\nversion = "1"\ndescription = "[x [/y]"\n'
        'tasks = ["vq"]\nscored = ["id"]\n[splits.id]\ntitle = "[/z]"\ngroup = "[/clip]"\n'
    )
    protocol.write_text(
        "utt_id,split,source,group,vq\na,id,[/b],1,real\nb,id,[red]x,2,mvq\nc,id,y,3,svq\n"
    )
    said.write_text("utt_id,vq\na,real\nb,mvq\nc,mvq\n")
    told = run_cli("score", said, "--track", track, "--protocol", protocol, "--explain")
    assert told.code == 0
    for words in ("[/b] Own [red]", "[red]x", "[/clip]"):
        assert words in told.out
    assert "\x1b" not in told.out
    for command in (("tracks", "show", track), ("protocol", "show", protocol, "--track", track)):
        shown = run_cli(*command)
        assert shown.code == 0
        assert "[/" in shown.out
    protocol.write_text(protocol.read_text().replace("y,3", "\x1b[31my,3"))
    refused = run_cli("protocol", "show", protocol, "--track", track)
    assert refused.code == 2
    assert "control character: line 4" in refused.err
    assert "\x1b" not in run_cli("score", "nope\x1b[2J.csv").err


def test_a_protocol_that_the_environment_names_wrongly_is_an_error(
    run_cli, predictions, monkeypatch
):
    monkeypatch.setenv("CFBENCH_PROTOCOLS", "/nowhere/at/all")
    told = run_cli("validate", predictions)
    assert told.code == 2
    assert "/nowhere/at/all: no such file" in told.err


def test_tables_and_json_cannot_both_go_to_standard_output(run_cli, predictions):
    told = run_cli("score", predictions, *EXAMPLE, "--explain", "--json", "-")
    assert told.code == 2
    assert told.out == ""


def test_the_scorecard_replaces_only_what_may_be_one(run_cli, predictions, tmp_path):
    protocol, saved, link = (tmp_path / name for name in ("list.csv", "card.json", "link.json"))
    protocol.write_text("utt_id\n")
    told = run_cli("score", predictions, *EXAMPLE, "--json", protocol)
    assert told.code == 2
    assert protocol.read_text() == "utt_id\n"
    saved.write_text("{}")
    link.symlink_to(saved)
    assert run_cli("score", predictions, *EXAMPLE, "--json", link).code == 0
    assert link.is_symlink()
    assert read_scorecard(saved).track.name == "example"


def test_a_device_is_written_to_and_not_replaced(run_cli, predictions, tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    assert run_cli("score", predictions, *EXAMPLE, "--json", pipe).code == 0
    reader.join(timeout=30)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert received[0].startswith("{")


def test_a_pipe_is_no_predictions_file(run_cli, tmp_path):
    pipe = tmp_path / "pipe.csv"
    os.mkfifo(pipe)
    told = run_cli("score", pipe, *EXAMPLE)
    assert told.code == 2
    assert "save it to a file first" in told.err


def test_a_terminal_that_knows_only_ascii_gets_the_table(predictions):
    told = subprocess.run(
        [sys.executable, "-m", "cfbench", "score", predictions, *EXAMPLE],
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"Vector quantisation (vq)" in told.stdout


def test_nesting_without_end_is_refused(run_cli, tmp_path):
    track, said = tmp_path / "deep.toml", tmp_path / "deep.jsonl"
    track.write_text("a = " + "[" * 100_000)
    assert "not TOML" in run_cli("tracks", "show", track).err
    said.write_text("[" * 100_000 + "\n")
    assert "line 1: not JSON" in run_cli("score", said, *EXAMPLE).err
