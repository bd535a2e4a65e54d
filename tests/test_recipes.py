"""Recipes: those that ship, how they are put together, and what is refused."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tomli_w

from cfbench.errors import CfbenchError
from cfbench.recipes import MODEL_KINDS, find_recipe, recipe_names
from cfbench.sampling import BALANCES
from cfbench.tasks import find_track, load_tasks

# The authors' variants; facts of their code, by hand.
VARIANTS = {
    "S_BIN": ("bin",),
    "S_VQ": ("vq",),
    "S_AUX": ("aux",),
    "S_DEC": ("dec",),
    "D_VQ": ("bin", "vq"),
    "D_AUX": ("bin", "aux"),
    "D_DEC": ("bin", "dec"),
    "M1": ("bin", "vq", "aux", "dec"),
    "M2": ("vq", "aux", "dec"),
}
LISTS = {"vq": "_bal_vq", "aux": "", "dec": "_bal_dec"}


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, str], Path]:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return path

    return write


def own(text: str = "", tasks: str = '["vq"]') -> str:
    return (
        f'name = "mine"\ntitle = "Mine"\ntrack = "codecfake-plus"\n{text}\n'
        f'[model]\nkind = "wav2vec2-aasist"\ntasks = {tasks}\n'
    )


@pytest.mark.parametrize("name", recipe_names())
def test_a_shipped_recipe_is_complete(name: str) -> None:
    recipe = find_recipe(name)
    assert recipe.name == name
    assert recipe.title
    assert recipe.model.kind in MODEL_KINDS
    assert set(recipe.model.tasks) <= set(load_tasks())
    assert recipe.data.balance in BALANCES
    assert recipe.card.endswith(".md")
    track = "codecfake-mini" if name.endswith("-mini") else "codecfake-plus"
    assert find_track(recipe.track).name == track


def test_all_variants_ship_in_all_balancings() -> None:
    wanted = {f"{name}_{balance.upper()}_bal" for name in VARIANTS for balance in LISTS}
    others = {"M1_ALL_bal", "log-mel-logistic", "wav2vec2-aasist", "wav2vec2-aasist-small"}
    embedded = {"log-mel-logistic-mini", "wav2vec2-aasist-mini"}
    assert set(recipe_names()) == wanted | others | embedded


@pytest.mark.parametrize("balance", LISTS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_is_trained_as_the_authors_did(variant: str, balance: str) -> None:
    recipe = find_recipe(f"{variant}_{balance.upper()}_bal")
    assert recipe.model.kind == "wav2vec2-aasist"
    assert recipe.model.tasks == VARIANTS[variant]
    assert recipe.model.front_end.weights == "facebook/wav2vec2-xls-r-300m"
    assert set(recipe.model.front_end.config.values()) == {0.0}  # every dropout of the front end
    assert recipe.data.balance == balance
    # The authors' own list first; else the balance is drawn from the full pool.
    suffix = LISTS[balance]
    assert recipe.data.train == (f"train_mult_learn{suffix}.txt", "CoRS_labels.txt")
    assert recipe.data.dev == (f"dev_mult_learn{suffix}.txt", "CoRS_labels.txt")
    assert recipe.data.samples == 64_600
    assert recipe.augmentation.rawboost == 5
    assert recipe.augmentation.dev
    how = recipe.training
    assert (how.epochs, how.batch_size, how.seed) == (20, 8, 1234)
    assert (how.learning_rate, how.weight_decay, how.schedule) == (1e-6, 1e-4, "constant")
    assert not how.learned_task_weights
    assert not how.freeze_front_end
    assert not how.class_weights  # the model's own, which are the authors'
    assert (how.precision, how.accumulate, how.warmup_steps) == ("fp32", 1, 0)
    assert how.keep == "all"
    assert recipe.model.dropouts == (0.2, 0.3, 0.2, 0.5)


def test_the_joint_balance_is_drawn_from_the_full_pool() -> None:
    recipe = find_recipe("M1_ALL_bal")
    assert recipe.data.balance == "all"
    assert recipe.data.train == ("CoRS_labels.txt",)


def test_the_small_model_starts_at_random() -> None:
    recipe = find_recipe("wav2vec2-aasist-small")
    assert recipe.model.front_end.weights == ""
    assert recipe.model.front_end.config["num_hidden_layers"] == 4


def test_a_recipe_gives_only_what_differs(write) -> None:
    write("below.toml", own("[training]\nepochs = 7\nbatch_size = 6\n"))
    path = write(
        "above.toml",
        'extends = "below.toml"\nname = "other"\n[training]\nepochs = 3\n'
        "[training.class_weights]\nvq = [0.25, 0.25, 0.25, 0.25]\n",
    )
    recipe = find_recipe(str(path))
    assert (recipe.name, recipe.title) == ("other", "Mine")
    assert (recipe.training.epochs, recipe.training.batch_size) == (3, 6)
    assert recipe.training.class_weights == {"vq": (0.25,) * 4}


def test_a_file_extends_a_shipped_recipe_and_one_in_another_folder(write) -> None:
    write("deep/below.toml", 'extends = "M2_VQ_bal"\n[training]\nepochs = 1\n')
    path = write("above.toml", 'extends = "deep/below.toml"\nname = "mine"\n')
    recipe = find_recipe(str(path))
    assert recipe.model.tasks == ("vq", "aux", "dec")
    assert recipe.training.epochs == 1
    assert recipe.augmentation.rawboost == 5  # from two recipes below


def test_settings_are_changed_one_by_one() -> None:
    recipe = find_recipe(
        "M1_AUX_bal",
        [
            "training.epochs=2",
            'model.tasks=["vq"]',
            "training.schedule = cosine",
            "model.front_end.config.hidden_size=32",
            "training.learning_rate=1",
        ],
    )
    assert recipe.training.epochs == 2
    assert recipe.model.tasks == ("vq",)
    assert recipe.training.schedule == "cosine"
    assert recipe.model.front_end.config["hidden_size"] == 32
    assert recipe.model.front_end.config["layerdrop"] == 0.0
    assert recipe.training.learning_rate == 1.0


@pytest.mark.parametrize("name", ["M1_AUX_bal", "log-mel-logistic", "wav2vec2-aasist-small"])
def test_a_written_recipe_reads_back_equal(name: str, tmp_path: Path) -> None:
    recipe = find_recipe(name, ["training.class_weights.dec=[0.1, 0.2, 0.7]"])
    path = tmp_path / "recipe.toml"
    path.write_text(tomli_w.dumps(recipe.model_dump(mode="json")))
    assert find_recipe(str(path)) == recipe


REFUSED = {
    "an unknown recipe": ("M1_AUX_bat", (), "did you mean 'M1_AUX_bal'?"),
    "a strange recipe": ("zzzz", (), "cfbench recipes lists those that ship"),
    "a file that is not there": ("nowhere/mine.toml", (), "cannot be read"),
    "a misspelt setting": ("M1_AUX_bal", ["training.epoch=2"], "did you mean 'epochs'?"),
    "a misspelt group": ("M1_AUX_bal", ["trainin.epochs=2"], "did you mean 'training'?"),
    "a group that is a setting": ("M1_AUX_bal", ["track.name=2"], "track is no group"),
    "no value": ("M1_AUX_bal", ["training.epochs"], "is no setting"),
    "no name": ("M1_AUX_bal", ["=2"], "is no setting"),
    "text for a number": ("M1_AUX_bal", ["training.epochs=many"], "training.epochs"),
    "a number out of range": ("M1_AUX_bal", ["augmentation.rawboost=9"], "augmentation.rawboost"),
    "a fraction for a whole number": ("M1_AUX_bal", ["training.epochs=1.5"], "training.epochs"),
    "an unknown task": ("M1_AUX_bal", ['model.tasks=["voice"]'], "model.tasks"),
    "no task": ("M1_AUX_bal", ["model.tasks=[]"], "model.tasks"),
    "a task twice": ("M1_AUX_bal", ['model.tasks=["vq", "vq"]'], "a task is named twice"),
    "an unknown balance": ("M1_AUX_bal", ["data.balance=fair"], "data.balance"),
    "a rate of 1": ("M1_AUX_bal", ["model.dropouts=[0.1, 0.1, 0.1, 1.0]"], "a dropout rate"),
    "parts that do not fit": ("M1_AUX_bal", ["training.accumulate=3"], "no multiple of 3"),
    "too few weights": ("M1_AUX_bal", ["training.class_weights.vq=[1.0]"], "real, mvq, svq, sq"),
    "weights of no task": ("M1_AUX_bal", ["training.class_weights.x=[1.0]"], "class_weights"),
    "windows that it does not hear": (
        "log-mel-logistic",
        ["data.windows=2"],
        "log-mel-logistic hears one window",
    ),
    "endless brackets": ("M1_AUX_bal", ["training.epochs=" + "[" * 5000], "training.epochs"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_it_is_said_what_is_wrong(case: str) -> None:
    name, changes, told = REFUSED[case]
    with pytest.raises(CfbenchError) as error:
        find_recipe(name, changes)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("texts", "told"),
    [
        ({"a.toml": 'extends = "a.toml"'}, "a.toml: extends itself"),
        ({"a.toml": 'extends = "b.toml"', "b.toml": 'extends = "a.toml"'}, "extends itself"),
        ({"a.toml": "extends = 3"}, "give the name of one recipe"),
        ({"a.toml": 'extends = "M1_AUX_bla"'}, "did you mean 'M1_AUX_bal'?"),
        ({"a.toml": "name = "}, "not TOML"),
        ({"a.toml": 'name = "a"'}, "title: Field required"),
        ({"a.toml": own().replace("mine", "../mine")}, "name"),
        ({"a.toml": 'extends = "M1_AUX_bal"\nmodel = 3'}, "model"),
    ],
)
def test_it_is_said_what_is_wrong_in_a_file(write, texts, told) -> None:
    for name, text in texts.items():
        path = write(name, text)
    with pytest.raises(CfbenchError) as error:
        find_recipe(str(path.parent / "a.toml"))
    assert told in str(error.value)
    assert "a.toml" in str(error.value) or "M1_AUX_bla" in str(error.value)


def test_the_recipes_are_listed(run_cli) -> None:
    told = run_cli("recipes")
    assert told.code == 0
    for name in recipe_names():
        assert name in told.out
    line = next(line for line in told.out.splitlines() if line.split()[:1] == ["M2_VQ_bal"])
    assert "vq aux dec" in line
    assert line.rstrip().endswith("published")


def test_a_recipe_is_shown_as_it_is_set(run_cli) -> None:
    told = run_cli("recipes", "M1_AUX_bal")
    lines = told.out.splitlines()
    assert 'data.balance = "aux"' in lines
    assert "training.learning_rate = 1e-06" in lines
    assert 'model.tasks = ["bin", "vq", "aux", "dec"]' in lines
    # What is shown can be given again.
    shown = [line for line in lines if line.startswith(("training.", "data.", "model.dropouts"))]
    assert find_recipe("M1_AUX_bal", shown) == find_recipe("M1_AUX_bal")


def test_recipes_are_printed_for_machines(run_cli) -> None:
    import json

    assert json.loads(run_cli("recipes", "M1_AUX_bal", "--json").out)["data"]["balance"] == "aux"
    listed = json.loads(run_cli("recipes", "--json").out)
    assert [recipe["name"] for recipe in listed] == recipe_names()


def test_an_unknown_recipe_ends_in_a_message(run_cli) -> None:
    told = run_cli("recipes", "M1_AUX_bol")
    assert told.code == 2
    assert "did you mean 'M1_AUX_bal'?" in told.err


@pytest.mark.parametrize(
    "change",
    [
        "training.seed=99999999999999999999",
        "training.weight_decay=1e308",
        "training.learning_rate=inf",
        "data.samples=99999999999999999999",
        "training.class_weights.vq=[nan, 1, 1, 1]",
        "training.class_weights.vq=[0, 0, 0, 0]",
    ],
)
def test_wild_numbers_are_refused(change: str) -> None:
    with pytest.raises(CfbenchError, match=change.partition("=")[0].rpartition(".")[2]):
        find_recipe("M1_AUX_bal", [change])


def test_a_track_file_stands_beside_its_recipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    text = 'extends = "log-mel-logistic"\ntrack = "my-track.toml"\n'
    (tmp_path / "mine" / "recipe.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert find_recipe("mine/recipe.toml").track == str(tmp_path / "mine" / "my-track.toml")
    overruled = find_recipe("mine/recipe.toml", ["track=other.toml"])
    assert overruled.track == str(tmp_path / "other.toml")
