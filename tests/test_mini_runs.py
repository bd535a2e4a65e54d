"""train, predict and run-baseline on a track that ships its own clips."""

import json
import shutil

import polars as pl
import pytest
import torch

import mini_data
from cfbench import steps
from cfbench.mini import store
from cfbench.recipes import find_recipe
from cfbench.scorecard import read_scorecard
from mini_data import Mini

pytestmark = pytest.mark.usefixtures("one_thread", "alone")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Mini:
    """A track with recipes and a published model, and its clips in a cache beside it."""
    from cfbench.untrained import build

    mini = mini_data.make(tmp_path_factory.mktemp("mini"))
    folder = mini.toml.parent
    mini_data.write_recipes(mini, folder / "checkpoint")
    torch.manual_seed(3)
    build(find_recipe(str(folder / "neural.toml"))).save_pretrained(folder / "checkpoint")
    store.unpack(mini.track, to=folder / "cache" / "made-up-mini" / "1", makers=mini_data.MAKERS)
    return mini


@pytest.fixture
def mini(made: Mini, monkeypatch: pytest.MonkeyPatch) -> Mini:
    monkeypatch.setenv("CFBENCH_CACHE", str(made.toml.parent / "cache"))
    monkeypatch.setattr(store, "MAKERS", mini_data.MAKERS)
    return made


def test_training_and_prediction_unpack_what_they_need(run_cli, mini, tmp_path, monkeypatch):
    monkeypatch.setenv("CFBENCH_CACHE", str(tmp_path / "cache"))
    # Lists of another track, which the environment names, are none of this one's.
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train_mult_learn.txt").write_text("not of this track\n")
    monkeypatch.setenv("CFBENCH_PROTOCOLS", str(tmp_path / "lists"))
    clips = tmp_path / "cache" / "made-up-mini" / "1"
    train = ["train", "log-mel-logistic", "--track", mini.toml, "--set", "data.samples=4000"]
    told = run_cli(*train, "--out", tmp_path / "train", "--cpu")
    assert told.code == 0, told.err
    assert set(mini_data.contents(clips)) == mini.ids("train", "dev")
    model = tmp_path / "train" / "model"
    predict = ["predict", "--model", model, "--track", mini.toml, "--cpu", "--out"]
    told = run_cli(*predict, tmp_path / "p.csv", "--split", "ood")
    assert told.code == 0, told.err
    assert "12 clips predicted" in told.err
    assert set(mini_data.contents(clips)) == mini.ids("train", "dev", "ood")
    # Those whose labels are held back are answered too.
    assert set(pl.read_csv(tmp_path / "p.csv")["utt_id"]) == mini.ids("ood")


def test_clips_and_protocol_of_the_users_are_used_where_they_are_named(
    run_cli, mini, tmp_path, monkeypatch
):
    monkeypatch.setenv("CFBENCH_CACHE", str(tmp_path / "cache"))
    protocol = tmp_path / "own.csv"
    mini.rows.filter(pl.col("split") == "id").drop("held_back", "licence").write_csv(protocol)
    told = run_cli(
        "predict", "--model", mini.toml.parent / "checkpoint", "--track", mini.toml, "--cpu",
        "--audio", mini.clips, "--protocol", protocol, "--out", tmp_path / "p.csv",
    )  # fmt: skip
    assert told.code == 0, told.err
    assert "12 clips predicted" in told.err
    assert not (tmp_path / "cache").exists()


def test_a_track_without_clips_asks_for_a_folder(run_cli, mini, tmp_path):
    own = tmp_path / "own.toml"
    own.write_text(
        mini.toml.read_text()
        .replace('clips = "mini"\n', "")
        .replace('"mini/', f'"{mini.root}/')
        .replace("baselines", "#")
    )
    model = mini.toml.parent / "checkpoint"
    told = run_cli("predict", "--model", model, "--track", own, "--out", tmp_path / "p.csv")
    assert told.code == 2
    assert "the clips of made-up-mini are not shipped with cfbench" in told.err
    assert "--audio names the folder" in told.err
    told = run_cli("run-baseline", "--track", own)
    assert told.code == 2
    assert "names no baselines" in told.err


def test_without_a_recipe_all_baselines_run_and_are_compared(run_cli, mini, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    told = run_cli("run-baseline", "--track", mini.toml, "--cpu", "--workers", "0")
    assert told.code == 0, told.err
    runs = tmp_path / "runs"
    assert sorted(path.name for path in runs.iterdir()) == ["classical", "neural"]
    assert not (runs / "neural" / "train").exists()
    assert told.err.count("note: 12 answers for utterances whose labels are held back") == 2
    lines = told.out.splitlines()
    assert sum("majority class" in line for line in lines) == 4
    for name in ("classical", "neural"):
        card = read_scorecard(runs / name / "scorecard.json")
        assert set(pl.read_parquet(runs / name / "predictions.parquet")["utt_id"]) == mini.ids(
            "id", "ood"
        )
        assert card.predictions.held_back == 12
        for task_id, task in card.tasks.items():
            (line,) = [line for line in lines if line.strip().startswith(f"{task_id}: {name}")]
            for split in ("id", "ood"):
                value = task.splits[split].overall.metrics[task.headline].value
                assert f"{100 * value:.1f}" in line
    (tmp_path / "table.txt").write_text(told.out)
    again = run_cli("run-baseline", "--track", mini.toml, "--cpu", "--workers", "0")
    assert (again.code, again.out) == (0, told.out)
    assert again.err.count("24 clips done before") == 2


def test_train_trains_what_is_published(run_cli, mini, tmp_path):
    told = run_cli(
        "run-baseline", "--track", mini.toml, "--train", "--cpu", "--workers", "0", "--out",
        tmp_path, "--steps", "train",
    )  # fmt: skip
    assert told.code == 0, told.err
    for name in ("classical", "neural"):
        assert (tmp_path / name / "train" / "model").is_dir()


def test_a_dry_run_says_where_the_clips_come_from_and_unpacks_none(
    run_cli, mini, tmp_path, monkeypatch
):
    monkeypatch.setenv("CFBENCH_CACHE", str(tmp_path / "cache"))
    told = run_cli("run-baseline", "--track", mini.toml, "--cpu", "--dry-run")
    assert told.code == 0, told.err
    assert told.out.count(f"unpacked to {tmp_path / 'cache'}") == 2
    assert "24 utterances (6 id, 6 ood, 12 whose labels are held back)" in told.out
    assert "the model is" in told.out
    assert list(tmp_path.iterdir()) == []


def test_a_published_model_that_is_not_there_is_said_before_anything_runs(run_cli, mini, tmp_path):
    own = tmp_path / "own"
    shutil.copytree(mini.toml.parent, own, ignore=shutil.ignore_patterns("cache", "checkpoint"))
    mini_data.write_recipes(mini._replace(toml=own / mini.toml.name), "baselines/checkpoints/none")
    out = tmp_path / "out"
    told = run_cli("run-baseline", "--track", own / mini.toml.name, "--cpu", "--out", out)
    assert told.code == 2
    assert "neural: its trained model is not there" in told.err
    assert "cfbench run-baseline --train" in told.err
    assert not out.exists()
    told = run_cli("run-baseline", "--track", own / mini.toml.name, "--cpu", "--dry-run")
    assert told.code == 1
    assert "neural: its trained model is not there" in told.err


def test_a_model_belongs_to_one_recipe(run_cli, mini):
    for more in ([], ["classical", "--train"]):
        told = run_cli("run-baseline", *more, "--track", mini.toml, "--model", "published")
        assert told.code == 2
        assert "--model belongs to one recipe" in told.err


def test_the_embedded_track_names_recipes_of_its_own() -> None:
    from cfbench.tasks import find_track

    track = find_track("codecfake-mini")
    recipes = [find_recipe(name) for name in track.baselines]
    assert [recipe.model.kind for recipe in recipes] == ["log-mel-logistic", "wav2vec2-aasist"]
    for recipe in recipes:
        assert recipe.track == "codecfake-mini"
        # The shortest clip has 2 s.
        assert 32000 <= recipe.data.samples * recipe.data.windows <= 1.6 * 32000
        assert not recipe.data.train
        assert not recipe.data.dev


def test_the_small_model_answers_for_windows_as_long_as_what_it_learns_from() -> None:
    recipe = find_recipe("wav2vec2-aasist-mini")
    assert recipe.data.samples == recipe.augmentation.crop


def test_data_of_a_track_that_ships_clips_finds_them_in_the_cache(mini):
    data = steps.Data(mini.track)
    assert not data.find(sorted(mini.ids("id"))).missing
    assert json.loads(json.dumps([str(path) for path in data.folders])) == [
        str(mini.toml.parent / "cache" / "made-up-mini" / "1")
    ]
