"""Recipes: a baseline's complete configuration, from a TOML file.

A recipe may extend another one and give only what differs. What is read is complete: every
setting has a value, so that a run's own copy of its recipe says all that it did.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cfbench import content
from cfbench.audio import MOST_SAMPLES, WINDOW
from cfbench.errors import CfbenchError, clip, did_you_mean
from cfbench.tasks import load_tasks

MODEL_KINDS = ("wav2vec2-aasist", "log-mel-logistic")

SHIPPED = "baselines/"
"""What the place of a trained model begins with that ships with cfbench."""

TaskId = Literal["bin", "vq", "aux", "dec"]
Precision = Literal["fp32", "bf16", "fp16"]
PredictionPrecision = Literal["fp32", "bf16", "fp16", "int8"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FrontEnd(_Record):
    """The self-supervised front end of a Wav2Vec2-AASIST.

    Attributes:
        weights: Where its pre-trained weights are: an id on the Hub, a folder that transformers
            wrote, or a checkpoint of fairseq (`xlsr2_300m.pt`); empty: it starts at random.
        config: Settings of transformers' Wav2Vec2Config that differ: from those that came with
            the weights, or from its defaults where there are none.
    """

    weights: str = ""
    config: dict[str, Any] = {}


class Model(_Record):
    """What is trained.

    Attributes:
        kind: One of `MODEL_KINDS`.
        tasks: The tasks that it answers, a branch each.
        front_end: Of a Wav2Vec2-AASIST.
        checkpoint: Where a trained model is published: an id or address on the Hub, or a folder
            that ships with cfbench, `baselines/checkpoints/NAME`; empty where none is.
        dropouts: Of a graph branch: nodes, pool, stack, readout.
        pre_emphasis: Of the Wav2Vec2-AASIST's input: each sample less so much of the one before.
    """

    kind: Literal["wav2vec2-aasist", "log-mel-logistic"]
    tasks: tuple[TaskId, ...] = Field(min_length=1, strict=False)
    front_end: FrontEnd = FrontEnd()
    checkpoint: str = ""
    dropouts: tuple[float, float, float, float] = Field(default=(0.2, 0.3, 0.2, 0.5), strict=False)
    pre_emphasis: float = Field(default=0.0, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.tasks)) < len(self.tasks):
            raise ValueError("a task is named twice")
        if any(not 0 <= rate < 1 for rate in self.dropouts):
            raise ValueError("a dropout rate is a number from 0 to below 1")
        return self


class Data(_Record):
    """What it is trained on.

    Attributes:
        train: Names of lists in the protocol's folder; the first that is there is the training
            set. Empty: the protocol's own split `train`.
        dev: The same for the development set, on which the best epoch is chosen.
        balance: How training utterances are drawn: see `sampling.draw`.
        redraw: Whether each epoch draws anew.
        samples: Length of the window at 16 kHz.
        windows: Of how many windows of a clip a neural model's answer is the mean, from the clip's
            start to its end at equal distances; 1: of the one at the start.
    """

    train: tuple[str, ...] = Field(default=(), strict=False)
    dev: tuple[str, ...] = Field(default=(), strict=False)
    balance: Literal["vq", "aux", "dec", "all", "none", "as-listed"] = "as-listed"
    redraw: bool = False
    samples: int = Field(default=WINDOW, ge=400, le=MOST_SAMPLES)
    windows: int = Field(default=1, ge=1, le=100)


class Augmentation(_Record):
    """What is done to training clips.

    Attributes:
        rawboost: Algorithm 0 to 8; 0 is none.
        dev: Whether the development set is augmented by RawBoost too, as the authors do.
        crop: In training a neural model hears an excerpt of so many samples, drawn anew each epoch
            from anywhere in the clip; 0: the window at its start. It answers for whole windows.
    """

    rawboost: int = Field(default=0, ge=0, le=8)
    dev: bool = False
    crop: int = Field(default=0, ge=0, le=MOST_SAMPLES)


class Pretraining(_Record):
    """How a front end that starts at random learns of sound before it learns of labels.

    Attributes:
        steps: Batches; 0: it does not.
        batch_size: Excerpts a step.
        samples: Of an excerpt.
    """

    steps: int = Field(default=0, ge=0)
    batch_size: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=2e-3, gt=0, allow_inf_nan=False)
    samples: int = Field(default=16384, ge=400, le=MOST_SAMPLES)


class Training(_Record):
    """How it is trained.

    Attributes:
        batch_size: Clips a step, over all processes.
        accumulate: Into how many parts a step's clips are cut, one after the other.
        schedule: Of the learning rate after the warm-up.
        clip_norm: Longer gradients are shortened to this norm; 0: none is.
        freeze_front_end: Train encoder and branches only.
        learned_task_weights: Whether the weights of the tasks in the loss are trained.
        class_weights: Weights of the classes in the cross entropy; the authors' where not given.
        select: What chooses the best epoch on the development set.
        keep: The best epoch's model, or all of them.
        weights: What the trained model's weights are rounded to when it is written; predictions
            are then made with these, and in another precision if asked.
        checkpoint_every: Steps between checkpoints; each epoch ends with one in any case.
        curves: Where learning curves go beside curves.jsonl.
        threads: Of torch on a CPU; 0: as many as it takes by itself. The operations of a small
            model are over before a second thread has begun.
    """

    epochs: int = Field(default=20, ge=1)
    batch_size: int = Field(default=8, ge=2)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-6, gt=0, allow_inf_nan=False)
    weight_decay: float = Field(default=1e-4, ge=0, le=100)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup_steps: int = Field(default=0, ge=0)
    clip_norm: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    seed: int = Field(default=1234, ge=0, lt=2**32)
    precision: Precision = "fp32"
    gradient_checkpointing: bool = False
    freeze_front_end: bool = False
    learned_task_weights: bool = False
    class_weights: dict[TaskId, Annotated[tuple[float, ...], Field(strict=False)]] = {}
    select: Literal["loss", "macro_f1"] = "loss"
    keep: Literal["best", "all"] = "best"
    weights: Precision = "fp32"
    checkpoint_every: int = Field(default=1000, ge=1)
    curves: Literal["none", "tensorboard", "trackio"] = "none"
    threads: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of {self.accumulate}")
        for task_id, weights in self.class_weights.items():
            wanted = load_tasks()[task_id].class_names
            if len(weights) != len(wanted) or not all(0 < weight < 1e6 for weight in weights):
                raise ValueError(
                    f"class_weights.{task_id}: one number above 0 for each of " + ", ".join(wanted)
                )
        return self


class Logistic(_Record):
    """Settings of the classical baseline.

    Attributes:
        strength: Inverse of the L2 penalty (scikit-learn's C).
        iterations: At most so many.
    """

    strength: float = Field(default=1.0, gt=0)
    iterations: int = Field(default=1000, ge=1)


class Prediction(_Record):
    """How it predicts; the command line overrules it."""

    batch_size: int = Field(default=16, ge=1)
    precision: PredictionPrecision = "fp32"


class Recipe(_Record):
    """A baseline's complete configuration.

    Attributes:
        name: As `cfbench run-baseline` knows it.
        card: The file in `baselines/` that describes it and what was measured.
        track: The track that it is trained and scored on: a name, or the path of a track file,
            from the recipe's folder.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    title: str
    description: str = ""
    card: str = ""
    track: str
    model: Model
    data: Data = Data()
    augmentation: Augmentation = Augmentation()
    pretraining: Pretraining = Pretraining()
    training: Training = Training()
    logistic: Logistic = Logistic()
    prediction: Prediction = Prediction()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.data.windows > 1 and self.model.kind != "wav2vec2-aasist":
            raise ValueError(f"data.windows: {self.model.kind} hears one window")
        return self


def recipe_names() -> list[str]:
    """The names of the recipes that ship with cfbench."""
    return content.names("baselines", ".toml")


def find_recipe(name: str, overrides: Sequence[str] = ()) -> Recipe:
    """A shipped recipe by name, or one of the user's own by the path of its TOML file.

    Args:
        name: "M1_AUX_bal", or "path/to/recipe.toml".
        overrides: Settings to change: "training.epochs=2". The value is TOML, or else a word.

    Raises:
        CfbenchError: There is no such recipe, or a setting breaks the schema.
    """
    data, where = _complete(name, ())
    for override in overrides:
        _override(data, override)
    # A run's folder keeps the recipe: a path must mean the same there.
    if _is_file(data.get("track")):
        data["track"] = str(Path(data["track"]).absolute())
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        problems = "; ".join(_said(item) for item in error.errors()[:5])
        raise CfbenchError(f"{where}: {problems}", "docs/baselines.md lists the settings") from None


def _complete(name: str, above: tuple[str, ...]) -> tuple[dict[str, Any], str]:
    """A recipe's data with what it extends below it, and where it stands."""
    text, where, folder = _text(name)
    if where in above:
        raise CfbenchError(f"{where}: extends itself: {' -> '.join((*above, where))}")
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise CfbenchError(f"{where}: not TOML: {error}", "see docs/baselines.md") from None
    if folder is not None and _is_file(data.get("track")):
        data["track"] = str((folder / data["track"]).resolve())
    base = data.pop("extends", None)
    if base is None:
        return data, where
    if not isinstance(base, str):
        raise CfbenchError(f"{where}: extends: give the name of one recipe")
    if base.endswith(".toml") and folder is not None:
        base = str((folder / base).resolve())
    below, _ = _complete(base, (*above, where))
    return _merged(below, data), where


def _is_file(track: object) -> bool:
    return isinstance(track, str) and track.endswith(".toml")


def _text(name: str) -> tuple[str, str, Path | None]:
    if not name.endswith(".toml"):
        if name not in recipe_names():
            raise CfbenchError(
                f"there is no recipe '{clip(name)}'{did_you_mean(name, recipe_names())}",
                "cfbench recipes lists those that ship; one of your own is given as FILE.toml",
            )
        where = f"baselines/{name}.toml"
        return content.text(where), where, None
    path = Path(name)
    try:
        return path.read_text(encoding="utf-8"), str(path), path.parent
    except (OSError, UnicodeDecodeError) as error:
        raise CfbenchError(
            f"{path}: the recipe cannot be read: {error}", "a recipe is TOML in UTF-8"
        ) from None


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            value = _merged(old, value)
        merged[key] = value
    return merged


def _override(data: dict[str, Any], override: str) -> None:
    path, sign, raw = override.partition("=")
    *tables, key = [word.strip() for word in path.split(".")]
    if not sign or not key:
        raise CfbenchError(f"'{clip(override)}' is no setting", "for example training.epochs=2")
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except (ValueError, RecursionError):
        value = raw.strip()
    for table in tables:
        data = data.setdefault(table, {})
        if not isinstance(data, dict):
            raise CfbenchError(f"'{clip(override)}': {table} is no group of settings")
    data[key] = value


def _said(item: Mapping[str, Any]) -> str:
    place = ".".join(str(part) for part in item["loc"])
    known = _known(item["loc"][:-1])
    guess = did_you_mean(str(item["loc"][-1]), known) if item["type"] == "extra_forbidden" else ""
    message = item["msg"].removeprefix("Value error, ")
    return f"{place}: {message}{guess}" if place else message


def _known(path: Sequence[Any]) -> list[str]:
    fields = Recipe.model_fields
    for part in path:
        model = fields[part].annotation if part in fields else None
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            return []
        fields = model.model_fields
    return list(fields)
