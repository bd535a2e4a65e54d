"""The codec: encoder, quantiser, decoder; one for all cells of the taxonomy."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as fn

from cfbench import files
from cfbench.codecs.blocks import Block, make_waveform
from cfbench.codecs.config import CodecConfig, read_config
from cfbench.codecs.quantizers import Quantized, make_quantizer
from cfbench.errors import CfbenchError

GLOBAL_DIM = 24
"""Numbers of the code that a disentangling codec keeps of the whole clip, 8 levels each."""
_GLOBAL_LEVELS = 8


class Coded(NamedTuple):
    """A clip in the codec.

    Attributes:
        frames: What the quantiser made of the content.
        voice: (batch, 24), of a disentangling codec: the code of the whole clip.
    """

    frames: Quantized
    voice: Tensor | None


class Codec(nn.Module):
    """A codec for speech at 16 kHz.

    A disentangling codec takes the mean and the size of each number over the clip out of the
    content (instance normalisation, as AdaIN-VC, arXiv 1904.05742) and gives the decoder a code of
    the whole clip in their place.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.config = config
        width, encoder = config.width, config.encoder
        split = config.objective == "disent"
        self.filters = nn.Conv1d(1, encoder.filters, encoder.window, config.hop)
        self.widen = nn.Conv1d(encoder.filters, width, 1)
        self.encoder = nn.ModuleList(Block(width) for _ in range(encoder.blocks))
        self.narrow = nn.Conv1d(width, config.quantizer.dim, 1)
        self.quantizer = make_quantizer(config.quantizer)
        self.enter = nn.Conv1d(config.quantizer.dim, width, 3, padding=1)
        self.decoder = nn.ModuleList(
            Block(width, GLOBAL_DIM if split else 0) for _ in range(config.decoder.blocks)
        )
        self.waveform = make_waveform(width, config.hop, config.decoder)
        self.voice = (
            nn.Sequential(nn.Linear(2 * width, width), nn.GELU(), nn.Linear(width, GLOBAL_DIM))
            if split
            else None
        )

    def features(self, waves: Tensor) -> Tensor:
        """(batch, samples), a multiple of the hop, to (batch, width, frames)."""
        window, hop = self.config.encoder.window, self.config.hop
        left = (window - hop) // 2
        padded = fn.pad(waves[:, None], (left, window - hop - left))
        x = self.widen(fn.gelu(self.filters(padded)))
        for block in self.encoder:
            x = block(x)
        return x

    def voice_code(self, features: Tensor) -> Tensor | None:
        """The code of the whole clip: (batch, width, frames) to (batch, 24), or None."""
        if self.voice is None:
            return None
        pooled = torch.cat([features.mean(-1), features.std(-1)], dim=1)
        half = (_GLOBAL_LEVELS - 1) / 2
        bounded = torch.tanh(self.voice(pooled)) * half
        rounded = torch.round(bounded - 0.5).clamp(-half - 0.5, half - 0.5) + 0.5
        return (bounded + (rounded - bounded).detach()) / half

    def latents(self, features: Tensor) -> Tensor:
        """What is to be quantised: (batch, width, frames) to (batch, dim, frames)."""
        x = self.narrow(features)
        if self.voice is not None:
            x = fn.instance_norm(x)
            if self.config.quantizer.kind == "scalar":
                x = x * self.config.quantizer.spread
        return x

    def encode(self, waves: Tensor) -> Coded:
        """(batch, samples), a multiple of the hop, to codes."""
        features = self.features(waves)
        return Coded(self.quantizer(self.latents(features)), self.voice_code(features))

    def decode(self, values: Tensor, voice: Tensor | None = None) -> Tensor:
        """Quantised values (batch, dim, frames) to waves (batch, frames * hop)."""
        x = self.enter(values)
        for block in self.decoder:
            x = block(x, voice)
        return self.waveform(x)

    @torch.inference_mode()
    def resynthesise(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """A clip through the codec: (n,) to (n,)."""
        values, voice = self.code(samples)
        return self.render(values, voice, len(samples))

    @torch.inference_mode()
    def code(self, samples: NDArray[np.float32]) -> tuple[Quantized, Tensor | None]:
        """A clip's codes; the last frame is filled with zeros.

        Args:
            samples: (n,), full scale is 1.
        """
        hop = self.config.hop
        waves = torch.from_numpy(np.asarray(samples, np.float32))[None]
        padded = fn.pad(waves, (0, -len(samples) % hop))
        coded = self.encode(padded)
        return coded.frames, coded.voice

    @torch.inference_mode()
    def render(
        self, frames: Quantized | Tensor, voice: Tensor | None, length: int
    ) -> NDArray[np.float32]:
        """Codes to a clip of `length` samples: (length,)."""
        values = frames.values if isinstance(frames, Quantized) else frames
        return self.decode(values, voice)[0, :length].numpy()


@torch.no_grad()
def round_to_half(module: nn.Module) -> None:
    """Round what is stored to half precision, as it will be when it is read again."""
    for value in module.state_dict().values():
        value.copy_(value.half().to(value.dtype))


def save_codec(codec: Codec, path: Path) -> None:
    """Write a codec's weights in half precision, as they are used from then on.

    Args:
        codec: The codec.
        path: NAME.safetensors, beside which stands NAME.toml.
    """
    halves = {name: value.half().contiguous() for name, value in codec.state_dict().items()}
    files.write_atomically(path, lambda place: save_file(halves, place))


def load_codec(path: Path) -> Codec:
    """Read a codec from NAME.toml and NAME.safetensors.

    Args:
        path: Either of the two.

    Returns:
        The codec, ready to use, in single precision.

    Raises:
        CfbenchError: A file is missing, broken, or of another codec.
    """
    codec = Codec(read_config(path.with_suffix(".toml")))
    weights = path.with_suffix(".safetensors")
    try:
        state = load_file(weights)
        codec.load_state_dict({name: value.float() for name, value in state.items()})
    except (OSError, SafetensorError) as error:
        raise CfbenchError(f"{weights}: cannot be read: {error}") from None
    except RuntimeError:
        raise CfbenchError(
            f"{weights}: not the weights of the codec that {path.stem}.toml describes"
        ) from None
    return codec.eval()
