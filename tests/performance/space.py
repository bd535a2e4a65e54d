"""Measures the app: its first page with 1,000 systems, and uploads of the real size.

The board is that of `leaderboard.py`; the uploads have the shape of CodecFake+'s test protocol
(25,202 utterances), with made-up answers.

    python tests/performance/space.py [--systems 1000]
"""

import argparse
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from leaderboard import REPEATS, TRACK, make_scored, spread, write_copies
from rich.console import Console
from rich.table import Table
from simulated import write_test_size

from browser import Browser
from space_client import Served
from watching import Watch

MIB = 2**20
AT_ONCE = 10
READY = (
    "new Promise(done => { const look = () => {"
    " const inside = document.querySelector('iframe.cf-board')?.contentDocument;"
    " if (inside?.querySelector('#rows tr')) {"
    " requestAnimationFrame(() => setTimeout(() => done(performance.now()), 0)); }"
    " else setTimeout(look, 5); }; look(); })"
)


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--systems", type=int, default=1000)
    count = parser.parse_args().systems
    table = Table("what", "wall (s)", "asked for", title="the app, served")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_copies(make_scored(folder / "scored", folder), folder / "board", count)
        pages(table, folder, count)
        (folder / "real").mkdir()
        uploads(table, folder / "real")
    Console(width=100).print(table)


def pages(table: Table, folder: Path, count: int) -> None:
    """From the start of the process to a table in a browser."""
    settings = {
        "track": TRACK, "board": str(folder / "board"), "state": str(folder / "state"),
        "rebuild_minutes": 60.0,
    }  # fmt: skip
    begun = time.perf_counter()
    with Watch() as watch, Served(folder / "served", settings) as served:
        watch.follow(served.process.pid)
        table.add_row(
            "from the start to the first answer", f"{time.perf_counter() - begun:.2f}", ""
        )
        served.wait_for_page("/board/leaderboard.csv", f"system-{count - 1:04}")
        built = f"{time.perf_counter() - begun:.2f}"
        table.add_row(f"from the start to the board of {count:,} systems", built, "")
        for path in ("/", "/board/index.html"):
            walls = []
            for _ in range(REPEATS):
                asked = time.perf_counter()
                assert served.get(path)[0] == 200
                walls.append(time.perf_counter() - asked)
            table.add_row(f"GET {path}", spread(walls), "")
        walls = []
        with Browser() as browser:
            for _ in range(REPEATS):
                with browser.open(served.address) as page:
                    walls.append(page.evaluate(READY) / 1000)
        table.add_row("first page in Chromium, with the table", spread(walls), "2")
    table.add_row("  peak memory of the app (MiB)", f"{watch.most / MIB:,.0f}", "")


def uploads(table: Table, folder: Path) -> None:
    """Uploads of the real size: one after the other, and ten at once."""
    write_test_size(folder)
    content = (folder / "test.csv").read_bytes()
    settings = {
        "track": str(folder / "test-track.toml"), "protocol": str(folder / "test-protocol.csv"),
        "board": str(folder / "board"), "state": str(folder / "state"),
        "limits": {"per_day": 1000},
    }  # fmt: skip
    size = f"{len(content) / MIB:.1f} MiB"
    with Served(folder / "served", settings) as served, Watch(served.process.pid) as watch:
        walls = []
        for _ in range(REPEATS):
            asked = time.perf_counter()
            assert "no problems" in served.session().check("p.csv", content)
            walls.append(time.perf_counter() - asked)
        table.add_row(f"an upload of 25,202 rows ({size}), scored", spread(walls), "3")
        table.add_row("  peak memory of the app (MiB)", f"{watch.most / MIB:,.0f}", "")
        asked = time.perf_counter()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            check = lambda number: served.session().check(f"p{number}.csv", content)  # noqa: E731
            reports = list(pool.map(check, range(AT_ONCE)))
        wall = time.perf_counter() - asked
        assert all(f"p{i}.csv: no problems" in report for i, report in enumerate(reports))
        table.add_row(f"{AT_ONCE} of them at once, all answered", f"{wall:.2f}", "")
        table.add_row("  peak memory of the app (MiB)", f"{watch.most / MIB:,.0f}", "bounded")


if __name__ == "__main__":
    main()
