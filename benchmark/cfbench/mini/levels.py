"""Loudness, silence, noise floor and channel: what every clip of the embedded track has in common.

Bona fide and decoded speech pass through the same last steps, so that neither level nor digital
silence nor the rounding to 16 bits tells them apart, and how dull they sound tells little.
"""

import hashlib
from math import comb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import RATE

Samples = NDArray[np.float32]

SPEECH_LEVEL = -26.0
"""Mean power of the frames in which somebody speaks, dB relative to full scale (ITU-T P.56's
custom, with a plain energy threshold in place of its envelope)."""
LEVEL_RANGE = 6.0
"""How far below that a clip's level may be drawn, dB."""
NOISE_LEVEL = -66.0
"""Power of the white noise that each clip carries as it ships, dB relative to full scale: 40 dB
below speech. It covers digital silence and bands in which a recording holds nothing."""
CHANNEL_SHELF = 10.0
"""How much a clip's channel may raise or lower what lies above 1 kHz, dB."""
CHANNEL_NOISE = (-54.0, -40.0)
"""Least and most power of the white noise of a clip's channel, dB relative to full scale."""
FRAME = RATE // 50
"""Samples of a frame, 20 ms: it is speech or silence as a whole."""
_ACTIVE = 35.0  # dB below the loudest frame
_MARGIN = 3  # frames kept before the first and after the last active one
_PEAK = 0.89  # -1 dB
# (1 + z)^36 lets half of the amplitude pass at 1 kHz, since cos(pi / 16)^36 = 0.497, and next to
# nothing from 2.5 kHz on. Its coefficients are whole numbers.
_ORDER = 36
_SMOOTH = np.array([comb(_ORDER, k) for k in range(_ORDER + 1)], np.int64)


def active_frames(samples: Samples) -> NDArray[np.bool_]:
    """Which frames of 20 ms are within 35 dB of the loudest.

    Args:
        samples: (n,).

    Returns:
        (n // 320,); all false where there is nothing but zeros.
    """
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME).astype(np.float64)
    power = (frames**2).mean(axis=1)
    return np.asarray(power > max(power.max(initial=0.0), 1e-12) * 10 ** (-_ACTIVE / 10))


def trim(samples: Samples) -> Samples:
    """Without the silence at both ends, but for 60 ms.

    Returns:
        A part of `samples`; empty where nothing is active.
    """
    active = np.flatnonzero(active_frames(samples))
    if not len(active):
        return samples[:0]
    first = max(0, active[0] - _MARGIN) * FRAME
    return samples[first : (active[-1] + 1 + _MARGIN) * FRAME]


def level(samples: Samples) -> Samples:
    """Scaled so that active frames have the track's speech level, or lower to spare the peaks.

    Returns:
        (n,), no sample beyond -1 dB of full scale; zeros stay zeros.
    """
    active = active_frames(samples)
    if not active.any():
        return samples.astype(np.float32)
    frames = samples[: len(active) * FRAME].reshape(-1, FRAME)[active].astype(np.float64)
    gain = 10 ** (SPEECH_LEVEL / 20) / np.sqrt((frames**2).mean())
    gain = min(gain, _PEAK / float(np.abs(samples).max()))
    return (samples * gain).astype(np.float32)


def settle(samples: NDArray[Any], key: str) -> NDArray[np.int16]:
    """A clip around zero, at a level that is drawn, in 16 bits.

    An offset would tell the codec that left it. Levelling twice is not quite levelling once: that a
    clip has exactly the track's level would say that it is decoded.

    Args:
        samples: (n,), full scale is 1.
        key: What the level is drawn from; the clip's id.

    Returns:
        (n,), up to `LEVEL_RANGE` below the track's speech level.
    """
    gain = 10 ** (-random_of(f"{key}/level").uniform(0, LEVEL_RANGE) / 20)
    centred = np.asarray(samples, np.float32) - np.float32(np.mean(samples, dtype=np.float64))
    loud = level(centred) * np.float32(gain)
    return np.clip(np.rint(loud * 32768), -32768, 32767).astype(np.int16)


def finish(samples: NDArray[Any], key: str) -> NDArray[np.int16]:
    """From what a codec answers to a clip that can be shipped: level, 16 bits, noise floor.

    Args:
        samples: (n,), full scale is 1.
        key: What level and noise are drawn from; the clip's id.

    Returns:
        (n,).
    """
    return cover(settle(samples, key), key)


def cover(pcm: NDArray[np.int16], key: str) -> NDArray[np.int16]:
    """With a noise floor, as bona fide clips are shipped too; `uncover` takes it off again.

    Args:
        pcm: (n,), with the headroom that `level` leaves.
        key: What the noise is drawn from; the clip's id.
    """
    return np.clip(pcm + _noise(key, len(pcm), NOISE_LEVEL), -32768, 32767).astype(np.int16)


def channel(pcm: NDArray[np.int16], key: str) -> NDArray[np.int16]:
    """A clip as if it had come through a channel of its own: the last step, when it is unpacked.

    Codecs are duller than what they were given. So that this alone does not tell the class, every
    clip has a spectral slope and a noise floor that are drawn: a shelf at 1 kHz of up to
    `CHANNEL_SHELF` dB either way, then white noise of `CHANNEL_NOISE`. Samples are whole numbers
    throughout, so that they are the same everywhere.

    Args:
        pcm: (n,), a clip as it is shipped; n is at least 1.
        key: What shelf and noise are drawn from; the clip's id.

    Returns:
        (n,), the speech not beyond -1 dB of full scale.
    """
    draws = random_of(f"{key}/channel")
    # No clip of the track has a gain that is near enough to a half for platforms to disagree.
    gain = round(4096 * 10 ** (draws.uniform(-CHANNEL_SHELF, CHANNEL_SHELF) / 20))
    noise = _noise(f"{key}/channel noise", len(pcm), draws.uniform(*CHANNEL_NOISE))
    # In units of 1/256 of a step of 16 bits: 64 bits then suffice for what follows.
    smooth = np.convolve(pcm.astype(np.int64), _SMOOTH)[_ORDER // 2 :][: len(pcm)]
    low = _shifted(smooth, _ORDER - 8)
    speech = low + _shifted((pcm.astype(np.int64) * 256 - low) * gain, 12)
    peak, limit = int(np.abs(speech).max(initial=0)), int(_PEAK * 32768) * 256
    if peak > limit:
        speech = speech * limit // peak
    return np.clip(_shifted(speech, 8) + noise, -32768, 32767).astype(np.int16)


def uncover(pcm: NDArray[np.int16], key: str) -> NDArray[np.int16]:
    """What `cover` was given, to the bit; of a clip as it is shipped, before its channel."""
    return np.clip(pcm - _noise(key, len(pcm), NOISE_LEVEL), -32768, 32767).astype(np.int16)


def hear(pcm: NDArray[np.int16], key: str) -> Samples:
    """What a codec hears of a bona fide clip as it is shipped: (n,), full scale is 1."""
    return as_samples(uncover(pcm, key))


def as_samples(pcm: NDArray[np.int16]) -> Samples:
    """Integers of 16 bits as samples, full scale 1: of any shape."""
    return pcm.astype(np.float32) / np.float32(32768)


def random_of(key: str) -> np.random.Generator:
    """Random numbers that follow from a key, the same on every platform."""
    digest = hashlib.sha256(key.encode()).digest()
    return np.random.Generator(np.random.PCG64(np.frombuffer(digest, np.uint32)))


def _shifted(values: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Divided by a power of two, to the nearest whole number."""
    return (values + (1 << (bits - 1))) >> bits


def _noise(key: str, length: int, decibels: float) -> NDArray[np.int64]:
    # The sum of four even draws is near a normal one, and is the same on every platform.
    draws = random_of(key).integers(-2048, 2048, (4, length))
    noise = (draws.sum(axis=0) + 2.0) / np.sqrt(4 * (4096**2 - 1) / 12)
    return np.rint(noise * 10 ** (decibels / 20) * 32768).astype(np.int64)
