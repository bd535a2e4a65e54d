"""Frames to codes and back: residual and single codebooks, finite scalars."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from cfbench.codecs import config


class Quantized(NamedTuple):
    """A frame's numbers after quantisation.

    Attributes:
        values: (batch, dim, frames); gradients pass straight through.
        coarse: The same from the first codebook alone; of one codebook or scalars, `values`.
        codes: (batch, codebooks or dim, frames), integers.
        loss: Of the encoder's distance to the codebooks.
    """

    values: Tensor
    coarse: Tensor
    codes: Tensor
    loss: Tensor


class Codebook(nn.Module):
    """Entries that follow a moving average of what falls to them (van den Oord et al. 2017).

    Entries start as frames, and one that nobody uses is set to a frame of the batch
    (Dhariwal et al. 2020, arXiv 2005.00341).
    """

    entries: Tensor
    counts: Tensor
    sums: Tensor
    started: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.98) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("entries", torch.zeros(size, dim))
        # What only training needs is not stored with the codec.
        self.register_buffer("counts", torch.ones(size), persistent=False)
        self.register_buffer("sums", torch.zeros(size, dim), persistent=False)
        self.register_buffer("started", torch.tensor(False), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """The nearest entry of each frame: (n, dim) to (n,)."""
        if self.training and not self.started:
            self._start(frames)
        norms = (self.entries**2).sum(1)
        codes = torch.addmm(norms, frames, self.entries.T, alpha=-2).argmin(1)
        if self.training:
            self._follow(frames, codes)
        return codes

    @torch.no_grad()
    def _start(self, frames: Tensor) -> None:
        picks = torch.randint(len(frames), (len(self.entries),))
        noise = torch.randn_like(self.entries) * frames.std() * 0.05
        self.entries.copy_(frames[picks] + noise)
        self.sums.copy_(self.entries)
        self.started.fill_(True)

    @torch.no_grad()
    def _follow(self, frames: Tensor, codes: Tensor) -> None:
        counts = torch.bincount(codes, minlength=len(self.entries)).to(frames.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, codes, frames)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        dead = self.counts < 0.02 * len(frames) / len(self.entries)
        if dead.any():
            picks = torch.randint(len(frames), (int(dead.sum()),))
            self.sums[dead] = frames[picks]
            self.counts[dead] = 1.0
        self.entries.copy_(self.sums / self.counts[:, None])


class Residual(nn.Module):
    """One codebook after another, each for what the ones before left over."""

    def __init__(self, settings: config.Quantizer) -> None:
        super().__init__()
        self.books = nn.ModuleList(
            Codebook(settings.size, settings.dim) for _ in range(settings.codebooks)
        )

    def forward(self, frames: Tensor) -> Quantized:
        """Quantise (batch, dim, frames)."""
        batch, dim, length = frames.shape
        flat = frames.transpose(1, 2).reshape(-1, dim)
        left, sums = flat, torch.zeros_like(flat)
        codes: list[Tensor] = []
        loss = flat.new_zeros(())
        coarse = sums
        for book in self.books:
            assert isinstance(book, Codebook)  # noqa: S101 - of a list that types as modules
            found = book(left.detach())
            entry = book.entries[found]
            # Only the encoder learns from this; entries follow by themselves.
            loss = loss + ((left - entry) ** 2).mean()
            sums, left = sums + entry, left - entry
            if not codes:
                coarse = sums
            codes.append(found)

        def through(values: Tensor) -> Tensor:
            return (flat + (values - flat).detach()).view(batch, length, dim).transpose(1, 2)

        stacked = torch.stack(codes).view(len(codes), batch, length).transpose(0, 1)
        return Quantized(through(sums), through(coarse), stacked, loss / len(codes))

    def values(self, codes: Tensor) -> Tensor:
        """What codes (batch, codebooks, frames) stand for: (batch, dim, frames).

        Codes of the first few codebooks alone stand for something coarser.
        """
        entries = [
            book.entries[of_book]
            for book, of_book in zip(self.books, codes.unbind(1), strict=False)
            if isinstance(book, Codebook)
        ]
        return torch.stack(entries).sum(0).transpose(1, 2)


class Scalar(nn.Module):
    """Each number rounded to one of a few levels (Mentzer et al. 2023)."""

    def __init__(self, settings: config.Quantizer) -> None:
        super().__init__()
        self.levels = settings.levels

    def forward(self, frames: Tensor) -> Quantized:
        """Quantise (batch, dim, frames)."""
        half = (self.levels - 1) / 2
        bounded = torch.tanh(frames) * half
        # An even number of levels has no level at zero.
        offset = 0.0 if self.levels % 2 else 0.5
        rounded = torch.round(bounded - offset).clamp(-half - offset, half - offset)
        values = (bounded + (rounded + offset - bounded).detach()) / half
        codes = (rounded + offset + half).long()
        return Quantized(values, values, codes, frames.new_zeros(()))

    def values(self, codes: Tensor) -> Tensor:
        """What codes (batch, dim, frames) stand for."""
        half = (self.levels - 1) / 2
        return (codes - half) / half


def make_quantizer(settings: config.Quantizer) -> Residual | Scalar:
    """The quantiser that the settings describe; a single codebook is a residual of one."""
    return Scalar(settings) if settings.kind == "scalar" else Residual(settings)
