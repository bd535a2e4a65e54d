"""Measures what is done with the clips of CodecFake+ on the disk, at its size.

What is counted: files a second of an index of headers, and of one that digests; wall and memory of
laying the protocol of 1,422,560 rows beside as many files; clips a second through `load_dataset`
into batches, against bare `soundfile.read` of the same FLAC, in turns. The files are in the page
cache.

    python tests/performance/data.py [--files 200000] [--clips 300] [--rows 1] [--folder KEEP]
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import audio as audio_performance
import polars as pl
import simulated
import soundfile
from rich.console import Console
from rich.table import Table

REPEATS = 10
BATCH = 16
JOIN = """
import json, resource, sys, time
from pathlib import Path
import polars as pl
from cfbench import api
from cfbench.manifest import making
folder = Path(sys.argv[1])
files = pl.read_parquet(folder / "files.parquet")
walk = {"links": {}, "others": {}, "unreadable": {}}
begun, spent = time.perf_counter(), time.process_time()
protocol = api.read_protocol(folder / "CoRS_labels.txt", str(folder / "track.toml"))
made = making.lay_beside(files, [folder], protocol, walk)
making._write(made, protocol, folder / "manifest.parquet", True)
told = {"seconds": time.perf_counter() - begun, "found": made.frame["utt_id"].count()}
told["cpu"] = time.process_time() - spent
told["peak"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
print(json.dumps(told))
"""


def main() -> None:
    """Make what is needed, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200_000, help="small WAVs to index")
    parser.add_argument("--clips", type=int, default=300, help="FLACs of 5 s to iterate")
    parser.add_argument("--rows", type=int, default=1, choices=(0, 1), help="0 leaves out the join")
    parser.add_argument("--folder", type=Path, help="make and keep the files here")
    options = parser.parse_args()
    table = Table("what", "measured", "asked for", title="clips on the disk")
    with tempfile.TemporaryDirectory(prefix="cfbench-") as temporary:
        place = options.folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        wavs = write_wavs(place / f"wavs-{options.files}", options.files)
        for what, more in (("headers only", ["--headers-only"]), ("digests", [])):
            asked = "4,000 files/s" if more else ""
            told = index(place, wavs, *more)
            table.add_row(f"index of {options.files:,} WAVs, {what}", told, asked)
        table.add_row("the same again, nothing changed", index(place, wavs, keep=True), "")
        if options.rows:
            table.add_row("1,422,560 rows laid beside files", *join(place))
        table.add_row(*iterate(place, options.clips))
    Console().print(table)


def write_wavs(folder: Path, count: int) -> Path:
    """Small WAVs of different content, as many as wanted, unless they are there."""
    inside = folder / "all_data_16k"
    if not inside.exists():
        partial = folder / "partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        head = bytearray(_small_wav(folder / "one.wav"))
        for number in range(count):
            head[-4:] = number.to_bytes(4, "little")
            with open(partial / f"p225_{number:06d}.wav", "wb", 0) as file:  # noqa: PTH123
                file.write(head)
        partial.rename(inside)
    return folder


def _small_wav(path: Path) -> bytes:
    soundfile.write(path, audio_performance.speak(_rng(), 16_000)[:800], 16_000)
    content = path.read_bytes()
    path.unlink()
    return content


def _rng():
    import numpy as np

    return np.random.default_rng(0)


def index(place: Path, wavs: Path, *more: str, keep: bool = False) -> str:
    """Index in a process of its own, as a user does; wall includes its start."""
    out = place / "manifest.parquet"
    if not keep:
        out.unlink(missing_ok=True)
    command = [sys.executable, "-m", "cfbench", "data", "index", wavs, "--no-protocol"]
    begun = time.perf_counter()
    told = subprocess.run(
        [*map(str, command), *more, "--out", str(out), "--json"],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    wall = time.perf_counter() - begun
    count = json.loads(told.stdout)["files"]
    return f"{count / wall:,.0f} files/s ({wall:.1f} s)"


def join(place: Path) -> list[str]:
    """Lay the simulated list beside a table of as many files."""
    folder = place / "whole"
    if not (folder / "files.parquet").exists():
        folder.mkdir(exist_ok=True)
        simulated.write_full_size(folder)
        for name in ("predictions.csv", "predictions.parquet"):
            (folder / name).unlink()
        ids = pl.read_csv(folder / "CoRS_labels.txt", separator=" ", has_header=False).to_series(1)
        _files_of(ids).write_parquet(folder / "files.parquet")
    done = subprocess.run(
        [sys.executable, "-c", JOIN, str(folder)], check=True, stdout=subprocess.PIPE, text=True
    )
    told = json.loads(done.stdout)
    if told["found"] != simulated.SOURCE_UTTERANCES * 32:
        raise SystemExit(f"only {told['found']} files were found to be utterances")
    return [
        f"{told['seconds']:.2f} s (CPU {told['cpu']:.2f} s), {told['peak']:.2f} GB at most",
        "5 s, 2 GB",
    ]


def _files_of(ids: pl.Series) -> pl.DataFrame:
    from cfbench.manifest.table import FILES

    row = pl.int_range(pl.len())
    digest = pl.col("path").hash(0).cast(pl.String).str.pad_start(32, "0")
    return (
        pl.DataFrame({"path": "Codecfake_plus_CoRS/all_data_16k/" + ids + ".wav"})
        .sort("path")
        .with_columns(
            root=pl.lit(0),
            size=100_000 + row,
            mtime_ns=row,
            format=pl.lit("wav"),
            samples=50_000 + row % 1000,
            rate=pl.lit(16_000),
            channels=pl.lit(1),
            sha256=digest + digest,
            pcm_md5=digest,
            problem=pl.lit(None, pl.String),
        )
        .select(pl.col(name).cast(dtype) for name, dtype in FILES.items())
    )


def iterate(place: Path, count: int) -> list[str]:
    """FLACs through `load_dataset` into batches, and bare."""
    import cfbench
    from cfbench.dataset import Windows

    paths = audio_performance.write_clips(place, "16 kHz FLAC", count)
    rows = [f"{path.stem},id,x,{path.stem},bonafide,real,real,real" for path in paths]
    (place / "protocol.csv").write_text(
        "\n".join(["utt_id,split,source,group,bin,vq,aux,dec", *rows]) + "\n"
    )
    track = place / "flac.toml"
    track.write_text(
        'name = "flac"\ntitle = "x"\nversion = "1"\ndescription = "x"\n'
        'tasks = ["bin", "vq", "aux", "dec"]\nscored = ["id"]\nprotocol = "protocol.csv"\n'
        '[splits.id]\ntitle = "x"\ngroup = "clip"\n'
    )
    data = cfbench.load_dataset(str(track), "id", audio=paths[0].parent)
    stream = cfbench.load_dataset(str(track), "id", audio=paths[0].parent, streaming=True)
    decoded = data.with_transform(Windows("vq"))
    streamed = stream.map(Windows("vq"), batched=True, batch_size=BATCH)

    def bare() -> None:
        for path in paths:
            soundfile.read(path, dtype="float32")

    def batches() -> None:
        for _ in decoded.iter(BATCH):
            pass

    def stream_batches() -> None:
        for _ in streamed.iter(BATCH):
            pass

    rounds = [
        [_speed(work, count) for work in (bare, batches, stream_batches)] for _ in range(REPEATS)
    ]
    # The best of each: a machine that is busy with other things is never faster than it is.
    plain, mine, stream_speed = (max(speeds) for speeds in zip(*rounds, strict=True))
    told = (
        f"{mine:,.0f} clips a CPU-second, {mine / plain:.2f} x bare "
        f"(streamed {stream_speed / plain:.2f} x)"
    )
    return [f"{count} FLACs of 5 s into batches of {BATCH}", told, "0.80 x bare"]


def _speed(work: Callable[[], None], count: int) -> float:
    # Time of the processor: what else the machine does is no part of it.
    begun = time.process_time()
    work()
    return count / (time.process_time() - begun)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
