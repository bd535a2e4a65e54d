import json
import math

import numpy as np
import polars as pl
import pytest
import sklearn.metrics
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cfbench
import samples
from cfbench.errors import CfbenchError
from cfbench.scorecard import Number, Scorecard, json_schema, read_scorecard

REAL = ("real", "real", "real")
MVQ = ("mvq", "none", "time")
SVQ = ("svq", "none", "time")
CLASSES = samples.CLASSES
COLUMNS = {task: [f"{task}_{name}" for name in CLASSES[task]] for task in samples.TRACING}

few_examples = settings(max_examples=4, deadline=None)
seeds = st.integers(0, 2**32 - 1)


def protocol_of(rows):
    """A protocol of (split, source, group, (vq, aux, dec)); utterances are u0, u1, ..."""
    return pl.DataFrame(
        [
            (f"u{number}", split, source, group, "bonafide" if cell == REAL else "spoof", *cell)
            for number, (split, source, group, cell) in enumerate(rows)
        ],
        schema=["utt_id", "split", "source", "group", *CLASSES],
        orient="row",
    )


def answers(**columns):
    """Predictions for u0, u1, ..."""
    size = len(next(iter(columns.values())))
    return pl.DataFrame({"utt_id": [f"u{number}" for number in range(size)]} | columns)


def values(numbers):
    return {name: number.value for name, number in numbers.items()}


def overall(card, task, split="id"):
    return card.tasks[task].splits[split].overall


def random_case(seed, groups=12, of_group=(2, 7), scale=1.0):
    """A protocol with both splits, and numbers for all tasks, right more often than not.

    Groups are easy or hard as a whole; every class occurs in many of them.
    """
    generator = np.random.default_rng(seed)
    cells = [REAL, MVQ, ("svq", "disent", "time"), ("sq", "none", "freq"), ("mvq", "sem", "freq")]
    rows = []
    for split, sources in (("id", ("VCTK", "c1", "c2")), ("ood", ("VALLE", "USLM", "NS2"))):
        for group in range(groups):
            picks = generator.integers(0, len(cells), generator.integers(*of_group))
            made = sources[group % 3]
            rows += [(split, made, f"{split}-{group}", cells[pick]) for pick in [0, 1, 2, *picks]]
    protocol = protocol_of(rows)
    columns = {}
    real = (protocol["bin"] == "bonafide").to_numpy()
    group = protocol["group"].rank("dense").to_numpy() - 1
    ease = 1 + generator.normal(0, 0.7, 2 * groups)[group]
    columns["bin_bonafide"] = (
        np.where(real, ease, -ease) + generator.normal(0, 1, real.size)
    ) * scale
    for task, names in COLUMNS.items():
        truth = protocol[task].replace_strict(CLASSES[task], range(len(names))).to_numpy()
        logits = generator.normal(0, 1, (len(names), len(rows)))
        logits[truth, np.arange(len(rows))] += ease
        columns |= dict(zip(names, logits * scale, strict=True))
    return protocol, answers(**columns)


def as_probabilities(predictions):
    columns = {"bin_bonafide": 1 / (1 + np.exp(-predictions["bin_bonafide"].to_numpy()))}
    for names in COLUMNS.values():
        odds = np.exp(predictions.select(names).to_numpy())
        columns |= dict(zip(names, (odds / odds.sum(axis=1, keepdims=True)).T, strict=True))
    return pl.DataFrame({"utt_id": predictions["utt_id"]} | columns)


def numbers_of(part, path=""):
    """Every Number of a scorecard with its place."""
    if isinstance(part, Number):
        yield path, part
    elif isinstance(part, dict):
        for name, value in part.items():
            yield from numbers_of(value, f"{path}/{name}")
    elif isinstance(part, tuple):
        for index, value in enumerate(part):
            yield from numbers_of(value, f"{path}/{index}")
    elif hasattr(type(part), "model_fields"):
        for name in type(part).model_fields:
            yield from numbers_of(getattr(part, name), f"{path}/{name}")


# Scorecards derived by hand


def test_decisions_with_an_answered_class_that_has_no_support():
    truth = [REAL, REAL, MVQ, MVQ, MVQ, SVQ]
    protocol = protocol_of([("id", "x", f"g{i}", cell) for i, cell in enumerate(truth)])
    card = cfbench.score(
        answers(vq=["real", "mvq", "mvq", "mvq", "sq", "svq"]), protocol, bootstrap=0
    )
    view = overall(card, "vq")
    assert view.support == {"real": 2, "mvq": 3, "svq": 1, "sq": 0}
    assert view.confusion == ((1, 1, 0, 0), (0, 2, 0, 1), (0, 0, 1, 0), (0, 0, 0, 0))
    assert view.answers == CLASSES["vq"]
    # F1: real 2/3, mvq 2/3, svq 1; sq is answered once and never true.
    assert view.metrics["macro_f1"].value == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert view.metrics["macro_f1_spoofed"].value == pytest.approx((2 / 3 + 1) / 2)
    assert view.metrics["weighted_f1"].value == pytest.approx((2 * 2 / 3 + 3 * 2 / 3 + 1) / 6)
    assert view.metrics["accuracy"].value == pytest.approx(4 / 6)
    assert view.metrics["balanced_accuracy"].value == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    scalar = view.classes[3]
    assert (scalar.support, scalar.predicted) == (0, 1)
    assert scalar.precision.value == 0
    assert (scalar.recall.value, scalar.recall.reason) == (None, "the class has no support")
    assert (scalar.f1.value, scalar.f1.reason) == (None, "the class has no support")


def test_a_class_that_is_never_answered_has_no_precision():
    protocol = protocol_of([("id", "x", "g", REAL), ("id", "x", "h", MVQ)])
    view = overall(cfbench.score(answers(vq=["mvq", "mvq"]), protocol), "vq")
    assert view.classes[0].precision.value is None
    assert view.classes[0].precision.reason == "the class was never answered"
    assert view.classes[0].f1.value == 0


def test_hard_labels_are_scored_as_decisions_only():
    protocol = protocol_of([("id", "x", f"g{i}", cell) for i, cell in enumerate([REAL, MVQ, MVQ])])
    card = cfbench.score(answers(bin=["bonafide", "spoof", "bonafide"]), protocol, bootstrap=0)
    task, metrics = card.tasks["bin"], overall(card, "bin").metrics
    assert (task.given, task.headline) == ("labels", "macro_f1")
    # F1: spoof 2 * 1 / (2 + 1), bona fide 2 * 1 / (1 + 2).
    assert metrics["macro_f1"].value == pytest.approx(2 / 3)
    for name in ("eer", "eer_paper", "auroc", "min_dcf", "act_dcf", "cllr", "log_loss", "ece"):
        assert metrics[name].value is None
        assert metrics[name].reason == "only labels are given"


def test_scores_where_only_spoof_occurs_have_no_detection_metrics():
    protocol = protocol_of([("id", "x", "g", MVQ), ("id", "x", "h", MVQ)])
    metrics = overall(cfbench.score(answers(bin_bonafide=[0.1, 0.7]), protocol), "bin").metrics
    assert metrics["accuracy"].value == 0.5
    for name in ("eer", "eer_paper", "auroc", "min_dcf", "act_dcf", "cllr"):
        assert metrics[name].value is None
        assert metrics[name].reason == "only one of bona fide and spoof occurs"


def test_probabilities_of_two_utterances():
    protocol = protocol_of([("id", "x", "g", MVQ), ("id", "x", "h", REAL)])
    given_numbers = {"vq_real": [0.2, 0.3], "vq_mvq": [0.7, 0.4]}
    rest = {"vq_svq": [0.1, 0.3], "vq_sq": [0.0, 0.0]}
    metrics = overall(cfbench.score(answers(**given_numbers, **rest), protocol), "vq").metrics
    assert metrics["log_loss"].value == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2, abs=1e-10)
    # (0.2^2 + 0.3^2 + 0.1^2) and (0.7^2 + 0.4^2 + 0.3^2)
    assert metrics["brier"].value == pytest.approx((0.14 + 0.74) / 2, abs=1e-10)
    # Right with 0.7, wrong with 0.4, in bins of their own.
    assert metrics["ece"].value == pytest.approx((0.3 + 0.4) / 2, abs=1e-10)


def test_detection_at_the_bayes_threshold_and_llr_cost():
    protocol = protocol_of([("id", "x", f"g{i}", c) for i, c in enumerate([REAL, REAL, MVQ, MVQ])])
    llrs = [2.0, -1.0, -3.0, -0.5]
    card = cfbench.score(answers(bin_bonafide=llrs), protocol, logits=True, bootstrap=0)
    metrics = overall(card, "bin").metrics
    # The threshold is -ln(1.9) = -0.64: one of two missed, one of two let pass.
    assert metrics["act_dcf"].value == pytest.approx((0.95 / 2 + 0.5 / 2) / 0.5)
    # From -1: one missed at no further cost than -0.5: (0.95 * 0 + 0.5 / 2) / 0.5.
    assert metrics["min_dcf"].value == pytest.approx(0.5)
    bona_fide = (np.log2(1 + np.exp(-2)) + np.log2(1 + np.exp(1))) / 2
    spoof = (np.log2(1 + np.exp(-3)) + np.log2(1 + np.exp(-0.5))) / 2
    assert metrics["cllr"].value == pytest.approx((bona_fide + spoof) / 2, abs=1e-10)
    assert metrics["auroc"].value == 3 / 4


def test_a_probability_is_the_posterior_at_equal_priors():
    protocol, logits = random_case(3)
    scored = cfbench.score(as_probabilities(logits), protocol, bootstrap=0)
    as_logits = cfbench.score(logits, protocol, logits=True, bootstrap=0)
    for split in ("id", "ood"):
        for task in scored.tasks:
            expected = values(overall(as_logits, task, split).metrics)
            found = values(overall(scored, task, split).metrics)
            assert found == pytest.approx(expected, abs=1e-9)


def test_spoof_detection_is_derived_from_the_three_tracing_tasks():
    protocol = protocol_of([("id", "x", "g", REAL), ("id", "y", "h", MVQ)])
    real = {"vq": [0.5, 0.1], "aux": [0.6, 0.2], "dec": [0.9, 0.3]}
    columns = {}
    for task, names in COLUMNS.items():
        columns[names[0]] = real[task]
        columns[names[1]] = [1 - p for p in real[task]]
        columns |= {name: [0.0, 0.0] for name in names[2:]}
    card = cfbench.score(answers(**columns), protocol, bootstrap=0)
    assert card.tasks["bin"].given == "derived"
    bona_fide = 1 - (0.5 * 0.4 * 0.1) ** (1 / 3)
    spoof = 1 - (0.9 * 0.8 * 0.7) ** (1 / 3)
    metrics = overall(card, "bin").metrics
    assert metrics["brier"].value == pytest.approx(((1 - bona_fide) ** 2 + spoof**2) / 2, abs=1e-10)
    assert metrics["log_loss"].value == pytest.approx(
        -(np.log(bona_fide) + np.log(1 - spoof)) / 2, abs=1e-10
    )


def test_nothing_is_derived_from_labels_or_from_two_tasks():
    protocol, predictions = random_case(0)
    two = predictions.select("utt_id", *COLUMNS["vq"], *COLUMNS["aux"])
    assert list(cfbench.score(two, protocol, logits=True, bootstrap=0).tasks) == ["vq", "aux"]
    labels = protocol.select("utt_id", *samples.TRACING)
    assert list(cfbench.score(labels, protocol, bootstrap=0).tasks) == ["vq", "aux", "dec"]


def test_joint_view_of_spoofed_speech():
    cells = [*[MVQ] * 5, REAL]
    protocol = protocol_of([("id", "x", f"g{i}", cell) for i, cell in enumerate(cells)])
    said = [
        ("bonafide", "mvq", "none", "time"),  # right, but for BIN
        ("spoof", "svq", "none", "time"),  # a known combination, and wrong
        ("spoof", "sq", "sem", "time"),  # no codec has it
        ("spoof", "real", "none", "time"),  # real or fake?
        ("spoof", *REAL),  # of one mind, but not with BIN
        ("spoof", "sq", "real", "time"),  # bona fide speech is left out
    ]
    columns = dict(zip(CLASSES, zip(*said, strict=True), strict=True))
    joint = cfbench.score(answers(**columns), protocol, bootstrap=0).joint["id"]
    assert (joint.utterances, joint.groups) == (5, 5)
    assert values(joint.metrics) == pytest.approx(
        {
            "exact_match": 1 / 5,
            "unknown_combination": 1 / 5,
            "contradiction": 1 / 5,
            "bin_contradiction": 3 / 5,
        }
    )


BROKEN_DOWN = [
    ("id", "VCTK", "g", REAL),
    *[("ood", "VALLE", "VALLE", MVQ)] * 4,
    ("ood", "VALLE", "VALLE", REAL),
    *[("ood", "CLAMTTS", "CLAMTTS", ("mvq", "none", "freq"))] * 2,
    ("ood", "SINGLECODEC", "SINGLECODEC", ("svq", "disent", "freq")),
]
BROKEN_DOWN_ANSWERS = ["real", "mvq", "mvq", "mvq", "svq", "real", "mvq", "real", "svq"]


@pytest.fixture(scope="module")
def broken_down():
    card = cfbench.score(answers(vq=BROKEN_DOWN_ANSWERS), protocol_of(BROKEN_DOWN), bootstrap=20)
    return card.tasks["vq"].splits["ood"]


def test_sources_and_the_worst_of_them(broken_down):
    rows = {row.source: row for row in broken_down.sources}
    assert rows["VALLE"].accuracy.value == pytest.approx(4 / 5)
    assert rows["VALLE"].spoof_accuracy.value == pytest.approx(3 / 4)
    assert rows["VALLE"].bonafide_accuracy.value == 1
    assert (rows["VALLE"].utterances, rows["VALLE"].spoofed, rows["VALLE"].truth) == (5, 4, "mvq")
    assert rows["CLAMTTS"].spoof_accuracy.value == pytest.approx(1 / 2)
    assert rows["CLAMTTS"].bonafide_accuracy.value is None
    assert rows["CLAMTTS"].bonafide_accuracy.reason == "the source has no bona fide utterances"
    assert (rows["CLAMTTS"].subset, rows["SINGLECODEC"].subset) == ("seen-codec", "unseen-codec")
    assert broken_down.worst_source == "CLAMTTS"


def test_every_source_weighs_the_same_in_the_view_of_equal_sources(broken_down):
    # An utterance of VALLE weighs 1/5, of CLAMTTS 1/2, of SINGLECODEC 1.
    real = 2 * 0.2 / (0.2 + (0.2 + 0.5))
    mvq = 2 * (0.6 + 0.5) / ((0.8 + 1) + (0.6 + 0.5))
    svq = 2 * 1 / (1 + (1 + 0.2))
    assert values(broken_down.equal_sources) == pytest.approx(
        {
            "macro_f1": (real + mvq + svq) / 3,
            "macro_f1_spoofed": (mvq + svq) / 2,
            "weighted_f1": (0.2 * real + 1.8 * mvq + 1 * svq) / 3,
            "accuracy": (4 / 5 + 1 / 2 + 1) / 3,
            "balanced_accuracy": (1 + 1.1 / 1.8 + 1) / 3,
        }
    )


def test_the_split_without_its_largest_source(broken_down):
    without = broken_down.without_largest_source
    assert without.source == "VALLE"
    assert without.view.utterances == 3
    assert without.view.metrics["accuracy"].value == pytest.approx(2 / 3)
    # mvq: 1 of 2, nothing else said mvq; svq: right. No bona fide speech is left.
    assert without.view.metrics["macro_f1"].value == pytest.approx((2 / 3 + 1) / 2)


def test_scoring_the_out_of_domain_split_alone_leaves_nothing_out(broken_down):
    card = cfbench.score(
        answers(vq=BROKEN_DOWN_ANSWERS), protocol_of(BROKEN_DOWN), splits=["ood"], bootstrap=20
    )
    assert card.tasks["vq"].splits["ood"] == broken_down


def test_subsets_of_a_split(broken_down):
    subsets = broken_down.subsets
    assert set(subsets) == {"seen-codec", "unseen-codec"}
    assert subsets["seen-codec"].metrics["accuracy"].value == pytest.approx(5 / 7)
    assert subsets["unseen-codec"].metrics["accuracy"].value == 1
    assert subsets["unseen-codec"].support == {"real": 0, "mvq": 0, "svq": 1, "sq": 0}


def test_trivial_predictors_of_a_split(broken_down):
    trivial = broken_down.trivial
    # 1 bona fide, 6 mvq, 1 svq.
    assert trivial["majority"]["macro_f1"] == pytest.approx((12 / 14) / 3)
    assert trivial["majority"]["macro_f1_spoofed"] == pytest.approx((12 / 14) / 2)
    assert trivial["detector"]["macro_f1"] == pytest.approx((1 + 12 / 13) / 3)
    assert trivial["detector"]["weighted_f1"] == pytest.approx((1 + 6 * 12 / 13) / 8)
    assert trivial["detector"]["macro_f1_spoofed"] == pytest.approx((12 / 13) / 2)
    assert trivial["uniform"]["accuracy"] == pytest.approx(1 / 4)
    # Each class is answered twice in eight: F1 = 2 (n/4) / (n + 2).
    of_one, of_six = 2 * (1 / 4) / 3, 2 * (6 / 4) / 8
    assert trivial["uniform"]["macro_f1"] == pytest.approx((2 * of_one + of_six) / 3)


def test_a_perfect_detector_is_no_trivial_predictor_of_detection():
    protocol, predictions = random_case(0)
    card = cfbench.score(predictions, protocol, logits=True, bootstrap=0)
    trivial = card.tasks["bin"].splits["id"].trivial
    assert set(trivial) == {"majority", "uniform"}
    assert trivial["uniform"]["eer"] == trivial["majority"]["eer"] == 0.5


TWO_SPLITS = [
    *[("id", "x", f"g{i}", cell) for i, cell in enumerate([REAL, REAL, MVQ, MVQ])],
    *[("ood", "VALLE", f"h{i}", cell) for i, cell in enumerate([REAL, REAL, REAL, MVQ, MVQ])],
]
TWO_SPLITS_SCORES = [0.9, 0.8, 0.3, 0.1, 0.85, 0.5, 0.79, 0.95, 0.2]


def test_the_threshold_of_the_in_domain_eer_is_kept_out_of_domain():
    scores = answers(bin_bonafide=TWO_SPLITS_SCORES)
    transfer = cfbench.score(scores, protocol_of(TWO_SPLITS)).tasks["bin"].threshold_transfer
    assert (transfer.from_split, transfer.to_split, transfer.threshold) == ("id", "ood", 0.8)
    assert transfer.miss.value == pytest.approx(2 / 3)
    assert transfer.false_alarm.value == pytest.approx(1 / 2)


def test_a_drop_is_positive_where_out_of_domain_is_worse():
    scores = answers(bin_bonafide=TWO_SPLITS_SCORES)
    drop = cfbench.score(scores, protocol_of(TWO_SPLITS), bootstrap=0).tasks["bin"].drop
    # EER 0 in domain; out of domain the curve goes from (1/3, 1/2) to (2/3, 1/2).
    assert (drop.metric, drop.from_split, drop.to_split) == ("eer", "id", "ood")
    assert drop.number.value == pytest.approx(1 / 2)
    labels = answers(vq=["real", "real", "mvq", "mvq", "real", "real", "real", "mvq", "real"])
    drop = cfbench.score(labels, protocol_of(TWO_SPLITS), bootstrap=0).tasks["vq"].drop
    # F1 out of domain: real 2 * 3 / (3 + 4), mvq 2 * 1 / (2 + 1).
    assert drop.metric == "macro_f1"
    assert drop.number.value == pytest.approx(1 - (6 / 7 + 2 / 3) / 2)


# Missing predictions


def test_missing_utterances_are_wrong_answers():
    protocol = protocol_of([("id", "x", f"g{i}", c) for i, c in enumerate([REAL, REAL, MVQ, MVQ])])
    predictions = answers(
        bin_bonafide=[0.9, 0.5, 0.1, 0.5], vq=["real", "real", "mvq", "mvq"]
    ).filter(pl.col("utt_id").is_in(["u0", "u2"]))
    with pytest.raises(CfbenchError, match=r"2 utterances are missing: u1, u3"):
        cfbench.score(predictions, protocol)
    card = cfbench.score(predictions, protocol, allow_missing=True, bootstrap=0)
    assert card.protocol["id"].missing == 2
    assert (card.predictions.utterances, card.settings.allow_missing) == (2, True)
    assert any("2 utterances" in note and "wrong" in note for note in card.notes)
    tracing, detection = overall(card, "vq"), overall(card, "bin")
    assert tracing.answers == (*CLASSES["vq"], "missing")
    assert tracing.confusion[:2] == ((1, 0, 0, 0, 1), (0, 1, 0, 0, 1))
    # Precision 1, recall 1/2.
    assert tracing.metrics["macro_f1"].value == pytest.approx(2 / 3)
    assert detection.metrics["accuracy"].value == 0.5
    # A missing bona fide utterance is below every score and a missing spoof above.
    assert detection.metrics["eer"].value == pytest.approx(1 / 2)
    assert detection.metrics["auroc"].value == pytest.approx(1 / 4)
    assert detection.metrics["brier"].value == pytest.approx((0.01 + 1 + 0.01 + 1) / 4, abs=1e-10)


@pytest.mark.slow
@given(seeds, st.floats(0.1, 0.9))
@few_examples
def test_an_allowed_missing_prediction_is_never_better_than_a_given_one(seed, share):
    protocol, predictions = random_case(seed)
    kept = predictions.filter(np.random.default_rng(seed).random(predictions.height) > share)
    if not kept.height:
        return
    whole = cfbench.score(predictions, protocol, logits=True, bootstrap=0)
    part = cfbench.score(kept, protocol, logits=True, allow_missing=True, bootstrap=0)
    for split in ("id", "ood"):
        for task in ("bin", "vq"):
            better, worse = overall(whole, task, split).metrics, overall(part, task, split).metrics
            for name in ("accuracy", "balanced_accuracy", "auroc"):
                if name in better:
                    assert worse[name].value <= better[name].value
            for name in ("eer", "min_dcf", "log_loss", "brier"):
                if name in better:
                    assert worse[name].value >= better[name].value - 1e-12


@pytest.mark.parametrize("missing", ["id", "ood"])
def test_a_whole_split_may_be_missing(missing):
    protocol, predictions = random_case(1)
    kept = predictions.join(protocol.filter(pl.col("split") != missing), on="utt_id", how="semi")
    card = cfbench.score(kept, protocol, logits=True, allow_missing=True, bootstrap=50)
    assert overall(card, "vq", missing).metrics["accuracy"].value == 0
    assert overall(card, "bin", missing).metrics["eer"].value == 1
    json.loads(card.to_json(), parse_constant=pytest.fail)


@given(seeds)
@few_examples
def test_dropping_any_row_always_fails(seed):
    protocol, predictions = random_case(seed, groups=3)
    dropped = int(np.random.default_rng(seed).integers(predictions.height))
    kept = predictions.filter(pl.int_range(pl.len()) != dropped)
    with pytest.raises(CfbenchError, match=rf"1 utterance is missing: u{dropped}\b"):
        cfbench.score(kept, protocol, logits=True)


# Intervals


def test_without_resamples_there_are_no_intervals():
    protocol, predictions = random_case(0)
    card = cfbench.score(predictions, protocol, logits=True, bootstrap=0)
    found = [number for _, number in numbers_of(card)]
    assert len(found) > 100
    for number in found:
        assert number.interval is None
        assert number.utterance_interval is None


def test_resamples_that_lost_a_class_are_counted_and_left_out():
    # svq is in one group of six, so that (5/6)^6 = 33.5 % of resamples have none of it.
    cells = [[REAL, MVQ, MVQ]] * 5 + [[REAL, MVQ, SVQ]]
    protocol = protocol_of(
        [("id", "x", f"g{number}", cell) for number, group in enumerate(cells) for cell in group]
    )
    labels = protocol["vq"].to_list()
    labels[1] = "real"
    view = overall(cfbench.score(answers(vq=labels), protocol, bootstrap=1000), "vq")
    assert set(view.lost) == {"svq"}
    assert view.lost["svq"] == pytest.approx((5 / 6) ** 6, abs=0.06)
    defined = round(1000 * (1 - view.lost["svq"]))
    assert view.metrics["macro_f1"].interval.replicates == defined
    assert view.classes[2].recall.interval.replicates == defined
    assert view.metrics["accuracy"].interval.replicates == 1000
    assert any("svq" in note for note in view.notes)


@pytest.mark.parametrize(("groups", "given_interval", "warned"), [(4, 0, 0), (5, 1, 1), (30, 1, 0)])
def test_few_groups_are_warned_of_and_too_few_have_no_interval(groups, given_interval, warned):
    rows = [("id", "x", f"g{g}", cell) for g in range(groups) for cell in (REAL, MVQ)]
    labels = protocol_of(rows)["vq"].to_list()
    labels[0] = "mvq"
    view = overall(cfbench.score(answers(vq=labels), protocol_of(rows), bootstrap=100), "vq")
    accuracy = view.metrics["accuracy"]
    assert (accuracy.interval is not None) == given_interval
    assert (accuracy.interval_reason is None) == given_interval
    assert accuracy.utterance_interval is not None
    assert any("groups are few" in note for note in view.notes) == warned


def test_an_interval_without_a_defined_resample_says_why():
    # Each class is in one group of its own: a resample of six that holds all four is rare.
    cells = [REAL, MVQ, SVQ, ("sq", "none", "time"), MVQ, MVQ]
    protocol = protocol_of([("id", "x", f"g{i}", cell) for i, cell in enumerate(cells)])
    reasons = []
    for seed in range(20):
        card = cfbench.score(answers(vq=protocol["vq"]), protocol, bootstrap=1, seed=seed)
        number = overall(card, "vq").metrics["macro_f1"]
        assert (number.interval is None) == (number.interval_reason is not None)
        reasons.append(number.interval_reason)
    assert "fewer than 20 resamples hold every class that it needs" in reasons


def test_intervals_hold_the_value_and_stay_in_range():
    protocol, predictions = random_case(5, groups=40)
    card = cfbench.score(predictions, protocol, logits=True, bootstrap=300)
    checked = 0
    for task in card.tasks.values():
        for split in task.splits.values():
            for name, number in split.overall.metrics.items():
                for interval in filter(None, (number.interval, number.utterance_interval)):
                    described = card.metrics[name]
                    assert described.low <= interval.low <= interval.high
                    assert described.high is None or interval.high <= described.high
                    assert interval.low <= number.value <= interval.high
                    checked += 1
    assert checked > 60


def of_rows(rows):
    """Some metrics of the rows of one split, from their definitions."""
    found = {}
    for task, names in COLUMNS.items():
        truth = rows[task].to_physical().to_numpy()
        answer = rows.select(names).to_numpy().argmax(axis=1)
        matrix = np.histogram2d(truth, answer, bins=[np.arange(len(names) + 1)] * 2)[0]
        found[task, "accuracy"] = matrix.trace() / matrix.sum()
        present = matrix.sum(axis=1) > 0
        f1 = 2 * matrix.diagonal()[present] / (matrix.sum(axis=0) + matrix.sum(axis=1))[present]
        found[task, "macro_f1"] = f1.mean()
        found[task, "right"] = truth == answer
    real = (rows["bin"] == "bonafide").to_numpy()
    exact = np.logical_and.reduce([found.pop((task, "right")) for task in COLUMNS])
    found["exact_match"] = exact[~real].mean()
    llr = rows["bin_bonafide"].to_numpy()
    found["bin", "cllr"] = sum(
        np.log2(1 + np.exp(sign * llr[side])).mean() / 2 for sign, side in ((-1, real), (1, ~real))
    )
    found["bin", "log_loss"] = np.log1p(np.exp(np.where(real, -llr, llr))).mean()
    bonafide, spoof, thresholds = np.sort(llr[real]), np.sort(llr[~real]), np.sort(llr)
    miss = np.searchsorted(bonafide, thresholds) / bonafide.size
    alarm = 1 - np.searchsorted(spoof, thresholds) / spoof.size
    found["bin", "eer"] = np.interp(0, miss - alarm, miss)
    found["bin", "min_dcf"] = min(1, (1.9 * miss + alarm).min(), 1.9)
    found["bin", "auroc"] = np.searchsorted(spoof, bonafide).mean() / spoof.size
    return found


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["group", "utt_id"])
def test_intervals_agree_with_drawing_rows_and_computing_again(unit):
    protocol, predictions = random_case(2, groups=30)
    card = cfbench.score(predictions, protocol, logits=True, bootstrap=2000)
    rows = protocol.join(predictions, on="utt_id").filter(pl.col("split") == "ood")
    rows = rows.with_columns(pl.col(task).cast(pl.Enum(CLASSES[task])) for task in COLUMNS)
    of_unit = rows.with_row_index().group_by(unit, maintain_order=True).agg("index")["index"]
    members = [part.to_numpy() for part in of_unit]
    generator = np.random.default_rng(99)
    drawn = [
        of_rows(rows[np.concatenate([members[i] for i in generator.integers(0, n, n)])])
        for n in [len(members)] * 500
    ]
    point = of_rows(rows)
    compared = 0
    for name, value in point.items():
        if name == "exact_match":
            number = card.joint["ood"].metrics[name]
        else:
            number = overall(card, name[0], "ood").metrics[name[1]]
        assert number.value == pytest.approx(value, abs=1e-9)
        interval = number.interval if unit == "group" else number.utterance_interval
        if interval is None:
            continue
        low, high = np.percentile([resample[name] for resample in drawn], [2.5, 97.5])
        # 500 resamples place a 2.5th percentile within 3 % of the width, one standard deviation.
        assert interval.low == pytest.approx(low, abs=0.12 * (high - low)), name
        assert interval.high == pytest.approx(high, abs=0.12 * (high - low)), name
        compared += 1
    assert compared >= 11


# The scorecard as a record


def test_the_same_input_gives_the_same_bytes_and_another_seed_does_not():
    protocol, predictions = random_case(7)
    first, again, other = (
        cfbench.score(predictions, protocol, logits=True, bootstrap=100, seed=seed).to_json()
        for seed in (0, 0, 1)
    )
    assert first == again
    assert first != other


@pytest.fixture(scope="module")
def odd_cards():
    """Scorecards in which much is not defined."""
    protocol, predictions = random_case(11)
    of_spoofs = protocol_of([("id", "x", f"g{i}", MVQ) for i in range(6)])
    one = protocol_of([("ood", "VALLE", "VALLE", REAL)])
    return [
        cfbench.score(predictions, protocol, logits=True, bootstrap=30),
        cfbench.score(predictions[::2], protocol, logits=True, allow_missing=True, bootstrap=30),
        cfbench.score(answers(bin_bonafide=[0.1] * 6), of_spoofs, bootstrap=30),
        cfbench.score(answers(vq=["mvq"] * 6, dec=["freq"] * 6), of_spoofs, bootstrap=30),
        cfbench.score(answers(bin=["spoof"], vq=["sq"]), one, bootstrap=30),
        cfbench.score(samples.label_frame(), samples.protocol_frame(), bootstrap=30),
        cfbench.score(samples.probability_frame(), samples.protocol_frame(), bootstrap=30),
    ]


def test_what_is_not_defined_is_null_with_a_reason(odd_cards):
    missing = 0
    for card in odd_cards:
        for place, number in numbers_of(card):
            assert (number.value is None) == bool(number.reason), place
            missing += number.value is None
    assert missing > 50


def test_what_has_no_interval_says_why(odd_cards):
    for card in odd_cards:
        for place, number in numbers_of(card):
            if number.value is not None:
                assert (number.interval is None) == bool(number.interval_reason), place


def test_nothing_in_the_json_is_nan_or_infinite(odd_cards):
    for card in odd_cards:
        json.loads(card.to_json(), parse_constant=pytest.fail)


def test_a_scorecard_survives_being_written_and_read(odd_cards, tmp_path):
    for card in odd_cards:
        path = tmp_path / "card.json"
        path.write_text(card.to_json(), encoding="utf-8")
        again = read_scorecard(path)
        assert again == card
        assert again.to_json() == card.to_json()


def matches(value, schema, root):
    """Whether a value fits a JSON schema, of the keywords that ours uses."""
    if "$ref" in schema:
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    if "anyOf" in schema:
        return any(matches(value, option, root) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return value == schema["const"]
    kind = schema["type"]
    if kind == "object":
        known, others = schema.get("properties", {}), schema.get("additionalProperties", True)
        return isinstance(value, dict) and all(
            matches(item, known[name], root) if name in known
            else others is not False and (others is True or matches(item, others, root))
            for name, item in value.items()
        ) and set(schema.get("required", ())) <= set(value)  # fmt: skip
    if kind == "array":
        return isinstance(value, list) and all(matches(x, schema["items"], root) for x in value)
    if kind == "null":
        return value is None
    if isinstance(value, bool):
        return kind == "boolean"
    types = {"string": str, "integer": int, "number": (int, float)}
    return isinstance(value, types[kind])


def test_every_scorecard_fits_the_published_schema(odd_cards):
    schema = json.loads(json_schema())
    for card in odd_cards:
        assert matches(json.loads(card.to_json()), schema, schema)


def test_the_schema_refuses_what_is_no_scorecard(odd_cards):
    schema = json.loads(json_schema())
    good = json.loads(odd_cards[0].to_json())
    for damage in (
        {"schema_version": "0"},
        {"surplus": 1},
        {"settings": good["settings"] | {"seed": "0"}},
        {"notes": [1]},
        {"tasks": {"vq": {}}},
    ):
        assert not matches(good | damage, schema, schema)
    del good["track"]
    assert not matches(good, schema, schema)


def test_every_metric_of_a_scorecard_is_described_in_it(odd_cards):
    card = odd_cards[0]
    for task in card.tasks.values():
        assert task.headline in card.metrics
        for split in task.splits.values():
            assert set(split.overall.metrics) <= set(card.metrics)
            assert set(split.equal_sources) <= set(card.metrics)
    for joint in card.joint.values():
        assert set(joint.metrics) <= set(card.metrics)


# What must not matter


@pytest.mark.slow
@given(seeds)
@few_examples
def test_the_order_of_rows_and_columns_does_not_matter(seed):
    protocol, predictions = random_case(seed)
    generator = np.random.default_rng(seed)

    def shuffled(frame):
        columns = generator.permutation(frame.columns).tolist()
        return frame[generator.permutation(frame.height)].select(columns)

    expected = cfbench.score(predictions, protocol, logits=True, bootstrap=50).to_json()
    found = cfbench.score(shuffled(predictions), shuffled(protocol), logits=True, bootstrap=50)
    assert found.to_json() == expected


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["csv", "tsv", "parquet", "jsonl", "csv.gz"])
@given(seed=seeds)
@settings(
    max_examples=2, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_the_file_format_does_not_matter(seed, ending, tmp_path):
    protocol, predictions = random_case(seed, groups=5)
    expected = cfbench.score(predictions, protocol, logits=True, bootstrap=20).to_json()
    path = samples.write_frame(predictions, tmp_path / f"predictions.{ending}")
    truth = samples.write_frame(protocol, tmp_path / f"protocol.{ending}")
    assert cfbench.score(path, truth, logits=True, bootstrap=20).to_json() == expected


def renamed(seed, protocol, predictions):
    """Utterances and groups under new names, whose order is another one."""
    generator = np.random.default_rng(seed)
    ids, groups = protocol["utt_id"].to_list(), protocol["group"].unique().sort().to_list()
    new_ids = dict(zip(ids, [f"n{i:05d}" for i in generator.permutation(len(ids))], strict=True))
    new_groups = dict(
        zip(groups, [f"k{i:05d}" for i in generator.permutation(len(groups))], strict=True)
    )
    id_column = pl.col("utt_id").replace_strict(new_ids)
    return (
        protocol.with_columns(id_column, pl.col("group").replace_strict(new_groups)),
        predictions.with_columns(id_column),
    )


def without_digests(card):
    data = json.loads(card.to_json())
    del data["predictions"]["digest"]
    for split in data["protocol"].values():
        del split["digest"]
    return data


# Logits a hundred times too large are all beyond where losses are bounded.
@pytest.mark.slow
@given(seeds, st.sampled_from([1.0, 100.0]))
@few_examples
def test_names_do_not_matter(seed, scale):
    protocol, predictions = random_case(seed, groups=60, of_group=(0, 4), scale=scale)
    expected = cfbench.score(predictions, protocol, logits=True, bootstrap=50)
    again, said = renamed(seed, protocol, predictions)
    card = cfbench.score(said, again, logits=True, bootstrap=50)
    assert card.predictions.digest != expected.predictions.digest
    assert without_digests(card) == without_digests(expected)


def test_names_do_not_matter_where_groups_differ_in_scores_beyond_the_bound_only():
    # Every group is one utterance with a score beyond +-36, where the loss is bounded, and there
    # are more distinct scores than blocks: only the order of the scores tells groups apart.
    generator = np.random.default_rng(0)
    protocol = protocol_of([("id", "x", f"g{i}", REAL if i % 2 else MVQ) for i in range(600)])
    scores = generator.normal(0, 1, 600)
    predictions = answers(bin_bonafide=np.sign(scores) * (40 + 100 * abs(scores)))
    expected = cfbench.score(predictions, protocol, logits=True, bootstrap=50)
    for seed in range(5):
        again, said = renamed(seed, protocol, predictions)
        card = cfbench.score(said, again, logits=True, bootstrap=50)
        assert without_digests(card) == without_digests(expected)


@pytest.mark.parametrize("task", ["bin", "vq", "aux", "dec"])
def test_scoring_one_task_gives_what_scoring_all_gives(task):
    protocol, predictions = random_case(4)
    all_tasks = cfbench.score(predictions, protocol, logits=True, bootstrap=50)
    alone = cfbench.score(predictions, protocol, logits=True, bootstrap=50, tasks=[task])
    assert list(alone.tasks) == [task]
    assert alone.tasks[task] == all_tasks.tasks[task]


@pytest.mark.parametrize("split", ["id", "ood"])
def test_scoring_one_split_gives_what_scoring_both_gives(split):
    protocol, predictions = random_case(4)
    both = cfbench.score(predictions, protocol, logits=True, bootstrap=50)
    alone = cfbench.score(predictions, protocol, logits=True, bootstrap=50, splits=[split])
    assert list(alone.protocol) == [split]
    for task in both.tasks:
        assert overall(alone, task, split) == overall(both, task, split)
        assert alone.tasks[task].drop is None
        assert alone.tasks[task].threshold_transfer is None
    assert alone.joint[split] == both.joint[split]


@pytest.mark.parametrize(
    "asked", [{"bootstrap": -1}, {"seed": -1}, {"splits": []}, {"tasks": []}, {"splits": ["odd"]}]
)
def test_what_cannot_be_done_is_refused_with_a_message(asked):
    protocol, predictions = random_case(4, groups=3)
    with pytest.raises(CfbenchError):
        cfbench.score(predictions, protocol, logits=True, **asked)


# A second opinion on everything at once


@pytest.mark.slow
@given(seeds)
@few_examples
def test_all_metrics_of_random_predictions_agree_with_scikit_learn(seed):
    protocol, logits = random_case(seed)
    predictions = as_probabilities(logits)
    card = cfbench.score(predictions, protocol, bootstrap=0)
    for split in ("id", "ood"):
        rows = protocol.join(predictions, on="utt_id").filter(pl.col("split") == split)
        for task, names in COLUMNS.items():
            expected = by_scikit_learn(
                rows[task].replace_strict(CLASSES[task], range(len(names))).to_numpy(),
                rows.select(names).to_numpy(),
            )
            found = values(overall(card, task, split).metrics)
            assert found == pytest.approx(expected, abs=1e-9)
        real = (rows["bin"] == "bonafide").to_numpy()
        score = rows["bin_bonafide"].to_numpy()
        found = values(overall(card, "bin", split).metrics)
        expected = by_scikit_learn(real.astype(int), np.column_stack([1 - score, score]))
        for name in ("macro_f1", "weighted_f1", "accuracy", "balanced_accuracy", "log_loss", "ece"):
            assert found[name] == pytest.approx(expected[name], abs=1e-9)
        assert found["brier"] == pytest.approx(
            sklearn.metrics.brier_score_loss(real, score), abs=1e-9
        )
        assert found["auroc"] == pytest.approx(
            sklearn.metrics.roc_auc_score(real, score), abs=1e-12
        )


def by_scikit_learn(truth, probabilities):
    answer, classes = probabilities.argmax(axis=1), list(range(probabilities.shape[1]))
    present = sorted(set(truth.tolist()))
    confidence, right = probabilities.max(axis=1), answer == truth
    bins = np.ceil(confidence * 15)
    ece = sum(abs((right[bins == b] - confidence[bins == b]).sum()) for b in np.unique(bins)) / len(
        truth
    )

    def f1(labels, average):
        return sklearn.metrics.f1_score(
            truth, answer, labels=labels, average=average, zero_division=0
        )

    return {
        "macro_f1": f1(present, "macro"),
        "macro_f1_spoofed": f1([label for label in present if label], "macro"),
        "weighted_f1": f1(present, "weighted"),
        "accuracy": sklearn.metrics.accuracy_score(truth, answer),
        "balanced_accuracy": sklearn.metrics.recall_score(
            truth, answer, labels=present, average="macro", zero_division=0
        ),
        "log_loss": sklearn.metrics.log_loss(truth, probabilities, labels=classes),
        "brier": sklearn.metrics.brier_score_loss(
            truth, probabilities, labels=classes, scale_by_half=False
        ),
        "ece": ece,
    }


def test_predictions_of_splits_that_were_not_asked_for_are_left_aside_and_counted():
    protocol, predictions = random_case(4, groups=3)
    card = cfbench.score(predictions, protocol, logits=True, splits=["ood"], bootstrap=0)
    in_domain = (protocol["split"] == "id").sum()
    assert card.predictions.left_aside == in_domain
    assert any("left aside" in note for note in card.notes)


def test_a_system_below_the_perfect_detector_is_told_so():
    card = cfbench.score(answers(vq=BROKEN_DOWN_ANSWERS), protocol_of(BROKEN_DOWN), bootstrap=0)
    assert not any("vq, ood" in note and "perfect" in note for note in card.notes)
    worse = answers(vq=["real"] * len(BROKEN_DOWN))
    card = cfbench.score(worse, protocol_of(BROKEN_DOWN), bootstrap=0)
    assert any("vq, ood" in note and "perfect" in note for note in card.notes)


def test_a_scorecard_is_frozen():
    protocol, predictions = random_case(4, groups=3)
    card = cfbench.score(predictions, protocol, logits=True, bootstrap=0)
    with pytest.raises(ValueError, match="frozen"):
        card.notes = ()
    assert isinstance(card, Scorecard)
    assert math.isfinite(overall(card, "vq").metrics["macro_f1"].value)


def test_every_source_weighing_the_same_agrees_with_resampling_generators_in_full():
    # Ten generators, each a group: a generator drawn twice weighs twice.
    generator = np.random.default_rng(5)
    n, sources = 400, 10
    source = generator.integers(0, sources, n)
    right = generator.random(n) < np.linspace(0.2, 0.9, sources)[source]
    names = [f"g{number}" for number in source]
    protocol = pl.DataFrame(
        {
            "utt_id": [f"u{row}" for row in range(n)],
            "split": "ood",
            "source": names,
            "group": names,
            "bin": "spoof",
            "vq": "mvq",
            "aux": "none",
            "dec": "time",
        }
    )
    said = protocol.select(
        "utt_id", dec=pl.when(pl.Series(right)).then(pl.lit("time")).otherwise(pl.lit("freq"))
    )
    number = cfbench.score(said, protocol).tasks["dec"].splits["ood"].equal_sources["accuracy"]
    share = np.array([right[source == index].mean() for index in range(sources)])
    assert number.value == pytest.approx(share.mean())
    drawn = share[generator.integers(0, sources, (20_000, sources))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert number.interval.low == pytest.approx(low, abs=0.02)
    assert number.interval.high == pytest.approx(high, abs=0.02)


def test_spoof_detection_has_no_average_over_spoofed_classes():
    protocol, predictions = random_case(0)
    split = cfbench.score(predictions, protocol, logits=True).tasks["bin"].splits["id"]
    assert "macro_f1_spoofed" not in split.equal_sources
    assert "macro_f1_spoofed" not in split.overall.metrics


def test_a_track_that_does_not_ask_a_task_refuses_its_answers(tmp_path):
    protocol, predictions = random_case(0)
    track = tmp_path / "own.toml"
    track.write_text(
        'name = "own"\ntitle = "Own"\nversion = "1"\ndescription = ""\ntasks = ["bin", "vq"]\n'
        'scored = ["id", "ood"]\n[splits.id]\ntitle = "In"\ngroup = "clip"\n'
        '[splits.ood]\ntitle = "Out"\ngroup = "clip"\n'
    )
    asked = protocol.drop("aux", "dec")
    said = predictions.drop("bin_bonafide")
    with pytest.raises(CfbenchError, match="answer aux, which own does not ask"):
        cfbench.score(said, asked, track=str(track), logits=True)
    card = cfbench.score(said, asked, track=str(track), logits=True, tasks=["vq"])
    assert list(card.tasks) == ["vq"]


def test_precision_leaves_out_the_resamples_that_recall_leaves_out():
    rows = [("ood", f"s{i}", f"g{i}", MVQ) for i in range(9)]
    rows += [("ood", "s9", "g9", ("svq", "none", "time"))]
    protocol = protocol_of(rows)
    said = answers(vq=protocol["vq"])
    classes = overall(cfbench.score(said, protocol, bootstrap=400), "vq", "ood").classes
    rare = next(cls for cls in classes if cls.name == "svq")
    replicates = {n.interval.replicates for n in (rare.precision, rare.recall, rare.f1)}
    assert len(replicates) == 1
    assert rare.precision.interval.low == 1.0


def test_predictions_that_are_read_take_no_options_of_reading():
    protocol, predictions = random_case(0)
    read = cfbench.read_predictions(predictions, logits=True)
    assert list(cfbench.score(read, protocol, bootstrap=0).tasks) == ["bin", "vq", "aux", "dec"]
    with pytest.raises(CfbenchError, match="read already"):
        cfbench.score(read, protocol, tasks=["vq"])
