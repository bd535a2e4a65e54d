"""What codecs are built of: blocks at the frame rate and the decoders' last steps."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as fn

from cfbench.codecs import config


class Block(nn.Module):
    """A ConvNeXt block over time (Liu et al. 2022, arXiv 2201.03545; for audio as in Vocos).

    A condition, where there is one, scales and shifts the channels (Perez et al. 2018).
    """

    def __init__(self, width: int, condition: int = 0) -> None:
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.inner = nn.Linear(width, 2 * width)
        self.outer = nn.Linear(2 * width, width)
        self.scale = nn.Parameter(torch.full((width,), 0.1))
        self.condition = nn.Linear(condition, 2 * width) if condition else None

    def forward(self, frames: Tensor, condition: Tensor | None = None) -> Tensor:
        """(batch, width, frames) to the same; the condition is (batch, its size)."""
        x = self.norm(self.depthwise(frames).transpose(1, 2))
        if self.condition is not None and condition is not None:
            gain, shift = self.condition(condition)[:, None].chunk(2, dim=-1)
            x = x * (1 + gain) + shift
        x = self.outer(fn.gelu(self.inner(x))) * self.scale
        return frames + x.transpose(1, 2)


class Unit(nn.Module):
    """A residual unit at a rate between frames and samples."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.wide = nn.Conv1d(channels, channels, 7, padding=3)
        self.point = nn.Conv1d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, n) to the same."""
        return x + self.point(fn.leaky_relu(self.wide(fn.leaky_relu(x, 0.2)), 0.2))


class Transposed(nn.Sequential):
    """Upsampling by transposed convolutions: (batch, width, frames) to (batch, samples)."""

    def __init__(self, width: int, settings: config.Decoder) -> None:
        layers: list[nn.Module] = []
        before = width
        for stride, channels in zip(settings.strides, settings.channels, strict=True):
            layers += [_Up(before, channels, stride), Unit(channels)]
            before = channels
        super().__init__(*layers, _Last(before))


class Nearest(nn.Sequential):
    """Upsampling by repetition and convolution: (batch, width, frames) to (batch, samples)."""

    def __init__(self, width: int, settings: config.Decoder) -> None:
        layers: list[nn.Module] = []
        before = width
        for stride, channels in zip(settings.strides, settings.channels, strict=True):
            smooth = nn.Conv1d(before, channels, 2 * stride + 1, padding=stride)
            layers += [nn.LeakyReLU(0.2), nn.Upsample(scale_factor=stride), smooth, Unit(channels)]
            before = channels
        super().__init__(*layers, _Last(before))


class _Up(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.up = nn.ConvTranspose1d(before, after, 2 * stride, stride)

    def forward(self, x: Tensor) -> Tensor:
        cut = self.stride // 2
        return self.up(fn.leaky_relu(x, 0.2))[..., cut : cut + x.shape[-1] * self.stride]


class _Last(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv1d(channels, 1, 7, padding=3)

    def forward(self, x: Tensor) -> Tensor:
        return self.mix(fn.leaky_relu(x, 0.2))[:, 0]


class Stft(nn.Module):
    """Real and imaginary parts of an STFT, inverted: (batch, width, frames) to (batch, samples)."""

    window: Tensor

    def __init__(self, width: int, hop: int, settings: config.Decoder) -> None:
        super().__init__()
        self.hop, self.size = hop, settings.window
        self.head = nn.Linear(width, 2 * (self.size // 2 + 1))
        self.register_buffer("window", torch.hann_window(self.size), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Invert; the spectrum's last frame is used once more for the window that reaches out."""
        parts = self.head(frames.transpose(1, 2)).transpose(1, 2)
        parts = torch.cat([parts, parts[..., -1:]], dim=-1)
        real, imaginary = parts.chunk(2, dim=1)
        spectrum = torch.complex(real, imaginary)
        length = frames.shape[-1] * self.hop
        return torch.istft(spectrum, self.size, self.hop, window=self.window, length=length)


class Mdct(nn.Module):
    """An MDCT with a sine window, inverted: (batch, width, frames) to (batch, samples)."""

    basis: Tensor

    def __init__(self, width: int, hop: int) -> None:
        super().__init__()
        self.hop = hop
        self.head = nn.Linear(width, hop)
        n, k = torch.arange(2 * hop)[None], torch.arange(hop)[:, None]
        angle = math.pi / hop * (n + 0.5 + hop / 2) * (k + 0.5)
        window = torch.sin(math.pi / (2 * hop) * (torch.arange(2 * hop) + 0.5))
        basis = (torch.cos(angle) * window * math.sqrt(2 / hop))[:, None]
        self.register_buffer("basis", basis, persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """Overlap and add windows of twice the hop."""
        spectrum = self.head(frames.transpose(1, 2)).transpose(1, 2)
        waves = fn.conv_transpose1d(spectrum, self.basis, stride=self.hop)[:, 0]
        start = self.hop // 2
        return waves[:, start : start + frames.shape[-1] * self.hop]


def make_waveform(width: int, hop: int, settings: config.Decoder) -> nn.Module:
    """The decoder's last step: (batch, width, frames) to (batch, frames * hop)."""
    match settings.kind:
        case "transposed":
            return Transposed(width, settings)
        case "nearest":
            return Nearest(width, settings)
        case "stft":
            return Stft(width, hop, settings)
        case "mdct":
            return Mdct(width, hop)
