"""Measures pushes to one repository on a Hub of the loopback, many at once.

What is counted: the time until the last one is through, how often one had to wait because another
was faster, and whether every entry is there exactly once.

    python tests/performance/hub.py [--pushes 50] [--processes 2] [--latency 0.05]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from rich.console import Console
from rich.table import Table

TESTS = Path(__file__).parents[1]
REPO = "lab/results"


def main() -> None:
    """Push, count, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pushes", type=int, default=50)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--latency", type=float, default=0.05, help="seconds an answer takes")
    parser.add_argument("--worker", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(range(*options.worker))
        return
    table = Table("what", "wall (s)", "conflicts", "requests", "lost", "doubled", title="the Hub")
    for latency in (0.0, options.latency):
        row = measure(options.pushes, options.processes, latency)
        table.add_row(f"{options.pushes} pushes at once, {latency:g} s an answer", *row)
    Console().print(table)


def measure(pushes: int, processes: int, latency: float) -> list[str]:
    """Have processes push, with a thread for each entry."""
    sys.path.insert(0, str(TESTS))
    from hub_server import Hub

    with Hub(latency=latency) as hub, tempfile.TemporaryDirectory() as home:
        hub.add(REPO, {"README.md": b"# Results\n"}, kind="dataset")
        environment = hub.environment(Path(home), hub.sign_up("lab"))
        cuts = [round(pushes * part / processes) for part in range(processes + 1)]
        start = time.perf_counter()
        running = [
            subprocess.Popen(
                [sys.executable, __file__, "--worker", str(first), str(last)],
                env={**environment, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.PIPE,
                text=True,
            )
            for first, last in pairwise(cuts)
        ]
        said = [process.communicate()[0] for process in running]
        wall = time.perf_counter() - start
        if any(process.returncode for process in running):
            raise SystemExit("a push failed")
        waits = Counter(why for text in said for why in json.loads(text))
        entries = [path for path in hub.files(REPO) if path.endswith("submission.toml")]
        titles = Counter(title for title in hub.titles(REPO) if title.startswith("Add "))
        doubled = sum(count - 1 for count in titles.values())
        requests = len(hub.seen)
    counts = (waits["CONFLICT"], requests, pushes - len(set(entries)), doubled)
    return [f"{wall:.2f}", *(f"{count:,}" for count in counts)]


def work(numbers: range) -> None:
    """Push some entries at once; print why each of the waits was."""
    from cfbench.hub.patience import Wait
    from cfbench.hub.repos import publish

    def push(number: int) -> list[str]:
        waits: list[Wait] = []
        slug = f"submissions/entry-{number}"
        files = {
            f"{slug}/submission.toml": b"%d" % number,
            f"{slug}/scorecard.json": os.urandom(20_000),
            f"{slug}/predictions.parquet": os.urandom(200_000),
        }
        publish(REPO, files, message=f"Add {number}", pull_request=False, told=waits.append)
        return [wait.why.name for wait in waits]

    with ThreadPoolExecutor(len(numbers)) as pool:
        print(json.dumps([why for whys in pool.map(push, numbers) for why in whys]))


if __name__ == "__main__":
    main()
