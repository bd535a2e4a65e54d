"""How often the 95 % intervals of a scorecard hold the true value.

Simulates systems whose true macro-F1 and EER are known from a large population, draws many test
sets from it, scores each with `cfbench.score` and counts the intervals that hold the truth.

    python tests/performance/coverage.py [--simulations 1000] [--bootstrap 1000] [--processes 2]

A test set is a number of groups. The utterances of a group share how hard they are and a leaning
towards some classes, as those of one generator or one source utterance do; resampling utterances
overlooks that.
"""

import argparse
import multiprocessing
import os
import sys
import time
from typing import NamedTuple

# Each process has a core to itself; read when polars and numpy are imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import polars as pl
from rich.console import Console
from rich.progress import track
from rich.table import Table

import cfbench
from cfbench.metrics.confusion import confusion_matrix, macro_f1
from cfbench.metrics.detection import det_curve, equal_error_rate

SEED = 20_250_512
CLASSES = np.array(["real", "mvq", "svq", "sq"])
CLASS_SHARES = np.array([0.3, 0.35, 0.2, 0.15])
UTTERANCES_OF_A_GROUP = (5, 15)
POPULATION_GROUPS = 300_000
GROUPS = (200, 17)
METRICS = ("macro_f1", "eer")


class Sample(NamedTuple):
    """Utterances of some groups: (utterances,) each."""

    group: np.ndarray
    truth: np.ndarray
    answer: np.ndarray
    score: np.ndarray


class Outcome(NamedTuple):
    """One interval of one simulation: does the truth lie in it, below it, above it?"""

    kind: str
    metric: str
    below: bool
    above: bool
    width: float


def draw(n_groups: int, generator: np.random.Generator) -> Sample:
    """Draw groups from the population, and what the system says of their utterances."""
    low, high = UTTERANCES_OF_A_GROUP
    group = np.repeat(np.arange(n_groups), generator.integers(low, high + 1, n_groups))
    leaning = generator.dirichlet(4 * CLASS_SHARES, n_groups).cumsum(axis=1)
    truth = (generator.random(group.size)[:, None] > leaning[group]).sum(axis=1)
    truth = np.minimum(truth, CLASSES.size - 1)
    ease = generator.normal(0, 0.8, n_groups)[group]
    logits = generator.normal(0, 1, (group.size, CLASSES.size))
    logits[np.arange(group.size), truth] += 1.3 + ease
    score = np.where(truth == 0, 1, -1) * (1.3 + ease) + generator.normal(0, 1, group.size)
    return Sample(group, truth, logits.argmax(axis=1), score)


def true_values() -> dict[str, float]:
    """The metrics of a population so large that its own error does not matter."""
    sample = draw(POPULATION_GROUPS, np.random.default_rng(SEED))
    n = CLASSES.size
    real = sample.truth == 0
    curve = det_curve(np.sort(sample.score[real]), np.sort(sample.score[~real]))
    return {
        "macro_f1": float(macro_f1(confusion_matrix(sample.truth, sample.answer, n, n))),
        "eer": equal_error_rate(curve).value,
    }


def simulate(task: tuple[int, int, int, dict[str, float]]) -> list[Outcome]:
    """Score one test set and hold its intervals against the truth."""
    n_groups, number, bootstrap, truth = task
    sample = draw(n_groups, np.random.default_rng([SEED, n_groups, number]))
    ids = np.char.add("u", np.arange(sample.truth.size).astype(str))
    classes, real = CLASSES[sample.truth], sample.truth == 0
    protocol = pl.DataFrame(
        {
            "utt_id": ids,
            "split": "id",
            "source": classes,
            "group": np.char.add("g", sample.group.astype(str)),
            "bin": np.where(real, "bonafide", "spoof"),
            "vq": classes,
            "aux": np.where(real, "real", "none"),
            "dec": np.where(real, "real", "time"),
        }
    )
    predictions = pl.DataFrame(
        {"utt_id": ids, "bin_bonafide": sample.score, "vq": CLASSES[sample.answer]}
    )
    card = cfbench.score(predictions, protocol, logits=True, bootstrap=bootstrap, seed=number)
    numbers = {
        "macro_f1": card.tasks["vq"].splits["id"].overall.metrics["macro_f1"],
        "eer": card.tasks["bin"].splits["id"].overall.metrics["eer"],
    }
    outcomes = []
    for metric, number_of in numbers.items():
        for kind, interval in (
            ("groups", number_of.interval),
            ("utterances", number_of.utterance_interval),
        ):
            below, above = truth[metric] < interval.low, truth[metric] > interval.high
            width = interval.high - interval.low
            outcomes.append(Outcome(kind, metric, below, above, width))
    return outcomes


def main() -> None:
    """Print the table; exit with 1 if the grouped interval of many groups is off."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulations", type=int, default=1000)
    parser.add_argument("--bootstrap", type=int, default=1000)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    console, progress = Console(width=100), Console(stderr=True)
    start = time.perf_counter()
    truth = true_values()
    console.print(
        f"{options.simulations:,} simulations, {options.bootstrap:,} resamples each; truth from "
        f"{POPULATION_GROUPS:,} groups: macro-F1 {truth['macro_f1']:.4f}, EER {truth['eer']:.4f}"
    )
    table = Table("groups", "metric", "resampled", title="Coverage of 95 % percentile intervals")
    for name in ("coverage", "truth below", "truth above", "mean width"):
        table.add_column(name, justify="right")
    sound = True
    with multiprocessing.get_context("spawn").Pool(options.processes) as pool:
        for n_groups in GROUPS:
            tasks = [(n_groups, i, options.bootstrap, truth) for i in range(options.simulations)]
            results = pool.imap(simulate, tasks, chunksize=10)
            shown = track(results, f"{n_groups} groups", total=len(tasks), console=progress)
            outcomes = [outcome for result in shown for outcome in result]
            for metric in METRICS:
                for kind in ("groups", "utterances"):
                    found = [o for o in outcomes if (o.metric, o.kind) == (metric, kind)]
                    below, above, width = np.array([o[2:] for o in found], dtype=float).mean(axis=0)
                    coverage = 1 - below - above
                    if kind == "groups" and n_groups == GROUPS[0]:
                        sound &= 0.93 <= coverage <= 0.97
                    table.add_row(
                        *(str(n_groups), metric, kind, f"{coverage:.1%}"),
                        *(f"{below:.1%}", f"{above:.1%}", f"{width:.4f}"),
                    )
            table.add_section()
    console.print(table)
    error = np.sqrt(0.95 * 0.05 / options.simulations)
    console.print(
        f"Standard error of a coverage of 95 %: {error:.1%}. "
        f"{time.perf_counter() - start:.0f} s, {options.processes} processes."
    )
    console.print(
        f"Grouped intervals of {GROUPS[0]} groups cover in 93 to 97 %: {'yes' if sound else 'NO'}"
    )
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
