"""Teaches a front end that starts at random to tell what a clip's spectrum looks like.

A front end of XLS-R's size comes with what it has learned of unlabelled speech; a small one of
one's own knows nothing, and a few thousand labels do not teach it to tell one frequency from
another. So it predicts, of each of its frames, the log-mel spectrum, which needs no label: as
acoustic frames are reconstructed in TERA (Liu et al. 2020, arXiv 2007.06028), without what is
altered there. Its first layer starts as a bank of band-pass filters (as SincNet, Ravanelli and
Bengio 2018, arXiv 1808.00158, and LEAF, Zeghidour et al. 2021, arXiv 2101.08596).
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as fn
from transformers import Wav2Vec2Model, get_scheduler
from transformers.audio_utils import mel_filter_bank

from cfbench.audio import RATE
from cfbench.checkpoints import replace_folder
from cfbench.clips import Augment, Clips, load
from cfbench.errors import CfbenchError
from cfbench.evaluation import refuse_failed
from cfbench.material import Material
from cfbench.models.wav2vec2_aasist import emphasise, front_end_frames
from cfbench.recipes import Recipe
from cfbench.sampling import epoch_order
from cfbench.untrained import build

_BANDS = 80
_WINDOW, _HOP = 512, 160  # samples
_FLOOR = 1e-7
_BAND = (60, 7900)  # Hz, of the first layer's filters
_WARMUP, _CLIP_NORM = 100, 1.0
_MEASURED = 16  # batches that say how loud a band is, and how much that varies
_EPOCHS = 2_000_000
"""Its epochs count from here: clips are cut where neither training nor evaluation cuts them."""


@torch.no_grad()
def start_as_filters(layer: nn.Conv1d) -> None:
    """Make a convolution over samples a bank of band-pass filters.

    Filters go by pairs, a quarter of a period apart, at frequencies that are equally far apart on
    the mel scale; under each is a Gaussian, as wide as its neighbours are apart or, where the
    window is too short for that, as the window allows. All have energy 1.

    Args:
        layer: From one channel; an odd last filter stays as it is.
    """
    pairs, taps = layer.out_channels // 2, layer.kernel_size[0]
    low, high = (2595 * np.log10(1 + edge / 700) for edge in _BAND)
    centres = 700 * (10 ** (np.linspace(low, high, pairs + 2)[1:-1] / 2595) - 1)
    widths = np.maximum(2 * np.gradient(centres) if pairs > 1 else centres, 1.2 * RATE / taps)
    times = (np.arange(taps) - (taps - 1) / 2) / RATE
    for index, (centre, width) in enumerate(zip(centres, widths, strict=True)):
        for part, phase in enumerate((0.0, np.pi / 2)):
            swing = np.exp(-0.5 * (times * width * np.pi / 1.2) ** 2) * np.cos(
                2 * np.pi * centre * times + phase
            )
            taken = torch.from_numpy(swing / np.linalg.norm(swing))
            layer.weight[2 * index + part, 0] = taken.to(layer.weight.dtype)
    if layer.bias is not None:
        layer.bias.zero_()


class Spectra(nn.Module):
    """The targets: log-mel spectra, each less its own mean, one for each frame of a front end.

    Args:
        stride: Samples from one frame of the front end to the next.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride
        bank = mel_filter_bank(_WINDOW // 2 + 1, _BANDS, 0, RATE / 2, RATE, "slaney", "slaney")
        self.register_buffer("bank", torch.from_numpy(bank).float())
        self.register_buffer("window", torch.hann_window(_WINDOW))

    def forward(self, waveforms: Tensor, frames: int) -> Tensor:
        """(B, samples) to (B, frames, 80), dB."""
        spectrum = torch.stft(waveforms, _WINDOW, _HOP, window=self.window, return_complex=True)
        power = spectrum.real**2 + spectrum.imag**2  # (B, 257, samples // 160 + 1)
        # The first is half before the clip; then as many as the front end's frames span.
        spanned = max(frames * self.stride // _HOP, 1)
        pooled = fn.adaptive_avg_pool1d(power[..., 1 : 1 + spanned], frames)
        levels = 10 * torch.log10(pooled.transpose(1, 2) @ self.bank + _FLOOR)
        # How loud a frame is says nothing of what decoded it.
        return levels - levels.mean(dim=2, keepdim=True)


def teach(
    recipe: Recipe,
    material: Material,
    folder: Path,
    device: torch.device,
    workers: int = 1,
    report: Callable[[int], None] = lambda step: None,
) -> Path:
    """Teach the front end of a recipe; at once where it has been taught already.

    Args:
        recipe: Of a Wav2Vec2-AASIST, with `pretraining`.
        material: Its clips; labels are not looked at.
        folder: Of the run.
        device: Where to compute.
        workers: Processes that decode.
        report: Is told the number of steps that are done.

    Returns:
        A folder that `Wav2Vec2Model.from_pretrained` reads.

    Raises:
        CfbenchError: A clip cannot be decoded, excerpts are too short, or the loss is no number.
    """
    out = folder / f"front-end-{_digest(recipe, material)}"
    if not out.is_dir():
        torch.manual_seed(recipe.training.seed)
        front_end = build(recipe).front_end
        first = front_end.feature_extractor.conv_layers[0].conv
        assert isinstance(first, nn.Conv1d)  # noqa: S101  # as Wav2Vec2 makes it
        start_as_filters(first)
        front_end.train()
        _teach(recipe, material, front_end, device, workers, report)
        replace_folder(out, front_end.save_pretrained)
    return out


def _digest(recipe: Recipe, material: Material) -> str:
    """The same where the same would be learned; what follows on labels does not matter."""
    said = [
        recipe.pretraining.model_dump(mode="json"),
        recipe.model.front_end.config,
        recipe.model.pre_emphasis,
        recipe.training.seed,
        material.train["utt_id"].to_list(),
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]


def _teach(
    recipe: Recipe,
    material: Material,
    front_end: Wav2Vec2Model,
    device: torch.device,
    workers: int,
    report: Callable[[int], None],
) -> None:
    how = recipe.pretraining
    nn.Module.to(front_end, device)
    config: Any = front_end.config
    frames = front_end_frames(config, how.samples)
    if not frames:
        raise CfbenchError(
            f"pretraining.samples: {how.samples:,} samples make no frame of the front end",
            "give longer excerpts",
        )
    spectra = Spectra(math.prod(config.conv_stride)).to(device)
    head = nn.Linear(config.hidden_size, _BANDS).to(device)
    parameters = [*front_end.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters, how.learning_rate)
    schedule = get_scheduler("cosine", optimizer, _WARMUP, how.steps)

    def heard(waveforms: Tensor) -> Tensor:
        return emphasise(waveforms.to(device), recipe.model.pre_emphasis)

    first = [heard(batch) for batch in _batches(recipe, material, workers, _MEASURED)]
    levels = spectra(torch.cat(first), frames)
    mean, deviation = levels.mean(dim=(0, 1)), levels.std(dim=(0, 1)) + 1e-3
    for step, batch in enumerate(_batches(recipe, material, workers, how.steps), 1):
        waveforms = heard(batch)
        told = head(front_end(waveforms).last_hidden_state)
        target = (spectra(waveforms, frames) - mean) / deviation
        loss = (told - target).abs().mean()
        if not torch.isfinite(loss):
            raise CfbenchError(
                f"step {step:,} of {how.steps:,} of the front end's pre-training: the loss is "
                f"{loss.item()}",
                "--set pretraining.learning_rate=... to something smaller",
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
        optimizer.step()
        schedule.step()
        report(step)


def _batches(recipe: Recipe, material: Material, workers: int, count: int) -> Iterator[Tensor]:
    """So many batches of excerpts, drawn from all clips of the training set."""
    how, seed = recipe.pretraining, recipe.training.seed
    utt_ids = material.train["utt_id"].to_list()
    paths = [material.paths[utt_id] for utt_id in utt_ids]
    epoch = _EPOCHS
    while count > 0:
        clips = Clips(utt_ids, paths, how.samples, Augment(0, seed, epoch, how.samples))
        order = epoch_order(len(utt_ids), how.batch_size, seed, epoch)[:count].tolist()
        for batch in load(clips, order, workers, pin=False):
            refuse_failed(batch)
            yield batch.waveforms
        count -= len(order)
        epoch += 1
