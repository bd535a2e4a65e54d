"""Wav2Vec2-AASIST: a self-supervised front end, a shared encoder, one graph branch a task.

The reference system of Chen et al., *Codec-Based Deepfake Source Tracing via Neural Audio Codec
Taxonomy*, Interspeech 2025, arXiv 2505.12994. A model of transformers like any other:
`from_pretrained`, `save_pretrained` and `push_to_hub` are its own.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from huggingface_hub.errors import StrictDataclassError
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel, Wav2Vec2Config, Wav2Vec2Model
from transformers.utils import logging
from transformers.utils.generic import ModelOutput

from cfbench.audio import MOST_SAMPLES, WINDOW
from cfbench.errors import CfbenchError, Problem, plural
from cfbench.models.aasist import Dropouts, GraphBranch, SpectroTemporalAttention
from cfbench.models.batch_norm import MapNorm, NodeNorm
from cfbench.models.encoder import ResidualEncoder
from cfbench.tasks import find_task, pick_tasks

SPECTRAL = 128
"""Spectral values that the front end's features are projected to."""

FEWEST_FRAMES = 3
"""Of the front end: the encoder makes one temporal position of three of them."""

XLSR_300M: Mapping[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "conv_bias": True,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
"""What distinguishes XLS-R 300M (Babu et al., arXiv 2111.09296) from Wav2Vec2Config's defaults."""

NO_MASKING: Mapping[str, Any] = {
    "apply_spec_augment": False,
    "mask_time_prob": 0.0,
    "mask_feature_prob": 0.0,
}
"""The front end's input is not masked in training; without masks it has no mask embedding."""

CLASS_WEIGHTS: Mapping[str, tuple[float, ...]] = {
    "bin": (0.1, 0.9),
    "vq": (0.1, 0.3, 0.3, 0.3),
    "aux": (0.1, 0.3, 0.3, 0.3),
    "dec": (0.1, 0.45, 0.45),
}
"""The authors' weights of the classes in the cross entropy, in the tasks' class order."""


def wav2vec2_config(settings: Mapping[str, Any], where: str) -> Wav2Vec2Config:
    """The configuration of a front end.

    Args:
        settings: Of Wav2Vec2Config.
        where: Who says so, for messages.

    Raises:
        CfbenchError: A setting is of another kind than it must be.
    """
    try:
        return Wav2Vec2Config(**settings)
    except (StrictDataclassError, TypeError, ValueError) as error:
        # The first line says where it was noticed, the last what is wrong.
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1].strip()
        raise CfbenchError(
            f"{where}: {reason}", "the settings are those of transformers' Wav2Vec2Config"
        ) from None


def front_end_frames(config: Wav2Vec2Config, samples: int) -> int:
    """How many frames a front end makes of a window."""
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        samples = max((samples - kernel) // stride + 1, 0)
    return samples


def emphasise(waveforms: Tensor, share: float) -> Tensor:
    """Each sample less a share of the one before: (B, samples) to (B, samples)."""
    if not share:
        return waveforms
    return waveforms - share * nn.functional.pad(waveforms[:, :-1], (1, 0))


class Wav2Vec2AasistConfig(PreTrainedConfig):
    """The configuration of `Wav2Vec2Aasist`.

    Args:
        front_end: Of the front end; XLS-R 300M if None.
        tasks: Ids of the tasks, a branch each; kept in the order of reports.
        classes: The classes that each branch's outputs stand for, in order; the tasks' own if None.
        class_weights: In the cross entropy, by task; the authors' where not given.
        learned_task_weights: Whether training moves the weights of the tasks.
        dropouts: The four rates of a branch, in the order of `Dropouts`.
        samples: The window at 16 kHz that it was trained on.
        windows: How many of a clip's windows an answer is the mean of: see `audio.spread_windows`.
        pre_emphasis: a in x[t] - a x[t - 1], which flattens the spectrum of speech before the front
            end; 0 leaves it as it is. A front end that starts at random otherwise hears little
            but the lowest frequencies.

    Raises:
        CfbenchError: A task or a setting of the front end is unknown, or numbers do not fit tasks.
    """

    model_type = "wav2vec2-aasist"
    sub_configs = {"front_end": Wav2Vec2Config}  # noqa: RUF012  # the base class has it so

    def __init__(
        self,
        front_end: Wav2Vec2Config | dict[str, Any] | None = None,
        tasks: Sequence[str] = ("bin", "vq", "aux", "dec"),
        classes: Mapping[str, Sequence[str]] | None = None,
        class_weights: Mapping[str, Sequence[float]] | None = None,
        learned_task_weights: bool = False,
        dropouts: Sequence[float] = Dropouts(),
        samples: int = WINDOW,
        windows: int = 1,
        pre_emphasis: float = 0.0,
        **kwargs: Any,
    ) -> None:
        if front_end is None:
            front_end = {**XLSR_300M, **NO_MASKING}
        if isinstance(front_end, dict):
            front_end = wav2vec2_config(front_end, "the model's front end")
        picked = pick_tasks(tasks)
        weights = dict(CLASS_WEIGHTS)
        for name, values in (class_weights or {}).items():
            weights[find_task(name).id] = tuple(values)
        self.front_end: Wav2Vec2Config = front_end
        self.tasks = [task.id for task in picked]
        own: dict[str, list[str]] = {task.id: list(task.class_names) for task in picked}
        self.classes = {key: list(names) for key, names in (classes or own).items()}
        self.class_weights = {task.id: list(weights[task.id]) for task in picked}
        self.learned_task_weights = learned_task_weights
        self.dropouts = list(dropouts)
        self.samples = samples
        self.windows = windows
        self.pre_emphasis = pre_emphasis
        super().__init__(**kwargs)
        problems = [*self._task_problems(own), *self._size_problems()]
        if problems:
            raise CfbenchError.of(problems)

    def _task_problems(self, own: Mapping[str, list[str]]) -> Iterator[Problem]:
        if not own:
            yield Problem("a model without tasks", "give at least one")
        if self.classes != own:
            yield Problem(
                f"the model's classes are {self.classes}, those of its tasks are {own}",
                "it was made with another version of the tasks; use the cfbench that made it",
            )
        for task_id, values in self.class_weights.items():
            if len(values) != len(own[task_id]):
                yield Problem(
                    f"{len(values)} class weights for {task_id}, which has {len(own[task_id])}"
                    " classes",
                    f"give one for each of {', '.join(own[task_id])}",
                )

    def _size_problems(self) -> Iterator[Problem]:
        if len(self.dropouts) != len(Dropouts._fields):
            yield Problem(
                f"{len(self.dropouts)} dropout rates of a branch",
                f"give {len(Dropouts._fields)}: {', '.join(Dropouts._fields)}",
            )
        if self.samples > MOST_SAMPLES:
            yield Problem(
                f"a window of {self.samples:,} samples", f"at most {MOST_SAMPLES:,}, ten minutes"
            )
        if self.windows < 1:
            yield Problem(f"{self.windows} windows of a clip", "give 1 or more")
        if not 0 <= self.pre_emphasis < 1:
            yield Problem(f"a pre-emphasis of {self.pre_emphasis}", "from 0 to below 1, as 0.97")
        frames = front_end_frames(self.front_end, self.samples)
        if frames < FEWEST_FRAMES:
            yield Problem(
                f"a window of {self.samples:,} samples makes {plural(frames, 'frame')} of the "
                "front end",
                f"it takes {FEWEST_FRAMES} or more: choose a longer window",
            )


@dataclass
class SourceTracingOutput(ModelOutput):
    """What the model says of a batch of B clips.

    Attributes:
        loss: The weighted sum of the tasks' losses, a scalar; None without labels.
        logits: By task, (B, classes).
        task_losses: By task, scalars; None without labels.
        readout: By task, (B, 160): what the output layer saw.
    """

    loss: Tensor | None = None
    logits: dict[str, Tensor] | None = None
    task_losses: dict[str, Tensor] | None = None
    readout: dict[str, Tensor] | None = None


class Wav2Vec2Aasist(PreTrainedModel):
    """The reference system. In eval mode it computes what the authors' code computes."""

    config_class = Wav2Vec2AasistConfig
    base_model_prefix = "model"
    main_input_name = "waveforms"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _made = False
    _no_split_modules = ["Wav2Vec2EncoderLayerStableLayerNorm", "Wav2Vec2EncoderLayer"]  # noqa: RUF012

    def __init__(self, config: Wav2Vec2AasistConfig) -> None:
        super().__init__(config)
        self.front_end = Wav2Vec2Model(config.front_end)
        self.encoder = ResidualEncoder(config.front_end.hidden_size, SPECTRAL)
        self.attention = SpectroTemporalAttention()
        dropouts = Dropouts(*config.dropouts)
        self.branches = nn.ModuleDict(
            {
                task_id: GraphBranch(SPECTRAL // 3, len(config.classes[task_id]), dropouts)
                for task_id in config.tasks
            }
        )
        count = len(config.tasks)
        self.task_weights = nn.Parameter(
            torch.full((count,), 1 / count), requires_grad=config.learned_task_weights
        )
        self.post_init()
        self._made = True

    def _init_weights(self, module: nn.Module) -> None:
        # Encoder and branches are drawn as they are made, the front end by its own class. What is
        # left are weights that the file of `from_pretrained` lacks; nn.init spares those that it
        # has while transformers calls this.
        if not self._made:
            return
        if isinstance(module, Wav2Vec2Aasist):
            nn.init.constant_(module.task_weights, 1 / len(module.task_weights))
        elif isinstance(module, MapNorm | NodeNorm):
            super()._init_weights(module)
        else:
            getattr(module, "reset_parameters", lambda: None)()

    def forward(
        self, waveforms: Tensor, labels: Mapping[str, Tensor] | None = None
    ) -> SourceTracingOutput:
        """Answer every task for a batch.

        Args:
            waveforms: (B, samples) at 16 kHz, not normalised; the recipe's length is 64,600. Or
                (B, windows, samples): the answer for a clip is the mean of its windows' logits.
            labels: By task, (B,) class indices; then the losses are computed too.

        Returns:
            Logits by task, and the losses.
        """
        clips, samples = waveforms.shape[0], waveforms.shape[-1]
        waveforms = emphasise(waveforms.reshape(-1, samples), self.config.pre_emphasis)
        features = self.front_end(waveforms).last_hidden_state  # (B, frames, F)
        # The front end may compute in half precision; all that follows costs next to nothing.
        with torch.autocast(waveforms.device.type, enabled=False):
            x = self.encoder(features.to(self.encoder.projection.weight.dtype))  # (B, 64, S, T)
            spectral, temporal = self.attention(x)  # (B, S, 64), (B, T, 64)
            answers = {
                task_id: [
                    said.unflatten(0, (clips, -1)).mean(dim=1)
                    for said in branch(spectral, temporal)
                ]
                for task_id, branch in self.branches.items()
            }
            logits = {task_id: answer[0] for task_id, answer in answers.items()}
            output = SourceTracingOutput(
                logits=logits, readout={task_id: answer[1] for task_id, answer in answers.items()}
            )
            if labels is not None:
                output.loss, output.task_losses = self.loss(logits, labels)
        return output

    def loss(
        self,
        logits: Mapping[str, Tensor],
        labels: Mapping[str, Tensor],
        weight: Callable[[Tensor], Tensor] = lambda total: total,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The class-weighted cross entropy of each task, and their weighted sum.

        Args:
            logits: By task, (B, classes).
            labels: By task, (B,).
            weight: Given the summed class weights of this batch, by which it is divided; returns
                those of the whole batch where this is only a process's part of it.

        Returns:
            The sum, weighted by a softmax over the task weights, and each task's loss.
        """
        losses = {}
        for task_id in self.config.tasks:
            weights = self.class_weight(task_id)
            total = nn.functional.cross_entropy(
                logits[task_id], labels[task_id], weight=weights, reduction="sum"
            )
            losses[task_id] = total / weight(weights[labels[task_id]].sum())
        return self.weigh(losses), losses

    def weigh(self, losses: Mapping[str, Tensor]) -> Tensor:
        """The sum of the tasks' losses, weighted by a softmax over the task weights."""
        stacked = torch.stack([losses[task_id] for task_id in self.config.tasks])
        return (self.task_weights.softmax(dim=0) * stacked).sum()

    def class_weight(self, task_id: str) -> Tensor:
        """The weights of a task's classes in its cross entropy, (classes,)."""
        values = self.config.class_weights[task_id]
        like = self.task_weights
        return torch.tensor(values, device=like.device, dtype=like.dtype)


def quieten() -> None:
    """Keep transformers from printing bars and remarks of its own."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
