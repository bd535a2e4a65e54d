"""A baseline from audio to scorecard: data, training, prediction, score, each resumable.

Everything that a run makes stands in its folder:

    recipe.toml           the complete recipe
    environment.json      versions and machine
    log.txt               what happened when
    train/                checkpoints, curves.jsonl, model/ (that of the best epoch)
    predictions.parquet   and predictions.parquet.json: how they were made
    scorecard.json
"""

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from cfbench import api, hub
from cfbench.audio import Clips as Found
from cfbench.audio import find_clips
from cfbench.environment import describe_environment
from cfbench.errors import CfbenchError, Problem, name_some, plural
from cfbench.files import write_text
from cfbench.protocol import Protocol, find_list, read_protocol
from cfbench.recipes import PredictionPrecision as Precision
from cfbench.recipes import Recipe, find_recipe
from cfbench.tasks import Track

if TYPE_CHECKING:
    from cfbench.inference import Outcome, Plan, Share
    from cfbench.predictor import Predictor
    from cfbench.scorecard import Scorecard
    from cfbench.training import Material, Progress

STEPS = ("train", "predict", "score")
"""What a run does, in order."""

log = logging.getLogger("cfbench.runs")


@dataclass(frozen=True)
class Machine:
    """Where a run computes.

    Attributes:
        cpu: Whether to leave a GPU alone.
        workers: Processes that decode audio, for each process that computes; None chooses.
    """

    cpu: bool = False
    workers: int | None = None

    @property
    def decoding(self) -> int:
        """How many processes decode: as said, or what keeps a processing unit fed."""
        if self.workers is not None:
            return self.workers
        from cfbench.processes import decoding_workers

        return decoding_workers(self.cpu)


@dataclass(frozen=True)
class Data:
    """Where a run's data is.

    Attributes:
        track: The track.
        audio: Folders below which clips are looked for.
        protocol: A list or a folder of lists; None for what the track ships, or the folder that
            CFBENCH_PROTOCOLS names.
    """

    track: Track
    audio: Sequence[Path]
    protocol: Path | None = None

    def find(self, utt_ids: Sequence[str]) -> Found:
        """The audio files of utterances.

        Raises:
            CfbenchError: A folder is not there, or an utterance has two files.
        """
        return find_clips(self.audio, utt_ids, self.track.audio_folders)

    def missing(self, utt_ids: Sequence[str]) -> Problem:
        """What is wrong where utterances have no audio file."""
        return Problem(
            f"{plural(len(utt_ids), 'utterance has|utterances have')} no audio file: "
            + name_some(utt_ids),
            "looked for UTTERANCE.wav, .flac and others below "
            + ", ".join(str(folder) for folder in self.audio),
        )


def read_scored(data: Data, splits: Sequence[str] | None = None) -> Protocol:
    """The utterances that are predicted and scored.

    Raises:
        CfbenchError: The protocol cannot be found or read, or has none of the splits.
    """
    protocol = api.read_protocol(data.protocol, data.track)
    return protocol.only(splits or protocol.scored)


def read_training(recipe: Recipe, data: Data) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows that a recipe trains on, and those on which it chooses its best epoch.

    Raises:
        CfbenchError: They are not there.
    """
    return (
        _training_rows(data, "train", recipe.data.train),
        _training_rows(data, "dev", recipe.data.dev),
    )


def _training_rows(data: Data, split: str, lists: Sequence[str]) -> pl.DataFrame:
    folder = api.protocol_folder(data.protocol)
    path = find_list(folder, lists) if folder is not None else None
    found = (
        read_protocol(path, data.track)
        if path is not None
        else api.read_protocol(data.protocol, data.track)
    )
    if split not in found.splits:
        where = str(path or folder or f"the protocol of {data.track.name}")
        raise CfbenchError(
            f"{where}: no utterances of split {split}, which training needs",
            (f"put {' or '.join(lists)} into the protocol's folder; " if lists else "")
            + "or give a trained model: --model",
        )
    return found.split(split)


def find_material(recipe: Recipe, data: Data) -> "Material":
    """What a recipe trains on, with its audio files.

    Raises:
        CfbenchError: Lists or audio files are missing.
    """
    from cfbench.training import Material

    train, dev = read_training(recipe, data)
    found = data.find([*train["utt_id"], *dev["utt_id"]])
    if found.missing:
        problem = data.missing(found.missing)
        raise CfbenchError(problem.message, problem.hint)
    return Material(train, dev, found.paths)


def train(
    recipe: Recipe,
    data: Data,
    folder: Path,
    machine: Machine = Machine(),
    front_end: str | None = None,
    report: "Callable[[Progress], None]" = lambda progress: None,
) -> Path:
    """Train a recipe, or go on where an earlier call was interrupted.

    Args:
        recipe: What and how.
        data: Lists and audio.
        folder: Where checkpoints are kept.
        machine: Where to compute.
        front_end: Where the front end's weights are, if not where the recipe says.
        report: Called after each step and each epoch of a neural model.

    Returns:
        The folder of the trained model.
    """
    material = find_material(recipe, data)
    if recipe.model.kind == "log-mel-logistic":
        from cfbench.classical import train_classical

        return train_classical(recipe, material, folder, machine.decoding)
    from cfbench.training import train as train_neural

    weights = front_end or recipe.model.front_end.weights
    if hub.is_address(weights):
        weights = str(hub.fetch(weights))
    return train_neural(
        recipe,
        material,
        folder,
        weights=weights,
        cpu=machine.cpu,
        workers=machine.decoding,
        report=report,
    )


@dataclass(frozen=True)
class Prediction:
    """How a model predicts.

    Attributes:
        out: The predictions file.
        precision: Of a neural front end.
        compile: Whether torch.compile is used.
        strict: Stop at the first clip that cannot be read.
        overwrite: Replace predictions that were made in another way.
        shard: Which share of the work to do, `2/4`, where no launcher says so.
    """

    out: Path
    batch_size: int = 16
    part_size: int = 256
    precision: Precision = "fp32"
    compile: bool = False
    strict: bool = False
    overwrite: bool = False
    shard: str | None = None


@dataclass(frozen=True)
class Predicted:
    """What `predict` did.

    Attributes:
        outcome: Counts, time, failures.
        missing: Utterances without an audio file; they have no prediction either.
        share: Which share of the work this process did.
        main: Whether this is the process that reports.
        difference: In int8, against fp32 on the first clips: the largest difference of a
            probability, the share of decisions that changed, and the number of clips.
    """

    outcome: "Outcome"
    missing: Sequence[str]
    share: "Share"
    main: bool
    difference: tuple[float, float, int] | None = None

    @property
    def unanswered(self) -> int:
        """How many utterances have no prediction."""
        return len(self.outcome.failures) + len(self.missing)


def predict(
    model: str,
    protocol: Protocol,
    data: Data,
    how: Prediction,
    machine: Machine = Machine(),
    start: Callable[[int, "Share"], None] = lambda total, share: None,
    advance: Callable[[int, int], None] = lambda done, resumed: None,
) -> Predicted:
    """Predict a track's utterances, or go on where an earlier call was interrupted.

    Args:
        model: A folder, or the id of a repository on the Hub.
        protocol: Whose utterances.
        data: Where their audio is.
        how: Precision and the like.
        machine: Where to compute.
        start: Called with the number of clips of this process, and its share.
        advance: Called with the number of clips done, and how many an earlier call had done.

    Raises:
        CfbenchError: No model, no audio, or with `strict` a clip that cannot be read.
    """
    from cfbench import inference
    from cfbench.predictor import load_predictor
    from cfbench.processes import this_process

    state = this_process(machine.cpu)
    share = inference.Share(state.process_index, state.num_processes)
    if how.shard is not None:
        if share.count > 1:
            raise CfbenchError(
                f"--shard {how.shard}, but a launcher has started {share.count} processes",
                "leave one of them out",
            )
        share = inference.Share.parse(how.shard)
    utt_ids = sorted(protocol.frame["utt_id"].to_list())
    found = data.find(utt_ids)
    if not found.paths or (how.strict and found.missing):
        problem = data.missing(found.missing)
        raise CfbenchError(problem.message, problem.hint)
    predictor, said = load_predictor(model, state.device, how.precision, how.compile)
    plan = inference.Plan(
        utt_ids=list(found.paths),
        paths=list(found.paths.values()),
        out=how.out,
        batch_size=how.batch_size,
        part_size=max(how.part_size // how.batch_size, 1) * how.batch_size,
        workers=machine.decoding,
        strict=how.strict,
        made_by={**said, "track": protocol.track.name, "device": state.device.type},
    )
    with state.main_process_first():
        complete = inference.prepare(plan, how.overwrite and state.is_main_process)
    mine = sum(len(plan.rows(part)) for part in range(share.index, plan.parts, share.count))
    start(mine, share)
    difference = None
    if complete:
        outcome = inference.Outcome(0, mine, 0.0, {}, complete=True)
    else:
        if how.precision == "int8":
            difference = _difference(model, plan, predictor)
        outcome = inference.predict(plan, predictor, share, advance)
        state.wait_for_everyone()
        joined = state.is_main_process and inference.join(plan, describe_environment())
        state.wait_for_everyone()
        outcome = replace(outcome, failures=inference.failures(plan), complete=joined)
    return Predicted(outcome, found.missing, share, state.is_main_process, difference)


def _difference(model: str, plan: "Plan", predictor: "Predictor") -> tuple[float, float, int]:
    from cfbench import inference
    from cfbench.clips import Clips, load
    from cfbench.predictor import load_predictor

    rows = [list(range(min(plan.batch_size, len(plan.paths))))]
    exact, _ = load_predictor(model, predictor.device)
    for batch in load(Clips(plan.utt_ids, plan.paths, predictor.samples), rows, 0, False):
        if len(batch.rows):
            largest, changed = inference.compare(exact(batch.waveforms), predictor(batch.waveforms))
            return largest, changed, len(batch.rows)
    return 0.0, 0.0, 0


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
    machine: Machine = Machine()
    prediction: Prediction = Prediction(Path())
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
    """

    step: Callable[[str], None] = lambda name: None
    train: "Callable[[Progress], None]" = lambda progress: None
    start: "Callable[[int, Share], None]" = lambda total, share: None
    advance: Callable[[int, int], None] = lambda done, resumed: None


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
    _open_folder(what)
    model = _model_of(what)
    if "train" in what.steps and what.model is None:
        watch.step("train")
        log.info("training %s", what.recipe.name)
        model = str(
            train(
                what.recipe, what.data, what.folder / "train", what.machine, what.front_end,
                _logged(watch.train),
            )
        )  # fmt: skip
    predicted = None
    if "predict" in what.steps:
        watch.step("predict")
        if model is None:
            raise CfbenchError(
                f"{what.folder}: no trained model", "train first, or give one: --model"
            )
        log.info("predicting with %s", model)
        how = replace(what.prediction, out=what.predictions)
        wanted = read_scored(what.data)
        predicted = predict(model, wanted, what.data, how, what.machine, watch.start, watch.advance)
        for utt_id, problem in predicted.outcome.failures.items():
            log.warning("%s: %s", utt_id, problem.message)
        if predicted.missing:
            log.warning("%s", what.data.missing(predicted.missing).message)
    card = None
    if "score" in what.steps and _is_scored(what, predicted):
        watch.step("score")
        if not what.predictions.is_file():
            raise CfbenchError(f"{what.predictions}: not there yet", "predict first")
        card = api.score(what.predictions, read_scored(what.data), allow_missing=what.allow_missing)
        write_text(what.scorecard, card.to_json())
        log.info("scored: %s", what.scorecard)
    return Finished(model, predicted, card)


def _is_scored(what: Run, predicted: Predicted | None) -> bool:
    """Whether the predictions can be scored: all are there, or missing ones count as wrong."""
    if predicted is None:
        return True
    whole = predicted.outcome.complete and not predicted.unanswered
    return predicted.main and (whole or what.allow_missing)


def _open_folder(what: Run) -> None:
    import tomli_w

    try:
        what.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CfbenchError(f"{what.folder}: cannot be made: {error.strerror}") from None
    recipe = what.folder / "recipe.toml"
    if recipe.exists() and find_recipe(str(recipe)) != what.recipe:
        raise CfbenchError(
            f"{what.folder}: holds a run of another recipe, or of other settings",
            f"name another folder with --out, or remove this one; its recipe is {recipe}",
        )
    write_text(recipe, tomli_w.dumps(what.recipe.model_dump(mode="json")))
    said = json.dumps(describe_environment(), indent=1) + "\n"
    write_text(what.folder / "environment.json", said)
    if not log.handlers:
        handler = logging.FileHandler(what.folder / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        log.propagate = False


def _model_of(what: Run) -> str | None:
    """The trained model of a run, converted first where it is a checkpoint of the authors'."""
    if what.model is None:
        return str(what.trained) if what.trained.is_dir() else None
    from cfbench.models import authors

    given = what.model
    if given == "published":
        given = what.recipe.model.checkpoint
        if not given:
            raise CfbenchError(
                f"{what.recipe.name}: no trained model of this recipe is published",
                "train it, or give a model's folder",
            )
    path = hub.fetch(given) if hub.is_address(given) else Path(given)
    if not authors.is_fairseq(path):
        return given
    converted = what.folder / "converted"
    if not (converted / "config.json").is_file():
        log.info("converting %s", given)
        authors.convert(path).save_pretrained(converted)
    return str(converted)


def _logged(report: "Callable[[Progress], None]") -> "Callable[[Progress], None]":
    def both(progress: "Progress") -> None:
        if "dev_loss" in progress.numbers:
            values = ", ".join(f"{name} {value:.4f}" for name, value in progress.numbers.items())
            log.info("epoch %d of %d: %s", progress.epoch + 1, progress.epochs, values)
        report(progress)

    return both
