"""The classical baseline: statistics of a log-mel spectrogram and one logistic regression a task.

It trains in seconds, runs with numpy alone, and is the least that a neural system has to beat.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from cfbench.errors import CfbenchError, clip, did_you_mean, name_some
from cfbench.files import write_atomically, write_text
from cfbench.models.spectrum import FeatureSettings, check_finite, features
from cfbench.tasks import TASK_IDS, load_tasks

Floats = NDArray[np.float64]

MODEL_TYPE = "log-mel-logistic"

_TOLERANCE = 1e-6  # of the largest entry of the loss's gradient
_VERSION = 1  # of the format of a saved model
_CONFIG = "config.json"
_WEIGHTS = "model.safetensors"
_INSTALL = "pip install 'cfbench[baseline]'"


class Head(NamedTuple):
    """The logistic regression of one task.

    Attributes:
        trained: (trained,), indices of the classes that were in training, rising.
        weight: (trained, dims), of standardised features.
        bias: (trained,).
    """

    trained: NDArray[np.int64]
    weight: Floats
    bias: Floats


@dataclass(frozen=True, eq=False)
class LogMelBaseline:
    """Features, standardised, and a multinomial logistic regression for each task.

    Attributes:
        mean: (dims,), of the features in training.
        scale: (dims,), their standard deviation; 1 where a feature is constant.
        heads: By task id, in the order of `TASK_IDS`.
        settings: Of the features.
    """

    mean: Floats
    scale: Floats
    heads: Mapping[str, Head]
    settings: FeatureSettings

    @property
    def tasks(self) -> tuple[str, ...]:
        """The ids of the tasks that it answers."""
        return tuple(self.heads)

    @classmethod
    def fit(
        cls,
        features: NDArray[Any],
        labels: Mapping[str, NDArray[Any]],
        class_weights: Mapping[str, Sequence[float]] | None = None,
        *,
        settings: FeatureSettings | None = None,
        c: float = 1.0,
        max_iter: int = 1000,
        seed: int = 0,
    ) -> Self:
        """Train on features; needs scikit-learn.

        Args:
            features: (clips, dims), as `features` returns them.
            labels: (clips,) for each task: positions in `load_tasks()[task].class_names`.
            class_weights: For a task: the loss's factor for each of its classes; 1 where not given.
            settings: Those with which the features were made.
            c: Inverse strength of the L2 penalty.
            max_iter: Steps of the solver; scikit-learn warns where they do not suffice.
            seed: Of solvers that draw; the one in use does not.

        Raises:
            CfbenchError: scikit-learn is not installed; features, labels or weights do not fit
                each other or are out of range; a task has clips of one class only.
        """
        try:
            from sklearn.linear_model import LogisticRegression
            from threadpoolctl import threadpool_limits  # scikit-learn depends on it
        except ModuleNotFoundError:
            raise CfbenchError("training needs scikit-learn", _INSTALL) from None
        settings = settings or FeatureSettings()
        class_weights = class_weights or {}
        _check_features(features, settings)
        if not labels:
            raise CfbenchError("training needs labels of at least one task", "see cfbench tasks")
        if not len(features):
            raise CfbenchError("training needs clips, and there is none")
        for task_id in (*labels, *class_weights):
            _check_task(task_id)
        for task_id in class_weights.keys() - labels.keys():
            hint = "give labels too, or leave the weights out"
            raise CfbenchError(f"{task_id}: class weights, but no labels", hint)
        if not (c > 0 and max_iter > 0):
            raise CfbenchError(f"c is {c} and max_iter {max_iter}: both must be above 0")

        mean = features.mean(axis=0, dtype=np.float64)
        scale = features.std(axis=0, dtype=np.float64)
        scale[scale < 1e-6] = 1.0
        standardised = (features - mean) / scale
        heads = {}
        for task_id in (task_id for task_id in TASK_IDS if task_id in labels):
            trained = _trained_classes(task_id, labels[task_id], len(features))
            weights = _checked_weights(task_id, class_weights.get(task_id))
            model = LogisticRegression(
                C=c,
                class_weight={int(index): weights[index] for index in trained},
                # Down to the one optimum: where a solver gives up before it, the last digits of
                # sums, which differ from one processor to the next, decide on clips.
                solver="newton-cg",
                tol=_TOLERANCE,
                max_iter=max_iter,
                random_state=seed,
            )
            # Sums over threads would differ in the last digits from one machine to the next.
            with threadpool_limits(limits=1):
                model.fit(standardised, labels[task_id])
            weight, bias = model.coef_, model.intercept_
            if trained.size == 2:  # scikit-learn keeps the second class's advantage only
                weight, bias = np.vstack((0 * weight, weight)), np.append(0 * bias, bias)
            # Products differ in the last digits with the order in memory, which files do not keep.
            heads[task_id] = Head(trained, np.ascontiguousarray(weight), bias)
        return cls(mean, scale, heads, settings)

    def probabilities(self, waves: NDArray[Any]) -> dict[str, Floats]:
        """The probability of each class; needs numpy only.

        Args:
            waves: (clips, samples), floating point, at the rate of `settings`.

        Returns:
            For each task (clips, classes) in the order of `load_tasks()[task].class_names`; rows
            sum to 1, and a class that was not in training has 0.

        Raises:
            CfbenchError: As `features`.
        """
        return self.probabilities_of_features(features(waves, self.settings))

    def probabilities_of_features(self, features: NDArray[Any]) -> dict[str, Floats]:
        """As `probabilities`, for features that are made already: (clips, dims).

        Raises:
            CfbenchError: The features are not of this shape, or not finite.
        """
        _check_features(features, self.settings)
        standardised = (features - self.mean) / self.scale
        found = {}
        for task_id, head in self.heads.items():
            # A product for each row: of one for all, the last digits would hang on their number.
            logits = (head.weight @ standardised[:, :, None])[:, :, 0] + head.bias
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            found[task_id] = np.zeros((len(features), len(load_tasks()[task_id].classes)))
            found[task_id][:, head.trained] = odds / odds.sum(axis=1, keepdims=True)
        return found

    def save_pretrained(self, folder: Path) -> None:
        """Write `config.json` and `model.safetensors` into a folder, which is made if need be.

        Raises:
            CfbenchError: safetensors is not installed, or the folder cannot be written to.
        """
        try:
            from safetensors.numpy import save
        except ModuleNotFoundError:
            raise CfbenchError("saving a model needs safetensors", _INSTALL) from None
        tensors = {"mean": self.mean, "scale": self.scale}
        tasks = {}
        for task_id, head in self.heads.items():
            names = load_tasks()[task_id].class_names
            tensors |= {f"{task_id}.weight": head.weight, f"{task_id}.bias": head.bias}
            tasks[task_id] = {"classes": names, "trained": [names[i] for i in head.trained]}
        config = {
            "model_type": MODEL_TYPE,
            "version": _VERSION,
            "features": asdict(self.settings),
            "tasks": tasks,
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CfbenchError(f"{folder}: cannot be made: {error.strerror}") from None
        # safetensors writes memory as it lies: an array in another order would be scrambled.
        content = save({name: np.ascontiguousarray(array) for name, array in tensors.items()})
        write_atomically(folder / _WEIGHTS, lambda path: path.write_bytes(content))
        write_text(folder / _CONFIG, json.dumps(config, indent=2, sort_keys=True) + "\n")

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Read what `save_pretrained` wrote.

        Raises:
            CfbenchError: safetensors is not installed; a file is missing, broken or of another
                kind of model; its tasks, classes or shapes are not those of this cfbench.
        """
        config = _read_config(folder / _CONFIG)
        try:
            settings = FeatureSettings(**config.features.model_dump())
        except CfbenchError as error:
            raise CfbenchError(f"{folder / _CONFIG}: {error}") from None
        shapes: dict[str, tuple[int, ...]] = {"mean": (settings.dims,), "scale": (settings.dims,)}
        for task_id, task in config.tasks.items():
            shapes[f"{task_id}.weight"] = (len(task.trained), settings.dims)
            shapes[f"{task_id}.bias"] = (len(task.trained),)
        tensors = _read_tensors(folder / _WEIGHTS, shapes)
        heads = {}
        for task_id in (task_id for task_id in TASK_IDS if task_id in config.tasks):
            names = load_tasks()[task_id].class_names
            trained = np.array([names.index(name) for name in config.tasks[task_id].trained])
            heads[task_id] = Head(trained, tensors[f"{task_id}.weight"], tensors[f"{task_id}.bias"])
        return cls(tensors["mean"], tensors["scale"], heads, settings)


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Features(_Record):
    rate: int
    n_fft: int
    hop: int
    n_mels: int
    n_bands: int
    samples: int


class _Task(_Record):
    classes: list[str]
    trained: list[str]


class _Config(_Record):
    model_type: str
    version: int
    features: _Features
    tasks: dict[str, _Task]


def _check_features(features: NDArray[Any], settings: FeatureSettings) -> None:
    if features.ndim != 2 or features.shape[1] != settings.dims:
        raise CfbenchError(
            f"features of shape {features.shape}, not (clips, {settings.dims})",
            "make them with features(waves, settings) and the settings of the model",
        )
    check_finite(features, "features")


def _check_task(task_id: str, where: str = "") -> None:
    if task_id not in TASK_IDS:
        raise CfbenchError(
            f"{where}there is no task '{clip(task_id)}'{did_you_mean(task_id, TASK_IDS)}",
            f"tasks are {', '.join(TASK_IDS)}",
        )


def _trained_classes(task_id: str, labels: NDArray[Any], clips: int) -> NDArray[np.int64]:
    names = load_tasks()[task_id].class_names
    if labels.shape != (clips,) or not np.issubdtype(labels.dtype, np.integer):
        raise CfbenchError(
            f"{task_id}: labels of shape {labels.shape} and type {labels.dtype} "
            f"for {clips:,} clips",
            "give the index of a class for each clip",
        )
    trained = np.unique(labels).astype(np.int64)
    outside = trained[(trained < 0) | (trained >= len(names))]
    if outside.size:
        raise CfbenchError(
            f"{task_id}: no class has the index {name_some(outside.tolist())}",
            f"classes from 0: {', '.join(names)}",
        )
    if trained.size < 2:
        raise CfbenchError(
            f"{task_id}: all of the {clips:,} clips to train on are '{names[trained[0]]}'",
            "train on clips of two classes at least, or leave this task out",
        )
    return trained


def _checked_weights(task_id: str, weights: Sequence[float] | None) -> list[float]:
    names = load_tasks()[task_id].class_names
    given = [1.0] * len(names) if weights is None else [float(weight) for weight in weights]
    if len(given) != len(names) or not all(0 < weight < np.inf for weight in given):
        raise CfbenchError(
            f"{task_id}: class weights {clip(str(given))}",
            f"give a number above 0 for each of {', '.join(names)}",
        )
    return given


def _read_config(path: Path) -> _Config:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CfbenchError(
            f"{path}: cannot be read: {error.strerror}", "name the folder of a saved model"
        ) from None
    except (ValueError, RecursionError) as error:
        raise CfbenchError(f"{path}: not JSON: {error}", "save the model again") from None
    kind = raw.get("model_type") if isinstance(raw, dict) else None
    if kind != MODEL_TYPE:
        raise CfbenchError(
            f'{path}: model_type is {clip(json.dumps(kind))}, not "{MODEL_TYPE}"',
            "this is another kind of model",
        )
    if raw.get("version") != _VERSION:
        raise CfbenchError(
            f"{path}: version is {clip(json.dumps(raw.get('version')))}, not {_VERSION}",
            "update cfbench, or train the model again",
        )
    try:
        config = _Config.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        at = clip(".".join(str(part) for part in first["loc"]))
        raise CfbenchError(f"{path}: {at}: {first['msg']}", "save the model again") from None
    if not config.tasks:
        raise CfbenchError(f"{path}: tasks: there is none", "save the model again")
    for task_id, task in config.tasks.items():
        _check_task(task_id, f"{path}: ")
        names = load_tasks()[task_id].class_names
        if tuple(task.classes) != names:
            raise CfbenchError(
                f"{path}: {task_id}: the classes are {clip(', '.join(task.classes))}, "
                f"and those of the task {', '.join(names)}",
                "train the model again with this version of cfbench",
            )
        if len(task.trained) < 2 or task.trained != [n for n in names if n in task.trained]:
            raise CfbenchError(
                f"{path}: {task_id}: the trained classes are {clip(', '.join(task.trained))}, "
                f"not two or more of {', '.join(names)} in this order",
                "save the model again",
            )
    return config


def _read_tensors(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Floats]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load
    except ModuleNotFoundError:
        raise CfbenchError("reading a model needs safetensors", _INSTALL) from None
    try:
        tensors = load(path.read_bytes())
    except OSError as error:
        raise CfbenchError(
            f"{path}: cannot be read: {error.strerror}", "copy the whole folder of the model"
        ) from None
    # A type that numpy does not have is a KeyError.
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        hint = "copy it again, or save the model again"
        raise CfbenchError(f"{path}: not a safetensors file: {clip(str(error))}", hint) from None
    hint = f"{_CONFIG} and {_WEIGHTS} are not of the same model: copy or save both again"
    for name in sorted(shapes.keys() ^ tensors.keys()):
        state = "is missing" if name in shapes else "is not of this model"
        raise CfbenchError(f"{path}: tensor '{clip(name)}' {state}", hint)
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tensor.shape != shape or tensor.dtype != np.float64:
            raise CfbenchError(
                f"{path}: tensor '{name}' is {tensor.dtype} of shape {tensor.shape}, "
                f"not float64 of shape {shape}",
                hint,
            )
        if not np.isfinite(tensor).all() or (name == "scale" and not (tensor > 0).all()):
            raise CfbenchError(
                f"{path}: tensor '{name}' has numbers that cannot be used", "train the model again"
            )
    return tensors
