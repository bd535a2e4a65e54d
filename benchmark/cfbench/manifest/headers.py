"""What one audio file is, by its header and its bytes, without decoding it.

A WAV or FLAC is looked at by a few lines of Python, which take a tenth of the time that libsndfile
takes to open it; what these lines do not know is given to soundfile.
"""

import hashlib
import json
import os
import signal
import struct
import sys
from pathlib import Path
from typing import Any, NamedTuple

SUFFIXES = (
    *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
    *(".aiff", ".aif", ".aifc", ".au", ".snd"),
)
"""As `cfbench.audio` has them; that module takes numpy along, which this one is too quick for."""

_START = 4096
_BLOCK = 1 << 20
# Programs that write to a pipe leave 0 or something this large as the length; no clip is so long.
_UNSAID = 0x7FFF_0000
_MOST_CHUNKS = 1000
# What libsndfile opens, and what can carry speech.
_LEAST_RATE, _MOST_RATE, _MOST_CHANNELS = 1_000, 1_000_000, 1_024
_PLAIN, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
# Whose samples FLAC would store as the same bytes, so that one digest stands for both.
_SAME_IN_FLAC = (16, 24)
_NO_DIGEST = b"\0" * 16


class Facts(NamedTuple):
    """What is known of a file.

    Attributes:
        size: Bytes, when it was read.
        mtime_ns: When it was changed last, in nanoseconds.
        format: "wav", "flac", or libsndfile's name in lower case; None where it is no audio.
        samples: A channel; None where the header does not say.
        rate: Samples a second.
        channels: How many.
        sha256: Of the file; None where it was not asked for.
        pcm_md5: Of the samples as bytes, as FLAC counts it: the same for a WAV and its FLAC. None
            for what is neither, and for a WAV whose digest was not asked for.
        problem: What is wrong with it; None where nothing is.
    """

    size: int
    mtime_ns: int
    format: str | None = None
    samples: int | None = None
    rate: int | None = None
    channels: int | None = None
    sha256: str | None = None
    pcm_md5: str | None = None
    problem: str | None = None


class _Broken(Exception):
    """The file is not what it should be; the message goes into the table."""


class _Layout(NamedTuple):
    """Where the samples of a file are; `bits` of 0 is for what has no digest of its own."""

    format: str
    samples: int
    rate: int
    channels: int
    bits: int = 0
    at: int = 0
    length: int = 0
    pcm_md5: str | None = None


class _Unknown(Exception):
    """soundfile has to look at it."""


def read_facts(path: str | bytes, digests: bool, decode: bool = False) -> Facts:
    """Look at one file.

    Args:
        path: The file; on POSIX its name may be bytes that no text stands for.
        digests: Whether to read all of it for `sha256` and, of a WAV, `pcm_md5`.
        decode: Whether to decode all of it, as a model would hear it; what then is wrong is a
            problem too, silence included.

    Returns:
        What is known; a file that cannot be read is a problem, not an exception.
    """
    try:
        # A pipe or device in place of a file must not block.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _BINARY)
    except OSError as error:
        return Facts(0, 0, problem=f"cannot be read: {error.strerror}")
    try:
        state = os.fstat(handle)
        size, changed = state.st_size, state.st_mtime_ns
        if not _is_file(state.st_mode):
            return Facts(size, changed, problem="not a file")
        if not size:
            return Facts(0, changed, problem="empty (0 bytes)")
        start = os.read(handle, _START)
        sha256, layout, problem = None, None, None
        try:
            layout = _look(handle, start, size, path)
        except _Broken as broken:
            problem = str(broken)
        pcm_md5 = layout.pcm_md5 if layout else None
        if digests:
            sha256, md5 = _digest(handle, size, layout)
            pcm_md5 = md5 or pcm_md5
        if layout is None:
            return Facts(size, changed, sha256=sha256, problem=problem)
        if not (_LEAST_RATE <= layout.rate <= _MOST_RATE and layout.channels <= _MOST_CHANNELS):
            problem = f"{layout.rate:,} Hz, {layout.channels:,} channels: its header is damaged"
            return Facts(size, changed, sha256=sha256, problem=problem)
        if not layout.samples:
            problem = "a header, and no samples"
        elif decode:
            problem = _heard(path)
        return Facts(
            size,
            changed,
            layout.format,
            layout.samples,
            layout.rate,
            layout.channels,
            sha256,
            pcm_md5,
            problem,
        )
    except OSError as error:
        return Facts(0, 0, problem=f"cannot be read: {error.strerror}")
    finally:
        os.close(handle)


_BINARY = getattr(os, "O_BINARY", 0)


def _is_file(mode: int) -> bool:
    return mode & 0o170000 == 0o100000


def _look(handle: int, start: bytes, size: int, path: str | bytes) -> _Layout:
    try:
        if start[:4] == b"RIFF" and start[8:12] == b"WAVE":
            return _look_at_wav(handle, start, size)
        if start[:4] == b"fLaC":
            return _look_at_flac(start, path)
        if start.startswith(b"version https://git-lfs"):
            raise _Broken("a Git LFS pointer, not audio")
        raise _Unknown
    except (_Unknown, struct.error):
        return _ask_soundfile(path)


def _look_at_wav(handle: int, start: bytes, size: int) -> _Layout:
    kind = None
    at = 12
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(start):
            # Chunks before the samples are rare, and seldom long.
            head = start[at : at + 8] if at + 8 <= len(start) else _read_at(handle, at, 8)
            if len(head) < 8:
                raise _Broken("cut short: its header is not whole")
        else:
            head = start[at : at + 8]
        name, length = struct.unpack("<4sI", head)
        at += 8
        if name == b"fmt ":
            kind = struct.unpack("<HHIIHH", _read_at(handle, at, 16, start))
        elif name == b"data":
            if kind is None:
                raise _Unknown
            tag, channels, rate, _, frame, bits = kind
            if tag not in (_PLAIN, _FLOAT, _EXTENSIBLE) or not frame or not channels:
                raise _Unknown
            there = size - at
            whole = struct.unpack_from("<I", start, 4)[0]
            if length >= _UNSAID or (not length and not 0 < whole < _UNSAID):
                length = there
            if there // frame < length // frame:
                raise _Broken(
                    f"cut short: {max(0, there):,} of {length:,} bytes of samples are there"
                )
            plain = tag != _FLOAT and bits in _SAME_IN_FLAC and frame == channels * bits // 8
            length = length // frame * frame
            return _Layout("wav", length // frame, rate, channels, plain * bits, at, length)
        at += length + length % 2
    raise _Unknown


def _look_at_flac(start: bytes, path: str | bytes) -> _Layout:
    kind, length = start[4] & 0x7F, int.from_bytes(start[5:8])
    if kind != 0 or length < 34 or len(start) < 42:
        raise _Unknown
    packed = int.from_bytes(start[18:26])
    samples, rate = packed & (1 << 36) - 1, packed >> 44
    channels, digest = (packed >> 41 & 7) + 1, start[26:42]
    if not samples or not rate:
        raise _Unknown
    _check_end(path, samples)
    pcm_md5 = None if digest == _NO_DIGEST else digest.hex()
    return _Layout("flac", samples, rate, channels, pcm_md5=pcm_md5)


def _read_at(handle: int, at: int, count: int, start: bytes = b"") -> bytes:
    if at + count <= len(start):
        return start[at : at + count]
    os.lseek(handle, at, os.SEEK_SET)
    return os.read(handle, count)


def _soundfile() -> Any:
    try:
        import soundfile
    except (ImportError, OSError):  # OSError: soundfile without its libsndfile
        return None
    return soundfile


def _check_end(path: str | bytes, samples: int) -> None:
    """Decode the last sample: only that shows that a FLAC is whole."""
    soundfile = _soundfile()
    if soundfile is None:
        raise _Broken("cannot be checked to its end: soundfile is not installed")
    try:
        with soundfile.SoundFile(_name(path)) as file:
            file.seek(samples - 1)
            if len(file.read(1, dtype="int16")) == 1:
                return
    except soundfile.LibsndfileError as error:
        raise _Broken(_told(error)) from None
    raise _Broken("cut short: its last sample is not there")


def _ask_soundfile(path: str | bytes) -> _Layout:
    soundfile = _soundfile()
    if soundfile is None:
        raise _Broken("neither WAV nor FLAC, and soundfile is not installed")
    # `cfbench.audio` tells cut files of more formats, and tells them well; they are rare here.
    problem = _heard(path)
    if problem is not None and not problem.startswith("silent"):
        raise _Broken(problem)
    try:
        with soundfile.SoundFile(_name(path)) as file:
            return _Layout(file.format.lower(), file.frames, file.samplerate, file.channels)
    except soundfile.LibsndfileError as error:
        raise _Broken(_told(error)) from None


def _name(path: str | bytes) -> str | bytes:
    # On POSIX a name may be bytes that no text stands for; on Windows it is text.
    return os.fsdecode(path) if os.name == "nt" else os.fsencode(path)


def _heard(path: str | bytes) -> str | None:
    """What is wrong with a file for who decodes it."""
    # It takes numpy along, which most files are looked at without.
    from cfbench.audio import read_speech
    from cfbench.errors import CfbenchError

    place = Path(os.fsdecode(path))
    try:
        read_speech(place)
    except CfbenchError as error:
        return error.problems[0].message.removeprefix(f"{place}: ")
    return None


def _told(error: Any) -> str:
    return f"damaged or cut short (libsndfile: {error.error_string.removeprefix('Error : ')})"


def _digest(handle: int, size: int, layout: _Layout | None) -> tuple[str, str | None]:
    """SHA-256 of the file and, of a WAV whose FLAC would have the same, MD5 of its samples."""
    sha256 = hashlib.sha256()
    md5 = hashlib.md5(usedforsecurity=False)
    wanted = layout is not None and layout.bits > 0
    first, last = (layout.at, layout.at + layout.length) if layout else (0, 0)
    os.lseek(handle, 0, os.SEEK_SET)
    at = 0
    while block := os.read(handle, _BLOCK):
        sha256.update(block)
        if wanted and at < last and at + len(block) > first:
            md5.update(block[max(0, first - at) : max(0, last - at)])
        at += len(block)
    if at < size:
        raise OSError(5, "it became shorter while it was read")
    return sha256.hexdigest(), md5.hexdigest() if wanted and last > first else None


def serve() -> None:
    """Look at files that standard input names, and print what they are; see `crew`.

    A line in: `[digests, decode, [path, ...]]`; a line out: the facts of each, as lists.
    """
    # Ctrl-C is for the process that shows the work; it ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        digests, decode, paths = json.loads(line)
        sys.stdout.write(json.dumps([read_facts(path, digests, decode) for path in paths]) + "\n")
        sys.stdout.flush()
