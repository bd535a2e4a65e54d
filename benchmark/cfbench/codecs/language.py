"""Speech that nobody said: a model of one codebook's codes that continues a prompt.

The embedded track's small counterpart of codec-based speech generation (autoregressive, as
AudioLM, arXiv 2209.03143, and VALL-E, arXiv 2301.02111, but without text).
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from cfbench import files
from cfbench.audio import RATE
from cfbench.codecs.codec import Codec, round_to_half
from cfbench.codecs.material import Material
from cfbench.errors import CfbenchError
from cfbench.mini.levels import as_samples

WIDTH = 208
_POINTERS = 4
_EMBEDDING = 48
_SEQUENCE = 80  # codes
_BATCH = 8
_TEMPERATURE = 0.9
_MOST = 256  # codes that are drawn from: the likeliest


class CodeModel(nn.Module):
    """A recurrent network that says which code comes next.

    Codes are told by the codebook's own entries: several pointers into their space, each with a
    weight and a sharpness, so that a codebook of thousands costs no table of its own.

    Args:
        codec: Of a single codebook.

    Raises:
        ValueError: It has several, or none.
    """

    entries: Tensor

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        if codec.config.quantizer.kind != "single":
            raise ValueError("a code model needs a codec of one codebook")
        codes = torch.arange(codec.config.quantizer.size)[None, None]
        entries = codec.quantizer.values(codes)[0].T
        self.register_buffer("entries", entries.clone(), persistent=False)
        dim = entries.shape[1]
        self.scale = float(entries.std())
        self.embed = nn.Linear(dim, _EMBEDDING)
        self.memory = nn.GRU(_EMBEDDING, WIDTH, batch_first=True)
        self.point = nn.Linear(WIDTH, _POINTERS * (dim + 2))

    def forward(self, codes: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Log odds of the next code, after each code.

        Args:
            codes: (batch, length).
            state: (1, batch, 208), where a longer sequence goes on.

        Returns:
            (batch, length, entries), and the state afterwards.
        """
        heard, state = self.memory(self.embed(self.entries[codes] / self.scale), state)
        pointers = self.point(heard).unflatten(-1, (_POINTERS, -1))
        place, weight, sharp = pointers[..., :-2], pointers[..., -2], pointers[..., -1]
        entries = self.entries / self.scale
        sharpness = nn.functional.softplus(sharp)
        # -s |p - e|^2, without a table of differences.
        cross = (place * (2 * sharpness)[..., None]) @ entries.T
        norms = sharpness[..., None] * (entries**2).sum(1)
        own = weight - sharpness * (place**2).sum(-1)
        return torch.logsumexp(cross - norms + own[..., None], dim=-2), state

    @torch.inference_mode()
    def continue_from(self, prompt: Tensor, length: int, key: str) -> Tensor:
        """Codes that follow a prompt.

        Args:
            prompt: (codes,).
            length: How many codes to add.
            key: What chance is drawn from.

        Returns:
            (length,).
        """
        seed = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little")
        rng = np.random.Generator(np.random.PCG64(seed))
        odds, state = self(prompt[None])
        drawn = []
        for _ in range(length):
            best = torch.topk(odds[0, -1] / _TEMPERATURE, min(_MOST, odds.shape[-1]))
            steps = torch.softmax(best.values, 0).double().cumsum(0).numpy()
            drawn.append(int(best.indices[np.searchsorted(steps, rng.random() * steps[-1])]))
            odds, state = self(torch.tensor([[drawn[-1]]]), state)
        return torch.tensor(drawn)


def train_code_model(
    codec: Codec,
    material: Material,
    steps: int = 1500,
    seed: int = 0,
    report: Callable[[int, float], None] = lambda step, loss: None,
) -> CodeModel:
    """Train a model of a codec's codes on the corpus.

    Args:
        codec: Of a single codebook.
        material: The recordings.
        steps: Of the optimiser.
        seed: Of everything random.
        report: Is told the step and the mean loss now and then, nats a code.

    Returns:
        The model, with weights rounded to half precision.
    """
    torch.manual_seed(seed)
    rng = np.random.Generator(np.random.PCG64(seed))
    codes = _codes(codec, material)
    model = CodeModel(codec)
    optimiser = torch.optim.AdamW(model.parameters(), 3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    total = 0.0
    for step in range(1, steps + 1):
        starts = rng.integers(0, len(codes) - _SEQUENCE, _BATCH)
        batch = torch.from_numpy(codes[starts[:, None] + np.arange(_SEQUENCE)].astype(np.int64))
        odds, _ = model(batch[:, :-1])
        loss = nn.functional.cross_entropy(odds.flatten(0, 1), batch[:, 1:].flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
        if step % 100 == 0:
            report(step, total / 100)
            total = 0.0
    round_to_half(model)
    return model.eval()


def generate(
    codec: Codec, model: CodeModel, prompt: NDArray[np.float32], length: int, key: str
) -> NDArray[np.float32]:
    """Speech that goes on from a prompt; the prompt itself is not in it.

    Args:
        codec: The model's codec.
        model: Its model.
        prompt: (samples,).
        length: Samples to make.
        key: What chance is drawn from.

    Returns:
        (length,).
    """
    hop = codec.config.hop
    frames, voice = codec.code(prompt)
    more = model.continue_from(frames.codes[0, 0], -(-length // hop), key)
    # The decoder hears the prompt too, so that the first sample has a past.
    every = torch.cat([frames.codes[0, 0], more])
    with torch.inference_mode():
        values = codec.quantizer.values(every[None, None])
    made = codec.render(values, voice, len(every) * hop)
    return made[len(frames.codes[0, 0]) * hop :][:length]


def save_code_model(model: CodeModel, path: Path) -> None:
    """Write a model's weights in half precision."""
    halves = {name: value.half().contiguous() for name, value in model.state_dict().items()}
    files.write_atomically(path, lambda place: save_file(halves, place))


def load_code_model(path: Path, codec: Codec) -> CodeModel:
    """Read a model of a codec's codes.

    Raises:
        CfbenchError: The file is missing, broken, or of another codec.
    """
    model = CodeModel(codec)
    try:
        state = load_file(path)
        model.load_state_dict({name: value.float() for name, value in state.items()})
    except (OSError, SafetensorError) as error:
        raise CfbenchError(f"{path}: cannot be read: {error}") from None
    except RuntimeError:
        raise CfbenchError(f"{path}: not a model of {codec.config.name}'s codes") from None
    return model.eval()


def _codes(codec: Codec, material: Material) -> NDArray[np.int16]:
    """The codes of all recordings, one after the other: (codes,)."""
    made = []
    hop = codec.config.hop
    for start in range(0, len(material.pcm), 20 * RATE):
        part = as_samples(material.pcm[start : start + 20 * RATE])
        whole = part[: len(part) // hop * hop]
        if len(whole):
            frames, _ = codec.code(whole)
            made.append(frames.codes[0, 0].numpy().astype(np.int16))
    return np.concatenate(made)
