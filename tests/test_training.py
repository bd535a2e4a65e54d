"""Training: what is learned from what, and interruptions that change nothing."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import soundfile
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn.functional import cross_entropy

import speech
from cfbench import checkpoints, training
from cfbench.clips import Augment, Clips, load
from cfbench.errors import CfbenchError
from cfbench.material import Material, Progress, class_indices
from cfbench.models.wav2vec2_aasist import CLASS_WEIGHTS
from cfbench.predictor import load_neural
from cfbench.recipes import Recipe
from cfbench.sampling import draw, epoch_order
from cfbench.steps import find_material
from cfbench.training import train
from cfbench.untrained import build

ONE_TASK = (*speech.SMALL, 'model.tasks=["vq"]', "training.batch_size=2")
# Everything random that there is: dropout everywhere, layers left out, augmentation, other clips
# each epoch.
RANDOM = (
    *speech.SMALL,
    'model.tasks=["bin", "vq"]',
    "model.dropouts=[0.2, 0.3, 0.2, 0.5]",
    "model.front_end.config.num_hidden_layers=2",
    "model.front_end.config.hidden_dropout=0.1",
    "model.front_end.config.attention_dropout=0.1",
    "model.front_end.config.layerdrop=0.3",
    "augmentation.rawboost=5",
    "augmentation.dev=true",
    "data.redraw=true",
    "training.learned_task_weights=true",
    "training.select=macro_f1",
    "training.curves=tensorboard",
    "training.batch_size=2",
)


pytestmark = pytest.mark.usefixtures("one_thread", "alone")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> speech.Corpus:
    """Four source utterances to train on (8 clips an epoch, 4 steps of 2), one for development."""
    corpus = speech.make_corpus(
        tmp_path_factory.mktemp("track"), [("train", 4), ("dev", 1), ("id", 1), ("ood", 1)], 0.3
    )
    # Nothing in this module may read the scored splits.
    for path in [*corpus.audio.glob("id_*"), *corpus.audio.glob("ood_*")]:
        path.unlink()
    return corpus


@pytest.fixture
def own_corpus(corpus: speech.Corpus, tmp_path: Path) -> speech.Corpus:
    """A copy whose clips a test may break."""
    shutil.copytree(corpus.track.parent, tmp_path / "own")
    return speech.Corpus(tmp_path / "own" / corpus.track.name, tmp_path / "own" / "audio")


@pytest.fixture(scope="module")
def material(corpus: speech.Corpus) -> Material:
    return find_material(speech.tiny(corpus), speech.data(corpus))


class Stop(Exception):
    """What the tests interrupt with."""


def stop_when(
    wanted: Callable[[Progress], bool], error: type[BaseException] = Stop
) -> Callable[[Progress], None]:
    def report(progress: Progress) -> None:
        if wanted(progress):
            raise error

    return report


def at_step(step: int) -> Callable[[Progress], bool]:
    return lambda progress: progress.step == step and "train_loss" in progress.numbers


def in_evaluation(epoch: int) -> Callable[[Progress], bool]:
    return lambda progress: progress.epoch == epoch and progress.doing.startswith("evaluating")


def after_evaluation(epoch: int) -> Callable[[Progress], bool]:
    return lambda progress: progress.epoch == epoch and "dev_loss" in progress.numbers


# Two epochs of four steps, with a checkpoint at steps 3, 4, 6 and 8.
STOPS = {
    "before the first checkpoint": at_step(2),
    "in the step of a checkpoint": at_step(3),
    "after a checkpoint": at_step(4),
    "in an evaluation": in_evaluation(0),
    "after an evaluation": after_evaluation(0),
    "in the second epoch": at_step(5),
    "in the last step": at_step(8),
    "in the last evaluation": in_evaluation(1),
    "after the last evaluation": after_evaluation(1),
}


def run(recipe: Recipe, material: Material, folder: Path, **settings: Any) -> Path:
    speech.forget_processes()
    return train(recipe, material, folder, cpu=True, workers=0, **settings)


def state(folder: Path) -> dict[str, Any]:
    return torch.load(folder / "last.pt", weights_only=True)


def curves(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "curves.jsonl").read_text().splitlines()]


def column(folder: Path, name: str) -> list[float]:
    return [line[name] for line in curves(folder) if name in line]


def tracked(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What tensorboard shows."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tiny"))
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


def assert_same(one: Any, other: Any) -> None:
    """Equal to the bit, whatever it holds."""
    assert type(one) is type(other)
    if isinstance(one, Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert one == other


def assert_same_run(one: Path, other: Path) -> None:
    assert_same(state(one), state(other))
    assert (one / "curves.jsonl").read_bytes() == (other / "curves.jsonl").read_bytes()
    assert (one / "best.json").read_bytes() == (other / "best.json").read_bytes()
    names = sorted(path.name for path in (one / "model").iterdir())
    assert names == sorted(path.name for path in (other / "model").iterdir())
    for name in names:
        assert (one / "model" / name).read_bytes() == (other / "model" / name).read_bytes()
    left = {path.name for path in one.iterdir()}
    assert left == {path.name for path in other.iterdir()}


@pytest.fixture(scope="module")
def random_recipe(corpus: speech.Corpus) -> Recipe:
    return speech.tiny(corpus, *RANDOM)


@pytest.fixture(scope="module")
def uninterrupted(
    random_recipe: Recipe, material: Material, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted") / "train"
    run(random_recipe, material, folder)
    return folder


@pytest.mark.slow
def test_the_reference_run_is_random_enough(uninterrupted, random_recipe, material, tmp_path):
    # Another seed of the order, of the augmentation and of dropout: another first loss.
    losses = column(uninterrupted, "train_loss")
    assert len(set(losses)) == len(losses) == 8
    other = random_recipe.model_copy(
        update={"model": random_recipe.model.model_copy(update={"dropouts": (0.0,) * 4})}
    )
    with pytest.raises(Stop):
        run(other, material, tmp_path, report=stop_when(at_step(4)))
    assert state(tmp_path)["curves"][0]["train_loss"] != losses[0]


def test_a_run_interrupted_again_and_again_ends_in_the_same(
    uninterrupted, random_recipe, material, tmp_path
):
    # Those that are left out come one by one below.
    for number, stop in enumerate(list(STOPS.values())[::2]):
        error = KeyboardInterrupt if number % 2 else Stop
        with pytest.raises(error):
            run(random_recipe, material, tmp_path, report=stop_when(stop, error))
    run(random_recipe, material, tmp_path)
    assert_same_run(uninterrupted, tmp_path)
    assert_tracked_once(uninterrupted, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("where", list(STOPS)[1::2])
def test_a_run_interrupted_once_ends_in_the_same(
    uninterrupted, random_recipe, material, tmp_path, where
):
    with pytest.raises(Stop):
        run(random_recipe, material, tmp_path, report=stop_when(STOPS[where]))
    run(random_recipe, material, tmp_path)
    assert_same_run(uninterrupted, tmp_path)
    assert_tracked_once(uninterrupted, tmp_path)


def assert_tracked_once(uninterrupted: Path, other: Path) -> None:
    """Tensorboard shows what curves.jsonl has, once."""
    wanted = {
        name: [(line["step"], pytest.approx(line[name])) for line in curves(uninterrupted)
               if name in line]
        for name in ("train_loss", "learning_rate", "dev_loss", "dev_macro_f1")
    }  # fmt: skip
    assert tracked(uninterrupted) == wanted
    assert tracked(other) == wanted


def test_a_finished_run_does_nothing_again(uninterrupted, random_recipe, material):
    before = {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")}
    seen: list[Progress] = []
    folder = run(random_recipe, material, uninterrupted, report=seen.append)
    assert folder == uninterrupted / "model"
    assert [(progress.step, progress.resumed) for progress in seen] == [(8, True)]
    assert {path: path.stat().st_mtime_ns for path in uninterrupted.rglob("*")} == before


@pytest.mark.slow
def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before(
    corpus, material, tmp_path, monkeypatch
):
    recipe = speech.tiny(corpus, *ONE_TASK, "training.checkpoint_every=1", "training.epochs=1")
    with pytest.raises(Stop):
        run(recipe, material, tmp_path, report=stop_when(at_step(3)))
    kept = state(tmp_path)
    assert kept["step"] == 2

    def half(content: Any, place: Path) -> None:
        place.write_bytes(b"half of a checkpoint")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", half)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, material, tmp_path)
    assert_same(state(tmp_path), kept)

    def renamed(self: Path, target: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", renamed)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, material, tmp_path)
    assert_same(state(tmp_path), kept)

    def full(content: Any, place: Path) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(CfbenchError, match="make room on the disk"):
            run(recipe, material, tmp_path)
    assert_same(state(tmp_path), kept)
    run(recipe, material, tmp_path)
    run(recipe, material, tmp_path / "other")
    assert_same(state(tmp_path)["model"], state(tmp_path / "other")["model"])


def test_what_a_killed_run_was_writing_is_removed(corpus, material, tmp_path):
    (tmp_path / ".last.pt.abc").write_text("half")
    (tmp_path / ".epoch-000.abc").mkdir()
    (tmp_path / ".model.abc").mkdir()
    (tmp_path / ".model.abc" / "model.safetensors").write_text("half")
    (tmp_path / "mine.txt").write_text("stays")
    recipe = speech.tiny(corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8")
    run(recipe, material, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "mine.txt", "last.pt", "curves.jsonl", "best.json", "model",
    }  # fmt: skip


def test_a_damaged_checkpoint_is_reported(corpus, material, tmp_path):
    recipe = speech.tiny(corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8")
    (tmp_path / "last.pt").write_bytes(b"PK\x03\x04 damaged")
    with pytest.raises(CfbenchError, match="a damaged one"):
        run(recipe, material, tmp_path)


def relabelled(material: Material) -> Material:
    other = pl.when(pl.col("vq") == "mvq").then(pl.lit("svq")).otherwise(pl.col("vq").cast(str))
    frame = material.train.with_columns(other.cast(material.train["vq"].dtype).alias("vq"))
    return Material(frame, material.dev, material.paths)


def fewer(material: Material) -> Material:
    return Material(material.train, material.dev.head(3), material.paths)


@pytest.fixture(scope="module")
def finished(
    corpus: speech.Corpus, material: Material, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """One epoch of one step."""
    folder = tmp_path_factory.mktemp("finished") / "train"
    recipe = speech.tiny(corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8")
    speech.forget_processes()
    run(recipe, material, folder)
    return folder


@pytest.mark.parametrize(
    ("changes", "other", "start"),
    [
        (["training.learning_rate=0.1"], None, ""),
        (["training.seed=1"], None, ""),
        (['model.tasks=["aux"]'], None, ""),
        (["augmentation.rawboost=5"], None, ""),
        (["model.front_end.config.hidden_dropout=0.1"], None, ""),
        (["training.schedule=linear"], None, ""),
        (["training.class_weights.vq=[0.4, 0.2, 0.2, 0.2]"], None, ""),
        ([], relabelled, ""),
        ([], fewer, ""),
        ([], None, "other weights"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_another_recipe_or_other_data_is_another_run(corpus, material, changes, other, start):
    one = checkpoints.run_digest(speech.tiny(corpus, *ONE_TASK), material, "")
    assert one == checkpoints.run_digest(speech.tiny(corpus, *ONE_TASK), material, "")
    changed = other(material) if other else material
    assert one != checkpoints.run_digest(speech.tiny(corpus, *ONE_TASK, *changes), changed, start)


@pytest.mark.parametrize("other", [relabelled, None])
def test_another_run_in_the_same_folder_is_refused(finished, corpus, material, other):
    changes = [] if other else ["training.learning_rate=0.1"]
    recipe = speech.tiny(corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8", *changes)
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*")}
    with pytest.raises(CfbenchError, match="is of another recipe, other data"):
        run(recipe, other(material) if other else material, finished)
    assert {path: path.stat().st_mtime_ns for path in finished.rglob("*")} == before


def test_what_does_not_change_the_weights_may_change(finished, corpus, material):
    recipe = speech.tiny(
        corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8", "name=other",
        "training.checkpoint_every=7", "training.keep=all", "prediction.precision=bf16",
    )  # fmt: skip
    assert run(recipe, material, finished) == finished / "model"


@pytest.mark.slow
def test_more_epochs_go_on_where_the_schedule_is_constant(corpus, material, tmp_path):
    changes = (*ONE_TASK, "training.batch_size=8", "training.learning_rate=1e-2")
    two = speech.tiny(corpus, *changes, "training.epochs=2")
    five = speech.tiny(corpus, *changes, "training.epochs=5")
    run(two, material, tmp_path / "longer")
    run(five, material, tmp_path / "longer")
    run(five, material, tmp_path / "at once")
    assert_same_run(tmp_path / "at once", tmp_path / "longer")
    with pytest.raises(CfbenchError, match="has 5 steps, the recipe asks for 2"):
        run(two, material, tmp_path / "longer")


@pytest.mark.slow
def test_a_longer_run_that_finds_nothing_better_keeps_the_model(
    corpus, material, tmp_path, monkeypatch
):
    """The best epoch's own folder is gone by then: its model is what the shorter run has left."""
    values = iter([0.5, 1.0, 2.0])
    monkeypatch.setattr(training, "evaluate", lambda *args: scripted(next(values)))
    changes = (*ONE_TASK, "training.batch_size=8")
    run(speech.tiny(corpus, *changes, "training.epochs=1"), material, tmp_path)
    first = load_file(tmp_path / "model" / "model.safetensors")
    run(speech.tiny(corpus, *changes, "training.epochs=3"), material, tmp_path)
    told = json.loads((tmp_path / "best.json").read_text())
    assert (told["epoch"], told["steps"]) == (0, 3)
    again = load_file(tmp_path / "model" / "model.safetensors")
    assert all(torch.equal(first[name], again[name]) for name in first)


@pytest.mark.slow
def test_a_longer_run_replaces_the_model_though_it_was_killed_before(
    corpus, material, tmp_path, monkeypatch
):
    """The model of the shorter run is there; that of the longer one must not be taken for it."""
    values = iter([1.0, 0.5])
    monkeypatch.setattr(training, "evaluate", lambda *args: scripted(next(values)))
    changes = (*ONE_TASK, "training.batch_size=8")
    run(speech.tiny(corpus, *changes, "training.epochs=1"), material, tmp_path)
    first = load_file(tmp_path / "model" / "model.safetensors")
    longer = speech.tiny(corpus, *changes, "training.epochs=2")

    def killed(*args: Any) -> None:
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(training._Run, "_finish", killed)
        with pytest.raises(Stop):
            run(longer, material, tmp_path)
    run(longer, material, tmp_path)
    assert json.loads((tmp_path / "best.json").read_text())["epoch"] == 1
    second = load_file(tmp_path / "model" / "model.safetensors")
    assert not torch.equal(first["encoder.projection.weight"], second["encoder.projection.weight"])


@pytest.fixture
def nothing_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps without gradients, for tests of what surrounds them."""
    monkeypatch.setattr(training._Run, "_backward", lambda *args: 1.0)
    monkeypatch.setattr(training, "evaluate", lambda *args: scripted(1.0))


def scripted(loss: float, macro_f1: float = 0.5) -> dict[str, float]:
    return {"dev_loss": loss, "dev_macro_f1": macro_f1}


@pytest.mark.parametrize(
    ("select", "best", "keep"),
    [
        ("loss", 1, "best"),
        pytest.param("loss", 1, "all", marks=pytest.mark.slow),
        pytest.param("macro_f1", 2, "best", marks=pytest.mark.slow),
        pytest.param("macro_f1", 2, "all", marks=pytest.mark.slow),
    ],
)
def test_the_best_epoch_is_that_of_the_best_value(
    corpus, material, tmp_path, monkeypatch, select, best, keep
):
    # Ties go to the first.
    values = iter([(1.0, 0.2), (0.9, 0.1), (1.1, 0.5), (0.9, 0.5)])
    monkeypatch.setattr(training, "evaluate", lambda *args: scripted(*next(values)))
    recipe = speech.tiny(
        corpus, *ONE_TASK, "training.epochs=4", "training.batch_size=8",
        f"training.select={select}", f"training.keep={keep}",
    )  # fmt: skip
    saved: dict[str, bytes] = {}

    def report(progress: Progress) -> None:
        for path in tmp_path.glob("epoch-*/model.safetensors"):
            saved.setdefault(path.parent.name, path.read_bytes())

    model = run(recipe, material, tmp_path, report=report)
    chosen = (model / "model.safetensors").read_bytes()
    assert chosen == saved[f"epoch-{best:03d}"]
    assert len(set(saved.values())) == len(saved)
    kept = sorted(path.name for path in tmp_path.glob("epoch-*"))
    assert kept == ([f"epoch-{epoch:03d}" for epoch in range(4)] if keep == "all" else [])


@pytest.mark.parametrize("kind", ["fp16", "bf16"])
def test_weights_are_rounded_when_they_are_written(corpus, material, tmp_path, kind):
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[kind]
    changes = (*ONE_TASK, "training.epochs=1", "training.batch_size=8")
    whole, half = (
        run(speech.tiny(corpus, *changes, f"training.weights={name}"), material, tmp_path / name)
        for name in ("fp32", kind)
    )
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < 0.6 * sizes[0]
    kept, rounded = (load_file(folder / "model.safetensors") for folder in (whole, half))
    # What predicts has rounded weights, and computes in single precision.
    read = load_neural(str(half)).state_dict()
    for key, value in kept.items():
        if value.is_floating_point():
            assert rounded[key].dtype == dtype
            assert torch.equal(rounded[key], value.to(dtype))
            assert torch.equal(read[key], value.to(dtype).float())


def test_a_weight_that_is_too_large_is_an_error_and_not_infinite(
    corpus, material, tmp_path, monkeypatch
):
    def evaluated(model: Any, *args: Any) -> dict[str, float]:
        with torch.no_grad():
            next(model.parameters()).view(-1)[0] = 1e6
        return scripted(1.0, 0.5)

    monkeypatch.setattr(training, "evaluate", evaluated)
    changes = (*ONE_TASK, "training.epochs=1", "training.batch_size=8", "training.weights=fp16")
    with pytest.raises(CfbenchError, match=r"too large for fp16[\s\S]*weights=bf16, into another"):
        run(speech.tiny(corpus, *changes), material, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("windows", [1, 2])
def test_the_development_set_decides_and_the_training_set_does_not(
    corpus, material, tmp_path, windows
):
    """The values of an epoch are those of its model on the development clips."""
    recipe = speech.tiny(
        corpus, *ONE_TASK, "training.epochs=3", "training.keep=all", "training.learning_rate=1e-2",
        f"data.windows={windows}",
    )  # fmt: skip
    run(recipe, material, tmp_path)
    truth = class_indices(material.dev, ["vq"])["vq"]
    losses = []
    for epoch in range(3):
        model = training.build(recipe)
        model.load_state_dict(load_file(tmp_path / f"epoch-{epoch:03d}" / "model.safetensors"))
        waves = [
            soundfile.read(material.paths[name], dtype="float32")[0]
            for name in material.dev["utt_id"]
        ]
        cuts = [[wave[:4000], wave[-4000:]][:windows] for wave in waves]
        batch = torch.from_numpy(np.array([[np.resize(w, 4000) for w in cut] for cut in cuts]))
        with torch.inference_mode():
            logits = model.eval()(batch).logits["vq"]
        weight = torch.tensor(CLASS_WEIGHTS["vq"])
        losses.append(float(cross_entropy(logits, torch.from_numpy(truth), weight)))
    assert column(tmp_path, "dev_loss") == pytest.approx(losses, rel=1e-5)
    best = int(np.argmin(losses))
    assert json.loads((tmp_path / "best.json").read_text())["epoch"] == best


def first_step(recipe: Recipe, material: Material) -> tuple[Any, Tensor, dict[str, Tensor]]:
    """The model before its first step, and the clips and labels of that step."""
    torch.manual_seed(recipe.training.seed)
    model = build(recipe)
    drawn = draw(material.train, recipe.data.balance, recipe.training.seed).frame
    rows = epoch_order(drawn.height, recipe.training.batch_size, recipe.training.seed, 0)[0]
    utt_ids = drawn["utt_id"].to_list()
    augmented = Augment(recipe.augmentation.rawboost, recipe.training.seed, 0)
    paths = [material.paths[utt_id] for utt_id in utt_ids]
    clips = Clips(utt_ids, paths, recipe.data.samples, augmented)
    (batch,) = load(clips, [rows.tolist()], 0, False)
    labels = class_indices(drawn, recipe.model.tasks)
    return model, batch.waveforms, {k: torch.from_numpy(v[rows]) for k, v in labels.items()}


def one_step(recipe: Recipe, material: Material, folder: Path) -> dict[str, Any]:
    with pytest.raises(Stop):
        run(recipe, material, folder, report=stop_when(at_step(2)))
    return state(folder)


@pytest.mark.parametrize(
    ("changes", "weights"),
    [
        pytest.param([], CLASS_WEIGHTS, marks=pytest.mark.slow, id="the authors' weights"),
        pytest.param(
            ["training.class_weights.vq=[0.7, 0.1, 0.15, 0.05]"],
            {**CLASS_WEIGHTS, "vq": (0.7, 0.1, 0.15, 0.05)},
            id="other weights",
        ),
    ],
)
def test_the_loss_and_the_step_are_those_of_torch(corpus, material, tmp_path, changes, weights):
    recipe = speech.tiny(
        corpus, *speech.SMALL, 'model.tasks=["bin", "vq"]', "training.weight_decay=0.1",
        "training.batch_size=8", "training.checkpoint_every=1", *changes,
    )  # fmt: skip
    model, waves, labels = first_step(recipe, material)
    logits = model.train()(waves).logits
    losses = [
        cross_entropy(logits[task_id], labels[task_id], torch.tensor(weights[task_id]))
        for task_id in ("bin", "vq")
    ]
    loss = (losses[0] + losses[1]) / 2
    loss.backward()
    found = one_step(recipe, material, tmp_path)
    assert found["curves"][0]["train_loss"] == pytest.approx(loss.item(), rel=1e-6)
    # Adam adds the weight decay to the gradient, and its first moment is a tenth of the sum.
    learned = [value for value in model.parameters() if value.requires_grad]
    assert_first_moments(found, [value.grad + 0.1 * value.detach() for value in learned])


def test_long_gradients_are_shortened(corpus, material, tmp_path):
    recipe = speech.tiny(
        corpus, *speech.SMALL, "training.batch_size=8", "training.checkpoint_every=1",
        "training.weight_decay=0.0", "training.clip_norm=1e-4",
    )  # fmt: skip
    found = one_step(recipe, material, tmp_path)
    moments = [moments["exp_avg"] for moments in found["optimizer"]["state"].values()]
    norm = torch.cat([10 * value.flatten() for value in moments]).norm()
    assert float(norm) == pytest.approx(1e-4, rel=0.02)


def assert_first_moments(found: dict[str, Any], gradients: list[Tensor]) -> None:
    """Only relative to all of them: what a normalisation takes away has no gradient but noise."""
    moments = [moments["exp_avg"] for moments in found["optimizer"]["state"].values()]
    assert [value.shape for value in moments] == [value.shape for value in gradients]
    one = torch.cat([value.flatten() for value in moments])
    other = 0.1 * torch.cat([value.flatten() for value in gradients])
    assert (one - other).norm() < 1e-5 * other.norm()


@pytest.mark.parametrize("learned", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_task_weights_move_only_where_they_are_learned(corpus, material, tmp_path, learned):
    recipe = speech.tiny(
        corpus, *speech.SMALL, 'model.tasks=["bin", "vq"]', "training.checkpoint_every=1",
        f"training.learned_task_weights={str(learned).lower()}",
    )  # fmt: skip
    weights = one_step(recipe, material, tmp_path)["model"]["task_weights"]
    assert bool((weights == 0.5).all()) is not learned
    if learned:
        # Adam's first step is the learning rate, whatever the size of the gradient.
        assert (weights - 0.5).abs().tolist() == pytest.approx([1e-3, 1e-3], rel=1e-3)


def test_a_frozen_front_end_stays_and_the_rest_moves(corpus, material, tmp_path):
    recipe = speech.tiny(
        corpus, *ONE_TASK, "training.freeze_front_end=true", "training.checkpoint_every=1",
        "model.front_end.config.hidden_dropout=0.5", "training.weight_decay=0.5",
    )  # fmt: skip
    model, waves, labels = first_step(recipe, material)
    found = one_step(recipe, material, tmp_path)
    moved = {
        name
        for name, value in model.named_parameters()
        if not torch.equal(value, found["model"][name])
    }
    assert moved
    assert not {name for name in moved if name.startswith("front_end.")}
    assert {"encoder.projection.weight", "branches.vq.output.weight"} <= moved
    # It drops nothing out either: it is a function, not a model in training.
    model.train().front_end.eval()
    loss = cross_entropy(model(waves).logits["vq"], labels["vq"], torch.tensor(CLASS_WEIGHTS["vq"]))
    assert found["curves"][0]["train_loss"] == pytest.approx(loss.item(), rel=1e-6)


def test_accumulation_cuts_a_step_into_parts(corpus, material, tmp_path):
    recipe = speech.tiny(
        corpus, *ONE_TASK, "training.batch_size=8", "training.accumulate=2",
        "training.checkpoint_every=1",
    )  # fmt: skip
    model, waves, labels = first_step(recipe, material)
    model.train()
    weight = torch.tensor(CLASS_WEIGHTS["vq"])
    total = 0.0
    for part in (slice(0, 4), slice(4, 8)):
        loss = cross_entropy(model(waves[part]).logits["vq"], labels["vq"][part], weight) / 2
        loss.backward()
        total += loss.item()
    found = one_step(recipe, material, tmp_path)
    assert found["curves"][0]["train_loss"] == pytest.approx(total, rel=1e-6)
    learned = [value for value in model.parameters() if value.requires_grad]
    assert_first_moments(found, [value.grad + 1e-4 * value.detach() for value in learned])
    assert len(column(tmp_path, "train_loss")) == 1  # a line a step, not a part


@pytest.mark.slow
def test_gradient_checkpointing_changes_no_number(corpus, material, tmp_path):
    folders = []
    for wanted in ("true", "false"):
        recipe = speech.tiny(
            corpus, *ONE_TASK, f"training.gradient_checkpointing={wanted}", "training.epochs=1",
            "model.front_end.config.hidden_dropout=0.1",
        )  # fmt: skip
        folders.append(tmp_path / wanted)
        run(recipe, material, folders[-1])
    assert column(folders[0], "train_loss") == pytest.approx(column(folders[1], "train_loss"))
    assert column(folders[0], "dev_loss") == pytest.approx(column(folders[1], "dev_loss"))


def test_the_front_end_is_recomputed_where_memory_is_to_be_saved(
    corpus, material, tmp_path, monkeypatch
):
    recipe = speech.tiny(corpus, *ONE_TASK, "training.gradient_checkpointing=true")
    entered: list[int] = []
    original = training.build

    def watched(*args: Any) -> Any:
        model = original(*args)
        layer = model.front_end.encoder.layers[0].attention
        layer.register_forward_pre_hook(lambda *_: entered.append(1))
        return model

    monkeypatch.setattr(training, "build", watched)
    with pytest.raises(Stop):
        run(recipe, material, tmp_path, report=stop_when(at_step(1)))
    assert len(entered) == 2  # forward, and again in the backward pass


@pytest.mark.slow
def test_bf16_trains_on_a_cpu(corpus, material, tmp_path):
    for precision in ("bf16", "fp32"):
        recipe = speech.tiny(
            corpus, *ONE_TASK, f"training.precision={precision}", "training.epochs=1"
        )
        run(recipe, material, tmp_path / precision)
    half, single = (column(tmp_path / name, "train_loss") for name in ("bf16", "fp32"))
    assert half[0] != single[0]
    assert half[0] == pytest.approx(single[0], rel=0.2)
    assert all(np.isfinite(half))
    weights = load_file(tmp_path / "bf16" / "model" / "model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float32, torch.int64}


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        (["schedule=constant"], [1e-3] * 4),
        (["schedule=constant", "training.warmup_steps=2"], [0, 5e-4, 1e-3, 1e-3]),
        (["schedule=linear"], [1e-3, 7.5e-4, 5e-4, 2.5e-4]),
        (["schedule=linear", "training.warmup_steps=2"], [0, 5e-4, 1e-3, 5e-4]),
        (["schedule=cosine"], [1e-3, 1e-3 * (1 + 0.5**0.5) / 2, 5e-4, 1e-3 * (1 - 0.5**0.5) / 2]),
    ],
    ids=str,
)
@pytest.mark.usefixtures("nothing_computed")
def test_the_learning_rate_follows_its_schedule(corpus, material, tmp_path, changes, wanted):
    recipe = speech.tiny(
        corpus, *ONE_TASK, "training.epochs=1", f"training.{changes[0]}", *changes[1:]
    )
    run(recipe, material, tmp_path)
    assert column(tmp_path, "learning_rate") == pytest.approx(wanted)


def test_a_loss_that_is_no_number_stops(corpus, material, tmp_path):
    recipe = speech.tiny(corpus, *ONE_TASK, "training.learning_rate=1e30")
    with pytest.raises(CfbenchError, match=r"step \d of 8: the loss is (nan|inf)") as error:
        run(recipe, material, tmp_path)
    assert "smaller learning rate" in str(error.value)
    assert not (tmp_path / "model").exists()


def test_a_development_loss_that_is_no_number_stops(corpus, material, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "evaluate", lambda *args: scripted(float("nan")))
    recipe = speech.tiny(corpus, *ONE_TASK, "training.batch_size=8")
    with pytest.raises(CfbenchError, match="epoch 1 of 2, development set: the loss is nan"):
        run(recipe, material, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("split", ["train", "dev"])
def test_a_bad_clip_stops_and_training_goes_on_when_it_is_mended(
    corpus, own_corpus, material, tmp_path, split
):
    recipe = speech.tiny(own_corpus, *ONE_TASK, "training.checkpoint_every=1")
    bad = own_corpus.audio / f"{split}_000.flac"
    whole = bad.read_bytes()
    bad.write_bytes(whole[:2000])
    own = find_material(recipe, speech.data(own_corpus))
    with pytest.raises(CfbenchError, match=rf"{split}_000\.flac: .*") as error:
        run(recipe, own, tmp_path / "train")
    told = str(error.value)
    assert "fetch or copy it again" in told
    assert "then run again: training goes on from its last checkpoint" in told
    if split == "dev":
        assert state(tmp_path / "train")["step"] == 4  # nothing of the epoch is lost
    bad.write_bytes(whole)
    steps: list[int] = []
    run(recipe, own, tmp_path / "train", report=lambda progress: steps.append(progress.step))
    run(speech.tiny(corpus, *ONE_TASK, "training.checkpoint_every=1"), material, tmp_path / "good")
    assert_same_run(tmp_path / "good", tmp_path / "train")


def trained_on(recipe: Recipe, material: Material, folder: Path, epochs: int) -> list[set[str]]:
    """The utterances of each epoch."""
    seen: list[set[str]] = [set() for _ in range(epochs)]
    with pytest.MonkeyPatch.context() as patch:

        class Watched(Clips):
            def __getitem__(self, row: int) -> Any:
                if self.augmented is not None and self.augmented.epoch < epochs:
                    seen[self.augmented.epoch].add(self.utt_ids[row])
                return super().__getitem__(row)

        patch.setattr(training, "Clips", Watched)
        run(recipe, material, folder)
    return seen


# Four source utterances, each with three codecs: (mvq, none, time), (svq, sem, freq),
# (sq, disent, time).
@pytest.mark.parametrize(
    ("balance", "batch", "wanted"),
    [
        ("vq", 8, {("vq", "mvq"): (1, 2), ("vq", "svq"): (1, 2), ("vq", "sq"): (1, 2)}),
        ("aux", 8, {("aux", "none"): (1, 2), ("aux", "sem"): (1, 2), ("aux", "disent"): (1, 2)}),
        ("dec", 8, {("dec", "time"): (2, 2), ("dec", "freq"): (2, 2)}),
        ("all", 8, {("source", "rvq"): (1, 2), ("source", "single"): (1, 2)}),
        ("none", 8, {("bin", "spoof"): (4, 4)}),
        ("as-listed", 16, {("bin", "spoof"): (12, 12), ("vq", "mvq"): (4, 4)}),
    ],
)
@pytest.mark.usefixtures("nothing_computed")
def test_an_epoch_is_balanced_as_the_recipe_says(
    corpus, material, tmp_path, balance, batch, wanted
):
    recipe = speech.tiny(
        corpus, *ONE_TASK, f"data.balance={balance}", "training.epochs=1",
        f"training.batch_size={batch}",
    )  # fmt: skip
    (seen,) = trained_on(recipe, material, tmp_path, 1)
    assert len(seen) == batch
    rows = material.train.filter(pl.col("utt_id").is_in(sorted(seen)))
    assert rows.filter(pl.col("bin") == "bonafide").height == 4
    for (name, value), (least, most) in wanted.items():
        assert least <= rows.filter(pl.col(name) == value).height <= most, (name, value)


@pytest.mark.parametrize("redraw", [True, False])
@pytest.mark.usefixtures("nothing_computed")
def test_each_epoch_draws_anew_only_where_it_is_told_to(corpus, material, tmp_path, redraw):
    recipe = speech.tiny(
        corpus, *ONE_TASK, f"data.redraw={str(redraw).lower()}", "training.epochs=2",
        "training.batch_size=8",
    )  # fmt: skip
    first, second = trained_on(recipe, material, tmp_path, 2)
    assert (first != second) is redraw


@pytest.mark.usefixtures("nothing_computed")
def test_what_a_reader_should_know_of_the_draw_is_said(corpus, material, tmp_path):
    without = material.train.filter(pl.col("vq") != "sq")
    recipe = speech.tiny(corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8")
    seen: list[Progress] = []
    run(recipe, Material(without, material.dev, material.paths), tmp_path, report=seen.append)
    assert any("sq" in note for note in seen[0].notes)
    assert not any(progress.notes for progress in seen[1:])


def test_a_task_without_labels_is_refused(corpus, material, tmp_path):
    nothing = pl.lit(None, material.train["vq"].dtype).alias("vq")
    train_rows = material.train.with_columns(nothing)
    recipe = speech.tiny(corpus, *ONE_TASK, "data.balance=none")
    with pytest.raises(CfbenchError, match="8 utterances have no label for vq"):
        run(recipe, Material(train_rows, material.dev, material.paths), tmp_path)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (["training.precision=fp16"], "training in fp16 needs a GPU"),
        (["training.curves=trackio"], "pip install trackio"),
        (["model.front_end.config.hidden_sizes=3"], "did you mean 'hidden_size'?"),
        (["model.front_end.config.conv_dim=[16]"], "model.front_end.config"),
        (["model.front_end.config.num_attention_heads=5"], "model.front_end.config"),
        (["model.front_end.config.hidden_size=many"], "model.front_end.config"),
        (["training.batch_size=64"], "cannot fill a batch of 64"),
    ],
    ids=str,
)
def test_what_cannot_be_trained_is_said_before_it_begins(corpus, material, tmp_path, changes, told):
    recipe = speech.tiny(corpus, *ONE_TASK, *changes)
    with pytest.raises(CfbenchError) as error:
        run(recipe, material, tmp_path / "train")
    assert told in str(error.value)


def test_a_batch_must_be_shared_evenly(corpus, material, tmp_path, monkeypatch):
    accelerator = training._accelerator(speech.tiny(corpus).training, tmp_path, True)

    class Three:
        num_processes, process_index, device = 3, 0, accelerator.device

    monkeypatch.setattr(training, "_accelerator", lambda *args: Three())
    with pytest.raises(CfbenchError, match="cannot be shared by 3 processes"):
        train(speech.tiny(corpus, *ONE_TASK), material, tmp_path)


@pytest.mark.slow
def test_a_front_end_of_ones_own_is_the_start(corpus, material, tmp_path):
    recipe = speech.tiny(corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8")
    for seed in (1, 2):
        torch.manual_seed(seed)
        build(recipe).front_end.save_pretrained(tmp_path / f"front end {seed}")
    place = str(tmp_path / "front end 1")
    started = build(recipe, place)
    given = load_file(Path(place) / "model.safetensors")
    for name, value in started.front_end.state_dict().items():
        assert torch.equal(value, given[name])
    run(recipe, material, tmp_path / "train", weights=place)
    # The same weights from another folder are the same start; others are not.
    shutil.copytree(place, tmp_path / "moved")
    run(recipe, material, tmp_path / "train", weights=str(tmp_path / "moved"))
    with pytest.raises(CfbenchError, match="another front end"):
        run(recipe, material, tmp_path / "train", weights=str(tmp_path / "front end 2"))


def test_a_front_end_that_lacks_weights_is_refused(corpus, tmp_path):
    from safetensors.torch import save_file

    recipe = speech.tiny(corpus, *ONE_TASK)
    build(recipe).front_end.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    weights.pop("feature_projection.projection.weight")
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CfbenchError, match=r"feature_projection\.projection\.weight"):
        build(recipe, str(tmp_path))
    with pytest.raises(CfbenchError, match="the front end cannot be loaded"):
        build(recipe, str(tmp_path / "nowhere"))


@pytest.mark.slow
def test_a_model_that_is_gone_is_not_taken_for_there(corpus, material, tmp_path):
    recipe = speech.tiny(corpus, *ONE_TASK, "training.epochs=1", "training.batch_size=8")
    run(recipe, material, tmp_path)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(CfbenchError, match="the model of the best epoch is gone"):
        run(recipe, material, tmp_path)


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "model"
    checkpoints.replace_folder(folder, lambda place: (place / "a").write_text("old"))

    def broken(place: Path) -> None:
        (place / "a").write_text("new")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.replace_folder(folder, broken)
    assert (folder / "a").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.slow
def test_two_processes_train_what_one_does(corpus, material, tmp_path):
    """Up to the rounding of sums in another order.

    After a few steps Adam has made that as large as any difference: it divides by the gradient's
    size, and some gradients are nothing but rounding. (One process with two threads differs from
    one with one thread as much.) So gradients are compared, and the values of the first epoch.
    """
    changes = (
        *speech.SMALL, 'model.tasks=["bin", "vq"]', "training.batch_size=8",
        "training.accumulate=2", "training.epochs=1", "training.learned_task_weights=true",
        "training.checkpoint_every=1", "augmentation.rawboost=5",
    )  # fmt: skip
    recipe = speech.tiny(corpus, *changes)
    run(recipe, material, tmp_path / "one")
    told = speech.launch(
        2, "train", corpus.track.parent / "tiny.toml", "--audio", corpus.audio, "--cpu",
        "--out", tmp_path / "two", *(word for change in changes for word in ("--set", change)),
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    # Only one of them speaks.
    assert told.stderr.count("epoch 1 of 1: dev loss") == 1
    assert told.stderr.count("the trained model: ") == 1
    one, two = state(tmp_path / "one"), state(tmp_path / "two")
    assert len(two["random"]) == 2
    assert_first_moments(two, [10 * m["exp_avg"] for m in one["optimizer"]["state"].values()])
    for found, wanted in zip(curves(tmp_path / "two"), curves(tmp_path / "one"), strict=True):
        # A first step of Adam is as long for a gradient that is only rounding: it shows later.
        assert found == pytest.approx(wanted, rel=1e-3)
