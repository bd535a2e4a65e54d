"""The embedded track's speech: recordings out of Debian packages, made into one corpus.

Two tables come out. Recordings are what the codecs are trained on. Source clips are what the track
is made of; no codec has heard any of them, nor, for the test splits, any clip of their speakers.
"""

import csv
import fnmatch
import hashlib
import io
import subprocess
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from cfbench import content, files
from cfbench.audio import RATE
from cfbench.errors import CfbenchError
from cfbench.mini import levels

Samples = NDArray[np.float32]

SHORTEST, LONGEST = 2.0, 2.4
"""Source clips last that many seconds, drawn evenly."""
CLIPS: Mapping[str, int] = {"train": 22, "dev": 18, "test": 45}
"""Source clips of a voice, by the part that it plays."""
_SEED = 4
_LEAST_RECORDING = 0.4  # seconds of a recording that is worth keeping
_CROSSFADE = RATE // 50
_LEAST_RATE = 16000  # below, a recording has no upper half of the band


@dataclass(frozen=True)
class Voice:
    """Recordings of one person in one package.

    Attributes:
        voice: Its name in the track: "tux-fr".
        speaker: The person; two voices may be one person's.
        part: "train", "dev" or "test".
        package: The Debian package.
        files: A pattern of file names in it.
        language: ISO 639-1.
        attribution: Whom to thank.
    """

    voice: str
    speaker: str
    part: str
    package: str
    files: str
    language: str
    attribution: str


@dataclass(frozen=True)
class Package:
    """A Debian package of a pinned version.

    Attributes:
        sha256: Of the .deb.
        licence: SPDX, of its speech.
    """

    package: str
    version: str
    sha256: str
    licence: str
    homepage: str


def voices() -> list[Voice]:
    """The track's voices, from `tasks/mini/voices.csv`."""
    return [
        Voice(**row) for row in csv.DictReader(io.StringIO(content.text("tasks/mini/voices.csv")))
    ]


def packages() -> list[Package]:
    """Where they are from, from `tasks/mini/packages.csv`."""
    text = content.text("tasks/mini/packages.csv")
    return [Package(**row) for row in csv.DictReader(io.StringIO(text))]


def build(debs: Path, out: Path) -> tuple[Path, Path]:
    """Make the corpus.

    Args:
        debs: A folder with the .deb files, as `apt-get download` leaves them.
        out: The corpus' folder.

    Returns:
        recordings.parquet (voice, recording, samples, sha256, pcm: 16-bit little endian) and
        clips.parquet (clip, voice, speaker, part, recordings, samples, sha256, pcm).

    Raises:
        CfbenchError: A package is missing or is not the pinned one, or a voice has too few
            recordings.
    """
    paths = {package.package: _checked(package, debs) for package in packages()}
    found: dict[str, list[tuple[str, Samples]]] = {voice.voice: [] for voice in voices()}
    with ProcessPoolExecutor() as pool:
        for package, path in paths.items():
            wanted = [voice for voice in voices() if voice.package == package]
            for name_of_voice, name, samples in _decoded(pool, path, wanted):
                found[name_of_voice].append((name, samples))
    recordings, clips = [], []
    seen: set[str] = set()
    for voice in voices():
        kept = _without_twins(sorted(found[voice.voice], key=lambda item: item[0]), seen)
        made, left = _source_clips(voice, kept)
        clips += made
        if voice.part == "train":
            recordings += [
                _row(samples, voice=voice.voice, recording=name) for name, samples in left
            ]
    out.mkdir(parents=True, exist_ok=True)
    where = out / "recordings.parquet", out / "clips.parquet"
    for path, rows in zip(where, (recordings, clips), strict=True):
        table = pl.DataFrame(rows)
        files.write_atomically(path, table.write_parquet)
    return where


def _row(samples: Samples | NDArray[np.int16], **columns: object) -> dict[str, object]:
    pcm = samples if samples.dtype == np.int16 else np.rint(samples * 32767).astype(np.int16)
    data = pcm.astype("<i2").tobytes()
    return {**columns, "samples": len(pcm), "sha256": hashlib.sha256(data).hexdigest(), "pcm": data}


def _checked(package: Package, debs: Path) -> Path:
    # apt writes the colon of an epoch as %3a.
    version = package.version.replace(":", "%3a")
    path = debs / f"{package.package}_{version}_all.deb"
    hint = f"apt-get download {package.package}={package.version}, in {debs}"
    if not path.is_file():
        raise CfbenchError(f"{path}: no such package", hint)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != package.sha256:
        raise CfbenchError(f"{path}: sha256 is {digest}, not the pinned {package.sha256}", hint)
    return path


def _decoded(
    pool: ProcessPoolExecutor, deb: Path, wanted: Sequence[Voice]
) -> Iterator[tuple[str, str, Samples]]:
    # dpkg-deb writes the package's files as one tar, which needs no copy on disk.
    with subprocess.Popen(  # noqa: S603
        ["dpkg-deb", "--fsys-tarfile", str(deb)],  # noqa: S607
        stdout=subprocess.PIPE,
    ) as process:
        members: list[tuple[str, str, bytes]] = []
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                for voice in wanted:
                    if member.isfile() and fnmatch.fnmatch(member.name, voice.files):
                        stream = archive.extractfile(member)
                        members.append((voice.voice, member.name, stream.read() if stream else b""))
    if process.returncode:
        raise CfbenchError(f"{deb}: dpkg-deb could not read it")
    decoded = pool.map(_decode, [m[1] for m in members], [m[2] for m in members], chunksize=32)
    for (voice_name, name, _), samples in zip(members, decoded, strict=True):
        if samples is not None:
            yield voice_name, name, samples


def _decode(name: str, data: bytes) -> Samples | None:
    """A recording as levelled speech, or None where it is too short, too narrow or empty."""
    import soundfile
    import soxr

    if name.endswith(".g722"):
        samples, rate = _decode_g722(data), RATE
    else:
        samples, rate = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
        samples = samples.mean(axis=1)
    if rate < _LEAST_RATE or not len(samples):
        return None
    if rate != RATE:
        samples = soxr.resample(samples, rate, RATE, quality="HQ")
    speech = levels.level(levels.trim(samples))
    return speech if len(speech) >= _LEAST_RECORDING * RATE else None


def _decode_g722(data: bytes) -> Samples:
    import av

    if not data:
        return np.zeros(0, np.float32)
    with av.open(io.BytesIO(data), "r", format="g722") as container:
        parts = [frame.to_ndarray().reshape(-1) for frame in container.decode(audio=0)]
    joined = np.concatenate(parts) if parts else np.zeros(0, np.int16)
    return joined.astype(np.float32) / np.float32(32768)


def _without_twins(
    recordings: list[tuple[str, Samples]], seen: set[str]
) -> list[tuple[str, Samples]]:
    """Without recordings that are the same to the sample as an earlier one of any voice."""
    kept = []
    for name, samples in recordings:
        digest = hashlib.sha256(samples.tobytes()).hexdigest()
        if digest not in seen:
            seen.add(digest)
            kept.append((name, samples))
    return kept


def _source_clips(
    voice: Voice, recordings: list[tuple[str, Samples]]
) -> tuple[list[dict[str, object]], list[tuple[str, Samples]]]:
    """A voice's source clips, and the recordings of which none holds anything.

    A clip is a piece of a long recording, or short recordings one after the other: many packages
    hold single words.
    """
    rng = levels.random_of(f"{_SEED}/{voice.voice}")
    rest = [recordings[i] for i in rng.permutation(len(recordings))]
    clips: list[dict[str, object]] = []
    while len(clips) < CLIPS[voice.part]:
        length = int(rng.integers(int(SHORTEST * RATE), int(LONGEST * RATE) + 1))
        names: list[str] = []
        speech = np.zeros(0, np.float32)
        while len(speech) < length:
            if not rest:
                raise CfbenchError(f"{voice.voice}: too few recordings for its source clips")
            name, samples = rest.pop()
            names.append(name)
            speech = _joined(speech, samples)
        clip = f"{voice.voice}_{len(clips) + 1:03d}"
        clips.append(
            _row(
                levels.finish(speech[:length], f"{clip}/recording"),
                clip=clip,
                voice=voice.voice,
                speaker=voice.speaker,
                part=voice.part,
                recordings=names,
            )
        )
    return clips, sorted(rest, key=lambda item: item[0])


def _joined(first: Samples, second: Samples) -> Samples:
    """One after the other, faded into each other: neither click nor gap marks the seam."""
    if not len(first):
        return second
    ramp = np.linspace(0, 1, _CROSSFADE, dtype=np.float32)
    seam = first[-_CROSSFADE:] * (1 - ramp) + second[:_CROSSFADE] * ramp
    return np.concatenate([first[:-_CROSSFADE], seam, second[_CROSSFADE:]])
