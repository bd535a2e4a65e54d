"""`cfbench compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cfbench.cli import options
from cfbench.cli.console import heading, plain_table, print_json, print_note, results, working

if TYPE_CHECKING:
    from rich.console import Console

    from cfbench.compare import Comparison, PartDifference

Predictions = Annotated[
    Path, typer.Argument(help="Predictions, or the folder of a submission.", show_default=False)
]


def compare(
    a: Predictions,
    b: Predictions,
    track: options.Track = options.DEFAULT_TRACK,
    protocol: options.Protocol = None,
    split: options.Split = None,
    tasks: options.Tasks = None,
    format: options.Format = "auto",
    logits: options.Logits = False,
    allow_missing: options.AllowMissing = False,
    seed: options.Seed = 0,
    json: options.Json = False,
) -> None:
    """Compare two systems: paired differences with intervals, and where they differ.

    Groups are resampled, the same for both; p-values are corrected over the tasks of a split.

    Example: cfbench compare mine.csv theirs.csv --protocol lists/
    """
    from cfbench import api
    from cfbench.compare import compare as compared
    from cfbench.entry import predictions_of

    splits, wanted = options.split_list("--split", split), options.split_list("--tasks", tasks)
    with working("comparing"):
        read = []
        known = api.read_protocol(protocol, track)
        for path in (a, b):
            place, as_logits = predictions_of(path, logits)
            read.append(
                api.read_both(
                    place, known, track, splits, wanted, format, as_logits, allow_missing
                )[0]
            )
        found = compared(read[0], read[1], known, splits, allow_missing, seed=seed)
    if json:
        print_json(found.model_dump(mode="json"))
        return
    _print(found, results(), (str(a), str(b)))


def _print(found: "Comparison", console: "Console", names: tuple[str, str]) -> None:
    from cfbench.errors import clip
    from cfbench.metrics.catalogue import METRICS

    console.print(heading("A ", clip(names[0], 200)))
    console.print(heading("B ", clip(names[1], 200)))
    table = plain_table(
        "Task", "Split", "Metric (%)", "A", "B", "A - B", "p", "p (Holm)", "Better",
        right=("A", "B", "p", "p (Holm)"),
    )  # fmt: skip
    for row in found.tasks:
        info = METRICS[row.metric]
        interval = "" if row.low is None else f" [{_signed(row.low)}, {_signed(row.high)}]"
        table.add_row(
            row.task,
            row.split,
            f"{info.title} {'↑' if info.direction == 'higher' else '↓'}",
            _percent(row.a),
            _percent(row.b),
            _signed(row.difference) + interval,
            _p(row.p),
            _p(row.p_holm),
            "" if row.better is None else row.better.upper(),
        )
    console.print(table)
    detail = plain_table(
        "Task", "Split", "Same answer", "Kappa", "Both right", "Only A", "Only B", "Neither",
        right=("Same answer", "Kappa", "Both right", "Only A", "Only B", "Neither"),
    )  # fmt: skip
    for row in found.tasks:
        told = row.agreement
        kappa = "n/a" if told.kappa is None else f"{told.kappa:.2f}"
        shares = (told.both_right, told.only_a, told.only_b, told.neither)
        detail.add_row(
            row.task, row.split, _percent(told.same), kappa, *(_percent(share) for share in shares)
        )
    console.print(detail)
    where = plain_table("Task", "Split", "Classes (F1, A - B)", "Sources (right, A - B)")
    for row in found.tasks:
        where.add_row(row.task, row.split, _parts(row.classes, 4), _parts(row.sources, 5))
    console.print(where)
    for only, name in ((found.only_a, "A"), (found.only_b, "B")):
        if only:
            print_note(f"only {name} answers {', '.join(only)}: not compared")
    groups = ", ".join(f"{n} groups ({split})" for split, n in found.groups.items())
    console.print(
        f"[low, high]: 95 % interval of the difference, {found.replicates:,} resamples of "
        f"{groups}, the same for both. p: two-sided; Holm: corrected over the tasks of a split. "
        "Better: p (Holm) < 0.05.",
        style="dim",
    )


def _parts(parts: "tuple[PartDifference, ...]", shown: int) -> str:
    from cfbench.errors import clip

    ordered = sorted(parts, key=lambda part: -abs(part.difference or 0.0))
    named = [f"{clip(part.name, 40)} {_signed(part.difference)}" for part in ordered[:shown]]
    more = f", {len(parts) - shown} more" if len(parts) > shown else ""
    return ", ".join(named) + more


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:.1f}"


def _signed(value: float | None) -> str:
    return "n/a" if value is None else f"{100 * value:+.1f}"


def _p(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.3f}"
