"""What the teachers say of the corpus' recordings: the targets of codecs with an objective."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench import files
from cfbench.audio import RATE
from cfbench.errors import CfbenchError
from cfbench.mini.levels import as_samples
from cfbench.mini.teachers import FRAME, Recogniser, SpeakerEncoder

COMPONENTS = 16
"""Principal components of the recogniser's states that are looked at; the rest are mostly what a
small codec cannot know of a short stretch."""
_BY_POSITION = 0.1
_HEARD_AT_ONCE = 29 * RATE  # the recogniser's window, less a margin
_PAUSE = RATE // 2  # between recordings in one window
_FOR_COMPONENTS = 40_000  # frames


def teach(corpus: Path, progress: Callable[[float], None] = lambda share: None) -> Path:
    """Have the teachers listen to the recordings.

    The recogniser hears recordings one after the other, as many as fit into its 30 s, which is
    fifteen times faster than one by one.

    Args:
        corpus: Folder of recordings.parquet.
        progress: Is told the share of the work that is done.

    Returns:
        teachers.npz: features (frames, dims) at 50 Hz, of unit deviation; feature_starts;
        components (384, dims) and mean (384,) that make them of the recogniser's states; embeddings
        (recordings, 256).

    Raises:
        CfbenchError: A teacher is not installed, or there is no corpus.
    """
    path = corpus / "recordings.parquet"
    if not path.is_file():
        raise CfbenchError(f"{path}: no such file", "make the corpus first: cfbench mini speech")
    pcm = pl.read_parquet(path, columns=["pcm"])["pcm"].to_list()
    clips = [as_samples(np.frombuffer(data, "<i2")) for data in pcm]
    states, positions = _listen(clips, progress)
    starts = np.concatenate([[0], np.cumsum([len(one) for one in states])])
    together = np.concatenate(states)
    mean, components = principal_components(together)
    features = ((together - mean) @ components).astype(np.float16)
    # The recogniser's states hold, before all else, where in its window a frame is.
    told = share_of_position(features, np.concatenate(positions)) < _BY_POSITION
    features, components = features[:, told], components[:, told]
    embeddings = SpeakerEncoder().embed_batch(clips)
    out = corpus / "teachers.npz"

    def write(place: Path) -> None:
        with place.open("wb") as stream:
            np.savez(
                stream,
                features=features,
                feature_starts=starts,
                mean=mean,
                components=components,
                embeddings=embeddings,
            )

    files.write_atomically(out, write)
    return out


def principal_components(
    states: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The directions of most variance.

    Args:
        states: (frames, dims).

    Returns:
        The mean (dims,) and a matrix (dims, 16) that makes of centred states components of unit
        deviation.
    """
    some = states[:: max(1, len(states) // _FOR_COMPONENTS)].astype(np.float64)
    mean = some.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(some - mean, rowvar=False))
    largest = np.argsort(values)[::-1][:COMPONENTS]
    matrix = vectors[:, largest]
    # The sign of an eigenvector is chance: the largest entry is made positive.
    matrix *= np.sign(matrix[np.abs(matrix).argmax(axis=0), np.arange(COMPONENTS)])
    return mean.astype(np.float32), (matrix / np.sqrt(values[largest])).astype(np.float32)


def share_of_position(
    features: NDArray[np.floating], positions: NDArray[np.int64]
) -> NDArray[np.float64]:
    """How much of each feature's variance the frame's position in the window explains.

    Args:
        features: (frames, dims).
        positions: (frames,).

    Returns:
        (dims,), 0 to 1.
    """
    counts = np.maximum(np.bincount(positions), 1)
    shares = []
    for feature in features.T.astype(np.float64):
        means = np.bincount(positions, feature) / counts
        shares.append(means[positions].var() / max(feature.var(), 1e-12))
    return np.array(shares)


def _listen(
    clips: list[NDArray[np.float32]], progress: Callable[[float], None]
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.int64]]]:
    """States of each clip, and where in the recogniser's window each frame was."""
    recogniser = Recogniser()
    states: list[NDArray[np.float32]] = []
    positions: list[NDArray[np.int64]] = []
    window: list[NDArray[np.float32]] = []
    length = 0

    def hear() -> None:
        """Features of the recordings in the window, each from its own frames."""
        pieces, starts, at = [], [], 0
        for clip in window:
            # Recordings begin on a frame.
            gap = _PAUSE + -(len(clip) + _PAUSE) % FRAME
            pieces += [clip, np.zeros(gap, np.float32)]
            starts.append(at)
            at += len(clip) + gap
        heard = recogniser.features(np.concatenate(pieces))
        for clip, start in zip(window, starts, strict=True):
            first = start // FRAME
            states.append(heard[first : first + -(-len(clip) // FRAME)])
            positions.append(first + np.arange(len(states[-1])))
        progress(len(states) / len(clips))

    for clip in clips:
        size = len(clip) + _PAUSE + FRAME
        if window and length + size > _HEARD_AT_ONCE:
            hear()
            window, length = [], 0
        window.append(clip[:_HEARD_AT_ONCE])
        length += size
    if window:
        hear()
    return states, positions
