"""Makes clips from those that are shipped: a process that is told on standard input what to make.

`mini.store` starts a few of them. They are no children of multiprocessing, so that a script of the
user's needs no guard of its main part, and none of them outlives a parent that was killed: its
input ends.
"""

import hashlib
import importlib
import io
import json
import os
import sys
from base64 import b64decode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import RATE
from cfbench.errors import CfbenchError
from cfbench.files import write_atomically
from cfbench.mini.fingerprints import Expected, compare, digest

_WRITE_AGAIN = "write it again"


class Codec(Protocol):
    """What is needed of a codec."""

    def resynthesise(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode and decode speech (n,) at 16 kHz; full scale is 1."""
        ...


Hear = Callable[[NDArray[np.int16], str], NDArray[np.float32]]
"""What a codec hears of a shipped clip: its (n,) integers and its utt_id, to (n,) samples."""

Finish = Callable[[NDArray[np.float32], str], NDArray[np.int16]]
"""From a codec's answer to a clip as shipped ones are: (n,) samples and its utt_id, to (n,)."""

Channel = Callable[[NDArray[np.int16], str], NDArray[np.int16]]
"""The last step of every clip: (n,) integers and its utt_id, to the (n,) that are kept."""


def read_pcm(path: Path) -> NDArray[np.int16]:
    """Read a clip of the embedded track.

    Returns:
        (n,), the integers that the file holds.

    Raises:
        CfbenchError: It cannot be read, or is not mono, 16 kHz and 16 bits.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CfbenchError(f"{path}: cannot be read: {error.strerror}", _WRITE_AGAIN) from None
    return decode(content, path)


def decode(content: bytes, name: str | Path) -> NDArray[np.int16]:
    """What a file of the embedded track holds, as `read_pcm`.

    Args:
        content: Of the file.
        name: What errors call it.
    """
    import soundfile

    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            form = (file.samplerate, file.channels, file.subtype)
            pcm: NDArray[np.int16] = file.read(dtype="int16")
            complete = len(pcm) == file.frames
    except soundfile.LibsndfileError as error:
        raise CfbenchError(f"{name}: cannot be decoded: {error}", _WRITE_AGAIN) from None
    if form != (RATE, 1, "PCM_16") or not complete:
        raise CfbenchError(
            f"{name}: {form[0]} Hz, {form[1]} channels, {form[2]}, "
            f"{'whole' if complete else 'cut short'}",
            "clips of the embedded track are 16,000 Hz, mono, 16 bits",
        )
    return pcm


def write_flac(path: Path, pcm: NDArray[np.int16]) -> None:
    """Write (n,) integers losslessly, whole or not at all."""
    import soundfile

    write_atomically(
        path, lambda place: soundfile.write(place, pcm, RATE, subtype="PCM_16", format="FLAC")
    )


def stamp(path: Path) -> dict[str, Any]:
    """By what a file is known without being read, and its SHA-256."""
    content = path.read_bytes()
    stat = path.stat()
    file = hashlib.sha256(content).hexdigest()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns, "file": file}


def make(clip: Mapping[str, Any], render: Callable[[], NDArray[np.int16]]) -> dict[str, Any]:
    """Make one clip, unless it is on the disk to the bit.

    Args:
        clip: utt_id; `out`, the path of its FLAC file; samples, sha256 and fingerprint (in
            hexadecimal, or None) of what should come out.
        render: Says what comes out, (n,).

    Returns:
        utt_id, `match` and `difference` (see `fingerprints.compare`), whether it was `made`, and
        the file's stamp. Of what is another clip there is no file, and none is left.
    """
    known = clip["fingerprint"]
    fingerprint = None if known is None else bytes.fromhex(known)
    expected, out = Expected(clip["samples"], clip["sha256"], fingerprint), Path(clip["out"])
    said = {"utt_id": clip["utt_id"], "match": "exact", "difference": 0.0}
    if out.is_file():
        try:
            if compare(read_pcm(out), expected)[0] == "exact":
                return {**said, **stamp(out)}
        except CfbenchError:
            pass  # broken: made anew
    pcm = render()
    said["match"], said["difference"] = compare(pcm, expected)
    if said["match"] == "off":
        out.unlink(missing_ok=True)
        # JSON has no infinity.
        return {**said, "difference": min(float(said["difference"]), 999.0)}
    write_flac(out, pcm)
    return {**said, "made": True, **stamp(out)}


@dataclass(frozen=True)
class Rendering:
    """What comes of a shipped clip.

    Attributes:
        shipped: Its utt_id.
        pcm: (n,), as it is shipped.
        hear: A codec's first step.
        finish: What follows a codec.
        channel: The last step of all.
    """

    shipped: str
    pcm: NDArray[np.int16]
    hear: Hear
    finish: Finish
    channel: Channel

    @cached_property
    def itself(self) -> NDArray[np.int16]:
        """The shipped clip after its channel, (n,)."""
        return self.channel(self.pcm, self.shipped)

    def decoded(self, utt_id: str, codec: Codec) -> NDArray[np.int16]:
        """The clip that a codec makes of it, after its channel, (n,).

        Raises:
            CfbenchError: The codec answers something else than a waveform.
        """
        heard = self.hear(self.pcm, self.shipped)
        decoded = np.asarray(codec.resynthesise(heard), np.float32)
        if decoded.ndim != 1 or not np.isfinite(decoded).all():
            raise CfbenchError(f"{utt_id}: the codec's answer is no finite waveform")
        return self.channel(self.finish(decoded, utt_id), utt_id)


def find(place: str) -> Any:
    """What `package.module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def serve() -> None:
    """Read jobs from standard input, a JSON object a line; write an answer a clip.

    A job is the names of functions (`codec`, `hear`, `finish`, `channel`), a `shipped` clip with
    its `flac` in base 64 and the `sha256` of what it is after its channel, and the `clips` that
    come of it, each with the TOML file of the codec that it is `made_by`, or None for the shipped
    clip itself. An answer is what `make` returns, or `problem` and `hint`; where the shipped clip
    is not what it should be, `broken` is its utt_id.
    """
    # Whatever a library prints must not stand between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    @cache
    def loaded(load: str, path: str) -> Codec:
        codec: Codec = find(load)(Path(path))
        if "torch" in sys.modules:
            # Sums in another order would be other clips.
            sys.modules["torch"].set_num_threads(1)
        return codec

    def rendered(job: Mapping[str, Any], clip: Mapping[str, Any]) -> NDArray[np.int16]:
        if clip["made_by"] is None:
            return rendering.itself
        return rendering.decoded(clip["utt_id"], loaded(job["codec"], clip["made_by"]))

    for line in sys.stdin:
        job = json.loads(line)
        steps = [find(job[name]) for name in ("hear", "finish", "channel")]
        try:
            pcm = decode(b64decode(job["flac"]), job["shipped"])
            rendering = Rendering(job["shipped"], pcm, *steps)
            broken = not len(pcm) or digest(rendering.itself) != job["sha256"]
        except CfbenchError:
            broken = True
        for clip in job["clips"]:
            try:
                if broken:
                    answer = {"utt_id": clip["utt_id"], "broken": job["shipped"]}
                else:
                    answer = make(clip, partial(rendered, job, clip))
            except CfbenchError as error:
                answer = {"problem": error.problems[0].message, "hint": error.problems[0].hint}
            except Exception as error:  # of a codec, whatever it may be
                told, by = f"{type(error).__name__}: {error}", clip["made_by"] or "its channel"
                answer = {"problem": f"{clip['utt_id']}: not made by {by}: {told}"}
            print(json.dumps(answer), file=answers, flush=True)
