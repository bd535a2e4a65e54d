"""Runs from audio to scorecard: each step, left out, resumed, refused; and what would be needed."""

import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tomli_w
import torch

import authors_checkpoints
import speech
from cfbench import dry_run, runs, steps
from cfbench.errors import CfbenchError
from cfbench.material import Progress
from cfbench.predictor import load_predictor
from cfbench.recipes import Recipe, find_recipe
from cfbench.runs import Run, Watch, run
from cfbench.scorecard import read_scorecard
from cfbench.steps import Data, Machine, Prediction, read_training
from cfbench.tasks import find_track

CPU = Machine(cpu=True, workers=0)
SHORT = (
    *speech.SMALL, 'model.tasks=["vq"]', "training.epochs=1", "training.batch_size=4",
    "training.checkpoint_every=1",
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread", "alone")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> speech.Corpus:
    """Eight clips an epoch: two steps."""
    return speech.make_corpus(
        tmp_path_factory.mktemp("track"), [("train", 4), ("dev", 1), ("id", 2), ("ood", 2)], 0.3
    )


@pytest.fixture
def own_corpus(corpus: speech.Corpus, tmp_path: Path) -> speech.Corpus:
    """A copy whose clips a test may break."""
    shutil.copytree(corpus.track.parent, tmp_path / "own")
    return speech.Corpus(tmp_path / "own" / corpus.track.name, tmp_path / "own" / "audio")


def classical(corpus: speech.Corpus, *changes: str) -> Recipe:
    recipe = find_recipe("log-mel-logistic", ["data.samples=4000", *changes])
    return recipe.model_copy(update={"track": str(corpus.track)})


def a_run(corpus: speech.Corpus, folder: Path, recipe: Recipe | None = None, **more: Any) -> Run:
    recipe = recipe or classical(corpus)
    return Run(recipe, speech.data(corpus), folder, machine=CPU, **more)


def written(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def steps_done(what: Run) -> list[str]:
    done: list[str] = []
    run(what, Watch(step=done.append))
    return done


@pytest.fixture(scope="module")
def neural_run(corpus: speech.Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run of the tiny model."""
    what = a_run(corpus, tmp_path_factory.mktemp("runs") / "tiny", speech.tiny(corpus, *SHORT))
    speech.forget_processes()
    run(what)
    return what


def assert_complete(what: Run, tasks: list[str]) -> None:
    card = read_scorecard(what.scorecard)
    assert list(card.tasks) == tasks
    assert {name for task in card.tasks.values() for name in task.splits} == {"id", "ood"}
    truth = steps.read_scored(what.data).frame
    assert set(pl.read_parquet(what.predictions)["utt_id"]) == set(truth["utt_id"])
    assert find_recipe(str(what.folder / "recipe.toml")) == what.recipe
    assert "torch" in json.loads((what.folder / "environment.json").read_text())["packages"]
    record = json.loads((what.folder / "predictions.parquet.json").read_text())
    assert record["made_by"]["track"] == "made-up"
    assert record["failures"] == {}


def test_a_classical_baseline_goes_from_audio_to_scorecard(corpus, tmp_path):
    what = a_run(corpus, tmp_path / "run")
    assert steps_done(what) == ["train", "predict", "score"]
    assert_complete(what, ["bin", "vq", "aux", "dec"])
    # It hears what the made-up codecs do.
    view = read_scorecard(what.scorecard).tasks["vq"].splits["id"].overall
    assert view.metrics["macro_f1"].value > 0.7
    assert {path.name for path in what.folder.iterdir()} == {
        "recipe.toml", "environment.json", "log.txt", "train", "predictions.parquet",
        "predictions.parquet.json", "scorecard.json",
    }  # fmt: skip


def test_a_neural_baseline_goes_from_audio_to_scorecard(neural_run):
    assert_complete(neural_run, ["vq"])
    told = (neural_run.folder / "log.txt").read_text()
    for words in ("training tiny", "epoch 1 of 1: dev_loss", "predicting with", "scored: "):
        assert words in told


@pytest.mark.parametrize("kind", ["classical", "neural"])
def test_a_finished_run_computes_nothing_again(neural_run, corpus, tmp_path, monkeypatch, kind):
    what = neural_run
    if kind == "classical":
        what = a_run(corpus, tmp_path / "run")
        run(what)
    kept = {
        path: time
        for path, time in written(what.folder).items()
        if "train" in path.parts or path.name.startswith("predictions")
    }
    card = what.scorecard.read_bytes()
    monkeypatch.setattr("cfbench.training._Run._epoch", None)
    monkeypatch.setattr("cfbench.inference.predict", None)
    monkeypatch.setattr("cfbench.classical.features", None)
    run(what)
    assert {path: time for path, time in written(what.folder).items() if path in kept} == kept
    assert what.scorecard.read_bytes() == card


def test_each_step_may_be_done_by_itself(corpus, tmp_path):
    whole, apart = a_run(corpus, tmp_path / "whole"), a_run(corpus, tmp_path / "apart")
    run(whole)
    for name in runs.STEPS:
        assert steps_done(replace(apart, steps=(name,))) == [name]
    for file in ("predictions.parquet", "scorecard.json"):
        assert (apart.folder / file).read_bytes() == (whole.folder / file).read_bytes()


@pytest.mark.parametrize(
    ("wanted", "told"),
    [(("predict",), "no trained model"), (("score",), "predictions.parquet: not there yet")],
)
def test_a_step_cannot_do_without_the_one_before(corpus, tmp_path, wanted, told):
    with pytest.raises(CfbenchError, match=told):
        run(a_run(corpus, tmp_path / "run", steps=wanted))


class Stop(Exception):
    pass


@pytest.mark.slow
@pytest.mark.parametrize("where", ["train", "predict"])
def test_an_interrupted_run_ends_in_the_same(neural_run, corpus, tmp_path, where):
    recipe = speech.tiny(corpus, *SHORT)
    how = Prediction(Path(), batch_size=2, part_size=2)
    whole = a_run(corpus, tmp_path / "whole", recipe, prediction=how, model=str(neural_run.trained))
    run(whole)

    def train(progress: Progress) -> None:
        if where == "train" and progress.step == 2 and progress.numbers:
            raise Stop

    def advance(done: int, resumed: int) -> None:
        nonlocal count
        count += done
        if where == "predict" and count > 6:
            raise Stop

    count = 0
    what = a_run(corpus, tmp_path / "run", recipe, prediction=how)
    with pytest.raises(Stop):
        run(what, Watch(train=train, advance=advance))
    assert "stopped: Stop" in (what.folder / "log.txt").read_text()
    run(what)
    assert (what.trained / "model.safetensors").read_bytes() == (
        neural_run.trained / "model.safetensors"
    ).read_bytes()
    for file in ("predictions.parquet", "scorecard.json"):
        assert (what.folder / file).read_bytes() == (whole.folder / file).read_bytes()


def test_a_run_of_another_recipe_in_the_folder_is_refused(corpus, tmp_path):
    what = a_run(corpus, tmp_path / "run")
    run(what)
    before = written(what.folder)
    with pytest.raises(CfbenchError, match="holds a run of another recipe") as error:
        run(replace(what, recipe=classical(corpus, "logistic.strength=0.1")))
    assert "recipe.toml" in str(error.value)
    assert written(what.folder) == before


def test_a_classical_model_is_not_trained_over_another(corpus, tmp_path):
    data = speech.data(corpus)
    folder = steps.train(classical(corpus), data, tmp_path / "train", CPU)
    before = written(folder)
    with pytest.raises(CfbenchError, match="holds a model of another recipe or other data"):
        steps.train(classical(corpus, "training.seed=1"), data, tmp_path / "train", CPU)
    assert steps.train(classical(corpus), data, tmp_path / "train", CPU) == folder
    assert written(folder) == before
    shutil.rmtree(folder)
    (tmp_path / "train" / ".model.half").mkdir()
    steps.train(classical(corpus), data, tmp_path / "train", CPU)
    assert sorted(path.name for path in (tmp_path / "train").iterdir()) == ["model", "trained.json"]


def test_the_progress_of_classical_training_is_told(corpus, tmp_path):
    told: list[Progress] = []
    steps.train(classical(corpus), speech.data(corpus), tmp_path, CPU, report=told.append)
    assert [(progress.step, progress.steps) for progress in told] == [(0, 1), (1, 1), (1, 1)]
    assert told[-1].doing == "fitting"


def test_a_bad_clip_stops_classical_training(own_corpus, tmp_path):
    (own_corpus.audio / "train_001.flac").write_text("not audio")
    with pytest.raises(CfbenchError, match=r"train_001\.flac"):
        steps.train(classical(own_corpus), speech.data(own_corpus), tmp_path, CPU)
    assert not (tmp_path / "model").exists()


def test_training_never_reads_the_scored_splits(own_corpus, tmp_path):
    for path in [*own_corpus.audio.glob("id_*"), *own_corpus.audio.glob("ood_*")]:
        path.unlink()
    for recipe in (classical(own_corpus), speech.tiny(own_corpus, *SHORT)):
        steps.train(recipe, speech.data(own_corpus), tmp_path / recipe.name, CPU)


def test_training_wants_all_of_its_audio(own_corpus, tmp_path):
    for name in ("train_000.flac", "dev_000_rvq.wav"):
        (own_corpus.audio / name).unlink()
    with pytest.raises(CfbenchError, match="2 utterances have no audio file: ") as error:
        steps.train(classical(own_corpus), speech.data(own_corpus), tmp_path, CPU)
    assert "train_000" in str(error.value)
    assert "dev_000_rvq" in str(error.value)


def write_training_list(path: Path, rows: list[tuple[str, str]]) -> None:
    """In the form of the authors' training lists: speaker, utterance, -, AUX, DEC, VQ, label."""
    classes = {
        "snac_24khz": "None Time MVQ", "llm_codec": "SEM Time MVQ", "bigcodec": "None Time SVQ",
        "ticodec_1g1r": "Disent Freq SVQ", "spectralcodecs": "None Freq SQ",
    }  # fmt: skip
    lines = []
    for origin, codec in rows:
        speaker = origin.partition("_")[0]
        lines.append(f"{speaker} {origin} - REAL REAL REAL bonafide")
        lines.append(f"{speaker} {origin}_{codec} - {classes[codec]} spoof")
    path.write_text("\n".join(lines) + "\n")


def pool_list(path: Path) -> None:
    """In the form of the Hub's CoRS_labels.txt: everything, of all speakers."""
    codecs = ("snac_24khz", "llm_codec", "bigcodec", "ticodec_1g1r", "spectralcodecs")
    lines = []
    for origin in [f"p225_{i:03d}" for i in range(1, 7)] + ["p226_001", "p227_001"]:
        speaker = origin.partition("_")[0]
        lines.append(f"{speaker} {origin} bonafide")
        lines += [f"{speaker} {origin}_{codec} Spoof" for codec in codecs]
    path.write_text("\n".join(lines) + "\n")


def test_the_authors_list_is_taken_where_it_is_there_and_else_the_full_pool(tmp_path):
    recipe = find_recipe("M1_VQ_bal")
    data = Data(find_track(recipe.track), [tmp_path], tmp_path)
    pool_list(tmp_path / "CoRS_labels.txt")
    train, dev = read_training(recipe, data)
    assert train.height == 6 * 6
    assert set(train["split"].unique()) == {"train"}
    assert set(train["group"].unique()) == {f"p225_{i:03d}" for i in range(1, 7)}
    assert set(dev["group"].unique()) == {"p226_001"}
    rows = [("p225_001", "snac_24khz"), ("p225_002", "bigcodec"), ("p225_003", "spectralcodecs")]
    write_training_list(tmp_path / "train_mult_learn_bal_vq.txt", rows)
    write_training_list(tmp_path / "dev_mult_learn_bal_vq.txt", [("p226_001", "bigcodec")])
    train, dev = read_training(recipe, data)
    assert train.height == 6
    assert dev.height == 2


def test_lists_that_are_lacking_are_named(tmp_path):
    recipe = find_recipe("M1_VQ_bal")
    (tmp_path / "CoRS_ALL.txt").write_text("p227 p227_001 - - bonafide\n")
    with pytest.raises(CfbenchError, match="no utterances of split train") as error:
        read_training(recipe, Data(find_track(recipe.track), [tmp_path], tmp_path))
    assert "put train_mult_learn_bal_vq.txt or CoRS_labels.txt" in str(error.value)


@pytest.mark.parametrize("name", ["M1_VQ_bal", "M1_AUX_bal", "M1_DEC_bal"])
def test_the_real_lists_are_found_by_the_recipes(protocols, name):
    recipe = find_recipe(name)
    train, dev = read_training(recipe, Data(find_track(recipe.track), [], protocols))
    assert (train.height, dev.height) == (85_930, 1_470)


def test_a_trained_model_may_be_given(neural_run, corpus, tmp_path):
    recipe = speech.tiny(corpus, *SHORT)
    what = a_run(corpus, tmp_path / "run", recipe, model=str(neural_run.trained))
    assert steps_done(what) == ["predict", "score"]
    assert not (what.folder / "train").exists()
    assert what.predictions.read_bytes() == neural_run.predictions.read_bytes()


def test_a_model_that_the_recipe_does_not_describe_is_refused(neural_run, corpus, tmp_path):
    for recipe in (classical(corpus), speech.tiny(corpus, "data.samples=4000")):
        what = a_run(corpus, tmp_path / recipe.name, recipe, model=str(neural_run.trained))
        with pytest.raises(CfbenchError, match=f"a wav2vec2-aasist of vq; {recipe.name} is a"):
            run(what)
        assert not what.predictions.exists()


def test_a_checkpoint_may_be_removed_when_training_is_done(neural_run, corpus, tmp_path):
    shutil.copytree(neural_run.folder, tmp_path / "run")
    what = replace(neural_run, folder=tmp_path / "run")
    (what.folder / "train" / "last.pt").unlink()
    before = written(what.trained)
    run(what)
    assert written(what.trained) == before
    more = speech.tiny(corpus, *SHORT, "training.epochs=2")
    with pytest.raises(CfbenchError, match="without a checkpoint to go on from"):
        run(replace(what, recipe=more))
    assert written(what.trained) == before


def test_a_scorecard_of_other_predictions_is_removed(own_corpus, tmp_path):
    what = a_run(own_corpus, tmp_path / "run")
    run(what)
    (own_corpus.audio / "id_000.flac").write_text("not audio")
    overwriting = replace(what, prediction=replace(what.prediction, overwrite=True))
    assert run(overwriting).scorecard is None
    assert not what.scorecard.exists()


def test_words_may_change_between_two_calls_and_settings_may_not(neural_run, corpus, tmp_path):
    shutil.copytree(neural_run.folder, tmp_path / "run")
    other = neural_run.recipe.model_copy(update={"title": "Another title"})
    run(replace(neural_run, folder=tmp_path / "run", recipe=other, steps=["score"]))
    wild = speech.tiny(corpus, *SHORT, "training.seed=1", "data.samples=4800")
    with pytest.raises(CfbenchError, match=r"data\.samples, training\.seed differ"):
        run(replace(neural_run, folder=tmp_path / "run", recipe=wild))


def save_checkpoint(path: Path, tasks: tuple[str, ...], seed: int = 0) -> Path:
    state = authors_checkpoints.checkpoint(authors_checkpoints.Geometry(), tasks, seed)
    torch.save(state, path)
    return path


@pytest.mark.slow
def test_a_checkpoint_of_the_authors_is_converted_once(corpus, tmp_path):
    path = save_checkpoint(tmp_path / "M2.pth", ("vq", "aux", "dec"))
    # Published for this recipe, on the disk instead of the Hub.
    tasks = 'model.tasks=["vq", "aux", "dec"]'
    recipe = speech.tiny(corpus, *SHORT, tasks, f"model.checkpoint={path}")
    what = a_run(corpus, tmp_path / "run", recipe, model="published")
    assert steps_done(what) == ["predict", "score"]
    # A model of the three tracing tasks answers spoof detection too.
    assert set(read_scorecard(what.scorecard).tasks) == {"bin", "vq", "aux", "dec"}
    assert load_predictor(str(what.folder / "converted"), torch.device("cpu"))[0].tasks == (
        "bin", "vq", "aux", "dec",
    )  # fmt: skip
    made = written(what.folder / "converted")
    run(what)
    assert written(what.folder / "converted") == made
    # Another checkpoint is not taken for the one that was converted.
    before = pl.read_parquet(what.predictions)
    save_checkpoint(path, ("vq", "aux", "dec"), seed=1)
    with pytest.raises(CfbenchError, match="made in another way"):
        run(what)
    run(replace(what, prediction=Prediction(Path(), overwrite=True)))
    assert not pl.read_parquet(what.predictions).equals(before)
    save_checkpoint(path, ("vq",))
    with pytest.raises(CfbenchError, match="a wav2vec2-aasist of vq; tiny is a"):
        run(what)


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("published", "no trained model of this recipe is published"),
        ("nowhere/M1.pth", "no such file"),
        ("nowhere/at/all", "no such folder"),
    ],
)
def test_a_model_that_is_not_there_is_reported(corpus, tmp_path, model, told):
    with pytest.raises(CfbenchError, match=told):
        run(a_run(corpus, tmp_path / "run", speech.tiny(corpus, *SHORT), model=model))


def test_utterances_without_an_answer_are_not_scored_unless_told(own_corpus, tmp_path):
    corpus = own_corpus
    missing, bad = corpus.audio / "id_000.flac", corpus.audio / "ood_001_rvq.wav"
    kept = {path: path.read_bytes() for path in (missing, bad)}
    missing.unlink()
    bad.write_text("not audio")
    what = a_run(corpus, tmp_path / "run")
    done = run(what)
    assert done.scorecard is None
    assert not what.scorecard.exists()
    assert done.predicted is not None
    assert list(done.predicted.joined.failures) == ["id_000", "ood_001_rvq"]
    assert done.predicted.missing == ("id_000",)
    told = (what.folder / "log.txt").read_text()
    assert "WARNING id_000: no audio file" in told
    assert "ood_001_rvq.wav: not audio" in told
    run(replace(what, allow_missing=True))
    card = read_scorecard(what.scorecard)
    assert {name: split.missing for name, split in card.protocol.items()} == {"id": 1, "ood": 1}
    for path, content in kept.items():
        path.write_bytes(content)
    run(what)
    other = a_run(corpus, tmp_path / "good")
    run(other)
    for file in ("predictions.parquet", "scorecard.json"):
        assert (what.folder / file).read_bytes() == (other.folder / file).read_bytes()


def test_each_run_keeps_its_own_log(corpus, tmp_path):
    for name in ("one", "two"):
        run(a_run(corpus, tmp_path / name))
    for name in ("one", "two"):
        lines = (tmp_path / name / "log.txt").read_text().splitlines()
        assert len([line for line in lines if "training log-mel-logistic" in line]) == 1
    assert not [one for one in runs.log.handlers if isinstance(one, logging.FileHandler)]


# What would be needed.


def described(what: Run) -> tuple[str, str]:
    plan = dry_run.describe(what)
    return "\n".join(plan.lines), "\n".join(map(str, plan.missing))


def test_a_dry_run_says_what_would_happen_and_writes_nothing(corpus, tmp_path):
    what = a_run(corpus, tmp_path / "run", speech.tiny(corpus, *SHORT))
    before = written(tmp_path)
    lines, missing = described(what)
    assert not missing
    assert "train: 1 epoch of 8 utterances, drawn from 16 (vq), 2 steps of 4" in lines
    assert "the best epoch on 4 utterances" in lines
    assert "predict: 16 utterances (8 id, 8 ood)" in lines
    assert f"score: {what.scorecard}" in lines
    assert "computes on: the processor" in lines
    assert "needs: no download" in lines
    assert "on the disk" in lines
    assert written(tmp_path) == before
    assert not what.folder.exists()


def test_a_dry_run_tells_of_pretraining_where_there_is_any(corpus, tmp_path):
    taught = speech.tiny(corpus, *SHORT, "pretraining.steps=7")
    assert "pre-trained for 7 steps" in described(a_run(corpus, tmp_path / "run", taught))[0]
    for recipe in (
        speech.tiny(corpus, *SHORT),
        speech.tiny(corpus, *SHORT, "pretraining.steps=7", "model.front_end.weights=elsewhere"),
    ):
        assert "pre-trained for" not in described(a_run(corpus, tmp_path / "run", recipe))[0]


def test_a_dry_run_knows_how_large_the_reference_system_is(corpus, tmp_path):
    recipe = find_recipe("M1_AUX_bal").model_copy(update={"track": str(corpus.track)})
    lines, _ = described(a_run(corpus, tmp_path / "run", recipe))
    # 320 million parameters: weights, gradients and two moments in single precision; 20 epochs.
    assert "needs: memory of 5.1 GB" in lines
    assert "needs: 35.4 GB on the disk" in lines
    assert "needs: a download of facebook/wav2vec2-xls-r-300m, about 1.3 GB" in lines
    assert "without a GPU" in lines
    lines, _ = described(a_run(corpus, tmp_path / "run", recipe, model="published"))
    assert "the model is CodecFake/CodecFake_Source_Tracing/" in lines
    assert "needs: memory of 1.3 GB for the weights" in lines
    assert "needs: a download of CodecFake/CodecFake_Source_Tracing/" in lines


def test_a_dry_run_knows_what_a_frozen_front_end_needs(corpus, tmp_path):
    recipe = find_recipe("M1_AUX_bal", ["training.freeze_front_end=true", "training.keep=best"])
    recipe = recipe.model_copy(update={"track": str(corpus.track)})
    lines, _ = described(a_run(corpus, tmp_path / "run", recipe))
    # Gradients and moments are those of encoder and branches: less than a million parameters.
    assert "needs: memory of 1.3 GB for weights" in lines


def test_a_dry_run_sees_that_a_batch_cannot_be_filled(corpus, tmp_path):
    recipe = speech.tiny(corpus, "training.batch_size=1000")
    _, missing = described(a_run(corpus, tmp_path / "run", recipe))
    assert "cannot fill a batch of 1000" in str(missing)


def no_track(what: Run, corpus: speech.Corpus) -> Run:
    recipe = find_recipe("log-mel-logistic")
    return replace(what, recipe=recipe, data=Data(find_track(recipe.track), [corpus.audio]))


def no_audio(what: Run, corpus: speech.Corpus) -> Run:
    (corpus.audio / "train_000.flac").unlink()
    (corpus.audio / "ood_000.flac").unlink()
    return what


def no_folder(what: Run, corpus: speech.Corpus) -> Run:
    return replace(what, data=replace(what.data, audio=[corpus.audio / "nowhere"]))


def no_room(what: Run, corpus: speech.Corpus) -> Run:
    return replace(what, recipe=speech.tiny(corpus, *SHORT))


LACKING: dict[str, tuple[Callable[[Run, speech.Corpus], Run], list[str]]] = {
    "lists": (no_track, ["the protocol of codecfake-plus is not shipped with cfbench"]),
    "audio": (
        no_audio,
        [
            "training: 1 utterance has no audio file: train_000",
            "prediction: 1 utterance has no audio file: ood_000",
        ],
    ),
    "a folder of audio": (no_folder, ["nowhere: no such folder"]),
    "room on the disk": (no_room, ["are free, ", "make room"]),
    "a model": (
        lambda what, corpus: replace(what, model="nowhere/at/all"),
        ["nowhere/at/all: no such model"],
    ),
    "a published model": (
        lambda what, corpus: replace(what, model="published"),
        ["no trained model of this recipe is published"],
    ),
    "a trained model": (
        lambda what, corpus: replace(what, steps=("predict",)),
        ["train/model: no trained model"],
    ),
    "predictions": (
        lambda what, corpus: replace(what, steps=("score",)),
        ["predictions.parquet: not there yet"],
    ),
    "a front end": (
        lambda what, corpus: replace(
            what, recipe=speech.tiny(corpus, *SHORT), front_end="nowhere/xlsr2_300m.pt"
        ),
        ["nowhere/xlsr2_300m.pt: no such file"],
    ),
    "a setting of the front end": (
        lambda what, corpus: replace(
            what, recipe=speech.tiny(corpus, *SHORT, "model.front_end.config.hidden=3")
        ),
        ["Wav2Vec2Config has no 'hidden'"],
    ),
    "clips for a batch": (
        lambda what, corpus: replace(what, recipe=classical(corpus, "data.balance=vq")),
        [],
    ),
}


@pytest.mark.parametrize("what_lacks", LACKING)
def test_a_dry_run_says_what_is_missing(own_corpus, tmp_path, monkeypatch, what_lacks):
    change, told = LACKING[what_lacks]
    what = change(a_run(own_corpus, tmp_path / "run"), own_corpus)
    if what_lacks == "room on the disk":
        usage = type("Usage", (), {"free": 1000})
        monkeypatch.setattr(dry_run.shutil, "disk_usage", lambda path: usage)
    before = written(tmp_path)
    _, missing = described(what)
    for words in told:
        assert words in missing
    assert bool(missing) is bool(told)
    assert written(tmp_path) == before


def test_a_dry_run_knows_a_run_that_is_there(neural_run, corpus, tmp_path):
    lines, missing = described(neural_run)
    assert f"train: done already ({neural_run.trained})" in lines
    assert not missing
    other = replace(neural_run, recipe=speech.tiny(corpus, *SHORT, "training.seed=3"))
    assert "holds a run of another recipe" in described(other)[1]
    started = a_run(corpus, tmp_path / "run", speech.tiny(corpus, *SHORT))
    (started.folder / "train").mkdir(parents=True)
    (started.folder / "train" / "last.pt").touch()
    assert f"goes on from {started.folder / 'train' / 'last.pt'}" in described(started)[0]


def test_the_recipe_of_a_run_is_complete(neural_run):
    text = (neural_run.folder / "recipe.toml").read_text()
    assert text == tomli_w.dumps(neural_run.recipe.model_dump(mode="json"))
    for setting in ("rawboost = 0", "warmup_steps = 0", 'schedule = "constant"'):
        assert setting in text
