"""What codecs are trained on: recordings, and what teachers say of them."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench.errors import CfbenchError
from cfbench.mini.levels import as_samples

TEACHER_RATE = 50
"""Frames a second of the teacher's features."""


@dataclass(frozen=True)
class Material:
    """Recordings in memory.

    Attributes:
        pcm: All recordings, one after the other, 16 bits.
        starts: Where each begins in `pcm`; one more for the end.
        voices: Of each recording.
        features: The teacher's features, one recording after the other: (frames, dims).
        feature_starts: Where each recording's features begin; one more for the end.
        embeddings: (recordings, 256), unit length: whose voice it is.
    """

    pcm: NDArray[np.int16]
    starts: NDArray[np.int64]
    voices: NDArray[np.str_]
    features: NDArray[np.float32] | None = None
    feature_starts: NDArray[np.int64] | None = None
    embeddings: NDArray[np.float32] | None = None

    def voice_targets(self) -> NDArray[np.float32] | None:
        """How each recording's voice differs from the mean of all voices: unit length.

        (recordings, 256), the same for all recordings of a voice: of a short one the speaker
        encoder knows less, and what all voices have in common says nothing.
        """
        if self.embeddings is None:
            return None
        names, voice = np.unique(self.voices, return_inverse=True)
        means = np.stack([self.embeddings[voice == i].mean(axis=0) for i in range(len(names))])
        means -= means.mean(axis=0)
        means /= np.maximum(np.linalg.norm(means, axis=1, keepdims=True), 1e-9)
        return means[voice].astype(np.float32)


def read_material(corpus: Path, teacher: bool) -> Material:
    """Read a corpus that `cfbench mini speech` made.

    Args:
        corpus: Its folder.
        teacher: Whether teachers.npz is needed too.

    Raises:
        CfbenchError: Something is missing.
    """
    path = corpus / "recordings.parquet"
    if not path.is_file():
        raise CfbenchError(f"{path}: no such file", "make the corpus first: cfbench mini speech")
    table = pl.read_parquet(path, columns=["voice", "samples", "pcm"])
    pcm = np.frombuffer(b"".join(table["pcm"].to_list()), "<i2")
    starts = np.concatenate([[0], np.cumsum(table["samples"].to_numpy())])
    voices = table["voice"].to_numpy().astype(str)
    if not teacher:
        return Material(pcm, starts, voices)
    path = corpus / "teachers.npz"
    if not path.is_file():
        raise CfbenchError(f"{path}: no such file", "have the teachers listen: cfbench mini teach")
    with np.load(path) as told:
        return Material(
            pcm, starts, voices, told["features"], told["feature_starts"], told["embeddings"]
        )


class Segments:
    """Draws segments of recordings, each sample of the corpus as likely as any other.

    Args:
        material: The recordings.
        voices: Whose; empty for all.
        length: Samples of a segment; shorter recordings are not drawn.
        seed: Of the draws.
    """

    def __init__(self, material: Material, voices: Collection[str], length: int, seed: int) -> None:
        self.material, self.length = material, length
        self.rng = np.random.Generator(np.random.PCG64(seed))
        sizes = np.diff(material.starts) - length
        usable = sizes > 0
        if voices:
            usable &= np.isin(material.voices, sorted(voices))
        self.recordings = np.flatnonzero(usable)
        if not len(self.recordings):
            raise CfbenchError(f"no recording of the voices is longer than {length} samples")
        # Recordings weigh as their length, voices all the same.
        names, voice = np.unique(material.voices[self.recordings], return_inverse=True)
        weight = (sizes[self.recordings] + length).astype(float)
        weight /= np.bincount(voice, weight, len(names))[voice]
        self.weight = weight / weight.sum()

    def draw(self, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Recordings and offsets in them: two of (count,)."""
        recordings = self.rng.choice(self.recordings, count, p=self.weight)
        room = np.diff(self.material.starts)[recordings] - self.length
        return recordings, self.rng.integers(0, room + 1)

    def of_same_voice(self, recordings: NDArray[np.int64], length: int) -> NDArray[np.float32]:
        """For each recording a part of another of its voice: (count, length).

        Raises:
            CfbenchError: All recordings of a voice are too short.
        """
        voices, sizes = self.material.voices, np.diff(self.material.starts)
        usable = self.recordings[sizes[self.recordings] > length]
        others = []
        for one in recordings:
            of_voice = usable[voices[usable] == voices[one]]
            if not len(of_voice):
                raise CfbenchError(f"no recording of {voices[one]} is longer than {length} samples")
            others.append(self.rng.choice(of_voice))
        chosen = np.array(others)
        return self._waves(chosen, self.rng.integers(0, sizes[chosen] - length + 1), length)

    def waves(
        self, recordings: NDArray[np.int64], offsets: NDArray[np.int64]
    ) -> NDArray[np.float32]:
        """Their samples: (count, length)."""
        return self._waves(recordings, offsets, self.length)

    def _waves(
        self, recordings: NDArray[np.int64], offsets: NDArray[np.int64], length: int
    ) -> NDArray[np.float32]:
        starts = self.material.starts[recordings] + offsets
        return as_samples(self.material.pcm[starts[:, None] + np.arange(length)])

    def features(
        self, recordings: NDArray[np.int64], offsets: NDArray[np.int64], frames: int, hop: int
    ) -> NDArray[np.float32]:
        """The teacher's features at a codec's frames, linear in between: (count, dims, frames)."""
        material = self.material
        if material.features is None or material.feature_starts is None:
            raise ValueError("no teacher")
        first = material.feature_starts[recordings]
        last = material.feature_starts[recordings + 1] - 1
        # A teacher's frame stands for the 20 ms around its middle.
        seconds = (offsets[:, None] + (np.arange(frames) + 0.5) * hop) / 16000
        place = np.clip(seconds * TEACHER_RATE - 0.5, 0, (last - first)[:, None])
        low = np.floor(place).astype(np.int64)
        high = np.minimum(low + 1, (last - first)[:, None])
        part = (place - low)[..., None]
        told = (
            material.features[first[:, None] + low] * (1 - part)
            + material.features[first[:, None] + high] * part
        )
        return told.transpose(0, 2, 1).astype(np.float32)
