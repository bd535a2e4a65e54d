"""Measures the leaderboard with 1,000 submissions: from their files to pages on a screen.

A few sets of made-up predictions on the embedded track are scored for real; every submission is a
copy of one of them under a name of its own, with a receipt of its own.

    python tests/performance/leaderboard.py [--folder KEEP] [--systems 1000]
"""

import argparse
import datetime
import hashlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import cfbench
from browser import Browser, served
from cfbench.entry import make_entry
from cfbench.leaderboard.build import build
from cfbench.leaderboard.entries import read_entries
from cfbench.leaderboard.receipts import read_receipt
from cfbench.leaderboard.site import site_files, write_site
from cfbench.review import verifier
from cfbench.submission import DESCRIPTION, SCORECARD, VERIFIED, make_system, parse_submission
from cfbench.tasks import load_tasks

TRACK = "codecfake-mini"
SCORED = 8
REPEATS = 5


def main() -> None:
    """Make the folder, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the submissions here")
    parser.add_argument("--systems", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary) / "submissions"
        if not folder.exists():
            made = Path(temporary) / "scored"
            write_copies(make_scored(made, Path(temporary)), folder, given.systems)
        report(folder, Path(temporary) / "site", given.systems)


def make_scored(board: Path, work: Path) -> Path:
    """Entries with predictions of different quality, verified: each has a receipt."""
    protocol = cfbench.read_protocol(track=TRACK)
    scored = protocol.frame.filter(pl.col("split").cast(pl.String).is_in(protocol.scored))
    names = [*scored["utt_id"], *protocol.held_back["utt_id"]]
    for number in range(SCORED):
        generator = np.random.default_rng(number)
        columns: dict[str, object] = {"utt_id": names}
        for task in load_tasks().values():
            truth = scored[task.id].cast(pl.String).to_list()
            numbers = generator.dirichlet(np.ones(len(task.classes)), len(names))
            for row, label in enumerate(truth):
                if label is not None and generator.random() < 0.25 + 0.08 * number:
                    numbers[row] *= 0.2
                    numbers[row, task.class_names.index(label)] += 0.8
            columns |= dict(zip(task.columns, numbers.T, strict=True))
        path, card = work / f"{number}.parquet", work / f"{number}.json"
        pl.DataFrame(columns).write_parquet(path)
        card.write_text(cfbench.score(path, track=TRACK).to_json(), encoding="utf-8")
        system = make_system(
            {
                "name": f"Made-up system {number}",
                "team": f"Team {number}",
                "description": "Numbers that were made up, to measure how long pages take.",
                "contact": "nobody@example.org",
                "licence": "CC0-1.0",
                "training_data": ["codecfake-mini, train", "a corpus of speech"],
                "only_track_data": number % 2 == 0,
                "date": datetime.date(2026, 3, 31),
            }
        )
        make_entry(card, system, str(path), board, verifier())
    read_entries(board, verifier())
    return board


def write_copies(board: Path, folder: Path, count: int) -> None:
    """Submissions with receipts, each a copy of a scored one with a name of its own."""
    originals = []
    for path in sorted(item for item in board.iterdir() if item.name != VERIFIED):
        content = (path / DESCRIPTION).read_bytes()
        submission = parse_submission(content, str(path))
        receipt = read_receipt(board, submission, hashlib.sha256(content).hexdigest(), None)
        assert receipt is not None, path
        originals.append((path, submission, receipt))
    (folder / VERIFIED).mkdir(parents=True)
    for number in range(count):
        path, submission, receipt = originals[number % len(originals)]
        slug = f"system-{number:04}"
        named = {"name": f"System {number:04}", "team": f"Team {number % 97}"}
        system = submission.system.model_copy(update=named)
        copy = submission.model_copy(update={"slug": slug, "system": system})
        described = copy.to_toml().encode()
        (folder / slug).mkdir()
        (folder / slug / DESCRIPTION).write_bytes(described)
        for name in (SCORECARD, submission.predictions.address):
            shutil.copyfile(path / name, folder / slug / name)
        digests = {**receipt.digests, DESCRIPTION: hashlib.sha256(described).hexdigest()}
        said = receipt.model_copy(update={"slug": slug, "digests": digests})
        (folder / VERIFIED / f"{slug}.json").write_text(said.model_dump_json() + "\n")
        shutil.copyfile(
            board / VERIFIED / f"{submission.slug}.npy", folder / VERIFIED / f"{slug}.npy"
        )


def report(folder: Path, out: Path, count: int) -> None:
    """Measure, print the table."""
    table = Table("what", "wall (s)", "asked for", title=f"leaderboard of {count:,} submissions")
    reading, _ = timed(lambda: read_entries(folder, None))
    table.add_row("read the submissions and receipts", reading, "")
    building, boards = timed(lambda: build(folder, None))
    assert len(boards[0].systems) == count, boards[0].refused
    assert all(listed.status == "verified" for listed in boards[0].systems.values())
    table.add_row("the same, and rank them", building, "3")
    pages, files = timed(lambda: site_files(boards))
    table.add_row("make the pages", pages, "")
    table.add_row("write them: a new folder", timed(lambda: write_new(boards, out), 1)[0], "")
    table.add_row(
        "write them again: nothing changed", timed(lambda: write_site(boards, out))[0], ""
    )
    for path in ("index.html", "compare.html", "leaderboard.json"):
        table.add_row(f"  {path} (kB)", f"{len(files[path]) / 1000:,.0f}", "")
    for name, wall in first_page(out).items():
        table.add_row(f"first page, {name}", wall, "2")
    Console(width=100).print(table)


def write_new(boards: list, out: Path) -> None:
    """Write the site where nothing is yet."""
    shutil.rmtree(out, ignore_errors=True)
    write_site(boards, out)


def timed(work: Callable[[], object], repeats: int = REPEATS) -> tuple[str, object]:
    """The median with the lowest and highest, and what the work gave."""
    walls = []
    for _ in range(repeats):
        begun = time.perf_counter()
        found = work()
        walls.append(time.perf_counter() - begun)
    return spread(walls), found


def spread(walls: list[float]) -> str:
    """The median, and the lowest and highest."""
    return f"{statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"


def first_page(out: Path) -> dict[str, str]:
    """How long Chromium takes from asking for the page until it is drawn, by its own clock."""
    painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"
    ready = (
        "new Promise(done => requestAnimationFrame("
        "() => setTimeout(() => done(performance.now()), 0)))"
    )
    walls: dict[str, list[float]] = {"first content": [], "the whole table, with its script": []}
    with served(out) as address, Browser() as browser:
        for _ in range(REPEATS):
            with browser.open(f"{address}/index.html") as page:
                walls["the whole table, with its script"].append(page.evaluate(ready) / 1000)
                walls["first content"].append(page.evaluate(painted) / 1000)
    return {name: spread(found) for name, found in walls.items()}


if __name__ == "__main__":
    main()
