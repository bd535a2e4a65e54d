"""The embedded track: how fast its codecs are, and how long it takes from nothing to a scorecard.

Ratios are within one run, on one core for the codecs: seconds of speech a second of processor time.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

from cfbench import content
from cfbench.audio import RATE
from cfbench.codecs import load_codec
from cfbench.mini import levels, store
from cfbench.protocol import shipped_protocol
from cfbench.tasks import find_track

AIM = 20.0


def main() -> None:
    torch.set_num_threads(1)
    track = find_track("codecfake-mini")
    with tempfile.TemporaryDirectory() as name:
        cache = Path(name) / "cache"
        began = time.perf_counter()
        done = store.unpack(track, to=cache / "all")
        print(
            f"unpacking and making all {sum(done.splits.values()):,} clips: "
            f"{time.perf_counter() - began:.0f} s"
        )
        protocol = shipped_protocol(track)
        assert protocol is not None
        bona_fide = protocol.frame.filter(protocol.frame["bin"].cast(str) == "bonafide")
        ids = bona_fide["utt_id"].to_list()[:40]
        shipped = store.shipped_clips(track, ids)
        waves = [levels.hear(shipped[one], one) for one in ids]
        seconds = sum(map(len, waves)) / RATE
        print("| codec | times real time, one core | aim |")
        print("| --- | --- | --- |")
        for path in sorted((content.tree("tasks/mini") / "codecs").glob("*.toml")):
            codec = load_codec(path)
            codec.resynthesise(waves[0])
            began = time.process_time()
            for wave in waves:
                codec.resynthesise(wave)
            print(f"| {path.stem} | {seconds / (time.process_time() - began):.0f} | {AIM:.0f} |")
        shutil.rmtree(cache)
        del os.environ["OMP_NUM_THREADS"]
        command = [sys.executable, "-m", "cfbench", "run-baseline", "--out", f"{name}/runs"]
        for what in ("from an empty cache", "with the clips there, predicted anew"):
            began = time.perf_counter()
            subprocess.run(
                command,
                env={**os.environ, "CFBENCH_CACHE": str(cache)},
                check=True,
                capture_output=True,
            )
            print(f"cfbench run-baseline, {what}: {time.perf_counter() - began:.0f} s")
            shutil.rmtree(f"{name}/runs")


if __name__ == "__main__":
    main()
