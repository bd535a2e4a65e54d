"""Two systems on one protocol: values, corrected p-values, agreement, and where they differ."""

import polars as pl
import pytest

import cfbench
import entries
from cfbench.compare import compare
from cfbench.errors import CfbenchError
from cfbench.pairing import holm


@pytest.fixture(scope="module")
def protocol():
    return cfbench.read_protocol(track=entries.TRACK)


@pytest.fixture(scope="module")
def frames():
    return entries.example_predictions(), entries.confused(0.3)


@pytest.fixture(scope="module")
def found(protocol, frames):
    return compare(*(cfbench.read_predictions(frame) for frame in frames), protocol)


def test_every_task_and_split_is_compared(found):
    assert [(row.split, row.task) for row in found.tasks] == [
        (split, task) for split in ("id", "ood") for task in ("bin", "vq", "aux", "dec")
    ]


def test_values_are_those_of_the_scorecards(found, frames):
    cards = [cfbench.score(frame, track=entries.TRACK) for frame in frames]
    for row in found.tasks:
        for value, card in zip((row.a, row.b), cards, strict=True):
            metric = card.tasks[row.task].splits[row.split].overall.metrics[row.metric]
            assert value == pytest.approx(metric.value, abs=1e-12)
        assert row.difference == pytest.approx(row.a - row.b)


def test_p_values_are_corrected_over_the_tasks_of_a_split(found):
    for split in ("id", "ood"):
        rows = [row for row in found.tasks if row.split == split and row.p is not None]
        assert [row.p_holm for row in rows] == holm([row.p for row in rows])


def test_the_better_one_is_named_whichever_way_the_metric_goes(found):
    better = {(row.task, row.split): row.better for row in found.tasks}
    assert better["vq", "id"] == "a"
    assert better["bin", "id"] == "a"
    assert next(row for row in found.tasks if row.task == "bin").difference < 0


def test_agreement_adds_up(found, protocol, frames):
    for row in found.tasks:
        told = row.agreement
        assert told.both_right + told.only_a + told.only_b + told.neither == pytest.approx(1)
        assert told.both_right <= told.same <= told.both_right + told.neither + 1e-12
    truth = protocol.split("id")["vq"].cast(pl.String)
    said = []
    for frame in frames:
        rows = protocol.split("id").select("utt_id").join(frame, on="utt_id", maintain_order="left")
        names = ["real", "mvq", "svq", "sq"]
        best = rows.select([f"vq_{n}" for n in names]).to_numpy().argmax(axis=1)
        said.append(pl.Series([names[i] for i in best]))
    only_a = ((said[0] == truth) & (said[1] != truth)).mean()
    row = next(r for r in found.tasks if (r.task, r.split) == ("vq", "id"))
    assert row.agreement.only_a == pytest.approx(only_a)
    assert row.agreement.same == pytest.approx((said[0] == said[1]).mean())


def test_sources_with_the_largest_difference_come_first(found):
    for row in found.tasks:
        sizes = [abs(source.difference) for source in row.sources]
        assert sizes == sorted(sizes, reverse=True)


def test_a_system_against_itself_differs_nowhere(protocol, frames):
    same = cfbench.read_predictions(frames[0])
    for row in compare(same, same, protocol).tasks:
        assert (row.difference, row.better, row.agreement.same) == (0, None, 1)
        assert all(part.difference == 0 for part in (*row.classes, *row.sources))


def test_tasks_that_one_does_not_answer_are_named(protocol, frames):
    one = cfbench.read_predictions(frames[0])
    two = cfbench.read_predictions(frames[1].select("utt_id", pl.col("^vq_.*$")))
    told = compare(one, two, protocol)
    assert {row.task for row in told.tasks} == {"vq"}
    assert told.only_a == ("aux", "bin", "dec")


def test_systems_without_a_common_task_are_not_compared(protocol, frames):
    one = cfbench.read_predictions(frames[0].select("utt_id", pl.col("^dec_.*$")))
    two = cfbench.read_predictions(frames[1].select("utt_id", pl.col("^vq_.*$")))
    with pytest.raises(CfbenchError, match="no task is answered by both"):
        compare(one, two, protocol)


def test_labels_are_compared_with_scores_by_what_both_have(protocol, frames):
    labels = frames[0].select(
        "utt_id", pl.when(pl.col("bin_bonafide") > 0.5).then(pl.lit("bonafide"))
        .otherwise(pl.lit("spoof")).alias("bin"),
    )  # fmt: skip
    told = compare(cfbench.read_predictions(labels), cfbench.read_predictions(frames[1]), protocol)
    assert {row.metric for row in told.tasks} == {"macro_f1"}
