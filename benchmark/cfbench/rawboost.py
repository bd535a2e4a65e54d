"""RawBoost: noise for the training of spoofing countermeasures, made from the waveform alone.

The method is that of Tak, Kamble, Patino, Todisco and Evans (ICASSP 2022, arXiv 2111.04433). What
the paper leaves open (when a signal is normalised, where a filter's delay ends, in which order
numbers are drawn) is as in the authors' recipe.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import accumulate, repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.errors import CfbenchError

Samples = NDArray[np.float32]

_PEAK = 10.0  # full scale is 1, and a decoder may overshoot; beyond it powers of samples explode
_GRID = 1024  # the authors normalise filters by their gain at 512 frequencies below Nyquist
_BLOCK = 4096
# Within these, nothing overflows in single precision.
_RANGES: Mapping[str, tuple[float, float]] = {
    "n_bands": (1, 50),
    "min_f": (0.0, 1e6),
    "max_f": (0.0, 1e6),
    "min_bw": (1e-3, 1e6),
    "max_bw": (1e-3, 1e6),
    "min_coeff": (2, 1000),
    "max_coeff": (2, 1000),
    "min_g": (-100.0, 100.0),
    "max_g": (-100.0, 100.0),
    "min_bias_lin_non_lin": (-100.0, 100.0),
    "max_bias_lin_non_lin": (-100.0, 100.0),
    "n_f": (1, 20),
    "p": (0.0, 100.0),
    "g_sd": (0.0, 1000.0),
    "snr_min": (-100.0, 200.0),
    "snr_max": (-100.0, 200.0),
}


@dataclass(frozen=True)
class RawBoostSettings:
    """The parameters of RawBoost; the defaults are the published ones.

    The names are the published ones in snake case (`nBands`, `N_f`, `SNRmin`). Each pair of bounds
    is the range of a uniform distribution.

    Attributes:
        n_bands: Notches in a filter.
        min_f: Lowest centre of a notch, Hz.
        max_f: Highest centre of a notch, Hz; not above half of the sampling rate.
        min_bw: Smallest width of a notch, Hz.
        max_bw: Largest width of a notch, Hz.
        min_coeff: Fewest coefficients of a notch; even numbers become the next odd one.
        max_coeff: Their upper bound, itself excluded.
        min_g: Lowest peak gain of a filter, dB.
        max_g: Highest peak gain of a filter, dB.
        min_bias_lin_non_lin: By how much `min_g` is lower for the non-linear orders, dB.
        max_bias_lin_non_lin: By how much `max_g` is lower for the non-linear orders, dB.
        n_f: Highest power of the signal in convolutive noise; 1 is linear.
        p: Greatest share of samples that impulsive noise touches, percent.
        g_sd: Greatest size of impulsive noise, relative to the sample that it touches.
        snr_min: Lowest signal-to-noise ratio of stationary noise, dB.
        snr_max: Highest signal-to-noise ratio of stationary noise, dB.

    Raises:
        CfbenchError: A number is out of range or not whole, or bounds are the wrong way round.
    """

    n_bands: int = 5
    min_f: float = 20.0
    max_f: float = 8000.0
    min_bw: float = 100.0
    max_bw: float = 1000.0
    min_coeff: int = 10
    max_coeff: int = 100
    min_g: float = 0.0
    max_g: float = 0.0
    min_bias_lin_non_lin: float = 5.0
    max_bias_lin_non_lin: float = 20.0
    n_f: int = 5
    p: float = 10.0
    g_sd: float = 2.0
    snr_min: float = 10.0
    snr_max: float = 40.0

    def __post_init__(self) -> None:
        """Refuse what would only fail, or give NaN, deep in a training run."""
        hint = "RawBoostSettings() has the published values"
        for name, value in vars(self).items():
            least, most = _RANGES[name]
            if not least <= value <= most:
                raise CfbenchError(f"RawBoost: {name} is {value}, not {least} to {most}", hint)
            if isinstance(least, int) and not isinstance(value, int):
                raise CfbenchError(f"RawBoost: {name} is {value}, not a whole number", hint)
        for low in ("min_f", "min_bw", "min_coeff", "min_g", "snr_min"):
            high = low.replace("min", "max")
            if getattr(self, low) > getattr(self, high):
                raise CfbenchError(f"RawBoost: {low} is above {high}", hint)


DEFAULTS = RawBoostSettings()


def augment(
    speech: Samples,
    algorithm: int,
    rng: np.random.Generator,
    settings: RawBoostSettings = DEFAULTS,
    rate: int = 16000,
) -> Samples:
    """Speech with RawBoost noise.

    | algorithm | noise |
    | --- | --- |
    | 0 | none |
    | 1 | linear and non-linear convolutive (LnL) |
    | 2 | impulsive, signal-dependent (ISD) |
    | 3 | stationary, signal-independent (SSI) |
    | 4 | 1, 2 and 3 in series |
    | 5 | 1 and 2 in series |
    | 6 | 1 and 3 in series |
    | 7 | 2 and 3 in series |
    | 8 | 1 and 2 side by side, summed |

    LnL, ISD and the sum of 8 are scaled to a peak of 1 where their peak is above 1; SSI is not
    scaled, so that a result may be a little above 1.

    Args:
        speech: (samples,), full scale is 1.
        algorithm: 0 to 8.
        rng: The only source of chance: the same state gives the same result.
        settings: The parameters.
        rate: Sampling rate, Hz.

    Returns:
        (samples,), a new array.

    Raises:
        CfbenchError: There is no such algorithm; the speech is empty, not one channel of floating
            point, not finite or not within full scale; notches lie above half of the rate.
    """
    chain = _CHAINS.get(algorithm)
    if chain is None:
        raise CfbenchError(f"there is no RawBoost algorithm {algorithm}", "give a number, 0 to 8")
    if settings.max_f > rate / 2:
        raise CfbenchError(
            f"RawBoost: max_f is {settings.max_f:g} Hz, above half of the rate of {rate} Hz",
            f"give settings with max_f={rate // 2}",
        )
    result: Samples = _checked(speech).astype(np.float32)  # a copy
    for step in chain:
        result = step(result, rng, settings, rate)
    return result


def _convolutive(
    speech: Samples, rng: np.random.Generator, settings: RawBoostSettings, rate: int
) -> Samples:
    """LnL (section 3.1): the sum of the powers of the signal, each through notches of its own."""
    non_linear = np.arange(settings.n_f) > 0
    responses = _notch_responses(
        rng,
        settings,
        rate,
        settings.min_g - settings.min_bias_lin_non_lin * non_linear,
        settings.max_g - settings.max_bias_lin_non_lin * non_linear,
    )
    powers = accumulate(repeat(speech, settings.n_f), np.multiply)
    noisy = _filtered(powers, responses, settings, speech.size)
    return _within_full_scale(noisy - noisy.mean())


def _impulsive(
    speech: Samples, rng: np.random.Generator, settings: RawBoostSettings, rate: int
) -> Samples:
    """ISD (section 3.2): samples here and there, each moved by a random multiple of itself."""
    share = rng.uniform(0.0, settings.p) / 100
    touched = rng.permutation(speech.size)[: int(speech.size * share)]
    signs, sizes = 2 * rng.random((2, touched.size)) - 1
    noisy = speech.copy()
    noisy[touched] *= (1 + settings.g_sd * signs * sizes).astype(np.float32)
    return _within_full_scale(noisy)


def _stationary(
    speech: Samples, rng: np.random.Generator, settings: RawBoostSettings, rate: int
) -> Samples:
    """SSI (section 3.3): white noise through notches, at a random signal-to-noise ratio."""
    white = rng.standard_normal(speech.size).astype(np.float32)
    gains = np.array([settings.min_g]), np.array([settings.max_g])
    responses = _notch_responses(rng, settings, rate, *gains)
    noise = _filtered([white], responses, settings, speech.size)
    snr = rng.uniform(settings.snr_min, settings.snr_max)
    scale = _norm(speech) / _norm(noise) / 10 ** (snr / 20)
    return speech + np.float32(scale) * noise


def _side_by_side(
    speech: Samples, rng: np.random.Generator, settings: RawBoostSettings, rate: int
) -> Samples:
    convolutive = _convolutive(speech, rng, settings, rate)
    return _within_full_scale(convolutive + _impulsive(speech, rng, settings, rate))


_Step = Callable[[Samples, np.random.Generator, RawBoostSettings, int], Samples]
_CHAINS: Mapping[int, tuple[_Step, ...]] = {
    0: (),
    1: (_convolutive,),
    2: (_impulsive,),
    3: (_stationary,),
    4: (_convolutive, _impulsive, _stationary),
    5: (_convolutive, _impulsive),
    6: (_convolutive, _stationary),
    7: (_impulsive, _stationary),
    8: (_side_by_side,),
}


def _notch_responses(
    rng: np.random.Generator,
    settings: RawBoostSettings,
    rate: int,
    min_gain: NDArray[Any],
    max_gain: NDArray[Any],
) -> Samples:
    """Random filters, each a cascade of FIR notches, as their zero-phase responses.

    A notch is a windowed sinc (Hamming) with a gain of 1 at 0 Hz. Its coefficients are symmetric,
    so that the half from the middle on says everything, the response is real, and that of a
    cascade is the product.

    Args:
        rng: Draws centre, width and length of each notch, then the filter's gain.
        settings: Ranges of the notches.
        rate: Sampling rate, Hz.
        min_gain: (filters,), dB.
        max_gain: (filters,), dB.

    Returns:
        (filters, block / 2 + 1), from 0 Hz to half of the rate; see `_block` for the length.
    """
    draws = rng.random((min_gain.size, 3 * settings.n_bands + 1))
    low = np.array([settings.min_f, settings.min_bw, settings.min_coeff])
    high = np.array([settings.max_f, settings.max_bw, settings.max_coeff])
    shapes = low + (high - low) * draws[:, :-1].reshape(min_gain.size, settings.n_bands, 3)
    centre, width, coefficients = np.moveaxis(shapes, -1, 0)[..., None]  # (filters, bands, 1) each
    half_length = np.floor(coefficients) // 2
    edge = 0.001 / (rate / 2)  # the authors keep cut-offs off 0 Hz and half of the rate by 1 mHz
    lower = np.maximum((centre - width / 2) / (rate / 2), edge)
    upper = np.minimum((centre + width / 2) / (rate / 2), 1 - edge)

    at = np.arange(settings.max_coeff // 2 + 1)
    window = np.where(at <= half_length, 0.54 + 0.46 * np.cos(np.pi * at / half_length), 0.0)
    half = window * (np.sinc(at) - upper * np.sinc(upper * at) + lower * np.sinc(lower * at))
    half[..., 1:] *= 2  # for both sides
    half /= half.sum(axis=-1, keepdims=True)
    block = _block(settings)
    response = np.fft.rfft(half, block).real.prod(axis=1)

    gain = 10 ** ((min_gain + (max_gain - min_gain) * draws[:, -1]) / 20)
    peak = np.abs(response[:, : block // 2 : block // _GRID]).max(axis=-1)
    return (response * (gain / peak)[:, None]).astype(np.float32)


def _filtered(
    signals: Iterable[Samples], responses: Samples, settings: RawBoostSettings, samples: int
) -> Samples:
    """The sum of signals, each through a filter of its own, by overlap-save.

    The authors take the filters' delay off with one sample too many; so does this.

    Args:
        signals: Of (samples,), one a filter.
        responses: (filters, block / 2 + 1), zero-phase.
        settings: What the responses were made with.
        samples: In each signal.

    Returns:
        (samples,).
    """
    block, reach = _block(settings), _reach(settings)
    hop = block - 2 * reach
    blocks = -(-samples // hop)
    # Filled again and again: new memory for each signal would cost more than the transforms.
    padded = np.zeros((blocks - 1) * hop + block, np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(padded, block)[::hop]
    spectra: NDArray[Any] = np.empty((blocks, block // 2 + 1), np.complex64)
    total = np.zeros_like(spectra)
    for signal, response in zip(signals, responses, strict=True):
        padded[reach - 1 : reach - 1 + samples] = signal
        np.fft.rfft(windows, out=spectra)
        spectra *= response
        total += spectra
    filtered: NDArray[Any] = np.fft.irfft(total)[:, reach : reach + hop]
    return filtered.reshape(-1)[:samples]


def _reach(settings: RawBoostSettings) -> int:
    """How many samples the longest cascade sees to either side."""
    return settings.n_bands * (settings.max_coeff // 2)


def _block(settings: RawBoostSettings) -> int:
    """Samples in a block: a power of two of which filters cover a quarter at most."""
    return max(_BLOCK, 1 << (8 * _reach(settings) - 1).bit_length())


def _within_full_scale(noisy: Samples) -> Samples:
    peak = np.abs(noisy).max()
    return noisy / peak if peak > 1 else noisy


def _norm(signal: Samples) -> float:
    return float(np.sqrt(np.square(signal).sum()))


def _checked(speech: NDArray[Any]) -> NDArray[np.floating[Any]]:
    if speech.ndim != 1 or not np.issubdtype(speech.dtype, np.floating):
        raise CfbenchError(
            f"RawBoost: speech of shape {speech.shape} and type {speech.dtype}",
            "give one channel of floating-point samples, full scale 1",
        )
    if not speech.size:
        raise CfbenchError("RawBoost: the clip has no samples", "leave it out of the training list")
    peak = np.abs(speech).max()
    if not np.isfinite(peak):
        raise CfbenchError("RawBoost: the clip has NaN or infinite samples", "mend the recording")
    if peak > _PEAK:
        raise CfbenchError(
            f"RawBoost: the clip's peak is {peak:g}, and full scale is 1",
            "divide samples that were read as 16-bit integers by 32768",
        )
    return speech
