"""Prediction in parts: whatever happens on the way, the same file; and what answers it holds."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from torch import Tensor

import speech
from cfbench import inference
from cfbench.errors import CfbenchError, Problem
from cfbench.inference import Joined, Outcome, Plan, Share, join, predict, prepare
from cfbench.predictor import NeuralPredictor, derive_bin, load_predictor, state_digest
from cfbench.tasks import load_tasks
from cfbench.untrained import build

CPU = torch.device("cpu")
SAMPLES = 1000
N = 11


class Loudness:
    """A predictor that costs nothing: answers follow from a clip's mean level alone."""

    def __init__(self, tasks: tuple[str, ...] = ("bin", "vq")) -> None:
        self.tasks, self.samples, self.windows, self.device = tasks, SAMPLES, 1, CPU
        self.seen: list[int] = []

    def __call__(self, waveforms: Tensor) -> dict[str, np.ndarray]:
        self.seen.append(len(waveforms))
        level = waveforms.abs().mean(dim=1).double().numpy()[:, None]
        answers = {}
        for task_id in self.tasks:
            count = len(load_tasks()[task_id].classes)
            values = np.exp(-level * np.arange(count))
            answers[task_id] = values / values.sum(axis=1, keepdims=True)
        return answers


@pytest.fixture(scope="module")
def made_clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven clips of different levels."""
    folder = tmp_path_factory.mktemp("clips")
    for index in range(N):
        sound = speech.utterance(index, 0.1) * (index + 1) / N
        soundfile.write(folder / f"clip{index:02d}.wav", sound, speech.RATE)
    return folder


@pytest.fixture
def paths(made_clips: Path, tmp_path: Path) -> list[Path]:
    """Copies, which a test may break."""
    shutil.copytree(made_clips, tmp_path / "audio")
    return sorted((tmp_path / "audio").iterdir())


@pytest.fixture
def plan(paths: list[Path], tmp_path: Path) -> Plan:
    """Batches of 2 in parts of 4: parts of 4, 4 and 3 clips."""
    return Plan([path.stem for path in paths], paths, tmp_path / "out.csv", 2, 4, workers=0)


ALONE = Share()


def answer(plan: Plan, share: Share = ALONE, **settings: Any) -> tuple[Outcome, Joined]:
    """All that `cfbench predict` does of it."""
    predictor = settings.pop("predictor", None) or Loudness()
    assert not prepare(plan, settings.pop("overwrite", False))
    return predict(plan, predictor, share, **settings), join(plan, {})


def stopping_after(clips: int) -> Callable[[int, int], None]:
    done = 0

    def advance(count: int, resumed: int) -> None:
        nonlocal done
        done += count
        if done >= clips:
            raise KeyboardInterrupt

    return advance


@pytest.fixture
def wanted(plan: Plan, tmp_path: Path) -> bytes:
    """The file of an undisturbed run."""
    whole = replace(plan, out=tmp_path / "wanted.csv")
    answer(whole)
    return whole.out.read_bytes()


def test_each_clip_is_answered_under_its_name(plan):
    outcome, joined = answer(plan)
    assert (outcome.predicted, outcome.resumed) == (N, 0)
    assert joined == Joined(True, {})
    frame = pl.read_csv(plan.out)
    assert frame["utt_id"].to_list() == plan.utt_ids
    assert frame.columns == ["utt_id", "bin_bonafide", "vq_real", "vq_mvq", "vq_svq", "vq_sq"]
    for row, path in enumerate(plan.paths):
        wave = np.resize(soundfile.read(path, dtype="float32")[0][:SAMPLES], SAMPLES)
        said = Loudness()(torch.from_numpy(wave)[None])
        assert frame["vq_mvq"][row] == pytest.approx(said["vq"][0, 1], rel=1e-6)
        assert frame["bin_bonafide"][row] == pytest.approx(said["bin"][0, 1], rel=1e-6)
    assert not plan.folder.exists()
    record = json.loads(plan.record.read_text())
    assert record["utterances"] == N
    assert record["failures"] == {}


def test_progress_is_told_batch_by_batch(plan):
    told: list[tuple[int, int]] = []
    answer(plan, advance=lambda done, resumed: told.append((done, resumed)))
    assert told == [(2, 0), (2, 0), (2, 0), (2, 0), (2, 0), (1, 0)]


@pytest.mark.parametrize("clips", [1, 3, 5, 9, N])
def test_an_interrupted_run_goes_on_to_the_same_file(plan, wanted, clips):
    with pytest.raises(KeyboardInterrupt):
        answer(plan, advance=stopping_after(clips))
    assert not plan.out.exists()
    kept = len(list(plan.folder.glob("part-*.parquet")))
    told: list[tuple[int, int]] = []
    outcome, joined = answer(plan, advance=lambda *numbers: told.append(numbers))
    assert joined.complete
    assert plan.out.read_bytes() == wanted
    # What was there is not computed again.
    assert outcome.resumed == kept * 4
    assert outcome.predicted == N - kept * 4
    assert sum(done for done, _ in told) == N
    assert sum(resumed for _, resumed in told) == kept * 4


def test_a_complete_file_is_not_computed_again(plan):
    answer(plan)
    before = plan.out.stat().st_mtime_ns
    assert prepare(plan, overwrite=False)
    assert prepare(plan, overwrite=True)  # of the very same plan there is nothing to replace
    assert plan.out.stat().st_mtime_ns == before
    assert not plan.folder.exists()


@pytest.mark.parametrize("damage", ["cut", "rubbish", "of other clips", "a folder"])
def test_a_broken_part_is_computed_again(plan, wanted, damage):
    with pytest.raises(KeyboardInterrupt):
        answer(plan, advance=stopping_after(10))
    first, second = sorted(plan.folder.glob("part-*.parquet"))
    if damage == "cut":
        first.write_bytes(first.read_bytes()[:-100])
    elif damage == "rubbish":
        first.write_text("rubbish")
    elif damage == "a folder":
        first.unlink()
        first.mkdir()
        with pytest.raises(CfbenchError, match="a folder"):
            answer(plan)
        first.rmdir()
    else:
        shutil.copy(second, first)
    outcome, _ = answer(plan)
    assert outcome.resumed == 4
    assert plan.out.read_bytes() == wanted


def test_a_broken_part_of_another_share_is_not_joined(plan, wanted):
    answer(plan, Share(0, 3))
    answer(plan, Share(1, 3))
    plan.part_path(0).write_bytes(b"PAR1 broken")
    _, joined = answer(plan, Share(2, 3))
    assert not joined.complete
    assert not plan.out.exists()
    answer(plan, Share(0, 3))
    assert plan.out.read_bytes() == wanted


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_shares_in_any_order_make_the_file(plan, wanted, order):
    answers = [answer(plan, Share(index, 3)) for index in order]
    assert [joined.complete for _, joined in answers] == [False, False, True]
    assert sorted(outcome.predicted for outcome, _ in answers) == [3, 4, 4]
    assert plan.out.read_bytes() == wanted


@pytest.mark.parametrize("count", range(1, 6))
def test_shares_never_overlap_and_leave_nothing_out(plan, wanted, count):
    predictors = [Loudness() for _ in range(count)]
    for index, predictor in enumerate(predictors):
        # With more shares than parts the last ones have nothing to do, and may find it done.
        if not prepare(plan, overwrite=False):
            predict(plan, predictor, Share(index, count))
            join(plan, {})
    assert sum(sum(predictor.seen) for predictor in predictors) == N
    assert plan.out.read_bytes() == wanted


def test_a_share_that_comes_late_finds_the_file_complete(plan):
    prepare(plan, False)
    for index in range(3):
        predict(plan, Loudness(), Share(index, 3))
    assert join(plan, {}).complete
    # Two have finished at the same time, and the other one has joined.
    assert join(plan, {}) == Joined(True, {})
    assert prepare(plan, False)


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "/3", "1/", "a/b", "1/0", "-1/3", "1/3/3", ""])
def test_what_is_no_shard_is_refused(text):
    with pytest.raises(CfbenchError, match="is no shard"):
        Share.parse(text)


def test_a_shard_is_counted_from_one():
    assert Share.parse("2/4") == Share(1, 4)
    assert str(Share.parse("2/4")) == " (share 2 of 4)"
    assert str(Share()) == ""


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 4},
        {"part_size": 2},
        {"made_by": {"weights": "other"}},
        {"utt_ids": [f"clip{index:02d}x" for index in range(N)]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_predictions_made_in_another_way_are_kept_unless_told_otherwise(
    plan, wanted, change, complete
):
    other = replace(plan, **change)
    if complete:
        answer(other)
    else:
        with pytest.raises(KeyboardInterrupt):
            answer(other, advance=stopping_after(N))
    before = {path: path.read_bytes() for path in plan.out.parent.rglob("out.csv*/*")}
    with pytest.raises(CfbenchError, match="made in another way") as error:
        prepare(plan, overwrite=False)
    assert "--overwrite" in str(error.value)
    assert {path: path.read_bytes() for path in plan.out.parent.rglob("out.csv*/*")} == before
    answer(plan, overwrite=True)
    assert plan.out.read_bytes() == wanted


def test_a_file_of_the_users_is_not_replaced(plan):
    plan.out.write_text("mine")
    with pytest.raises(CfbenchError, match="is there already"):
        prepare(plan, overwrite=False)
    assert plan.out.read_text() == "mine"


def test_what_the_model_is_called_makes_no_other_plan(plan):
    one = replace(plan, made_by={"weights": "a", "model": "here"})
    assert one.digest() == replace(plan, made_by={"weights": "a", "model": "there"}).digest()
    assert one.digest() != replace(plan, made_by={"weights": "b", "model": "here"}).digest()


@pytest.mark.parametrize("name", ["out.parquet", "out.tsv", "out.jsonl", "[odd] *name?.csv"])
def test_the_name_says_the_format(plan, name):
    named = replace(plan, out=plan.out.with_name(name))
    answer(named)
    read = {
        ".parquet": lambda path: pl.read_parquet(path, glob=False),
        ".tsv": lambda path: pl.read_csv(path, separator="\t"),
        ".jsonl": pl.read_ndjson,
        ".csv": lambda path: pl.read_csv(path, glob=False),
    }[named.out.suffix](named.out)
    answer(plan)
    assert read.equals(pl.read_csv(plan.out))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("out", "its name does not say"),
        ("out.csv.gz", "predictions are not compressed"),
        ("audio", "its name does not say"),
        ("folder.csv", "a folder"),
    ],
)
def test_a_name_that_will_not_do_is_refused_before_the_work(plan, name, told):
    (plan.out.parent / "folder.csv").mkdir()
    with pytest.raises(CfbenchError, match=told):
        prepare(replace(plan, out=plan.out.with_name(name)), overwrite=False)


def test_the_folder_of_the_file_is_made(plan, wanted):
    deep = replace(plan, out=plan.out.parent / "a" / "b" / "out.csv")
    answer(deep)
    assert deep.out.read_bytes() == wanted


BAD: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:1000]),
    "silent": lambda path: soundfile.write(path, np.zeros(2000), speech.RATE),
    "not audio": lambda path: path.write_text("not audio"),
    "not finite": lambda path: soundfile.write(
        path, np.full(2000, np.nan), speech.RATE, subtype="FLOAT"
    ),
}


def without(plan: Plan, *rows: int) -> Plan:
    """The same with utterances that have no file."""
    return replace(plan, paths=[None if i in rows else path for i, path in enumerate(plan.paths)])


def test_bad_clips_are_listed_and_the_others_answered_and_mending_completes(plan, wanted, paths):
    rows = dict(zip(BAD, (0, 3, 5, 6, 10), strict=True))
    whole = {row: paths[row].read_bytes() for row in rows.values()}
    for kind, row in rows.items():
        BAD[kind](paths[row])
    lacking = without(plan, 8)
    predictor = Loudness()
    outcome, joined = answer(lacking, predictor=predictor)
    assert joined.complete
    bad = {*rows.values(), 8}
    assert list(joined.failures) == [f"clip{row:02d}" for row in sorted(bad)]
    for row in rows.values():
        assert str(paths[row]) in joined.failures[f"clip{row:02d}"].message
        assert joined.failures[f"clip{row:02d}"].hint
    assert joined.failures["clip08"] == Problem("clip08: no audio file")
    assert outcome.predicted == N - len(bad)
    frame = pl.read_csv(plan.out)
    assert frame["utt_id"].to_list() == [f"clip{i:02d}" for i in range(N) if i not in bad]
    assert frame.drop("utt_id").null_count().sum_horizontal().item() == 0
    assert set(json.loads(plan.record.read_text())["failures"]) == set(joined.failures)

    # Nothing was mended: what has no file is not looked for again, the others are tried again.
    outcome, joined = answer(lacking)
    assert len(joined.failures) == len(bad)
    assert outcome.resumed == 2  # clip08 and clip09: a batch in which nothing is tried again

    # Some are mended, the one that was missing has come.
    for row in (0, 3):
        paths[row].write_bytes(whole[row])
    outcome, joined = answer(plan)
    assert list(joined.failures) == ["clip05", "clip06", "clip10"]
    for row in (5, 6, 10):
        paths[row].write_bytes(whole[row])
    predictor = Loudness()
    outcome, joined = answer(plan, predictor=predictor)
    assert joined == Joined(True, {})
    assert plan.out.read_bytes() == wanted
    # The batches of the three, and no others.
    assert sum(predictor.seen) == 5
    assert not plan.folder.exists()


def test_a_failing_clip_changes_nothing_in_the_answers_of_others(plan, wanted, paths):
    paths[2].write_text("not audio")
    answer(plan)
    lines = wanted.decode().splitlines()
    assert plan.out.read_text().splitlines() == [line for line in lines if "clip02" not in line]


def test_strict_stops_at_the_first_bad_clip(plan, paths):
    paths[5].write_text("not audio")
    strict = replace(plan, strict=True)
    with pytest.raises(CfbenchError, match=r"clip05\.wav"):
        answer(strict)
    assert not plan.out.exists()
    # What was done is kept.
    assert [path.name for path in plan.folder.glob("part-*")] == ["part-000000-of-000003.parquet"]


def test_all_clips_may_be_bad(plan, paths):
    for path in paths:
        path.write_text("not audio")
    outcome, joined = answer(plan)
    assert outcome.predicted == 0
    assert len(joined.failures) == N
    assert pl.read_csv(plan.out).height == 0


def test_an_answer_that_is_no_number_is_no_answer(plan):
    class Broken(Loudness):
        def __call__(self, waveforms: Tensor) -> dict[str, np.ndarray]:
            answers = super().__call__(waveforms)
            if len(self.seen) == 3:
                answers["vq"][1, 2] = np.nan
            return answers

    outcome, joined = answer(plan, predictor=Broken())
    assert list(joined.failures) == ["clip05"]
    assert "the model's answer is no number" in joined.failures["clip05"].message
    assert "--precision" in joined.failures["clip05"].hint
    assert outcome.predicted == N - 1
    assert "clip05" not in pl.read_csv(plan.out)["utt_id"]
    with pytest.raises(CfbenchError, match="no number"):
        answer(replace(plan, out=plan.out.with_name("strict.csv"), strict=True), predictor=Broken())


def louder(path: Path) -> None:
    speech, rate = soundfile.read(path)
    soundfile.write(path, 0.1 * speech, rate)


def test_clips_that_change_between_two_calls_are_answered_anew(plan, wanted, paths):
    with pytest.raises(KeyboardInterrupt):
        answer(plan, advance=stopping_after(N))
    louder(paths[1])
    answer(plan)
    after = plan.out.read_bytes()
    assert after != wanted
    answer(plan := replace(plan, out=plan.out.with_name("afresh.csv")))
    assert plan.out.read_bytes() == after


def test_a_file_of_other_audio_is_not_taken_for_complete(plan, wanted, paths):
    answer(plan)
    louder(paths[1])
    with pytest.raises(CfbenchError, match="of other audio"):
        prepare(plan, overwrite=False)
    assert plan.out.read_bytes() == wanted


def test_a_file_that_was_cut_is_not_taken_for_complete(plan, wanted):
    answer(plan)
    plan.out.write_bytes(wanted[:100])
    with pytest.raises(CfbenchError, match="is there already"):
        prepare(plan, overwrite=False)
    answer(plan, overwrite=True)
    assert plan.out.read_bytes() == wanted


def test_the_old_file_stays_until_the_new_one_is_complete(plan, wanted):
    other = replace(plan, made_by={"weights": "other"})
    answer(plan)
    with pytest.raises(KeyboardInterrupt):
        answer(other, advance=stopping_after(N), overwrite=True)
    assert plan.out.read_bytes() == wanted
    # The parts are of the new plan: it goes on without being told again.
    _, joined = answer(other)
    assert joined.complete


def test_what_is_not_of_cfbench_is_not_removed(plan):
    plan.record.write_text('{"mine": 1}')
    with pytest.raises(CfbenchError, match="is there already"):
        prepare(plan, overwrite=False)
    plan.record.unlink()
    plan.folder.mkdir()
    (plan.folder / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(CfbenchError):
            prepare(plan, overwrite=overwrite)
    assert (plan.folder / "thesis.txt").read_text() == "mine"


def test_only_the_columns_of_the_answered_tasks_are_written(plan):
    answer(plan, predictor=Loudness(("dec",)))
    assert pl.read_csv(plan.out).columns == ["utt_id", "dec_real", "dec_time", "dec_freq"]


def test_two_answers_are_compared():
    one = {"vq": np.array([[0.6, 0.4], [0.2, 0.8]]), "aux": np.array([[0.5, 0.5], [0.1, 0.9]])}
    other = {"vq": np.array([[0.4, 0.6], [0.2, 0.8]]), "aux": np.array([[0.5, 0.5], [0.1, 0.9]])}
    assert inference.compare(one, other) == (pytest.approx(0.2), 0.25)
    assert inference.compare(one, one) == (0.0, 0.0)


# What follows is about models.


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> speech.Corpus:
    return speech.make_corpus(tmp_path_factory.mktemp("track"), [("train", 2), ("dev", 1)], 0.3)


def make_model(
    corpus: speech.Corpus, tasks: str = '["bin", "vq", "aux", "dec"]', *changes: str
) -> Any:
    torch.manual_seed(7)
    return build(speech.tiny(corpus, *speech.SMALL, f"model.tasks={tasks}", *changes)).eval()


def waves(count: int) -> Tensor:
    sounds = [speech.utterance(seed, 0.25)[:4000] for seed in range(count)]
    return torch.from_numpy(np.stack(sounds))


def test_an_answer_does_not_depend_on_what_else_is_in_the_batch(corpus):
    predictor = NeuralPredictor(make_model(corpus), CPU)
    together = predictor(waves(5))
    for order in ([4, 2, 0], [3, 1], [1]):
        apart = predictor(waves(5)[order])
        for task_id, values in together.items():
            assert np.abs(apart[task_id] - values[order]).max() < 1e-6


def test_an_answer_does_not_depend_on_where_weights_lie_in_memory(corpus):
    """Processors add up in another order where a matrix does not begin at a multiple of 64."""
    wanted = NeuralPredictor(make_model(corpus), CPU)(waves(3))
    for shift in (1, 4):
        moved = make_model(corpus)
        for value in (*moved.parameters(), *moved.buffers()):
            if value.is_floating_point():
                place = torch.empty(value.numel() + 16)[shift:][: value.numel()]
                value.data = place.view(value.shape).copy_(value.data)
        answers = NeuralPredictor(moved, CPU)(waves(3))
        for task_id, values in wanted.items():
            np.testing.assert_array_equal(answers[task_id], values)


def test_a_model_hears_its_windows_of_a_clip(corpus, plan, tmp_path):
    model = build(speech.tiny(corpus, "data.samples=1200", "data.windows=2")).eval()
    model.save_pretrained(tmp_path / "model")
    predictor, said = load_predictor(str(tmp_path / "model"), CPU)
    assert (predictor.windows, said["windows"]) == (2, 2)
    answer(plan, predictor=predictor)
    waves = [soundfile.read(path, dtype="float32")[0] for path in plan.paths]
    with torch.inference_mode():
        first, last = (
            model(torch.from_numpy(np.stack(cut))).logits["vq"]
            for cut in ([wave[:1200] for wave in waves], [wave[-1200:] for wave in waves])
        )
    wanted = ((first + last) / 2).softmax(dim=1)[:, 3]
    assert pl.read_csv(plan.out)["vq_sq"].to_numpy() == pytest.approx(wanted.numpy(), abs=1e-5)
    assert not np.allclose(first, last, atol=1e-3)


def test_probabilities_sum_to_one(corpus):
    answers = NeuralPredictor(make_model(corpus), CPU)(waves(3))
    assert list(answers) == ["bin", "vq", "aux", "dec"]
    for task_id, values in answers.items():
        assert values.dtype == np.float64
        assert values.shape == (3, len(load_tasks()[task_id].classes))
        np.testing.assert_allclose(values.sum(axis=1), 1, atol=1e-12)


@pytest.fixture(scope="module")
def indifferent(corpus: speech.Corpus) -> NeuralPredictor:
    """All of its outputs are 0."""
    predictor = NeuralPredictor(make_model(corpus), CPU)
    with torch.no_grad():
        for branch in predictor.model.branches.values():
            branch.output.weight.zero_()
            branch.output.bias.zero_()
    return predictor


@pytest.mark.parametrize(
    ("task_id", "index", "column"),
    [
        ("bin", 1, "bin_bonafide"),
        *(("vq", i, f"vq_{name}") for i, name in enumerate(("real", "mvq", "svq", "sq"))),
        *(("aux", i, f"aux_{name}") for i, name in enumerate(("real", "none", "sem", "disent"))),
        *(("dec", i, f"dec_{name}") for i, name in enumerate(("real", "time", "freq"))),
    ],
)
def test_each_output_stands_in_the_column_of_its_class(indifferent, plan, task_id, index, column):
    """A model whose output `index` is sure answers the class that the authors number so."""
    output = indifferent.model.branches[task_id].output
    with torch.no_grad():
        output.bias[index] = 9.0
    one = replace(plan, utt_ids=plan.utt_ids[:1], paths=plan.paths[:1])
    answer(one, predictor=indifferent)
    with torch.no_grad():
        output.bias[index] = 0.0
    row = pl.read_csv(one.out).row(0, named=True)
    assert row[column] > 0.99
    sure = {name for name, value in row.items() if name != "utt_id" and value > 0.99}
    assert sure == {column}


@pytest.mark.parametrize("tasks", [("vq",), ("aux",), ("dec",), ("bin",), ("bin", "aux")])
def test_a_model_answers_its_own_tasks_only(corpus, plan, tasks):
    predictor = NeuralPredictor(make_model(corpus, json.dumps(tasks)), CPU)
    assert predictor.tasks == tasks
    one = replace(plan, utt_ids=plan.utt_ids[:2], paths=plan.paths[:2])
    answer(one, predictor=predictor)
    found = {name.partition("_")[0] for name in pl.read_csv(one.out).columns} - {"utt"}
    assert found == set(tasks)


def test_a_model_of_the_three_tracing_tasks_answers_spoof_detection_too(corpus, plan):
    predictor = NeuralPredictor(make_model(corpus, '["vq", "aux", "dec"]'), CPU)
    assert predictor.tasks == ("bin", "vq", "aux", "dec")
    answer(replace(plan, utt_ids=plan.utt_ids[:3], paths=plan.paths[:3]), predictor=predictor)
    frame = pl.read_csv(plan.out)
    spoof = ((1 - frame["vq_real"]) * (1 - frame["aux_real"]) * (1 - frame["dec_real"])) ** (
        1 / 3
    )  # the authors' formula
    np.testing.assert_allclose(frame["bin_bonafide"], 1 - spoof, atol=1e-12)


def test_spoof_detection_is_derived_as_a_geometric_mean():
    answers = {
        "vq": np.array([[0.5, 0.5, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]),
        "aux": np.array([[0.2, 0.8, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]]),
        "dec": np.array([[0.9, 0.1, 0.0], [1.0, 0.0, 0.0]]),
    }
    spoof = (0.5 * 0.8 * 0.1) ** (1 / 3)
    np.testing.assert_allclose(derive_bin(answers), [[spoof, 1 - spoof], [0, 1]], atol=1e-15)


@pytest.mark.parametrize(("precision", "most"), [("bf16", 0.05), ("fp16", 0.01), ("int8", 0.05)])
def test_lower_precision_answers_nearly_the_same(corpus, precision, most):
    exact = NeuralPredictor(make_model(corpus), CPU)(waves(4))
    rough = NeuralPredictor(make_model(corpus), CPU, precision)(waves(4))
    largest, _ = inference.compare(exact, rough)
    assert 0 < largest < most


def test_int8_wants_a_processor(corpus):
    with pytest.raises(CfbenchError, match="int8 computes on the CPU only"):
        NeuralPredictor(make_model(corpus), torch.device("cuda"), "int8")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_front_end_answers_the_same(corpus):
    if not (shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")):
        pytest.skip("torch.compile needs a C++ compiler")
    # Few layers: it is compiled for a minute otherwise.
    shape = ("conv_dim=[16, 16]", "conv_kernel=[40, 32]", "conv_stride=[20, 16]")
    one, other = (
        make_model(corpus, '["vq"]', *(f"model.front_end.config.{words}" for words in shape))
        for _ in range(2)
    )
    exact = NeuralPredictor(one, CPU)(waves(3))
    compiled = NeuralPredictor(other, CPU, compile=True)(waves(3))
    assert inference.compare(exact, compiled)[0] < 1e-4


def test_a_model_is_known_by_its_weights(corpus, tmp_path):
    model = make_model(corpus, '["vq"]')
    for name in ("here", "there"):
        model.save_pretrained(tmp_path / name)
    with torch.no_grad():
        model.branches["vq"].output.bias[0] += 1
    model.save_pretrained(tmp_path / "other")
    said = [load_predictor(str(tmp_path / name), CPU)[1] for name in ("here", "there", "other")]
    assert [item["model"] for item in said] == ["here", "there", "other"]
    assert said[0]["weights"] == said[1]["weights"] != said[2]["weights"]
    assert said[0]["kind"] == "wav2vec2-aasist"
    # Not of the model that the predictor has changed for speed.
    assert said[2]["weights"] == state_digest(model)


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no config.json"),
        (lambda folder: (folder / "config.json").write_text("{"), "no config.json"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no model could be loaded"),
        (
            lambda folder: (folder / "model.safetensors").write_bytes(
                (folder / "model.safetensors").read_bytes()[:5000]
            ),
            "no model could be loaded",
        ),
        (
            lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'),
            "a model of type 'bert'",
        ),
        (
            lambda folder: (folder / "config.json").write_text(
                (folder / "config.json").read_text().replace('"svq",', "")
            ),
            "classes",
        ),
    ],
    ids=["no config", "broken config", "no weights", "cut weights", "another model", "classes"],
)
def test_what_is_no_model_is_refused(corpus, tmp_path, damage, told):
    make_model(corpus).save_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises(CfbenchError) as error:
        load_predictor(str(tmp_path), CPU)
    assert told in str(error.value)


def test_weights_of_another_configuration_are_refused(corpus, tmp_path):
    make_model(corpus).save_pretrained(tmp_path)
    make_model(corpus, '["vq"]').save_pretrained(tmp_path / "one task")
    shutil.copy(tmp_path / "one task" / "model.safetensors", tmp_path)
    with pytest.raises(CfbenchError, match="its weights do not fit its configuration"):
        load_predictor(str(tmp_path), CPU)


@pytest.mark.parametrize(
    ("place", "told"),
    [("runs/nowhere/model", "no such folder"), ("./nowhere", "no such folder")],
)
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(place, told):
    with pytest.raises(CfbenchError, match=told):
        load_predictor(place, CPU)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "M1.pth").write_bytes(b"")
    with pytest.raises(CfbenchError, match="convert-checkpoint"):
        load_predictor(str(tmp_path / "M1.pth"), CPU)
