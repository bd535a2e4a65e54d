"""Measures `cfbench score`: start, the real test protocol's size, and the whole of CoRS.

Run by `make perf`. Two programs that do less are measured in the same run, so that ratios mean
something on a noisy machine: a loop over lines with scikit-learn and no intervals, and naive
resampling of rows. What would take minutes is measured in part and extrapolated, and says so.

    python tests/performance/score.py [--folder KEEP]
"""

import argparse
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table
from simulated import write_full_size, write_test_size
from sklearn.metrics import f1_score, roc_curve

from cfbench.tasks import TRACING_IDS, load_tasks, load_taxonomy

REPEATS = 5
RESAMPLES = 1000


def main() -> None:
    """Make the data, measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, help="keep the simulated data here")
    folder = parser.parse_args().folder
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        if not (place / "test.csv").exists():
            # In a process of its own: a child's peak memory starts at that of its parent.
            made = multiprocessing.get_context("spawn").Process(target=write_data, args=(place,))
            made.start()
            made.join()
            if made.exitcode:
                raise SystemExit("the simulated data could not be made")
        report(place)


def write_data(place: Path) -> None:
    """Write all simulated data into a folder."""
    write_full_size(place)
    write_test_size(place)


def report(place: Path) -> None:
    """Measure everything on the data in a folder and print the table."""
    table = Table("what", "wall (s)", "peak memory (MB)", "asked for", title="cfbench score")
    start = [run([sys.executable, "-m", "cfbench", "--help"])[0] for _ in range(REPEATS)]
    table.add_row("cfbench --help", spread(start), "", "0.25 s")
    loaded = subprocess.run(
        [sys.executable, "-c", "import cfbench, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    heavy = sorted({"torch", "sklearn", "pandas", "polars", "scipy"} & set(loaded))
    table.add_row("import cfbench brings in", ", ".join(heavy) or "nothing heavy", "", "nothing")
    small = [
        score(place / "test.csv", place / "test-track.toml", place / "test-protocol.csv")
        for _ in range(REPEATS)
    ]
    table.add_row("25,202 utterances, CSV", *summary(small), "1.5 s")
    whole: dict[str, list[tuple[float, float]]] = {}
    for name in ("predictions.parquet", "predictions.csv"):
        whole[name] = [score(place / name) for _ in range(3)]
    table.add_row(
        "1,422,560 utterances, Parquet", *summary(whole["predictions.parquet"]), "3 s, 1,200 MB"
    )
    table.add_row("1,422,560 utterances, CSV", *summary(whole["predictions.csv"]), "4 s, 1,200 MB")
    without = [score(place / "predictions.parquet", bootstrap=0) for _ in range(3)]
    table.add_row("  the same from Parquet without intervals", *summary(without), "")
    loop = loop_over_lines(place)
    table.add_row("loop over lines, scikit-learn, no intervals", f"{loop:.1f}", "", "")
    naive = naive_resampling(place)
    table.add_row(
        f"naive resampling, 4 metrics, {RESAMPLES:,} resamples (extrapolated from 2)",
        f"{naive:.0f}",
        "",
        "",
    )
    csv = statistics.median(wall for wall, _ in whole["predictions.csv"])
    intervals = statistics.median(w for w, _ in whole["predictions.parquet"]) - statistics.median(
        w for w, _ in without
    )
    table.add_row("loop / cfbench from CSV", f"{loop / csv:.0f} x", "", "15 x")
    table.add_row(
        "naive resampling / all intervals of cfbench", f"{naive / intervals:.0f} x", "", "500 x"
    )
    Console(width=120).print(table)


def run(command: list[str]) -> tuple[float, float]:
    """Wall seconds and peak megabytes of a command, process start included."""
    begun = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ)
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - begun
    if status:
        raise SystemExit(f"{' '.join(command)}: failed")
    return wall, usage.ru_maxrss / 1000


def score(
    predictions: Path,
    track: Path | None = None,
    protocol: Path | None = None,
    bootstrap: int = RESAMPLES,
) -> tuple[float, float]:
    """One run of `cfbench score`."""
    place = predictions.parent
    options = {
        "--track": track or place / "track.toml",
        "--protocol": protocol or place / "CoRS_labels.txt",
        "--bootstrap": bootstrap,
    }
    given = [str(word) for option in options.items() for word in option]
    return run([sys.executable, "-m", "cfbench", "score", str(predictions), *given])


def spread(walls: list[float]) -> str:
    """The median, and the lowest and highest."""
    return f"{statistics.median(walls):.2f} ({min(walls):.2f} to {max(walls):.2f})"


def summary(runs: list[tuple[float, float]]) -> tuple[str, str]:
    """Wall and memory of several runs, for a row."""
    return spread([wall for wall, _ in runs]), f"{max(memory for _, memory in runs):,.0f}"


def loop_over_lines(place: Path) -> float:
    """What scripts in the field do: dictionaries, lists, scikit-learn. No interval, no check."""
    begun = time.perf_counter()
    codecs = {codec.id: codec for codec in load_taxonomy().codecs}
    truth = {}
    with (place / "CoRS_labels.txt").open() as file:
        for line in file:
            _, utterance, label = line.split()
            truth[utterance] = (label, utterance.split("_", 2)[2] if label == "spoof" else "")
    with (place / "predictions.csv").open() as file:
        header = file.readline().strip().split(",")
        rows = {}
        for line in file:
            fields = line.strip().split(",")
            rows[fields[0]] = [float(field) for field in fields[1:]]
    column = {name: position for position, name in enumerate(header[1:])}
    for task_id in TRACING_IDS:
        task = load_tasks()[task_id]
        true, predicted = [], []
        for utterance, (label, codec) in truth.items():
            true.append(getattr(codecs[codec], task_id) if label == "spoof" else "real")
            values = [rows[utterance][column[name]] for name in task.columns]
            predicted.append(task.class_names[values.index(max(values))])
        f1_score(true, predicted, average="weighted")
        f1_score(true, predicted, average="macro")
    equal_error_rate(
        np.array([label == "bonafide" for label, _ in truth.values()]),
        np.array([rows[utterance][column["bin_bonafide"]] for utterance in truth]),
    )
    return time.perf_counter() - begun


def equal_error_rate(is_bonafide: np.ndarray, scores: np.ndarray) -> float:
    """The EER by scikit-learn's ROC curve."""
    false_alarm, hit, _ = roc_curve(is_bonafide, scores)
    return float(false_alarm[np.argmin(np.abs(1 - hit - false_alarm))])


def naive_resampling(place: Path, measured: int = 2) -> float:
    """Resample the rows of groups, and compute macro-F1 of three tasks and EER each time."""
    codecs = {codec.id: codec for codec in load_taxonomy().codecs}
    frame = pl.read_parquet(place / "predictions.parquet").sort("utt_id")
    parts = frame["utt_id"].str.splitn("_", 3).struct.unnest()
    group = (parts["field_0"] + "_" + parts["field_1"]).rle_id().to_numpy()
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    sizes = np.diff(np.append(starts, group.size))
    answers = {}
    for task_id in TRACING_IDS:
        task = load_tasks()[task_id]
        true = [
            0 if c is None else task.class_names.index(getattr(codecs[c], task_id))
            for c in parts["field_2"]
        ]
        predicted = frame.select(task.columns).to_numpy().argmax(axis=1)
        answers[task_id] = np.array(true), predicted
    is_bonafide = parts["field_2"].is_null().to_numpy()
    scores = frame["bin_bonafide"].to_numpy()
    generator = np.random.default_rng(0)
    begun = time.perf_counter()
    for _ in range(measured):
        drawn = generator.integers(0, starts.size, starts.size)
        rows = np.concatenate([np.arange(starts[g], starts[g] + sizes[g]) for g in drawn])
        for true, predicted in answers.values():
            f1_score(true[rows], predicted[rows], average="macro")
        equal_error_rate(is_bonafide[rows], scores[rows])
    return (time.perf_counter() - begun) / measured * RESAMPLES


if __name__ == "__main__":
    main()
