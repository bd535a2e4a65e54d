"""What the classical baseline hears: statistics over time of a log-mel spectrogram; numpy only."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import WINDOW
from cfbench.errors import CfbenchError, name_some

Floats = NDArray[np.float64]
Features = NDArray[np.float32]

# 80 dB below a frame of average power: finer than that is the rounding of 16-bit files.
_FLOOR = 1e-8
_STATISTICS = 4
# A broken file must not make arrays that fill the memory.
_LARGEST = {
    "rate": 384_000, "n_fft": 8192, "hop": 8192, "n_mels": 1024, "n_bands": 1024,
    "samples": 100_000_000,
}  # fmt: skip


@dataclass(frozen=True)
class FeatureSettings:
    """What features are made of.

    Attributes:
        rate: Sampling rate, Hz.
        n_fft: Samples in a frame.
        hop: Samples from one frame to the next.
        n_mels: Mel bands from 0 Hz to half of the rate.
        n_bands: Bands of equal width in the upper half of that range, which mel bands blur and in
            which codecs leave most of their traces.
        samples: The window that clips are cut to before.

    Raises:
        CfbenchError: A number is out of range, or frames are too short for so many bands.
    """

    rate: int = 16000
    n_fft: int = 512
    hop: int = 256
    n_mels: int = 64
    n_bands: int = 32
    samples: int = WINDOW

    def __post_init__(self) -> None:
        """Refuse bands in which no frequency of the transform lies."""
        for name, value in vars(self).items():
            if not 0 < value <= _LARGEST[name]:
                raise CfbenchError(f"features: {name} is {value}, not 1 to {_LARGEST[name]}")
        if self.n_fft < 4 * self.n_bands or not _mel_filters(self).any(axis=0).all():
            raise CfbenchError(
                f"features: frames of {self.n_fft} samples leave a band without a frequency",
                "give a larger n_fft, or smaller n_mels and n_bands",
            )

    @property
    def dims(self) -> int:
        """The features of a clip."""
        return _STATISTICS * (self.n_mels + self.n_bands)

    @property
    def shortest(self) -> int:
        """Samples of the shortest clip: two frames, so that there is a difference."""
        return self.n_fft + self.hop


def features(waves: NDArray[Any], settings: FeatureSettings | None = None) -> Features:
    """Statistics over time of log power in mel bands and in linear bands.

    Power is relative to the clip's mean power, so that loudness says nothing. Each band gives four
    numbers: mean and standard deviation of its log power, and mean size and standard deviation of
    the difference from one frame to the next. (The mean of the differences themselves is the last
    frame less the first.)

    Args:
        waves: (clips, samples), floating point.
        settings: The defaults where not given.

    Returns:
        (clips, dims), natural logarithms; a clip's row does not depend on the other clips.

    Raises:
        CfbenchError: The clips are not an array of floating-point rows, too short or not finite.
    """
    settings = settings or FeatureSettings()
    _check_waves(waves, settings)
    filters = _filters(settings)
    window = np.hanning(settings.n_fft + 1)[:-1].astype(np.float32)
    window /= np.sqrt(np.square(window).sum())
    result = np.empty((len(waves), settings.dims), np.float32)
    for row, wave in zip(result, waves, strict=True):
        level = np.sqrt(np.square(wave, dtype=np.float64).mean()) or 1.0
        scaled = (wave / level).astype(np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(scaled, settings.n_fft)[:: settings.hop]
        spectra = np.fft.rfft(frames * window)  # (frames, bins)
        power = np.square(spectra.real) + np.square(spectra.imag)
        # A product for each frame stays on one thread: threads of one for all would wait for each
        # other on a busy machine, and that is five times slower.
        bands = (power[:, None] @ filters)[:, 0]
        logs = np.log(bands + np.float32(_FLOOR))  # (frames, bands)
        steps = np.diff(logs, axis=0)
        row[:] = np.concatenate(
            (logs.mean(axis=0), logs.std(axis=0), np.abs(steps).mean(axis=0), steps.std(axis=0))
        )
    return result


@cache
def _filters(settings: FeatureSettings) -> NDArray[np.float32]:
    """(bins, n_mels + n_bands); the weights of each band sum to 1."""
    bins = settings.n_fft // 2 + 1
    upper_half = np.array_split(np.arange(bins)[bins // 2 :], settings.n_bands)
    linear = np.zeros((bins, settings.n_bands))
    for band, members in enumerate(upper_half):
        linear[members, band] = 1.0
    both = np.hstack((_mel_filters(settings), linear))
    return (both / both.sum(axis=0)).astype(np.float32)


def _mel_filters(settings: FeatureSettings) -> Floats:
    """Triangles that overlap by half, (bins, n_mels), each with a peak of 1.

    The scale is Slaney's (Auditory Toolbox, 1998): linear below 1 kHz with 15 mels to it, above
    that logarithmic with 27 mels to a factor of 6.4.
    """
    top = settings.rate / 2
    highest = top / 1000 * 15 if top < 1000 else 15 + 27 * np.log(top / 1000) / np.log(6.4)
    mels = np.linspace(0, highest, settings.n_mels + 2)
    corners = np.where(mels < 15, mels * 1000 / 15, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, top, settings.n_fft // 2 + 1)[:, None]
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    return np.maximum(np.minimum(rising, falling), 0.0)


def _check_waves(waves: NDArray[Any], settings: FeatureSettings) -> None:
    if waves.ndim != 2 or not np.issubdtype(waves.dtype, np.floating):
        raise CfbenchError(
            f"features of an array of shape {waves.shape} and type {waves.dtype}",
            "give floating-point samples, a row for each clip",
        )
    if waves.shape[1] < settings.shortest:
        raise CfbenchError(
            f"clips of {waves.shape[1]} samples: features need {settings.shortest} at least",
            "repeat short clips until they are long enough",
        )
    check_finite(waves, "samples")


def check_finite(rows: NDArray[Any], what: str) -> None:
    """Refuse rows that hold NaN or infinity.

    Args:
        rows: (clips, numbers).
        what: What the numbers are, for the message.

    Raises:
        CfbenchError: Names the rows.
    """
    broken = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if broken.size:
        raise CfbenchError(
            f"{what} that are NaN or infinite in row {name_some(broken.tolist())}",
            "rows are counted from 0; leave these clips out or mend them",
        )
