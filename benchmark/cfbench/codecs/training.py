"""Trains one codec. Same corpus, settings and machine: same weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as fn

from cfbench.codecs.blocks import Block
from cfbench.codecs.codec import GLOBAL_DIM, Codec, round_to_half
from cfbench.codecs.config import CodecConfig, Training
from cfbench.codecs.losses import SpectralLoss
from cfbench.codecs.material import Material, Segments
from cfbench.errors import CfbenchError
from cfbench.mini.levels import NOISE_LEVEL

_COMMITMENT = 0.25
_WAVE = 3.0
_HEAD_TAPS = 29  # the distillation head hears 145 ms at 200 frames a second
_CLIP_NORM = 1.0
_REPORT_EVERY = 100


class SemanticHead(nn.Module):
    """Predicts a teacher's features from the codes (SpeechTokenizer, arXiv 2308.16692)."""

    def __init__(self, dim: int, targets: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(dim, 48, _HEAD_TAPS, padding=_HEAD_TAPS // 2)
        self.point = nn.Conv1d(48, targets, 1)

    def forward(self, values: Tensor) -> Tensor:
        """(batch, dim, frames) to (batch, targets, frames)."""
        return self.point(fn.gelu(self.wide(values)))


class _Reverse(torch.autograd.Function):
    """The identity, whose gradient is turned round (Ganin and Lempitsky 2015, arXiv 1409.7495)."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return -grad


class VoiceHeads(nn.Module):
    """Say whose voice it is: from the clip's code, and, against the encoder, from the content."""

    def __init__(self, dim: int, targets: int) -> None:
        super().__init__()
        self.voice = nn.Sequential(nn.Linear(GLOBAL_DIM, 128), nn.GELU(), nn.Linear(128, targets))
        self.listen = nn.Sequential(nn.Conv1d(dim, 64, 9, padding=4), nn.GELU())
        self.content = nn.Linear(64, targets)

    def forward(self, voice: Tensor, values: Tensor, target: Tensor) -> Tensor:
        """Distances to the voice's embedding (batch, targets), by cosine."""
        heard = self.content(self.listen(_Reverse.apply(values)).mean(-1))
        told = self.voice(voice)
        return (2 - fn.cosine_similarity(told, target) - fn.cosine_similarity(heard, target)).mean()


def train(
    config: CodecConfig,
    material: Material,
    start: Codec | None = None,
    report: Callable[[int, dict[str, float]], None] = lambda step, losses: None,
) -> Codec:
    """Train a codec.

    Args:
        config: The codec and how it is trained.
        material: With teachers where the objective needs them.
        start: A codec of the same geometry, where the settings name one.
        report: Is told the step and mean losses now and then.

    Returns:
        The codec, with weights rounded to half precision.

    Raises:
        CfbenchError: The loss is no longer a number.
    """
    settings = config.training
    torch.manual_seed(settings.seed)
    codec = Codec(config)
    if start is not None:
        _take_over(codec, start)
    # Padded by the codec only at a clip's end: segments are whole frames.
    length = config.whole_frames(settings.segment)
    segments = Segments(material, settings.voices, length, settings.seed)
    heads = _heads(config, material)
    targets = material.voice_targets()
    spectral = SpectralLoss()
    parameters = [*codec.parameters(), *(heads.parameters() if heads else ())]
    optimiser = torch.optim.AdamW(
        _at_their_rates(codec, parameters, settings), betas=(0.8, 0.99), weight_decay=1e-4
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _rate(step, settings.steps)
    )
    codec.train()
    sums: dict[str, float] = {}
    for step in range(settings.steps):
        losses = _losses(
            codec, heads, spectral, segments, targets, quantise=step >= settings.unquantised
        )
        total = torch.stack(list(losses.values())).sum()
        if not torch.isfinite(total):
            raise CfbenchError(f"{config.name}: the loss is no number at step {step}")
        optimiser.zero_grad(set_to_none=True)
        total.backward()
        nn.utils.clip_grad_norm_(parameters, _CLIP_NORM)
        optimiser.step()
        schedule.step()
        for name, loss in losses.items():
            sums[name] = sums.get(name, 0.0) + float(loss.detach())
        if (step + 1) % _REPORT_EVERY == 0:
            report(step + 1, {name: value / _REPORT_EVERY for name, value in sums.items()})
            sums = {}
    round_to_half(codec)
    return codec.eval()


def write_curve(path: Path) -> Callable[[int, dict[str, float]], None]:
    """A report that appends a line of JSON to `path`."""

    def report(step: int, losses: dict[str, float]) -> None:
        with path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": step, **losses}) + "\n")

    return report


def _rate(step: int, steps: int) -> float:
    warm = min(1.0, (step + 1) / 200)
    return warm * (0.02 + 0.98 * 0.5 * (1 + np.cos(np.pi * step / steps)))


def _at_their_rates(
    codec: Codec, parameters: list[nn.Parameter], settings: Training
) -> list[dict[str, Any]]:
    """Groups for an optimiser; the layers that code the voice are one of their own."""
    rate = settings.learning_rate
    if codec.voice is None:
        return [{"params": parameters, "lr": rate}]
    voice = list(codec.voice.parameters())
    known = set(map(id, voice))
    return [
        {"params": [one for one in parameters if id(one) not in known], "lr": rate},
        {"params": voice, "lr": rate * settings.voice_rate},
    ]


def _take_over(codec: Codec, start: Codec) -> None:
    """What is alike in encoder and decoder; a quantiser is always the codec's own."""
    own = codec.state_dict()
    for name, value in start.state_dict().items():
        if not name.startswith("quantizer") and name in own and own[name].shape == value.shape:
            own[name].copy_(value)
    for block in codec.decoder:
        if isinstance(block, Block) and block.condition is not None:
            nn.init.zeros_(block.condition.weight)
            nn.init.zeros_(block.condition.bias)


def _heads(config: CodecConfig, material: Material) -> SemanticHead | VoiceHeads | None:
    if config.objective == "sem" and material.features is not None:
        return SemanticHead(config.quantizer.dim, material.features.shape[1])
    if config.objective == "disent" and material.embeddings is not None:
        return VoiceHeads(config.quantizer.dim, material.embeddings.shape[1])
    return None


def _losses(
    codec: Codec,
    heads: SemanticHead | VoiceHeads | None,
    spectral: SpectralLoss,
    segments: Segments,
    targets: NDArray[np.float32] | None,
    quantise: bool,
) -> dict[str, Tensor]:
    config = codec.config
    recordings, offsets = segments.draw(config.training.batch)
    waves = _with_noise(segments, segments.waves(recordings, offsets))
    features = codec.features(waves)
    latents = codec.latents(features)
    losses: dict[str, Tensor] = {}
    coarse = values = latents
    if quantise:
        values, coarse, _, losses["commitment"] = codec.quantizer(latents)
        losses["commitment"] = losses["commitment"] * _COMMITMENT
    voice = None
    if codec.voice is not None:
        # The voice is heard elsewhere, so that its code holds nothing of what is said here.
        length = config.whole_frames(config.training.voice_samples)
        others = segments.of_same_voice(recordings, length)
        voice = codec.voice_code(codec.features(_with_noise(segments, others)))
    decoded = codec.decode(values, voice)
    losses["spectral"] = spectral(decoded, waves)
    losses["wave"] = _WAVE * (decoded - waves).abs().mean() / waves.abs().mean()
    if isinstance(heads, SemanticHead):
        frames = values.shape[-1]
        told = torch.from_numpy(segments.features(recordings, offsets, frames, config.hop))
        losses["semantic"] = config.training.semantic * fn.smooth_l1_loss(heads(coarse), told)
    elif isinstance(heads, VoiceHeads) and voice is not None and targets is not None:
        target = torch.from_numpy(targets[recordings])
        losses["speaker"] = config.training.speaker * heads(voice, values, target)
    return losses


def _with_noise(segments: Segments, waves: np.ndarray) -> Tensor:
    """With the noise floor that the track's clips have."""
    noise = segments.rng.standard_normal(waves.shape, np.float32) * 10 ** (NOISE_LEVEL / 20)
    return torch.from_numpy(waves + noise)
