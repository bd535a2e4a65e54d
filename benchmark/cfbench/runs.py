"""A baseline from audio to scorecard: data, training, prediction, score, each resumable.

Everything that a run makes stands in its folder:

    recipe.toml           the complete recipe
    environment.json      versions and machine
    log.txt               what happened when
    train/                checkpoints, curves.jsonl, model/ (that of the best epoch)
    converted/            the trained model, where one of the authors' checkpoints was given
    predictions.parquet   and predictions.parquet.json: how they were made
    scorecard.json
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from cfbench import api, content
from cfbench.environment import describe_environment, is_main_process
from cfbench.errors import CfbenchError, name_some
from cfbench.files import write_text
from cfbench.hub import weights as hub_weights
from cfbench.mini import store
from cfbench.recipes import SHIPPED, Recipe, find_recipe
from cfbench.steps import (
    Data,
    Machine,
    Predicted,
    Prediction,
    check_asked,
    predict,
    read_scored,
    train,
)

if TYPE_CHECKING:
    from cfbench.inference import Share
    from cfbench.material import Progress
    from cfbench.scorecard import Scorecard

STEPS = ("train", "predict", "score")
"""What a run does, in order."""

log = logging.getLogger("cfbench.runs")


@dataclass(frozen=True)
class Run:
    """A run of `cfbench run-baseline`.

    Attributes:
        recipe: The complete recipe.
        data: Lists and audio.
        folder: The run's folder.
        model: A trained model, instead of training: a folder, an id on the Hub, or a checkpoint
            of the authors' (a file or its address on the Hub).
        front_end: Where the front end's weights are, if not where the recipe says.
        steps: Which of `STEPS` to do.
        machine: Where to compute.
        prediction: How to predict.
        allow_missing: Score utterances without a prediction as wrong.
    """

    recipe: Recipe
    data: Data
    folder: Path
    model: str | None = None
    front_end: str | None = None
    steps: Sequence[str] = STEPS
    machine: Machine = field(default_factory=Machine)
    prediction: Prediction = field(default_factory=lambda: Prediction(Path()))
    allow_missing: bool = False

    @property
    def trained(self) -> Path:
        """Where training leaves the model."""
        return self.folder / "train" / "model"

    @property
    def predictions(self) -> Path:
        """The predictions file."""
        return self.folder / "predictions.parquet"

    @property
    def scorecard(self) -> Path:
        """The scorecard."""
        return self.folder / "scorecard.json"


@dataclass(frozen=True)
class Watch:
    """Whom a run tells what happens.

    Attributes:
        step: Called when a step begins, with its name.
        train: See `train`.
        start: See `predict`.
        advance: See `predict`.
        unpacking: See `train` and `predict`.
    """

    step: Callable[[str], None] = lambda name: None
    train: "Callable[[Progress], None]" = lambda progress: None
    start: "Callable[[int, Share], None]" = lambda total, share: None
    advance: Callable[[int, int], None] = lambda done, resumed: None
    unpacking: store.Watch = field(default_factory=store.Watch)


@dataclass(frozen=True)
class Finished:
    """What a run has made; None where a step was left out."""

    model: str | None
    predicted: Predicted | None
    scorecard: "Scorecard | None"


def run(what: Run, watch: Watch = Watch()) -> Finished:
    """Do the steps of a run, or go on where an earlier call was interrupted.

    Raises:
        CfbenchError: Something is missing or cannot be read; the folder holds another run.
    """
    check_folder(what)
    check_asked(what.recipe, what.data.track)
    with _logging_to(what):
        return _run(what, watch)


def _run(what: Run, watch: Watch) -> Finished:
    model = _model_of(what) if {"train", "predict"} & set(what.steps) else None
    if "train" in what.steps and what.model is None:
        watch.step("train")
        log.info("training %s", what.recipe.name)
        folder, report = what.folder / "train", _logged(watch.train)
        model = str(
            train(
                what.recipe,
                what.data,
                folder,
                what.machine,
                what.front_end,
                report,
                watch.unpacking,
            )
        )
    predicted = None
    if "predict" in what.steps:
        watch.step("predict")
        if model is None:
            raise CfbenchError(
                f"{what.folder}: no trained model", "train first, or give one: --model"
            )
        _check_model(what.recipe, Path(model))
        log.info("predicting with %s", model)
        how = replace(what.prediction, out=what.predictions)
        wanted = read_scored(what.data)
        predicted = predict(
            model,
            wanted,
            what.data,
            how,
            what.machine,
            watch.start,
            watch.advance,
            watch.unpacking,
        )
        for problem in predicted.joined.failures.values():
            log.warning("%s", problem.message)
        if predicted.outcome.predicted and predicted.main:
            what.scorecard.unlink(missing_ok=True)  # of other predictions
    card = None
    if "score" in what.steps and is_main_process() and _can_be_scored(what, predicted):
        watch.step("score")
        if not what.predictions.is_file():
            raise CfbenchError(f"{what.predictions}: not there yet", "predict first")
        card = api.score(what.predictions, read_scored(what.data), allow_missing=what.allow_missing)
        write_text(what.scorecard, card.to_json())
        log.info("scored: %s", what.scorecard)
    return Finished(model, predicted, card)


def _check_model(recipe: Recipe, folder: Path) -> None:
    """Refuse a model that the recipe does not describe: its numbers would stand under that name."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, tasks = str(config["model_type"]), set(config["tasks"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # of the Hub, or broken: loading it will tell
    wanted = recipe.model.kind, set(recipe.model.tasks)
    if (kind, tasks) != wanted:
        raise CfbenchError(
            f"{folder}: a {kind} of {', '.join(sorted(tasks))}; {recipe.name} is a {wanted[0]} of "
            f"{', '.join(sorted(wanted[1]))}",
            "give the recipe that belongs to it, or predict and score it by themselves: "
            "cfbench predict",
        )


def _can_be_scored(what: Run, predicted: Predicted | None) -> bool:
    """Whether the predictions are there: all of them, or missing ones count as wrong."""
    if predicted is None:
        return True
    joined = predicted.joined
    return joined.complete and (not joined.failures or what.allow_missing)


def check_folder(what: Run) -> None:
    """Make sure that a run's folder, if it is there, is of this run.

    Raises:
        CfbenchError: It holds a run of another recipe.
    """
    path = what.folder / "recipe.toml"
    if not path.exists():
        return
    old, new = _settings(find_recipe(str(path))), _settings(what.recipe)
    other = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    if other:
        raise CfbenchError(
            f"{what.folder}: holds a run of another recipe: {name_some(other)} "
            f"{'differs' if len(other) == 1 else 'differ'}",
            f"name another folder with --out, or remove this one; its recipe is {path}",
        )


# What may change between two calls: words, and how far and how often, not what comes out of a step.
_MAY_CHANGE = (
    "title", "description", "card", "prediction.batch_size", "prediction.precision",
    "training.epochs", "training.checkpoint_every", "training.curves", "training.keep",
)  # fmt: skip


def _settings(recipe: Recipe) -> dict[str, str]:
    """The settings of a recipe that make its run another one, each by its full name."""
    settings = {}
    for name, value in recipe.model_dump(mode="json").items():
        inner = value if isinstance(value, dict) else {"": value}
        for key, setting in inner.items():
            settings[f"{name}.{key}".rstrip(".")] = json.dumps(setting, sort_keys=True)
    return {name: value for name, value in settings.items() if name not in _MAY_CHANGE}


@contextmanager
def _logging_to(what: Run) -> Iterator[None]:
    """Make the folder, say in it what it holds, and keep a log there."""
    import tomli_w

    if not is_main_process():
        yield
        return
    try:
        what.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CfbenchError(f"{what.folder}: cannot be made: {error.strerror}") from None
    write_text(what.folder / "recipe.toml", tomli_w.dumps(what.recipe.model_dump(mode="json")))
    said, environment = (
        json.dumps(describe_environment(), indent=1),
        what.folder / "environment.json",
    )
    if not environment.exists() or "train" in what.steps:
        write_text(environment, said + "\n")
    handler = logging.FileHandler(what.folder / "log.txt", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False
    try:
        yield
    except BaseException as error:
        log.error("stopped: %s", str(error) or type(error).__name__)
        raise
    finally:
        log.removeHandler(handler)
        handler.close()


def _model_of(what: Run) -> str | None:
    """The trained model of a run, converted first where it is a checkpoint of the authors'."""
    if what.model is None:
        return str(what.trained) if what.trained.is_dir() else None
    given = published_model(what.recipe) if what.model == "published" else what.model
    from cfbench.models.fairseq import is_fairseq

    path = hub_weights.fetch(given) if hub_weights.is_address(given) else Path(given)
    if not is_fairseq(path):
        return given
    if not path.is_file():
        raise CfbenchError(f"{given}: no such file", "give a checkpoint, or a model's folder")
    from cfbench.processes import this_process

    with this_process(what.machine.cpu).main_process_first():
        return _converted(what, path)


def published_model(recipe: Recipe) -> str:
    """Where the published model of a recipe is: on the Hub, or a folder that ships with cfbench.

    Raises:
        CfbenchError: None is published, or this installation lacks it.
    """
    given = recipe.model.checkpoint
    if not given:
        raise CfbenchError(
            f"{recipe.name}: no trained model of this recipe is published",
            "train it, or give a model's folder",
        )
    if not given.startswith(SHIPPED):
        return given
    try:
        return str(content.tree(given))
    except FileNotFoundError as error:
        raise CfbenchError(
            f"{recipe.name}: its trained model is not there: {error}",
            "cfbench run-baseline --train trains it from the start",
        ) from None


def _converted(what: Run, path: Path) -> str:
    from cfbench.checkpoints import replace_folder
    from cfbench.models import authors

    folder, note = what.folder / "converted", "converted-from.json"
    with path.open("rb") as file:
        said = json.dumps({"sha256": hashlib.file_digest(file, "sha256").hexdigest()}) + "\n"

    def write(place: Path) -> None:
        authors.convert(path).save_pretrained(place)
        write_text(place / note, said)

    if not (folder / note).is_file() or (folder / note).read_text(encoding="utf-8") != said:
        log.info("converting %s", path)
        replace_folder(folder, write)
    return str(folder)


def _logged(report: "Callable[[Progress], None]") -> "Callable[[Progress], None]":
    def both(progress: "Progress") -> None:
        if "dev_loss" in progress.numbers:
            values = ", ".join(f"{name} {value:.4f}" for name, value in progress.numbers.items())
            log.info("epoch %d of %d: %s", progress.epoch + 1, progress.epochs, values)
        report(progress)

    return both
