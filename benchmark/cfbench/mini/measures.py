"""What a codec's card says of it: measures of original and decoded signals; numpy only.

Signals are at 16 kHz, the rate of the track.
"""

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import RATE
from cfbench.errors import CfbenchError, name_some

Floats = NDArray[np.float64]

_BANDS = 80
_WINDOW = 1024
_HOP = 256
_RANGE = 80.0  # dB


def mel_distance(original: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Mean absolute difference of two log-mel spectra.

    Both are `mel_power` in 80 bands from 0 to 8 kHz, windows of 1024 samples every 256, in dB. What
    lies more than 80 dB below the original's highest value counts as 80 dB below it, in both: the
    rounding of a silence is no difference that anyone hears. Nothing is aligned and no gain
    is taken away.

    Args:
        original: (samples,), floating point, at 16 kHz.
        decoded: (samples,), as long as the original.

    Returns:
        The mean over frames and bands, dB; 0 for equal signals.

    Raises:
        CfbenchError: A signal is not finite, empty or of another shape, the lengths differ, or the
            original is silent.
    """
    _check_pair(original, decoded)
    powers = mel_power(original, _BANDS, _WINDOW, _HOP), mel_power(decoded, _BANDS, _WINDOW, _HOP)
    highest = float(powers[0].max())
    if highest == 0:
        raise _silent()
    floor = 10 ** (-_RANGE / 10)
    first, second = (10 * np.log10(np.maximum(power / highest, floor)) for power in powers)
    return float(np.abs(first - second).mean())


def si_sdr(original: NDArray[Any], decoded: NDArray[Any]) -> float:
    """Scale-invariant signal-to-distortion ratio.

    The decoded signal is split into the original times the best factor, and the rest; the ratio is
    that of their energies. The mean of each signal is taken away first. (Le Roux et al.,
    "SDR - half-baked or well done?", 2019.)

    Args:
        original: (samples,), floating point.
        decoded: (samples,), as long as the original and aligned with it.

    Returns:
        dB; infinity where nothing is left over, minus infinity where the decoded signal is silent
        or has nothing of the original.

    Raises:
        CfbenchError: As `mel_distance`; a signal that is constant is silent.
    """
    _check_pair(original, decoded)
    wanted = original.astype(np.float64) - original.mean(dtype=np.float64)
    found = decoded.astype(np.float64) - decoded.mean(dtype=np.float64)
    energy = float(wanted @ wanted)
    if energy == 0:
        raise _silent()
    target = (wanted @ found) / energy * wanted
    rest = found - target
    signal, noise = float(target @ target), float(rest @ rest)
    if signal == 0:
        return -np.inf
    return np.inf if noise == 0 else float(10 * np.log10(signal / noise))


def codebook_use(codes: NDArray[Any], size: int) -> tuple[float, float]:
    """How much of a code book is used.

    Args:
        codes: (..., frames), integers from 0 to size - 1, of one code book; all are counted
            together.
        size: Entries of the code book.

    Returns:
        The share of the entries that occur, and the perplexity: e to the power of the entropy of
        the entries' frequencies, from 1 to `size`.

    Raises:
        CfbenchError: The codes are no integers, none, or out of range.
    """
    if not np.issubdtype(codes.dtype, np.integer) or not codes.size:
        raise CfbenchError(
            f"codes of shape {codes.shape} and type {codes.dtype}", "give integers, one at least"
        )
    outside = np.unique(codes[(codes < 0) | (codes >= size)])
    if outside.size:
        raise CfbenchError(f"no entry {name_some(outside.tolist())} in a code book of {size}")
    counts = np.bincount(codes.reshape(-1).astype(np.int64), minlength=size)
    shares = counts[counts > 0] / counts.sum()
    return shares.size / size, float(np.exp(-(shares * np.log(shares)).sum()))


def mel_power(samples: NDArray[Any], bands: int, window: int, hop: int) -> Floats:
    """Power in mel bands, as `librosa.feature.melspectrogram` has it by default.

    Hann windows are centred on every `hop`-th sample, with zeros around the signal.

    Args:
        samples: (samples,), floating point, at 16 kHz.
        bands: Mel bands from 0 to 8 kHz.
        window: Samples in a window, even.
        hop: Samples from one window to the next.

    Returns:
        (1 + samples // hop, bands).

    Raises:
        CfbenchError: The samples are not finite, none or of another shape.
    """
    check_signal(samples)
    padded = np.pad(samples.astype(np.float64), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    spectra = np.fft.rfft(frames * np.hanning(window + 1)[:-1])
    power: Floats = np.square(spectra.real) + np.square(spectra.imag)
    return power @ mel_filters(bands, window)


@cache
def mel_filters(bands: int, window: int) -> Floats:
    """Triangles on Slaney's mel scale from 0 to 8 kHz, each of area 1 over Hz.

    The scale (Auditory Toolbox, 1998) is linear below 1 kHz with 15 mels to it, above that
    logarithmic with 27 mels to a factor of 6.4.

    Args:
        bands: How many.
        window: Samples in a window of the transform.

    Returns:
        (window // 2 + 1, bands).
    """
    top = RATE / 2
    mels = np.linspace(0, 15 + 27 * np.log(top / 1000) / np.log(6.4), bands + 2)
    corners = np.where(mels < 15, mels * 1000 / 15, 1000 * 6.4 ** ((mels - 15) / 27))
    bins = np.linspace(0, top, window // 2 + 1)[:, None]
    lower, centre, upper = corners[:-2], corners[1:-1], corners[2:]
    rising = (bins - lower) / (centre - lower)
    falling = (upper - bins) / (upper - centre)
    filters: Floats = np.maximum(np.minimum(rising, falling), 0.0) * (2 / (upper - lower))
    filters.flags.writeable = False  # the cache hands out the same array each time
    return filters


def check_signal(samples: NDArray[Any], what: str = "a signal") -> None:
    """Refuse what is no signal.

    Args:
        samples: (samples,), floating point, one at least.
        what: What it is, for the message.

    Raises:
        CfbenchError: Another shape or type, empty, or NaN or infinity in it.
    """
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating) or not samples.size:
        raise CfbenchError(
            f"{what} of shape {samples.shape} and type {samples.dtype}",
            "give floating-point samples of one channel, one at least",
        )
    if not np.isfinite(samples).all():
        raise CfbenchError(f"{what} with samples that are NaN or infinite", "leave it out")


def _check_pair(original: NDArray[Any], decoded: NDArray[Any]) -> None:
    check_signal(original, "an original")
    check_signal(decoded, "a decoded signal")
    if original.shape != decoded.shape:
        raise CfbenchError(
            f"an original of {original.size:,} samples and {decoded.size:,} decoded ones",
            "cut or pad the decoded signal to the original's length",
        )


def _silent() -> CfbenchError:
    return CfbenchError("an original that is silent", "leave it out: there is nothing to measure")
