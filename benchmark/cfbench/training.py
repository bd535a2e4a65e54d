"""Training a Wav2Vec2-AASIST by a recipe: interrupted and resumed as if it had not been.

Everything random is drawn from the recipe's seed: which utterances an epoch has, their order and
their augmentation by themselves, dropout from torch's generator, whose state is kept. Several
processes (Hugging Face accelerate) share each batch: statistics of batch normalisation and the
weights of the loss are those of the whole batch, so that, dropout apart, they train what one would.
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from numpy.typing import NDArray
from torch import Tensor
from transformers import get_scheduler

from cfbench.checkpoints import (
    clean_up,
    load_state,
    random_state,
    replace_folder,
    run_digest,
    save_state,
    set_random_state,
)
from cfbench.clips import Augment, Clips, load
from cfbench.curves import Curves, require_tracker
from cfbench.errors import CfbenchError, plural
from cfbench.evaluation import evaluate, refuse_failed
from cfbench.files import write_text
from cfbench.material import Material, Progress, class_indices
from cfbench.models.batch_norm import share_batch_norm
from cfbench.predictor import HALVES, state_digest
from cfbench.pretraining import teach
from cfbench.processes import this_process
from cfbench.recipes import Recipe, Training
from cfbench.sampling import Draw, draw, epoch_order
from cfbench.untrained import build

DEV_EPOCH = 1_000_000
"""Stands for the epoch where development clips are augmented, so that every pass is the same."""


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
        weights: Where the front end's weights are, if not where the recipe says.
        cpu: Whether to leave a GPU alone.
        workers: Processes that decode and augment, for each training process.
        report: Called when training begins or goes on, after each step, each batch of an
            evaluation, and each epoch; by the first of several processes.

    Returns:
        The folder of the model of the best epoch.

    Raises:
        CfbenchError: A clip cannot be decoded, the loss is no number, or `folder` holds the
            checkpoints of another run.
    """
    threads = torch.get_num_threads()
    try:
        return _Run(recipe, material, folder, weights, cpu, workers, report).train()
    finally:
        torch.set_num_threads(threads)


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
        self.accelerator = _accelerator(self.how, folder, cpu)
        self.device = self.accelerator.device
        self.world, self.rank = self.accelerator.num_processes, self.accelerator.process_index
        if self.how.batch_size % (self.world * self.how.accumulate):
            raise CfbenchError(
                f"batch_size {self.how.batch_size} cannot be shared by "
                f"{plural(self.world, 'process|processes')} in "
                f"{plural(self.how.accumulate, 'part')}",
                f"choose a multiple of {self.world * self.how.accumulate}: "
                "--set training.batch_size=...",
            )
        if self.how.threads and self.device.type == "cpu":
            torch.set_num_threads(self.how.threads)
        given = weights or recipe.model.front_end.weights
        if recipe.pretraining.steps and not given:
            given = weights = self._taught_front_end()
        # All processes begin with the same weights, and then drop out on their own.
        torch.manual_seed(self.how.seed)
        self.model = build(recipe, weights)
        torch.manual_seed(self.how.seed + self.rank)
        start = state_digest(self.model.front_end) if given else ""
        self.digest = run_digest(recipe, material, start)
        self._prepare()
        drawn, order = self._rows(0)
        self.epoch_steps, self.notes = order.shape[0], drawn.notes
        self.steps = self.epoch_steps * self.how.epochs
        # transformers' "constant" has no warm-up.
        name = "constant_with_warmup" if self.how.schedule == "constant" else self.how.schedule
        self.scheduler = get_scheduler(
            name, self.optimizer.optimizer, self.how.warmup_steps, self.steps
        )
        self.step = 0
        self.curves = Curves(self.accelerator, folder, recipe.name)
        self.best: dict[str, float] | None = None

    def _taught_front_end(self) -> str:
        """Where the pre-trained front end is; one process teaches it, the others wait."""

        def tell(step: int) -> None:
            if self.accelerator.is_main_process:
                steps = self.recipe.pretraining.steps
                phase = "pre-training the front end"
                self.report(Progress(step, steps, 0, self.how.epochs, {}, phase=phase))

        with self.accelerator.main_process_first():
            taught = teach(self.recipe, self.material, self.folder, self.device, self.workers, tell)
        return str(taught)

    def _prepare(self) -> None:
        """Freeze what is to be frozen, make the optimiser, and let the processes share."""
        model = self.model
        if self.how.freeze_front_end:
            model.front_end.requires_grad_(False)
            model.front_end.feature_extractor._freeze_parameters()
        if self.how.gradient_checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": False})
        if self.world > 1:
            share_batch_norm(model)
        optimizer = torch.optim.Adam(
            [value for value in model.parameters() if value.requires_grad],
            lr=self.how.learning_rate,
            weight_decay=self.how.weight_decay,
        )
        self.wrapped, self.optimizer = self.accelerator.prepare(model, optimizer)

    def train(self) -> Path:
        final = self.folder / "model"
        if self.accelerator.is_main_process:
            self.folder.mkdir(parents=True, exist_ok=True)
            clean_up(self.folder)
        self.accelerator.wait_for_everyone()
        if self._is_finished(final):
            self.step = self.steps
            self._tell({}, resumed=True, notes=self.notes)
            return final
        resumed = self._resume()
        self._tell({}, resumed=resumed, notes=self.notes)
        owed = self._owes_evaluation()
        if owed or self.step < self.steps:
            self.curves.start(self.step if owed else self.step + 1)
            try:
                # Interrupted between an epoch's last step and its evaluation: it is ended now.
                if owed:
                    self._end_epoch(self.step // self.epoch_steps - 1)
                while self.step < self.steps:
                    self._epoch(self.step // self.epoch_steps)
            finally:
                self.curves.finish()
        if self.accelerator.is_main_process:
            self._finish(final)
        self.accelerator.wait_for_everyone()
        return final

    def _epoch(self, epoch: int) -> None:
        drawn, order = self._rows(epoch)
        utt_ids = drawn.frame["utt_id"].to_list()
        labels = class_indices(drawn.frame, self.recipe.model.tasks)
        how = self.recipe.augmentation
        augmented = Augment(how.rawboost, self.how.seed, epoch, how.crop)
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
        pin = self.device.type == "cuda"
        losses: list[float] = []
        for index, batch in enumerate(load(clips, batches, self.workers, pin)):
            refuse_failed(batch)
            last = (index + 1) % parts == 0
            targets = {task_id: values[batch.rows] for task_id, values in labels.items()}
            losses.append(self._backward(batch.waveforms, targets, parts, last))
            if last:
                self._update(sum(losses[-parts:]), epoch)
                if self.step % self.how.checkpoint_every == 0:
                    self._save()
        if self.step % self.how.checkpoint_every:
            # A development clip that cannot be read must not cost the epoch.
            self._save()
        self._end_epoch(epoch)

    def _backward(
        self, waveforms: Tensor, targets: Mapping[str, NDArray[np.int64]], parts: int, last: bool
    ) -> float:
        labels = {
            task_id: torch.from_numpy(rows).to(self.device) for task_id, rows in targets.items()
        }
        # Gradients of the processes are averaged once, with the last part.
        with self.accelerator.no_sync(self.wrapped) if not last else nullcontext():
            logits = self.wrapped(waveforms.to(self.device, non_blocking=True)).logits
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
            where = f"step {self.step + 1:,} of {self.steps:,}"
            raise CfbenchError(f"{where}: the loss is {loss}", self._way_out)
        rate = self.scheduler.get_last_lr()[0]
        if self.how.clip_norm:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.how.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.scheduler.step()
        self.step += 1
        self._log({"train_loss": loss, "learning_rate": rate}, epoch)

    @property
    def _way_out(self) -> str:
        return (
            "train with a smaller learning rate, with warm-up steps, or in bf16 instead of fp16, "
            f"into another folder; {self.folder} keeps the curves and the last checkpoint"
        )

    def _end_epoch(self, epoch: int) -> None:
        values = self._evaluate()
        if not math.isfinite(values["dev_loss"]):
            where = f"epoch {epoch + 1} of {self.how.epochs}, development set"
            raise CfbenchError(f"{where}: the loss is {values['dev_loss']}", self._way_out)
        select = self.how.select
        value = values[f"dev_{select}"]
        better = self.best is None or (
            value < self.best["value"] if select == "loss" else value > self.best["value"]
        )
        if self.best is None or better:
            self.best = {"epoch": epoch, "value": value}
        self._log(values, epoch)
        if self.accelerator.is_main_process and (better or self.how.keep == "all"):
            replace_folder(self._epoch_folder(epoch), self._write_model)
        self._save()
        if self.accelerator.is_main_process and self.how.keep == "best":
            for folder in self.folder.glob("epoch-*"):
                if folder != self._epoch_folder(int(self.best["epoch"])):
                    shutil.rmtree(folder)

    def _write_model(self, folder: Path) -> None:
        weights = self.model.state_dict()
        half = HALVES.get(self.how.weights)
        if half is not None:
            whole = {key: value for key, value in weights.items() if value.is_floating_point()}
            rounded = {key: value.to(half) for key, value in whole.items()}
            for key, value in rounded.items():
                if (value.isinf() & whole[key].isfinite()).any():
                    raise CfbenchError(
                        f"{key}: has a weight that is too large for {self.how.weights}",
                        "train with --set training.weights=bf16, into another folder",
                    )
            weights = weights | rounded
        self.model.save_pretrained(folder, state_dict=weights)

    def _evaluate(self) -> dict[str, float]:
        dev = self.material.dev
        algorithm = self.recipe.augmentation.rawboost if self.recipe.augmentation.dev else 0
        augmented = Augment(algorithm, self.how.seed, DEV_EPOCH)
        said = f"of {plural(dev.height, 'clip')}"
        return evaluate(
            self.model,
            self._clips(dev["utt_id"].to_list(), augmented, self.recipe.data.windows),
            class_indices(dev, self.recipe.model.tasks),
            self.accelerator,
            self.how.batch_size,
            self.workers,
            lambda done: self._tell({}, doing=f"evaluating {done:,} {said}"),
        )

    def _train_mode(self) -> None:
        self.wrapped.train()
        if self.how.freeze_front_end:
            self.model.front_end.eval()

    def _rows(self, epoch: int) -> tuple[Draw, NDArray[np.int64]]:
        """The utterances of an epoch, and their order in steps."""
        data, seed = self.recipe.data, self.how.seed
        drawn = draw(self.material.train, data.balance, seed, epoch if data.redraw else 0)
        return drawn, epoch_order(drawn.frame.height, self.how.batch_size, seed, epoch)

    def _clips(self, utt_ids: Sequence[str], augmented: Augment, windows: int = 1) -> Clips:
        paths = [self.material.paths[utt_id] for utt_id in utt_ids]
        return Clips(utt_ids, paths, self.recipe.data.samples, augmented, windows)

    def _log(self, numbers: dict[str, float], epoch: int) -> None:
        self.curves.add({"step": self.step, "epoch": epoch, **numbers})
        self._tell(numbers)

    def _tell(
        self,
        numbers: Mapping[str, float],
        doing: str = "",
        resumed: bool = False,
        notes: Sequence[str] = (),
    ) -> None:
        if self.accelerator.is_main_process:
            # The epoch of the last step; before the first step, the first.
            epoch = max(self.step - 1, 0) // self.epoch_steps
            at = (self.step, self.steps, epoch, self.how.epochs)
            self.report(Progress(*at, numbers, doing, resumed, notes))

    @property
    def _state_path(self) -> Path:
        return self.folder / "last.pt"

    def _epoch_folder(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:03d}"

    def _save(self) -> None:
        states = gather_object([random_state()])
        if not self.accelerator.is_main_process:
            return
        # First, lest the last lines be lacking for good: what they are ahead is written again.
        self.curves.write()
        state = {
            "digest": self.digest,
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
            "random": states,
            "best": self.best,
            "curves": self.curves.lines,
        }
        save_state(self._state_path, state)

    def _resume(self) -> bool:
        state = load_state(self._state_path, self.digest)
        if state is None:
            return False
        if state["step"] > self.steps:
            raise CfbenchError(
                f"{self._state_path}: has {state['step']:,} steps, the recipe asks for "
                f"{self.steps:,}",
                "give it as many epochs as it has or more, or name another folder",
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step, self.best, self.curves.lines = state["step"], state["best"], state["curves"]
        if len(state["random"]) == self.world:
            set_random_state(state["random"][self.rank])
        else:
            # Another number of processes drops out other values.
            torch.manual_seed(self.how.seed + self.rank + 1000 * self.step)
        return True

    def _owes_evaluation(self) -> bool:
        """Whether the last step was an epoch's last, and the epoch has not been evaluated."""
        ended = sum("dev_loss" in line for line in self.curves.lines)
        return ended < self.step // self.epoch_steps

    def _of_best(self) -> dict[str, Any]:
        return {**(self.best or {}), "steps": self.steps, "digest": self.digest}

    def _is_finished(self, final: Path) -> bool:
        """Whether a model is there without the checkpoint that it came from, which may be removed.

        Raises:
            CfbenchError: It is another recipe's, or there is more to train.
        """
        if self._state_path.exists() or not final.is_dir():
            return False
        try:
            said = json.loads((self.folder / "best.json").read_text(encoding="utf-8"))
            same = (said["steps"], said["digest"]) == (self.steps, self.digest)
        except (OSError, ValueError, KeyError, TypeError):
            same = False
        if not same:
            raise CfbenchError(
                f"{final}: a trained model, without a checkpoint to go on from by this recipe",
                "name another folder, or remove this one",
            )
        return True

    def _finish(self, final: Path) -> None:
        """Make `model/` of the best epoch, unless it is; what it is made of may be gone then."""
        assert self.best is not None  # noqa: S101  # an epoch has ended
        said, note = json.dumps(self._of_best()) + "\n", self.folder / "best.json"
        best = self._epoch_folder(int(self.best["epoch"]))
        if final.is_dir() and self._is_of_best(note):
            # A longer run may have found nothing better than the shorter one before it.
            if note.read_text(encoding="utf-8") != said:
                write_text(note, said)
        else:
            if not best.is_dir():
                raise CfbenchError(
                    f"{best}: the model of the best epoch is gone",
                    f"remove {self.folder} to train again from the beginning",
                )
            replace_folder(final, lambda place: shutil.copytree(best, place, dirs_exist_ok=True))
            write_text(note, said)
        if self.how.keep == "best":
            for folder in self.folder.glob("epoch-*"):
                shutil.rmtree(folder)

    def _is_of_best(self, note: Path) -> bool:
        """Whether the note beside `model/` says that it is the model of the best epoch."""
        try:
            told = json.loads(note.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return isinstance(told, dict) and told | {"steps": self.steps} == self._of_best()


def _accelerator(how: Training, folder: Path, cpu: bool) -> Any:
    on_cpu = this_process(cpu).device.type == "cpu"
    if how.precision == "fp16" and on_cpu:
        raise CfbenchError("training in fp16 needs a GPU", "--set training.precision=bf16")
    require_tracker(how.curves)
    return Accelerator(
        mixed_precision="no" if how.precision == "fp32" else how.precision,
        cpu=on_cpu,
        step_scheduler_with_optimizer=False,
        log_with=None if how.curves == "none" else how.curves,
        project_dir=folder,
    )
