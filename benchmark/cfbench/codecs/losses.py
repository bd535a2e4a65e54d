"""How far decoded speech is from the original, for training."""

import torch
from torch import Tensor, nn
from transformers.audio_utils import mel_filter_bank

from cfbench.audio import RATE

_WINDOWS = ((128, 20), (512, 64), (1024, 80))  # samples, mel bands
_FLOOR = 1e-7


class SpectralLoss(nn.Module):
    """Distances of log-mel and magnitude spectra at several resolutions.

    Mel as in DAC (Kumar et al. 2023, arXiv 2306.06546), magnitudes as Yamamoto et al. 2020
    (arXiv 1910.11480).
    """

    def __init__(self) -> None:
        super().__init__()
        for size, bands in _WINDOWS:
            bank = mel_filter_bank(size // 2 + 1, bands, 0, RATE / 2, RATE, "slaney", "slaney")
            # Bands of a short window's bank may hold no frequency; they say nothing.
            self.register_buffer(
                f"bank_{size}", torch.from_numpy(bank).float() * RATE / size, persistent=False
            )
            self.register_buffer(f"window_{size}", torch.hann_window(size), persistent=False)

    def forward(self, decoded: Tensor, original: Tensor) -> Tensor:
        """Both (batch, samples)."""
        total = decoded.new_zeros(())
        for size, _ in _WINDOWS:
            got, wanted = (self._power(wave, size) for wave in (decoded, original))
            bank = getattr(self, f"bank_{size}")
            for a, b, weight in (
                (got.transpose(1, 2) @ bank, wanted.transpose(1, 2) @ bank, 1.0),
                (got, wanted, 0.3),
            ):
                # Half of a log of power is a log of magnitude.
                logs = (torch.log(a + _FLOOR) - torch.log(b + _FLOOR)).abs().mean() / 2
                total = total + weight * logs
            magnitudes = (got + _FLOOR).sqrt(), (wanted + _FLOOR).sqrt()
            total = total + (magnitudes[0] - magnitudes[1]).abs().mean() / magnitudes[1].mean()
        return total

    def _power(self, waves: Tensor, size: int) -> Tensor:
        window = getattr(self, f"window_{size}")
        spectrum = torch.stft(
            waves, size, size // 4, window=window, return_complex=True, normalized=True
        )
        return spectrum.real**2 + spectrum.imag**2
