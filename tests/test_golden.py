"""Agreement with what the authors' own code returns for the same predictions."""

import json

import numpy as np
import polars as pl
import pytest

import cfbench

# What their results call the tasks.
TASKS = {"aux": "AS", "dec": "DS", "vq": "QS"}
SPLITS = {"id": "CoRS_ALL", "ood": "CoSG_ALL"}
CLOSE = {"abs": 1e-12, "rel": 0}


@pytest.fixture(scope="module")
def authors(golden):
    return json.loads((golden / "metrics" / "authors_results.json").read_text())["cases"]


@pytest.fixture(scope="module")
def card(golden, protocols):
    return cfbench.score(golden / "metrics", protocols, bootstrap=0)


@pytest.fixture(params=SPLITS)
def split(request):
    return request.param


@pytest.fixture(params=TASKS)
def task(request):
    return request.param


def test_the_whole_protocol_is_scored(card, authors, split):
    expected = authors[SPLITS[split]]["BIN"]
    view = card.tasks["bin"].splits[split].overall
    assert view.utterances == expected["n_trials"]
    assert view.support == {"spoof": expected["n_spoof"], "bonafide": expected["n_bonafide"]}


def test_eer_of_the_paper(card, authors, split):
    metrics = card.tasks["bin"].splits[split].overall.metrics
    expected = authors[SPLITS[split]]["BIN"]["official_eer"]
    assert metrics["eer_paper"].value == pytest.approx(expected, **CLOSE)


def test_tie_aware_eer(card, authors, split):
    metrics = card.tasks["bin"].splits[split].overall.metrics
    expected = authors[SPLITS[split]]["EER_roc_interp_tie_aware"]
    assert metrics["eer"].value == pytest.approx(expected, **CLOSE)


def test_auroc(card, authors, split):
    metrics = card.tasks["bin"].splits[split].overall.metrics
    assert metrics["auroc"].value == pytest.approx(authors[SPLITS[split]]["ROC_AUC"], **CLOSE)


def test_weighted_f1_of_the_paper(card, authors, split, task):
    metrics = card.tasks[task].splits[split].overall.metrics
    expected = authors[SPLITS[split]][TASKS[task]]["official_weighted_f1"]
    assert metrics["weighted_f1"].value == pytest.approx(expected, **CLOSE)


def test_macro_f1_accuracy_and_balanced_accuracy(card, authors, split, task):
    metrics = card.tasks[task].splits[split].overall.metrics
    expected = authors[SPLITS[split]][TASKS[task]]
    assert metrics["macro_f1"].value == pytest.approx(expected["macro_f1_present_labels"], **CLOSE)
    assert metrics["accuracy"].value == pytest.approx(expected["accuracy"], **CLOSE)
    assert metrics["balanced_accuracy"].value == pytest.approx(
        expected["balanced_accuracy"], **CLOSE
    )


def test_each_class(card, authors, split, task):
    classes = card.tasks[task].splits[split].overall.classes
    expected = authors[SPLITS[split]][TASKS[task]]
    assert [score.support for score in classes] == expected["support"]
    for name in ("precision", "recall", "f1"):
        found = [getattr(score, name).value for score in classes]
        assert found == pytest.approx(expected[f"per_class_{name}"], **CLOSE)


def test_confusion_matrix(card, authors, split, task):
    confusion = card.tasks[task].splits[split].overall.confusion
    expected = authors[SPLITS[split]][TASKS[task]]["confusion_matrix_rows_true"]
    assert [list(row) for row in confusion] == expected


@pytest.mark.parametrize(
    ("task_id", "macro", "spoofed", "weighted"),
    [("aux", 0.492, 0.323, 0.953), ("vq", 0.488, 0.318, 0.932), ("dec", 0.612, 0.418, 0.793)],
)
def test_a_perfect_detector_alone_gets_far_on_cosg(card, task_id, macro, spoofed, weighted):
    trivial = card.tasks[task_id].splits["ood"].trivial["detector"]
    assert trivial["macro_f1"] == pytest.approx(macro, abs=5e-4)
    assert trivial["macro_f1_spoofed"] == pytest.approx(spoofed, abs=5e-4)
    assert trivial["weighted_f1"] == pytest.approx(weighted, abs=5e-4)


def test_subsets_are_cosg_seen_and_the_rest(card):
    subsets = card.tasks["vq"].splits["ood"].subsets
    assert {name: view.utterances for name, view in subsets.items()} == {
        "seen-codec": 577,
        "unseen-codec": 1797 - 577,
    }


def test_the_largest_source_of_cosg_is_left_out_in_one_view(card):
    without = card.tasks["vq"].splits["ood"].without_largest_source
    assert without.source == "MASKGCT"
    assert without.view.utterances == 1797 - 2 * 576


def test_derived_spoof_score_of_the_m2_model(golden):
    """The classes of the four clips of the golden run, and the score M2's inference gives them."""
    with np.load(golden / "model" / "m2_golden_small.npz") as m2:
        heads = {"vq": m2["softmax_qs"], "aux": m2["softmax_as"], "dec": m2["softmax_ds"]}
        expected = m2["binary_score"].astype(np.float64)
    ids = [f"clip{number}" for number in range(len(expected))]
    columns = {
        "vq": ("vq_real", "vq_mvq", "vq_svq", "vq_sq"),
        "aux": ("aux_real", "aux_none", "aux_sem", "aux_disent"),
        "dec": ("dec_real", "dec_time", "dec_freq"),
    }
    predictions = pl.DataFrame(
        {"utt_id": ids}
        | {
            name: heads[task_id][:, index].astype(np.float64)
            for task_id, names in columns.items()
            for index, name in enumerate(names)
        }
    )
    # One clip bona fide at a time against the lowest score: with two utterances, the Brier score
    # of the pair gives both probabilities away.
    lowest = int(np.argmin(expected))
    for clip in range(len(expected)):
        if clip == lowest:
            continue
        pair = [ids[clip], ids[lowest]]
        protocol = pl.DataFrame(
            {
                "utt_id": pair,
                "split": "id",
                "source": ["VCTK", "bigcodec"],
                "group": pair,
                "bin": ["bonafide", "spoof"],
                "vq": ["real", "svq"],
                "aux": ["real", "none"],
                "dec": ["real", "time"],
            }
        )
        given = predictions.filter(pl.col("utt_id").is_in(pair))
        scored = cfbench.score(given, protocol, bootstrap=0).tasks["bin"]
        metrics = scored.splits["id"].overall.metrics
        brier = ((1 - expected[clip]) ** 2 + expected[lowest] ** 2) / 2
        log_loss = -(np.log(expected[clip]) + np.log(1 - expected[lowest])) / 2
        assert scored.given == "derived"
        assert metrics["eer"].value == 0
        # The golden run is in single precision.
        assert metrics["brier"].value == pytest.approx(brier, abs=2e-7)
        assert metrics["log_loss"].value == pytest.approx(log_loss, abs=5e-7)
