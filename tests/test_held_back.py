"""Utterances whose labels are held back: they may be answered, and are not scored."""

import json
from pathlib import Path

import polars as pl
import pytest

import samples
from cfbench import api
from cfbench.errors import CfbenchError
from cfbench.scoring import held_back_note
from cfbench.tasks import Track, find_track

TRACK = samples.PARTLY_PUBLIC
HELD = [row for row in samples.EVERYTHING if row.group in ("p228_901", "USLM")]
PUBLIC = [row for row in samples.EVERYTHING if row not in HELD]
TOLD = held_back_note(len(HELD))


@pytest.fixture
def track(tmp_path: Path) -> Path:
    """A track of the user's with both tables."""
    samples.protocol_frame(PUBLIC).drop("subset").write_csv(tmp_path / "protocol.csv")
    held = samples.protocol_frame(HELD).select("utt_id", "split")
    held.write_csv(tmp_path / "held-back.csv")
    (tmp_path / "partly.toml").write_text(TRACK)
    find_track.cache_clear()
    return tmp_path / "partly.toml"


def load(track: Path) -> Track:
    find_track.cache_clear()
    return find_track(str(track))


def test_answers_for_them_change_nothing_but_their_count(track):
    every = api.score(samples.probability_frame(), track=str(track), bootstrap=20)
    public = api.score(samples.probability_frame(PUBLIC), track=str(track), bootstrap=20)
    assert every.predictions.held_back == len(HELD)
    assert TOLD in every.notes
    assert public.predictions.held_back == 0
    assert not [note for note in public.notes if "held back" in note]
    alike = {"held_back": 0}
    same = every.model_copy(
        update={
            "predictions": every.predictions.model_copy(update=alike),
            "notes": tuple(note for note in every.notes if note != TOLD),
        }
    )
    assert same.to_json() == public.to_json()


def test_some_may_be_answered_and_others_not(track):
    some = api.score(samples.probability_frame([*PUBLIC, *HELD[:2]]), track=str(track), bootstrap=0)
    assert some.predictions.held_back == 2
    assert "2 answers for utterances whose labels are held back, not scored" in some.notes


def test_another_surplus_id_is_an_error_still(track):
    answers = samples.probability_frame()
    strange = answers.head(1).with_columns(utt_id=pl.lit("nobody"))
    with pytest.raises(CfbenchError, match="1 utt_id is not in the protocol: nobody") as error:
        api.score(pl.concat([answers, strange]), track=str(track))
    assert HELD[0].utt_id not in str(error.value)


@pytest.mark.parametrize("value", [float("nan"), None, 7.0], ids=str)
def test_an_answer_for_one_must_be_valid(track, value):
    answers = samples.probability_frame().with_columns(
        vq_mvq=pl.when(pl.col("utt_id") == HELD[0].utt_id).then(value).otherwise(pl.col("vq_mvq"))
    )
    row = 1 + answers["utt_id"].to_list().index(HELD[0].utt_id)
    with pytest.raises(CfbenchError, match=f"row {row}"):
        api.score(answers, track=str(track))


def test_a_public_utterance_must_be_answered_still(track):
    answers = samples.probability_frame([*PUBLIC[1:], *HELD])
    with pytest.raises(CfbenchError, match="1 utterance is missing"):
        api.score(answers, track=str(track))


def test_who_has_the_labels_scores_them(track):
    card = api.score(
        samples.probability_frame(), samples.protocol_frame(), track=str(track), bootstrap=0
    )
    assert card.predictions.held_back == 0
    assert card.predictions.utterances == len(samples.EVERYTHING)


def test_score_says_so_once_and_keeps_it(run_cli, track, tmp_path):
    path = samples.write_frame(samples.probability_frame(), tmp_path / "p.parquet")
    out = tmp_path / "card.json"
    told = run_cli("score", path, "--track", track, "--bootstrap", "0", "--json", out)
    assert told.code == 0
    assert [line for line in told.err.splitlines() if "held back" in line] == [f"note: {TOLD}"]
    assert TOLD in told.out
    assert json.loads(out.read_text())["predictions"]["held_back"] == len(HELD)
    assert run_cli("show", out).out == told.out
    assert run_cli("validate", path, "--track", track).code == 0


def test_a_template_asks_for_them_too(run_cli, track, tmp_path):
    assert run_cli("template", "--track", track, "--out", tmp_path / "t.csv").code == 0
    asked = pl.read_csv(tmp_path / "t.csv")["utt_id"].to_list()
    assert asked == sorted(row.utt_id for row in samples.EVERYTHING)
    run_cli("template", "--track", track, "--split", "id", "--out", tmp_path / "id.csv")
    asked = pl.read_csv(tmp_path / "id.csv")["utt_id"].to_list()
    assert asked == sorted(row.utt_id for row in samples.CORS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("utt_id,split\nx1,id\nx1,id\n", "1 row with an utt_id that stands above already: line 3"),
        ("utt_id,split\nx1,id\nx2,train\n", "1 row with an unknown split: line 3"),
        ("utt_id,split\nx1,id\n,id\n", "1 row with no utt_id that can be printed: line 3"),
        ("utt_id\nx1\n", "its columns are utt_id"),
        ("utt_id,split,vq\nx1,id,mvq\n", "its columns are utt_id, split, vq"),
        (f"utt_id,split\n{PUBLIC[3].utt_id},id\n", f"held back: {PUBLIC[3].utt_id}"),
    ],
    ids=["twice", "split", "empty", "lacking", "surplus", "public too"],
)
def test_a_broken_list_is_refused(track, text, told):
    (track.parent / "held-back.csv").write_text(text)
    with pytest.raises(CfbenchError) as error:
        api.read_protocol(None, load(track))
    assert told in str(error.value)


def test_a_list_that_is_not_there_is_an_error(track):
    (track.parent / "held-back.csv").unlink()
    with pytest.raises(CfbenchError, match=r"held-back\.csv"):
        api.read_protocol(None, load(track))


def test_it_belongs_to_a_protocol_of_the_tracks_own(track):
    track.write_text(TRACK.replace('protocol = "protocol.csv"\n', ""))
    with pytest.raises(CfbenchError, match="held_back: only beside a protocol of the track's own"):
        load(track)
