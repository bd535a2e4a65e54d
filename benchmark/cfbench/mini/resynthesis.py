"""Makes spoofed clips from their sources: a process that is told on standard input what to make.

`mini.store` starts a few of them. They are no children of multiprocessing, so that a script of the
user's needs no guard of its main part, and none of them outlives a parent that was killed: its
input ends.
"""

import hashlib
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cfbench.audio import RATE
from cfbench.errors import CfbenchError
from cfbench.files import write_atomically
from cfbench.mini.fingerprints import Expected, compare


class Codec(Protocol):
    """What is needed of a codec."""

    def resynthesise(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Encode and decode speech (n,) at 16 kHz; full scale is 1."""
        ...


Finish = Callable[[NDArray[np.float32], str], NDArray[np.int16]]
"""The last step of every clip: (n,) samples and its utt_id, to the (n,) integers that are kept."""


Hear = Callable[[NDArray[np.int16], str], NDArray[np.float32]]
"""What a codec hears of a source clip: its (n,) integers and its utt_id, to (n,) samples."""


def read_pcm(path: Path) -> NDArray[np.int16]:
    """Read a clip of the embedded track.

    Returns:
        (n,), the integers that the file holds.

    Raises:
        CfbenchError: It cannot be read, or is not mono, 16 kHz and 16 bits.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            form = (file.samplerate, file.channels, file.subtype)
            pcm: NDArray[np.int16] = file.read(dtype="int16")
            complete = len(pcm) == file.frames
    except (OSError, soundfile.LibsndfileError) as error:
        raise CfbenchError(f"{path}: cannot be decoded: {error}", "write it again") from None
    if form != (RATE, 1, "PCM_16") or not complete:
        raise CfbenchError(
            f"{path}: {form[0]} Hz, {form[1]} channels, {form[2]}, "
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


def make(clip: Mapping[str, Any], codec: Codec, hear: Hear, finish: Finish) -> dict[str, Any]:
    """Make one clip, unless it is on the disk to the bit.

    Args:
        clip: utt_id; `source` and `out`, paths of FLAC files; samples, sha256 and fingerprint (in
            hexadecimal) of what should come out.
        codec: What it is made by.
        hear: The first step.
        finish: The last step.

    Returns:
        utt_id, `match` and `difference` (see `fingerprints.compare`), whether it was `made`, and
        the file's stamp, unless what came out is another clip: such a file is not written.
    """
    fingerprint = bytes.fromhex(clip["fingerprint"])
    expected, out = Expected(clip["samples"], clip["sha256"], fingerprint), Path(clip["out"])
    said = {"utt_id": clip["utt_id"], "match": "exact", "difference": 0.0}
    if out.is_file():
        try:
            if compare(read_pcm(out), expected)[0] == "exact":
                return {**said, **stamp(out)}
        except CfbenchError:
            pass  # broken: made anew
    source = Path(clip["source"])
    heard = hear(read_pcm(source), source.stem)
    decoded = np.asarray(codec.resynthesise(heard), np.float32)
    if decoded.ndim != 1 or not np.isfinite(decoded).all():
        raise CfbenchError(f"{clip['utt_id']}: the codec's answer is no finite waveform")
    pcm = finish(decoded, clip["utt_id"])
    said["match"], said["difference"] = compare(pcm, expected)
    if said["match"] == "off":
        # JSON has no infinity.
        return {**said, "difference": min(float(said["difference"]), 999.0)}
    write_flac(out, pcm)
    return {**said, "made": True, **stamp(out)}


def find(place: str) -> Any:
    """What `package.module:name` names."""
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def serve() -> None:
    """Read jobs from standard input, a JSON object a line; write an answer a clip.

    A job is the names of functions (`load`, `hear`, `finish`), the codec's TOML file and its
    clips. An answer is what `make` returns, or `problem` and `hint`.
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

    for line in sys.stdin:
        job = json.loads(line)
        for clip in job["clips"]:
            try:
                codec = loaded(job["load"], job["codec"])
                answer = make(clip, codec, find(job["hear"]), find(job["finish"]))
            except CfbenchError as error:
                answer = {"problem": error.problems[0].message, "hint": error.problems[0].hint}
            except Exception as error:  # of a codec, whatever it may be
                told = f"{type(error).__name__}: {error}"
                answer = {"problem": f"{clip['utt_id']}: not made by {job['codec']}: {told}"}
            print(json.dumps(answer), file=answers, flush=True)
