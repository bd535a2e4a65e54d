"""What could give a clip's class away without a trace of its codec.

Each shortcut is a few numbers of a clip. A model that sees nothing else must not tell the classes
apart; `tests/test_mini_track.py` holds the track to that.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import RATE
from cfbench.mini.levels import active_frames, as_samples

Floats = NDArray[np.float64]


def loudness(pcm: NDArray[np.int16]) -> list[float]:
    """Level of the whole, of its active frames, and peak, dB."""
    samples = pcm.astype(np.float64) / 32768
    active = np.repeat(active_frames(samples.astype(np.float32)), RATE // 50)
    spoken = samples[: len(active)][active]
    return [_decibels(samples), _decibels(spoken), 20 * np.log10(np.abs(samples).max() + 1e-9)]


def length(pcm: NDArray[np.int16]) -> list[float]:
    """Seconds."""
    return [len(pcm) / RATE]


def silence(pcm: NDArray[np.int16]) -> list[float]:
    """Share of frames without speech, and how many there are at the beginning and at the end."""
    active = np.flatnonzero(active_frames(as_samples(pcm)))
    frames = len(pcm) // (RATE // 50)
    if not len(active):
        return [1.0, float(frames), float(frames)]
    return [1 - len(active) / frames, float(active[0]), float(frames - 1 - active[-1])]


def zeros(pcm: NDArray[np.int16]) -> list[float]:
    """Share of samples that are zero, and that are as the one before."""
    return [float((pcm == 0).mean()), float((np.diff(pcm) == 0).mean())]


def clipping(pcm: NDArray[np.int16]) -> list[float]:
    """How often the largest size occurs, and whether it is full scale."""
    size = np.abs(pcm.astype(np.int32))
    return [float((size == size.max()).sum()), float((size >= 32767).sum())]


def offset(pcm: NDArray[np.int16]) -> list[float]:
    """The mean sample."""
    return [float(pcm.mean())]


def bandwidth(pcm: NDArray[np.int16]) -> list[float]:
    """Frequencies below which 90, 99 and 99.9 % of the power lies, kHz."""
    power = np.abs(np.fft.rfft(pcm.astype(np.float64))) ** 2
    share = power.cumsum() / max(power.sum(), 1e-9)
    return [float(np.searchsorted(share, q) / len(power) * RATE / 2000) for q in (0.9, 0.99, 0.999)]


SHORTCUTS: Mapping[str, Callable[[NDArray[np.int16]], list[float]]] = {
    "loudness": loudness,
    "length": length,
    "silence": silence,
    "zeros": zeros,
    "clipping": clipping,
    "offset": offset,
    "bandwidth": bandwidth,
}


def _decibels(samples: NDArray[Any]) -> float:
    return float(10 * np.log10((samples.astype(np.float64) ** 2).mean() + 1e-12))
