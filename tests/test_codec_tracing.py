"""The metric for `evaluate`: loaded from its folder without a network, equal to `cfbench score`."""

import subprocess
import sys
from importlib.resources import files

import polars as pl
import pytest

import cfbench
import entries
from cfbench.errors import CfbenchError
from cfbench.tasks import load_tasks

pytestmark = pytest.mark.slow
FOLDER = str(files("cfbench") / "codec_tracing")


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """`evaluate.load`, offline, with a cache of its own."""
    patched = pytest.MonkeyPatch()
    home = tmp_path_factory.mktemp("home")
    patched.setenv("HF_MODULES_CACHE", str(home / "modules"))
    patched.setenv("HF_HUB_OFFLINE", "1")
    patched.setenv("HF_EVALUATE_OFFLINE", "1")
    import evaluate

    yield lambda task_id: evaluate.load(FOLDER, task_id, cache_dir=str(home / "cache"))
    patched.undo()


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    truth = entries.example_truth().with_columns(pl.col("split").cast(pl.String))
    both = truth.join(entries.example_predictions(), on="utt_id")
    return both.filter(pl.col("split") == "ood").sort("utt_id")


@pytest.fixture(scope="module")
def card(rows: pl.DataFrame):
    return cfbench.score(entries.example_predictions(), track="example", splits=["ood"])


@pytest.mark.parametrize("task_id", ["bin", "vq", "aux", "dec"])
def test_probabilities_give_what_the_scorecard_gives(load, rows, card, task_id: str) -> None:
    columns = load_tasks()[task_id].score_columns
    found = load(task_id).compute(
        predictions=[list(row) for row in rows.select(columns).rows()],
        references=rows[task_id].cast(pl.String).to_list(),
        groups=rows["group"].to_list(),
    )
    expected = card.tasks[task_id].splits["ood"].overall.metrics
    values = {name for name in found if not name.endswith(("_low", "_high"))}
    assert values == set(expected)
    for name, number in expected.items():
        assert found[name] == (None if number.value is None else pytest.approx(number.value)), name


@pytest.mark.parametrize("task_id", ["vq", "dec"])
def test_classes_by_name_and_by_place_give_the_same(load, rows, task_id: str) -> None:
    task = load_tasks()[task_id]
    said = [max(range(len(row)), key=row.__getitem__) for row in rows.select(task.columns).rows()]
    truth = rows[task_id].cast(pl.String).to_list()
    by_place = load(task_id).compute(
        predictions=said, references=[task.class_names.index(word) for word in truth], bootstrap=0
    )
    by_name = load(task_id).compute(
        predictions=[task.class_names[at] for at in said], references=truth, bootstrap=0
    )
    assert by_place == by_name
    labels = rows.select("utt_id", pl.Series(task_id, [task.class_names[at] for at in said]))
    card = cfbench.score(labels, track="example", splits=["ood"], bootstrap=0)
    value = card.tasks[task_id].splits["ood"].overall.metrics["macro_f1"].value
    assert by_name["macro_f1"] == pytest.approx(value)


def test_intervals_are_over_groups(load, rows, card) -> None:
    given = {
        "predictions": [list(row) for row in rows.select(load_tasks()["vq"].columns).rows()],
        "references": rows["vq"].cast(pl.String).to_list(),
    }
    metric = load("vq")
    grouped = metric.compute(**given, groups=rows["group"].to_list())
    single = metric.compute(**given)
    assert grouped["macro_f1"] == single["macro_f1"]
    expected = card.tasks["vq"].splits["ood"].overall.metrics["macro_f1"].interval
    # The same groups, other resamples of them.
    assert grouped["macro_f1_low"] == pytest.approx(expected.low, abs=0.03)
    assert grouped["macro_f1_high"] == pytest.approx(expected.high, abs=0.03)
    assert grouped["macro_f1_low"] != single["macro_f1_low"]


def test_batches_add_up(load, rows) -> None:
    task = load_tasks()["vq"]
    said = [list(row) for row in rows.select(task.columns).rows()]
    truth = rows["vq"].cast(pl.String).to_list()
    metric = load("vq")
    for start in range(0, len(said), 32):
        metric.add_batch(predictions=said[start : start + 32], references=truth[start : start + 32])
    found = metric.compute(bootstrap=0)
    assert found == load("vq").compute(predictions=said, references=truth, bootstrap=0)


def test_what_is_wrong_is_said(load) -> None:
    with pytest.raises(CfbenchError, match="no class 'mvqq'"):
        load("vq").compute(predictions=["mvqq"], references=["mvq"])
    with pytest.raises(CfbenchError, match="2 numbers, but vq has 4"):
        load("vq").compute(predictions=[[0.5, 0.5]], references=["mvq"])
    with pytest.raises(CfbenchError, match="no class '7'"):
        load("vq").compute(predictions=[7], references=[1])
    with pytest.raises(CfbenchError, match="1 groups for 2 utterances"):
        load("vq").compute(predictions=[1, 1], references=[1, 1], groups=["a"])
    with pytest.raises(CfbenchError, match="there is no task 'quality'"):
        load("quality")


def test_it_asks_nothing_of_the_network(tmp_path) -> None:
    """In a process whose sockets lead nowhere."""
    script = (
        "import socket\n"
        "def refuse(*_, **__): raise OSError('no network')\n"
        "socket.socket.connect = socket.getaddrinfo = refuse\n"
        "import evaluate\n"
        f"m = evaluate.load({FOLDER!r}, 'dec')\n"
        "print(m.compute(predictions=['time', 'freq'], references=['time', 'time'], bootstrap=0)"
        "['accuracy'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True,
        env={"PATH": "", "HOME": str(tmp_path), "HF_HOME": str(tmp_path)},
    )  # fmt: skip
    assert float(done.stdout) == 0.5
