"""Reads clips as the reference system hears them, and finds the clip of each utterance.

soundfile (libsndfile) decodes and soxr resamples; both come with `pip install 'cfbench[baseline]'`
and are imported when the first clip is read.
"""

import io
import os
import re
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from cfbench.errors import CfbenchError, Problem, name_some, plural

RATE = 16_000
"""Samples a second of all speech in cfbench."""

WINDOW = 64_600
MOST_SAMPLES = 10_000_000
"""Samples that the reference system hears of a clip: 4.04 s."""

# Of all that libsndfile reads, the formats in which a file that is cut short is recognised.
SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aiff", ".aif", ".aifc", ".au", ".snd"),
)
"""What the name of a clip may end in, in either case."""

# soxr's HQ filter reaches 128 samples of the lower rate to either side (measured); four times that.
_MARGIN = 512
_BLOCK = 1 << 20
# Resampling a long clip from a rate of a few hertz would take all the memory there is.
_LOUDEST = 100.0  # far beyond any over-modulation; integers that were never scaled are louder
_LEAST_RATE = 1_000
# Programs that write to a pipe leave 0 or something this large as the length; no clip is so long.
_UNSAID = 0x7FFF_0000
# A part that is empty, `.` or `..`, what Windows reads as a separator or a drive, and the byte 0.
_NOT_BELOW = re.compile(r"(?:^|/)\.{0,2}/|[\\\0]|^[A-Za-z]:")

_FETCH_AGAIN = "fetch or copy it again: an interrupted transfer leaves such files"
_CONVERT = "WAV, FLAC, OGG, Opus, MP3 and AIFF are read; convert it: ffmpeg -i {name} OUT.wav"


@dataclass(frozen=True)
class Clips:
    """Where the clips of utterances are.

    Attributes:
        paths: The file of each utterance that has one, in the order that was asked for.
        missing: The utterances that have none, in the same order.
    """

    paths: Mapping[str, Path]
    missing: tuple[str, ...]

    def with_files(self, more: Mapping[str, str], utt_ids: Sequence[str]) -> "Clips":
        """The same with files of utterances that have none yet.

        Args:
            more: A file for some of `missing`.
            utt_ids: All utterances, in the order that was asked for.
        """
        files = {utt_id: str(self.paths[utt_id]) for utt_id in self.paths} | dict(more)
        return Clips(
            _Paths({utt_id: files[utt_id] for utt_id in utt_ids if utt_id in files}),
            tuple(utt_id for utt_id in self.missing if utt_id not in more),
        )


class _Paths(Mapping[str, Path]):
    # A million objects of pathlib take a gigabyte, and longer than to list their folder.
    def __init__(self, files: dict[str, str]) -> None:
        self._files = files

    def __getitem__(self, utt_id: str) -> Path:
        return Path(self._files[utt_id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


def read_speech(path: Path, most: int | None = None) -> NDArray[np.float32]:
    """Read a clip as mono speech at 16 kHz, as librosa's `load(path, sr=16000)` does.

    Channels are averaged, then resampled by soxr at its quality HQ; the level is left as it is.
    Of a long clip only the beginning is decoded, with so much more than `most` that the result
    is that of the whole clip to 1e-6; an MP3 is decoded to its end. Whether the rest is there is
    known for WAV, FLAC, OGG, Opus, MP3, AIFF and AU; other containers need not give it away.

    Args:
        path: A file in any format, and of any rate and number of channels, that libsndfile reads.
        most: How many samples at 16 kHz to return at most; None for all.

    Returns:
        Shape (samples,), at least one; full scale is 1.

    Raises:
        CfbenchError: The file is missing, cannot be read, is not audio, has no samples, is cut
            short or damaged, or what was read is silent or not finite; or the libraries are not
            installed.
        ValueError: `most` is not positive.
    """
    if most is not None and most < 1:
        raise ValueError(f"most must be positive, not {most}")
    soundfile, soxr = _libraries()
    source = _open_safely(path)
    try:
        with soundfile.SoundFile(source) as file:
            rate, frames = file.samplerate, _count_frames(path, file)
            asked = frames if most is None else min(frames, _rescale(most, RATE, rate))
            needed = min(frames, asked + _rescale(_MARGIN, min(rate, RATE), rate))
            # Only its end shows that an MP3 is whole, and its decoder complains on standard error
            # where a reader stops on the way.
            mono = _read_mono(path, file, frames if file.format == "MP3" else needed)[:needed]
            if file.format == "FLAC" and needed < frames:
                file.seek(frames - 1)
                _read_mono(path, file, 1)
    except soundfile.LibsndfileError as error:
        raise _undecodable(path, error) from None
    _check_samples(path, mono, asked, rate)
    if rate != RATE:
        length = _rescale(len(mono), rate, RATE)
        mono = soxr.resample(mono, rate, RATE, quality="HQ")
        # librosa rounds the length up, soxr to the nearest: the sample that is lacking is 0.
        mono = np.pad(mono, (0, max(0, length - len(mono))))
    return mono[:most]


def fit_window(speech: NDArray[np.float32], samples: int = WINDOW) -> NDArray[np.float32]:
    """The beginning of a clip, or the clip repeated until it fills the window.

    Args:
        speech: Shape (n,), at least one sample.
        samples: The length of the window.

    Returns:
        Shape (samples,): a copy, sample i being sample i mod n of `speech`.

    Raises:
        ValueError: `speech` is empty or not of one dimension, or `samples` is not positive.
    """
    if speech.ndim != 1 or not speech.size or samples < 1:
        raise ValueError(f"cannot fill {samples} samples from an array of shape {speech.shape}")
    return np.resize(speech[:samples], samples).astype(np.float32, copy=False)


def spread_windows(speech: NDArray[np.float32], samples: int, windows: int) -> NDArray[np.float32]:
    """Windows at equal distances, the first at a clip's start and the last at its end.

    Args:
        speech: Shape (n,), at least one sample. Shorter than a window: all windows are the same,
            the clip repeated.
        samples: The length of a window.
        windows: How many; one is at the start.

    Returns:
        Shape (windows, samples): a copy.

    Raises:
        ValueError: As `fit_window`, or `windows` is not positive.
    """
    if windows < 1:
        raise ValueError(f"cannot cut {windows} windows")
    starts = np.linspace(0, max(len(speech) - samples, 0), windows).round().astype(int)
    return np.stack([fit_window(speech[start:], samples) for start in starts])


def find_clips(
    folders: Sequence[Path], utt_ids: Sequence[str], below: Sequence[str] = ("",)
) -> Clips:
    """Find the clip of each utterance: FOLDER/BELOW/UTT_ID and one of `SUFFIXES`.

    Each folder is listed once, however many clips it holds.

    Args:
        folders: Where to look.
        utt_ids: The utterances; `CLAMTTS/0_ours` is looked for in the subfolder `CLAMTTS`.
        below: Subfolders of each folder that hold clips; `""` is the folder itself.

    Raises:
        CfbenchError: A folder is not there or cannot be listed, an utt_id leads out of it, or an
            utterance has more than one file.
    """
    check_folders(folders)
    wanted = _group_by_subfolder(utt_ids)
    # The same folder may be given twice, by two names.
    roots = {(folder / part).resolve(): folder / part for folder in folders for part in below}
    found: dict[str, str] = {}
    doubled: dict[str, list[str]] = {}
    for root in roots.values():
        for subfolder, names in wanted.items():
            for name, file in _list_audio(root / subfolder, names):
                utt_id = subfolder + name
                if utt_id in found:
                    doubled.setdefault(utt_id, [found[utt_id]]).append(file)
                found[utt_id] = file
    if doubled:
        named = [
            f"{utt_id} ({' and '.join(sorted(doubled[utt_id]))})" for utt_id in sorted(doubled)[:5]
        ]
        raise CfbenchError(
            f"{plural(len(doubled), 'utterance has|utterances have')} more than one file: "
            f"{name_some(named, len(doubled), width=300)}",
            "keep one file an utterance, or name only the folder that holds the right one",
        )
    return Clips(
        _Paths({utt_id: found[utt_id] for utt_id in utt_ids if utt_id in found}),
        tuple(dict.fromkeys(utt_id for utt_id in utt_ids if utt_id not in found)),
    )


def _libraries() -> tuple[Any, Any]:
    try:
        import soundfile
        import soxr
    except (ImportError, OSError) as error:  # OSError: soundfile without its libsndfile
        raise CfbenchError(
            f"audio cannot be read: {error}", "pip install 'cfbench[baseline]'"
        ) from None
    return soundfile, soxr


def _rescale(count: int, rate: int, to: int) -> int:
    return -(-count * to // rate)


def _convert(path: Path) -> str:
    return _CONVERT.format(name=path.name)


def _cut_short(path: Path, how: str) -> CfbenchError:
    return CfbenchError(f"{path}: cut short: {how}", _FETCH_AGAIN)


def _undecodable(path: Path, error: Any) -> CfbenchError:
    if error.code == 1:
        return CfbenchError(f"{path}: not audio that libsndfile knows", _convert(path))
    reason = error.error_string.removeprefix("Error : ")
    return CfbenchError(f"{path}: damaged or cut short (libsndfile: {reason})", _FETCH_AGAIN)


def _open_safely(path: Path) -> str | bytes | BinaryIO:
    """What soundfile is to open, once the container is known to hold what it promises."""
    try:
        # Opening a pipe would wait for ever.
        if path.exists() and not path.is_file():
            what = "a folder" if path.is_dir() else "not a file"
            raise CfbenchError(f"{path}: {what}", "name an audio file")
        # soundfile goes by this suffix alone, and asks for the rate.
        if path.suffix.lower() == ".raw":
            raise CfbenchError(f"{path}: samples without a header", _convert(path))
        with path.open("rb") as stream:
            size = stream.seek(0, os.SEEK_END)
            stream.seek(0)
            start = stream.read(12)
            if not start:
                raise CfbenchError(f"{path}: empty (0 bytes)", _FETCH_AGAIN)
            if start == b"version http":
                raise CfbenchError(f"{path}: a Git LFS pointer, not audio", "git lfs pull")
            if start.startswith(b"OggS"):
                _check_last_page(path, stream, size)
            mended = _check_chunks(path, stream, start, size)
    except FileNotFoundError:
        raise CfbenchError(f"{path}: no such file", "check the name and the folder") from None
    except OSError as error:
        raise CfbenchError(
            f"{path}: cannot be read: {error.strerror}", "see that you may read it: ls -l"
        ) from None
    # On POSIX a name may be bytes that no text stands for; on Windows it is text.
    return mended or (str(path) if os.name == "nt" else os.fsencode(path))


def _check_chunks(path: Path, stream: BinaryIO, start: bytes, size: int) -> BinaryIO | None:
    """Hold the length in a WAV, AIFF or AU against the file; libsndfile corrects it unasked.

    Returns:
        The file with its length set to unknown, where a program that wrote to a pipe left 0.
    """
    if start.startswith(b".snd") and len(start) == 12:
        at, length = struct.unpack(">4x2I", start)
        _check_length(path, length, size - at, 1)
    order = {b"RIFF": "<", b"RIFX": ">", b"FORM": ">"}.get(start[:4])
    if order is None or len(start) < 12:
        return None
    whole = struct.unpack_from(f"{order}I", start, 4)[0]
    frame, at = 1, 12
    # A file of zeros would have millions of empty chunks.
    for _ in range(1000):
        stream.seek(at)
        chunk = stream.read(22)
        if len(chunk) < 8:
            break
        name, length = struct.unpack_from(f"{order}4sI", chunk)
        at += 8
        if name in (b"data", b"SSND"):
            if not length and at < size and not 0 < whole < _UNSAID:
                stream.seek(0)
                content = stream.read()
                return io.BytesIO(content[: at - 4] + b"\xff" * 4 + content[at:])
            _check_length(path, length, size - at, frame)
            break
        if name == b"fmt " and len(chunk) == 22:
            frame = struct.unpack_from(f"{order}H", chunk, 20)[0] or 1
        at += length + length % 2
    return None


def _check_length(path: Path, promised: int, there: int, frame: int) -> None:
    # Part of a frame more or less is no sample.
    if promised < _UNSAID and there // frame < promised // frame:
        raise _cut_short(path, f"{max(0, there):,} of {promised:,} bytes of samples are there")


def _check_last_page(path: Path, stream: BinaryIO, size: int) -> None:
    """An Ogg does not say how long it is, but its last page says that it is the last."""
    # No page is longer than 65,307 bytes.
    stream.seek(max(0, size - (1 << 17)))
    _, mark, page = stream.read().rpartition(b"OggS")
    if not mark or len(page) < 23 or len(page) < 23 + page[22] + sum(page[23 : 23 + page[22]]):
        raise _cut_short(path, "its last page is not whole")
    if not page[1] & 4:
        raise _cut_short(path, "its last page is not there")


def _count_frames(path: Path, file: Any) -> int:
    frames: int = file.frames
    if file.samplerate < _LEAST_RATE:
        raise CfbenchError(
            f"{path}: a rate of {file.samplerate:,} Hz cannot carry speech",
            "its header is damaged or was written wrongly: write the clip again",
        )
    if not frames:
        raise CfbenchError(f"{path}: a header, and no samples", _FETCH_AGAIN)
    if frames >= 1 << 62:
        raise CfbenchError(
            f"{path}: does not say how long it is: it was written to a pipe",
            f"write it to a file: ffmpeg -i {path.name} OUT{path.suffix}",
        )
    return frames


def _read_mono(path: Path, file: Any, frames: int) -> NDArray[np.float32]:
    """The next frames; in blocks, lest a damaged header ask for all the memory there is."""
    blocks = []
    left, channels = frames, file.channels
    while left:
        block = file.read(min(left, _BLOCK // channels), dtype="float32", always_2d=True)
        if not len(block):
            raise _cut_short(path, f"{plural(left, 'frame is|frames are')} missing")
        # Far quicker than numpy's mean over a short axis, and the same to the bit.
        with np.errstate(over="ignore", invalid="ignore"):  # _check_samples will see
            blocks.append(block[:, 0] if channels == 1 else sum(block.T) / channels)
        left -= len(block)
    return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _check_samples(path: Path, mono: NDArray[np.float32], asked: int, rate: int) -> None:
    """Refuse samples that are not finite, and silence."""
    # Neither the least nor the greatest is finite where there is a NaN.
    if not (np.isfinite(mono.min()) and np.isfinite(mono.max())):
        first = int(np.flatnonzero(~np.isfinite(mono))[0])
        raise CfbenchError(
            f"{path}: the sample at {first / rate:.4f} s is not finite ({mono[first]})",
            "write the clip again; float samples lie within -1 to 1",
        )
    heard = mono[:asked]
    if max(-heard.min(), heard.max()) > _LOUDEST:
        raise CfbenchError(
            f"{path}: samples up to {np.abs(heard).max():g}",
            "float samples lie within -1 to 1: divide those of integers by their full scale",
        )
    if heard.min() == heard.max():
        raise CfbenchError(
            f"{path}: silent: nothing but {heard[0]:g} in the first {plural(asked, 'sample')}",
            "there is nothing to score: record it again, or take the utterance out of the lists",
        )


def check_folders(folders: Sequence[Path]) -> None:
    """Make sure that folders of clips are there.

    Raises:
        CfbenchError: Those that are not, all at once.
    """
    problems = [
        Problem(
            f"{folder}: {'not a folder' if folder.exists() else 'no such folder'}",
            "name a folder that holds clips",
        )
        for folder in folders
        if not folder.is_dir()
    ]
    if problems:
        raise CfbenchError.of(problems)


def _group_by_subfolder(utt_ids: Sequence[str]) -> dict[str, set[str]]:
    """The names to look for in each subfolder, which is `""` or ends in `/`."""
    wanted: dict[str, set[str]] = {}
    elsewhere: set[str] = set()
    leaving = []
    for utt_id in utt_ids:
        above, slash, name = utt_id.rpartition("/")
        subfolder = above + slash
        if subfolder not in wanted:
            wanted[subfolder] = set()
            if _NOT_BELOW.search(subfolder):
                elsewhere.add(subfolder)
        if subfolder in elsewhere or name in ("", ".", ".."):
            leaving.append(repr(utt_id))
        wanted[subfolder].add(name)
    if leaving:
        raise CfbenchError(
            f"{plural(len(leaving), 'utt_id does|utt_ids do')} not name a file below a folder: "
            f"{name_some(leaving)}",
            "an utt_id is a name, or names joined by /; none of them empty, . or ..",
        )
    return wanted


def _list_audio(folder: Path, names: Collection[str]) -> Iterator[tuple[str, str]]:
    """The audio files of a folder that bear one of the names, each with its name."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                name, dot, suffix = entry.name.rpartition(".")
                # The name first: it rules out most files of a folder that holds other clips too.
                if name in names and (dot + suffix).lower() in SUFFIXES and entry.is_file():
                    yield name, entry.path
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise CfbenchError(
            f"{folder}: cannot be listed: {error.strerror}", "see that it may be read"
        ) from None
