"""Measures unpacking of a .tar.xz in four parts against `cat PARTS | tar -xJ`.

The archive has the shape of CoRS: clips of 16 kHz, 16 bit, of which xz saves a third. It is made
twice: as xz makes it by default (one block), and as `xz -T` does (several blocks). Both ways of
unpacking take turns, so that what else the machine does meets both. Seconds are of the wall; CPU
seconds are of all processes, and differ less from run to run.

    python tests/performance/extraction.py [--clips 4000] [--repeats 5]
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

RATE = 16_000
BOUNDS = (10**6, 10**8, 10**11)


def main() -> None:
    """Make archives, unpack them by turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    table = Table("archive", "way", "wall (s)", "CPU (s)", "speed of tar")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        size = write_tape(folder / "clips.tar", options.clips)
        for title, settings in (("one block", ["-T1"]), ("several blocks", ["-T0"])):
            parts, packed = compress(folder / "clips.tar", folder / title, settings)
            measure(table, title, parts, folder, options.repeats)
            table.add_section()
    table.title = (
        f"unpacking {options.clips:,} clips: {packed / 1e6:,.0f} MB to {size / 1e6:,.0f} MB, "
        f"median of {options.repeats}"
    )
    Console().print(table)
    Console().print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")


def write_tape(path: Path, clips: int) -> int:
    """Write clips that sound like nothing and pack like speech: coloured noise, swelling."""
    chance = np.random.default_rng(0)
    with tarfile.open(path, "w") as archive:
        for number in range(clips):
            samples = int(chance.integers(20_000, 50_000))
            noise = np.cumsum(chance.standard_normal(samples))
            noise -= np.convolve(noise, np.ones(64) / 64, "same")
            swell = np.interp(np.arange(samples), np.linspace(0, samples, 20), chance.random(20))
            pcm = (noise * swell**2 * 600).clip(-32768, 32767).astype("<i2").tobytes()
            info = tarfile.TarInfo(f"CoRS/p{225 + number // 400}_{number % 400:03d}_bigcodec.wav")
            info.size = 44 + len(pcm)
            archive.addfile(info, BytesIO(header(len(pcm)) + pcm))
    return path.stat().st_size


def header(size: int) -> bytes:
    """That of a WAV file of 16 kHz, 16 bit, mono."""
    form = b"\x01\0\x01\0" + RATE.to_bytes(4, "little") + (2 * RATE).to_bytes(4, "little")
    start = b"RIFF" + (36 + size).to_bytes(4, "little") + b"WAVEfmt \x10\0\0\0" + form
    return start + b"\x02\0\x10\0data" + size.to_bytes(4, "little")


def compress(tape: Path, folder: Path, settings: list[str]) -> tuple[list[Path], int]:
    """Compress it, and cut it into four parts."""
    folder.mkdir()
    whole = folder / "clips.tar.xz"
    with tape.open("rb") as source, whole.open("wb") as out:
        # The weakest setting: what takes the time of unpacking is the same with each.
        command = [
            "xz",
            "-c",
            "-0",
            "--block-size=4MiB" if settings == ["-T0"] else "-q",
            *settings,
        ]
        subprocess.run(command, stdin=source, stdout=out, check=True)
    size = whole.stat().st_size
    subprocess.run(["split", "-n", "4", "-a", "1", "-d", whole, f"{folder}/part"], check=True)
    whole.unlink()
    return sorted(folder.glob("part?")), size


def measure(table: Table, title: str, parts: list[Path], folder: Path, repeats: int) -> None:
    """Take turns, and add rows."""
    from cfbench.archives.unpacking import Bounds, unpack

    out, journal = folder / "out", folder / "journal"

    def by_tar() -> None:
        out.mkdir()
        command = f"cat {' '.join(f'{str(part)!r}' for part in parts)} | tar -xJ -C '{out}'"
        subprocess.run(command, shell=True, check=True)

    def by_cfbench(program: bool = True) -> None:
        unpack(parts, "tar.xz", out, journal, "key", Bounds(*BOUNDS), program=program)

    ways: dict[str, Callable[[], None]] = {
        "cat | tar -xJ": by_tar,
        "cfbench": by_cfbench,
        "cfbench without xz": lambda: by_cfbench(False),
    }
    walls: dict[str, list[float]] = {way: [] for way in ways}
    cpus: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(repeats):
        # Whoever comes first meets a colder cache: each way does in turn.
        order = list(ways)[turn % len(ways) :] + list(ways)[: turn % len(ways)]
        for way in order:
            shutil.rmtree(out, ignore_errors=True)
            journal.unlink(missing_ok=True)
            subprocess.run(["sync"], check=True)
            wall, cpu = time.perf_counter(), used()
            ways[way]()
            walls[way].append(time.perf_counter() - wall)
            cpus[way].append(used() - cpu)
    wall, cpu = time.perf_counter(), used()
    by_cfbench()
    again = (time.perf_counter() - wall, used() - cpu)
    shutil.rmtree(out)
    journal.unlink()
    for way in ways:
        ratios = [a / b for a, b in zip(walls["cat | tar -xJ"], walls[way], strict=True)]
        row = (f"{statistics.median(found[way]):.2f}" for found in (walls, cpus))
        table.add_row(title, way, *row, f"{statistics.median(ratios):.2f}")
    table.add_row(title, "cfbench, all is there", *(f"{one:.2f}" for one in again), "")


def used() -> float:
    """CPU seconds of this process and of those that have ended."""
    told = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in told)


if __name__ == "__main__":
    if not all(shutil.which(program) for program in ("cat", "split", "tar", "xz")):
        sys.exit("cat, split, tar and xz are not all there")
    main()
