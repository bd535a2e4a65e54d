"""What a run would do, what it needs, and what is missing: without doing it."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from cfbench import runs
from cfbench.errors import CfbenchError, Problem, plural
from cfbench.hub import weights as hub_weights
from cfbench.mini import store
from cfbench.sampling import draw
from cfbench.steps import check_asked, read_scored, read_training

_BYTES = 4
"""Of a parameter in single precision, and of each number that the optimiser keeps of it."""

_LARGE = 100_000_000
"""Parameters of a model that wants a GPU."""


@dataclass(frozen=True)
class DryRun:
    """What would happen.

    Attributes:
        lines: What is done, and what it needs, a line each.
        missing: Without which it cannot be done.
    """

    lines: Sequence[str]
    missing: Sequence[Problem]


def describe(what: runs.Run) -> DryRun:
    """Look at everything that a run needs; reads lists and folders, loads and downloads nothing."""
    lines: list[str] = [f"{what.recipe.name}: {what.recipe.title}", f"folder: {what.folder}"]
    track = what.data.track
    if what.data.audio is None and track.clips is not None:
        lines.append(f"clips: ship with {track.name}; unpacked to {store.clips_folder(track)}")
    missing: list[Problem] = []
    if what.folder.exists() and not what.folder.is_dir():
        missing.append(Problem(f"{what.folder}: not a folder", "name one with --out"))
    try:
        runs.check_folder(what)
    except CfbenchError as error:
        missing += error.problems
    try:
        check_asked(what.recipe, track)
    except CfbenchError as error:
        missing += error.problems
    if "train" in what.steps and what.model is None:
        lines += _training(what, missing)
    elif what.model is not None:
        missing += _given_model(what)
        lines.append(f"train: left out; the model is {_given(what) or 'none'}")
    else:
        lines.append("train: left out")
        if "predict" in what.steps and not what.trained.is_dir():
            missing.append(Problem(f"{what.trained}: no trained model", "train, or --model"))
    lines += _prediction(what, missing) if "predict" in what.steps else ["predict: left out"]
    if "score" in what.steps:
        lines.append(f"score: {what.scorecard}")
        if "predict" not in what.steps and not what.predictions.is_file():
            missing.append(Problem(f"{what.predictions}: not there yet", "predict first"))
    else:
        lines.append("score: left out")
    if {"train", "predict"} & set(what.steps) and what.recipe.model.kind == "wav2vec2-aasist":
        lines += _needs(what, missing)
    return DryRun(lines, missing)


def _trains(what: runs.Run) -> bool:
    """Whether there is something left to train."""
    return "train" in what.steps and what.model is None and not what.trained.is_dir()


def _given(what: runs.Run) -> str:
    """The model that was given; empty where `published` was and none is there."""
    if what.model != "published":
        return what.model or ""
    try:
        return runs.published_model(what.recipe)
    except CfbenchError:
        return ""


def _training(what: runs.Run, missing: list[Problem]) -> list[str]:
    recipe, how = what.recipe, what.recipe.training
    if what.trained.is_dir():
        return [f"train: done already ({what.trained})"]
    try:
        train, dev = read_training(recipe, what.data)
        drawn = draw(train, recipe.data.balance, how.seed)
    except CfbenchError as error:
        missing += error.problems
        return ["train: its lists are missing, or cannot be trained on"]
    _check_audio(what, "training", pl.concat([train, dev]), missing)
    neural = recipe.model.kind == "wav2vec2-aasist"
    weights = what.front_end or recipe.model.front_end.weights
    is_file = Path(weights).suffix in (".pt", ".pth") and not hub_weights.is_address(weights)
    if neural and is_file and not Path(weights).is_file():
        missing.append(Problem(f"{weights}: no such file", "it holds the front end's weights"))
    state = what.folder / "train" / "last.pt"
    steps = drawn.frame.height // how.batch_size * how.epochs
    if neural and not steps:
        missing.append(
            Problem(
                f"training: {plural(drawn.frame.height, 'utterance')} cannot fill a batch of "
                f"{how.batch_size}",
                "--set training.batch_size=...",
            )
        )
    counts = (
        f"{plural(drawn.frame.height, 'utterance')}, drawn from {train.height:,} "
        f"({recipe.data.balance})"
    )
    line = f"train: on {counts}"
    if neural:
        line = (
            f"train: {plural(how.epochs, 'epoch')} of {counts}, {steps:,} steps of "
            f"{how.batch_size}; the best epoch on {plural(dev.height, 'utterance')}"
        )
        if recipe.pretraining.steps and not weights:
            first = plural(recipe.pretraining.steps, "step")
            line += f"; before that the front end is pre-trained for {first}"
    goes_on = f"; goes on from {state}" if state.is_file() else ""
    return [line + goes_on, *(f"  note: {note}" for note in drawn.notes)]


def _prediction(what: runs.Run, missing: list[Problem]) -> list[str]:
    try:
        protocol = read_scored(what.data)
    except CfbenchError as error:
        missing += error.problems
        return ["predict: the lists are missing"]
    _check_audio(what, "prediction", protocol.frame, missing)
    counts = [f"{protocol.split(name).height:,} {name}" for name in protocol.splits]
    if protocol.held_back.height:
        counts.append(f"{protocol.held_back.height:,} whose labels are held back")
    total = plural(len(protocol.answerable()), "utterance")
    return [f"predict: {total} ({', '.join(counts)})"]


def _check_audio(what: runs.Run, use: str, rows: pl.DataFrame, missing: list[Problem]) -> None:
    if what.data.audio is None and what.data.track.clips is not None:
        return  # they ship with the track; unpacking is part of the step
    try:
        found = what.data.find(rows["utt_id"].to_list())
    except CfbenchError as error:
        missing += [problem for problem in error.problems if problem not in missing]
        return
    if found.missing:
        problem = what.data.missing(found.missing)
        missing.append(Problem(f"{use}: {problem.message}", problem.hint))


def _given_model(what: runs.Run) -> list[Problem]:
    given = _given(what)
    if not given:
        try:
            runs.published_model(what.recipe)
        except CfbenchError as error:
            return list(error.problems)
    path = Path(given)
    if path.exists() or hub_weights.is_address(given) or given.count("/") == 1:
        return []
    return [Problem(f"{given}: no such model", "give a folder, a checkpoint or an id on the Hub")]


def _needs(what: runs.Run, missing: list[Problem]) -> list[str]:
    from cfbench.processes import describe_device
    from cfbench.untrained import count_parameters

    device = describe_device(what.machine.cpu)
    lines = [f"computes on: {device}"]
    try:
        count = count_parameters(what.recipe, what.front_end)
    except CfbenchError as error:
        missing += error.problems
        return lines
    if count is None:
        return [*lines, "needs: the size of the front end is known when it has been downloaded"]
    if count > _LARGE and device.startswith("the processor"):
        lines.append(
            "  note: without a GPU a model of this size answers about one clip a second, and "
            "training takes weeks"
        )
    model = count * _BYTES
    disk = model if what.model is not None else 0
    if _trains(what):
        # Weights and two moments a parameter; the best epoch, the epoch in hand, the final copy.
        kept = what.recipe.training.epochs if what.recipe.training.keep == "all" else 1
        trained = model
        if what.recipe.training.freeze_front_end:
            trained = (count_parameters(what.recipe, what.front_end, "heads") or 0) * _BYTES
        disk = 2 * (model + 2 * trained) + (kept + 2) * model
        lines.append(
            f"needs: memory of {_size(model + 3 * trained)} for weights, gradients and the "
            "optimiser; what a batch takes comes on top"
        )
    else:
        lines.append(f"needs: memory of {_size(model)} for the weights; a batch comes on top")
    lines.append(f"needs: {_size(disk)} on the disk")
    free = shutil.disk_usage(_existing(what.folder)).free
    if free < disk:
        missing.append(
            Problem(f"{what.folder}: {_size(free)} are free, {_size(disk)} are needed", "make room")
        )
    lines += _downloads(what, model)
    return lines


def _downloads(what: runs.Run, model: int) -> list[str]:
    place = _given(what)
    if _trains(what):
        place = what.front_end or what.recipe.model.front_end.weights
    if not place or Path(place).exists():
        return ["needs: no download"]
    if not hub_weights.is_address(place) and hub_weights.is_cached(place):
        return [f"needs: no download; {place} is in the cache"]
    return [f"needs: a download of {place}, about {_size(model)} unless it is in the cache"]


def _existing(path: Path) -> Path:
    path = path.absolute()
    return path if path.is_dir() else _existing(path.parent)


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
