"""Measures how fast clips are read: one process, one thread, clips of 5 seconds.

Two programs that do less are measured in the same run, in turns, so that ratios mean something on
a noisy machine: bare `soundfile.read`, and that with soxr on the whole clip, as librosa does it.
The files are in the page cache.

    python tests/performance/audio.py [--clips 300] [--folder KEEP]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr

from cfbench.audio import RATE, WINDOW, fit_window, read_speech

REPEATS = 3
SECONDS = 5
KINDS = {
    "16 kHz FLAC": (16_000, "flac", "400"),
    "16 kHz WAV": (16_000, "wav", ""),
    "48 kHz FLAC": (48_000, "flac", ""),
    "24 kHz WAV": (24_000, "wav", ""),
}


def main() -> None:
    """Make the clips, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=300, help="clips of each kind")
    parser.add_argument("--folder", type=Path, help="keep the clips here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        place = arguments.folder or Path(temporary)
        rows = [measure(kind, write_clips(place, kind, arguments.clips)) for kind in KINDS]
    print(f"Clips a second: median (lowest to highest) of {REPEATS} rounds\n")
    header = ["clips of 5 s", "KB a clip", "`soundfile.read`", "with soxr", "cfbench", "asked for"]
    for row in [header, ["---"] * len(header), *rows]:
        print(f"| {' | '.join(row)} |")


def write_clips(place: Path, kind: str, count: int) -> list[Path]:
    """Write the clips of one kind, unless they are there."""
    rate, suffix, _ = KINDS[kind]
    folder = place / kind.replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number}.{suffix}" for number in range(count)]
    for number, path in enumerate(paths):
        if not path.exists():
            soundfile.write(path, speak(np.random.default_rng(number), rate), rate)
    return paths


def speak(generator: np.random.Generator, rate: int) -> np.ndarray:
    """A buzz of wandering pitch and breath, formed by three resonances, in syllables.

    FLAC brings it to about two thirds of its size, as it does speech.
    """
    samples = SECONDS * rate
    seconds = np.arange(samples) / rate
    pitch = generator.uniform(90, 230) * (1 + 0.2 * np.sin(seconds * generator.uniform(1, 4)))
    buzz = (np.cumsum(pitch) / rate) % 1 - 0.5
    breath = generator.standard_normal(samples)
    spectrum = np.fft.rfft(buzz + 0.1 * breath)
    hertz = np.fft.rfftfreq(samples, 1 / rate)
    shape = 0.02 / (1 + (hertz / 4_000) ** 2)
    for formant, width in ((500, 80), (1_500, 120), (2_600, 200)):
        shape += 1 / (1 + ((hertz - formant * generator.uniform(0.8, 1.2)) / width) ** 2)
    voice = np.fft.irfft(spectrum * shape, samples)
    voice *= np.clip(np.sin(2 * np.pi * 2 * seconds) + 0.7, 0, None)
    return 0.5 * voice / np.abs(voice).max() + 1e-3 * breath


def measure(kind: str, paths: Sequence[Path]) -> list[str]:
    """One row of the table."""
    rate, _, asked = KINDS[kind]

    def read(path: Path) -> np.ndarray:
        return soundfile.read(path, dtype="float32")[0]

    def read_and_resample(path: Path) -> np.ndarray:
        return soxr.resample(read(path), rate, RATE)

    def cfbench(path: Path) -> np.ndarray:
        return fit_window(read_speech(path, WINDOW))

    programs = [read, *([read_and_resample] if rate != RATE else []), cfbench]
    rounds = [[clips_a_second(program, paths) for program in programs] for _ in range(REPEATS)]
    figures = [spread(speeds) for speeds in zip(*rounds, strict=True)]
    if rate == RATE:
        figures.insert(1, "")
    kilobytes = sum(path.stat().st_size for path in paths) / len(paths) / 1000
    return [kind, f"{kilobytes:.0f}", *figures, asked]


def clips_a_second(program: Callable[[Path], np.ndarray], paths: Sequence[Path]) -> float:
    """How many clips a program reads in a second."""
    begun = time.perf_counter()
    for path in paths:
        program(path)
    return len(paths) / (time.perf_counter() - begun)


def spread(speeds: Sequence[float]) -> str:
    """The median, and the lowest and highest."""
    return f"{statistics.median(speeds):,.0f} ({min(speeds):,.0f} to {max(speeds):,.0f})"


if __name__ == "__main__":
    main()
