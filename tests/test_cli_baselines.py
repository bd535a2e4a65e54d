"""train, predict and run-baseline as a user meets them: words, exit codes, signals, launchers."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
import torch

import authors_checkpoints
import speech
from cfbench.__main__ import main
from cfbench.cli import progress
from cfbench.recipes import find_recipe

SHORT = ("data.samples=4000", 'model.tasks=["vq"]', "training.epochs=1", "training.batch_size=4")


pytestmark = pytest.mark.usefixtures("one_thread", "alone")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> speech.Corpus:
    """21 clips to predict: an odd number."""
    corpus = speech.make_corpus(
        tmp_path_factory.mktemp("track"), [("train", 4), ("dev", 1), ("id", 3), ("ood", 3)], 0.3
    )
    lines = corpus.track.with_name("protocol.csv").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("ood_000_", "ood_002_"))]
    kept += [line for line in lines if line.startswith(("ood_000_rvq", "ood_002_rvq"))]
    kept += [line for line in lines if line.startswith("ood_000_single")]
    corpus.track.with_name("protocol.csv").write_text("\n".join(kept) + "\n")
    speech.write_recipe(corpus.track.parent, corpus)
    return corpus


@pytest.fixture
def own_corpus(corpus: speech.Corpus, tmp_path: Path) -> speech.Corpus:
    """A copy whose clips a test may break."""
    shutil.copytree(corpus.track.parent, tmp_path / "own")
    return speech.Corpus(tmp_path / "own" / corpus.track.name, tmp_path / "own" / "audio")


@pytest.fixture(scope="module")
def models(corpus: speech.Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classical model that hears the codecs, and untrained neural ones."""
    from cfbench import steps
    from cfbench.untrained import build

    folder = tmp_path_factory.mktemp("models")
    recipe = find_recipe("log-mel-logistic", ["data.samples=4000"])
    data = speech.data(corpus)
    speech.forget_processes()
    made = {"classical": steps.train(recipe, data, folder / "classical", steps.Machine(True, 0))}
    torch.manual_seed(7)
    for name, tasks in (("neural", '["bin", "vq", "aux", "dec"]'), ("one task", '["vq"]')):
        made[name] = folder / name
        recipe = speech.tiny(corpus, *speech.SMALL, f"model.tasks={tasks}")
        build(recipe).save_pretrained(made[name])
    return made


def predicting(corpus: speech.Corpus, model: Path, out: Path, *more: object) -> list[object]:
    return [
        "predict", "--model", model, "--track", corpus.track, "--audio", corpus.audio, "--out", out,
        "--cpu", *more,
    ]  # fmt: skip


def baseline(corpus: speech.Corpus, out: Path, *more: object) -> list[object]:
    return [
        "run-baseline", "log-mel-logistic", "--track", corpus.track, "--audio", corpus.audio,
        "--out", out, "--cpu", "--workers", "0", "--set", "data.samples=4000", *more,
    ]  # fmt: skip


def test_run_baseline_prints_the_scorecard_and_where_it_is(run_cli, corpus, tmp_path):
    told = run_cli(*baseline(corpus, tmp_path / "run"))
    assert told.code == 0
    assert "Vector quantisation (vq)" in told.out
    assert "21 clips predicted, " in told.err
    assert " clips/s" in told.err
    assert f"{tmp_path / 'run' / 'predictions.parquet'}: complete" in told.err
    assert f"{tmp_path / 'run' / 'scorecard.json'}: the scorecard; cfbench show" in told.err
    again = run_cli(*baseline(corpus, tmp_path / "run"))
    assert again.code == 0
    assert again.out == told.out
    assert "21 clips done before" in again.err
    assert run_cli("show", tmp_path / "run" / "scorecard.json").out == told.out


def test_run_baseline_trains_a_neural_model_and_says_how(run_cli, corpus, tmp_path):
    changes = [word for change in SHORT for word in ("--set", change)]
    recipe = corpus.track.parent / "tiny.toml"
    told = run_cli(
        "run-baseline", recipe, "--audio", corpus.audio, "--out", tmp_path / "run", "--cpu",
        *changes,
    )  # fmt: skip
    assert told.code == 0
    assert "note: epoch 1 of 1: dev loss " in told.err
    assert ", dev macro-F1 " in told.err
    assert "Vector quantisation (vq)" in told.out
    again = run_cli(
        "run-baseline", recipe, "--audio", corpus.audio, "--out", tmp_path / "run", "--cpu",
        *changes,
    )  # fmt: skip
    assert "note: going on at step 2 of 2" in again.err
    assert "epoch 1" not in again.err


def test_a_run_folder_is_named_after_its_recipe(run_cli, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = baseline(corpus, tmp_path)
    del arguments[arguments.index("--out") : arguments.index("--out") + 2]
    assert run_cli(*arguments).code == 0
    assert (tmp_path / "runs" / "log-mel-logistic" / "scorecard.json").is_file()


def test_a_track_is_overruled_and_kept(run_cli, corpus, tmp_path, monkeypatch):
    told = run_cli(*baseline(corpus, tmp_path / "run", "--steps", "train"))
    assert told.code == 0
    assert find_recipe(str(tmp_path / "run" / "recipe.toml")).track == str(corpus.track)
    # The same file by another name is the same run.
    monkeypatch.chdir(corpus.track.parent)
    moved = speech.Corpus(Path(corpus.track.name), corpus.audio)
    assert run_cli(*baseline(moved, tmp_path / "run")).code == 0
    train = [
        "train", "log-mel-logistic", "--audio", corpus.audio, "--out", tmp_path / "train", "--cpu",
        "--set", "data.samples=4000",
    ]  # fmt: skip
    assert run_cli(*train).code == 2  # the recipe's own track has no lists here
    told = run_cli(*train, "--track", corpus.track)
    assert told.code == 0
    assert f"the trained model: {tmp_path / 'train' / 'model'}" in told.err


def test_a_dry_run_prints_and_writes_nothing(run_cli, corpus, tmp_path):
    told = run_cli(*baseline(corpus, tmp_path / "run", "--dry-run"))
    assert told.code == 0
    assert "train: on 8 utterances, drawn from 16 (aux)" in told.out
    assert "predict: 21 utterances (12 id, 9 ood)" in told.out
    assert told.err == ""
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_that_lacks_something_ends_in_1(run_cli, corpus, tmp_path):
    told = run_cli(
        "run-baseline", "M1_AUX_bal", "--audio", tmp_path, "--out", tmp_path / "run", "--dry-run"
    )
    assert told.code == 1
    assert "the protocol of codecfake-plus is not shipped" in told.err
    told = run_cli(*baseline(corpus, tmp_path / "run", "--dry-run", "--audio", tmp_path / "no"))
    assert told.code == 1
    assert "no: no such folder" in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--steps", "train,fly"], "no step is called so"),
        (["--steps", ","], "no step is called so"),
        (["--set", "training.epoch=1"], "did you mean 'epochs'?"),
        (["--model", "published"], "no trained model of this recipe is published"),
        (["--track", "nowhere.toml"], "the track cannot be read"),
        (["--precision", "bf16"], "computes in fp32 only"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_run_ends_in_a_message(run_cli, corpus, tmp_path, arguments, told):
    done = run_cli(*baseline(corpus, tmp_path / "run"), *arguments)
    assert done.code == 2
    assert told in done.err
    assert "Traceback" not in done.err


def test_another_recipe_in_the_folder_ends_in_a_message(run_cli, corpus, tmp_path):
    assert run_cli(*baseline(corpus, tmp_path / "run", "--steps", "train")).code == 0
    done = run_cli(*baseline(corpus, tmp_path / "run", "--set", "logistic.strength=0.5"))
    assert done.code == 2
    assert "holds a run of another recipe" in done.err


def break_clips(corpus: speech.Corpus) -> dict[Path, bytes]:
    """Five clips that cannot be read, each in another way, and what they were."""
    ways: dict[str, Callable[[Path], object]] = {
        "id_000.flac": Path.unlink,
        "id_001_rvq.wav": lambda path: path.write_bytes(b""),
        "id_002.flac": lambda path: path.write_bytes(path.read_bytes()[:500]),
        "ood_000.flac": lambda path: soundfile.write(path, np.zeros(5000), speech.RATE),
        "ood_001_scalar.wav": lambda path: path.write_text("not audio"),
    }
    kept = {corpus.audio / name: (corpus.audio / name).read_bytes() for name in ways}
    for name, way in ways.items():
        way(corpus.audio / name)
    return kept


def test_bad_clips_are_listed_at_the_end_and_mending_them_completes(
    run_cli, own_corpus, models, tmp_path
):
    command = predicting(own_corpus, models["classical"], tmp_path / "out.csv", "--workers", "0")
    good = predicting(own_corpus, models["classical"], tmp_path / "good.csv", "--workers", "0")
    assert run_cli(*good).code == 0
    kept = break_clips(own_corpus)
    told = run_cli(*command)
    assert told.code == 1
    assert "16 clips predicted" in told.err
    assert "out.csv: written, 5 utterances are lacking" in told.err
    for name, reason in (
        ("id_001_rvq.wav", "empty"),
        ("id_002.flac", ""),
        ("ood_000.flac", "silent"),
        ("ood_001_scalar.wav", "not audio"),
    ):
        (line,) = [line for line in told.err.splitlines() if name in line and "error:" in line]
        assert reason in line
    assert "error: 1 utterance has no audio file:\n  id_000\n" in told.err
    assert pl.read_csv(tmp_path / "out.csv").height == 16
    # Nothing mended, nothing gained.
    assert run_cli(*command).code == 1
    for path, content in kept.items():
        path.write_bytes(content)
    told = run_cli(*command)
    assert told.code == 0
    assert "out.csv: complete" in told.err
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "good.csv").read_bytes()


def test_all_utterances_without_a_file_are_listed(run_cli, own_corpus, models, tmp_path):
    for path in own_corpus.audio.glob("id_*"):
        path.unlink()
    told = run_cli(*predicting(own_corpus, models["classical"], tmp_path / "out.csv"))
    assert told.code == 1
    assert "error: 12 utterances have no audio file:" in told.err
    for index in range(3):
        for codec in ("", *(f"_{codec}" for codec in speech.CODECS)):
            assert f"\n  id_00{index}{codec}\n" in told.err
    # Asked for what is there, there is nothing to complain of.
    told = run_cli(
        *predicting(own_corpus, models["classical"], tmp_path / "ood.csv", "--split", "ood")
    )
    assert told.code == 0
    assert "9 clips predicted" in told.err


def test_no_audio_at_all_is_an_error(run_cli, corpus, models, tmp_path):
    elsewhere = speech.Corpus(corpus.track, tmp_path)
    told = run_cli(*predicting(elsewhere, models["classical"], tmp_path / "out.csv"))
    assert told.code == 2
    assert "21 utterances have no audio file" in told.err
    assert "looked for UTTERANCE.wav, .flac" in told.err


def test_strict_stops_at_the_first_bad_clip(run_cli, own_corpus, models, tmp_path):
    (own_corpus.audio / "id_001.flac").write_text("not audio")
    strict = [*predicting(own_corpus, models["classical"], tmp_path / "out.csv"), "--strict"]
    told = run_cli(*strict)
    assert told.code == 2
    assert "id_001.flac: not audio" in told.err
    assert not (tmp_path / "out.csv").exists()
    (own_corpus.audio / "id_001.flac").unlink()
    told = run_cli(*strict)
    assert told.code == 2
    assert "1 utterance has no audio file: id_001" in told.err


def test_unanswered_clips_are_scored_only_when_asked(run_cli, own_corpus, tmp_path):
    (own_corpus.audio / "id_001.flac").unlink()
    told = run_cli(*baseline(own_corpus, tmp_path / "run"))
    assert told.code == 1
    assert "not scored: 1 utterance without a prediction; --allow-missing" in told.err
    assert told.out == ""
    told = run_cli(*baseline(own_corpus, tmp_path / "run", "--allow-missing"))
    assert told.code == 1
    assert "Vector quantisation (vq)" in told.out


def test_shards_in_any_order_make_the_file(run_cli, corpus, models, tmp_path):
    def shard(text: str) -> object:
        return run_cli(
            *predicting(corpus, models["classical"], tmp_path / "out.csv", "--workers", "0"),
            *("--batch-size", "2", "--part-size", "4", "--shard", text),
        )

    whole = predicting(corpus, models["classical"], tmp_path / "whole.csv", "--workers", "0")
    run_cli(*whole, "--batch-size", "2", "--part-size", "4")
    first = shard("3/3")
    assert first.code == 0
    assert "note: share 3 of 3: 5 clips\n" in first.err
    assert "out.csv: not yet; parts of other shares are missing" in first.err
    assert shard("1/3").code == 0
    again = shard("3/3")
    assert "share 3 of 3: 5 clips done before" in again.err
    last = shard("2/3")
    assert "out.csv: complete" in last.err
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    wrong = shard("4/3")
    assert wrong.code == 2
    assert "is no shard" in wrong.err


def test_a_shard_under_a_launcher_is_refused(run_cli, corpus, models, tmp_path, monkeypatch):
    class Second:
        process_index, num_processes = 1, 2

    monkeypatch.setattr("cfbench.processes.this_process", lambda cpu: Second())
    told = run_cli(*predicting(corpus, models["neural"], tmp_path / "out.csv"), "--shard", "1/2")
    assert told.code == 2
    assert "--shard 1/2, but a launcher has started 2 processes" in told.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["predict", "run-baseline"])
def test_an_interruption_is_said_to_be_none_of_the_end(
    run_cli, corpus, models, tmp_path, monkeypatch, command
):
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("cfbench.inference.predict", interrupted)
    commands = {
        "predict": predicting(corpus, models["classical"], tmp_path / "out.csv"),
        "run-baseline": baseline(corpus, tmp_path / "run"),
    }
    told = run_cli(*commands[command])
    assert told.code == 130
    assert told.err == "note: interrupted; the same command again goes on where it was\n"


def test_a_part_size_below_the_batch_size_is_one_batch(run_cli, corpus, models, tmp_path):
    command = predicting(corpus, models["classical"], tmp_path / "out.csv", "--part-size", "1")
    assert run_cli(*command, "--batch-size", "8").code == 0
    assert pl.read_csv(tmp_path / "out.csv").height == 21


def test_predictions_made_in_another_way_are_replaced_only_when_told(
    run_cli, corpus, models, tmp_path
):
    out = tmp_path / "out.csv"
    assert run_cli(*predicting(corpus, models["classical"], out)).code == 0
    before = out.read_bytes()
    fewer = [*predicting(corpus, models["classical"], out), "--split", "id"]
    told = run_cli(*fewer)
    assert told.code == 2
    assert "is there already, made in another way" in told.err
    assert out.read_bytes() == before
    assert run_cli(*fewer, "--overwrite").code == 0
    assert pl.read_csv(out).height == 12


@pytest.mark.slow
def test_int8_says_how_far_it_is_off(run_cli, corpus, models, tmp_path):
    told = run_cli(
        *predicting(corpus, models["neural"], tmp_path / "out.csv", "--precision", "int8")
    )
    assert told.code == 0
    (line,) = [line for line in told.err.splitlines() if "int8 against fp32" in line]
    assert line.startswith("note: int8 against fp32 on the first 16 clips: probabilities differ")
    off = float(line.partition("by up to ")[2].partition(",")[0])
    assert 0 <= off < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_another_file(run_cli, corpus, models, tmp_path, precision):
    out = tmp_path / "out.csv"
    command = predicting(corpus, models["neural"], out, "--split", "id")
    assert run_cli(*command).code == 0
    assert run_cli(*command, "--precision", precision).code == 2
    assert run_cli(*command, "--precision", precision, "--overwrite").code == 0


def test_the_classes_of_a_trained_model_are_those_of_the_protocol(run_cli, corpus, tmp_path):
    """A permutation between labels, outputs and columns would show."""
    assert run_cli(*baseline(corpus, tmp_path / "run", "--steps", "train")).code == 0
    out = tmp_path / "out.csv"
    lists = corpus.track.with_name("protocol.csv")
    told = run_cli(
        *predicting(corpus, tmp_path / "run" / "train" / "model", out, "--split", "id,ood"),
        "--protocol", lists,
    )  # fmt: skip
    assert told.code == 0
    truth = pl.read_csv(lists).join(pl.read_csv(out), on="utt_id")
    for task_id, classes in (
        ("vq", ("real", "mvq", "svq", "sq")),
        ("aux", ("real", "none", "sem", "disent")),
        ("dec", ("real", "time", "freq")),
    ):
        answers = truth.select(f"{task_id}_{name}" for name in classes).to_numpy().argmax(axis=1)
        right = [classes[i] == name for i, name in zip(answers, truth[task_id], strict=True)]
        assert np.mean(right) > 0.75, task_id
    sure = truth.group_by("bin").agg(pl.col("bin_bonafide").mean()).sort("bin")
    assert sure["bin_bonafide"][0] > sure["bin_bonafide"][1]  # bonafide, spoof


def test_convert_checkpoint_writes_a_model_whole(run_cli, tmp_path):
    state = authors_checkpoints.checkpoint(authors_checkpoints.Geometry(), ("vq",))
    torch.save(state, tmp_path / "S_VQ.pth")
    told = run_cli("convert-checkpoint", tmp_path / "S_VQ.pth", tmp_path / "a" / "S_VQ")
    assert told.code == 0
    assert f"{tmp_path / 'a' / 'S_VQ'}: vq; " in told.err
    assert {path.name for path in (tmp_path / "a" / "S_VQ").iterdir()} == {
        "config.json", "model.safetensors",
    }  # fmt: skip
    for place in (tmp_path / "a" / "S_VQ", tmp_path / "S_VQ.pth"):
        told = run_cli("convert-checkpoint", tmp_path / "S_VQ.pth", place)
        assert told.code == 2
        assert "is there already" in told.err
    assert run_cli("convert-checkpoint", tmp_path / "no.pth", tmp_path / "x").code == 2
    assert not (tmp_path / "x").exists()


def test_progress_in_a_log_file_has_speed_and_time_left(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.bar() as shown:
        shown.begin(1000, "predicting", "clips")
        shown.advance(400, 400)  # by an earlier call
        now += 31
        shown.advance(62, 0, "a note")
        now += 1
        shown.advance(2)  # not again so soon
        now += 3600
        shown.advance(100)
    first, second = capsys.readouterr().err.splitlines()
    assert first == "predicting: 462 of 1,000 clips, 2.0 clips/s, 0:04:29 left; a note"
    assert second.startswith("predicting: 564 of 1,000 clips, 0.0 clips/s, 2:")


def test_only_one_of_several_processes_shows_progress(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with progress.bar() as shown:
        shown.begin(10, "predicting", "clips")
        now += 100
        shown.advance(5)
    assert capsys.readouterr().err == ""


# In processes of their own.


def blocked(*names: str) -> str:
    """A program that is cfbench on a machine without these packages."""
    gone = "; ".join(f"sys.modules[{name!r}] = None" for name in names)
    return f"import sys; {gone}; from cfbench.__main__ import main; main(sys.argv[1:])"


@pytest.mark.parametrize("name", ["train", "predict", "run-baseline", "convert-checkpoint"])
def test_without_the_extra_it_is_said_how_to_install_it(corpus, models, tmp_path, name):
    commands = {
        "train": ["train", "M1_AUX_bal", "--audio", corpus.audio, "--out", tmp_path],
        "predict": predicting(corpus, models["classical"], tmp_path / "out.csv"),
        "run-baseline": baseline(corpus, tmp_path / "run"),
        "convert-checkpoint": ["convert-checkpoint", "M1.pth", tmp_path / "x"],
    }
    program = blocked("torch", "transformers", "accelerate", "soundfile", "sklearn")
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, commands[name])], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "the baselines need torch, transformers, accelerate, soundfile, sklearn" in done.stderr
    assert "pip install 'cfbench[baseline]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_scoring_works(corpus):
    from cfbench import content

    program = blocked("torch", "transformers", "accelerate", "soundfile", "sklearn", "tomli_w")
    with content.as_path("tasks/example/predictions.csv") as path:
        done = subprocess.run(
            [sys.executable, "-c", program, "score", str(path), "--track", "example",
             "--bootstrap", "50"],
            capture_output=True, text=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "(vq)" in done.stdout
    done = subprocess.run([sys.executable, "-c", program, "recipes"], capture_output=True)
    assert done.returncode == 0


def first_line(process: "subprocess.Popen[str]", words: str) -> None:
    """Wait until a process says something."""
    assert process.stderr is not None
    said = ""
    while words not in said:
        line = process.stderr.readline()
        assert line, f"{said} {process.wait()}"
        said += line


@pytest.mark.slow
def test_ctrl_c_ends_without_a_traceback(corpus, tmp_path):
    changes = [*speech.SMALL, 'model.tasks=["vq"]', "training.batch_size=4", "training.epochs=1000"]
    settings = [word for change in changes for word in ("--set", change)]
    process = speech.start(
        "train", corpus.track.parent / "tiny.toml", "--audio", corpus.audio, "--cpu", *settings,
        "--out", tmp_path / "train",
    )  # fmt: skip
    first_line(process, "epoch 2 of 1000")
    # As a terminal does: to the decoding processes too.
    os.killpg(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in told
    assert "KeyboardInterrupt" not in told
    assert "note: interrupted; the same command again goes on where it was" in told
    assert (tmp_path / "train" / "last.pt").is_file()


def parts(out: Path) -> list[Path]:
    return list(out.with_name(out.name + ".parts").glob("part-*.parquet"))


def wait_for(there: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not there():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture(scope="module")
def long_corpus(corpus: speech.Corpus, tmp_path_factory: pytest.TempPathFactory) -> speech.Corpus:
    """241 clips, links to a few: seconds of work."""
    folder = tmp_path_factory.mktemp("long")
    (folder / "audio").mkdir()
    lines = ["utt_id,split,source,group,bin,vq,aux,dec"]
    sounds = sorted(corpus.audio.glob("id_00?.flac"))
    for index in range(241):
        name = f"clip_{index:03d}"
        (folder / "audio" / f"{name}.flac").symlink_to(sounds[index % len(sounds)])
        lines.append(f"{name},id,speaker,{name},bonafide,real,real,real")
    (folder / "protocol.csv").write_text("\n".join(lines) + "\n")
    (folder / "made-up.toml").write_text(speech.TRACK)
    return speech.Corpus(folder / "made-up.toml", folder / "audio")


@pytest.fixture(scope="module")
def whole(
    long_corpus: speech.Corpus, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> bytes:
    """The predictions file of an undisturbed process."""
    out = tmp_path_factory.mktemp("whole") / "out.csv"
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in in_small_parts(long_corpus, models, out)])
    assert done.value.code == 0
    return out.read_bytes()


def in_small_parts(
    corpus: speech.Corpus, models: dict[str, Path], out: Path, *more: object
) -> list[object]:
    sizes = ("--batch-size", "4", "--part-size", "8")
    return predicting(corpus, models["one task"], out, *sizes, *more)


@pytest.mark.slow
def test_prediction_killed_at_random_moments_gives_the_same_file(
    long_corpus, models, whole, tmp_path
):
    """Ten processes are killed, before and after the first parts, and started again."""
    seed = random.SystemRandom().randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    out = tmp_path / "out.csv"
    kept: list[int] = []
    for kill in range(10):
        process = speech.start(*in_small_parts(long_corpus, models, out))
        if kill < 2:
            time.sleep(draw.uniform(0.05, 2.5))  # while it starts
        else:
            # Somewhere between two parts, or in one.
            before = len(parts(out))
            wait_for(lambda: len(parts(out)) > before or process.poll() is not None)  # noqa: B023
            time.sleep(draw.uniform(0, 0.15))
        assert process.poll() is None, process.communicate()
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        kept.append(len(parts(out)))
        assert not out.exists()
    print(f"parts kept after each kill: {kept}")
    assert kept == sorted(kept)
    assert kept[1] == 0 < kept[2]
    process = speech.start(*in_small_parts(long_corpus, models, out))
    _, told = process.communicate(timeout=120)
    assert process.returncode == 0, told
    assert f"{8 * kept[-1]} clips done before" in told
    assert out.read_bytes() == whole
    assert not out.with_name("out.csv.parts").exists()


@pytest.mark.slow
def test_two_shards_at_the_same_time_make_the_file(long_corpus, models, whole, tmp_path):
    out = tmp_path / "out.csv"
    processes = [
        speech.start(*in_small_parts(long_corpus, models, out, "--shard", f"{index}/2"))
        for index in (1, 2)
    ]
    told = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], told
    assert out.read_bytes() == whole
    assert any("out.csv: complete" in words for words in told)


@pytest.mark.slow
def test_two_processes_predict_what_one_does(run_cli, corpus, models, tmp_path):
    """In eleven parts, the last of one clip."""
    size = ("--batch-size", "2", "--part-size", "2")
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    assert run_cli(*predicting(corpus, models["neural"], one, *size)).code == 0
    told = speech.launch(2, *predicting(corpus, models["neural"], two, *size))
    assert told.returncode == 0, told.stderr
    assert two.read_bytes() == one.read_bytes()
    assert "share 1 of 2: 11 clips\n" in told.stderr
    assert "share 2 of 2: 10 clips\n" in told.stderr
    assert "share 2 of 2: 10 clips predicted" in told.stderr
    assert told.stderr.count("two.csv: complete") == 1


@pytest.mark.slow
def test_two_processes_that_accelerate_launches_share_a_single_part(
    run_cli, corpus, models, tmp_path
):
    lists = tmp_path / "protocol.csv"
    rows = corpus.track.with_name("protocol.csv").read_text().splitlines()
    lists.write_text("\n".join([rows[0], *[row for row in rows if ",id," in row][:3]]) + "\n")
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    more = ("--batch-size", "2", "--protocol", lists)
    assert run_cli(*predicting(corpus, models["neural"], one, *more)).code == 0
    done = subprocess.run(
        [
            sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes",
            "2", "--main_process_port", "0", "-m", "cfbench",
            *map(str, predicting(corpus, models["neural"], two, *more)),
        ],
        capture_output=True, text=True, timeout=300,
        env=speech.surroundings(ACCELERATE_USE_CPU="true"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "share 1 of 2: 3 clips\n" in done.stderr
    assert "share 2 of 2: 0 clips\n" in done.stderr
    assert two.read_bytes() == one.read_bytes()
    assert pl.read_csv(two).height == 3


@pytest.mark.slow
def test_two_processes_run_a_baseline_from_audio_to_scorecard(own_corpus, tmp_path):
    (own_corpus.audio / "id_001.flac").write_text("not audio")
    changes = [word for change in SHORT for word in ("--set", change)]
    command = [
        "run-baseline", own_corpus.track.parent / "tiny.toml", "--track", own_corpus.track,
        "--audio", own_corpus.audio, "--out", tmp_path / "run", "--cpu", *changes,
        "--allow-missing",
    ]  # fmt: skip
    told = speech.launch(2, *command)
    assert told.stdout.count("Vector quantisation (vq)") == 1, told.stderr
    assert "id_001.flac: not audio" in told.stderr
    lines = (tmp_path / "run" / "log.txt").read_text().splitlines()
    assert len([line for line in lines if "training tiny" in line]) == 1
    assert (tmp_path / "run" / "scorecard.json").is_file()
