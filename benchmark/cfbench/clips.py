"""Clips as a torch dataset: decoded, augmented, cut to the window, ready to be batched."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from cfbench.audio import fit_window, read_speech, spread_windows
from cfbench.errors import CfbenchError, Problem
from cfbench.rawboost import augment
from cfbench.sampling import item_rng


@dataclass(frozen=True)
class Augment:
    """How clips are augmented.

    Attributes:
        algorithm: RawBoost's, 0 to 8.
        seed: With `epoch` and the utterance's id it decides an utterance's random numbers, so that
            neither workers nor processes change them.
        epoch: Counts up in training; fixed where every pass must be the same.
        crop: Length of the excerpt that is drawn from each clip; 0 for the window at its start.
    """

    algorithm: int
    seed: int
    epoch: int
    crop: int = 0


@dataclass(frozen=True)
class Batch:
    """Clips of one batch.

    Attributes:
        rows: Which of the dataset's clips, (B,).
        waveforms: (B, samples) float32; (B, windows, samples) where clips have several windows.
        failed: Rows that could not be decoded, and why; they are not among `rows`.
    """

    rows: NDArray[np.int64]
    waveforms: Tensor
    failed: Mapping[int, Problem]

    def pin_memory(self) -> "Batch":
        """The same, ready to be copied to a GPU; the loader calls it."""
        return Batch(self.rows, self.waveforms.pin_memory(), self.failed)


class Clips(Dataset[tuple[int, NDArray[np.float32] | Problem]]):
    """Audio files by row.

    Args:
        utt_ids: Of each row.
        paths: Of each row; None where an utterance has no file.
        samples: Length of the window, where none is drawn.
        augmented: How to augment; None for not at all.
        windows: How many windows each clip has, where none is drawn: see `spread_windows`.
    """

    def __init__(
        self,
        utt_ids: Sequence[str],
        paths: Sequence[Path | None],
        samples: int,
        augmented: Augment | None = None,
        windows: int = 1,
    ) -> None:
        self.utt_ids = utt_ids
        self.paths = paths
        self.samples = samples
        self.augmented = augmented
        self.windows = windows

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[int, NDArray[np.float32] | Problem]:
        """The row and its waveform, or what is wrong with its file.

        The waveform is float32: (crop,) where an excerpt is drawn, else (samples,), or
        (windows, samples) if there are several.
        """
        how, path = self.augmented, self.paths[row]
        if path is None:
            return row, Problem(f"{self.utt_ids[row]}: no audio file")
        try:
            if how is None or (how.algorithm == 0 and not how.crop):
                return row, self._cut(
                    read_speech(path, self.samples if self.windows == 1 else None)
                )
            rng = item_rng(how.seed, how.epoch, self.utt_ids[row])
            speech = read_speech(path)
            if how.algorithm:
                # The whole clip is augmented before it is cut, as the authors do.
                speech = augment(speech, how.algorithm, rng)
        except CfbenchError as error:
            # An exception of a worker process would lose its form on the way.
            return row, error.problems[0]
        if not how.crop:
            return row, self._cut(speech)
        start = int(rng.integers(max(len(speech) - how.crop, 0) + 1))
        return row, fit_window(speech[start:], how.crop)

    def _cut(self, speech: NDArray[np.float32]) -> NDArray[np.float32]:
        if self.windows == 1:
            return fit_window(speech, self.samples)
        return spread_windows(speech, self.samples, self.windows)


def load(
    clips: Clips, batches: Sequence[Sequence[int]], workers: int, pin: bool
) -> Iterator[Batch]:
    """Batches of clips, decoded ahead in worker processes.

    Args:
        clips: The dataset.
        batches: The rows of each batch, in order.
        workers: Processes that decode; 0 decodes in this one.
        pin: Whether batches are to be copied to a GPU.

    Raises:
        CfbenchError: A worker process was ended from outside.
    """
    # The loader would start its workers for nothing.
    if not batches:
        return
    loader: DataLoader[Any] = DataLoader(
        clips,
        batch_sampler=batches,  # type: ignore[arg-type]  # a list is a sampler too
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=pin,
        prefetch_factor=4 if workers else None,
        # Without one of its own a loader draws from torch's generator, and a resumed run would
        # draw once more than an uninterrupted one.
        generator=torch.Generator(),
    )
    try:
        yield from loader
    except RuntimeError as error:
        if "DataLoader worker (pid" not in str(error):
            raise
        raise CfbenchError(
            f"a process that decodes audio was ended: {str(error).splitlines()[0]}",
            "memory, or shared memory (docker run --shm-size), may have run out: try --workers 0",
        ) from None


def _collate(items: Sequence[tuple[int, NDArray[np.float32] | Problem]]) -> Batch:
    good = [(row, wave) for row, wave in items if not isinstance(wave, Problem)]
    waves = np.stack([wave for _, wave in good]) if good else np.zeros((0, 0), np.float32)
    return Batch(
        np.array([row for row, _ in good], np.int64),
        # Where numpy puts it differs from one process to the next, and so does the rounding.
        torch.from_numpy(waves).clone(),
        {row: wave for row, wave in items if isinstance(wave, Problem)},
    )
