"""By what a clip is recognised: its samples to the bit, or its spectrum within a tolerance.

A codec gives the same samples on one platform, and samples that differ in the last bits on another
one (other instructions, other versions of torch). A digest tells the first; a fingerprint, coarse
and small enough to be shipped, tells the second.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import RATE

BANDS = 16
FRAME = 2 * RATE // 5
"""Samples of a frame: 0.4 s."""

TOLERANCE = 0.1
"""How much two fingerprints may differ, in dB, averaged over bands and frames.

Of the embedded track's clips, those whose codec computed with other instructions (AVX-512, SSE4.1)
are at most 0.005 dB away, and those of another codec, under the same channel noise, 1.4 dB in the
median and more than 0.3 dB in 99 of 100.
"""
_FLOOR = -80.0  # dB relative to full scale: what lies below is noise, and noise may differ

Match = Literal["exact", "near", "off"]
"""The same samples, the same within `TOLERANCE`, or another clip."""


@dataclass(frozen=True)
class Expected:
    """What is known of a clip.

    Attributes:
        samples: How many it has.
        sha256: Of its samples, see `digest`.
        fingerprint: See `fingerprint`; None where it must be that clip to the bit.
    """

    samples: int
    sha256: str
    fingerprint: bytes | None


def digest(pcm: NDArray[np.int16]) -> str:
    """SHA-256 of samples (n,) as 16-bit little-endian integers."""
    return hashlib.sha256(pcm.astype("<i2", copy=False).tobytes()).hexdigest()


def fingerprint(pcm: NDArray[np.int16]) -> bytes:
    """Log energies in mel bands, in half-dB steps.

    Args:
        pcm: (n,) at 16 kHz; the last frame is filled up with zeros.

    Returns:
        ceil(n / 6400) frames of 16 bytes each: twice the energy of a band in dB above -80 dB
        relative to full scale, 0 to 255.
    """
    count = -(-len(pcm) // FRAME)
    padded = np.zeros(count * FRAME)
    padded[: len(pcm)] = pcm / 32768.0
    spectrum = np.fft.rfft(padded.reshape(count, FRAME) * np.hanning(FRAME), axis=1)
    # Scaled so that a full-scale sine has 0 dB.
    power = (np.abs(spectrum) * 4 / FRAME) ** 2
    energies = 10 * np.log10(power @ _bands().T + 1e-12)
    return np.clip(np.rint(2 * (energies - _FLOOR)), 0, 255).astype(np.uint8).tobytes()


def describe(pcm: NDArray[np.int16]) -> Expected:
    """What is to be known of a clip (n,)."""
    return Expected(len(pcm), digest(pcm), fingerprint(pcm))


def compare(pcm: NDArray[np.int16], expected: Expected) -> tuple[Match, float]:
    """Hold a clip against what is known of it.

    Returns:
        Whether it is that clip, and the mean absolute difference of the fingerprints in dB;
        infinite where the lengths differ.
    """
    if len(pcm) != expected.samples:
        return "off", float("inf")
    if digest(pcm) == expected.sha256:
        return "exact", 0.0
    if expected.fingerprint is None:
        return "off", float("inf")
    heard = np.frombuffer(fingerprint(pcm), np.uint8).astype(np.int64)
    known = np.frombuffer(expected.fingerprint, np.uint8)
    if len(heard) != len(known):
        return "off", float("inf")
    difference = float(np.abs(heard - known).mean() / 2)
    return ("near" if difference <= TOLERANCE else "off"), difference


@cache
def _bands() -> NDArray[np.float64]:
    """Triangles on the mel scale (O'Shaughnessy's formula), (bands, bins of a frame)."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.fft.rfftfreq(FRAME, 1 / RATE)
    low, middle, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (bins - low) / (middle - low), (high - bins) / (high - middle)
    return np.maximum(0, np.minimum(rising, falling))
