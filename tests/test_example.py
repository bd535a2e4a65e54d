"""The made-up example that `make demo` scores."""

import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import run

import pytest

from cfbench import api
from cfbench.tasks import TRACING_IDS, find_track, load_tasks, load_taxonomy

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "tasks" / "example"


@pytest.mark.parametrize("name", ["protocol.csv", "predictions.csv"])
def test_script_reproduces_the_shipped_table(
    name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "example"
    if not folder.is_dir():
        folder.mkdir()
        script = ROOT / "tests" / "make_example.py"
        run([sys.executable, str(script), str(folder)], check=True)
    assert (folder / name).read_bytes() == (EXAMPLE / name).read_bytes()


def test_score_prints_the_table(run_cli: Callable) -> None:
    done = run_cli("score", EXAMPLE / "predictions.csv", "--track", "example")
    assert done.code == 0
    assert done.err == ""
    for task in load_tasks().values():
        assert f"{task.title} ({task.id})" in done.out
    assert "8 groups are few: intervals are rough" in done.out


def test_numbers_drop_out_of_domain_and_beat_chance() -> None:
    card = api.score(EXAMPLE / "predictions.csv", track="example", bootstrap=0)
    assert card.predictions.utterances == 499
    for task in card.tasks.values():
        assert task.given == "probabilities"
        assert task.drop is not None
        assert task.drop.number.value is not None
        assert 0 < task.drop.number.value < 0.6
    for task_id in TRACING_IDS:
        for split in card.tasks[task_id].splits.values():
            own, chance = split.overall.metrics["macro_f1"].value, split.trivial["uniform"]
            assert own is not None
            assert own > (chance["macro_f1"] or 1.0)


def test_track_says_that_it_is_made_up() -> None:
    track = find_track("example")
    assert "made up" in track.title.casefold()
    assert "no system was run" in track.description
    assert track.lists == ()


def test_covers_every_class_and_the_seen_and_unseen_generators() -> None:
    protocol = api.read_protocol(track="example")
    assert protocol.splits == ("id", "ood")
    for name in protocol.splits:
        frame = protocol.split(name)
        for task in load_tasks().values():
            assert set(frame[task.id].unique()) == set(task.class_names)
    real_track = find_track("codecfake-plus")
    subset_of = {s: sub.name for sub in real_track.splits["ood"].subsets for s in sub.sources}
    for source, subset in protocol.split("ood").select("source", "subset").unique().iter_rows():
        assert subset_of[source] == subset


def test_classes_are_those_of_the_taxonomy() -> None:
    frame = api.read_protocol(track="example").frame.filter(bin="spoof")
    makers = load_taxonomy().codec_by_spelling | load_taxonomy().generator_by_spelling
    cells = {row[0]: row[1:] for row in frame.select("source", *TRACING_IDS).unique().iter_rows()}
    assert {source: makers[source].cell for source in cells} == cells
    in_domain = frame.filter(split="id").select(*TRACING_IDS).unique()
    assert in_domain.height == 8


def test_files_are_small() -> None:
    assert all(path.stat().st_size < 100_000 for path in EXAMPLE.iterdir())
