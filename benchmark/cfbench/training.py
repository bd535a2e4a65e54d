"""Training a Wav2Vec2-AASIST by a recipe: interrupted and resumed as if it had not been.

Everything random is drawn from the recipe's seed: which utterances an epoch has, their order and
their augmentation by themselves, dropout from torch's generator, whose state is kept. Several
processes (Hugging Face accelerate) share each batch: statistics of batch normalisation and the
weights of the loss are those of the whole batch, so that, dropout apart, they train what one would.
"""

import hashlib
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor
from transformers import Wav2Vec2Config, Wav2Vec2Model, get_scheduler

from cfbench.clips import Augment, Clips, load
from cfbench.errors import CfbenchError, did_you_mean, name_some, plural
from cfbench.files import write_atomically, write_text
from cfbench.metrics.confusion import confusion_matrix, macro_f1
from cfbench.models import authors
from cfbench.models.batch_norm import share_batch_norm
from cfbench.models.wav2vec2_aasist import (
    NO_MASKING,
    XLSR_300M,
    Wav2Vec2Aasist,
    Wav2Vec2AasistConfig,
)
from cfbench.processes import PATIENCE
from cfbench.recipes import Recipe
from cfbench.sampling import draw, epoch_order
from cfbench.tasks import load_tasks

XLSR = "facebook/wav2vec2-xls-r-300m"
"""The id on the Hub of the reference system's front end."""

DEV_EPOCH = 1_000_000
"""Stands for the epoch where development clips are augmented, so that every pass is the same."""


@dataclass(frozen=True)
class Material:
    """What a model is trained on.

    Attributes:
        train: Rows of a protocol: the pool from which epochs are drawn.
        dev: Rows of a protocol on which the best epoch is chosen.
        paths: The audio file of every utterance of both.
    """

    train: pl.DataFrame
    dev: pl.DataFrame
    paths: Mapping[str, Path]


@dataclass(frozen=True)
class Progress:
    """Where training stands; given to `train`'s callback after each step and each epoch.

    Attributes:
        step: Steps done, of `steps`.
        epoch: The epoch, from 0, of `epochs`.
        numbers: The step's loss ("train_loss"), or the epoch's values on the development set
            ("dev_loss", "dev_macro_f1").
        resumed: Whether these steps were done by an earlier call.
    """

    step: int
    steps: int
    epoch: int
    epochs: int
    numbers: Mapping[str, float]
    resumed: bool = False


def _check_settings(settings: Mapping[str, Any]) -> None:
    known = list(Wav2Vec2Config().to_dict())
    for name in settings:
        if name not in known:
            raise CfbenchError(
                f"model.front_end.config: Wav2Vec2Config has no '{name}'"
                f"{did_you_mean(name, known)}",
                "the settings are those of transformers' Wav2Vec2Config",
            )


def front_end_config(recipe: Recipe, weights: str | None = None) -> Wav2Vec2Config | None:
    """The configuration of a recipe's front end, as far as it is known without a download.

    Args:
        recipe: Of a Wav2Vec2-AASIST.
        weights: See `build`.

    Returns:
        The configuration; None where it comes with weights that have not been downloaded.

    Raises:
        CfbenchError: The recipe has a setting that there is not.
    """
    wanted = recipe.model.front_end
    _check_settings(wanted.config)
    place = weights or wanted.weights
    settings = {**wanted.config, **NO_MASKING}
    if not place:
        return Wav2Vec2Config(**settings)
    if place == XLSR or Path(place).name.startswith("xlsr2_300m"):
        return Wav2Vec2Config(**{**XLSR_300M, **settings})
    try:
        return Wav2Vec2Config.from_pretrained(place, local_files_only=True, **settings)
    except (OSError, ValueError):
        return None


def count_parameters(recipe: Recipe, weights: str | None = None) -> int | None:
    """How many parameters a recipe's model has; None where that takes a download to know."""
    config = front_end_config(recipe, weights)
    if config is None:
        return None
    with torch.device("meta"):
        model = Wav2Vec2Aasist(Wav2Vec2AasistConfig(config, recipe.model.tasks))
    return sum(value.numel() for value in model.parameters())


def build(recipe: Recipe, weights: str | None = None) -> Wav2Vec2Aasist:
    """The model of a recipe, before it is trained.

    Args:
        recipe: Of a Wav2Vec2-AASIST.
        weights: Where the front end's weights are, if not where the recipe says: an id on the
            Hub, a folder, or a checkpoint of fairseq.

    Raises:
        CfbenchError: The front end cannot be loaded.
    """
    wanted = recipe.model.front_end
    _check_settings(wanted.config)
    place = weights or wanted.weights
    settings = {**wanted.config, **NO_MASKING}
    front_end: Wav2Vec2Model | None = None
    if not place:
        config = Wav2Vec2Config(**settings)
    elif authors.is_fairseq(place):
        front_end = authors.read_fairseq(place, settings)
    else:
        front_end = _load_front_end(place, settings)
    if front_end is not None:
        config = front_end.config
    model = Wav2Vec2Aasist(
        Wav2Vec2AasistConfig(
            front_end=config,
            tasks=recipe.model.tasks,
            class_weights=class_weights(recipe),
            learned_task_weights=recipe.training.learned_task_weights,
            dropouts=recipe.model.dropouts,
            samples=recipe.data.samples,
        )
    )
    if front_end is not None:
        model.front_end.load_state_dict(front_end.state_dict())
    return model


def _load_front_end(place: str, settings: Mapping[str, Any]) -> Wav2Vec2Model:
    try:
        loaded: Any = Wav2Vec2Model.from_pretrained(place, output_loading_info=True, **settings)
    except (OSError, ValueError, RuntimeError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CfbenchError(
            f"{place}: the front end cannot be loaded: {reason}",
            "give an id on the Hub, a folder that transformers wrote, or a checkpoint of fairseq "
            "(.pt): --front-end",
        ) from None
    model, info = loaded
    if info["missing_keys"] or info["mismatched_keys"]:
        absent = [*sorted(info["missing_keys"]), *map(str, info["mismatched_keys"])]
        raise CfbenchError(
            f"{place}: no weights of a Wav2Vec2 model for {name_some(absent)}",
            "a front end that would start at random must be asked for: leave its weights empty",
        )
    return model


def train(
    recipe: Recipe,
    material: Material,
    folder: Path,
    *,
    weights: str | None = None,
    cpu: bool = False,
    workers: int = 1,
    report: Callable[[Progress], None] = lambda progress: None,
) -> Path:
    """Train, or go on where an earlier call was interrupted.

    Args:
        recipe: What and how.
        material: On what.
        folder: Where checkpoints and learning curves are kept.
        weights: See `build`.
        cpu: Whether to leave a GPU alone.
        workers: Processes that decode and augment, for each training process.
        report: Called after each step and each epoch.

    Returns:
        The folder of the model of the best epoch.

    Raises:
        CfbenchError: A clip cannot be decoded, the loss is no number, or `folder` holds the
            checkpoints of another run.
    """
    return _Run(recipe, material, folder, weights, cpu, workers, report).train()


class _Run:
    def __init__(
        self,
        recipe: Recipe,
        material: Material,
        folder: Path,
        weights: str | None,
        cpu: bool,
        workers: int,
        report: Callable[[Progress], None],
    ) -> None:
        self.recipe, self.how = recipe, recipe.training
        self.material, self.folder = material, folder
        self.workers, self.report = workers, report
        precision = "no" if self.how.precision == "fp32" else self.how.precision
        self.accelerator = Accelerator(
            mixed_precision=precision,
            cpu=cpu,
            step_scheduler_with_optimizer=False,
            log_with=None if self.how.curves == "none" else self.how.curves,
            project_dir=folder,
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
        )
        self.world, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        if self.how.batch_size % (self.world * self.how.accumulate):
            raise CfbenchError(
                f"batch_size {self.how.batch_size} cannot be shared by {self.world} processes in "
                f"{self.how.accumulate} parts",
                "choose a multiple of both: --set training.batch_size=...",
            )
        # All processes begin with the same weights, and then drop out on their own.
        torch.manual_seed(self.how.seed)
        model = build(recipe, weights)
        torch.manual_seed(self.how.seed + self.rank)
        if self.how.freeze_front_end:
            model.front_end.requires_grad_(False)
            model.front_end.feature_extractor._freeze_parameters()
        if self.how.gradient_checkpointing:
            model.gradient_checkpointing_enable({"use_reentrant": False})
        if self.world > 1:
            share_batch_norm(model)
        self.model = model
        learned = [value for value in model.parameters() if value.requires_grad]
        optimizer = torch.optim.Adam(
            learned, lr=self.how.learning_rate, weight_decay=self.how.weight_decay
        )
        self.wrapped, self.optimizer = self.accelerator.prepare(model, optimizer)
        self.epoch_steps = self._rows(0)[1].shape[0]
        self.steps = self.epoch_steps * self.how.epochs
        self.scheduler = get_scheduler(
            self.how.schedule, optimizer, self.how.warmup_steps, self.steps
        )
        self.step = 0
        self.curves: list[dict[str, float]] = []
        self.best: dict[str, float] | None = None

    def train(self) -> Path:
        final = self.folder / "model"
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
        self.accelerator.wait_for_everyone()
        self._resume()
        if self.step == self.steps and final.is_dir():
            return final
        self._start_curves()
        while self.step < self.steps:
            self._epoch(self.step // self.epoch_steps)
        if self.accelerator.is_main_process:
            self._finish(final)
        self.accelerator.end_training()
        self.accelerator.wait_for_everyone()
        return final

    def _epoch(self, epoch: int) -> None:
        drawn, order = self._rows(epoch)
        utt_ids = drawn["utt_id"].to_list()
        labels = class_indices(drawn, self.recipe.model.tasks)
        augmented = Augment(self.recipe.augmentation.rawboost, self.how.seed, epoch)
        clips = self._clips(utt_ids, augmented)
        done = self.step - epoch * self.epoch_steps
        parts = self.how.accumulate
        # Each step's clips are cut into parts, and each part is shared by the processes.
        batches = [
            rows[self.rank :: self.world].tolist()
            for step in order[done:]
            for rows in np.array_split(step, parts)
        ]
        self._train_mode()
        pin = self.accelerator.device.type == "cuda"
        losses: list[float] = []
        for index, batch in enumerate(load(clips, batches, self.workers, pin)):
            if batch.failed:
                problem = next(iter(batch.failed.values()))
                raise CfbenchError(
                    problem.message, f"{problem.hint}; then run again: training goes on here"
                )
            last = (index + 1) % parts == 0
            targets = {task_id: values[batch.rows] for task_id, values in labels.items()}
            losses.append(self._backward(batch.waveforms, targets, parts, last))
            if last:
                self._update(sum(losses[-parts:]), epoch)
                if self.step % self.how.checkpoint_every == 0:
                    self._save()
        self._end_epoch(epoch)

    def _backward(
        self, waveforms: Tensor, targets: Mapping[str, NDArray[np.int64]], parts: int, last: bool
    ) -> float:
        device = self.accelerator.device
        labels = {task_id: torch.from_numpy(rows).to(device) for task_id, rows in targets.items()}
        # Gradients of the processes are averaged once, with the last part.
        with self.accelerator.no_sync(self.wrapped) if not last else nullcontext():
            logits = self.wrapped(waveforms.to(device, non_blocking=True)).logits
            # Summed over the processes and averaged by them: the loss of the whole batch.
            loss, _ = self.model.loss(logits, labels, self._total_weight)
            self.accelerator.backward(loss / parts)
        whole = self.accelerator.reduce(loss.detach(), "mean") / parts
        return float(whole)

    def _total_weight(self, weight: Tensor) -> Tensor:
        if self.world == 1:
            return weight
        return self.accelerator.reduce(weight, "mean")

    def _update(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise CfbenchError(
                f"step {self.step + 1}: the loss is {loss}",
                f"{self.folder} holds the last checkpoint; a smaller learning rate, or bf16 "
                "instead of fp16, may help",
            )
        rate = self.scheduler.get_last_lr()[0]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        self.step += 1
        self._log({"train_loss": loss, "learning_rate": rate}, epoch)

    def _end_epoch(self, epoch: int) -> None:
        values = self.evaluate()
        select = self.how.select
        value = values[f"dev_{select}"]
        better = self.best is None or (
            value < self.best["value"] if select == "loss" else value > self.best["value"]
        )
        if self.best is None or better:
            self.best = {"epoch": epoch, "value": value}
        self._log(values, epoch)
        if self.accelerator.is_main_process and (better or self.how.keep == "all"):
            _replace_folder(self._epoch_folder(epoch), self.model.save_pretrained)
        self._save()
        if self.accelerator.is_main_process and self.how.keep == "best":
            for folder in self.folder.glob("epoch-*"):
                if folder != self._epoch_folder(int(self.best["epoch"])):
                    shutil.rmtree(folder)

    def evaluate(self) -> dict[str, float]:
        """Loss and macro-F1 on the development set: of all its clips, whoever computed them."""
        dev = self.material.dev
        utt_ids = dev["utt_id"].to_list()
        algorithm = self.recipe.augmentation.rawboost if self.recipe.augmentation.dev else 0
        clips = self._clips(utt_ids, Augment(algorithm, self.how.seed, DEV_EPOCH))
        size = self.how.batch_size
        batches = [
            list(range(start, min(start + size, len(utt_ids))))
            for start in range(0, len(utt_ids), size)
        ]
        answers: list[tuple[list[int], dict[str, Tensor]]] = []
        self.model.eval()
        device = self.accelerator.device
        for batch in load(clips, batches[self.rank :: self.world], self.workers, False):
            if batch.failed:
                problem = next(iter(batch.failed.values()))
                raise CfbenchError(problem.message, problem.hint)
            with torch.inference_mode(), self.accelerator.autocast():
                logits = self.model(batch.waveforms.to(device)).logits
            answers.append(
                (batch.rows.tolist(), {task: value.float().cpu() for task, value in logits.items()})
            )
        if self.world > 1:
            answers = gather_object(answers)
        rows = torch.tensor([row for part, _ in answers for row in part]).argsort()
        labels = class_indices(dev, self.recipe.model.tasks)
        whole = {
            task_id: torch.cat([part[task_id] for _, part in answers])[rows] for task_id in labels
        }
        with torch.inference_mode():
            loss, _ = self.model.loss(
                {task_id: value.to(device) for task_id, value in whole.items()},
                {task_id: torch.from_numpy(value).to(device) for task_id, value in labels.items()},
            )
        return {"dev_loss": float(loss), "dev_macro_f1": _mean_macro_f1(whole, labels)}

    def _train_mode(self) -> None:
        self.wrapped.train()
        if self.how.freeze_front_end:
            self.model.front_end.eval()

    def _rows(self, epoch: int) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """The utterances of an epoch, and their order in steps."""
        data = self.recipe.data
        drawn = draw(
            self.material.train, data.balance, self.how.seed, epoch if data.redraw else 0
        ).frame
        return drawn, epoch_order(drawn.height, self.how.batch_size, self.how.seed, epoch)

    def _clips(self, utt_ids: Sequence[str], augmented: Augment) -> Clips:
        paths = [self.material.paths[utt_id] for utt_id in utt_ids]
        return Clips(utt_ids, paths, self.recipe.data.samples, augmented)

    def _log(self, numbers: dict[str, float], epoch: int) -> None:
        self.curves.append({"step": self.step, "epoch": epoch, **numbers})
        if self.how.curves != "none":
            self.accelerator.log(numbers, step=self.step)
        self.report(Progress(self.step, self.steps, epoch, self.how.epochs, numbers))

    def _start_curves(self) -> None:
        if self.how.curves == "none":
            return
        # Steps after the checkpoint come again, and replace what an interrupted run has logged.
        extra = {"purge_step": self.step + 1} if self.how.curves == "tensorboard" else {}
        self.accelerator.init_trackers(
            self.recipe.name, init_kwargs={self.how.curves: extra} if extra else {}
        )

    @property
    def _state_path(self) -> Path:
        return self.folder / "last.pt"

    def _epoch_folder(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:03d}"

    def _digest(self) -> str:
        """The same for runs that may continue each other."""
        said = self.recipe.model_dump(mode="json")
        for key in ("name", "title", "description", "card", "track", "prediction", "logistic"):
            del said[key]
        for key in ("checkpoint_every", "curves", "keep"):
            del said["training"][key]
        if self.how.schedule == "constant":
            del said["training"]["epochs"]
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode())
        for frame in (self.material.train, self.material.dev):
            digest.update("\n".join(sorted(frame["utt_id"].to_list())).encode())
        return digest.hexdigest()

    def _save(self) -> None:
        states = gather_object([_random_state()])
        if not self.accelerator.is_main_process:
            return
        state = {
            "digest": self._digest(),
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
            "random": states,
            "best": self.best,
            "curves": self.curves,
        }
        write_atomically(self._state_path, lambda path: torch.save(state, path))
        lines = "".join(json.dumps(line) + "\n" for line in self.curves)
        write_text(self.folder / "curves.jsonl", lines)

    def _resume(self) -> None:
        if not self._state_path.is_file():
            return
        state = torch.load(self._state_path, map_location="cpu", weights_only=True)
        if state["digest"] != self._digest():
            raise CfbenchError(
                f"{self._state_path}: is of another recipe or other data",
                "name another folder, or remove this one",
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.best, self.curves = state["step"], state["best"], state["curves"]
        if len(state["random"]) == self.world:
            _set_random_state(state["random"][self.rank])
        else:
            # Another number of processes drops out other values.
            torch.manual_seed(self.how.seed + self.rank + 1000 * self.step)
        epoch = min(self.step // self.epoch_steps, self.how.epochs - 1)
        self.report(Progress(self.step, self.steps, epoch, self.how.epochs, {}, resumed=True))
        # Interrupted between its last step and its evaluation: the epoch is ended now.
        ended = sum("dev_loss" in line for line in self.curves)
        if self.step and ended < self.step // self.epoch_steps:
            self._end_epoch(self.step // self.epoch_steps - 1)

    def _finish(self, final: Path) -> None:
        assert self.best is not None  # noqa: S101  # an epoch has ended
        best = self._epoch_folder(int(self.best["epoch"]))
        if not best.is_dir():
            # A finished run was given more epochs, and none of them was better.
            return
        _replace_folder(final, lambda place: shutil.copytree(best, place, dirs_exist_ok=True))
        if self.how.keep == "best":
            shutil.rmtree(best)


def class_weights(recipe: Recipe) -> dict[str, Sequence[float]]:
    """The weights of the classes that a recipe gives, by task, of its own tasks."""
    given = recipe.training.class_weights
    return {task_id: given[task_id] for task_id in recipe.model.tasks if task_id in given}


def class_indices(frame: pl.DataFrame, tasks: Sequence[str]) -> dict[str, NDArray[np.int64]]:
    """The labels of a protocol's rows as class indices.

    Args:
        frame: Rows of a protocol.
        tasks: Ids of the tasks.

    Returns:
        By task, (rows,).

    Raises:
        CfbenchError: A row has no label for one of the tasks.
    """
    for task_id in tasks:
        without = frame.filter(pl.col(task_id).is_null())["utt_id"]
        if len(without):
            raise CfbenchError(
                f"{plural(len(without), 'utterance has|utterances have')} no label for {task_id}: "
                + name_some(without.head(5).to_list(), len(without)),
                "leave the task out of the recipe, or complete the protocol",
            )
    return {
        task_id: np.array(
            [load_tasks()[task_id].class_names.index(label) for label in frame[task_id]], np.int64
        )
        for task_id in tasks
    }


def _mean_macro_f1(logits: Mapping[str, Tensor], labels: Mapping[str, NDArray[np.int64]]) -> float:
    values = []
    for task_id, truth in labels.items():
        classes = len(load_tasks()[task_id].classes)
        answers = logits[task_id].argmax(dim=1).numpy()
        values.append(
            float(macro_f1(confusion_matrix(truth, answers, classes, classes).astype(np.float64)))
        )
    return float(np.mean(values))


def _random_state() -> dict[str, Any]:
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])


def _replace_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Write a folder under a temporary name beside it, then rename it."""
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        write(temporary)
        temporary.chmod(0o755)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
