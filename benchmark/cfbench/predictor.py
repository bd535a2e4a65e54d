"""A trained model that answers: loaded from a folder or the Hub, placed on a device.

Whatever the kind of model, waveforms go in and probabilities of each task's classes come out.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cfbench.errors import CfbenchError
from cfbench.models.framed import frame_convolutions
from cfbench.models.log_mel import MODEL_TYPE as LOG_MEL
from cfbench.models.log_mel import LogMelBaseline
from cfbench.models.quantized import quantized
from cfbench.models.wav2vec2_aasist import Wav2Vec2Aasist
from cfbench.predictions import softmax
from cfbench.recipes import PredictionPrecision as Precision
from cfbench.tasks import TRACING_IDS

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}


class Predictor(Protocol):
    """What `inference.predict` needs of a model.

    Attributes:
        tasks: The tasks that it answers.
        samples: The window at 16 kHz.
        windows: How many of a clip it hears for an answer.
        device: Where it computes.
    """

    tasks: tuple[str, ...]
    samples: int
    windows: int
    device: torch.device

    def __call__(self, waveforms: Tensor) -> dict[str, NDArray[np.float64]]:
        """Clips as `Clips` cuts them to probabilities by task, (B, classes)."""
        ...


class NeuralPredictor:
    """A Wav2Vec2-AASIST that answers.

    Args:
        model: In full precision; taken over: its front end is changed for speed.
        device: Where to compute.
        precision: Of the front end; encoder and branches stay in full precision.
        compile: Whether torch.compile makes the front end faster; it takes a minute to start.
    """

    def __init__(
        self,
        model: Wav2Vec2Aasist,
        device: torch.device,
        precision: Precision = "fp32",
        compile: bool = False,
    ) -> None:
        if precision == "int8" and device.type != "cpu":
            raise CfbenchError("int8 computes on the CPU only", "--precision bf16, or --device cpu")
        self.device = device
        self.samples: int = model.config.samples
        self.windows: int = model.config.windows
        self.half = HALVES.get(precision)
        _align(model)
        if device.type == "cpu" and self.half is None:
            frame_convolutions(model)
        if precision == "int8":
            model = quantized(model)
        answering: Any = model  # any: torch.compile makes something else of its front end
        answering.to(device).eval()
        if compile:
            answering.front_end = torch.compile(answering.front_end)
        self.model = answering
        self.answered = tuple(model.config.tasks)
        derived = set(TRACING_IDS) <= set(self.answered) and "bin" not in self.answered
        self.tasks = ("bin", *self.answered) if derived else self.answered

    def __call__(self, waveforms: Tensor) -> dict[str, NDArray[np.float64]]:
        """(B, samples) or (B, windows, samples) to probabilities by task, (B, classes)."""
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, dtype=self.half, enabled=self.half is not None),
        ):
            logits = self.model(waveforms.to(self.device, non_blocking=True)).logits
        answers = {
            task_id: softmax(logits[task_id].double().cpu().numpy().T).T
            for task_id in self.answered
        }
        return (
            {"bin": derive_bin(answers), **answers}
            if "bin" not in answers and ("bin" in self.tasks)
            else answers
        )


def _align(model: torch.nn.Module) -> None:
    """Move weights to where torch would put them.

    Where those of a file lie in memory differs from one process to the next, and a product of
    matrices that do not begin at a multiple of 64 bytes is rounded in another way.
    """
    for value in (*model.parameters(), *model.buffers()):
        value.data = value.data.clone()


class ClassicalPredictor:
    """A classical baseline that answers."""

    def __init__(self, model: LogMelBaseline) -> None:
        self.device = torch.device("cpu")
        self.model = model
        self.samples = model.settings.samples
        self.windows = 1
        self.tasks = tuple(model.tasks)

    def __call__(self, waveforms: Tensor) -> dict[str, NDArray[np.float64]]:
        """(B, samples) to probabilities by task, (B, classes)."""
        return self.model.probabilities(waveforms.numpy())


def derive_bin(answers: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Spoof detection by a system that answers the three tracing tasks only.

    Its spoof score is the geometric mean of the three probabilities that the clip is not bona fide
    (the authors' model M2).

    Args:
        answers: By task, (B, classes); class 0 is bona fide.

    Returns:
        (B, 2): spoof, bona fide.
    """
    spoof = np.prod([1 - answers[task_id][:, 0] for task_id in TRACING_IDS], axis=0) ** (1 / 3)
    return np.stack([spoof, 1 - spoof], axis=1)


def load_predictor(
    place: str, device: torch.device, precision: Precision = "fp32", compile: bool = False
) -> tuple[Predictor, dict[str, Any]]:
    """Load a trained model.

    Args:
        place: A folder, or the id of a repository on the Hub.
        device: Where to compute.
        precision: Of a neural front end.
        compile: See `NeuralPredictor`.

    Returns:
        The predictor, and what it is, as plain data: kind, place, digest of the weights.

    Raises:
        CfbenchError: There is no model, or one that cfbench does not know.
    """
    folder = Path(place)
    said: dict[str, Any]
    if folder.is_dir():
        kind = _kind(folder)
        if kind == LOG_MEL:
            if precision != "fp32" or compile:
                raise CfbenchError(
                    f"{place}: a classical baseline computes in fp32 only",
                    "leave out --precision and --compile",
                )
            classical = LogMelBaseline.from_pretrained(folder)
            said = {"kind": kind, "model": folder.resolve().name, "weights": _digest(folder)}
            return ClassicalPredictor(classical), said
        if kind != Wav2Vec2Aasist.config_class.model_type:
            raise CfbenchError(
                f"{place}: a model of type '{kind}'",
                f"cfbench predicts with {Wav2Vec2Aasist.config_class.model_type} and "
                f"{LOG_MEL}; predictions of other systems are scored as files",
            )
    elif folder.exists():
        raise CfbenchError(
            f"{place}: a file", "give a model's folder; cfbench convert-checkpoint makes one"
        )
    elif place.count("/") > 1 or folder.is_absolute() or place.startswith("."):
        raise CfbenchError(
            f"{place}: no such folder", "training leaves its model in train/model of the run"
        )
    model = load_neural(place)
    said = {
        "kind": model.config.model_type,
        "model": folder.resolve().name if folder.is_dir() else place,
        # Of the model as it is in the file: the predictor changes it for speed.
        "weights": state_digest(model),
        "samples": model.config.samples,
        "windows": model.config.windows,
        "precision": precision,
        "compile": compile,
    }
    return NeuralPredictor(model, device, precision, compile), said


def load_neural(place: str) -> Wav2Vec2Aasist:
    """A Wav2Vec2-AASIST from a folder or the Hub.

    Raises:
        CfbenchError: It is not there, not complete, or another model.
    """
    try:
        loaded: Any = Wav2Vec2Aasist.from_pretrained(
            place,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except CfbenchError:
        raise
    except Exception as error:  # a broken folder can raise anything
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CfbenchError(
            f"{place}: no model could be loaded: {reason}",
            "give the folder that training or convert-checkpoint has written, or the id of a "
            "repository on the Hub",
        ) from None
    model, info = loaded
    absent = sorted({*info["missing_keys"], *info["unexpected_keys"]})
    if absent or info["mismatched_keys"]:
        raise CfbenchError(
            f"{place}: its weights do not fit its configuration: "
            + ", ".join([*absent, *(str(key) for key in info["mismatched_keys"])][:5]),
            "the folder holds files of two models",
        )
    return model


def state_digest(model: torch.nn.Module) -> str:
    """The SHA-256 of a model's weights, whatever file they came from."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        digest.update(key.encode())
        digest.update(value.cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _kind(folder: Path) -> str:
    try:
        return str(json.loads((folder / "config.json").read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise CfbenchError(
            f"{folder}: holds no model: no config.json that names a model_type",
            "give the folder that training or convert-checkpoint has written",
        ) from None


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".json", ".safetensors"):
            digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()
