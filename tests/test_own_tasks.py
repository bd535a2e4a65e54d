"""Tasks that a track brings itself: read, answered, scored, compared, and refused where wrong."""

import json
import re
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cfbench
import entries
import samples
from cfbench import api
from cfbench.compare import compare
from cfbench.errors import CfbenchError
from cfbench.leaderboard.ranking import rank
from cfbench.leaderboard.results import result_of
from cfbench.metrics.detection import det_curve, false_positive_rate_at_95
from cfbench.pairing import Key, replicated
from cfbench.protocol import summarise
from cfbench.report.data import report_of
from cfbench.scorecard import Scorecard, catalogue, json_schema, read_scorecard
from cfbench.tasks import TASK_IDS, Track, find_track, load_tasks
from cfbench.trivial import trivial_answers

CODECS = ("dac", "encodec", "snac")


def classes(task: str, *names: str) -> str:
    return "".join(
        f'\n[[classes]]\nname = "{name}"\ntitle = "{name.title()} codec"\nmeaning = "."\n'
        f'column = "{task}_{name}"\n'
        for name in names
    )


CODEC = """\
id = "codec"
name = "codec_identification"
title = "Codec"
version = "1"
kind = "classification"
question = "Which codec?"
headline = "macro_f1"
headline_for_labels = "macro_f1"
label_column = "codec"
partial = true
""" + classes("codec", *CODECS)

UNKNOWN = """\
id = "unknown"
name = "unknown_codec"
title = "Unknown codec"
version = "1"
kind = "detection"
question = "Is the codec unknown?"
headline = "auroc"
headline_for_labels = "macro_f1"
metrics = ["eer", "auroc", "fpr95"]
label_column = "unknown"
""" + classes("unknown", "known", "unknown")

TRACK = """\
name = "open"
title = "Open set"
version = "1"
description = "Made up."
task_files = ["codec.toml", "unknown.toml"]
tasks = ["codec", "unknown"]
scored = ["id", "ood"]

[splits.id]
title = "In"
group = "sentence"

[splits.ood]
title = "Out"
group = "sentence"
"""


def write(folder: Path, track: str = TRACK, codec: str = CODEC, unknown: str = UNKNOWN) -> Path:
    """A track file and its two tasks, in a folder of their own: tracks are cached by path."""
    place = folder / f"track{len(list(folder.iterdir()))}"
    place.mkdir()
    for name, text in (("open.toml", track), ("codec.toml", codec), ("unknown.toml", unknown)):
        (place / name).write_text(text)
    return place / "open.toml"


@pytest.fixture
def track(tmp_path: Path) -> Track:
    return find_track(str(write(tmp_path)))


# In domain every codec is known; out of domain two utterances are of other codecs.
TRUTH = pl.DataFrame(
    {
        "utt_id": ["i1", "i2", "i3", "k1", "k2", "k3", "u1", "u2"],
        "split": ["id"] * 3 + ["ood"] * 5,
        "source": [*CODECS, *CODECS, "mimi", "xcodec"],
        "group": [f"g{number}" for number in range(8)],
        "codec": [*CODECS, *CODECS, None, None],
        "unknown": ["known"] * 6 + ["unknown"] * 2,
    }
)
SAID = pl.DataFrame(
    {
        "utt_id": TRUTH["utt_id"],
        "codec_dac": [0.8, 0.1, 0.1, 0.7, 0.6, 0.1, 0.4, 0.3],
        "codec_encodec": [0.1, 0.8, 0.1, 0.2, 0.3, 0.1, 0.3, 0.4],
        "codec_snac": [0.1, 0.1, 0.8, 0.1, 0.1, 0.8, 0.3, 0.3],
        "unknown_unknown": [0.1, 0.2, 0.3, 0.1, 0.5, 0.7, 0.5, 0.9],
    }
)


def view(card: Scorecard, task: str, split: str = "ood"):
    return card.tasks[task].splits[split].overall


# Scored: values derived by hand


def test_a_task_is_scored_on_the_utterances_that_have_a_class_of_it(track: Track) -> None:
    card = cfbench.score(SAID, TRUTH, track=track, bootstrap=0)
    scored = view(card, "codec")
    assert (scored.utterances, scored.groups) == (3, 3)
    assert scored.support == {"dac": 1, "encodec": 1, "snac": 1}
    # encodec is taken for dac: F1 2/3, 0, 1.
    assert scored.confusion == ((1, 0, 0), (1, 0, 0), (0, 0, 1))
    assert scored.metrics["macro_f1"].value == pytest.approx(5 / 9)
    assert scored.metrics["accuracy"].value == pytest.approx(2 / 3)
    assert view(card, "codec", "id").metrics["macro_f1"].value == 1
    assert card.tasks["codec"].drop.number.value == pytest.approx(4 / 9)
    assert card.protocol["ood"].utterances == 5
    assert "codec, ood: asked of 3 of 5 utterances" in "\n".join(card.notes)
    assert not any("codec, id: asked" in note for note in card.notes)


def test_no_class_is_bona_fide_so_nothing_is_said_of_it(track: Track) -> None:
    card = cfbench.score(SAID, TRUTH, track=track, bootstrap=0)
    split = card.tasks["codec"].splits["ood"]
    assert "macro_f1_spoofed" not in split.overall.metrics
    assert set(split.trivial) == {"majority", "uniform"}
    assert {row.source for row in split.sources} == set(CODECS)
    assert all(row.bonafide_accuracy.value is None for row in split.sources)
    assert split.worst_source == "encodec"
    assert card.joint == {}


def test_unknown_codecs_are_detected(track: Track) -> None:
    card = cfbench.score(SAID, TRUTH, track=track, bootstrap=0)
    metrics = view(card, "unknown").metrics
    # 0.5 beats 0.1, ties with 0.5, loses to 0.7; 0.9 beats all three.
    assert metrics["auroc"].value == pytest.approx(4.5 / 6)
    # Both unknown ones are at 0.5 and above, and so are 0.5 and 0.7 of the known.
    assert metrics["fpr95"].value == pytest.approx(2 / 3)
    # At one half and above unknown is said: of 0.5, 0.7 wrongly, of 0.5, 0.9 rightly.
    assert view(card, "unknown").confusion == ((1, 2), (0, 2))
    assert metrics["brier"].value == pytest.approx((0.01 + 0.25 + 0.49 + 0.25 + 0.01) / 5)
    assert set(metrics) & {"min_dcf", "act_dcf", "cllr", "eer_paper"} == set()
    trivial = card.tasks["unknown"].splits["ood"].trivial
    assert {name: values["auroc"] for name, values in trivial.items()} == {
        "majority": 0.5,
        "uniform": 0.5,
    }
    assert all(row.eer is None for row in card.tasks["unknown"].splits["ood"].sources)


def test_with_one_class_only_a_score_has_no_metric_and_the_reason_is_given(track: Track) -> None:
    card = cfbench.score(SAID, TRUTH, track=track)
    metrics = view(card, "unknown", "id").metrics
    for name in ("eer", "auroc", "fpr95"):
        assert metrics[name].value is None
        assert metrics[name].reason == "only one of unknown codec and known codec occurs"
    assert metrics["accuracy"].value == 1
    assert card.tasks["unknown"].splits["id"].trivial["majority"]["auroc"] is None
    assert card.tasks["unknown"].drop.number.value is None
    assert card.tasks["unknown"].threshold_transfer is None


def test_labels_have_decisions_only(track: Track) -> None:
    said = SAID.select("utt_id", pl.lit("DAC").alias("codec"), unknown=TRUTH["unknown"])
    card = cfbench.score(said, TRUTH, track=track, bootstrap=0)
    assert {task.headline for task in card.tasks.values()} == {"macro_f1"}
    assert view(card, "unknown").metrics["fpr95"].reason == "only labels are given"
    assert view(card, "unknown").metrics["accuracy"].value == 1


def test_logits_of_a_detection_task_are_ratios(track: Track) -> None:
    logit = pl.col("unknown_unknown").log() - (1 - pl.col("unknown_unknown")).log()
    one = SAID.select("utt_id", logit)
    two = one.with_columns(unknown_known=pl.lit(7.0), unknown_unknown=7 + pl.col("unknown_unknown"))
    for said in (one, two):
        card = cfbench.score(said, TRUTH, track=track, bootstrap=0, logits=True)
        assert view(card, "unknown").metrics["auroc"].value == pytest.approx(4.5 / 6)
        assert view(card, "unknown").confusion == ((1, 2), (0, 2))


def test_a_missing_answer_is_the_worst_one(track: Track) -> None:
    said = SAID.filter(pl.col("utt_id") != "u2")
    with pytest.raises(CfbenchError, match="1 utterance is missing: u2"):
        cfbench.score(said, TRUTH, track=track)
    card = cfbench.score(said, TRUTH, track=track, allow_missing=True, bootstrap=0)
    # u2 is below all: its three pairs are lost, and whatever finds it accepts everyone.
    assert view(card, "unknown").metrics["auroc"].value == pytest.approx(1.5 / 6)
    assert view(card, "unknown").metrics["fpr95"].value == 1


def test_in_a_split_in_which_a_task_is_not_asked_every_number_is_null(
    track: Track, run_cli, tmp_path: Path
) -> None:
    truth = TRUTH.filter((pl.col("split") == "id") | pl.col("codec").is_null())
    said = SAID.join(truth, on="utt_id", how="semi")
    card = cfbench.score(said, truth, track=track, bootstrap=0)
    unasked = view(card, "codec")
    assert (unasked.utterances, unasked.support) == (0, dict.fromkeys(CODECS, 0))
    assert set(unasked.metrics) == set(view(card, "codec", "id").metrics)
    assert {number.reason for number in unasked.metrics.values()} == {
        "the task is asked of no utterance here"
    }
    splits = card.tasks["codec"].splits
    assert set(splits["ood"].equal_sources) == set(splits["id"].equal_sources)
    assert card.tasks["codec"].drop.number.reason == "not defined on both splits"
    assert any(note.startswith("codec, ood: asked of 0 of 2 utterances") for note in card.notes)
    path = tmp_path / "card.json"
    path.write_text(card.to_json())
    shown = run_cli("show", path, "--explain")
    assert shown.code == 0
    assert re.search(r"Codec \(codec\) +macro-F1 ↑ +100.0 +n/a +n/a", shown.out)
    with pytest.raises(CfbenchError, match="no utterance of ood has a class of codec"):
        cfbench.score(said, truth, track=track, tasks=["codec"], splits=["ood"])
    read = cfbench.read_predictions(said, tasks=["codec"], track=track)
    protocol = cfbench.read_protocol(truth, track)
    with pytest.raises(CfbenchError, match="no utterance has a class of codec"):
        replicated(read, protocol, ["ood"])


# Scored: against other code, on random data


def random_case(seed: int, n: int = 400, groups: int = 40, decimals: int | None = None):
    """Labels of both splits, and answers that know something of them, with ties."""
    generator = np.random.default_rng(seed)
    unknown = generator.random(n) < 0.3
    codec = generator.integers(0, 3, n)
    ids = [f"u{row:04}" for row in range(n)]
    truth = pl.DataFrame(
        {
            "utt_id": ids,
            "split": ["id" if row % 2 else "ood" for row in range(n)],
            "source": np.where(unknown, "new", np.array(CODECS)[codec]),
            "group": [f"g{g}" for g in generator.integers(0, groups, n)],
            "codec": [None if u else CODECS[c] for u, c in zip(unknown, codec, strict=True)],
            "unknown": np.where(unknown, "unknown", "known"),
        }
    )
    odds = np.exp(generator.normal(0, 1, (3, n)) + 2 * (np.arange(3)[:, None] == codec))
    score = 1 / (1 + np.exp(-generator.normal(unknown * 1.5, 1)))
    if decimals is not None:
        score = score.round(decimals)
    columns = dict(zip([f"codec_{name}" for name in CODECS], odds / odds.sum(axis=0), strict=True))
    return truth, pl.DataFrame({"utt_id": ids, **columns, "unknown_unknown": score})


@pytest.mark.parametrize(("seed", "decimals"), [(0, None), (1, 1), (2, 2)])
def test_values_are_those_of_scikit_learn(track: Track, seed: int, decimals: int | None) -> None:
    truth, said = random_case(seed, decimals=decimals)
    card = cfbench.score(said, truth, track=track, bootstrap=0)
    for split in ("id", "ood"):
        rows = truth.filter(split=split).join(said, on="utt_id")
        is_unknown = (rows["unknown"] == "unknown").to_numpy()
        score = rows["unknown_unknown"].to_numpy()
        alarm, hit, _ = sklearn.metrics.roc_curve(is_unknown, score, drop_intermediate=False)
        enough = np.rint(hit * is_unknown.sum()) * 100 >= 95 * is_unknown.sum()
        metrics = view(card, "unknown", split).metrics
        assert metrics["auroc"].value == pytest.approx(
            sklearn.metrics.roc_auc_score(is_unknown, score), abs=1e-12
        )
        assert metrics["fpr95"].value == pytest.approx(alarm[np.argmax(enough)], abs=1e-12)
        known = rows.filter(pl.col("codec").is_not_null())
        answers = known.select([f"codec_{name}" for name in CODECS]).to_numpy().argmax(axis=1)
        told = [CODECS[answer] for answer in answers]
        assert view(card, "codec", split).metrics["macro_f1"].value == pytest.approx(
            sklearn.metrics.f1_score(known["codec"], told, average="macro"), abs=1e-12
        )


@pytest.mark.parametrize("metric", ["auroc", "fpr95"])
def test_replicates_are_those_of_rows_drawn_by_group(tmp_path: Path, metric: str) -> None:
    """Against resamples that are made row by row, group by group."""
    unknown = UNKNOWN.replace('headline = "auroc"', f'headline = "{metric}"')
    track = find_track(str(write(tmp_path, unknown=unknown)))
    truth, said = random_case(3, n=160, groups=12, decimals=1)
    protocol = cfbench.read_protocol(truth, track)
    read = cfbench.read_predictions(said, track=track)
    found = replicated(read, protocol, ["ood"], replicates=60, seed=5)
    rows = protocol.split("ood").join(said, on="utt_id", maintain_order="left")
    names = sorted(rows["group"].unique())
    group = np.array([names.index(word) for word in rows["group"]])
    score = rows["unknown_unknown"].to_numpy()
    is_unknown = (rows["unknown"] == "unknown").to_numpy()
    drawn = np.random.default_rng([5, zlib.crc32(b"ood/paired")]).integers(
        0, len(names), (60, len(names))
    )
    expected = []
    for draw in drawn:
        index = np.concatenate([np.flatnonzero(group == unit) for unit in draw])
        if metric == "auroc":
            expected.append(sklearn.metrics.roc_auc_score(is_unknown[index], score[index]))
        else:
            sides = (score[index][is_unknown[index]], score[index][~is_unknown[index]])
            curve = det_curve(*(np.sort(side) for side in sides))
            expected.append(false_positive_rate_at_95(curve).value)
    samples_found = found.column(Key("unknown", "ood", metric))
    assert samples_found == pytest.approx(np.array(expected), abs=1e-6)


def test_intervals_are_over_groups_and_hold_the_value(track: Track) -> None:
    truth, said = random_case(4)
    card = cfbench.score(said, truth, track=track, bootstrap=300)
    for metric in ("auroc", "fpr95", "eer"):
        number = view(card, "unknown").metrics[metric]
        assert number.interval.low <= number.value <= number.interval.high
        assert number.interval.replicates == 300
        assert number.utterance_interval is not None
    assert view(card, "codec").metrics["macro_f1"].interval is not None
    transfer = card.tasks["unknown"].threshold_transfer
    assert (transfer.from_split, transfer.to_split) == ("id", "ood")
    rows = truth.filter(split="ood").join(said, on="utt_id")
    below = rows["unknown_unknown"] < transfer.threshold
    is_unknown = rows["unknown"] == "unknown"
    assert transfer.miss.value == pytest.approx((below & is_unknown).sum() / is_unknown.sum())


def test_a_partial_task_is_scored_as_if_there_were_only_its_utterances(track: Track) -> None:
    truth, said = random_case(6)
    whole = cfbench.score(said, truth, track=track, bootstrap=50, tasks=["codec"])
    known = truth.filter(pl.col("codec").is_not_null())
    alone = cfbench.score(
        said.join(known, on="utt_id", how="semi"), known, track=track, bootstrap=50, tasks=["codec"]
    )
    assert whole.tasks == alone.tasks


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 1]))
@settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_neither_order_nor_company_changes_a_number(
    track: Track, seed: int, decimals: int | None
) -> None:
    truth, said = random_case(seed, n=80, groups=10, decimals=decimals)
    card = cfbench.score(said, truth, track=track, bootstrap=20)
    again = cfbench.score(
        said.sample(fraction=1, shuffle=True, seed=seed).select(sorted(said.columns, reverse=True)),
        truth.sample(fraction=1, shuffle=True, seed=seed + 1),
        track=Track.model_validate({**track.model_dump(), "tasks": ("unknown", "codec")}),
        bootstrap=20,
    )
    assert card.to_json() == again.to_json()
    for task in ("codec", "unknown"):
        alone = cfbench.score(said, truth, track=track, bootstrap=20, tasks=[task])
        assert alone.tasks[task] == card.tasks[task]
    # A scorecard whose keys were sorted is in the order of reports again.
    assert list(Scorecard.model_validate_json(card.to_json()).tasks) == ["codec", "unknown"]


# Beside the four


MIXED = TRACK.replace('["codec", "unknown"]', '["bin", "vq", "codec", "unknown"]')


def test_own_tasks_mix_with_the_four(tmp_path: Path) -> None:
    track = find_track(str(write(tmp_path, MIXED)))
    real = pl.DataFrame(
        {"utt_id": ["r1", "r2"], "split": ["id", "ood"], "source": "mic", "group": ["g0", "g3"],
         "codec": None, "unknown": "known"},
        schema=TRUTH.schema,
    )  # fmt: skip
    truth = pl.concat([TRUTH, real]).with_columns(
        bin=pl.when(pl.col("source") == "mic").then(pl.lit("bonafide")).otherwise(pl.lit("spoof")),
        vq=pl.when(pl.col("source") == "mic").then(pl.lit("real")).otherwise(pl.lit("mvq")),
    )
    said = truth.select(
        "utt_id",
        "bin",
        "vq",
        "unknown",
        codec=pl.col("codec").fill_null("dac"),
    )
    card = cfbench.score(said, truth, track=track, bootstrap=0)
    assert list(card.tasks) == ["bin", "vq", "codec", "unknown"]
    split = card.tasks["unknown"].splits["ood"]
    by_source = {row.source: row for row in split.sources}
    assert (by_source["mic"].spoofed, by_source["mic"].bonafide_accuracy.value) == (0, 1)
    assert (by_source["mimi"].spoofed, by_source["mimi"].truth) == (1, "unknown")
    summary = summarise(cfbench.read_protocol(truth, track))["splits"]["ood"]
    assert list(summary["classes"]) == ["bin", "vq", "codec", "unknown"]
    made = {row["source"]: (row["vq"], row["codec"], row["unknown"]) for row in summary["sources"]}
    assert made["mic"] == (None, None, "known")
    assert made["mimi"] == ("mvq", None, "unknown")
    # The leaderboard knows the four only.
    assert list(result_of(card).tasks) == ["bin", "vq"]
    wrong = truth.with_columns(vq=pl.lit("mvq"))
    with pytest.raises(CfbenchError, match="bin and vq contradict each other"):
        cfbench.read_protocol(wrong, track)


def test_an_own_tracing_task_has_bona_fide_speech(tmp_path: Path) -> None:
    codec = CODEC.replace("classification", "tracing").replace("partial = true\n", "")
    head, _, rest = codec.partition("\n[[classes]]")
    codec = head + classes("codec", "real") + "\n[[classes]]" + rest
    text = TRACK.replace('["codec", "unknown"]', '["codec"]').replace(', "unknown.toml"', "")
    track = find_track(str(write(tmp_path, text, codec)))
    truth = TRUTH.drop("unknown").with_columns(pl.col("codec").fill_null("real"))
    card = cfbench.score(truth.select("utt_id", "codec"), truth, track=track, bootstrap=0)
    split = card.tasks["codec"].splits["ood"]
    assert split.overall.metrics["macro_f1_spoofed"].value == 1
    assert set(split.trivial) == {"majority", "detector", "uniform"}
    assert {row.source: row.spoofed for row in split.sources}["mimi"] == 0
    answers = trivial_answers(cfbench.read_protocol(truth, track), "detector")
    assert answers["codec"].to_list() == ["dac"] * 6 + ["real"] * 2


def test_digests_and_descriptions_of_what_was_there_have_not_changed() -> None:
    known = cfbench.read_protocol(track="example")
    assert dict(known.digests) == {
        "id": "39a712432a49524a60cb5af1ff36ebec27b5d7a55ed7f13ebea0c14c8a6c0554",
        "ood": "f52b7fc57fb24b84faad691ab7eda036c24501fc7b0bb7cff80d4557bac66de0",
    }
    board = Path(__file__).parents[1] / "submissions"
    for path in sorted(board.glob("*/scorecard.json")):
        assert read_scorecard(path).metrics == catalogue()
    assert "fpr95" not in catalogue()
    assert load_tasks()["bin"].metrics == (
        "eer",
        "eer_paper",
        "auroc",
        "min_dcf",
        "act_dcf",
        "cllr",
    )


def test_a_digest_covers_the_tracks_own_classes(track: Track) -> None:
    before = cfbench.read_protocol(TRUTH, track).digests
    changed = TRUTH.with_columns(
        codec=pl.when(pl.col("utt_id") == "k1").then(pl.lit("snac")).otherwise("codec")
    )
    after = cfbench.read_protocol(changed, track).digests
    assert before["id"] == after["id"]
    assert before["ood"] != after["ood"]


def test_the_schema_holds_for_own_tasks_too(track: Track) -> None:
    # The schema knows tasks by any name, so that it need not change with them.
    tasks = json.loads(json_schema())["properties"]["tasks"]
    assert "additionalProperties" in tasks
    card = cfbench.score(SAID, TRUTH, track=track, bootstrap=0)
    assert Scorecard.model_validate_json(card.to_json()) == card
    assert "the positive class, the last one" in card.metrics["auroc"].definition
    assert card.metrics["fpr95"].direction == "lower"


# The other ways in


def test_a_track_can_be_made_without_files(track: Track) -> None:
    made = Track.model_validate(track.model_dump())
    assert made == track
    assert list(made.known_tasks) == [*TASK_IDS, "codec", "unknown"]
    assert (
        cfbench.score(SAID, TRUTH, track=made, bootstrap=0).to_json()
        == cfbench.score(SAID, TRUTH, track=track, bootstrap=0).to_json()
    )


def test_predictions_are_read_with_a_track(track: Track) -> None:
    read = cfbench.read_predictions(SAID, track=track)
    assert dict(read.kinds) == {"codec": "probabilities", "unknown": "probabilities"}
    card = cfbench.score(read, cfbench.read_protocol(TRUTH, track), bootstrap=0)
    assert card == cfbench.score(SAID, TRUTH, track=track, bootstrap=0)
    with pytest.raises(CfbenchError, match="unknown column 'codec_dac'"):
        cfbench.read_predictions(SAID)


def test_two_systems_are_compared(track: Track) -> None:
    truth, said = random_case(7)
    worse = said.with_columns(unknown_unknown=pl.lit(0.5), codec_dac=1.0, codec_encodec=0.0,
                              codec_snac=0.0)  # fmt: skip
    one, two = (cfbench.read_predictions(frame, track=track) for frame in (said, worse))
    protocol = cfbench.read_protocol(truth, track)
    found = {(row.task, row.split): row for row in compare(one, two, protocol).tasks}
    assert set(found) == {(t, s) for t in ("codec", "unknown") for s in ("id", "ood")}
    row = found["unknown", "ood"]
    assert (row.metric, row.direction, row.b, row.better) == ("auroc", "higher", 0.5, "a")
    card = cfbench.score(said, truth, track=track, bootstrap=0)
    assert row.a == pytest.approx(view(card, "unknown").metrics["auroc"].value)
    assert found["codec", "ood"].better == "a"
    assert sum(part.utterances for part in found["codec", "ood"].classes) == (
        truth.filter(split="ood")["codec"].count()
    )


def test_a_report_names_the_errors_of_the_utterances_that_are_asked(track: Track) -> None:
    read = cfbench.read_predictions(SAID, track=track)
    report = report_of("mine", read, cfbench.read_protocol(TRUTH, track), bootstrap=0)
    errors = report.errors["codec"]["ood"]
    assert (errors.wrong, errors.utterances) == (1, 3)
    (worst,) = errors.most_confident
    assert (worst.utt_id, worst.source, worst.truth, worst.answer) == (
        "k2", "encodec", "encodec", "dac",
    )  # fmt: skip
    assert worst.probability == pytest.approx(0.6)
    # Its curves are of spoof detection.
    assert report.detection == {}


def test_comparing_systems_that_answer_other_tasks_is_refused(track: Track) -> None:
    one = cfbench.read_predictions(SAID.select("utt_id", "unknown_unknown"), track=track)
    two = cfbench.read_predictions(SAID.drop("unknown_unknown"), track=track)
    with pytest.raises(CfbenchError, match="no task is answered by both: unknown and codec"):
        compare(one, two, cfbench.read_protocol(TRUTH, track))


@pytest.mark.parametrize("predictor", ["majority", "uniform"])
def test_trivial_answers_get_what_the_scorecard_says(track: Track, predictor: str) -> None:
    truth, _ = random_case(8, n=3000)
    said = trivial_answers(cfbench.read_protocol(truth, track), predictor)
    assert said.columns == ["utt_id", "codec", "unknown_unknown"]
    card = cfbench.score(said, truth, track=track, bootstrap=0)
    for task, metric in (("codec", "macro_f1"), ("codec", "accuracy"), ("unknown", "auroc")):
        expected = card.tasks[task].splits["ood"].trivial[predictor][metric]
        tolerance = 0 if predictor == "majority" else 0.06
        assert view(card, task).metrics[metric].value == pytest.approx(expected, abs=tolerance)


def test_the_detector_has_nothing_to_say_where_nothing_is_bona_fide(track: Track) -> None:
    with pytest.raises(CfbenchError, match="detector: answers tracing tasks, and open asks none"):
        trivial_answers(cfbench.read_protocol(TRUTH, track), "detector")


# The commands


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = write(tmp_path, TRACK.replace("scored", 'protocol = "open.csv"\nscored')).parent
    truth, said = random_case(9)
    truth.write_csv(place / "open.csv")
    said.write_csv(place / "said.csv")
    monkeypatch.chdir(place)
    return place


def test_from_a_template_to_a_comparison(folder: Path, run_cli: Callable) -> None:
    own = ("--track", "open.toml")
    assert run_cli("template", *own, "-o", "empty.csv").code == 0
    assert pl.read_csv(folder / "empty.csv").columns == pl.read_csv(folder / "said.csv").columns
    labels = run_cli("template", *own, "--labels", "--tasks", "codec_identification", "-o", "l.csv")
    assert labels.code == 0
    assert pl.read_csv(folder / "l.csv").columns == ["utt_id", "codec"]
    checked = run_cli("validate", "said.csv", *own)
    assert "codec (probabilities), unknown (probabilities): no problems" in checked.out
    scored = run_cli("score", "said.csv", *own, "--json", "card.json", "--explain")
    assert scored.code == 0, scored.err
    for word in ("Codec (codec)", "AUROC ↑", "FPR95 ↓", "codec: majority class"):
        assert word in scored.out
    assert "bona fide" not in scored.out.partition("Definitions")[0]
    assert run_cli("show", "card.json", "--explain").out == scored.out
    # From another folder the task files mean the same.
    printed = run_cli("score", folder / "said.csv", "--track", folder / "open.toml", "--json", "-")
    assert printed.out == (folder / "card.json").read_text()
    for name in ("majority", "uniform"):
        assert run_cli("template", *own, "--trivial", name, "-o", f"{name}.csv").code == 0
    assert run_cli("template", *own, "--trivial", "detector", "-o", "d.csv").code == 2
    compared = run_cli("compare", "said.csv", "uniform.csv", *own, "--tasks", "unknown", "--json")
    rows = json.loads(compared.out)["tasks"]
    assert [(row["task"], row["metric"]) for row in rows] == [("unknown", "auroc")] * 2
    assert run_cli("compare", "said.csv", "uniform.csv", *own).code == 0


def test_tracks_tasks_and_protocols_are_shown(folder: Path, run_cli: Callable) -> None:
    own = ("--track", "open.toml")
    shown = run_cli("tracks", "show", "open.toml")
    assert "codec, its own: Which codec? dac, encodec, snac" in shown.out
    data = json.loads(run_cli("tracks", "show", "open.toml", "--json").out)
    assert [task["id"] for task in data["own_tasks"]] == ["codec", "unknown"]
    listed = json.loads(run_cli("tasks", "list", *own, "--json").out)
    assert [(task["id"], task["kind"]) for task in listed] == [
        ("codec", "classification"),
        ("unknown", "detection"),
    ]
    assert "classification" in run_cli("tasks", "list", *own).out
    unknown = run_cli("tasks", "show", "unknown_codec", *own)
    assert "detection; of scores: eer, auroc, fpr95" in unknown.out
    codec = run_cli("tasks", "show", "codec", *own)
    assert "classification, of some utterances only" in codec.out
    refused = run_cli("tasks", "show", "codecs", *own)
    assert refused.code == 2
    assert "did you mean 'codec'" in refused.err
    assert run_cli("tasks", "show", "codec").code == 2
    protocol = run_cli("protocol", "show", "open.csv", *own)
    assert re.search(r"source +subset +utterances +codec +unknown", protocol.out)
    assert "unknown known" in run_cli("protocol", "check", "open.csv", *own).out


def test_baselines_say_that_they_do_not_answer(folder: Path, run_cli: Callable) -> None:
    dry = ("run-baseline", "log-mel-logistic", "--track", "open.toml", "--audio", ".", "--dry-run")
    for arguments in (dry, dry[:-1], ("train", *dry[1:-1], "--out", "runs")):
        done = run_cli(*arguments)
        assert done.code in (1, 2)
        assert "answers bin, vq, aux, dec, which open does not ask" in done.out + done.err
        assert "baselines answer bin, vq, aux, dec and no other task" in done.out + done.err


def test_the_leaderboard_says_that_it_does_not_rank(
    folder: Path, run_cli: Callable, tmp_path: Path
) -> None:
    with pytest.raises(
        CfbenchError, match="open asks codec, unknown, which a leaderboard does not"
    ):
        rank([], [], find_track("open.toml"))
    (tmp_path / "board").mkdir()
    done = run_cli("leaderboard", "build", tmp_path / "board", "--track", "open.toml")
    assert done.code == 2
    assert "codec, unknown: of the track's own, and not ranked" in done.err


def test_a_submission_is_made_and_verified(folder: Path, run_cli: Callable) -> None:
    assert run_cli("score", "said.csv", "--track", "open.toml", "--json", "card.json").code == 0
    made = run_cli(
        "submit", "card.json", "--predictions", "said.csv", "--track", "open.toml",
        "--system", "Mine", "--team", "We", "--description", "Made up.", "--contact", "a@b.example",
        "--licence", "CC0-1.0", "--training-data", "nothing", "--only-track-data",
    )  # fmt: skip
    assert made.code == 0, made.err
    assert run_cli("verify", "submissions/mine", "--track", "open.toml").code == 0


# What is wrong


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"codec.toml", "unknown.toml"', '"codec.toml"', "no task 'unknown'"),
        ('["codec", "unknown"]', '["codec"]', "unknown is not among tasks"),
        ('["codec", "unknown"]', '["codec", "unknwon"]', "unknown is not among tasks"),
        ('["codec", "unknown"]', '["codec", "unknown", "vqq"]', "did you mean 'vq'"),
        ('"codec.toml", "unknown.toml"', '"codec.toml", "codec.toml"', "'codec' cannot be"),
        ('"codec.toml"', '"codecs.toml"', "codecs.toml: the task cannot be read"),
        ('"codec.toml"', '"."', "the task cannot be read: not a file"),
        ('"codec.toml"', "7", "task_files: must be a list of files"),
        ('task_files = ["codec.toml", "unknown.toml"]', 'task_files = "x"', "task_files: must be"),
        ("task_files", "own_tasks", "own_tasks: is no key of a track file"),
        ("task_files", "tasks_files", "tasks_files: "),
    ],
)
def test_a_bad_track_file_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in TRACK
    path = write(tmp_path, TRACK.replace(old, new, 1))
    with pytest.raises(CfbenchError) as caught:
        find_track(str(path))
    assert says in str(caught.value)
    assert str(path.parent) in str(caught.value)


def as_id(name: str) -> str:
    return CODEC.replace("codec_", f"{name}_").replace('"codec"', f'"{name}"')


@pytest.mark.parametrize(
    ("codec", "says"),
    [
        *((as_id(name), f"'{name}' cannot be the id") for name in (*TASK_IDS, "source", "speaker")),
        (as_id("unknown"), "'unknown' cannot be the id or name of another task"),
        (as_id("utt_id"), "id: "),
        (as_id("Codec"), "id: "),
        (as_id("co-dec"), "id: "),
        (CODEC.replace("codec_identification", "decoder_type"), "'decoder_type' cannot be"),
        (CODEC.replace('column = "codec_dac"', 'column = "dac"'), "its column must be codec_dac"),
        (CODEC.replace('kind = "classification"\n', ""), "kind: Field required"),
        (CODEC.replace("classification", "detection"), "has two classes, the positive one last"),
        (CODEC.replace("classification", "tracing"), "class 0 of a tracing task"),
        (CODEC.replace('label_column = "codec"', 'label_column = "c"'), "label_column must be"),
        (CODEC.replace("headline =", "headline_ ="), "headline"),
        (CODEC.replace('"macro_f1"', '"macro_f1_spoofed"'), "only a tracing task has"),
        (CODEC.replace('"macro_f1"', '"fpr95"', 1), "fpr95 is not among the metrics"),
        (CODEC.replace("partial", 'metrics = ["auroc"]\npartial'), "only a detection task"),
        (CODEC.replace("encodec", "dac"), "class dac stands there twice"),
        (CODEC.replace("encodec", "missing"), "no class is called missing"),
        (CODEC + classes("codec", *(f"c{n}" for n in range(98))), "classes: "),
        (CODEC + "partial = 1\n", "partial"),
        ("id = codec", "not TOML"),
        (CODEC.replace("Which codec?", "Which\\u0007?"), "cannot be printed"),
    ],
    ids=lambda value: value if len(value) < 60 else "codec",
)
def test_a_bad_task_file_is_refused(tmp_path: Path, codec: str, says: str) -> None:
    path = write(tmp_path, codec=codec)
    with pytest.raises(CfbenchError) as caught:
        find_track(str(path))
    assert says in str(caught.value)
    assert str(path.parent) in str(caught.value)


def test_a_detection_task_names_its_metrics(tmp_path: Path) -> None:
    for metrics, says in (
        ("", "metrics: name some of eer"),
        ('metrics = ["fpr"]', "metrics.0: "),
        ('metrics = ["fpr95"]', "headline: auroc is not among the metrics"),
    ):
        unknown = UNKNOWN.replace('metrics = ["eer", "auroc", "fpr95"]', metrics)
        with pytest.raises(CfbenchError, match=re.escape(says)):
            find_track(str(write(tmp_path, unknown=unknown)))


def test_a_task_file_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path)
    (path.parent / "codec.toml").write_bytes(CODEC.replace("Which", "é").encode("latin-1"))
    with pytest.raises(CfbenchError, match=r"codec\.toml: the task cannot be read"):
        find_track(str(path))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"codec": "dca"}, "unknown class 'dca' of codec (did you mean 'dac'?)"),
        ({"unknown": None}, "8 values of unknown empty"),
        ({"unknown": "new"}, "unknown class 'new' of unknown"),
        ({"codecs": "dac"}, "unknown column 'codecs' (did you mean 'codec'?)"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_bad_label_file_is_refused(track: Track, change: dict, says: str) -> None:
    columns = [pl.lit(value, pl.String).alias(name) for name, value in change.items()]
    with pytest.raises(CfbenchError) as caught:
        cfbench.read_protocol(TRUTH.with_columns(*columns), track)
    assert says in str(caught.value)


def test_a_label_file_without_a_column_is_refused(track: Track) -> None:
    with pytest.raises(CfbenchError, match="the column codec is missing"):
        cfbench.read_protocol(TRUTH.drop("codec"), track)


def test_lists_of_codecfake_plus_have_no_classes_of_it(track: Track, tmp_path: Path) -> None:
    lists = samples.write_lists(tmp_path / "lists")
    path = next(path for path in sorted(lists.rglob("*")) if path.is_file())
    with pytest.raises(CfbenchError, match="has no classes of codec, unknown, which open asks"):
        cfbench.read_protocol(path, track)


@pytest.mark.parametrize(
    ("said", "says"),
    [
        (SAID.drop("codec_snac"), "codec_dac, codec_encodec without codec_snac"),
        (SAID.rename({"codec_snac": "codec_scan"}), "unknown column 'codec_scan'"),
        (SAID.with_columns(x=1), "utt_id, a task (codec, unknown) or a task and class (codec_enc"),
        (SAID.rename({"codec_snac": "codec_SNAC"}), "did you mean 'codec_snac'"),
        (SAID.with_columns(codec=pl.lit("dac")), "both labels (codec) and numbers"),
        (SAID.with_columns(codec_dac=pl.lit(0.9)), "not 1"),
        (SAID.with_columns(unknown_unknown=pl.lit(1.5)), "unknown_unknown outside 0 to 1"),
        (SAID.select("utt_id", codec=pl.lit("mimi")), "codec of unknown class 'mimi'"),
        (SAID.select("utt_id", codec=pl.lit(2)), "codec holds numbers, not the names of classes"),
        (SAID.select("utt_id"), "for example codec (labels), or codec_dac"),
        (SAID.with_columns(vq=pl.lit("mvq")), "the predictions answer vq, which open does not ask"),
        (SAID.rename({"unknown_unknown": "unknown_known"}), "without unknown_unknown"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_bad_predictions_are_refused(track: Track, said: pl.DataFrame, says: str) -> None:
    with pytest.raises(CfbenchError) as caught:
        cfbench.score(said, TRUTH, track=track)
    assert says in str(caught.value)


def test_what_is_not_asked_is_found_by_validate_and_compare(track: Track) -> None:
    protocol = cfbench.read_protocol(TRUTH, track)
    said = SAID.with_columns(vq=pl.lit("mvq"))
    _, problems = api.check(said, protocol)
    assert [problem.hint for problem in problems] == ["leave it out: --tasks codec,unknown"]
    read = cfbench.read_predictions(said, track=track)
    with pytest.raises(CfbenchError, match="answer vq, which open does not ask"):
        compare(read, read, protocol)


def test_the_example_has_no_tasks_of_its_own() -> None:
    assert find_track("example").own_tasks == ()
    assert cfbench.read_protocol(track="example").frame.columns[5:9] == list(TASK_IDS)
    assert entries.TRACK == "example"
