"""A system's results on the page of its model: `.eval_results/cfbench.yaml` in its repository."""

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cfbench.errors import CfbenchError, name_some
from cfbench.hub.copies import read_tree
from cfbench.hub.eval_results import (
    Benchmark,
    ShownResult,
    eval_results_yaml,
    make_entries,
    read_benchmark,
    write_eval_results,
)
from cfbench.hub.failures import NotConnected, about
from cfbench.hub.patience import Told
from cfbench.hub.repos import login
from cfbench.leaderboard.results import RANKED, Value, result_of
from cfbench.publishing import ENTRY, UNDER, Prepared, at, goes_directly
from cfbench.submission import DESCRIPTION, SCORECARD, parse_submission
from cfbench.tasks import Track

PATH = ".eval_results/cfbench.yaml"


@dataclass(frozen=True)
class Shown:
    """What a model's page shows, or would.

    Attributes:
        text: The content of the file.
        url: The page of the commit or pull request; empty where it was not sent.
        number: That of the pull request; None where there is none.
        left_out: Tasks and splits without a value, and why there is none.
        listed: Whether the leaderboard has this very result; None where that is not known.
        why: Why it was not sent; empty where it was.
    """

    text: str
    url: str
    number: int | None
    left_out: tuple[str, ...]
    listed: bool | None
    why: str = ""


def task_id(track: str, task: str, split: str) -> str:
    """What `eval.yaml` calls a task on one split of a track.

    >>> task_id("codecfake-plus", "vq", "ood")
    'codecfake-plus_vq_ood'
    """
    return f"{track}_{task}_{split}"


def task_ids(track: Track) -> list[str]:
    """All that a leaderboard of a track lists in its `eval.yaml`."""
    return [task_id(track.name, task, split) for task in track.tasks for split in track.scored]


def shown_results(prepared: Prepared) -> tuple[list[ShownResult], tuple[str, ...]]:
    """A number a task and split, higher is better; and what has none, with the reason.

    Spoof detection is ranked by the equal error rate, of which lower is better: 1 - EER is shown.
    """
    scored = prepared.verification.scored if prepared.verification else None
    result = result_of(scored.card if scored else prepared.card)
    how = "scored again with" if scored else "as claimed with"
    told = f"{how} cfbench {(scored.card if scored else prepared.card).cfbench_version}"
    found, left_out = [], []
    for task, one in result.tasks.items():
        for split, part in one.splits.items():
            name = task_id(result.track, task, split)
            if part.value.value is None:
                left_out.append(f"{name}: {part.value.reason or 'not defined'}")
                continue
            value, notes = _upwards(RANKED[task], part.value, result.group_units[split])
            about_track = f"{result.track} {result.track_version}, {split}"
            found.append(ShownResult(name, value, f"{notes}; {about_track}; {told}"))
    return found, tuple(left_out)


def push_results(
    prepared: Prepared,
    model: str,
    dataset: str,
    under: str = UNDER,
    *,
    pull_request: bool | None = None,
    dry_run: bool = False,
    told: Told | None = None,
) -> Shown:
    """Write an entry's results into a model repository.

    Args:
        prepared: The entry.
        model: The model repository, `owner/name`.
        dataset: The leaderboard's dataset repository, `owner/name`.
        under: The folder of the entries in it.
        pull_request: As for `cfbench.publishing.push`.
        dry_run: Send nothing.
        told: Is told of every wait.

    Raises:
        CfbenchError: The leaderboard does not list these tasks, or there is no value to show, or
            it cannot be sent. Without a network or a login that is no error: it is said.
    """
    results, left_out = shown_results(prepared)
    if not results:
        raise CfbenchError(
            f"{prepared.folder}: no value that can be shown: {name_some(left_out, width=160)}"
        )
    about(model, "model"), about(dataset)
    date = prepared.submission.system.date.isoformat()
    given: dict[str, Any] = {"date": date}
    listed: bool | None = None
    try:
        benchmark = read_benchmark(dataset)
        _check_listed(benchmark, dataset, [one.task_id for one in results])
        given["revision"] = benchmark.commit
        listed = _is_there(prepared, dataset, under, benchmark.commit)
        if listed:
            inside = at(under, prepared.submission.slug)
            page = f"https://huggingface.co/datasets/{dataset}/tree/{benchmark.commit}/{inside}"
            given |= {"source_url": page, "source_name": "cfbench leaderboard"}
        entries = make_entries(dataset, results, **given)
        if dry_run:
            return Shown(eval_results_yaml(entries), "", None, left_out, listed, "a dry run")
        if pull_request is None:
            pull_request = not goes_directly(model, login(model))
        done = write_eval_results(model, entries, pull_request=pull_request, told=told)
    except NotConnected as error:
        text = eval_results_yaml(make_entries(dataset, results, **given))
        return Shown(text, "", None, left_out, listed, error.problems[0].message)
    return Shown(eval_results_yaml(entries), done.url, done.number, left_out, listed)


def _upwards(metric: str, value: Value, unit: str) -> tuple[float, str]:
    """A value of which higher is better, and what it is."""
    assert value.value is not None  # noqa: S101 - the caller has left the others out
    shown, low, high = value.value, value.low, value.high
    name = "macro-F1"
    if metric == "eer":
        shown = 1 - shown
        low, high = (None if end is None else 1 - end for end in (value.high, value.low))
        name = f"1 - EER (the equal error rate is {value.value:.4f})"
    if low is None or high is None:
        return shown, name
    return shown, f"{name}; 95 % interval {low:.4f} to {high:.4f}, over groups: {unit}"


def _check_listed(benchmark: Benchmark, dataset: str, wanted: Sequence[str]) -> None:
    strange = [name for name in wanted if name not in benchmark.task_ids]
    if strange:
        raise CfbenchError(
            f"{dataset}: its eval.yaml has no task {name_some(strange)}",
            f"it has {name_some(benchmark.task_ids, shown=12) or 'none'}; is this the leaderboard "
            "of the track?",
        )


def _is_there(prepared: Prepared, dataset: str, under: str, commit: str) -> bool:
    """Whether the leaderboard has an entry of this slug with this scorecard and predictions."""
    inside = at(under, prepared.submission.slug)
    wanted = [f"{inside}/{name}" for name in (DESCRIPTION, SCORECARD)]
    with tempfile.TemporaryDirectory(prefix="cfbench-") as folder:
        read_tree(dataset, inside, Path(folder), commit, ENTRY, lambda path: path in wanted)
        here = Path(folder) / inside
        try:
            there = parse_submission((here / DESCRIPTION).read_bytes(), DESCRIPTION)
            card = hashlib.sha256((here / SCORECARD).read_bytes()).hexdigest()
        except (OSError, CfbenchError):
            return False
    mine = prepared.submission
    return (card, there.predictions.sha256) == (mine.result.scorecard, mine.predictions.sha256)
